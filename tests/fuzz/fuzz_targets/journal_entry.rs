//! Fuzzes `journal_entry` of `targets.rs`.
#![no_main]

ottla_fuzz::fuzz!("journal_entry");
