//! The metadata image: everything the cluster knows, immutable once published.
//!
//! Owns topics, nodes, dynamic settings and the producer id counter, and how each record changes
//! them. A clone shares all topics with its origin; a change copies one topic and the maps it
//! stands in. Lives on the control writer (the next one) and every shard (the present one).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::records::{ClusterId, Node, PartitionState, Record, Resource};
use super::topic_rules;
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// One partition as the image has it.
pub type Partition = PartitionState;

/// One topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    /// By index, without gaps.
    pub partitions: Vec<Partition>,
    /// The topic's own settings, as given.
    pub configs: BTreeMap<String, String>,
}

impl Topic {
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// Partitions with their indexes.
    pub fn indexed(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        (0i32..).map(PartitionIndex).zip(&self.partitions)
    }

    /// Whether Kafka keeps its own state in it.
    pub fn is_internal(&self) -> bool {
        topic_rules::is_internal(&self.name)
    }
}

/// A record that contradicts the image: the log is not the one this image came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    pub record: Record,
    pub why: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.why, self.record)
    }
}

impl std::error::Error for Misfit {}

/// Everything the cluster knows at one version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataImage {
    version: u64,
    cluster: Option<ClusterId>,
    start: u64,
    nodes: Arc<BTreeMap<NodeId, Node>>,
    by_name: Arc<BTreeMap<Arc<str>, Arc<Topic>>>,
    by_id: Arc<BTreeMap<TopicId, Arc<Topic>>>,
    /// Existing names with a dot or underscore, by what they look like in a metric's name.
    collisions: Arc<BTreeMap<String, Arc<str>>>,
    configs: Arc<BTreeMap<Resource, BTreeMap<String, String>>>,
    producer_ids_next: i64,
}

impl MetadataImage {
    pub fn empty() -> MetadataImage {
        MetadataImage::default()
    }

    /// Records applied since the log began; rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Number of the last start, from 1; 0 before the first.
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The node that clients are told is the controller: any will do, for every node forwards;
    /// the lowest is always the same.
    pub fn controller(&self) -> NodeId {
        self.nodes.keys().next().copied().unwrap_or(NodeId::NONE)
    }

    /// Topics in the order of their names.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// Partitions that `node` leads, in the order of topic names and indexes.
    pub fn led_by(
        &self,
        node: NodeId,
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionIndex, LeaderEpoch)> {
        self.topics().flat_map(move |topic| {
            topic
                .indexed()
                .filter(move |(_, partition)| partition.leader == node)
                .map(move |(index, partition)| (topic, index, partition.leader_epoch))
        })
    }

    /// The existing topic whose name collides with `name` in `.` and `_`, `name` itself aside.
    pub fn collides(&self, name: &str) -> Option<&str> {
        let seen = topic_rules::collision_key(name)?;
        let existing = self.collisions.get(&seen)?;
        (**existing != *name).then_some(&**existing)
    }

    /// Dynamic settings of a resource other than a topic; none is empty.
    pub fn configs(&self, resource: &Resource) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match resource {
            Resource::Topic(id) => self.by_id.get(id).map_or(&NONE, |topic| &topic.configs),
            other => self.configs.get(other).unwrap_or(&NONE),
        }
    }

    /// First producer id that was never given out.
    pub fn producer_ids_next(&self) -> i64 {
        self.producer_ids_next
    }

    /// Applies one record: the only way an image changes.
    pub fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        self.change(record).map_err(|why| Misfit {
            record: record.clone(),
            why,
        })?;
        self.version = self.version.saturating_add(1);
        Ok(())
    }

    /// Applies records in order.
    pub fn apply_all(&mut self, records: &[Record]) -> Result<(), Misfit> {
        records.iter().try_for_each(|record| self.apply(record))
    }

    fn change(&mut self, record: &Record) -> Result<(), &'static str> {
        match record {
            Record::ClusterCreated { id } => {
                if self.cluster.is_some_and(|known| known != *id) {
                    return Err("a log of another cluster");
                }
                self.cluster = Some(*id);
            }
            Record::NodesRegistered { start, nodes } => {
                if *start < self.start {
                    return Err("a start before the last one");
                }
                self.start = *start;
                let nodes = nodes.iter().map(|node| (node.id, node.clone()));
                self.nodes = Arc::new(nodes.collect());
            }
            Record::TopicCreated { id, name } => self.create_topic(*id, name)?,
            Record::PartitionChanged {
                topic,
                partition,
                state,
            } => self.change_partition(*topic, *partition, state)?,
            Record::TopicDeleted { id } => self.delete_topic(*id)?,
            Record::ConfigChanged {
                resource,
                key,
                value,
            } => self.change_config(resource, key, value.as_deref())?,
            Record::ProducerIdsAllocated { next } => {
                if *next < self.producer_ids_next {
                    return Err("producer ids going back");
                }
                self.producer_ids_next = *next;
            }
        }
        Ok(())
    }

    fn create_topic(&mut self, id: TopicId, name: &str) -> Result<(), &'static str> {
        if self.by_name.contains_key(name) || self.by_id.contains_key(&id) || id.is_zero() {
            return Err("a topic that exists already");
        }
        let name: Arc<str> = Arc::from(name);
        if let Some(seen) = topic_rules::collision_key(&name) {
            Arc::make_mut(&mut self.collisions).insert(seen, Arc::clone(&name));
        }
        self.store(Topic {
            id,
            name,
            partitions: Vec::new(),
            configs: BTreeMap::new(),
        });
        Ok(())
    }

    fn change_partition(
        &mut self,
        id: TopicId,
        index: PartitionIndex,
        state: &PartitionState,
    ) -> Result<(), &'static str> {
        let Ok(at) = usize::try_from(index.0) else {
            return Err("a negative partition");
        };
        self.edit(id, |topic| {
            if at == topic.partitions.len() {
                topic.partitions.push(state.clone());
                return Ok(());
            }
            match topic.partitions.get_mut(at) {
                Some(known) if state.leader_epoch < known.leader_epoch => {
                    Err("a leader epoch going back")
                }
                Some(known) => {
                    known.clone_from(state);
                    Ok(())
                }
                None => Err("a gap in the partitions"),
            }
        })
    }

    fn delete_topic(&mut self, id: TopicId) -> Result<(), &'static str> {
        let Some(topic) = Arc::make_mut(&mut self.by_id).remove(&id) else {
            return Err("a topic that does not exist");
        };
        Arc::make_mut(&mut self.by_name).remove(&topic.name);
        if let Some(seen) = topic_rules::collision_key(&topic.name) {
            Arc::make_mut(&mut self.collisions).remove(&seen);
        }
        Ok(())
    }

    fn change_config(
        &mut self,
        resource: &Resource,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), &'static str> {
        let set = |configs: &mut BTreeMap<String, String>| match value {
            Some(value) => configs.insert(key.to_owned(), value.to_owned()),
            None => configs.remove(key),
        };
        if let Resource::Topic(id) = resource {
            return self.edit(*id, |topic| {
                set(&mut topic.configs);
                Ok(())
            });
        }
        let all = Arc::make_mut(&mut self.configs);
        let configs = all.entry(resource.clone()).or_default();
        set(configs);
        if configs.is_empty() {
            all.remove(resource);
        }
        Ok(())
    }

    /// Changes one topic in place when no published image holds it, in a copy otherwise.
    fn edit(
        &mut self,
        id: TopicId,
        change: impl FnOnce(&mut Topic) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        // Out of both maps first, so that a topic made in this very batch is not copied for each
        // of its partitions.
        let Some(mut topic) = Arc::make_mut(&mut self.by_id).remove(&id) else {
            return Err("a topic that does not exist");
        };
        Arc::make_mut(&mut self.by_name).remove(&topic.name);
        let result = change(Arc::make_mut(&mut topic));
        Arc::make_mut(&mut self.by_name).insert(Arc::clone(&topic.name), Arc::clone(&topic));
        Arc::make_mut(&mut self.by_id).insert(id, topic);
        result
    }

    fn store(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        Arc::make_mut(&mut self.by_name).insert(Arc::clone(&topic.name), Arc::clone(&topic));
        Arc::make_mut(&mut self.by_id).insert(topic.id, topic);
    }

    /// Records that make this image out of an empty one; the version is not among them.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self
            .cluster
            .iter()
            .map(|id| Record::ClusterCreated { id: *id })
            .collect();
        if self.start > 0 {
            records.push(Record::NodesRegistered {
                start: self.start,
                nodes: self.nodes.values().cloned().collect(),
            });
        }
        for topic in self.topics() {
            records.push(Record::TopicCreated {
                id: topic.id,
                name: topic.name.to_string(),
            });
            records.extend(
                topic
                    .indexed()
                    .map(|(partition, state)| Record::PartitionChanged {
                        topic: topic.id,
                        partition,
                        state: state.clone(),
                    }),
            );
            records.extend(config_records(&Resource::Topic(topic.id), &topic.configs));
        }
        for (resource, configs) in self.configs.iter() {
            records.extend(config_records(resource, configs));
        }
        if self.producer_ids_next > 0 {
            records.push(Record::ProducerIdsAllocated {
                next: self.producer_ids_next,
            });
        }
        records
    }

    /// The image that a snapshot's records give, with the version it was taken at.
    pub fn at_version(mut self, version: u64) -> MetadataImage {
        self.version = version;
        self
    }
}

fn config_records<'a>(
    resource: &'a Resource,
    configs: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Record> + 'a {
    configs.iter().map(|(key, value)| Record::ConfigChanged {
        resource: resource.clone(),
        key: key.clone(),
        value: Some(value.clone()),
    })
}

#[cfg(test)]
#[path = "image_tests.rs"]
pub(crate) mod tests;
