//! Fuzzes `inspect_journal` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("inspect_journal");
