//! Fuzzes `gzip` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("gzip");
