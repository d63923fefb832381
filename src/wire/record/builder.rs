//! Encodes record batches: for our client, the coordinators' markers and the tests.
//!
//! Owns the way from records to one finished batch with its checksum. Deltas, counts and the largest
//! timestamp follow from what is pushed. Never reads a clock and never splits: when a batch is full
//! is the caller's decision.

use std::fmt;

use bytes::Bytes;

use super::check::CheckedBatch;
use super::compression::{self, CompressionFault};
use super::crc;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, Codec, LOG_OVERHEAD_BYTES, MAGIC_V2};
use super::records::RecordHeader;
use super::varint;
use crate::words::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// A record to encode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRecord<'a> {
    pub timestamp: TimestampMs,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [RecordHeader<'a>],
}

impl<'a> NewRecord<'a> {
    /// A record without headers.
    pub fn of(
        timestamp: TimestampMs,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    ) -> NewRecord<'a> {
        NewRecord {
            timestamp,
            key,
            value,
            headers: &[],
        }
    }
}

/// Why no batch can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildFault {
    /// No record was pushed.
    Empty,
    /// A record or the batch would be longer than its length field can say.
    TooLarge,
    /// An offset delta is not above the one before it.
    OffsetDelta(i32),
    Compression(CompressionFault),
}

impl fmt::Display for BuildFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildFault::Empty => f.write_str("a batch needs a record"),
            BuildFault::TooLarge => f.write_str("the batch is too large for its format"),
            BuildFault::OffsetDelta(delta) => write!(f, "offset delta {delta} does not rise"),
            BuildFault::Compression(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for BuildFault {}

/// One batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    level: Option<i32>,
    header: BatchHeader,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// Base offset 0, no leader epoch, no producer, create time.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            level: None,
            header: BatchHeader {
                base_offset: Offset(0),
                batch_length: 0,
                leader_epoch: LeaderEpoch(-1),
                magic: MAGIC_V2,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: TimestampMs(-1),
                max_timestamp: TimestampMs(-1),
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch(-1),
                base_sequence: Sequence(-1),
                records_count: 0,
            },
            records: Vec::new(),
        }
    }

    /// The codec's level, as `compression.<codec>.level`.
    pub fn level(mut self, level: i32) -> Self {
        self.level = Some(level);
        self
    }

    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Makes the batch an idempotent producer's.
    pub fn producer(
        mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> Self {
        self.header.set_transactional();
        self
    }

    pub fn control(mut self) -> Self {
        self.header.set_control();
        self
    }

    /// Records pushed so far.
    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    /// Bytes of the batch as it would be without compression.
    pub fn size_bytes(&self) -> usize {
        self.records.len().saturating_add(BATCH_HEADER_BYTES)
    }

    /// Appends a record at the offset after the last one. After a fault the batch is as before.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildFault> {
        let delta = self.header.last_offset_delta.checked_add(1);
        self.push_at(delta.ok_or(BuildFault::TooLarge)?, record)
    }

    /// Appends a record that keeps its distance from the base offset, as compaction leaves it.
    pub fn push_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) -> Result<(), BuildFault> {
        if offset_delta <= self.header.last_offset_delta {
            return Err(BuildFault::OffsetDelta(offset_delta));
        }
        let first = self.header.records_count == 0;
        let base = if first {
            record.timestamp
        } else {
            self.header.base_timestamp
        };
        let count = self.header.records_count.checked_add(1);
        let count = count.ok_or(BuildFault::TooLarge)?;
        // A distance past i64 wraps here and back when it is read.
        let timestamp_delta = record.timestamp.0.wrapping_sub(base.0);
        let size = body_bytes(offset_delta, timestamp_delta, record)
            .and_then(|size| i32::try_from(size).ok())
            .ok_or(BuildFault::TooLarge)?;
        varint::write_i32(&mut self.records, size);
        self.records.push(0);
        varint::write_i64(&mut self.records, timestamp_delta);
        varint::write_i32(&mut self.records, offset_delta);
        write_nullable(&mut self.records, record.key);
        write_nullable(&mut self.records, record.value);
        write_len(&mut self.records, record.headers.len());
        for header in record.headers {
            write_nullable(&mut self.records, Some(header.key));
            write_nullable(&mut self.records, header.value);
        }
        self.header.base_timestamp = base;
        self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        self.header.last_offset_delta = offset_delta;
        self.header.records_count = count;
        Ok(())
    }

    /// The finished batch.
    pub fn build(self) -> Result<Bytes, BuildFault> {
        if self.header.records_count == 0 {
            return Err(BuildFault::Empty);
        }
        let BatchBuilder {
            codec,
            level,
            mut header,
            records,
        } = self;
        header.set_codec(codec);
        if codec == Codec::NONE {
            return finish(header, &records);
        }
        let body =
            compression::compress(codec, &records, level).map_err(BuildFault::Compression)?;
        finish(header, &body)
    }
}

/// The same batch in another codec, for a topic whose `compression.type` is not the producer's
/// (Kafka re-encodes in `LogValidator`). Every record stays as it is, byte for byte; bits of the
/// attributes that mean nothing are dropped. `records` are the batch's when not compressed.
pub fn recode(
    header: &BatchHeader,
    records: &[u8],
    codec: Codec,
    level: Option<i32>,
) -> Result<CheckedBatch, BuildFault> {
    let mut header = *header;
    let body = compression::compress(codec, records, level).map_err(BuildFault::Compression)?;
    header.drop_unused_attributes();
    header.set_codec(codec);
    let bytes = finish(header, &body)?;
    let header = BatchHeader::parse(&bytes).map_err(|_| BuildFault::TooLarge)?;
    Ok(CheckedBatch { header, bytes })
}

/// Sets length and checksum, and joins header and body.
fn finish(mut header: BatchHeader, body: &[u8]) -> Result<Bytes, BuildFault> {
    let size = body.len().checked_add(BATCH_HEADER_BYTES);
    let size = size.ok_or(BuildFault::TooLarge)?;
    header.batch_length =
        i32::try_from(size.saturating_sub(LOG_OVERHEAD_BYTES)).map_err(|_| BuildFault::TooLarge)?;
    header.crc = crc::batch_crc(&header.encode(), body);
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    Ok(Bytes::from(out))
}

/// Bytes of a record after its size field; `None` when they cannot be counted.
fn body_bytes(offset_delta: i32, timestamp_delta: i64, record: &NewRecord<'_>) -> Option<usize> {
    let mut size = 1usize
        .checked_add(varint::len_i64(timestamp_delta))?
        .checked_add(varint::len_i64(i64::from(offset_delta)))?
        .checked_add(nullable_bytes(record.key)?)?
        .checked_add(nullable_bytes(record.value)?)?
        .checked_add(len_bytes(record.headers.len())?)?;
    for header in record.headers {
        size = size
            .checked_add(nullable_bytes(Some(header.key))?)?
            .checked_add(nullable_bytes(header.value)?)?;
    }
    Some(size)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> Option<usize> {
    match bytes {
        None => Some(1),
        Some(bytes) => len_bytes(bytes.len())?.checked_add(bytes.len()),
    }
}

fn len_bytes(len: usize) -> Option<usize> {
    let len = i32::try_from(len).ok()?;
    Some(varint::len_i64(i64::from(len)))
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write_i32(out, -1),
        Some(bytes) => {
            write_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

/// `body_bytes` has counted the record, so its lengths are below `i32::MAX`.
fn write_len(out: &mut Vec<u8>, len: usize) {
    varint::write_i32(out, i32::try_from(len).unwrap_or(i32::MAX));
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
