//! Making, deleting and describing: topics, configurations, the cluster.
//!
//! Owns the translation between plain values and messages. A change is asked for once, and again
//! only when the node asked was not the controller: who asks twice may be told that it exists.

use super::calls::{Asked, Client};
use super::cluster::Node;
use super::{Address, ClientError, Refusal};
use crate::wire::messages::k19_create_topics::{CreatableTopic, CreatableTopicConfig};
use crate::wire::messages::k20_delete_topics::DeleteTopicState;
use crate::wire::messages::k32_describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult,
};
use crate::wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
};
use crate::wire::{ApiKey, ErrorCode, KStr, Request};
use crate::words::{NodeId, TopicId};

/// Resource types of DescribeConfigs (Kafka `ConfigResource.Type`).
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
/// Kafka `ConfigSource.DEFAULT_CONFIG`: nobody set it.
const SOURCE_DEFAULT: i8 = 5;

/// A topic to make.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    /// `None` leaves it to the broker (`num.partitions`, KIP-464).
    pub partitions: Option<i32>,
    /// `None` leaves it to the broker (`default.replication.factor`).
    pub replication: Option<i16>,
    pub configs: Vec<(String, String)>,
}

/// What the broker made, or would make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeTopic {
    /// Zero if the broker is too old to tell, or only judged.
    pub id: TopicId,
    /// -1 if the broker does not tell.
    pub partitions: i32,
    pub replication: i16,
}

/// One setting and where its value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` for no value, or one that is kept secret.
    pub value: Option<String>,
    /// Kafka `ConfigSource`: 1 topic, 2 broker, 3 all brokers, 4 server.properties, 5 default.
    pub source: i8,
    pub read_only: bool,
    pub sensitive: bool,
}

impl ConfigEntry {
    /// Whether nobody set it.
    pub fn is_default(&self) -> bool {
        self.source == SOURCE_DEFAULT
    }
}

/// The cluster as a broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterView {
    pub id: Option<String>,
    pub controller: NodeId,
    /// With whether each is fenced, by rising id.
    pub nodes: Vec<(Node, bool)>,
}

impl Client {
    /// Makes a topic, or with `validate_only` asks whether it could be made.
    ///
    /// # Errors
    /// The broker's refusal.
    pub fn create_topic(
        &mut self,
        topic: &NewTopic,
        validate_only: bool,
    ) -> Result<MadeTopic, ClientError> {
        let configs = topic.configs.iter().map(|(name, value)| {
            let name = KStr::from(name.as_str());
            let value = Some(KStr::from(value.as_str()));
            CreatableTopicConfig { name, value }
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: KStr::from(topic.name.as_str()),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication.unwrap_or(-1),
                assignments: Vec::new(),
                configs: configs.collect(),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        self.changing(|client| {
            let answer = client.call_controller(&request)?;
            let outcome = answer
                .topics
                .into_iter()
                .find(|made| made.name == *topic.name);
            let made = outcome.ok_or_else(|| client.incomplete::<CreateTopicsRequest>())?;
            let about = format!("topic {}", topic.name);
            refuse(made.error_code, about, made.error_message.as_deref())?;
            Ok(MadeTopic {
                id: made.topic_id,
                partitions: made.num_partitions,
                replication: made.replication_factor,
            })
        })
    }

    /// Deletes a topic by name.
    ///
    /// # Errors
    /// The broker's refusal.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(KStr::from(name)),
                ..DeleteTopicState::default()
            }],
            topic_names: vec![KStr::from(name)],
            timeout_ms: self.timeout_ms(),
        };
        self.changing(|client| {
            let answer = client.call_controller(&request)?;
            let outcome = answer.responses.into_iter().next();
            let outcome = outcome.ok_or_else(|| client.incomplete::<DeleteTopicsRequest>())?;
            let about = format!("topic {name}");
            refuse(outcome.error_code, about, outcome.error_message.as_deref())
        })
    }

    /// All settings of a topic, by name.
    pub fn describe_topic_configs(&mut self, topic: &str) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = configs_request(RESOURCE_TOPIC, topic);
        let answer = self.call_any(&request)?;
        self.configs(answer, format!("topic {topic}"))
    }

    /// All settings of a node, as that node itself tells them.
    pub fn describe_node_configs(&mut self, node: &Node) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = configs_request(RESOURCE_BROKER, &node.id.to_string());
        let answer = self.call_node(node, &request)?;
        self.configs(answer, format!("node {}", node.id))
    }

    fn configs(
        &self,
        answer: <DescribeConfigsRequest as Request>::Response,
        about: String,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let result = answer.results.into_iter().next();
        let result = result.ok_or_else(|| self.incomplete::<DescribeConfigsRequest>())?;
        refuse(result.error_code, about, result.error_message.as_deref())?;
        let entry = |config: DescribeConfigsResourceResult| ConfigEntry {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            source: config.config_source,
            read_only: config.read_only,
            sensitive: config.is_sensitive,
        };
        let mut entries: Vec<ConfigEntry> = result.configs.into_iter().map(entry).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Nodes, controller and cluster id. A broker older than DescribeCluster is asked for its
    /// metadata instead, which knows nothing of fenced nodes.
    pub fn describe_cluster(&mut self) -> Result<ClusterView, ClientError> {
        if !self.offers(ApiKey::DESCRIBE_CLUSTER)? {
            self.refresh(Asked::Nothing)?;
            let cluster = self.cluster();
            return Ok(ClusterView {
                id: cluster.id.clone(),
                controller: cluster.controller,
                nodes: cluster
                    .nodes
                    .values()
                    .cloned()
                    .map(|n| (n, false))
                    .collect(),
            });
        }
        let answer = self.call_any(&DescribeClusterRequest {
            include_fenced_brokers: true,
            ..DescribeClusterRequest::default()
        })?;
        let message = answer.error_message.as_deref();
        refuse(answer.error_code, "the cluster".to_owned(), message)?;
        let mut nodes = Vec::new();
        for broker in answer.brokers {
            let address = Address {
                host: broker.host.to_string(),
                // A fenced broker may have told none.
                port: u16::try_from(broker.port).unwrap_or(0),
            };
            let node = Node {
                id: broker.broker_id,
                address,
                rack: broker.rack.map(|rack| rack.to_string()),
            };
            nodes.push((node, broker.is_fenced));
        }
        nodes.sort_by_key(|(node, _)| node.id);
        Ok(ClusterView {
            id: Some(answer.cluster_id.to_string()),
            controller: answer.controller_id,
            nodes,
        })
    }

    /// Runs a change; once more, with fresh metadata, if the controller has moved.
    fn changing<T>(
        &mut self,
        mut change: impl FnMut(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match change(self) {
            Err(error) if error.code() == Some(ErrorCode::NOT_CONTROLLER) => {
                self.refresh(Asked::Nothing)?;
                change(self)
            }
            outcome => outcome,
        }
    }

    /// The time-out that goes into requests, in milliseconds.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.options().timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn configs_request(resource_type: i8, name: &str) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: KStr::from(name),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    }
}

fn refuse(code: ErrorCode, about: String, message: Option<&str>) -> Result<(), ClientError> {
    if code.is_none() {
        return Ok(());
    }
    Err(ClientError::Refused(Refusal::of(code, about, message)))
}
