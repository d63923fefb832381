//! The log of a partition: rules and formats of what is appended, kept, found and thrown away.
//!
//! Pure: bytes and facts in, verdicts and bytes out. Never does I/O, never reads a clock.

pub mod append_rules;
pub mod checkpoints;
pub mod epochs;
pub mod flush_debt;
pub mod journal_entry;
pub mod journal_ring;
pub mod names;
pub mod offset_index;
pub mod partition;
pub mod producer_snapshot;
pub mod producers;
pub mod retention;
pub mod roll;
pub mod segment_indexes;
pub mod segment_scan;
pub mod tail;
pub mod time_index;
pub mod verdict;
