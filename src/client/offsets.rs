//! Which offset belongs to a moment: the earliest, the latest, or that of a timestamp.
//!
//! Owns the question by leader and the joining of the answers. Never decides where to read from.

use std::collections::BTreeMap;

use super::cluster::Node;
use super::{Client, ClientError, Refusal};
use crate::wire::KStr;
use crate::wire::messages::ListOffsetsRequest;
use crate::wire::messages::k02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use crate::words::{NodeId, Offset, PartitionIndex, TimestampMs};

/// A moment in a partition's life (Kafka `OffsetSpec`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetSpec {
    /// The first offset that is held.
    Earliest,
    /// The offset after the last record that consumers see.
    Latest,
    /// The first record whose timestamp is at least this.
    At(TimestampMs),
}

impl OffsetSpec {
    /// As it is on the wire.
    fn timestamp(self) -> TimestampMs {
        match self {
            OffsetSpec::Latest => TimestampMs(-1),
            OffsetSpec::Earliest => TimestampMs(-2),
            // What is negative means something else: no record is older than this.
            OffsetSpec::At(timestamp) => timestamp.max(TimestampMs(0)),
        }
    }
}

/// What a partition answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    /// `None` when no record is that young.
    pub offset: Option<Offset>,
    /// The record's timestamp; -1 when the question was not about time.
    pub timestamp: TimestampMs,
}

impl Client {
    /// Finds the offset of each partition at its moment. Asks again, with fresh metadata, those
    /// whose leader has moved.
    ///
    /// # Errors
    /// The first partition's error that is final, or that lasts.
    pub fn list_offsets(
        &mut self,
        topic: &str,
        wanted: &BTreeMap<PartitionIndex, OffsetSpec>,
    ) -> Result<BTreeMap<PartitionIndex, FoundOffset>, ClientError> {
        let mut found = BTreeMap::new();
        self.retrying(topic, |client| {
            let missing: Vec<_> = wanted
                .iter()
                .filter(|(partition, _)| !found.contains_key(*partition))
                .map(|(&partition, &spec)| (partition, spec))
                .collect();
            client.ask_leaders(topic, &missing, &mut found)
        })?;
        Ok(found)
    }

    fn ask_leaders(
        &mut self,
        topic: &str,
        missing: &[(PartitionIndex, OffsetSpec)],
        found: &mut BTreeMap<PartitionIndex, FoundOffset>,
    ) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<NodeId, (Node, Vec<ListOffsetsPartition>)> = BTreeMap::new();
        for &(partition, spec) in missing {
            let leader = self.cluster().leader(topic, partition)?.clone();
            let (_, partitions) = by_leader
                .entry(leader.id)
                .or_insert_with(|| (leader, Vec::new()));
            partitions.push(ListOffsetsPartition {
                partition_index: partition,
                timestamp: spec.timestamp(),
                ..ListOffsetsPartition::default()
            });
        }
        let mut last = None;
        for (node, partitions) in by_leader.into_values() {
            if let Err(error) = self.ask_leader(topic, &node, partitions, found) {
                if !error.is_retriable() {
                    return Err(error);
                }
                last = Some(error);
            }
        }
        last.map_or(Ok(()), Err)
    }

    fn ask_leader(
        &mut self,
        topic: &str,
        node: &Node,
        partitions: Vec<ListOffsetsPartition>,
        found: &mut BTreeMap<PartitionIndex, FoundOffset>,
    ) -> Result<(), ClientError> {
        let mut unanswered: Vec<PartitionIndex> = partitions
            .iter()
            .map(|asked| asked.partition_index)
            .collect();
        let answer = self.call_node(
            node,
            &ListOffsetsRequest {
                replica_id: NodeId::NONE,
                topics: vec![ListOffsetsTopic {
                    name: KStr::from(topic),
                    partitions,
                }],
                timeout_ms: i32::try_from(self.options().timeout.as_millis()).unwrap_or(i32::MAX),
                ..ListOffsetsRequest::default()
            },
        )?;
        let mut last = None;
        for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let partition = told.partition_index;
            unanswered.retain(|&asked| asked != partition);
            if told.error_code.is_none() {
                let offset = Some(told.offset).filter(|offset| *offset >= Offset(0));
                let timestamp = told.timestamp;
                found.insert(partition, FoundOffset { offset, timestamp });
                continue;
            }
            let about = format!("partition {topic}-{partition}");
            let error = ClientError::Refused(Refusal::of(told.error_code, about, None));
            if !error.is_retriable() {
                return Err(error);
            }
            last = Some(error);
        }
        if !unanswered.is_empty() {
            return Err(self.incomplete::<ListOffsetsRequest>());
        }
        last.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_the_epoch_is_not_taken_for_a_special_value() {
        for timestamp in [-1, -2, -3, i64::MIN] {
            let spec = OffsetSpec::At(TimestampMs(timestamp));
            assert_eq!(spec.timestamp(), TimestampMs(0));
        }
        assert_eq!(OffsetSpec::Latest.timestamp(), TimestampMs(-1));
        assert_eq!(OffsetSpec::Earliest.timestamp(), TimestampMs(-2));
    }
}
