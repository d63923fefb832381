//! The record batch, message format v2 (KIP-98; Kafka's `DefaultRecordBatch`): borrowed views,
//! checks, stamping, compression. Knows bytes only; which batch is welcome is a rule of `log/`.

pub mod header;

pub use header::{BATCH_HEADER_BYTES, BatchHeader, Codec, HeaderFault, TimestampType};
