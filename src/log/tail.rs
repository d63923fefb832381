//! The tail: recent batches of one partition, as they are on the wire, still in memory.
//!
//! Holds slices of the shard's commit chunks, oldest first, offsets rising. What is not yet in a
//! flushed segment is always here; the rest stays as a cache until the shard's budget takes it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::words::{Offset, TimestampMs};

/// One batch in memory, stamped as it is (or will be) in its segment.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    /// Base offset of the segment it belongs to.
    pub segment: Offset,
    /// Byte position of the batch in that segment.
    pub position: u64,
    pub bytes: Bytes,
}

/// Batches in offset order without gaps between neighbours.
#[derive(Default)]
pub struct Tail {
    batches: VecDeque<StoredBatch>,
    bytes: usize,
}

impl Tail {
    pub fn push(&mut self, batch: StoredBatch) {
        debug_assert!(
            self.batches
                .back()
                .is_none_or(|last| last.last_offset < batch.base_offset),
            "the tail rises"
        );
        self.bytes = self.bytes.saturating_add(batch.bytes.len());
        self.batches.push_back(batch);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// First offset held in memory.
    pub fn first_offset(&self) -> Option<Offset> {
        self.batches.front().map(|batch| batch.base_offset)
    }

    /// Batches from the one that holds `from` (or the first after it) on; empty when `from` lies
    /// before the tail, which means: look on the disk.
    pub fn from(&self, from: Offset) -> impl Iterator<Item = &StoredBatch> {
        let before_tail = self.first_offset().is_none_or(|first| from < first);
        let start = if before_tail {
            self.batches.len()
        } else {
            self.batches
                .partition_point(|batch| batch.last_offset < from)
        };
        self.batches.range(start..)
    }

    /// All batches, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter()
    }

    /// Gives up the oldest batch if all of it lies below `filled`.
    pub fn evict_front(&mut self, filled: Offset) -> Option<StoredBatch> {
        let front = self.batches.front()?;
        if front.last_offset >= filled {
            return None;
        }
        let batch = self.batches.pop_front()?;
        self.bytes = self.bytes.saturating_sub(batch.bytes.len());
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, last: i64) -> StoredBatch {
        StoredBatch {
            base_offset: Offset(base),
            last_offset: Offset(last),
            max_timestamp: TimestampMs(0),
            segment: Offset(0),
            position: 0,
            bytes: Bytes::from_static(b"xx"),
        }
    }

    fn tail() -> Tail {
        let mut tail = Tail::default();
        for (base, last) in [(10, 12), (13, 13), (14, 20)] {
            tail.push(batch(base, last));
        }
        tail
    }

    #[test]
    fn reading_starts_with_the_batch_that_holds_the_offset() {
        let bases = |from| {
            tail()
                .from(Offset(from))
                .map(|b| b.base_offset.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(bases(10), [10, 13, 14]);
        assert_eq!(bases(12), [10, 13, 14]);
        assert_eq!(bases(13), [13, 14]);
        assert_eq!(bases(20), [14]);
        assert_eq!(bases(21), Vec::<i64>::new());
        assert_eq!(bases(9), Vec::<i64>::new());
    }

    #[test]
    fn only_what_is_filled_may_be_evicted() {
        let mut tail = tail();
        assert!(tail.evict_front(Offset(12)).is_none());
        assert!(tail.evict_front(Offset(13)).is_some());
        assert_eq!(tail.first_offset(), Some(Offset(13)));
        assert_eq!(tail.bytes(), 4);
    }
}
