//! Fuzzes `topic_configs` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("topic_configs");
