//! Fuzzes `producer_snapshot` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("producer_snapshot");
