//! Which node leads which partition.
//!
//! Owns even spreading at creation and re-spreading with few moves when the nodes of a machine
//! changed between two starts. Deterministic: ties go to the lowest node. Never changes an image;
//! it proposes records.

use std::collections::{BTreeMap, BTreeSet};

use super::image::MetadataImage;
use super::records::{PartitionState, Record, Replicas};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// How many partitions each registered node leads, while new ones are placed.
#[derive(Clone, Debug)]
pub struct Spread {
    led: BTreeMap<NodeId, usize>,
}

impl Spread {
    pub fn of(image: &MetadataImage) -> Spread {
        let mut led: BTreeMap<NodeId, usize> = image.nodes().map(|node| (node.id, 0)).collect();
        for topic in image.topics() {
            for partition in &topic.partitions {
                if let Some(count) = led.get_mut(&partition.leader) {
                    *count = count.saturating_add(1);
                }
            }
        }
        Spread { led }
    }

    /// Leaders for the partitions of one new topic: within the topic every node gets the same
    /// number or one more, and the extra ones go to the nodes that lead least. So a busy topic is
    /// on all cores, and many small topics together are too. Empty when there is no node.
    pub fn place(&mut self, partitions: usize) -> Vec<NodeId> {
        let mut order: Vec<(usize, NodeId)> = self.led.iter().map(|(id, n)| (*n, *id)).collect();
        order.sort_unstable();
        let leaders: Vec<NodeId> = order
            .iter()
            .map(|(_, id)| *id)
            .cycle()
            .take(partitions)
            .collect();
        for leader in &leaders {
            self.count(*leader);
        }
        leaders
    }

    /// Leaders for `partitions` more of a topic whose present ones are led by `held`: each goes to
    /// the node that leads fewest of the topic and, among those, fewest of all.
    pub fn place_more(
        &mut self,
        held: impl Iterator<Item = NodeId>,
        partitions: usize,
    ) -> Vec<NodeId> {
        let mut own: BTreeMap<NodeId, usize> = self.led.keys().map(|id| (*id, 0)).collect();
        for leader in held {
            if let Some(count) = own.get_mut(&leader) {
                *count = count.saturating_add(1);
            }
        }
        let mut order: BTreeSet<(usize, usize, NodeId)> = own
            .into_iter()
            .map(|(id, count)| (count, self.led.get(&id).copied().unwrap_or(0), id))
            .collect();
        let mut leaders = Vec::new();
        while leaders.len() < partitions {
            let Some((own, all, id)) = order.pop_first() else {
                break;
            };
            leaders.push(id);
            self.count(id);
            order.insert((own.saturating_add(1), all.saturating_add(1), id));
        }
        leaders
    }

    /// Counts a partition that was given to `node` by hand.
    pub fn count(&mut self, node: NodeId) {
        if let Some(count) = self.led.get_mut(&node) {
            *count = count.saturating_add(1);
        }
    }
}

/// The state of a partition that begins on `leader`.
pub fn first_state(leader: NodeId) -> PartitionState {
    PartitionState {
        leader,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: Replicas::from_slice(&[leader]),
        isr: Replicas::from_slice(&[leader]),
    }
}

/// One partition to be moved.
struct Move {
    topic: TopicId,
    partition: PartitionIndex,
    from: PartitionState,
}

/// Records that spread all partitions over the nodes of `image`: each leads the same number or
/// one more. Moved are those whose leader is gone, and of the others only as many as are needed.
/// A moved partition's leader epoch rises by one: it was led elsewhere before (KIP-101).
pub fn respread(image: &MetadataImage) -> Vec<Record> {
    let nodes: Vec<NodeId> = image.nodes().map(|node| node.id).collect();
    let mut held: BTreeMap<NodeId, Vec<Move>> =
        nodes.iter().map(|node| (*node, Vec::new())).collect();
    let mut homeless = Vec::new();
    for topic in image.topics() {
        for (partition, state) in topic.indexed() {
            let moved = Move {
                topic: topic.id,
                partition,
                from: state.clone(),
            };
            match held.get_mut(&state.leader) {
                Some(list) => list.push(moved),
                None => homeless.push(moved),
            }
        }
    }
    let quotas = quotas(&held, homeless.len());
    let mut open: Vec<(NodeId, usize)> = Vec::new();
    for (node, list) in &mut held {
        let quota = quotas.get(node).copied().unwrap_or(0);
        if list.len() > quota {
            homeless.extend(take_widely(list, list.len().saturating_sub(quota)));
        } else {
            open.push((*node, quota.saturating_sub(list.len())));
        }
    }
    // In the order of topics, one to each open node in turn: a topic's partitions part.
    homeless.sort_by_key(|moved| (moved.topic, moved.partition));
    let mut turn = Turns { open, at: 0 };
    homeless
        .into_iter()
        .filter_map(|moved| Some(moved.to(turn.next()?)))
        .collect()
}

/// How many partitions each node is to lead: the nodes with most keep the extra ones.
fn quotas(held: &BTreeMap<NodeId, Vec<Move>>, homeless: usize) -> BTreeMap<NodeId, usize> {
    let total = held
        .values()
        .map(Vec::len)
        .sum::<usize>()
        .saturating_add(homeless);
    let each = total.checked_div(held.len()).unwrap_or(0);
    let extra = total.checked_rem(held.len()).unwrap_or(0);
    let mut order: Vec<(NodeId, usize)> = held.iter().map(|(id, list)| (*id, list.len())).collect();
    order.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
    order
        .into_iter()
        .zip(0usize..)
        .map(|((id, _), place)| (id, each.saturating_add(usize::from(place < extra))))
        .collect()
}

/// Takes `count` out of `list`, from the topics that have most in it.
fn take_widely(list: &mut Vec<Move>, count: usize) -> Vec<Move> {
    let mut topics: BTreeMap<TopicId, usize> = BTreeMap::new();
    // Rank of each partition among its topic's on this node: high ranks go first.
    let mut ranked: Vec<(usize, Move)> = std::mem::take(list)
        .into_iter()
        .map(|moved| {
            let rank = topics.entry(moved.topic).or_default();
            *rank = rank.saturating_add(1);
            (*rank, moved)
        })
        .collect();
    ranked.sort_by_key(|(rank, moved)| (*rank, moved.topic, moved.partition));
    let gone = ranked.split_off(ranked.len().saturating_sub(count));
    list.extend(ranked.into_iter().map(|(_, moved)| moved));
    gone.into_iter().map(|(_, moved)| moved).collect()
}

/// Open places, handed out one node after the other.
struct Turns {
    open: Vec<(NodeId, usize)>,
    at: usize,
}

impl Turns {
    fn next(&mut self) -> Option<NodeId> {
        self.open.retain(|(_, places)| *places > 0);
        let at = self.at.checked_rem(self.open.len())?;
        self.at = at.saturating_add(1);
        let (node, places) = self.open.get_mut(at)?;
        *places = places.saturating_sub(1);
        Some(*node)
    }
}

impl Move {
    fn to(self, leader: NodeId) -> Record {
        let state = PartitionState {
            leader,
            leader_epoch: LeaderEpoch(self.from.leader_epoch.0.saturating_add(1)),
            partition_epoch: self.from.partition_epoch.saturating_add(1),
            replicas: Replicas::from_slice(&[leader]),
            isr: Replicas::from_slice(&[leader]),
        };
        Record::PartitionChanged {
            topic: self.topic,
            partition: self.partition,
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::image::tests::{id, image, partition_of, registered, topic_of};
    use super::*;

    fn counts(image: &MetadataImage) -> BTreeMap<NodeId, usize> {
        Spread::of(image).led
    }

    fn within_one(counts: &BTreeMap<NodeId, usize>) -> bool {
        let most = counts.values().max().copied().unwrap_or(0);
        let least = counts.values().min().copied().unwrap_or(0);
        most - least <= 1
    }

    #[test]
    fn a_topic_is_on_every_node_and_small_topics_take_turns() {
        let mut spread = Spread::of(&image(&[registered(&[0, 1, 2])]));
        let ids = |list: Vec<NodeId>| list.into_iter().map(|node| node.0).collect::<Vec<_>>();
        assert_eq!(ids(spread.place(1)), [0]);
        assert_eq!(ids(spread.place(1)), [1]);
        assert_eq!(ids(spread.place(4)), [2, 0, 1, 2]);
        assert_eq!(ids(spread.place(0)), [0; 0]);
        assert_eq!(Spread::of(&image(&[])).place(3), []);
    }

    #[test]
    fn a_moved_partition_gets_a_new_epoch_and_its_only_replica() {
        let image = image(&[registered(&[1]), topic_of(1, "a"), partition_of(1, 0, 9, 4)]);
        let records = respread(&image);
        let [Record::PartitionChanged { state, .. }] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!(
            (state.leader, state.leader_epoch),
            (NodeId(1), LeaderEpoch(5))
        );
        assert_eq!(state.partition_epoch, 5);
        assert_eq!(state.replicas.as_slice(), [NodeId(1)]);
        assert_eq!(state.isr.as_slice(), [NodeId(1)]);
    }

    /// Topics with the leaders of their partitions, and the nodes of the next start.
    fn any_cluster() -> impl Strategy<Value = (Vec<Vec<i32>>, i32)> {
        let topic = prop::collection::vec(0i32..7, 0..12);
        (prop::collection::vec(topic, 0..12), 1i32..7)
    }

    fn cluster(topics: &[Vec<i32>], nodes: i32) -> MetadataImage {
        let nodes: Vec<i32> = (0..nodes).collect();
        let mut records = vec![registered(&nodes)];
        for (number, leaders) in (1u8..).zip(topics) {
            records.push(topic_of(number, &format!("t{number}")));
            for (index, leader) in (0i32..).zip(leaders) {
                records.push(partition_of(number, index, *leader, 0));
            }
        }
        image(&records)
    }

    proptest! {
        #[test]
        fn respreading_balances_within_one_with_the_fewest_moves((topics, nodes) in any_cluster()) {
            let before = cluster(&topics, nodes);
            let records = respread(&before);
            let mut after = before.clone();
            after.apply_all(&records).unwrap();
            let counted = counts(&after);
            prop_assert!(within_one(&counted), "{counted:?}");

            // The fewest: what has no home, and what nodes hold above the best quotas.
            let held = counts(&before);
            let total: usize = topics.iter().map(Vec::len).sum();
            let homeless = total - held.values().sum::<usize>();
            let (each, mut extra) = (total / held.len(), total % held.len());
            let mut sorted: Vec<usize> = held.values().copied().collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            let mut surplus = 0;
            for count in sorted {
                let quota = each + usize::from(extra > 0);
                extra = extra.saturating_sub(1);
                surplus += count.saturating_sub(quota);
            }
            prop_assert_eq!(records.len(), homeless + surplus);

            // What did not move did not change; what moved has a higher epoch.
            for record in &records {
                let Record::PartitionChanged { topic, partition, state } = record else {
                    return Err(TestCaseError::fail("another record"));
                };
                let old = before.topic_by_id(*topic).unwrap().partition(*partition).unwrap();
                prop_assert_ne!(old.leader, state.leader);
                prop_assert_eq!(old.leader_epoch.0 + 1, state.leader_epoch.0);
            }
            prop_assert!(respread(&after).is_empty());
        }

        #[test]
        fn creating_keeps_nodes_and_topics_within_one(
            sizes in prop::collection::vec(0usize..20, 0..20),
            nodes in 1i32..9,
        ) {
            let nodes: Vec<i32> = (0..nodes).collect();
            let mut spread = Spread::of(&image(&[registered(&nodes)]));
            for size in sizes {
                let mut topic: BTreeMap<NodeId, usize> =
                    nodes.iter().map(|node| (NodeId(*node), 0)).collect();
                for leader in spread.place(size) {
                    *topic.get_mut(&leader).unwrap() += 1;
                }
                prop_assert!(within_one(&topic));
                prop_assert!(within_one(&spread.led));
            }
        }
    }

    #[test]
    fn the_partitions_of_one_topic_part_when_a_node_joins() {
        let mut records = vec![registered(&[0, 1])];
        for topic in 1..=2u8 {
            records.push(topic_of(topic, &format!("t{topic}")));
            records.extend((0..4).map(|index| partition_of(topic, index, 0, 0)));
        }
        let mut image = image(&records);
        let moves = respread(&image);
        image.apply_all(&moves).unwrap();
        for topic in 1..=2u8 {
            let led = image.topic_by_id(id(topic)).unwrap();
            let moved = led
                .partitions
                .iter()
                .filter(|p| p.leader == NodeId(1))
                .count();
            assert_eq!(moved, 2);
        }
    }
}
