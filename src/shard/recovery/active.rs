//! Recovery's state of one partition while it is rebuilt batch by batch: the active segment, its
//! indexes, the epochs, the producers; and the files that tell of them.
//!
//! Runs before any shard starts. Never judges: `partition.rs` asks the table and tells this what
//! to do.

use std::path::{Path, PathBuf};

use super::segment_io::SegmentFile;
use super::{RecoveredSegment, RecoveryError, at};
use crate::devices::Disk;
use crate::log::append_rules::LogSettings;
use crate::log::epochs::LeaderEpochs;
use crate::log::names::{LEADER_EPOCH_CHECKPOINT, SegmentFileKind, segment_file_name};
use crate::log::producer_snapshot;
use crate::log::producers::{Producers, TransactionMarker};
use crate::log::roll::{ActiveSegment, Incoming, should_roll};
use crate::log::segment_indexes::{IndexSettings, SegmentIndexes};
use crate::log::segment_scan::ScannedBatch;
use crate::wire::record::BatchHeader;
use crate::words::{Offset, TimestampMs, marks};

/// A segment that may still get batches.
pub(super) struct Active {
    pub(super) base: Offset,
    pub(super) file: SegmentFile,
    pub(super) indexes: SegmentIndexes,
    pub(super) first_batch_timestamp: Option<TimestampMs>,
    /// The index files on disk are not what `indexes` holds.
    pub(super) indexes_dirty: bool,
}

/// One partition in the making.
pub(super) struct Building<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) directory: &'a Path,
    pub(super) settings: &'a LogSettings,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: Producers,
    /// Batches below are already in `producers`: its snapshot was taken there.
    pub(super) producers_from: Offset,
    pub(super) segments: Vec<RecoveredSegment>,
    pub(super) active: Active,
    /// Offset after the last batch.
    pub(super) next: Offset,
    /// Producer snapshots of this directory that are known to be true.
    pub(super) snapshots: Vec<Offset>,
    pub(super) batches_replayed: u64,
    pub(super) bytes_replayed: u64,
    pub(super) bytes_scanned: u64,
}

/// Index settings of a topic.
pub(super) fn index_settings(settings: &LogSettings) -> IndexSettings {
    IndexSettings {
        segment_index_bytes: settings.segment_index_bytes,
        index_interval_bytes: settings.index_interval_bytes,
    }
}

impl Active {
    /// Opens or creates the segment file; the indexes begin empty.
    pub(super) fn open(
        disk: &dyn Disk,
        directory: &Path,
        base: Offset,
        settings: &LogSettings,
    ) -> Result<Active, RecoveryError> {
        let path = directory.join(segment_file_name(base, SegmentFileKind::Log));
        Ok(Active {
            base,
            file: SegmentFile::open(disk, path)?,
            indexes: SegmentIndexes::new(base, index_settings(settings)),
            first_batch_timestamp: None,
            indexes_dirty: true,
        })
    }

    pub(super) fn facts(&self) -> RecoveredSegment {
        RecoveredSegment {
            base_offset: self.base,
            size_bytes: self.file.len(),
            max_timestamp: self.indexes.max_timestamp(),
            first_batch_timestamp: self.first_batch_timestamp,
        }
    }

    fn write_indexes(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), RecoveryError> {
        if !self.indexes_dirty {
            return Ok(());
        }
        let files = [
            (
                SegmentFileKind::OffsetIndex,
                self.indexes.offset_index().bytes(),
            ),
            (
                SegmentFileKind::TimeIndex,
                self.indexes.time_index().bytes(),
            ),
        ];
        for (kind, bytes) in files {
            let path = directory.join(segment_file_name(self.base, kind));
            disk.write_atomic(&path, bytes)
                .map_err(at("write", &path))?;
        }
        self.indexes_dirty = false;
        Ok(())
    }

    /// Makes the segment and its index files durable.
    pub(super) fn settle(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
    ) -> Result<(), RecoveryError> {
        self.file.settle(disk)?;
        self.write_indexes(disk, directory)
    }
}

impl Building<'_> {
    /// Takes note of a batch that stands at `batch.position` of the active segment. `marker` is
    /// what a control batch says.
    pub(super) fn observe(&mut self, batch: &ScannedBatch, marker: Option<TransactionMarker>) {
        let header = &batch.header;
        if batch.position == 0 {
            self.active.first_batch_timestamp = Some(header.max_timestamp);
        }
        // A position past 4 GiB has no index entry; lookups then begin further left.
        if let Ok(position) = u32::try_from(batch.position) {
            let _coarser = self.active.indexes.appended(header, position);
        }
        self.active.indexes_dirty = true;
        self.epochs.assign(header.leader_epoch, header.base_offset);
        if header.base_offset >= self.producers_from {
            self.producers.update(header, header.max_timestamp);
            if let Some(marker) = marker {
                self.producers
                    .update_marker(header, marker, header.max_timestamp);
            }
        }
        self.next = header.next_offset();
    }

    /// Appends a batch from the journal behind everything, rolling first when it does not fit.
    pub(super) fn replay(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
        marker: Option<TransactionMarker>,
    ) -> Result<(), RecoveryError> {
        let active = ActiveSegment {
            base_offset: self.active.base,
            size_bytes: self.active.file.len(),
            created: TimestampMs(0),
            first_batch_timestamp: self.active.first_batch_timestamp,
            indexes_full: self.active.indexes.is_full(),
            jitter_ms: 0,
        };
        let incoming = Incoming {
            size_bytes: bytes.len() as u64,
            max_timestamp: header.max_timestamp,
            last_offset: header.last_offset(),
        };
        // Where the shard rolled, for size and for age: both are in the batches. What it drew as
        // jitter is gone with it, so a segment may end later by that; and where the batches have no
        // time, its own clock counted. Segments that exist already are never cut in two.
        let settings = self.settings.roll();
        let rolls = should_roll(&active, &incoming, &settings, TimestampMs(0)).is_some();
        if rolls && self.active.file.len() > 0 {
            self.roll(header.base_offset)?;
        }
        let position = self.active.file.len();
        self.active.file.append(self.disk, bytes)?;
        let batch = ScannedBatch {
            position,
            header: *header,
        };
        self.observe(&batch, marker);
        self.batches_replayed = self.batches_replayed.saturating_add(1);
        self.bytes_replayed = self.bytes_replayed.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Seals the active segment, flushed before its successor exists, and begins the next.
    fn roll(&mut self, base: Offset) -> Result<(), RecoveryError> {
        self.seal(false)?;
        self.write_snapshot()?;
        self.active = Active::open(self.disk, self.directory, base, self.settings)?;
        self.active.file.cut(self.disk, 0)?;
        Ok(())
    }

    /// The active segment gets no more batches. With `indexes_kept` its index files were sealed
    /// long ago and stay as they are.
    pub(super) fn seal(&mut self, indexes_kept: bool) -> Result<(), RecoveryError> {
        // The index has room kept for this entry; without it lookups by time are only slower.
        let _coarser = self.active.indexes.seal();
        self.active.indexes_dirty = !indexes_kept;
        self.active.settle(self.disk, self.directory)?;
        self.segments.push(self.active.facts());
        Ok(())
    }

    fn write_snapshot(&mut self) -> Result<(), RecoveryError> {
        let bytes = producer_snapshot::encode(&self.producers.snapshot());
        let path = self.snapshot_path(self.next);
        self.disk
            .write_atomic(&path, &bytes)
            .map_err(at("write", &path))?;
        self.snapshots.push(self.next);
        Ok(())
    }

    fn snapshot_path(&self, offset: Offset) -> PathBuf {
        let name = segment_file_name(offset, SegmentFileKind::ProducerSnapshot);
        self.directory.join(name)
    }

    /// Makes everything durable: segment, indexes, epochs, producers, names.
    pub(super) fn finish(
        &mut self,
        log_start: Offset,
        epochs_on_disk: Option<&[u8]>,
        snapshots_on_disk: &[Offset],
    ) -> Result<(), RecoveryError> {
        self.active.settle(self.disk, self.directory)?;
        self.segments.push(self.active.facts());
        self.epochs.truncate_from_end(self.next);
        self.epochs.truncate_from_start(log_start);
        let epochs = self.epochs.encode();
        if epochs_on_disk != Some(epochs.as_slice()) {
            let path = self.directory.join(LEADER_EPOCH_CHECKPOINT);
            self.disk
                .write_atomic(&path, &epochs)
                .map_err(at("write", &path))?;
        }
        let empty = self.segments.iter().all(|segment| segment.size_bytes == 0);
        let nothing_to_tell = empty && self.producers.is_empty();
        if !self.snapshots.contains(&self.next) && !nothing_to_tell {
            self.write_snapshot()?;
        }
        self.drop_snapshots(snapshots_on_disk)?;
        // Always: a killed process may have left names that no sync ever covered.
        self.disk
            .sync_dir(self.directory)
            .map_err(at("sync", self.directory))
    }

    /// Keeps the newest snapshot and those at the base of a segment, as Kafka does; the others,
    /// and any that nobody vouches for, go.
    fn drop_snapshots(&mut self, on_disk: &[Offset]) -> Result<(), RecoveryError> {
        let is_base = |offset: Offset| self.segments.iter().any(|s| s.base_offset == offset);
        let keep = |offset: Offset| {
            self.snapshots.contains(&offset) && (offset == self.next || is_base(offset))
        };
        let gone: Vec<Offset> = on_disk
            .iter()
            .copied()
            .filter(|offset| !keep(*offset))
            .collect();
        for offset in gone {
            if offset > self.next {
                marks::hit("producer snapshot newer than the log");
            }
            let path = self.snapshot_path(offset);
            self.disk.remove_file(&path).map_err(at("remove", &path))?;
        }
        Ok(())
    }
}
