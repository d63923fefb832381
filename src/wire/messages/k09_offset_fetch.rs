//! OffsetFetch, key 9, versions 1-10: a group's committed positions.
//!
//! 2: null topics are all topics, error for all. 3: throttle. 5: leader epoch. 6: flexible.
//! 7: only stable offsets (KIP-447). 8: several groups (KIP-709). 9: member epochs (KIP-848). 10: topic ids.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TopicId};

request! {
    /// Asks positions: of one group to version 7, of several from 8.
    OffsetFetchRequest(OFFSET_FETCH) -> OffsetFetchResponse;
    group_id: KStr, 0..=7;
    topics: Option<Vec<OffsetFetchRequestTopic>>, 0..=7, null 2..=7;
    groups: Vec<OffsetFetchRequestGroup>, 8..;
    require_stable: bool, 7..;
}

structure! {
    /// A topic asked for, to version 7.
    OffsetFetchRequestTopic;
    name: KStr, 0..=7;
    partition_indexes: Vec<PartitionIndex>, 0..=7;
}

structure! {
    /// A group asked for, from version 8; null topics are all.
    OffsetFetchRequestGroup;
    group_id: KStr, 8..;
    member_id: Option<KStr>, 9.., null 9.., default None;
    member_epoch: i32, 9.., default -1;
    topics: Option<Vec<OffsetFetchRequestTopics>>, 8.., null 8..;
}

structure! {
    /// A topic asked for, from version 8.
    OffsetFetchRequestTopics;
    name: KStr, 8..=9;
    topic_id: TopicId, 10..;
    partition_indexes: Vec<PartitionIndex>, 8..;
}

response! {
    /// Positions: of one group to version 7, of several from 8.
    OffsetFetchResponse(OFFSET_FETCH);
    throttle_time_ms: i32, 3..;
    topics: Vec<OffsetFetchResponseTopic>, 0..=7;
    error_code: ErrorCode, 2..=7;
    groups: Vec<OffsetFetchResponseGroup>, 8..;
}

structure! {
    /// A topic answered, to version 7.
    OffsetFetchResponseTopic;
    name: KStr, 0..=7;
    partitions: Vec<OffsetFetchResponsePartition>, 0..=7;
}

structure! {
    /// A position, -1 for none, to version 7.
    OffsetFetchResponsePartition;
    partition_index: PartitionIndex, 0..=7;
    committed_offset: Offset, 0..=7;
    committed_leader_epoch: LeaderEpoch, 5..=7, default LeaderEpoch(-1);
    metadata: Option<KStr>, 0..=7, null 0..=7;
    error_code: ErrorCode, 0..=7;
}

structure! {
    /// A group answered, from version 8.
    OffsetFetchResponseGroup;
    group_id: KStr, 8..;
    topics: Vec<OffsetFetchResponseTopics>, 8..;
    error_code: ErrorCode, 8..;
}

structure! {
    /// A topic answered, from version 8.
    OffsetFetchResponseTopics;
    name: KStr, 8..=9;
    topic_id: TopicId, 10..;
    partitions: Vec<OffsetFetchResponsePartitions>, 8..;
}

structure! {
    /// A position, -1 for none, from version 8.
    OffsetFetchResponsePartitions;
    partition_index: PartitionIndex, 8..;
    committed_offset: Offset, 8..;
    committed_leader_epoch: LeaderEpoch, 8.., default LeaderEpoch(-1);
    metadata: Option<KStr>, 8.., null 8..;
    error_code: ErrorCode, 8..;
}
