//! Fuzzes `snappy` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("snappy");
