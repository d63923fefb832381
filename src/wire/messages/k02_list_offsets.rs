//! ListOffsets, key 2, versions 1-11: the offset that belongs to a timestamp.
//!
//! 1: one offset an answer. 2: isolation level, throttle. 4: leader epochs (KIP-320). 6: flexible.
//! 7: -3, largest timestamp (KIP-734). 8: -4, earliest local (KIP-405). 9: -5, latest tiered (KIP-1005).
//! 10: timeout for remote storage (KIP-1075). 11: -6, earliest pending upload (KIP-1023).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs};

request! {
    /// Asks offsets by timestamp.
    ListOffsetsRequest(LIST_OFFSETS) -> ListOffsetsResponse;
    replica_id: NodeId, 0..;
    isolation_level: i8, 2..;
    topics: Vec<ListOffsetsTopic>, 0..;
    timeout_ms: i32, 10..;
}

structure! {
    /// A topic asked for.
    ListOffsetsTopic;
    name: KStr, 0..;
    partitions: Vec<ListOffsetsPartition>, 0..;
}

structure! {
    /// A partition, and a time in milliseconds or one of the negative special values.
    ListOffsetsPartition;
    partition_index: PartitionIndex, 0..;
    current_leader_epoch: LeaderEpoch, 4.., default LeaderEpoch(-1);
    timestamp: TimestampMs, 0..;
}

response! {
    /// Offsets by partition.
    ListOffsetsResponse(LIST_OFFSETS);
    throttle_time_ms: i32, 2..;
    topics: Vec<ListOffsetsTopicResponse>, 0..;
}

structure! {
    /// A topic answered.
    ListOffsetsTopicResponse;
    name: KStr, 0..;
    partitions: Vec<ListOffsetsPartitionResponse>, 0..;
}

structure! {
    /// The offset found, or -1 and timestamp -1 for none.
    ListOffsetsPartitionResponse;
    partition_index: PartitionIndex, 0..;
    error_code: ErrorCode, 0..;
    timestamp: TimestampMs, 1.., default TimestampMs(-1);
    offset: Offset, 1.., default Offset(-1);
    leader_epoch: LeaderEpoch, 4.., default LeaderEpoch(-1);
}
