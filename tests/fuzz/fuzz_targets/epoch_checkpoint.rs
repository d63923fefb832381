//! Fuzzes `epoch_checkpoint` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("epoch_checkpoint");
