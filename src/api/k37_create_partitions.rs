//! CreatePartitions (key 37), versions 0 to 3: more partitions for topics (KIP-195).
//!
//! v1 throttled late; v2 flexible; v3 quota error (KIP-599, not used).
//!
//! Not done: controller mutation quotas, and waiting out the timeout (the change is durable when
//! it is answered); a timeout of 0 or less is answered with 7, as Kafka does.

use crate::api::cold::Step;
use crate::api::refusals;
use crate::metadata::grow::{Growth, MorePartitions};
use crate::metadata::{AdminReply, AdminRequest, TopicRefusal};
use crate::wire::messages::k37_create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use crate::wire::{ErrorCode, KStr};

/// Hands the topics to the metadata writer.
pub fn begin(request: &CreatePartitionsRequest) -> Step<CreatePartitionsResponse> {
    if request.topics.is_empty() {
        return Step::Reply(CreatePartitionsResponse::default());
    }
    if request.timeout_ms <= 0 {
        let late = request
            .topics
            .iter()
            .map(|topic| CreatePartitionsTopicResult {
                name: topic.name.clone(),
                error_code: ErrorCode::REQUEST_TIMED_OUT,
                error_message: None,
            });
        return Step::Reply(response(late));
    }
    Step::Ask(AdminRequest::CreatePartitions {
        topics: request.topics.iter().map(more_partitions).collect(),
        validate_only: request.validate_only,
    })
}

fn more_partitions(topic: &CreatePartitionsTopic) -> MorePartitions {
    let assignments = topic.assignments.as_ref().map(|all| {
        let nodes = all.iter().map(|one| one.broker_ids.clone());
        nodes.collect()
    });
    MorePartitions {
        name: topic.name.as_str().to_owned(),
        count: topic.count,
        assignments,
    }
}

/// The writer's outcomes as the answer.
pub fn finish(reply: AdminReply) -> CreatePartitionsResponse {
    let outcomes = match reply {
        AdminReply::Grown(outcomes) => outcomes,
        // The writer answers what it was asked.
        _ => Vec::new(),
    };
    response(outcomes.into_iter().map(result))
}

fn result(growth: Growth) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match &growth.result {
        Ok(()) => (ErrorCode::NONE, None),
        // Kafka has no words for it here.
        Err(TopicRefusal::UnknownName) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None),
        Err(refusal) => (
            refusals::code(refusal),
            Some(KStr::from(refusal.to_string())),
        ),
    };
    CreatePartitionsTopicResult {
        name: KStr::from(growth.name),
        error_code,
        error_message,
    }
}

fn response(
    results: impl Iterator<Item = CreatePartitionsTopicResult>,
) -> CreatePartitionsResponse {
    CreatePartitionsResponse {
        results: results.collect(),
        ..CreatePartitionsResponse::default()
    }
}
