//! Ottla: Apache Kafka's whole job as a thread-per-core io_uring storage engine.
//!
//! `src/README.md` is the map; `tests/layering.rs` holds the direction of the imports.

pub mod api;
pub mod cli;
pub mod client;
pub mod control;
pub mod devices;
pub mod inspect;
pub mod log;
pub mod metadata;
pub mod serve;
pub mod session;
pub mod settings;
pub mod shard;
pub mod sim;
pub mod wait;
pub mod wire;
pub mod words;
