//! Fuzzes `inspect_papers` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("inspect_papers");
