//! Reads records of one topic's partitions, from chosen offsets on.
//!
//! Owns positions and the connections to the leaders. Each leader has at most one Fetch on its way,
//! a long poll; whichever answers first is heard first. No group, no commits, no fetch sessions.
//! A leader that moves or goes away is looked for until the client's `retry_for` is over.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::calls::{Asked, Client};
use super::cluster::Node;
use super::connection::{Connection, wait_readable};
use super::error::Unreadable;
use super::fetched::{FetchedRecord, Flow, walk_records};
use super::offsets::OffsetSpec;
use super::retry::Backoff;
use super::{ClientError, Refusal};
use crate::wire::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, Records,
};
use crate::wire::{ErrorCode, KStr, Message};
use crate::words::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId};

/// Last version of Fetch that names topics instead of their ids.
const VERSION_MAX_BY_NAME: i16 = 12;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchOptions {
    /// How long a broker may wait for `min_bytes` (Kafka `fetch.max.wait.ms`).
    pub max_wait: Duration,
    pub min_bytes: i32,
    /// Of one answer (Kafka `fetch.max.bytes`).
    pub max_bytes: i32,
    /// Of one partition in an answer (Kafka `max.partition.fetch.bytes`).
    pub partition_max_bytes: i32,
    /// Where to go on when the offset is no longer, or not yet, there (Kafka `auto.offset.reset`);
    /// `None` makes that an error.
    pub reset: Option<OffsetSpec>,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            reset: None,
        }
    }
}

/// What one poll brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Polled {
    /// Whole answers heard, with records or without.
    pub answers: u64,
    pub records: u64,
    /// The sink said [`Flow::Stop`].
    pub stopped: bool,
}

#[derive(Debug)]
struct Position {
    next: Offset,
    /// Since when nothing but errors came, and when to ask again.
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    backoff: Backoff,
    ask_again: Instant,
}

#[derive(Debug)]
struct Link {
    connection: Connection,
    /// What the Fetch on its way asks for; empty when none is.
    asked: BTreeMap<PartitionIndex, Offset>,
    deadline: Instant,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    topic: String,
    options: FetchOptions,
    positions: BTreeMap<PartitionIndex, Position>,
    links: BTreeMap<NodeId, Link>,
    /// Rises with every Fetch, so that another partition comes first in it each time.
    turn: usize,
}

impl Consumer {
    /// Reads from `start` on. The topic is in the client's cache already.
    pub fn new(
        client: Client,
        topic: &str,
        start: &BTreeMap<PartitionIndex, Offset>,
        options: FetchOptions,
    ) -> Consumer {
        let positions = start.iter().map(|(&partition, &next)| {
            let failing = None;
            (partition, Position { next, failing })
        });
        Consumer {
            client,
            topic: topic.to_owned(),
            options,
            positions: positions.collect(),
            links: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Where each partition is read on.
    pub fn positions(&self) -> impl Iterator<Item = (PartitionIndex, Offset)> + '_ {
        self.positions
            .iter()
            .map(|(&partition, position)| (partition, position.next))
    }

    /// Reads a partition no further.
    pub fn leave(&mut self, partition: PartitionIndex) {
        self.positions.remove(&partition);
    }

    pub fn into_client(self) -> Client {
        self.client
    }

    /// Asks the leaders and gives what arrives within `wait` to `sink`; returns as soon as an
    /// answer has been heard, records in it or not, or the wait is over. After a stop the next poll goes on
    /// behind the record that the sink saw last.
    ///
    /// # Errors
    /// What is final, or has lasted; then positions are as far as records were given.
    pub fn poll(
        &mut self,
        wait: Duration,
        sink: &mut dyn FnMut(&FetchedRecord<'_>) -> Flow,
    ) -> Result<Polled, ClientError> {
        let until = Instant::now() + wait;
        let mut polled = Polled::default();
        loop {
            self.ask()?;
            for node in self.readable(until)? {
                self.hear(node, &mut polled, sink)?;
                if polled.stopped {
                    return Ok(polled);
                }
            }
            if polled.answers > 0 || Instant::now() >= until {
                return Ok(polled);
            }
        }
    }

    /// Sends a Fetch to every leader that has none on its way.
    fn ask(&mut self) -> Result<(), ClientError> {
        let now = Instant::now();
        let mut by_leader: BTreeMap<NodeId, (Node, Vec<PartitionIndex>)> = BTreeMap::new();
        let mut leaderless = Vec::new();
        for (&partition, position) in &self.positions {
            let waits = position.failing.as_ref().is_some_and(|f| f.ask_again > now);
            let asked = self
                .links
                .values()
                .any(|link| link.asked.contains_key(&partition));
            if waits || asked {
                continue;
            }
            match self.client.cluster().leader(&self.topic, partition) {
                Ok(node) => {
                    let entry = by_leader.entry(node.id);
                    let (_, partitions) = entry.or_insert_with(|| (node.clone(), Vec::new()));
                    partitions.push(partition);
                }
                Err(error) => leaderless.push((partition, error)),
            }
        }
        for (partition, error) in leaderless {
            self.note(&[partition], error)?;
        }
        for (node, partitions) in by_leader.into_values() {
            let busy = self
                .links
                .get(&node.id)
                .is_some_and(|link| !link.asked.is_empty());
            if busy {
                continue;
            }
            if let Err(error) = self.ask_leader(&node, &partitions) {
                self.links.remove(&node.id);
                self.note(&partitions, error)?;
            }
        }
        Ok(())
    }

    fn ask_leader(
        &mut self,
        node: &Node,
        partitions: &[PartitionIndex],
    ) -> Result<(), ClientError> {
        let known = self.links.remove(&node.id);
        let known = known.filter(|link| *link.connection.address() == node.address);
        let mut connection = match known {
            Some(link) => link.connection,
            None => self.client.open(&node.address)?,
        };
        let mut asked = BTreeMap::new();
        for partition in partitions {
            if let Some(position) = self.positions.get(partition) {
                asked.insert(*partition, position.next);
            }
        }
        let request = self.request(&asked);
        let by_name = request.topics.iter().any(|topic| topic.topic_id.is_zero());
        let cap = if by_name {
            VERSION_MAX_BY_NAME
        } else {
            i16::MAX
        };
        let version = connection.version_of::<FetchRequest>(cap)?;
        connection.send(version, &request)?;
        let patience = self.client.options().timeout + self.options.max_wait;
        let link = Link {
            connection,
            asked,
            deadline: Instant::now() + patience,
        };
        self.links.insert(node.id, link);
        Ok(())
    }

    fn request(&mut self, asked: &BTreeMap<PartitionIndex, Offset>) -> FetchRequest {
        let topic = self.client.cluster().topics.get(&self.topic);
        let mut partitions: SmallVec<[FetchPartition; 1]> = asked
            .iter()
            .map(|(&partition, &fetch_offset)| {
                let known = topic.and_then(|topic| topic.partition(partition).ok());
                FetchPartition {
                    partition,
                    current_leader_epoch: known.map_or(LeaderEpoch(-1), |p| p.leader_epoch),
                    fetch_offset,
                    partition_max_bytes: self.options.partition_max_bytes,
                    ..FetchPartition::default()
                }
            })
            .collect();
        // A full answer holds the first partitions only.
        let first = self.turn.checked_rem(partitions.len()).unwrap_or(0);
        partitions.rotate_left(first);
        let mut request = FetchRequest {
            max_wait_ms: i32::try_from(self.options.max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.options.min_bytes,
            max_bytes: self.options.max_bytes,
            ..FetchRequest::default()
        };
        request.topics.push(FetchTopic {
            topic: KStr::from(self.topic.as_str()),
            topic_id: topic.map_or(TopicId::ZERO, |topic| topic.id),
            partitions,
        });
        self.turn = self.turn.wrapping_add(1);
        request
    }

    /// The leaders from which bytes have arrived, waiting for the first of them.
    fn readable(&mut self, until: Instant) -> Result<Vec<NodeId>, ClientError> {
        let now = Instant::now();
        let mut wake = until;
        let failing = self.positions.values().filter_map(|p| p.failing.as_ref());
        // What may be asked again by now has been, or waits for a leader that is being heard.
        for failing in failing.filter(|failing| failing.ask_again > now) {
            wake = wake.min(failing.ask_again);
        }
        let asking = |link: &&Link| !link.asked.is_empty();
        for link in self.links.values().filter(asking) {
            wake = wake.min(link.deadline.max(now));
        }
        let wait = wake.saturating_duration_since(now);
        let nodes: Vec<NodeId> = self
            .links
            .iter()
            .filter(|(_, link)| asking(link))
            .map(|(&node, _)| node)
            .collect();
        if nodes.is_empty() {
            thread::sleep(wait);
            return Ok(nodes);
        }
        let connections: Vec<&Connection> = nodes
            .iter()
            .filter_map(|node| self.links.get(node))
            .map(|link| &link.connection)
            .collect();
        let ready = wait_readable(&connections, wait);
        let late = |node: &NodeId| self.links.get(node).is_some_and(|l| l.deadline <= now);
        Ok(nodes
            .into_iter()
            .zip(ready)
            .filter(|(node, ready)| *ready || late(node))
            .map(|(node, _)| node)
            .collect())
    }

    /// Reads what one leader sent, and if its answer is whole, walks it.
    fn hear(
        &mut self,
        node: NodeId,
        polled: &mut Polled,
        sink: &mut dyn FnMut(&FetchedRecord<'_>) -> Flow,
    ) -> Result<(), ClientError> {
        let Some(link) = self.links.get_mut(&node) else {
            return Ok(());
        };
        let late = link.deadline <= Instant::now();
        let read = link
            .connection
            .read_some(FetchRequest::API.name, Duration::from_millis(1))
            .and_then(|()| link.connection.arrived());
        let answer = match read {
            Ok(None) => return Ok(()),
            Err(ClientError::TimedOut { .. }) if !late => return Ok(()),
            Ok(Some(answer)) => answer
                .read::<FetchResponse>()
                .map_err(|fault| link.connection.protocol(fault)),
            Err(error) => Err(error),
        };
        let asked = std::mem::take(&mut link.asked);
        polled.answers = polled.answers.saturating_add(1);
        let partitions: Vec<PartitionIndex> = asked.keys().copied().collect();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.links.remove(&node);
                return self.note(&partitions, error);
            }
        };
        if !answer.error_code.is_none() {
            let about = format!("topic {}", self.topic);
            let refusal = Refusal::of(answer.error_code, about, None);
            return self.note(&partitions, ClientError::Refused(refusal));
        }
        for told in answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let Some(&from) = asked.get(&told.partition_index) else {
                continue;
            };
            self.take_partition(told, from, polled, sink)?;
            if polled.stopped {
                break;
            }
        }
        Ok(())
    }

    fn take_partition(
        &mut self,
        told: PartitionData,
        from: Offset,
        polled: &mut Polled,
        sink: &mut dyn FnMut(&FetchedRecord<'_>) -> Flow,
    ) -> Result<(), ClientError> {
        let partition = told.partition_index;
        if !told.error_code.is_none() {
            return self.take_refusal(partition, told.error_code);
        }
        let Some(position) = self.positions.get_mut(&partition) else {
            return Ok(());
        };
        position.failing = None;
        let bytes = told.records.map(Records::into_bytes).unwrap_or_default();
        let walked = walk_records(partition, &bytes, from, sink);
        let walked = walked.map_err(|(offset, cause)| self.unreadable(partition, offset, cause))?;
        if let Some(position) = self.positions.get_mut(&partition) {
            position.next = walked.next;
        }
        polled.records = polled.records.saturating_add(walked.records);
        polled.stopped = walked.stopped;
        Ok(())
    }

    fn take_refusal(
        &mut self,
        partition: PartitionIndex,
        code: ErrorCode,
    ) -> Result<(), ClientError> {
        if let (ErrorCode::OFFSET_OUT_OF_RANGE, Some(spec)) = (code, self.options.reset) {
            let wanted = BTreeMap::from([(partition, spec)]);
            let found = self.client.list_offsets(&self.topic, &wanted)?;
            let offset = found.get(&partition).and_then(|found| found.offset);
            if let (Some(position), Some(offset)) = (self.positions.get_mut(&partition), offset) {
                position.next = offset;
                return Ok(());
            }
        }
        let position = self.positions.get(&partition).map(|position| position.next);
        let about = match (code, position) {
            (ErrorCode::OFFSET_OUT_OF_RANGE, Some(offset)) => {
                format!("offset {offset} of partition {}-{partition}", self.topic)
            }
            _ => format!("partition {}-{partition}", self.topic),
        };
        let refusal = Refusal::of(code, about, None);
        self.note(&[partition], ClientError::Refused(refusal))
    }

    /// Remembers that partitions failed, and looks for their leaders anew.
    ///
    /// # Errors
    /// The error itself, if it is final or has lasted.
    fn note(
        &mut self,
        partitions: &[PartitionIndex],
        error: ClientError,
    ) -> Result<(), ClientError> {
        let now = Instant::now();
        let patience = self.client.options().retry_for;
        for partition in partitions {
            let Some(position) = self.positions.get_mut(partition) else {
                continue;
            };
            let failing = position.failing.get_or_insert_with(|| Failing {
                since: now,
                backoff: Backoff::default(),
                ask_again: now,
            });
            if !error.is_retriable() || now.duration_since(failing.since) >= patience {
                return Err(error);
            }
            failing.ask_again = now + failing.backoff.next_wait();
        }
        // If this fails too, the partitions go on failing.
        let _ = self.client.refresh(Asked::Topic(&self.topic));
        Ok(())
    }

    fn unreadable(
        &self,
        partition: PartitionIndex,
        offset: Offset,
        cause: Unreadable,
    ) -> ClientError {
        ClientError::Unreadable {
            topic: self.topic.clone(),
            partition,
            offset,
            cause,
        }
    }
}
