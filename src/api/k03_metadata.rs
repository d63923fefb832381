//! Metadata (key 3), versions 0 to 13: nodes, topics, leaders.
//!
//! v0 an empty list is all topics; v1 null is, and the controller; v2 cluster id; v4 auto-creation
//! can be turned off; v5 offline replicas; v7 leader epochs; v8 authorized operations (KIP-430);
//! v9 flexible; v10 topic ids, v12 asking by them (KIP-516); v11 the cluster's operations are gone
//! (KIP-700); v13 error for all (KIP-1102).
//!
//! An unknown topic that may be created is answered with 3 at first, as Kafka does; the client
//! asks again and finds it. Not done: authorization (everybody may do everything), and
//! REBOOTSTRAP_REQUIRED, which Kafka's brokers do not send either.

use std::collections::BTreeSet;

use crate::api::ports::Ports;
use crate::metadata::topic_rules;
use crate::metadata::{MetadataImage, Partition, Topic};
use crate::wire::messages::k03_metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::{ErrorCode, KStr};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// Operations on a topic that everybody has without an authorizer (`AclOperation` bits).
const TOPIC_OPERATIONS: i32 = 3576;
/// Operations on the cluster that everybody has without an authorizer.
pub const CLUSTER_OPERATIONS: i32 = 8096;
/// First version in which topics may be asked for by id.
const BY_ID_VERSION_MIN: i16 = 12;
/// First version that has topic ids at all.
const IDS_VERSION_MIN: i16 = 10;

/// An answer, and the topics to be created because of the question.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    pub response: MetadataResponse,
    pub auto_create: Vec<String>,
}

/// Answers from the image.
pub fn answer(request: &MetadataRequest, version: i16, ports: &Ports<'_>) -> Answer {
    let asked = request.topics.as_deref();
    if version >= IDS_VERSION_MIN && asked.is_some_and(|topics| !are_well_named(topics, version)) {
        return Answer {
            response: all_refused(asked.unwrap_or(&[])),
            auto_create: Vec::new(),
        };
    }
    let may_create = request.allow_auto_topic_creation && ports.settings.auto_create_topics;
    let mut found = Found {
        image: ports.image,
        operations: match request.include_topic_authorized_operations {
            true => TOPIC_OPERATIONS,
            false => i32::MIN,
        },
        auto_create: Vec::new(),
    };
    let topics = match asked {
        None => found.all(),
        Some([]) if version == 0 => found.all(),
        Some(topics) if topics.iter().any(|topic| !topic.topic_id.is_zero()) => found.by_id(topics),
        Some(topics) => found.by_name(topics, may_create),
    };
    let auto_create = found.auto_create;
    let response = MetadataResponse {
        brokers: brokers(ports.image),
        cluster_id: ports.image.cluster().map(|id| KStr::from(id.to_string())),
        controller_id: ports.image.controller(),
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..MetadataResponse::default()
    };
    Answer {
        response,
        auto_create,
    }
}

fn brokers(image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let brokers = image.nodes().map(|node| MetadataResponseBroker {
        node_id: node.id,
        host: KStr::from(node.host.as_str()),
        port: i32::from(node.port),
        rack: node.rack.as_deref().map(KStr::from),
    });
    brokers.collect()
}

/// Versions 10 and 11 know ids but not asking by them; a topic has a name or, later, an id.
fn are_well_named(topics: &[MetadataRequestTopic], version: i16) -> bool {
    topics
        .iter()
        .all(|topic| match (&topic.name, topic.topic_id.is_zero()) {
            (Some(_), true) => true,
            (_, false) => version >= BY_ID_VERSION_MIN,
            (None, true) => false,
        })
}

/// INVALID_REQUEST for every topic, without a cluster around it.
fn all_refused(topics: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = topics.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    MetadataResponse {
        topics: refused.collect(),
        ..MetadataResponse::default()
    }
}

/// Looks topics up.
struct Found<'a> {
    image: &'a MetadataImage,
    operations: i32,
    auto_create: Vec<String>,
}

impl Found<'_> {
    fn all(&self) -> Vec<MetadataResponseTopic> {
        self.image.topics().map(|topic| self.known(topic)).collect()
    }

    /// Entries without an id are passed over, and of an entry with both the id counts.
    fn by_id(&self, topics: &[MetadataRequestTopic]) -> Vec<MetadataResponseTopic> {
        let mut seen = BTreeSet::new();
        let ids = topics.iter().map(|topic| topic.topic_id);
        ids.filter(|id| !id.is_zero() && seen.insert(*id))
            .map(|id| match self.image.topic_by_id(id) {
                Some(topic) => self.known(topic),
                None => self.missing(ErrorCode::UNKNOWN_TOPIC_ID, None, id),
            })
            .collect()
    }

    fn by_name(
        &mut self,
        topics: &[MetadataRequestTopic],
        may_create: bool,
    ) -> Vec<MetadataResponseTopic> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for name in topics.iter().filter_map(|topic| topic.name.as_ref()) {
            if !seen.insert(name.as_str()) {
                continue;
            }
            found.push(match self.image.topic(name) {
                Some(topic) => self.known(topic),
                None => {
                    let (code, creatable) = absent(name);
                    if creatable && may_create {
                        self.auto_create.push(name.as_str().to_owned());
                    }
                    self.missing(code, Some(name.clone()), TopicId::ZERO)
                }
            });
        }
        found
    }

    fn missing(&self, code: ErrorCode, name: Option<KStr>, id: TopicId) -> MetadataResponseTopic {
        MetadataResponseTopic {
            error_code: code,
            is_internal: name.as_deref().is_some_and(topic_rules::is_internal),
            name,
            topic_id: id,
            topic_authorized_operations: self.operations,
            ..MetadataResponseTopic::default()
        }
    }

    fn known(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.indexed();
        MetadataResponseTopic {
            error_code: ErrorCode::NONE,
            name: Some(KStr::from(&*topic.name)),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions
                .map(|(index, state)| self.partition(index, state))
                .collect(),
            topic_authorized_operations: self.operations,
        }
    }

    fn partition(&self, index: PartitionIndex, state: &Partition) -> MetadataResponsePartition {
        let is_up = |node: &NodeId| self.image.node(*node).is_some();
        let led = is_up(&state.leader);
        MetadataResponsePartition {
            error_code: if led {
                ErrorCode::NONE
            } else {
                ErrorCode::LEADER_NOT_AVAILABLE
            },
            partition_index: index,
            leader_id: if led { state.leader } else { NodeId::NONE },
            leader_epoch: LeaderEpoch(state.leader_epoch.0),
            replica_nodes: state.replicas.to_vec(),
            isr_nodes: state.isr.to_vec(),
            offline_replicas: state
                .replicas
                .iter()
                .filter(|node| !is_up(node))
                .copied()
                .collect(),
        }
    }
}

/// What an unknown name is answered with, and whether a topic of it could be made. A name that
/// collides with another is left to the writer to refuse: it stays unknown.
fn absent(name: &str) -> (ErrorCode, bool) {
    match topic_rules::check_name(name) {
        Ok(()) => (
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            name != topic_rules::CLUSTER_METADATA,
        ),
        Err(_) => (ErrorCode::INVALID_TOPIC_EXCEPTION, false),
    }
}
