//! The metadata cache: nodes, topics, leaders, as the last answers told them.
//!
//! Owns the picture of one cluster. Never asks for it: see `client`.

use std::collections::BTreeMap;

use super::{Address, ClientError};
use crate::wire::ErrorCode;
use crate::wire::messages::MetadataResponse;
use crate::wire::messages::k03_metadata::{MetadataResponsePartition, MetadataResponseTopic};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// See the head of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Kafka's cluster id, if told.
    pub id: Option<String>,
    /// With KRaft any live broker, to which requests for the controller go.
    pub controller: NodeId,
    pub nodes: BTreeMap<NodeId, Node>,
    pub topics: BTreeMap<String, Topic>,
}

/// A Kafka node: a broker, or with Ottla one shard of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: NodeId,
    pub address: Address,
    pub rack: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub name: String,
    /// Zero if the broker is too old to tell.
    pub id: TopicId,
    pub internal: bool,
    /// By rising index.
    pub partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    pub index: PartitionIndex,
    pub error_code: ErrorCode,
    /// [`NodeId::NONE`] for none.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    /// The preferred leader first.
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub offline: Vec<NodeId>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            id: None,
            controller: NodeId::NONE,
            nodes: BTreeMap::new(),
            topics: BTreeMap::new(),
        }
    }
}

impl Cluster {
    /// Takes an answer in. What it says of nodes replaces what was known, and so does what it says
    /// of the topics it names; an answer that names no nodes leaves them as they were.
    pub fn apply(&mut self, answer: &MetadataResponse) {
        let nodes: BTreeMap<NodeId, Node> = answer
            .brokers
            .iter()
            .filter_map(|broker| {
                let address = Address {
                    host: broker.host.to_string(),
                    port: u16::try_from(broker.port).ok()?,
                };
                let node = Node {
                    id: broker.node_id,
                    address,
                    rack: broker.rack.as_ref().map(|rack| rack.to_string()),
                };
                Some((broker.node_id, node))
            })
            .collect();
        if !nodes.is_empty() {
            self.nodes = nodes;
        }
        if let Some(id) = &answer.cluster_id {
            self.id = Some(id.to_string());
        }
        self.controller = answer.controller_id;
        for topic in &answer.topics {
            self.apply_topic(topic);
        }
    }

    fn apply_topic(&mut self, told: &MetadataResponseTopic) {
        let Some(name) = told.name.as_ref().map(|name| name.to_string()) else {
            return;
        };
        // LEADER_NOT_AVAILABLE comes with a topic whose partitions are only being made.
        if !told.error_code.is_none() {
            self.topics.remove(&name);
            return;
        }
        let mut partitions: Vec<Partition> = told.partitions.iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        partitions.dedup_by_key(|partition| partition.index);
        let topic = Topic {
            name: name.clone(),
            id: told.topic_id,
            internal: told.is_internal,
            partitions,
        };
        self.topics.insert(name, topic);
    }

    /// The node that leads a partition.
    ///
    /// # Errors
    /// [`ClientError::NoPartition`]; [`ClientError::NoLeader`], also for a topic that is not in
    /// the cache and a leader that is not among the nodes.
    pub fn leader(&self, topic: &str, partition: PartitionIndex) -> Result<&Node, ClientError> {
        let no_leader = || ClientError::NoLeader {
            topic: topic.to_owned(),
            partition,
        };
        let topic = self.topics.get(topic).ok_or_else(no_leader)?;
        let leader = topic.partition(partition)?.leader;
        self.nodes.get(&leader).ok_or_else(no_leader)
    }

    /// Partitions of the known topics that each node leads.
    pub fn partitions_led(&self) -> BTreeMap<NodeId, usize> {
        let mut led = BTreeMap::new();
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        for partition in partitions.filter(|partition| partition.leader != NodeId::NONE) {
            let count: &mut usize = led.entry(partition.leader).or_default();
            *count = count.saturating_add(1);
        }
        led
    }
}

impl Topic {
    pub fn partition(&self, index: PartitionIndex) -> Result<&Partition, ClientError> {
        self.partitions
            .binary_search_by_key(&index, |partition| partition.index)
            .ok()
            .and_then(|place| self.partitions.get(place))
            .ok_or_else(|| ClientError::NoPartition {
                topic: self.name.clone(),
                partition: index,
                partitions: self.partitions.len(),
            })
    }

    /// Whether it has partitions, and a leader for each.
    pub fn is_led(&self) -> bool {
        let led = |partition: &Partition| partition.leader != NodeId::NONE;
        !self.partitions.is_empty() && self.partitions.iter().all(led)
    }
}

fn partition(told: &MetadataResponsePartition) -> Partition {
    Partition {
        index: told.partition_index,
        error_code: told.error_code,
        leader: told.leader_id,
        leader_epoch: told.leader_epoch,
        replicas: told.replica_nodes.clone(),
        isr: told.isr_nodes.clone(),
        offline: told.offline_replicas.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::KStr;
    use crate::wire::messages::k03_metadata::MetadataResponseBroker;

    fn answer(leaders: &[(i32, i32)]) -> MetadataResponse {
        let broker = |id, port| MetadataResponseBroker {
            node_id: NodeId(id),
            host: KStr::from("h"),
            port,
            rack: None,
        };
        MetadataResponse {
            brokers: vec![broker(1, 9092), broker(2, 9093), broker(3, 70_000)],
            topics: vec![MetadataResponseTopic {
                name: Some(KStr::from("t")),
                partitions: leaders
                    .iter()
                    .map(|&(index, leader)| MetadataResponsePartition {
                        partition_index: PartitionIndex(index),
                        leader_id: NodeId(leader),
                        ..MetadataResponsePartition::default()
                    })
                    .collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    #[test]
    fn leaders_are_found_whatever_the_order_they_were_told_in() {
        let mut cluster = Cluster::default();
        cluster.apply(&answer(&[(1, 2), (0, 1)]));
        let port = |index| {
            let node = cluster.leader("t", PartitionIndex(index));
            node.map(|node| node.address.port)
        };
        assert_eq!(port(0), Ok(9092));
        assert_eq!(port(1), Ok(9093));
        assert!(matches!(port(2), Err(ClientError::NoPartition { .. })));
    }

    #[test]
    fn no_leader_an_unknown_leader_and_an_unknown_topic_are_no_leader() {
        let mut cluster = Cluster::default();
        // Node 3 was told with a port that cannot be.
        cluster.apply(&answer(&[(0, -1), (1, 3), (2, 4)]));
        for (topic, index) in [("t", 0), ("t", 1), ("t", 2), ("u", 0)] {
            let leader = cluster.leader(topic, PartitionIndex(index));
            assert!(matches!(leader, Err(ClientError::NoLeader { .. })));
        }
        assert!(!cluster.topics.get("t").unwrap().is_led());
    }

    #[test]
    fn a_topic_that_is_gone_leaves_the_cache() {
        let mut cluster = Cluster::default();
        cluster.apply(&answer(&[(0, 1), (1, 1), (2, 2)]));
        let led = BTreeMap::from([(NodeId(1), 2), (NodeId(2), 1)]);
        assert_eq!(cluster.partitions_led(), led);
        let mut gone = answer(&[]);
        gone.topics[0].error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        gone.brokers.clear();
        cluster.apply(&gone);
        assert!(cluster.topics.is_empty());
        assert_eq!(cluster.nodes.len(), 2);
    }
}
