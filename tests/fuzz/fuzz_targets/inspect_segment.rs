//! Fuzzes `inspect_segment` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("inspect_segment");
