//! Fuzzes `metadata_frame` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("metadata_frame");
