//! Fuzzes `server_properties` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("server_properties");
