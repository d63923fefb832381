//! Decisions about adding partitions to topics: image and request in, records and answers out.
//!
//! Owns Kafka's rules (`ControllerApis.createPartitions`,
//! `ReplicationControlManager.createPartitions`). Pure; never takes a partition away.

use std::collections::{BTreeMap, BTreeSet};

use super::admin::TopicRefusal;
use super::decide::{self, CLUSTER_PARTITIONS_MAX, Decision, REQUEST_PARTITIONS_MAX};
use super::image::{MetadataImage, Topic};
use super::placement::{Spread, first_state};
use super::records::Record;
use crate::words::{NodeId, PartitionIndex};

/// A topic that is to have more partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MorePartitions {
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// The replicas of each new partition; `None` leaves their place to us.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// What became of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Growth {
    pub name: String,
    pub result: Result<(), TopicRefusal>,
}

/// Decides CreatePartitions, each topic on its own. A topic named twice is refused once. Of the
/// records none are to be written when the request only validates.
pub fn create_partitions(
    image: &MetadataImage,
    topics: &[MorePartitions],
) -> Decision<Vec<Growth>> {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        let times = named.entry(&topic.name).or_default();
        *times = times.saturating_add(1);
    }
    let mut growing = Growing::on(image);
    let mut answered = BTreeSet::new();
    let mut answer = Vec::new();
    for topic in topics {
        let name = topic.name.as_str();
        if !answered.insert(name) {
            continue;
        }
        let result = if named.get(name).is_some_and(|times| *times > 1) {
            Err(TopicRefusal::DuplicateName)
        } else {
            growing.grow(topic)
        };
        let name = name.to_owned();
        answer.push(Growth { name, result });
    }
    Decision {
        records: growing.records,
        answer,
    }
}

/// Topics growing on top of an image.
struct Growing<'a> {
    image: &'a MetadataImage,
    spread: Spread,
    /// Partitions of the whole cluster.
    partitions: usize,
    /// Partitions that this request added so far.
    added: usize,
    records: Vec<Record>,
}

impl<'a> Growing<'a> {
    fn on(image: &'a MetadataImage) -> Growing<'a> {
        Growing {
            image,
            spread: Spread::of(image),
            partitions: image.topics().map(|topic| topic.partitions.len()).sum(),
            added: 0,
            records: Vec::new(),
        }
    }

    fn grow(&mut self, asked: &MorePartitions) -> Result<(), TopicRefusal> {
        let image = self.image;
        let Some(topic) = image.topic(&asked.name) else {
            return Err(TopicRefusal::UnknownName);
        };
        let more = more(topic, asked.count)?;
        let leaders = match &asked.assignments {
            Some(assignments) => Some(self.assigned(topic, more, assignments)?),
            None => None,
        };
        // Kafka fails here without a word; the code is that of CreateTopics.
        if self.added.saturating_add(more) > REQUEST_PARTITIONS_MAX {
            return Err(TopicRefusal::TooManyPartitions);
        }
        if self.partitions.saturating_add(more) > CLUSTER_PARTITIONS_MAX {
            return Err(TopicRefusal::ClusterFull);
        }
        self.added = self.added.saturating_add(more);
        self.partitions = self.partitions.saturating_add(more);
        let leaders = match leaders {
            Some(leaders) => {
                for leader in &leaders {
                    self.spread.count(*leader);
                }
                leaders
            }
            None => {
                let held = topic.partitions.iter().map(|partition| partition.leader);
                self.spread.place_more(held, more)
            }
        };
        let first = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let numbered = (first..).map(PartitionIndex).zip(leaders);
        let records = numbered.map(|(partition, leader)| Record::PartitionChanged {
            topic: topic.id,
            partition,
            state: first_state(leader),
        });
        self.records.extend(records);
        Ok(())
    }

    /// The leaders of new partitions whose nodes were chosen by hand.
    fn assigned(
        &self,
        topic: &Topic,
        more: usize,
        assignments: &[Vec<NodeId>],
    ) -> Result<Vec<NodeId>, TopicRefusal> {
        let given = assignments.len();
        if given != more {
            return Err(TopicRefusal::AssignmentCount { more, given });
        }
        let before = topic.partitions.first().map_or(1, |one| one.replicas.len());
        let leaders = assignments.iter().map(|nodes| {
            let leader = decide::check_replicas(self.image, nodes)?;
            let replicas = nodes.len();
            if replicas != before {
                return Err(TopicRefusal::AssignmentUneven { replicas, before });
            }
            Ok(leader)
        });
        leaders.collect()
    }
}

/// How many partitions are missing to `count`.
fn more(topic: &Topic, count: i32) -> Result<usize, TopicRefusal> {
    let has = topic.partitions.len();
    let wanted = usize::try_from(count).unwrap_or(0);
    match wanted.checked_sub(has) {
        Some(0) => Err(TopicRefusal::SamePartitions(has)),
        Some(more) => Ok(more),
        None => Err(TopicRefusal::FewerPartitions {
            name: topic.name.to_string(),
            has,
            asked: count,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::{image, partition_of, registered, topic_of};
    use super::*;

    fn base() -> MetadataImage {
        image(&[
            registered(&[0, 1, 2]),
            topic_of(1, "a"),
            partition_of(1, 0, 1, 0),
            topic_of(2, "b"),
            partition_of(2, 0, 0, 0),
            partition_of(2, 1, 2, 0),
        ])
    }

    fn to(name: &str, count: i32) -> MorePartitions {
        MorePartitions {
            name: name.into(),
            count,
            assignments: None,
        }
    }

    fn by_hand(name: &str, count: i32, nodes: &[&[i32]]) -> MorePartitions {
        let nodes = nodes
            .iter()
            .map(|one| one.iter().map(|id| NodeId(*id)).collect());
        MorePartitions {
            assignments: Some(nodes.collect()),
            ..to(name, count)
        }
    }

    /// `name refusal` or `name ok` of each answer, then `index@leader` of each new partition.
    fn told(topics: &[MorePartitions]) -> Vec<String> {
        let decision = create_partitions(&base(), topics);
        let answers = decision.answer.iter().map(|one| match &one.result {
            Ok(()) => format!("{} ok", one.name),
            Err(why) => format!("{} {why:?}", one.name),
        });
        let mut image = base();
        image.apply_all(&decision.records).unwrap();
        let made = decision.records.iter().map(|record| match record {
            Record::PartitionChanged {
                partition, state, ..
            } => format!("{partition}@{}", state.leader),
            other => panic!("{other:?}"),
        });
        answers.chain(made).collect()
    }

    #[test]
    fn topics_grow_or_are_refused_as_kafka_refuses() {
        let table: [(&[MorePartitions], &[&str]); 14] = [
            (&[], &[]),
            (&[to("a", 1)], &["a SamePartitions(1)"]),
            (
                &[to("b", 1)],
                &["b FewerPartitions { name: \"b\", has: 2, asked: 1 }"],
            ),
            (
                &[to("b", i32::MIN)],
                &["b FewerPartitions { name: \"b\", has: 2, asked: -2147483648 }"],
            ),
            (&[to("x", 3)], &["x UnknownName"]),
            (&[to("", 3)], &[" UnknownName"]),
            (&[to("a", i32::MAX)], &["a TooManyPartitions"]),
            (
                &[to("a", 2), to("b", 3), to("a", 3)],
                &["a DuplicateName", "b ok", "2@1"],
            ),
            (&[by_hand("a", 3, &[&[2], &[0]])], &["a ok", "1@2", "2@0"]),
            (
                &[by_hand("a", 3, &[&[2]])],
                &["a AssignmentCount { more: 2, given: 1 }"],
            ),
            (
                &[by_hand("a", 2, &[])],
                &["a AssignmentCount { more: 1, given: 0 }"],
            ),
            (
                &[by_hand("a", 2, &[&[7]])],
                &["a AssignmentUnknownNode(NodeId(7))"],
            ),
            (
                &[by_hand("a", 2, &[&[1, 1]])],
                &["a AssignmentNodeTwice(NodeId(1))"],
            ),
            (
                &[by_hand("a", 2, &[&[1, 2]]), by_hand("b", 3, &[&[]])],
                &[
                    "a AssignmentUneven { replicas: 2, before: 1 }",
                    "b AssignmentEmpty",
                ],
            ),
        ];
        for (topics, lines) in table {
            assert_eq!(told(topics), lines, "{topics:?}");
        }
    }

    #[test]
    fn new_partitions_go_where_the_topic_has_fewest() {
        // Node 1 leads the topic's only partition: the others come first.
        assert_eq!(
            told(&[to("a", 7)]),
            ["a ok", "1@0", "2@2", "3@1", "4@0", "5@2", "6@1"]
        );
    }
}
