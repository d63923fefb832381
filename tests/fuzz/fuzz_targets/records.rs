//! Fuzzes `records` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("records");
