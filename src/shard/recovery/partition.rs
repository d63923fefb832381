//! Recovery of one partition: from what its directory and the journals hold to a log that is
//! whole, durable and known.
//!
//! Runs before any shard starts. Gathers facts, asks `log::verdict`, acts; work is bounded by the
//! journal and by what lies past the checkpoint, not by what is stored.

use std::path::{Path, PathBuf};

use super::active::{Active, Building, index_settings};
use super::journals::{BatchRef, Proof};
use super::segment_io::{ScanFrom, SegmentFile};
use super::{LiveTopic, Note, Offline, RecoveredSegment, RecoveryError, at};
use crate::devices::{Disk, FileHandle};
use crate::log::checkpoints::PartitionMark;
use crate::log::epochs::LeaderEpochs;
use crate::log::names::SegmentFile as SegmentName;
use crate::log::names::{
    LEADER_EPOCH_CHECKPOINT, SegmentFileKind, SegmentFileStage, segment_file_name,
};
use crate::log::producer_snapshot;
use crate::log::producers::{Producers, TransactionMarker};
use crate::log::segment_indexes::{IndexMark, SegmentIndexes};
use crate::log::segment_scan::{EndReason, Order, ScanEnd, ScannedBatch};
use crate::log::time_index::{TIME_INDEX_ENTRY_BYTES, TimeIndexView, TimestampOffset};
use crate::log::verdict::{
    self, BatchFacts, BatchVerdict, IndexFacts, IndexVerdict, Place, TailEnd, TailFacts,
    TailVerdict,
};
use crate::wire::record::control::{ControlType, coordinator_epoch};
use crate::wire::record::crc::is_intact;
use crate::wire::record::{BATCH_HEADER_BYTES, BatchHeader, RecordIter};
use crate::words::{Offset, TopicPartition, marks};

/// Bytes of a control batch that are read for its marker: one small record.
const CONTROL_BATCH_BYTES_MAX: usize = 4096;

/// What recovery of one partition starts from.
pub(super) struct Task<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) directory: PathBuf,
    pub(super) id: TopicPartition,
    pub(super) topic: &'a LiveTopic,
    pub(super) mark: Option<PartitionMark>,
    /// Kafka's recovery point, when Kafka wrote last.
    pub(super) recovery_point: Option<Offset>,
    /// Kafka's log start offset, when Kafka wrote last.
    pub(super) log_start: Option<Offset>,
    pub(super) proof: Option<Proof>,
    pub(super) batches: &'a [BatchRef],
    pub(super) journals: &'a [(PathBuf, FileHandle)],
    pub(super) producers_max: usize,
}

/// Why a partition is not recovered.
pub(super) enum Stop {
    Offline(Box<Offline>),
    Failed(RecoveryError),
}

impl From<RecoveryError> for Stop {
    fn from(error: RecoveryError) -> Stop {
        Stop::Failed(error)
    }
}

/// Files of a partition directory, by kind; ascending.
#[derive(Default)]
struct Listing {
    segments: Vec<(Offset, u64)>,
    offset_indexes: Vec<(Offset, u64)>,
    time_indexes: Vec<(Offset, u64)>,
    snapshots: Vec<Offset>,
}

fn len_of(files: &[(Offset, u64)], base: Offset) -> Option<u64> {
    files
        .iter()
        .find(|(at, _)| *at == base)
        .map(|(_, len)| *len)
}

impl Listing {
    fn read(disk: &dyn Disk, directory: &Path) -> Result<Listing, RecoveryError> {
        let mut listing = Listing::default();
        for file in disk.list(directory).map_err(at("list", directory))? {
            let Some(name) = SegmentName::parse(&file.name) else {
                continue;
            };
            if file.is_dir || name.stage != SegmentFileStage::Live {
                continue;
            }
            let entry = (name.base_offset, file.len);
            match name.kind {
                SegmentFileKind::Log => listing.segments.push(entry),
                SegmentFileKind::OffsetIndex => listing.offset_indexes.push(entry),
                SegmentFileKind::TimeIndex => listing.time_indexes.push(entry),
                SegmentFileKind::ProducerSnapshot => listing.snapshots.push(name.base_offset),
                SegmentFileKind::TransactionIndex => {}
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }

    /// Place of the segment that holds `offset`; the first when all are above.
    fn segment_of(&self, offset: Offset) -> usize {
        let above = self.segments.partition_point(|(base, _)| *base <= offset);
        above.saturating_sub(1)
    }
}

/// Where the walk begins and what is known there.
struct Ground {
    /// Place of the first segment to scan.
    first: usize,
    /// From here on segments are not sealed with certainty: their indexes are made anew.
    unsealed_from: Offset,
    /// Indexes up to the checkpoint, when the scan can begin right there.
    resume: Option<(PartitionMark, SegmentIndexes)>,
    epochs: LeaderEpochs,
    producers: Producers,
    snapshots: Vec<Offset>,
}

/// A recovered partition, before its log start is settled.
pub(super) struct Rebuilt<'a> {
    pub(super) building: Building<'a>,
    pub(super) log_start: Offset,
    pub(super) notes: Vec<Note>,
}

impl<'a> Task<'a> {
    /// Recovers the partition; everything is durable when this returns.
    pub(super) fn run(&'a self) -> Result<Rebuilt<'a>, Stop> {
        let listing = Listing::read(self.disk, &self.directory)?;
        let epochs_on_disk = self.read_small(LEADER_EPOCH_CHECKPOINT)?;
        let mut notes = Vec::new();
        let ground = self.ground(&listing, epochs_on_disk.as_deref())?;
        let mut building = self.begin(&listing, &ground)?;
        self.walk(&listing, ground, &mut building, &mut notes)?;
        self.replay(&mut building, &mut notes)?;
        let proven = self.proven();
        if building.next < proven.end {
            return Err(self.offline("T2", &building.active.file.path, None, proven.source));
        }
        let first = building
            .segments
            .first()
            .map_or(building.active.base, |s| s.base_offset);
        let log_start = self.log_start_known().max(first);
        building.finish(log_start, epochs_on_disk.as_deref(), &listing.snapshots)?;
        Ok(Rebuilt {
            building,
            log_start,
            notes,
        })
    }

    fn log_start_known(&self) -> Offset {
        let mark = self.mark.map_or(Offset(0), |mark| mark.log_start);
        mark.max(self.log_start.unwrap_or(Offset(0)))
    }

    /// The highest offset that anything proves to have been durable.
    fn proven(&self) -> Proof {
        let mut best = Proof {
            end: self.log_start_known(),
            source: "the log start offset".to_owned(),
        };
        let claims = [
            (self.mark.map(|mark| mark.end_offset), "the checkpoint"),
            (self.recovery_point, "Kafka's recovery point"),
        ];
        for (end, source) in claims {
            if let Some(end) = end.filter(|end| *end > best.end) {
                best = Proof {
                    end,
                    source: source.to_owned(),
                };
            }
        }
        match &self.proof {
            Some(proof) if proof.end > best.end => proof.clone(),
            _ => best,
        }
    }

    fn read_small(&self, name: &str) -> Result<Option<Vec<u8>>, RecoveryError> {
        let path = self.directory.join(name);
        match self.disk.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    fn offline(
        &self,
        letter: &'static str,
        path: &Path,
        position: Option<u64>,
        why: impl std::fmt::Display,
    ) -> Stop {
        Stop::Offline(Box::new(Offline {
            partition: self.id,
            directory: self.directory.clone(),
            path: path.to_owned(),
            position,
            letter,
            message: format!("{why}: {}", verdict::story(letter).unwrap_or_default()),
        }))
    }

    /// Gathers what is known before a byte of the segments is read.
    fn ground(&self, listing: &Listing, epochs: Option<&[u8]>) -> Result<Ground, RecoveryError> {
        let first_base = listing
            .segments
            .first()
            .map_or(Offset(0), |(base, _)| *base);
        let known = self
            .mark
            .map(|mark| mark.active_base)
            .or(self.recovery_point);
        let unsealed_from = known.unwrap_or(first_base);
        let mut first = listing.segment_of(unsealed_from);
        let limit = self
            .mark
            .map(|mark| mark.end_offset)
            .or(self.recovery_point);
        // A snapshot tells of batches in front of it; in front of the first segment all are gone.
        let limit = limit.map_or(first_base, |limit| limit.max(first_base));
        let producers = self.latest_snapshot(listing, limit)?;
        let producers_from = producers.as_ref().map_or(first_base, Producers::end_offset);
        let producers = producers.unwrap_or_else(|| Producers::new(self.producers_max, first_base));
        first = first.min(listing.segment_of(producers_from));
        let mut resume = None;
        let epochs = match epochs.map(LeaderEpochs::parse) {
            Some(Ok(mut epochs)) => {
                resume = self.resume(listing, first, producers_from)?;
                let from = match &resume {
                    Some((mark, _)) => mark.end_offset,
                    None => listing
                        .segments
                        .get(first)
                        .map_or(Offset(0), |(base, _)| *base),
                };
                epochs.truncate_from_end(from);
                epochs
            }
            // Missing or rotten: every batch knows its epoch, so read them all.
            Some(Err(_)) | None => {
                first = 0;
                LeaderEpochs::new()
            }
        };
        // Newer ones up to the limit did not read.
        let vouched = listing
            .snapshots
            .iter()
            .copied()
            .filter(|at| *at <= producers_from);
        Ok(Ground {
            first,
            unsealed_from,
            resume,
            epochs,
            producers,
            snapshots: vouched.collect(),
        })
    }

    /// The newest producer snapshot at or below `limit` that reads; rotten ones are passed over.
    fn latest_snapshot(
        &self,
        listing: &Listing,
        limit: Offset,
    ) -> Result<Option<Producers>, RecoveryError> {
        for offset in listing
            .snapshots
            .iter()
            .rev()
            .filter(|offset| **offset <= limit)
        {
            let name = segment_file_name(*offset, SegmentFileKind::ProducerSnapshot);
            let bytes = self.read_small(&name)?.unwrap_or_default();
            if let Ok(entries) = producer_snapshot::parse(&bytes) {
                let max = self.producers_max;
                return Ok(Some(Producers::from_snapshot(max, *offset, entries)));
            }
        }
        Ok(None)
    }

    /// The indexes at the checkpoint, if the scan may begin there.
    fn resume(
        &self,
        listing: &Listing,
        first: usize,
        producers_from: Offset,
    ) -> Result<Option<(PartitionMark, SegmentIndexes)>, RecoveryError> {
        let Some(mark) = self.mark else {
            return Ok(None);
        };
        let here = listing.segments.get(first);
        let fits =
            here.is_some_and(|(base, len)| *base == mark.active_base && *len >= mark.active_bytes);
        if !fits || producers_from != mark.end_offset {
            return Ok(None);
        }
        let offset_index = self.index_bytes(mark.active_base, SegmentFileKind::OffsetIndex)?;
        let time_index = self.index_bytes(mark.active_base, SegmentFileKind::TimeIndex)?;
        let promised = IndexMark {
            offset_index_entries: mark.offset_index_entries,
            time_index_entries: mark.time_index_entries,
            bytes_since_index_entry: mark.bytes_since_index_entry,
            max_timestamp: TimestampOffset {
                timestamp: mark.max_timestamp,
                offset: mark.max_timestamp_offset,
            },
        };
        let loaded = SegmentIndexes::load(
            mark.active_base,
            index_settings(&self.topic.settings),
            promised,
            &offset_index,
            &time_index,
            mark.active_bytes,
        );
        let judged = verdict::index(IndexFacts {
            sealed: false,
            long_enough: true,
            sane: loaded.is_ok(),
        });
        Ok(match (judged.verdict, loaded) {
            (IndexVerdict::Extend | IndexVerdict::Keep, Ok(indexes)) => Some((mark, indexes)),
            _ => None,
        })
    }

    fn index_bytes(&self, base: Offset, kind: SegmentFileKind) -> Result<Vec<u8>, RecoveryError> {
        Ok(self
            .read_small(&segment_file_name(base, kind))?
            .unwrap_or_default())
    }

    /// The state in front of the first segment to scan.
    fn begin(&'a self, listing: &Listing, ground: &Ground) -> Result<Building<'a>, Stop> {
        let settings = &self.topic.settings;
        let base = listing
            .segments
            .get(ground.first)
            .map_or(Offset(0), |(base, _)| *base);
        let mut building = Building {
            disk: self.disk,
            directory: &self.directory,
            settings,
            epochs: ground.epochs.clone(),
            producers: ground.producers.clone(),
            producers_from: ground.producers.end_offset(),
            segments: Vec::new(),
            active: Active::open(self.disk, &self.directory, base, settings)?,
            next: base,
            snapshots: ground.snapshots.clone(),
            batches_replayed: 0,
            bytes_replayed: 0,
            bytes_scanned: 0,
        };
        let sealed = listing.segments.get(..ground.first).unwrap_or_default();
        for (place, (base, len)) in sealed.iter().enumerate() {
            let end = listing
                .segments
                .get(place.saturating_add(1))
                .map(|(base, _)| *base);
            let segment = self.sealed(listing, *base, *len, end)?;
            building.segments.push(segment);
        }
        Ok(building)
    }

    /// A segment that is trusted without reading it. Its indexes are made again only if missing.
    fn sealed(
        &self,
        listing: &Listing,
        base: Offset,
        len: u64,
        end: Option<Offset>,
    ) -> Result<RecoveredSegment, RecoveryError> {
        let whole = |files: &[(Offset, u64)], entry: u64| {
            len_of(files, base).is_some_and(|len| len.is_multiple_of(entry))
        };
        let last = self.last_time_entry(listing, base)?;
        let judged = verdict::index(IndexFacts {
            sealed: true,
            long_enough: whole(&listing.offset_indexes, 8) && whole(&listing.time_indexes, 12),
            sane: last.offset >= base && end.is_none_or(|end| last.offset < end || len == 0),
        });
        let max_timestamp = match judged.verdict {
            IndexVerdict::Keep | IndexVerdict::Extend => last,
            IndexVerdict::RebuildIndex => self.rebuild_indexes(base)?,
        };
        Ok(RecoveredSegment {
            base_offset: base,
            size_bytes: len,
            max_timestamp,
            first_batch_timestamp: None,
        })
    }

    fn last_time_entry(
        &self,
        listing: &Listing,
        base: Offset,
    ) -> Result<TimestampOffset, RecoveryError> {
        let entry = TIME_INDEX_ENTRY_BYTES as u64;
        let entries = len_of(&listing.time_indexes, base).unwrap_or(0) / entry;
        let Some(last) = entries.checked_sub(1) else {
            return Ok(TimestampOffset::none(base));
        };
        let name = segment_file_name(base, SegmentFileKind::TimeIndex);
        let file = SegmentFile::open(self.disk, self.directory.join(name))?;
        let mut bytes = [0; TIME_INDEX_ENTRY_BYTES];
        file.read_at(self.disk, last.saturating_mul(entry), &mut bytes)?;
        Ok(TimeIndexView::new(base, &bytes).last())
    }

    /// Scans a sealed segment for the sake of its indexes only; its content is not judged.
    fn rebuild_indexes(&self, base: Offset) -> Result<TimestampOffset, RecoveryError> {
        let mut active = Active::open(self.disk, &self.directory, base, &self.topic.settings)?;
        let from = ScanFrom {
            position: 0,
            next_offset: base,
            order: Order::Ascending,
        };
        let mut indexes = active.indexes.clone();
        active.file.scan(self.disk, from, |batch| {
            if let Ok(position) = u32::try_from(batch.position) {
                let _coarser = indexes.appended(&batch.header, position);
            }
            Ok(())
        })?;
        let _coarser = indexes.seal();
        active.indexes = indexes;
        active.settle(self.disk, &self.directory)?;
        Ok(active.indexes.max_timestamp())
    }

    /// Scans segment after segment up to the end of what is whole; the last becomes active.
    fn walk(
        &self,
        listing: &Listing,
        ground: Ground,
        building: &mut Building<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Stop> {
        let mut resume = ground.resume;
        let mut place = ground.first;
        loop {
            let base = building.active.base;
            let order = match self.mark {
                Some(mark) if base >= mark.active_base => Order::Contiguous,
                _ => Order::Ascending,
            };
            let mut from = ScanFrom {
                position: 0,
                next_offset: base,
                order,
            };
            if let Some((mark, indexes)) = resume.take() {
                marks::hit("scan began at a checkpoint");
                Self::resume_at(&mark, indexes, listing, building);
                from.position = mark.active_bytes;
                from.next_offset = mark.end_offset;
                building.next = mark.end_offset;
            }
            let end = self.scan(building, from)?;
            building.next = end.next_offset;
            place = place.saturating_add(1);
            let later = listing.segments.get(place..).unwrap_or_default();
            let joins = later.first().is_some_and(|(next, _)| {
                *next == end.next_offset || (order == Order::Ascending && *next > end.next_offset)
            });
            let whole = matches!(end.reason, EndReason::Clean | EndReason::Zeros);
            if !(whole && joins) {
                return self.end(building, end, later, notes);
            }
            marks::hit("segment sealed by recovery");
            building.active.file.cut(self.disk, end.good_bytes)?;
            let indexed = len_of(&listing.offset_indexes, base).is_some()
                && len_of(&listing.time_indexes, base).is_some();
            building.seal(base < ground.unsealed_from && indexed)?;
            let next = later.first().map_or(end.next_offset, |(base, _)| *base);
            let settings = &self.topic.settings;
            building.active = Active::open(self.disk, &self.directory, next, settings)?;
            building.next = next;
        }
    }

    fn resume_at(
        mark: &PartitionMark,
        indexes: SegmentIndexes,
        listing: &Listing,
        building: &mut Building<'_>,
    ) {
        let base = mark.active_base;
        let offset_bytes = indexes.offset_index().bytes().len() as u64;
        let time_bytes = indexes.time_index().bytes().len() as u64;
        building.active.indexes_dirty = len_of(&listing.offset_indexes, base) != Some(offset_bytes)
            || len_of(&listing.time_indexes, base) != Some(time_bytes);
        building.active.indexes = indexes;
        building.active.first_batch_timestamp =
            (mark.active_bytes > 0).then_some(mark.first_batch_timestamp);
    }

    fn scan(&self, building: &mut Building<'_>, from: ScanFrom) -> Result<ScanEnd, Stop> {
        let file = SegmentFile::open(self.disk, building.active.file.path.clone())?;
        let end = file.scan(self.disk, from, |batch| {
            let marker = self.marker_at(&file, batch)?;
            building.observe(batch, marker);
            Ok(())
        })?;
        let scanned = end.good_bytes.saturating_sub(from.position);
        building.bytes_scanned = building.bytes_scanned.saturating_add(scanned);
        Ok(end)
    }

    fn marker_at(
        &self,
        file: &SegmentFile,
        batch: &ScannedBatch,
    ) -> Result<Option<TransactionMarker>, RecoveryError> {
        if !batch.header.is_control() {
            return Ok(None);
        }
        let mut bytes = vec![0; batch.header.size_bytes().min(CONTROL_BATCH_BYTES_MAX)];
        let read = file.read_at(self.disk, batch.position, &mut bytes)?;
        Ok(marker_of(bytes.get(..read).unwrap_or_default()))
    }

    /// The good part of the log ends in the active segment: judges the end and acts.
    fn end(
        &self,
        building: &mut Building<'_>,
        end: ScanEnd,
        later: &[(Offset, u64)],
        notes: &mut Vec<Note>,
    ) -> Result<(), Stop> {
        let proven = self.proven();
        let later_end = self.end_of_later(later)?;
        let needed = proven.end.max(later_end.unwrap_or(proven.end));
        let run = self.journal_run(end.next_offset);
        let facts = TailFacts {
            end: self.tail_end(building, &end)?,
            proven_beyond: end.next_offset < proven.end,
            journal_continues: run > end.next_offset && run >= needed,
            later_data_apart: later_end.is_some(),
        };
        let judged = verdict::tail(facts);
        let path = building.active.file.path.clone();
        let position = Some(end.good_bytes);
        match judged.verdict {
            TailVerdict::Keep => {}
            TailVerdict::QuarantineRot => {
                let why = format!(
                    "{:?}: whole up to offset {}, but {} reaches {}",
                    end.reason, end.next_offset, proven.source, needed
                );
                return Err(self.offline(judged.letter, &path, position, why));
            }
            TailVerdict::CutKeepingCopy => {
                let mut name = path.clone().into_os_string();
                name.push(format!(".cut-{}", end.good_bytes));
                let copy = PathBuf::from(name);
                building
                    .active
                    .file
                    .copy_tail(self.disk, end.good_bytes, &copy)?;
            }
            TailVerdict::TrimPreallocation
            | TailVerdict::CutTornTail
            | TailVerdict::RestoreFromJournal => {}
        }
        if !matches!(
            judged.verdict,
            TailVerdict::Keep | TailVerdict::TrimPreallocation
        ) {
            notes.push(Note {
                letter: judged.letter,
                path,
                position,
                text: format!("{:?} ({:?})", judged.verdict, end.reason),
            });
        }
        building.active.file.cut(self.disk, end.good_bytes)?;
        self.drop_later(later)?;
        Ok(())
    }

    fn tail_end(&self, building: &Building<'_>, end: &ScanEnd) -> Result<TailEnd, RecoveryError> {
        Ok(match end.reason {
            EndReason::Clean => TailEnd::Clean,
            EndReason::Zeros => TailEnd::Zeros,
            EndReason::Short => TailEnd::Damaged,
            EndReason::Bad(_) => {
                let file = &building.active.file;
                let good = match end.resume_at {
                    Some(resume) => file.has_batch_at(self.disk, resume, end.next_offset)?,
                    None => false,
                };
                if good {
                    TailEnd::DamagedThenGood
                } else {
                    TailEnd::Damaged
                }
            }
        })
    }

    /// Offset after the last whole batch in the segments behind; `None` when they hold none.
    fn end_of_later(&self, later: &[(Offset, u64)]) -> Result<Option<Offset>, RecoveryError> {
        let mut last = None;
        for (base, len) in later {
            if *len == 0 {
                continue;
            }
            let name = segment_file_name(*base, SegmentFileKind::Log);
            let file = SegmentFile::open(self.disk, self.directory.join(name))?;
            let from = ScanFrom {
                position: 0,
                next_offset: *base,
                order: Order::Ascending,
            };
            let end = file.scan(self.disk, from, |_| Ok(()))?;
            if end.good_bytes > 0 {
                last = last.max(Some(end.next_offset));
            }
        }
        Ok(last)
    }

    fn drop_later(&self, later: &[(Offset, u64)]) -> Result<(), RecoveryError> {
        let kinds = [
            SegmentFileKind::Log,
            SegmentFileKind::OffsetIndex,
            SegmentFileKind::TimeIndex,
            SegmentFileKind::TransactionIndex,
        ];
        for (base, _) in later {
            marks::hit("later segment dropped");
            for kind in kinds {
                let path = self.directory.join(segment_file_name(*base, kind));
                match self.disk.remove_file(&path) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(at("remove", &path)(error)),
                }
            }
        }
        Ok(())
    }

    /// How far the journal leads without a hole from `next` on.
    fn journal_run(&self, mut next: Offset) -> Offset {
        for batch in self.batches {
            if batch.base_offset == next {
                next = Offset(batch.last_offset.0.saturating_add(1));
            } else if batch.base_offset > next {
                break;
            }
        }
        next
    }

    /// Appends what the journals have and the segments lack.
    fn replay(&self, building: &mut Building<'_>, notes: &mut Vec<Note>) -> Result<(), Stop> {
        for batch in self.batches {
            let place = if batch.last_offset < building.next {
                Place::Held
            } else if batch.base_offset == building.next {
                Place::Next
            } else if batch.base_offset < building.next {
                Place::Overlap
            } else {
                Place::Beyond
            };
            let read = match place {
                Place::Next => self.read_batch(batch)?,
                Place::Held | Place::Overlap | Place::Beyond => None,
            };
            let judged = verdict::batch(BatchFacts {
                live: true,
                offline: false,
                place,
                completed: batch.completed,
                sound: place != Place::Next || read.is_some(),
            });
            let (path, position) = (self.journal_path(batch), Some(batch.position));
            match (judged.verdict, read) {
                (BatchVerdict::SkipHeldBySegment, _) => {}
                (BatchVerdict::ReplayFromJournal, Some((header, bytes))) => {
                    let marker = header.is_control().then(|| marker_of(&bytes)).flatten();
                    building.replay(&header, &bytes, marker)?;
                }
                (BatchVerdict::StopAtGap, _) => {
                    notes.push(Note {
                        letter: judged.letter,
                        path,
                        position,
                        text: format!(
                            "{} ends at {}, the next batch in the journal begins at {}",
                            self.directory.display(),
                            building.next,
                            batch.base_offset
                        ),
                    });
                    return Ok(());
                }
                _ => {
                    // What was replayed before it stays, durably, for whoever looks into this.
                    building.active.settle(self.disk, &self.directory)?;
                    let why = format!(
                        "the log ends at {}, the journal has {}..={}",
                        building.next, batch.base_offset, batch.last_offset
                    );
                    return Err(self.offline(judged.letter, &path, position, why));
                }
            }
        }
        Ok(())
    }

    fn journal_path(&self, batch: &BatchRef) -> PathBuf {
        let file = self.journals.get(batch.file);
        file.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    /// The batch's bytes, if they are one batch and the one that the descriptor tells of.
    fn read_batch(
        &self,
        batch: &BatchRef,
    ) -> Result<Option<(BatchHeader, Vec<u8>)>, RecoveryError> {
        let Some((path, file)) = self.journals.get(batch.file) else {
            return Ok(None);
        };
        // The length was checked against the entry that holds it when the journal was read.
        let mut bytes = vec![0; usize::try_from(batch.len).unwrap_or(0)];
        let read = self
            .disk
            .read_at(file, batch.position, &mut bytes)
            .map_err(at("read", path))?;
        let header = BatchHeader::parse(&bytes).ok().filter(|header| {
            read == bytes.len()
                && header.size_bytes() == bytes.len()
                && header.base_offset == batch.base_offset
                && header.last_offset() == batch.last_offset
                && header.leader_epoch == batch.leader_epoch
                && header.last_offset() >= header.base_offset
                && is_intact(header, &bytes)
        });
        Ok(header.map(|header| (header, bytes)))
    }
}

/// How a transaction ends, from a control batch's bytes; `None` for other kinds of control batch
/// and for one that compaction has emptied.
fn marker_of(bytes: &[u8]) -> Option<TransactionMarker> {
    let records = bytes.get(BATCH_HEADER_BYTES..)?;
    let record = RecordIter::new(records, 1).next()?.ok()?;
    let kind = ControlType::of_key(record.key?)?;
    let commit = kind == ControlType::COMMIT;
    (commit || kind == ControlType::ABORT).then_some(TransactionMarker {
        commit,
        coordinator_epoch: coordinator_epoch(record.value?)?,
    })
}
