//! Metadata, key 3, versions 0-13: brokers, topics, leaders.
//!
//! 1: null topics are all topics, an empty list none (in 0 an empty list is all). 2: cluster id.
//! 3: throttle. 4: automatic creation can be turned off. 5: offline replicas. 7: leader epoch.
//! 8: authorized operations (KIP-430). 9: flexible. 10: topic ids; 12: asking by them (KIP-516).
//! 11: the cluster's operations are gone (KIP-700). 13: error for all (KIP-1102).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

request! {
    /// Asks about topics; null is all.
    MetadataRequest(METADATA) -> MetadataResponse;
    topics: Option<Vec<MetadataRequestTopic>>, 0.., null 1..;
    allow_auto_topic_creation: bool, 4.., default true;
    include_cluster_authorized_operations: bool, 8..=10;
    include_topic_authorized_operations: bool, 8..;
}

structure! {
    /// A topic by name, or from version 12 by id with a null name.
    MetadataRequestTopic;
    topic_id: TopicId, 10..;
    name: Option<KStr>, 0.., null 10..;
}

response! {
    /// The cluster as the broker sees it.
    MetadataResponse(METADATA);
    throttle_time_ms: i32, 3..;
    brokers: Vec<MetadataResponseBroker>, 0..;
    cluster_id: Option<KStr>, 2.., null 2.., default None;
    controller_id: NodeId, 1.., default NodeId(-1);
    topics: Vec<MetadataResponseTopic>, 0..;
    cluster_authorized_operations: i32, 8..=10, default i32::MIN;
    error_code: ErrorCode, 13..;
}

structure! {
    /// A broker and where it listens.
    MetadataResponseBroker;
    node_id: NodeId, 0..;
    host: KStr, 0..;
    port: i32, 0..;
    rack: Option<KStr>, 1.., null 1.., default None;
}

structure! {
    /// A topic; operations are a bit set, `i32::MIN` when not asked for.
    MetadataResponseTopic;
    error_code: ErrorCode, 0..;
    name: Option<KStr>, 0.., null 12..;
    topic_id: TopicId, 10..;
    is_internal: bool, 1..;
    partitions: Vec<MetadataResponsePartition>, 0..;
    topic_authorized_operations: i32, 8.., default i32::MIN;
}

structure! {
    /// A partition, its leader (-1 for none) and its replicas.
    MetadataResponsePartition;
    error_code: ErrorCode, 0..;
    partition_index: PartitionIndex, 0..;
    leader_id: NodeId, 0..;
    leader_epoch: LeaderEpoch, 7.., default LeaderEpoch(-1);
    replica_nodes: Vec<NodeId>, 0..;
    isr_nodes: Vec<NodeId>, 0..;
    offline_replicas: Vec<NodeId>, 5..;
}
