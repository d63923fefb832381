//! Fuzzes `request_header` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("request_header");
