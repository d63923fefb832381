//! Fuzzes `shard_checkpoint` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("shard_checkpoint");
