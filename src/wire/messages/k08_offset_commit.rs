//! OffsetCommit, key 8, versions 2-10: a group's positions.
//!
//! 2: retention time, ignored since 5. 3: throttle. 6: leader epoch. 7: static members (KIP-345).
//! 8: flexible. 9: member epochs (KIP-848). 10: topic ids.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TopicId};

request! {
    /// Commits positions; the retention time in milliseconds is ignored.
    OffsetCommitRequest(OFFSET_COMMIT) -> OffsetCommitResponse;
    group_id: KStr, 0..;
    generation_id_or_member_epoch: i32, 1.., default -1;
    member_id: KStr, 1..;
    group_instance_id: Option<KStr>, 7.., null 7.., default None;
    retention_time_ms: i64, 2..=4, default -1;
    topics: Vec<OffsetCommitRequestTopic>, 0..;
}

structure! {
    /// A topic, by name or from version 10 by id.
    OffsetCommitRequestTopic;
    name: KStr, 0..=9;
    topic_id: TopicId, 10..;
    partitions: Vec<OffsetCommitRequestPartition>, 0..;
}

structure! {
    /// A position with a word of the client.
    OffsetCommitRequestPartition;
    partition_index: PartitionIndex, 0..;
    committed_offset: Offset, 0..;
    committed_leader_epoch: LeaderEpoch, 6.., default LeaderEpoch(-1);
    committed_metadata: Option<KStr>, 0.., null 0..;
}

response! {
    /// Outcome by partition.
    OffsetCommitResponse(OFFSET_COMMIT);
    throttle_time_ms: i32, 3..;
    topics: Vec<OffsetCommitResponseTopic>, 0..;
}

structure! {
    /// A topic answered.
    OffsetCommitResponseTopic;
    name: KStr, 0..=9;
    topic_id: TopicId, 10..;
    partitions: Vec<OffsetCommitResponsePartition>, 0..;
}

structure! {
    /// Outcome of one commit.
    OffsetCommitResponsePartition;
    partition_index: PartitionIndex, 0..;
    error_code: ErrorCode, 0..;
}
