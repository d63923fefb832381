//! Fuzzes `segment_scan` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("segment_scan");
