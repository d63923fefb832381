//! CreatePartitions, key 37, versions 0-3: adding partitions to topics (KIP-195).
//!
//! 1: throttled late. 2: flexible. 3: quota error (KIP-599).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::NodeId;

request! {
    /// Topics to grow.
    CreatePartitionsRequest(CREATE_PARTITIONS) -> CreatePartitionsResponse;
    topics: Vec<CreatePartitionsTopic>, 0..;
    timeout_ms: i32, 0..;
    validate_only: bool, 0..;
}

structure! {
    /// New number of partitions; null lets the broker place them.
    CreatePartitionsTopic;
    name: KStr, 0..;
    count: i32, 0..;
    assignments: Option<Vec<CreatePartitionsAssignment>>, 0.., null 0..;
}

structure! {
    /// Replicas of one new partition.
    CreatePartitionsAssignment;
    broker_ids: Vec<NodeId>, 0..;
}

response! {
    /// Outcome by topic.
    CreatePartitionsResponse(CREATE_PARTITIONS);
    throttle_time_ms: i32, 0..;
    results: Vec<CreatePartitionsTopicResult>, 0..;
}

structure! {
    /// Outcome for one topic.
    CreatePartitionsTopicResult;
    name: KStr, 0..;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 0.., null 0.., default None;
}
