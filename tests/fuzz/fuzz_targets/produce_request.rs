//! Fuzzes `produce_request` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("produce_request");
