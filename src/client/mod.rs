//! A small blocking Kafka client over `wire/`: for our own tools, the load generator and replication.
//!
//! Owns connections, version negotiation, the metadata cache, retries. What to say and what an
//! answer means is kept apart from the socket: `exchange`, `versions`, `cluster`, `partitioner`,
//! `outbox` and `fetched` know bytes and values only; `connection` alone reads and writes a socket.
//! Imports words and wire, nothing else of the house. Never runs on a shard: every call blocks.

pub mod address;
pub mod admin;
pub mod calls;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod exchange;
pub mod fetched;
mod hints;
pub mod offsets;
pub mod outbox;
pub mod partitioner;
pub mod producer;
pub mod retry;
pub mod versions;

pub use address::Address;
pub use admin::{ClusterView, ConfigEntry, NewTopic};
pub use calls::{Asked, Client, ClientOptions};
pub use cluster::{Cluster, Node, Partition, Topic};
pub use connection::Connection;
pub use consumer::{Consumer, FetchOptions};
pub use error::{ClientError, Refusal};
pub use exchange::{Answer, Exchange, ExchangeFault};
pub use fetched::{FetchedRecord, Flow};
pub use offsets::{FoundOffset, OffsetSpec};
pub use producer::{Acks, Producer, ProducerOptions, Totals};
