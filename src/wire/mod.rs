//! Kafka's wire: framing, headers, the API table, error codes and message codecs.
//!
//! Knows bytes; holds no state; never allocates by a length it has not verified.

pub mod record;
