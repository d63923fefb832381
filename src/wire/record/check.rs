//! What the records field of a Produce request must be before it is appended.
//!
//! Two steps: [`split_single_batch`] gathers the facts that need no look inside the body (shape,
//! checksum, the header's own consistency); [`validate_records`] walks every record, as Kafka's
//! `LogValidator` does. Both are pure and change nothing; `stamp` writes what they found out.
//! Which error code a refusal becomes is the caller's match; the comments say what Kafka answers.

use std::fmt;

use bytes::Bytes;

use super::crc;
use super::header::{
    BATCH_HEADER_BYTES, BatchHeader, Codec, HeaderFault, LOG_OVERHEAD_BYTES, MAGIC_V2,
    TimestampType,
};
use super::records::{Record, RecordFault, RecordIter};
use crate::words::{Offset, Sequence, TimestampMs};

/// Smallest `batch length` that Kafka's readers take for a batch of any magic
/// (`LegacyRecord.RECORD_OVERHEAD_V0`).
const LENGTH_MIN_ANY_MAGIC: i32 = 14;
/// Bytes that must be there before Kafka's readers look at the magic.
const BYTES_UP_TO_MAGIC: usize = 17;
const MAGIC_AT: usize = 16;
/// Record errors that one refusal lists at most. Kafka lists all, which lets one batch of empty
/// records be answered with a hundred times its size.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// One batch, alone, whole, with a good checksum and a header that agrees with itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedBatch {
    pub header: BatchHeader,
    /// The batch as sent, header included, without the bytes that may have followed it.
    pub bytes: Bytes,
}

impl CheckedBatch {
    /// Everything after the header: the records, maybe compressed.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }
}

/// Why a records field is no batch to append, in the order in which Kafka looks.
///
/// "Log start" says whether Kafka's answer carries the partition's log start offset or -1. The error
/// message is null and no record is named unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchFault {
    /// Empty, or too short for a batch's length field: INVALID_RECORD(87), log start -1.
    NoBatch,
    /// The batch claims more bytes than there are: INVALID_RECORD(87), log start -1.
    Short { claimed: usize, present: usize },
    /// The length is below a batch's minimum: CORRUPT_MESSAGE(2), log start -1. Below 14 with an
    /// error message; from 14 to 48 without one, as if the checksum were wrong.
    LengthTooSmall(i32),
    /// A magic nobody has defined: CORRUPT_MESSAGE(2) with an error message, log start -1.
    UnknownMagic(i8),
    /// A message set of magic 0 or 1: INVALID_RECORD(87), log start -1 (Produce v3 and later).
    OldMagic(i8),
    /// More than one batch: INVALID_RECORD(87), log start -1.
    SecondBatch,
    /// After the batch come bytes that look like another with an impossible length or magic:
    /// CORRUPT_MESSAGE(2), log start -1. (A beginning of another batch is dropped without a word.)
    TrailingGarbage,
    /// The base offset is not 0: INVALID_RECORD(87), log start real.
    BaseOffset(Offset),
    /// The checksum is wrong: CORRUPT_MESSAGE(2), log start -1.
    Crc { stored: u32, computed: u32 },
    /// A codec nobody has defined. Kafka stumbles: UNKNOWN_SERVER_ERROR(-1), log start real. Better
    /// UNSUPPORTED_COMPRESSION_TYPE(76).
    UnknownCodec(Codec),
    /// The last offset delta is negative: INVALID_RECORD(87), log start real.
    LastOffsetDelta(i32),
    /// The records count is 0 or negative: INVALID_RECORD(87), log start real.
    RecordsCount(i32),
    /// The last offset delta is not the count less one: INVALID_RECORD(87), log start real.
    CountMismatch {
        records_count: i32,
        last_offset_delta: i32,
    },
    /// A control batch, which only brokers write: INVALID_RECORD(87), log start real.
    Control,
    /// A producer id without a sequence: INVALID_RECORD(87), log start real.
    NegativeSequence(Sequence),
}

impl fmt::Display for BatchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchFault::NoBatch => f.write_str("there is no record batch"),
            BatchFault::Short { claimed, present } => {
                write!(f, "the batch claims {claimed} bytes of {present}")
            }
            BatchFault::LengthTooSmall(length) => write!(f, "impossible batch length {length}"),
            BatchFault::UnknownMagic(magic) => write!(f, "unknown magic {magic}"),
            BatchFault::OldMagic(magic) => write!(f, "magic {magic} is no longer accepted"),
            BatchFault::SecondBatch => f.write_str("there is more than one record batch"),
            BatchFault::TrailingGarbage => f.write_str("the batch is followed by garbage"),
            BatchFault::BaseOffset(offset) => write!(f, "the base offset is {offset}, not 0"),
            BatchFault::Crc { stored, computed } => {
                write!(
                    f,
                    "checksum {stored:08x}, but the bytes have {computed:08x}"
                )
            }
            BatchFault::UnknownCodec(codec) => write!(f, "unknown codec {}", codec.0),
            BatchFault::LastOffsetDelta(delta) => write!(f, "the last offset delta is {delta}"),
            BatchFault::RecordsCount(count) => write!(f, "the batch counts {count} records"),
            BatchFault::CountMismatch {
                records_count,
                last_offset_delta,
            } => write!(
                f,
                "{records_count} records do not end at offset delta {last_offset_delta}"
            ),
            BatchFault::Control => f.write_str("clients may not write control batches"),
            BatchFault::NegativeSequence(sequence) => {
                write!(f, "a producer id with the sequence {sequence}")
            }
        }
    }
}

impl std::error::Error for BatchFault {}

/// Finds the one batch in a Produce request's records field and checks all of it that does not need
/// the records. The batch is sliced, not copied; one pass over it for the checksum.
///
/// As in Kafka, trailing bytes that could still become a batch are cut off, not refused.
pub fn split_single_batch(records: &Bytes) -> Result<CheckedBatch, BatchFault> {
    let size = match peek(records)? {
        Peek::Whole(size) => size,
        Peek::Partial(Some(claimed)) => {
            let present = records.len();
            return Err(BatchFault::Short { claimed, present });
        }
        Peek::Partial(None) => return Err(BatchFault::NoBatch),
    };
    let magic = magic_of(records).ok_or(BatchFault::NoBatch)?;
    if magic != MAGIC_V2 {
        return Err(BatchFault::OldMagic(magic));
    }
    let (bytes, rest) = records.split_at_checked(size).ok_or(BatchFault::NoBatch)?;
    match peek(rest) {
        Ok(Peek::Partial(_)) => {}
        Ok(Peek::Whole(_)) => return Err(BatchFault::SecondBatch),
        Err(_) => return Err(BatchFault::TrailingGarbage),
    }
    let header = BatchHeader::parse(bytes).map_err(|fault| header_fault(fault, size))?;
    if header.base_offset != Offset(0) {
        return Err(BatchFault::BaseOffset(header.base_offset));
    }
    let computed = crc::whole_batch_crc(bytes).ok_or(BatchFault::NoBatch)?;
    if computed != header.crc {
        let stored = header.crc;
        return Err(BatchFault::Crc { stored, computed });
    }
    check_header(&header)?;
    Ok(CheckedBatch {
        header,
        bytes: records.slice(..size),
    })
}

/// What the bytes at hand say about the batch that they begin with.
enum Peek {
    /// A batch of so many bytes is there.
    Whole(usize),
    /// Too little is there; the size, where it can be read.
    Partial(Option<usize>),
}

/// Kafka's `ByteBufferLogInputStream` before it knows the format: length first, then magic.
fn peek(bytes: &[u8]) -> Result<Peek, BatchFault> {
    let Some(length) = bytes
        .get(8..LOG_OVERHEAD_BYTES)
        .and_then(|field| <[u8; 4]>::try_from(field).ok())
        .map(i32::from_be_bytes)
    else {
        return Ok(Peek::Partial(None));
    };
    if length < LENGTH_MIN_ANY_MAGIC {
        return Err(BatchFault::LengthTooSmall(length));
    }
    let size = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(LOG_OVERHEAD_BYTES);
    if bytes.len() < BYTES_UP_TO_MAGIC {
        return Ok(Peek::Partial(Some(size)));
    }
    match magic_of(bytes) {
        Some(magic @ (..0 | 3..)) => Err(BatchFault::UnknownMagic(magic)),
        _ if bytes.len() < size => Ok(Peek::Partial(Some(size))),
        _ => Ok(Peek::Whole(size)),
    }
}

fn magic_of(bytes: &[u8]) -> Option<i8> {
    bytes.get(MAGIC_AT).map(|byte| byte.cast_signed())
}

fn header_fault(fault: HeaderFault, size: usize) -> BatchFault {
    match fault {
        // The batch is there as claimed, so what is short is the claim.
        HeaderFault::Short => {
            let length = size.saturating_sub(LOG_OVERHEAD_BYTES);
            BatchFault::LengthTooSmall(i32::try_from(length).unwrap_or(i32::MAX))
        }
        HeaderFault::LengthTooSmall(length) => BatchFault::LengthTooSmall(length),
        HeaderFault::Magic(magic) => BatchFault::OldMagic(magic),
    }
}

/// Rules for clients' batches inside the header (Kafka `LogValidator.validateBatch`).
fn check_header(header: &BatchHeader) -> Result<(), BatchFault> {
    let (records_count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if header.codec().0 > Codec::ZSTD.0 {
        return Err(BatchFault::UnknownCodec(header.codec()));
    }
    if last_offset_delta < 0 {
        return Err(BatchFault::LastOffsetDelta(last_offset_delta));
    }
    if records_count <= 0 {
        return Err(BatchFault::RecordsCount(records_count));
    }
    if records_count.checked_sub(1) != Some(last_offset_delta) {
        return Err(BatchFault::CountMismatch {
            records_count,
            last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(BatchFault::Control);
    }
    if header.has_producer_id() && header.base_sequence.0 < 0 {
        return Err(BatchFault::NegativeSequence(header.base_sequence));
    }
    Ok(())
}

/// What a topic asks of every record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRules {
    /// The topic's `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far before `now` a timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far after `now` a timestamp may lie.
    pub timestamp_after_max_ms: i64,
    pub now: TimestampMs,
    /// The topic is compacted: every record needs a key.
    pub compacted: bool,
}

/// What the walk over the records found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordFacts {
    /// What the stored header's max timestamp must be: the largest of the records' timestamps and
    /// -1, or `now` where the topic uses log append time. The producer's own is not believed.
    pub max_timestamp: TimestampMs,
    /// Offset delta of the first record that holds it (0 with log append time). Kafka's time index
    /// uses the batch's last offset instead.
    pub max_timestamp_delta: i32,
    /// Bytes of the records when not compressed.
    pub records_bytes: usize,
}

/// Why records are refused, all of the batch with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordsRefusal {
    pub kind: RecordsRefusalKind,
    /// The records at fault, in order, at most [`RECORD_ERRORS_MAX`]: Produce v8+ names them. Empty
    /// when the records could not even be read.
    pub record_errors: Vec<RecordError>,
}

/// Class of a refusal. The answers carry the partition's real log start offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordsRefusalKind {
    /// A record breaks a rule, and none breaks one of time: INVALID_RECORD(87) with an error message
    /// and the records named.
    InvalidRecord,
    /// At least one timestamp is refused: INVALID_TIMESTAMP(32) with an error message and the records
    /// named, those with other faults among them.
    InvalidTimestamp,
    /// The bytes are not the promised records: INVALID_RECORD(87), message null, none named.
    Malformed(RecordFault),
}

impl fmt::Display for RecordsRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RecordsRefusalKind::InvalidRecord => {
                write!(f, "{} records are invalid", self.record_errors.len())
            }
            RecordsRefusalKind::InvalidTimestamp => f.write_str("timestamps are invalid"),
            RecordsRefusalKind::Malformed(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for RecordsRefusal {}

/// One refused record: its place in the batch, from 0, and why. `complaint` prints as the message
/// that goes into Produce's `batch_index_error_message`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError {
    pub batch_index: i32,
    pub complaint: RecordComplaint,
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordComplaint {
    /// No key, but the topic is compacted: INVALID_RECORD.
    NoKey,
    /// Records are numbered 0, 1, 2 ... in a batch: INVALID_RECORD. (Kafka stores such a batch when
    /// it is not compressed, and answers UNKNOWN_SERVER_ERROR when it is.)
    OffsetDelta(i32),
    /// Outside `[earliest, latest]`: INVALID_TIMESTAMP.
    TimestampOutOfRange {
        timestamp: TimestampMs,
        earliest: TimestampMs,
        latest: TimestampMs,
    },
    /// The batch says log append time, which only a broker may: INVALID_TIMESTAMP.
    LogAppendTime,
}

impl RecordComplaint {
    fn is_about_time(self) -> bool {
        match self {
            RecordComplaint::NoKey | RecordComplaint::OffsetDelta(_) => false,
            RecordComplaint::TimestampOutOfRange { .. } | RecordComplaint::LogAppendTime => true,
        }
    }
}

impl fmt::Display for RecordComplaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordComplaint::NoKey => f.write_str("A compacted topic needs a key in every record"),
            RecordComplaint::OffsetDelta(delta) => {
                write!(
                    f,
                    "The record's offset delta {delta} is not its place in the batch"
                )
            }
            RecordComplaint::TimestampOutOfRange {
                timestamp,
                earliest,
                latest,
            } => write!(
                f,
                "Timestamp {timestamp} is out of range [{earliest}, {latest}]"
            ),
            RecordComplaint::LogAppendTime => {
                f.write_str("Producers may not use the timestamp type LogAppendTime")
            }
        }
    }
}

/// Walks every record of a batch (Kafka `LogValidator`, format v2); `records` are its records when
/// not compressed.
pub fn validate_records(
    header: &BatchHeader,
    records: &[u8],
    rules: &RecordRules,
) -> Result<RecordFacts, RecordsRefusal> {
    let mut facts = RecordFacts {
        max_timestamp: TimestampMs(-1),
        max_timestamp_delta: 0,
        records_bytes: records.len(),
    };
    let mut errors = Vec::new();
    let mut about_time = false;
    let walk = RecordIter::new(records, header.records_count);
    for (index, record) in (0i32..).zip(walk) {
        let record = record.map_err(|fault| refusal(RecordsRefusalKind::Malformed(fault)))?;
        let timestamp = header.timestamp_of(&record);
        if let Some(complaint) = complaint(header, rules, index, &record, timestamp) {
            about_time |= complaint.is_about_time();
            if errors.len() < RECORD_ERRORS_MAX {
                errors.push(RecordError {
                    batch_index: index,
                    complaint,
                });
            }
        }
        if timestamp > facts.max_timestamp {
            facts.max_timestamp = timestamp;
            facts.max_timestamp_delta = index;
        }
    }
    if !errors.is_empty() {
        let kind = if about_time {
            RecordsRefusalKind::InvalidTimestamp
        } else {
            RecordsRefusalKind::InvalidRecord
        };
        let record_errors = errors;
        return Err(RecordsRefusal {
            kind,
            record_errors,
        });
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        facts.max_timestamp = rules.now;
        facts.max_timestamp_delta = 0;
    }
    Ok(facts)
}

fn refusal(kind: RecordsRefusalKind) -> RecordsRefusal {
    RecordsRefusal {
        kind,
        record_errors: Vec::new(),
    }
}

/// The first thing wrong with a record; Kafka, too, names one for each.
fn complaint(
    header: &BatchHeader,
    rules: &RecordRules,
    index: i32,
    record: &Record<'_>,
    timestamp: TimestampMs,
) -> Option<RecordComplaint> {
    if record.offset_delta != index {
        return Some(RecordComplaint::OffsetDelta(record.offset_delta));
    }
    if rules.compacted && record.key.is_none() {
        return Some(RecordComplaint::NoKey);
    }
    let judged = rules.timestamp_type == TimestampType::CreateTime && timestamp.0 != -1;
    if judged {
        return out_of_range(rules, timestamp);
    }
    // Where timestamps are judged, a batch of log append time passes as one of create time.
    (header.timestamp_type() == TimestampType::LogAppendTime)
        .then_some(RecordComplaint::LogAppendTime)
}

fn out_of_range(rules: &RecordRules, timestamp: TimestampMs) -> Option<RecordComplaint> {
    let age = i128::from(rules.now.0).saturating_sub(i128::from(timestamp.0));
    let fits = age <= i128::from(rules.timestamp_before_max_ms)
        && age.saturating_neg() <= i128::from(rules.timestamp_after_max_ms);
    (!fits).then(|| RecordComplaint::TimestampOutOfRange {
        timestamp,
        earliest: TimestampMs(rules.now.0.saturating_sub(rules.timestamp_before_max_ms)),
        latest: TimestampMs(rules.now.0.saturating_add(rules.timestamp_after_max_ms)),
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
