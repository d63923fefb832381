//! Fetch sessions (KIP-227; topic ids KIP-516): what a fetcher need not say again, and what it
//! need not be told again. Kafka's `FetchManager`, `FetchContext` and `FetchSessionCacheShard`.
//!
//! One [`FetchSessions`] per shard. Owns, for each session, the partitions in the order in which
//! they are read, the last request parameters of each, and the high watermark and log start
//! offset that were last sent. Never reads a log, never sees a record, never knows a clock, a
//! connection or a wire format; random numbers come in as arguments.
//!
//! [`FetchSessions::begin`] turns a request into a [`FetchContext`]: the partitions to read.
//! The request may then be parked for as long as it likes; the context borrows nothing, and its
//! session may go on, be closed or be evicted meanwhile. [`FetchSessions::finish`] says which
//! partitions the answer names, in which order, under which session id.
//!
//! What happens to a request, by its epoch and its session (`FetchManager.newContext`):
//!
//! | epoch | session | context |
//! |---|---|---|
//! | 0 | any id | a session of that id is closed; full, makes a session when answered |
//! | -1 (and versions below 7) | any id | a session of that id is closed; sessionless |
//! | other | id not known (0 never is) | refused: 70 |
//! | other | known, another epoch is next | refused: 71, the session stays as it is |
//! | other | known, topics named the other way | refused: 106, the session stays as it is |
//! | other | known, nothing left after forgetting | session closed; sessionless, what was named |
//! | other | known | incremental: all partitions of the session |

mod cache;
mod context;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::words::{LeaderEpoch, Offset, PartitionIndex, TopicId};

pub use cache::{FetchSessionLimits, FetchSessions};
pub use context::{FetchAnswer, FetchContext, PlanPartition};

/// "No session", on the wire (Kafka `FetchMetadata.INVALID_SESSION_ID`).
pub const NO_SESSION_ID: i32 = 0;
/// Epoch of a full request that asks for a new session (Kafka `INITIAL_EPOCH`).
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a full request that wants no session, or closes one (Kafka `FINAL_EPOCH`).
pub const FINAL_EPOCH: i32 = -1;
/// First version of Fetch that names topics by id (KIP-516).
pub const TOPIC_IDS_SINCE_VERSION: i16 = 13;

/// A topic as the fetcher named it: by name below version 13, by id from there on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TopicRef {
    Name(Arc<str>),
    Id(TopicId),
}

/// A partition as the fetcher named it. It need not exist.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PartitionRef {
    pub topic: TopicRef,
    pub partition: PartitionIndex,
}

/// What a fetcher asks of one partition; unchecked, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskPartition {
    pub partition: PartitionRef,
    /// -1: not checked.
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// -1: not checked.
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's own log start offset; -1 from consumers.
    pub log_start_offset: Offset,
    pub max_bytes: i32,
}

/// A Fetch request, as far as sessions are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchAsk {
    /// Of the request: decides how topics are named.
    pub version: i16,
    /// 0 below version 7.
    pub session_id: i32,
    /// [`FINAL_EPOCH`] below version 7.
    pub epoch: i32,
    /// In the client's order. Of a partition named twice, the place of the first and the
    /// parameters of the last count.
    pub partitions: Vec<AskPartition>,
    /// Looked at in incremental requests only, after `partitions`.
    pub forgotten: Vec<(TopicRef, Vec<PartitionIndex>)>,
    /// From a replica (replica id not negative): its session is privileged.
    pub is_follower: bool,
}

/// Why a request gets no data at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionRefusal {
    /// FETCH_SESSION_ID_NOT_FOUND (70). Also when a session grows past its bounds and is closed:
    /// the client starts over with a full request.
    IdNotFound,
    /// INVALID_FETCH_SESSION_EPOCH (71).
    InvalidEpoch,
    /// FETCH_SESSION_TOPIC_ID_ERROR (106).
    TopicIdError,
}

/// What was found for one partition of the plan, as it would be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerFacts {
    /// Kafka error code; 0 is none.
    pub error: i16,
    /// -1 in errors.
    pub high_watermark: Offset,
    /// -1 in errors.
    pub log_start_offset: Offset,
    pub records_bytes: usize,
    /// The answer carries a diverging epoch (KIP-595).
    pub diverging: bool,
    /// The answer carries a preferred read replica (KIP-392).
    pub preferred_replica: bool,
    /// The log was never asked: no such topic or partition, not allowed, not readable. Kafka
    /// answers these after all others.
    pub not_read: bool,
}
