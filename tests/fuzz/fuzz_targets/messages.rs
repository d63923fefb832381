//! Fuzzes `messages` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("messages");
