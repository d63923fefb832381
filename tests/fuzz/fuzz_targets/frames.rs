//! Fuzzes `frames` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("frames");
