//! Fuzzes `single_batch` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("single_batch");
