//! OffsetForLeaderEpoch, key 23, versions 2-4: where a leader epoch ends (KIP-101, KIP-320).
//!
//! 2: current leader epoch, throttle. 3: replica id. 4: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, Offset, PartitionIndex};

request! {
    /// Asks where epochs end.
    OffsetForLeaderEpochRequest(OFFSET_FOR_LEADER_EPOCH) -> OffsetForLeaderEpochResponse;
    replica_id: NodeId, 3.., default NodeId(-2);
    topics: Vec<OffsetForLeaderTopic>, 0..;
}

structure! {
    /// A topic asked for.
    OffsetForLeaderTopic;
    topic: KStr, 0..;
    partitions: Vec<OffsetForLeaderPartition>, 0..;
}

structure! {
    /// An epoch asked for, and the one the client believes to be current.
    OffsetForLeaderPartition;
    partition: PartitionIndex, 0..;
    current_leader_epoch: LeaderEpoch, 2.., default LeaderEpoch(-1);
    leader_epoch: LeaderEpoch, 0..;
}

response! {
    /// Ends of epochs.
    OffsetForLeaderEpochResponse(OFFSET_FOR_LEADER_EPOCH);
    throttle_time_ms: i32, 2..;
    topics: Vec<OffsetForLeaderTopicResult>, 0..;
}

structure! {
    /// A topic answered.
    OffsetForLeaderTopicResult;
    topic: KStr, 0..;
    partitions: Vec<EpochEndOffset>, 0..;
}

structure! {
    /// Largest epoch not above the one asked for, and the offset after its last record.
    EpochEndOffset;
    error_code: ErrorCode, 0..;
    partition: PartitionIndex, 0..;
    leader_epoch: LeaderEpoch, 1.., default LeaderEpoch(-1);
    end_offset: Offset, 0.., default Offset(-1);
}
