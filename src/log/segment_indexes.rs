//! Both indexes of an active segment together: what an appended batch adds to them, and the
//! largest timestamp so far (Kafka `LogSegment.append`, `recover`, `onBecomeInactiveSegment`).
//!
//! Lives on the core that owns the partition. Never decides to roll (see `roll.rs`), never writes.

use crate::log::offset_index::{IndexFault, IndexRefusal, OffsetIndex};
use crate::log::time_index::{TimeIndex, TimestampOffset};
use crate::wire::record::BatchHeader;
use crate::words::Offset;

/// What shapes the indexes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexSettings {
    /// `segment.index.bytes`: bound of each index file.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an entry for a batch when more bytes than this came since the last.
    pub index_interval_bytes: u32,
}

/// How far index files and counters are known good; from a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexMark {
    pub offset_index_entries: u32,
    pub time_index_entries: u32,
    pub bytes_since_index_entry: u32,
    pub max_timestamp: TimestampOffset,
}

/// The indexes of one active segment.
#[derive(Clone, Debug)]
pub struct SegmentIndexes {
    offset: OffsetIndex,
    time: TimeIndex,
    settings: IndexSettings,
    max_timestamp: TimestampOffset,
    bytes_since_entry: u32,
}

impl SegmentIndexes {
    /// For an empty segment that begins at `base`.
    pub fn new(base: Offset, settings: IndexSettings) -> SegmentIndexes {
        SegmentIndexes {
            offset: OffsetIndex::new(base, settings.segment_index_bytes),
            time: TimeIndex::new(base, settings.segment_index_bytes),
            settings,
            max_timestamp: TimestampOffset::none(base),
            bytes_since_entry: 0,
        }
    }

    /// From index files up to `mark`. `segment_bytes` is the known good length of the `.log` file.
    /// On a fault rebuild: [`SegmentIndexes::new`], then [`SegmentIndexes::appended`] for every
    /// batch of the segment.
    pub fn load(
        base: Offset,
        settings: IndexSettings,
        mark: IndexMark,
        offset_index: &[u8],
        time_index: &[u8],
        segment_bytes: u64,
    ) -> Result<SegmentIndexes, IndexFault> {
        let bytes_max = settings.segment_index_bytes;
        let entries = mark.offset_index_entries;
        let offset = OffsetIndex::load(base, bytes_max, offset_index, entries, segment_bytes)?;
        let time = TimeIndex::load(base, bytes_max, time_index, mark.time_index_entries)?;
        Ok(SegmentIndexes {
            offset,
            time,
            settings,
            max_timestamp: mark.max_timestamp,
            bytes_since_entry: mark.bytes_since_index_entry,
        })
    }

    /// Takes note of a stored batch that begins at file position `position`; call it for every
    /// batch in order, when appending and when rebuilding alike. A batch gets its entry (under
    /// its last offset) when more than the interval came *before* it since the last entry.
    /// A refusal leaves lookups right but coarser; `is_full` would have asked for a roll first.
    pub fn appended(&mut self, batch: &BatchHeader, position: u32) -> Result<(), IndexRefusal> {
        self.observe(batch);
        let due = self.bytes_since_entry > self.settings.index_interval_bytes;
        let entry = if due {
            self.bytes_since_entry = 0;
            self.add_entry(batch.last_offset(), position)
        } else {
            Ok(())
        };
        let size = u32::try_from(batch.size_bytes()).unwrap_or(u32::MAX);
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(size);
        entry
    }

    fn add_entry(&mut self, last_offset: Offset, position: u32) -> Result<(), IndexRefusal> {
        self.offset.append(last_offset, position)?;
        self.time.maybe_append(self.max_timestamp)?;
        Ok(())
    }

    /// Takes note of a batch's timestamp only: for the batches after a truncation.
    pub fn observe(&mut self, batch: &BatchHeader) {
        if batch.max_timestamp > self.max_timestamp.timestamp {
            self.max_timestamp = TimestampOffset {
                timestamp: batch.max_timestamp,
                offset: batch.last_offset(),
            };
        }
    }

    /// Drops what belongs to `offset` and above. The largest timestamp falls back to what the time
    /// index knows; [`SegmentIndexes::observe`] the remaining batches from the returned file
    /// position on to make it exact.
    pub fn truncate_to(&mut self, offset: Offset) -> u32 {
        self.offset.truncate_to(offset);
        self.time.truncate_to(offset);
        self.bytes_since_entry = 0;
        self.max_timestamp = self.time.view().last();
        self.offset.lookup(self.max_timestamp.offset).position
    }

    /// The segment gets no more batches: the time index ends with its largest timestamp.
    pub fn seal(&mut self) -> Result<(), IndexRefusal> {
        self.time.append_last(self.max_timestamp).map(|_| ())
    }

    /// Largest batch timestamp so far and the last offset of the first batch that has it.
    pub fn max_timestamp(&self) -> TimestampOffset {
        self.max_timestamp
    }

    /// One of the two takes no further entry: the segment has to roll.
    pub fn is_full(&self) -> bool {
        self.offset.is_full() || self.time.is_full()
    }

    /// For the checkpoint.
    pub fn mark(&self) -> IndexMark {
        IndexMark {
            offset_index_entries: self.offset.len(),
            time_index_entries: self.time.len(),
            bytes_since_index_entry: self.bytes_since_entry,
            max_timestamp: self.max_timestamp,
        }
    }

    /// Takes over changed topic settings.
    pub fn reconfigure(&mut self, settings: IndexSettings) {
        self.settings = settings;
        self.offset.resize(settings.segment_index_bytes);
        self.time.resize(settings.segment_index_bytes);
    }

    pub fn offset_index(&self) -> &OffsetIndex {
        &self.offset
    }

    pub fn time_index(&self) -> &TimeIndex {
        &self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, TimestampMs};
    use proptest::prelude::*;

    const SETTINGS: IndexSettings = IndexSettings {
        segment_index_bytes: 1 << 20,
        index_interval_bytes: 4096,
    };

    fn batch(base: i64, records: i32, size: i32, max_timestamp: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(base),
            batch_length: size - 12,
            leader_epoch: LeaderEpoch(0),
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: TimestampMs(max_timestamp),
            max_timestamp: TimestampMs(max_timestamp),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            records_count: records,
        }
    }

    #[test]
    fn a_batch_is_indexed_when_more_than_the_interval_came_before_it() {
        let mut indexes = SegmentIndexes::new(Offset(10), SETTINGS);
        // (base, records, size, timestamp) -> entries of both indexes afterwards
        let steps = [
            (batch(10, 1, 4096, 50), 0, 0),
            (batch(11, 1, 61, 40), 0, 0), // exactly the interval came before: not more
            (batch(12, 3, 100, 30), 1, 1),
            (batch(15, 1, 4000, 60), 1, 1), // 100 bytes since the entry, its own batch included
            (batch(16, 1, 9000, 20), 2, 2), // 4100 bytes
            (batch(17, 1, 61, 20), 3, 2),   // no later timestamp: no entry by time
        ];
        let mut position = 0;
        for (at, (batch, offsets, times)) in steps.iter().enumerate() {
            indexes.appended(batch, position).unwrap();
            position += u32::try_from(batch.size_bytes()).unwrap();
            let lens = (indexes.offset_index().len(), indexes.time_index().len());
            assert_eq!(lens, (*offsets, *times), "step {at}");
        }
        // The entry carries the batch's last offset and its first byte's position.
        let entry = indexes.offset_index().view().entry(0).unwrap();
        assert_eq!((entry.offset, entry.position), (Offset(14), 4157));
        // The time entry carries the largest timestamp so far, which an earlier batch had.
        let entry = indexes.time_index().view().entry(0).unwrap();
        assert_eq!((entry.timestamp.0, entry.offset.0), (50, 10));
    }

    #[test]
    fn sealing_writes_the_largest_timestamp_once() {
        let mut indexes = SegmentIndexes::new(Offset(0), SETTINGS);
        indexes.appended(&batch(0, 1, 100, 7), 0).unwrap();
        indexes.seal().unwrap();
        indexes.seal().unwrap();
        assert_eq!(
            indexes.time_index().bytes(),
            [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0]
        );
        let mut without = SegmentIndexes::new(Offset(0), SETTINGS);
        without.appended(&batch(0, 1, 100, -1), 0).unwrap();
        without.seal().unwrap();
        assert!(without.time_index().is_empty());
    }

    #[test]
    fn a_full_index_refuses_entries_and_still_finds_offsets() {
        let tight = IndexSettings {
            segment_index_bytes: 16,
            index_interval_bytes: 0,
        };
        let mut indexes = SegmentIndexes::new(Offset(0), tight);
        assert!(
            indexes.is_full(),
            "16 bytes hold only the entry that seals the time index"
        );
        assert_eq!(indexes.appended(&batch(0, 1, 100, 7), 0), Ok(()));
        assert_eq!(
            indexes.appended(&batch(1, 1, 100, 8), 100),
            Err(IndexRefusal::Full)
        );
        assert_eq!(indexes.offset_index().lookup(Offset(1)).position, 100);
    }

    proptest! {
        #[test]
        fn reloading_from_the_mark_and_truncating_agree_with_rebuilding(
            sizes in proptest::collection::vec((1i32..5, 61i32..3000, -1i64..100), 1..60),
            cut in 0usize..60,
        ) {
            let mut batches = Vec::new();
            let (mut next, mut position) = (100i64, 0u32);
            for (records, size, timestamp) in sizes {
                batches.push((batch(next, records, size, timestamp), position));
                next += i64::from(records);
                position += u32::try_from(size).unwrap();
            }
            let build = |batches: &[(BatchHeader, u32)]| {
                let mut indexes = SegmentIndexes::new(Offset(100), SETTINGS);
                for (batch, position) in batches {
                    indexes.appended(batch, *position).unwrap();
                }
                indexes
            };
            let whole = build(&batches);
            let (offsets, times) = (whole.offset_index().bytes(), whole.time_index().bytes());
            let loaded = SegmentIndexes::load(Offset(100), SETTINGS, whole.mark(), offsets, times, u64::from(position)).unwrap();
            prop_assert_eq!(loaded.mark(), whole.mark());

            let kept = &batches[..cut.min(batches.len())];
            let end = kept.last().map_or(Offset(100), |(batch, _)| batch.next_offset());
            let mut truncated = whole.clone();
            let from = truncated.truncate_to(end);
            for (batch, _) in kept.iter().filter(|(_, position)| *position >= from) {
                truncated.observe(batch);
            }
            let rebuilt = build(kept);
            prop_assert_eq!(truncated.offset_index().bytes(), rebuilt.offset_index().bytes());
            prop_assert_eq!(truncated.max_timestamp(), rebuilt.max_timestamp());
            // An entry that a batch now gone had caused may stay when it tells of one that stays.
            let view = truncated.time_index().view();
            for entry in (0..view.len()).map(|at| view.entry(at).unwrap()) {
                prop_assert!(entry.offset < end);
                for (batch, _) in kept.iter().filter(|(batch, _)| batch.last_offset() <= entry.offset) {
                    prop_assert!(batch.max_timestamp <= entry.timestamp);
                }
            }
        }
    }
}
