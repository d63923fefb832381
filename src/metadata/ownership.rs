//! Whose a partition is: mine, somebody else's, or nobody's.
//!
//! Owns the answer as a value; which error a client sees is decided in `api/` (KIP-951).

use std::sync::Arc;

use super::image::{MetadataImage, Topic};
use super::records::Node;
use crate::words::{LeaderEpoch, NodeId, PartitionIndex};

/// Whose a partition is, by one image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ownership<'a> {
    Mine {
        topic: &'a Arc<Topic>,
        epoch: LeaderEpoch,
    },
    Elsewhere {
        leader: NodeId,
        epoch: LeaderEpoch,
        /// Where the leader is reached, if it is up.
        endpoint: Option<&'a Node>,
    },
    /// The topic is there, the partition is not.
    NoPartition,
    NoTopic,
}

/// How a client names a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicRef<'a> {
    Name(&'a str),
    Id(crate::words::TopicId),
}

/// Whose `partition` of a topic is, asked by node `me`.
pub fn owner<'a>(
    image: &'a MetadataImage,
    me: NodeId,
    topic: TopicRef<'_>,
    partition: PartitionIndex,
) -> Ownership<'a> {
    let found = match topic {
        TopicRef::Name(name) => image.topic(name),
        TopicRef::Id(id) => image.topic_by_id(id),
    };
    let Some(topic) = found else {
        return Ownership::NoTopic;
    };
    match topic.partition(partition) {
        None => Ownership::NoPartition,
        Some(state) if state.leader == me => Ownership::Mine {
            topic,
            epoch: state.leader_epoch,
        },
        Some(state) => Ownership::Elsewhere {
            leader: state.leader,
            epoch: state.leader_epoch,
            endpoint: image.node(state.leader),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::{image, partition_of, registered, topic_of};
    use super::*;

    #[test]
    fn a_partition_is_mine_elsewhere_or_nobodys() {
        let image = image(&[
            registered(&[0, 1]),
            topic_of(1, "t"),
            partition_of(1, 0, 0, 4),
            partition_of(1, 1, 1, 5),
            partition_of(1, 2, 7, 6),
        ]);
        let ask = |name: &'static str, index| {
            owner(
                &image,
                NodeId(0),
                TopicRef::Name(name),
                PartitionIndex(index),
            )
        };
        assert!(matches!(
            ask("t", 0),
            Ownership::Mine {
                epoch: LeaderEpoch(4),
                ..
            }
        ));
        assert!(matches!(
            ask("t", 1),
            Ownership::Elsewhere {
                leader: NodeId(1),
                epoch: LeaderEpoch(5),
                endpoint: Some(_)
            }
        ));
        assert!(matches!(
            ask("t", 2),
            Ownership::Elsewhere {
                leader: NodeId(7),
                endpoint: None,
                ..
            }
        ));
        for index in [3, -1, i32::MAX, i32::MIN] {
            assert_eq!(ask("t", index), Ownership::NoPartition);
        }
        assert_eq!(ask("other", 0), Ownership::NoTopic);
        let id = image.topic("t").unwrap().id;
        let by_id = owner(&image, NodeId(0), TopicRef::Id(id), PartitionIndex(0));
        assert!(matches!(by_id, Ownership::Mine { .. }));
    }
}
