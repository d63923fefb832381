//! Fuzzes `time_index` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("time_index");
