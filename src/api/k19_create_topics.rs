//! CreateTopics (key 19), versions 2 to 7: making topics.
//!
//! v2 throttle; v4 -1 stands for the broker's defaults (taken in earlier versions too, as Kafka
//! does; KIP-464); v5 flexible, the answer tells counts and settings (KIP-525); v6 quota error
//! (KIP-599, not used); v7 topic ids (KIP-516).
//!
//! Not done: controller mutation quotas, and waiting out the timeout (the change is durable when
//! it is answered); a timeout of 0 or less is answered with 7, as Kafka does.

use std::collections::BTreeSet;

use crate::api::cold::Step;
use crate::api::ports::Ports;
use crate::api::refusals;
use crate::metadata::admin::{Assignment, CreatedTopic, NewTopic, TopicOutcome};
use crate::metadata::{AdminReply, AdminRequest};
use crate::settings::describe::{self, Described, Keys};
use crate::wire::messages::k19_create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use crate::wire::{ErrorCode, KStr};

/// Hands the topics to the metadata writer.
pub fn begin(request: &CreateTopicsRequest) -> Step<CreateTopicsResponse> {
    if request.topics.is_empty() {
        return Step::Reply(CreateTopicsResponse::default());
    }
    if request.timeout_ms <= 0 {
        return Step::Reply(timed_out(request));
    }
    Step::Ask(AdminRequest::CreateTopics {
        topics: request.topics.iter().map(new_topic).collect(),
        validate_only: request.validate_only,
    })
}

fn timed_out(request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mut seen = BTreeSet::new();
    let names = request.topics.iter().map(|topic| &topic.name);
    let topics = names
        .filter(|name| seen.insert(name.as_str()))
        .map(|name| CreatableTopicResult {
            name: name.clone(),
            error_code: ErrorCode::REQUEST_TIMED_OUT,
            error_message: None,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        });
    CreateTopicsResponse {
        topics: topics.collect(),
        ..CreateTopicsResponse::default()
    }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.iter().map(|one| Assignment {
        partition: one.partition_index,
        replicas: one.broker_ids.clone(),
    });
    let configs = topic.configs.iter().map(|config| {
        let value = config.value.as_deref().map(str::to_owned);
        (config.name.as_str().to_owned(), value)
    });
    NewTopic {
        name: topic.name.as_str().to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

/// The writer's outcomes as the answer.
pub fn finish(reply: AdminReply, ports: &Ports<'_>) -> CreateTopicsResponse {
    let outcomes = match reply {
        AdminReply::Created(outcomes) => outcomes,
        // The writer answers what it was asked.
        _ => Vec::new(),
    };
    CreateTopicsResponse {
        topics: outcomes
            .into_iter()
            .map(|outcome| result(outcome, ports))
            .collect(),
        ..CreateTopicsResponse::default()
    }
}

fn result(outcome: TopicOutcome, ports: &Ports<'_>) -> CreatableTopicResult {
    let name = KStr::from(outcome.name);
    match outcome.result {
        Ok(made) => created(name, &made, ports),
        Err(refusal) => CreatableTopicResult {
            name,
            error_code: refusals::code(&refusal),
            error_message: Some(KStr::from(refusal.to_string())),
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        },
    }
}

fn created(name: KStr, made: &CreatedTopic, ports: &Ports<'_>) -> CreatableTopicResult {
    let told = describe::topic(&made.configs, &ports.layers(), Keys::All);
    CreatableTopicResult {
        name,
        topic_id: made.id,
        error_message: None,
        num_partitions: made.partitions,
        replication_factor: made.replication_factor,
        configs: Some(told.into_iter().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}

fn config(told: Described) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: KStr::from(told.name),
        value: told.value.map(KStr::from),
        read_only: told.read_only,
        config_source: told.source.wire(),
        is_sensitive: told.sensitive,
    }
}
