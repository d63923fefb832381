//! Fuzzes `inspect_metadata` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("inspect_metadata");
