//! Fuzzes `metadata_log` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("metadata_log");
