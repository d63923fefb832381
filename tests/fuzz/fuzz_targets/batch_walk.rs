//! Fuzzes `batch_walk` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("batch_walk");
