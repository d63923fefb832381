//! Words of the house: identifiers, time as values, and every bound.
//!
//! Lives on every core; owns no state; never does I/O, never reads a clock.

pub mod ids;
pub mod limits;
pub mod marks;
pub mod time;

pub use ids::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, ShardId,
    TimestampMs, TopicId, TopicPartition,
};
pub use time::{Deadline, Now};
