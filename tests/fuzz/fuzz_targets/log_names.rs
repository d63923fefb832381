//! Fuzzes `log_names` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("log_names");
