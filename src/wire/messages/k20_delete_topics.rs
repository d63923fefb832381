//! DeleteTopics, key 20, versions 1-6: deleting topics.
//!
//! 1: throttle. 3: error 73. 4: flexible. 5: message and quota error (KIP-599). 6: by topic id (KIP-516).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::TopicId;

request! {
    /// Topics to delete: by name to version 5, by name or id from 6.
    DeleteTopicsRequest(DELETE_TOPICS) -> DeleteTopicsResponse;
    topics: Vec<DeleteTopicState>, 6..;
    topic_names: Vec<KStr>, 0..=5;
    timeout_ms: i32, 0..;
}

structure! {
    /// A topic, by name or by id with a null name.
    DeleteTopicState;
    name: Option<KStr>, 6.., null 6.., default None;
    topic_id: TopicId, 6..;
}

response! {
    /// Outcome by topic.
    DeleteTopicsResponse(DELETE_TOPICS);
    throttle_time_ms: i32, 1..;
    responses: Vec<DeletableTopicResult>, 0..;
}

structure! {
    /// Outcome for one topic.
    DeletableTopicResult;
    name: Option<KStr>, 0.., null 6..;
    topic_id: TopicId, 6..;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 5.., null 5.., default None;
}
