//! Fuzzes `property_files` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("property_files");
