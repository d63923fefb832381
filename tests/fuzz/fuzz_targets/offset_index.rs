//! Fuzzes `offset_index` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("offset_index");
