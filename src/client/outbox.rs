//! Records on their way out: one open batch a partition, sealed all at once.
//!
//! Owns encoding, the bounds of batches and buffer, and an idempotent producer's sequences. Never
//! sends: see `producer`. Sequences are given when a batch is sealed, so sealed batches of one
//! partition have to be sent in that order, and again with the same bytes when they are retried.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::wire::record::{BatchBuilder, BuildFault, Codec, NewRecord};
use crate::words::{PartitionIndex, ProducerEpoch, ProducerId, Sequence};

/// Bytes of one record's key, value and headers that are taken; keeps every request far below
/// what a frame can say.
pub const RECORD_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Bytes that wait in open batches before they are sent (Kafka `buffer.memory`). Below a broker's
/// default `socket.request.max.bytes`, since they may all go to one leader.
pub const BUFFER_BYTES_MAX: usize = 32 * 1024 * 1024;
const _: () = assert!(RECORD_BYTES_MAX + BUFFER_BYTES_MAX < (i32::MAX as usize) / 2);

/// Most that a record's lengths, deltas and attributes take.
const RECORD_OVERHEAD_BYTES: usize = 36;
/// Most that a header's lengths take.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// An idempotent producer's identity (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// A batch ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBatch {
    pub partition: PartitionIndex,
    pub bytes: Bytes,
    pub records: u64,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Outbox {
    codec: Codec,
    level: Option<i32>,
    batch_bytes_max: usize,
    identity: Option<Identity>,
    next_sequence: BTreeMap<PartitionIndex, Sequence>,
    open: BTreeMap<PartitionIndex, BatchBuilder>,
    /// Bytes in open batches, not compressed.
    buffered: usize,
}

impl Outbox {
    /// `batch_bytes_max` bounds a batch before compression; a larger record has one of its own.
    pub fn new(codec: Codec, level: Option<i32>, batch_bytes_max: usize) -> Outbox {
        Outbox {
            codec,
            level,
            batch_bytes_max,
            identity: None,
            next_sequence: BTreeMap::new(),
            open: BTreeMap::new(),
            buffered: 0,
        }
    }

    /// Makes every batch sealed from now on an idempotent one, with sequences from 0.
    pub fn identify(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next_sequence.clear();
    }

    /// Whether the record can be pushed without sending anything first.
    pub fn has_room(&self, partition: PartitionIndex, record: &NewRecord<'_>) -> bool {
        let bytes = record_bytes_most(record);
        if self.buffered > 0 && self.buffered.saturating_add(bytes) > BUFFER_BYTES_MAX {
            return false;
        }
        self.open.get(&partition).is_none_or(|batch| {
            batch.size_bytes().saturating_add(bytes) <= self.batch_bytes_max
                && batch.records_count() < i32::MAX
        })
    }

    /// Adds a record, room or not.
    ///
    /// # Errors
    /// [`BuildFault::TooLarge`]; the outbox is as before.
    pub fn push(
        &mut self,
        partition: PartitionIndex,
        record: &NewRecord<'_>,
    ) -> Result<(), BuildFault> {
        if record_bytes_most(record) > RECORD_BYTES_MAX {
            return Err(BuildFault::TooLarge);
        }
        let codec = self.codec;
        let batch = self.open.entry(partition).or_insert_with(|| {
            let batch = BatchBuilder::new(codec);
            match self.level {
                Some(level) => batch.level(level),
                None => batch,
            }
        });
        let before = batch.size_bytes();
        batch.push(record)?;
        let added = batch.size_bytes().saturating_sub(before);
        self.buffered = self.buffered.saturating_add(added);
        Ok(())
    }

    /// Takes every open batch out, by rising partition.
    ///
    /// # Errors
    /// What compression runs into; then some records are lost, and the producer is of no use.
    pub fn seal_all(&mut self) -> Result<Vec<SealedBatch>, BuildFault> {
        self.buffered = 0;
        let mut sealed = Vec::with_capacity(self.open.len());
        for (partition, mut batch) in std::mem::take(&mut self.open) {
            let count = batch.records_count();
            if count == 0 {
                continue;
            }
            if let Some(identity) = self.identity {
                let next = self.next_sequence.entry(partition).or_default();
                batch = batch.producer(identity.id, identity.epoch, *next);
                *next = sequence_after(*next, count);
            }
            sealed.push(SealedBatch {
                partition,
                bytes: batch.build()?,
                records: u64::try_from(count).unwrap_or(0),
            });
        }
        Ok(sealed)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Sequences wrap from `i32::MAX` to 0 (Kafka `DefaultRecordBatch.incrementSequence`).
fn sequence_after(sequence: Sequence, records: i32) -> Sequence {
    let sum = i64::from(sequence.0).saturating_add(i64::from(records));
    let wrapped = sum.rem_euclid(i64::from(i32::MAX).saturating_add(1));
    Sequence(i32::try_from(wrapped).unwrap_or(0))
}

/// At least the bytes that the record takes in a batch.
fn record_bytes_most(record: &NewRecord<'_>) -> usize {
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let mut bytes = RECORD_OVERHEAD_BYTES
        .saturating_add(len(record.key))
        .saturating_add(len(record.value));
    for header in record.headers {
        bytes = bytes
            .saturating_add(HEADER_OVERHEAD_BYTES)
            .saturating_add(header.key.len())
            .saturating_add(len(header.value));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{BatchHeader, split_single_batch};
    use crate::words::TimestampMs;

    fn record(value: &[u8]) -> NewRecord<'_> {
        NewRecord::of(TimestampMs(1), None, Some(value))
    }

    fn header(batch: &SealedBatch) -> BatchHeader {
        split_single_batch(&batch.bytes).unwrap().header
    }

    #[test]
    fn sealing_takes_one_batch_of_each_partition_and_leaves_nothing() {
        let mut outbox = Outbox::new(Codec::LZ4, None, 1000);
        for (partition, value) in [(1, "a"), (0, "b"), (1, "c")] {
            let record = record(value.as_bytes());
            outbox.push(PartitionIndex(partition), &record).unwrap();
        }
        let sealed = outbox.seal_all().unwrap();
        let counts: Vec<_> = sealed.iter().map(|b| (b.partition.0, b.records)).collect();
        assert_eq!(counts, [(0, 1), (1, 2)]);
        assert_eq!(header(&sealed[1]).codec(), Codec::LZ4);
        assert!(!header(&sealed[1]).has_producer_id());
        assert!(outbox.is_empty());
        assert!(outbox.seal_all().unwrap().is_empty());
    }

    #[test]
    fn sequences_go_on_by_partition_and_wrap() {
        let mut outbox = Outbox::new(Codec::NONE, None, 1000);
        outbox.identify(Identity {
            id: ProducerId(7),
            epoch: ProducerEpoch(2),
        });
        let mut sequences = Vec::new();
        for _ in 0..2 {
            for partition in [0, 0, 1] {
                outbox
                    .push(PartitionIndex(partition), &record(b"v"))
                    .unwrap();
            }
            for batch in outbox.seal_all().unwrap() {
                let header = header(&batch);
                assert_eq!(header.producer_id, ProducerId(7));
                sequences.push((batch.partition.0, header.base_sequence.0));
            }
        }
        assert_eq!(sequences, [(0, 0), (1, 0), (0, 2), (1, 1)]);
        assert_eq!(sequence_after(Sequence(i32::MAX), 1), Sequence(0));
        assert_eq!(sequence_after(Sequence(i32::MAX - 1), 5), Sequence(3));
    }

    #[test]
    fn a_full_batch_has_no_room_and_a_large_record_has_a_batch_of_its_own() {
        let mut outbox = Outbox::new(Codec::NONE, None, 300);
        let (small, large) = ([0; 10], [0; 1000]);
        assert!(outbox.has_room(PartitionIndex(0), &record(&large)));
        let mut pushed = 0;
        while outbox.has_room(PartitionIndex(0), &record(&small)) {
            outbox.push(PartitionIndex(0), &record(&small)).unwrap();
            pushed += 1;
        }
        assert!(pushed > 5);
        assert!(outbox.has_room(PartitionIndex(1), &record(&small)));
        let sealed = outbox.seal_all().unwrap();
        assert!(sealed[0].bytes.len() <= 300);
    }

    #[test]
    fn the_bound_on_a_record_is_never_below_what_it_takes() {
        use crate::wire::record::RecordHeader;
        let key = vec![0; 20_000];
        let headers = [RecordHeader {
            key: b"h",
            value: Some(&[0; 300]),
        }];
        let record = NewRecord {
            timestamp: TimestampMs(i64::MIN),
            key: Some(&key),
            value: None,
            headers: &headers,
        };
        let mut batch = BatchBuilder::new(Codec::NONE);
        batch
            .push(&NewRecord::of(TimestampMs(0), None, None))
            .unwrap();
        let before = batch.size_bytes();
        batch.push_at(i32::MAX, &record).unwrap();
        assert!(batch.size_bytes() - before <= record_bytes_most(&record));
    }
}
