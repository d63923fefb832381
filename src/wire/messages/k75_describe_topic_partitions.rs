//! DescribeTopicPartitions, key 75, versions 0-0: topics in pages (KIP-966). Flexible from 0.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

request! {
    /// Topics asked for, and where to go on.
    DescribeTopicPartitionsRequest(DESCRIBE_TOPIC_PARTITIONS) -> DescribeTopicPartitionsResponse;
    topics: Vec<TopicRequest>, 0..;
    response_partition_limit: i32, 0.., default 2000;
    cursor: Option<Cursor>, 0.., null 0.., default None;
}

structure! {
    /// A topic asked for.
    TopicRequest;
    name: KStr, 0..;
}

structure! {
    /// The first partition of a page.
    Cursor;
    topic_name: KStr, 0..;
    partition_index: PartitionIndex, 0..;
}

response! {
    /// A page of topics.
    DescribeTopicPartitionsResponse(DESCRIBE_TOPIC_PARTITIONS);
    throttle_time_ms: i32, 0..;
    topics: Vec<DescribeTopicPartitionsResponseTopic>, 0..;
    next_cursor: Option<Cursor>, 0.., null 0.., default None;
}

structure! {
    /// A topic, perhaps not with all its partitions.
    DescribeTopicPartitionsResponseTopic;
    error_code: ErrorCode, 0..;
    name: Option<KStr>, 0.., null 0..;
    topic_id: TopicId, 0..;
    is_internal: bool, 0..;
    partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0..;
    topic_authorized_operations: i32, 0.., default i32::MIN;
}

structure! {
    /// A partition with its eligible leader replicas.
    DescribeTopicPartitionsResponsePartition;
    error_code: ErrorCode, 0..;
    partition_index: PartitionIndex, 0..;
    leader_id: NodeId, 0..;
    leader_epoch: LeaderEpoch, 0.., default LeaderEpoch(-1);
    replica_nodes: Vec<NodeId>, 0..;
    isr_nodes: Vec<NodeId>, 0..;
    eligible_leader_replicas: Option<Vec<NodeId>>, 0.., null 0.., default None;
    last_known_elr: Option<Vec<NodeId>>, 0.., null 0.., default None;
    offline_replicas: Vec<NodeId>, 0..;
}
