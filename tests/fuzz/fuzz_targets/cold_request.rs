//! Fuzzes `cold_request` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("cold_request");
