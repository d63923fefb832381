//! Decisions about new topics and producer ids: image and request in, records and answers out.
//!
//! Owns Kafka's rules and their order (`ReplicationControlManager.createTopics`). Pure: ids come
//! from the caller, and nothing is changed here.
//!
//! Replication: each shard is a Kafka node, so on one machine Kafka would allow as many replicas
//! as there are shards. Copies on one machine and one drive protect from nothing, and followers
//! are not built: a factor above 1 is refused with INVALID_REPLICATION_FACTOR instead of being
//! quietly lowered. -1 is 1.

use std::collections::{BTreeMap, BTreeSet};

use super::admin::{CreatedTopic, NewTopic, ProducerIdBlock, TopicOutcome, TopicRefusal};
use super::image::MetadataImage;
use super::placement::{Spread, first_state};
use super::records::{PartitionState, Record, Resource};
use super::topic_rules::{self, CLUSTER_METADATA};
use crate::settings::{BrokerSettings, topic as topic_settings};
use crate::words::{NodeId, PartitionIndex, ProducerId, TopicId};

/// Partitions that one request may make (Kafka `MAX_PARTITIONS_PER_BATCH`).
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Partitions that one cluster holds; each is a directory with open files.
pub const CLUSTER_PARTITIONS_MAX: usize = 200_000;
/// Producer ids in a block (Kafka `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Records to write, and what to answer once they are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision<T> {
    pub records: Vec<Record>,
    pub answer: T,
}

/// What a topic gets whose creator did not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDefaults {
    pub partitions: i32,
    pub replication_factor: i16,
    /// Partitions and settings of Kafka's own topics, by name.
    internal: BTreeMap<&'static str, InternalTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct InternalTopic {
    partitions: i32,
    configs: Vec<(String, Option<String>)>,
}

impl TopicDefaults {
    pub fn of(settings: &BrokerSettings) -> TopicDefaults {
        let internal = [
            (
                "__consumer_offsets",
                "offsets.topic",
                "compact",
                "producer",
                None,
            ),
            (
                "__transaction_state",
                "transaction.state.log",
                "compact",
                "uncompressed",
                Some("transaction.state.log.min.isr"),
            ),
            (
                "__share_group_state",
                "share.coordinator.state.topic",
                "delete",
                "producer",
                Some("share.coordinator.state.topic.min.isr"),
            ),
        ];
        let internal = internal
            .into_iter()
            .map(|(topic, prefix, policy, codec, isr)| {
                let number = |name: &str| settings.number(name).unwrap_or(1);
                let mut configs = vec![
                    ("cleanup.policy", policy.to_owned()),
                    ("compression.type", codec.to_owned()),
                    (
                        "segment.bytes",
                        number(&format!("{prefix}.segment.bytes")).to_string(),
                    ),
                ];
                if let Some(isr) = isr {
                    configs.push(("min.insync.replicas", number(isr).to_string()));
                }
                if policy == "delete" {
                    configs.push(("retention.ms", "-1".to_owned()));
                }
                let own = configs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), Some(value)));
                let partitions = number(&format!("{prefix}.num.partitions"));
                let made = InternalTopic {
                    partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                    configs: own.collect(),
                };
                (topic, made)
            });
        TopicDefaults {
            partitions: settings.num_partitions,
            replication_factor: settings.default_replication_factor,
            internal: internal.collect(),
        }
    }
}

/// Decides CreateTopics. Of the records none are to be written when the request only validates;
/// `new_id` gives ids that were never used.
pub fn create_topics(
    image: &MetadataImage,
    topics: &[NewTopic],
    defaults: &TopicDefaults,
    new_id: &mut dyn FnMut() -> TopicId,
) -> Decision<Vec<TopicOutcome>> {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        let times = named.entry(&topic.name).or_default();
        *times = times.saturating_add(1);
    }
    let mut creation = Creation::on(image, defaults);
    // Kafka counts the whole request first and refuses all of it. Sums of at most 100 MB of
    // request fit.
    let asked = topics.iter().map(|topic| creation.partitions_asked(topic));
    let too_many = asked.fold(0, usize::saturating_add) > REQUEST_PARTITIONS_MAX;
    let mut answered = BTreeSet::new();
    let mut answer = Vec::new();
    for topic in topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = if named
            .get(topic.name.as_str())
            .is_some_and(|times| *times > 1)
        {
            Err(TopicRefusal::DuplicateName)
        } else if topic.name == CLUSTER_METADATA {
            Err(TopicRefusal::ClusterMetadata)
        } else if too_many {
            Err(TopicRefusal::TooManyPartitions)
        } else {
            creation.create(topic, new_id)
        };
        answer.push(TopicOutcome {
            name: topic.name.clone(),
            result,
        });
    }
    Decision {
        records: creation.records,
        answer,
    }
}

/// Decides on topics that clients asked for in Metadata. A topic that is there by now, whoever
/// made it, is [`TopicRefusal::Exists`].
pub fn auto_create(
    image: &MetadataImage,
    names: &[String],
    defaults: &TopicDefaults,
    new_id: &mut dyn FnMut() -> TopicId,
) -> Decision<Vec<TopicOutcome>> {
    let mut seen = BTreeSet::new();
    let topics: Vec<NewTopic> = names
        .iter()
        .filter(|name| seen.insert(name.as_str()))
        .map(|name| {
            let internal = defaults.internal.get(name.as_str());
            NewTopic {
                name: name.clone(),
                partitions: internal.map_or(-1, |own| own.partitions),
                replication_factor: -1,
                assignments: Vec::new(),
                configs: internal.map_or_else(Vec::new, |own| own.configs.clone()),
            }
        })
        .collect();
    create_topics(image, &topics, defaults, new_id)
}

/// Decides on the next block of producer ids.
pub fn allocate_producer_ids(
    image: &MetadataImage,
) -> Decision<Result<ProducerIdBlock, TopicRefusal>> {
    let first = image.producer_ids_next();
    match first.checked_add(PRODUCER_ID_BLOCK) {
        Some(next) => Decision {
            records: vec![Record::ProducerIdsAllocated { next }],
            answer: Ok(ProducerIdBlock {
                first: ProducerId(first),
                count: PRODUCER_ID_BLOCK,
            }),
        },
        None => Decision {
            records: Vec::new(),
            answer: Err(TopicRefusal::NoProducerIds),
        },
    }
}

/// Topics being made on top of an image.
struct Creation<'a> {
    image: &'a MetadataImage,
    defaults: &'a TopicDefaults,
    spread: Spread,
    partitions: usize,
    /// What names made in this request look like in metrics.
    seen: BTreeMap<String, String>,
    records: Vec<Record>,
}

impl<'a> Creation<'a> {
    fn on(image: &'a MetadataImage, defaults: &'a TopicDefaults) -> Creation<'a> {
        Creation {
            image,
            defaults,
            spread: Spread::of(image),
            partitions: image.topics().map(|topic| topic.partitions.len()).sum(),
            seen: BTreeMap::new(),
            records: Vec::new(),
        }
    }

    fn partitions_asked(&self, topic: &NewTopic) -> usize {
        let count = match topic.partitions {
            _ if !topic.assignments.is_empty() => return topic.assignments.len(),
            -1 => self.defaults.partitions,
            count => count,
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Name, existence, settings, then counts or assignments: the order of Kafka's answers.
    fn create(
        &mut self,
        topic: &NewTopic,
        new_id: &mut dyn FnMut() -> TopicId,
    ) -> Result<CreatedTopic, TopicRefusal> {
        self.check_name(&topic.name)?;
        let given = topic
            .configs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()));
        let configs = topic_settings::validate(given).map_err(TopicRefusal::Config)?;
        let states = if topic.assignments.is_empty() {
            self.spread_out(topic)?
        } else {
            self.assigned(topic)?
        };
        let total = self.partitions.saturating_add(states.len());
        if total > CLUSTER_PARTITIONS_MAX {
            return Err(TopicRefusal::ClusterFull);
        }
        self.partitions = total;
        let id = new_id();
        let count = i32::try_from(states.len()).unwrap_or(i32::MAX);
        self.record(id, &topic.name, states, &configs);
        Ok(CreatedTopic {
            id,
            partitions: count,
            replication_factor: 1,
            configs,
        })
    }

    fn check_name(&self, name: &str) -> Result<(), TopicRefusal> {
        topic_rules::check_name(name).map_err(TopicRefusal::BadName)?;
        if self.image.topic(name).is_some() {
            return Err(TopicRefusal::Exists(name.to_owned()));
        }
        let in_request =
            || topic_rules::collision_key(name).and_then(|seen| self.seen.get(&seen).cloned());
        match self
            .image
            .collides(name)
            .map(str::to_owned)
            .or_else(in_request)
        {
            Some(existing) => Err(TopicRefusal::Collides {
                name: name.to_owned(),
                existing,
            }),
            None => Ok(()),
        }
    }

    /// The partitions of a topic that leaves their place to us.
    fn spread_out(&mut self, topic: &NewTopic) -> Result<Vec<PartitionState>, TopicRefusal> {
        let factor = match topic.replication_factor {
            -1 => self.defaults.replication_factor,
            factor => factor,
        };
        if factor <= 0 {
            return Err(TopicRefusal::BadFactor);
        }
        if topic.partitions == 0 || topic.partitions < -1 {
            return Err(TopicRefusal::BadPartitions);
        }
        let nodes = self.image.nodes().len();
        let asked = i32::from(factor);
        if usize::try_from(factor).map_or(true, |factor| factor > nodes) {
            return Err(TopicRefusal::TooFewNodes { asked, nodes });
        }
        if factor > 1 {
            return Err(TopicRefusal::NoReplication { asked });
        }
        let count = self.partitions_asked(topic);
        if self.partitions.saturating_add(count) > CLUSTER_PARTITIONS_MAX {
            return Err(TopicRefusal::ClusterFull);
        }
        Ok(self
            .spread
            .place(count)
            .into_iter()
            .map(first_state)
            .collect())
    }

    /// The partitions of a topic whose creator chose the nodes.
    fn assigned(&mut self, topic: &NewTopic) -> Result<Vec<PartitionState>, TopicRefusal> {
        if topic.replication_factor != -1 {
            return Err(TopicRefusal::FactorBesideAssignment);
        }
        if topic.partitions != -1 {
            return Err(TopicRefusal::PartitionsBesideAssignment);
        }
        let mut leaders: BTreeMap<PartitionIndex, NodeId> = BTreeMap::new();
        let mut before = None;
        for assignment in &topic.assignments {
            if leaders.contains_key(&assignment.partition) {
                return Err(TopicRefusal::AssignmentTwice(assignment.partition));
            }
            let leader = check_replicas(self.image, &assignment.replicas)?;
            let replicas = assignment.replicas.len();
            let before = *before.get_or_insert(replicas);
            if before != replicas {
                return Err(TopicRefusal::AssignmentUneven { replicas, before });
            }
            leaders.insert(assignment.partition, leader);
        }
        let gap = leaders
            .keys()
            .zip(0i32..)
            .any(|(partition, index)| partition.0 != index);
        if gap {
            return Err(TopicRefusal::AssignmentGap);
        }
        if let Some(replicas) = before.filter(|replicas| *replicas > 1) {
            let asked = i32::try_from(replicas).unwrap_or(i32::MAX);
            return Err(TopicRefusal::NoReplication { asked });
        }
        for leader in leaders.values() {
            self.spread.count(*leader);
        }
        Ok(leaders.into_values().map(first_state).collect())
    }

    fn record(
        &mut self,
        id: TopicId,
        name: &str,
        states: Vec<PartitionState>,
        configs: &BTreeMap<String, String>,
    ) {
        if let Some(seen) = topic_rules::collision_key(name) {
            self.seen.insert(seen, name.to_owned());
        }
        self.records.push(Record::TopicCreated {
            id,
            name: name.to_owned(),
        });
        let partitions = (0i32..).map(PartitionIndex).zip(states);
        self.records.extend(
            partitions.map(|(partition, state)| Record::PartitionChanged {
                topic: id,
                partition,
                state,
            }),
        );
        self.records
            .extend(configs.iter().map(|(key, value)| Record::ConfigChanged {
                resource: Resource::Topic(id),
                key: key.clone(),
                value: Some(value.clone()),
            }));
    }
}

/// Checks the replicas that somebody chose for one partition; the preferred leader.
pub(super) fn check_replicas(
    image: &MetadataImage,
    replicas: &[NodeId],
) -> Result<NodeId, TopicRefusal> {
    let Some(leader) = replicas.first() else {
        return Err(TopicRefusal::AssignmentEmpty);
    };
    let mut seen = BTreeSet::new();
    for node in replicas {
        if image.node(*node).is_none() {
            return Err(TopicRefusal::AssignmentUnknownNode(*node));
        }
        if !seen.insert(*node) {
            return Err(TopicRefusal::AssignmentNodeTwice(*node));
        }
    }
    Ok(*leader)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
