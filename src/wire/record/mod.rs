//! The record batch, message format v2 (KIP-98; Kafka's `DefaultRecordBatch`): borrowed views,
//! checks, stamping, compression. Knows bytes only; which batch is welcome is a rule of `log/`.

pub mod allowance;
pub mod builder;
pub mod check;
pub mod compression;
pub mod control;
pub mod crc;
pub mod header;
pub mod records;
pub mod slice;
pub mod stamp;
mod varint;

pub use allowance::Allowance;
pub use builder::{BatchBuilder, BuildFault, NewRecord};
pub use check::{
    BatchFault, CheckedBatch, RecordFacts, RecordRules, RecordsRefusal, RecordsRefusalKind,
    split_single_batch, validate_records,
};
pub use compression::CompressionFault;
pub use header::{BATCH_HEADER_BYTES, BatchHeader, Codec, HeaderFault, TimestampType};
pub use records::{Record, RecordFault, RecordHeader, RecordIter};
pub use slice::{BatchWalk, ReadFault, WalkStop, find_timestamp, max_timestamp_record};
pub use stamp::{Stamp, StampTimestamps, stamp};

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod samples;
