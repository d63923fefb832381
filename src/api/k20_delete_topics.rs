//! DeleteTopics (key 20), versions 1 to 6: deleting topics.
//!
//! v1 throttle; v3 error 73; v4 flexible; v5 message and quota error (KIP-599, not used); v6 by
//! topic id (KIP-516).
//!
//! Not done: waiting out the timeout (the change is durable when it is answered, shards drop the
//! data soon after); a timeout of 0 or less is answered with 7, as Kafka does.

use crate::api::cold::Step;
use crate::api::refusals;
use crate::metadata::admin::{Deletion, TopicSelector};
use crate::metadata::{AdminReply, AdminRequest};
use crate::wire::messages::k20_delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::wire::{ErrorCode, KStr};
use crate::words::TopicId;

/// First version that names topics by id too.
const IDS_VERSION_MIN: i16 = 6;
/// First version that knows TOPIC_DELETION_DISABLED.
const DISABLED_VERSION_MIN: i16 = 3;

/// Hands the topics to the metadata writer.
pub fn begin(request: &DeleteTopicsRequest, version: i16) -> Step<DeleteTopicsResponse> {
    let topics: Vec<TopicSelector> = if version >= IDS_VERSION_MIN {
        let topics = request.topics.iter().map(|topic| TopicSelector {
            name: topic.name.as_deref().map(str::to_owned),
            id: topic.topic_id,
        });
        topics.collect()
    } else {
        let names = request.topic_names.iter().map(|name| TopicSelector {
            name: Some(name.as_str().to_owned()),
            id: TopicId::ZERO,
        });
        names.collect()
    };
    if topics.is_empty() {
        return Step::Reply(DeleteTopicsResponse::default());
    }
    if request.timeout_ms <= 0 {
        return Step::Reply(timed_out(topics));
    }
    Step::Ask(AdminRequest::DeleteTopics { topics })
}

fn timed_out(topics: Vec<TopicSelector>) -> DeleteTopicsResponse {
    let responses = topics.into_iter().map(|topic| DeletableTopicResult {
        name: topic.name.map(KStr::from),
        topic_id: topic.id,
        error_code: ErrorCode::REQUEST_TIMED_OUT,
        ..DeletableTopicResult::default()
    });
    DeleteTopicsResponse {
        responses: responses.collect(),
        ..DeleteTopicsResponse::default()
    }
}

/// The writer's outcomes as the answer.
pub fn finish(reply: AdminReply, version: i16) -> DeleteTopicsResponse {
    let deletions = match reply {
        AdminReply::Deleted(deletions) => deletions,
        // The writer answers what it was asked.
        _ => Vec::new(),
    };
    DeleteTopicsResponse {
        responses: deletions
            .into_iter()
            .map(|one| result(one, version))
            .collect(),
        ..DeleteTopicsResponse::default()
    }
}

fn result(deletion: Deletion, version: i16) -> DeletableTopicResult {
    let (code, message) = match &deletion.result {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refusal) => (
            refusals::code(refusal),
            Some(KStr::from(refusal.to_string())),
        ),
    };
    DeletableTopicResult {
        name: deletion.name.map(KStr::from),
        topic_id: deletion.id,
        error_code: match code {
            ErrorCode::TOPIC_DELETION_DISABLED if version < DISABLED_VERSION_MIN => {
                ErrorCode::INVALID_REQUEST
            }
            code => code,
        },
        error_message: message,
    }
}
