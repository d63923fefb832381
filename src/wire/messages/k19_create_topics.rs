//! CreateTopics, key 19, versions 2-7: making topics.
//!
//! 2: throttle. 4: -1 for the broker's default partitions and replication (KIP-464). 5: flexible; the answer
//! tells the configuration (KIP-525). 6: quota error (KIP-599). 7: topic id (KIP-516).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{NodeId, PartitionIndex, TopicId};

request! {
    /// Topics to make; the timeout is in milliseconds.
    CreateTopicsRequest(CREATE_TOPICS) -> CreateTopicsResponse;
    topics: Vec<CreatableTopic>, 0..;
    timeout_ms: i32, 0.., default 60000;
    validate_only: bool, 1..;
}

structure! {
    /// A topic to make; -1 is the default of the broker, or replaced by assignments.
    CreatableTopic;
    name: KStr, 0..;
    num_partitions: i32, 0..;
    replication_factor: i16, 0..;
    assignments: Vec<CreatableReplicaAssignment>, 0..;
    configs: Vec<CreatableTopicConfig>, 0..;
}

structure! {
    /// Replicas of one partition, the preferred leader first.
    CreatableReplicaAssignment;
    partition_index: PartitionIndex, 0..;
    broker_ids: Vec<NodeId>, 0..;
}

structure! {
    /// A configuration entry.
    CreatableTopicConfig;
    name: KStr, 0..;
    value: Option<KStr>, 0.., null 0..;
}

response! {
    /// Outcome by topic.
    CreateTopicsResponse(CREATE_TOPICS);
    throttle_time_ms: i32, 2..;
    topics: Vec<CreatableTopicResult>, 0..;
}

structure! {
    /// Outcome; configs are null when the client may not see them (then tag 0 says why).
    CreatableTopicResult;
    name: KStr, 0..;
    topic_id: TopicId, 7..;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 1.., null 1..;
    topic_config_error_code: ErrorCode, 5.., tag 0;
    num_partitions: i32, 5.., default -1;
    replication_factor: i16, 5.., default -1;
    configs: Option<Vec<CreatableTopicConfigs>>, 5.., null 5..;
}

structure! {
    /// A configuration entry of the new topic.
    CreatableTopicConfigs;
    name: KStr, 5..;
    value: Option<KStr>, 5.., null 5..;
    read_only: bool, 5..;
    config_source: i8, 5.., default -1;
    is_sensitive: bool, 5..;
}
