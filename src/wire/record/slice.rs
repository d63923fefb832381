//! Walks over stored bytes: batch by batch, and down to one record where a time asks for it.
//!
//! Owns no position and no file: it is given bytes and answers from them. Checksums are not looked at
//! here (see `crc::is_intact`); bytes may be torn, rotten or space that was only reserved.

use std::fmt;

use super::allowance::Allowance;
use super::compression::CompressionFault;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, HeaderFault};
use super::records::{Record, RecordFault, RecordIter};
use crate::words::{Offset, TimestampMs};

/// Whole batches in a run of bytes, in order, each with its position in them.
#[derive(Clone, Debug)]
pub struct BatchWalk<'a> {
    bytes: &'a [u8],
    position: usize,
    stop: Option<WalkStop>,
}

/// Why a walk went no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkStop {
    /// The bytes end where a batch ends.
    End,
    /// Fewer bytes than a header has are left.
    ShortHeader,
    /// The last batch is not there whole; it would have so many bytes.
    ShortBatch(usize),
    /// What should be a header is none.
    Bad(HeaderFault),
    /// As many bytes as a header has, or all that are left, are zero: reserved, never written.
    Zeros,
}

impl<'a> BatchWalk<'a> {
    /// `bytes` begins where a batch begins.
    pub fn new(bytes: &'a [u8]) -> BatchWalk<'a> {
        BatchWalk {
            bytes,
            position: 0,
            stop: None,
        }
    }

    /// Bytes of the whole batches passed so far: where the next one begins, or would.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Why the walk ended; `None` before it has.
    pub fn stopped(&self) -> Option<WalkStop> {
        self.stop
    }

    fn step(&self) -> Result<BatchHeader, WalkStop> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        if rest.is_empty() {
            return Err(WalkStop::End);
        }
        if rest.iter().take(BATCH_HEADER_BYTES).all(|&byte| byte == 0) {
            return Err(WalkStop::Zeros);
        }
        if rest.len() < BATCH_HEADER_BYTES {
            return Err(WalkStop::ShortHeader);
        }
        let header = BatchHeader::parse(rest).map_err(WalkStop::Bad)?;
        if header.size_bytes() > rest.len() {
            return Err(WalkStop::ShortBatch(header.size_bytes()));
        }
        Ok(header)
    }
}

impl Iterator for BatchWalk<'_> {
    type Item = (usize, BatchHeader);

    fn next(&mut self) -> Option<(usize, BatchHeader)> {
        if self.stop.is_some() {
            return None;
        }
        match self.step() {
            Ok(header) => {
                let position = self.position;
                self.position = position.saturating_add(header.size_bytes());
                Some((position, header))
            }
            Err(stop) => {
                self.stop = Some(stop);
                None
            }
        }
    }
}

/// Why a stored batch cannot be read down to its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadFault {
    Header(HeaderFault),
    /// Fewer bytes than the header claims.
    Short,
    Compression(CompressionFault),
    Record(RecordFault),
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadFault::Header(fault) => write!(f, "no batch header: {fault:?}"),
            ReadFault::Short => f.write_str("the batch is cut short"),
            ReadFault::Compression(fault) => fault.fmt(f),
            ReadFault::Record(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ReadFault {}

/// The first record, in offset order, of the batch at the start of `bytes` whose timestamp is at
/// least `target` and whose offset is at least `from` (ListOffsets by time; Kafka
/// `FileRecords.searchForTimestamp`). With log append time every record has the batch's timestamp.
/// Only a batch that can hold an answer is decompressed, and paid for.
pub fn find_timestamp(
    bytes: &[u8],
    target: TimestampMs,
    from: Offset,
    allowance: &mut Allowance,
) -> Result<Option<(Offset, TimestampMs)>, ReadFault> {
    find(bytes, allowance, |header| {
        let worth = header.max_timestamp >= target && header.last_offset() >= from;
        worth.then_some(move |offset, timestamp| timestamp >= target && offset >= from)
    })
}

/// The first record of the batch at the start of `bytes` that has the batch's largest timestamp, as
/// ListOffsets -3 answers it (Kafka `RecordBatch.offsetOfMaxTimestamp`). A batch whose records have
/// no timestamp answers its first record with -1; `None` is for a batch whose header lies.
pub fn max_timestamp_record(
    bytes: &[u8],
    allowance: &mut Allowance,
) -> Result<Option<(Offset, TimestampMs)>, ReadFault> {
    find(bytes, allowance, |header| {
        let max_timestamp = header.max_timestamp;
        Some(move |_, timestamp| timestamp == max_timestamp)
    })
}

/// First record that `wanted` makes a test for and that passes it.
fn find<Test: Fn(Offset, TimestampMs) -> bool>(
    bytes: &[u8],
    allowance: &mut Allowance,
    wanted: impl FnOnce(&BatchHeader) -> Option<Test>,
) -> Result<Option<(Offset, TimestampMs)>, ReadFault> {
    let header = BatchHeader::parse(bytes).map_err(ReadFault::Header)?;
    let body = bytes
        .get(BATCH_HEADER_BYTES..header.size_bytes())
        .ok_or(ReadFault::Short)?;
    let Some(test) = wanted(&header) else {
        return Ok(None);
    };
    let records = allowance
        .unpack(&header, body)
        .map_err(ReadFault::Compression)?;
    for record in RecordIter::new(&records, header.records_count) {
        let record: Record<'_> = record.map_err(ReadFault::Record)?;
        let offset = header.offset_of(&record);
        let timestamp = header.timestamp_of(&record);
        if test(offset, timestamp) {
            return Ok(Some((offset, timestamp)));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
