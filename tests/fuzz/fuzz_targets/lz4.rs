//! Fuzzes `lz4` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("lz4");
