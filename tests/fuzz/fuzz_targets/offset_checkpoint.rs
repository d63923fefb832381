//! Fuzzes `offset_checkpoint` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("offset_checkpoint");
