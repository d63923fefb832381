//! Fuzzes `zstd` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("zstd");
