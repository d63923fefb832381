//! Writes records to one topic: batches by partition, to their leaders, until they are stored.
//!
//! Owns the connections to the leaders and what is on its way. One round at a time: all open
//! batches are sealed and sent, one request to each leader; while the answers are on their way the
//! caller fills the next batches. A round ends only when each of its batches is stored, so records
//! of a partition keep their order whatever is retried. The number of partitions is that of the
//! start: keys stay where they are when partitions are added meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use smallvec::SmallVec;

use super::calls::{Asked, Client};
use super::cluster::Node;
use super::connection::Connection;
use super::exchange::ExchangeFault;
use super::outbox::{Identity, Outbox, SealedBatch};
use super::partitioner::{Sticky, partition_of_key};
use super::retry::Backoff;
use super::{ClientError, Refusal};
use crate::wire::messages::InitProducerIdRequest;
use crate::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use crate::wire::record::{Codec, NewRecord};
use crate::wire::{ErrorCode, KStr, Message};
use crate::words::{NodeId, PartitionIndex, ProducerId, TopicId};

/// Last version of Produce that names topics instead of their ids.
const VERSION_MAX_BY_NAME: i16 = 12;

/// When the broker answers (Kafka `acks`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// Never; what fails is lost without a word.
    None,
    /// When the leader has the records.
    Leader,
    /// When all in-sync replicas have them.
    All,
}

impl Acks {
    fn on_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerOptions {
    /// An idempotent producer needs [`Acks::All`].
    pub acks: Acks,
    pub codec: Codec,
    /// The codec's level; `None` is its default.
    pub level: Option<i32>,
    /// Whether the broker recognises a batch that is sent twice (KIP-98).
    pub idempotent: bool,
    /// Bytes of a batch before compression (Kafka `batch.size`).
    pub batch_bytes: usize,
    /// Where records without a key begin; see [`Sticky`].
    pub first_turn: u32,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            acks: Acks::All,
            codec: Codec::NONE,
            level: None,
            idempotent: false,
            batch_bytes: 256 * 1024,
            first_turn: 0,
        }
    }
}

/// What has been stored, or with [`Acks::None`] sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub records: u64,
    pub batches: u64,
    /// Bytes of the batches as sent.
    pub batch_bytes: u64,
    /// Batches sent again.
    pub retries: u64,
}

/// See the head of the file. After an error it is of no use.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    topic: String,
    partitions: u32,
    options: ProducerOptions,
    outbox: Outbox,
    sticky: Sticky,
    links: BTreeMap<NodeId, Connection>,
    in_flight: Vec<(NodeId, Vec<SealedBatch>)>,
    /// Batches of the round that have to be sent again, and why.
    failed: Vec<(SealedBatch, ClientError)>,
    totals: Totals,
}

impl Producer {
    /// # Errors
    /// A topic that does not exist; a broker that gives no producer id.
    pub fn new(
        mut client: Client,
        topic: &str,
        options: ProducerOptions,
    ) -> Result<Producer, ClientError> {
        let partitions = client.topic(topic)?.partitions.len();
        let mut outbox = Outbox::new(options.codec, options.level, options.batch_bytes);
        if options.idempotent {
            outbox.identify(client.retrying(topic, init_producer_id)?);
        }
        Ok(Producer {
            client,
            topic: topic.to_owned(),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            sticky: Sticky::starting_at(options.first_turn),
            options,
            outbox,
            links: BTreeMap::new(),
            in_flight: Vec::new(),
            failed: Vec::new(),
            totals: Totals::default(),
        })
    }

    /// Adds a record; sends a round first when its batch, or the buffer, is full. Without a
    /// `partition` its key decides, and without a key the turn.
    ///
    /// # Errors
    /// A record that cannot be, or an earlier one that could not be stored.
    pub fn push(
        &mut self,
        record: &NewRecord<'_>,
        partition: Option<PartitionIndex>,
    ) -> Result<(), ClientError> {
        let mut target = self.target(record, partition)?;
        if !self.outbox.has_room(target, record) {
            self.send_round()?;
            target = self.target(record, partition)?;
        }
        self.outbox.push(target, record).map_err(ClientError::Build)
    }

    /// Sends what is open and waits until everything is stored.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.send_round()?;
        self.settle()
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether neither records nor answers wait.
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.in_flight.is_empty() && self.failed.is_empty()
    }

    fn target(
        &self,
        record: &NewRecord<'_>,
        partition: Option<PartitionIndex>,
    ) -> Result<PartitionIndex, ClientError> {
        let chosen = match (partition, record.key) {
            (Some(partition), _) => {
                let index = u32::try_from(partition.0).ok();
                index
                    .filter(|&index| index < self.partitions)
                    .map(|_| partition)
            }
            (None, Some(key)) => partition_of_key(key, self.partitions),
            (None, None) => self.sticky.partition(self.partitions),
        };
        chosen.ok_or_else(|| ClientError::NoPartition {
            topic: self.topic.clone(),
            partition: partition.unwrap_or_default(),
            partitions: usize::try_from(self.partitions).unwrap_or(usize::MAX),
        })
    }

    /// Ends the round on its way, then seals and sends the next without waiting for it.
    fn send_round(&mut self) -> Result<(), ClientError> {
        self.settle()?;
        let batches = self.outbox.seal_all().map_err(ClientError::Build)?;
        self.sticky.advance();
        self.dispatch(batches);
        Ok(())
    }

    /// Waits until every batch of the round is stored; sends again what may succeed later.
    fn settle(&mut self) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.client.options().retry_for;
        let mut backoff = Backoff::default();
        loop {
            self.gather()?;
            let failed = std::mem::take(&mut self.failed);
            let Some((_, last)) = failed.last() else {
                return Ok(());
            };
            let lasting = failed.iter().find(|(_, error)| !error.is_retriable());
            if let Some((_, error)) = lasting {
                return Err(error.clone());
            }
            if Instant::now() >= deadline {
                return Err(last.clone());
            }
            thread::sleep(backoff.next_wait());
            let retries = u64::try_from(failed.len()).unwrap_or(u64::MAX);
            self.totals.retries = self.totals.retries.saturating_add(retries);
            // If this fails too, sending says so.
            let _ = self.client.refresh(Asked::Topic(&self.topic));
            self.dispatch(failed.into_iter().map(|(batch, _)| batch).collect());
        }
    }

    /// Sends batches to their leaders, one request each.
    fn dispatch(&mut self, batches: Vec<SealedBatch>) {
        let mut by_leader: BTreeMap<NodeId, (Node, Vec<SealedBatch>)> = BTreeMap::new();
        for batch in batches {
            match self.client.cluster().leader(&self.topic, batch.partition) {
                Ok(node) => {
                    let entry = by_leader.entry(node.id);
                    let (_, batches) = entry.or_insert_with(|| (node.clone(), Vec::new()));
                    batches.push(batch);
                }
                Err(error) => self.failed.push((batch, error)),
            }
        }
        for (node, batches) in by_leader.into_values() {
            if let Err(error) = self.send(&node, &batches) {
                self.links.remove(&node.id);
                let failed = batches.into_iter().map(|batch| (batch, error.clone()));
                self.failed.extend(failed);
            } else if self.options.acks == Acks::None {
                batches
                    .iter()
                    .for_each(|batch| count(&mut self.totals, batch));
            } else {
                self.in_flight.push((node.id, batches));
            }
        }
    }

    fn send(&mut self, node: &Node, batches: &[SealedBatch]) -> Result<(), ClientError> {
        let known = self.links.remove(&node.id);
        let mut link = match known.filter(|link| *link.address() == node.address) {
            Some(link) => link,
            None => self.client.open(&node.address)?,
        };
        let topic = self.client.cluster().topics.get(&self.topic);
        let id = topic.map_or(TopicId::ZERO, |topic| topic.id);
        let cap = if id.is_zero() {
            VERSION_MAX_BY_NAME
        } else {
            i16::MAX
        };
        let version = link.version_of::<ProduceRequest>(cap)?;
        let partition_data = batches.iter().map(|batch| PartitionProduceData {
            index: batch.partition,
            records: Some(batch.bytes.clone()),
        });
        let mut request = ProduceRequest {
            acks: self.options.acks.on_wire(),
            timeout_ms: i32::try_from(self.client.options().timeout.as_millis())
                .unwrap_or(i32::MAX),
            topic_data: SmallVec::new(),
            transactional_id: None,
        };
        request.topic_data.push(TopicProduceData {
            name: KStr::from(self.topic.as_str()),
            topic_id: id,
            partition_data: partition_data.collect(),
        });
        if self.options.acks == Acks::None {
            link.send_unanswered(version, &request)?;
        } else {
            link.send(version, &request)?;
        }
        self.links.insert(node.id, link);
        Ok(())
    }

    /// Waits for the answers on their way. All of them are heard before the first final error is
    /// returned, so that the totals are right.
    fn gather(&mut self) -> Result<(), ClientError> {
        let mut fatal = None;
        let deadline = Instant::now() + self.client.options().timeout;
        for (node, batches) in std::mem::take(&mut self.in_flight) {
            let answer = match self.links.get_mut(&node) {
                Some(link) => link.receive_as::<ProduceResponse>(deadline),
                None => continue,
            };
            for batch in batches {
                let outcome = match &answer {
                    Ok(answer) => self.outcome(node, answer, &batch),
                    Err(error) => Err(error.clone()),
                };
                match outcome {
                    Ok(()) => count(&mut self.totals, &batch),
                    Err(error) if error.is_retriable() => self.failed.push((batch, error)),
                    Err(error) => fatal = fatal.or(Some(error)),
                }
            }
            if answer.is_err() {
                self.links.remove(&node);
            }
        }
        fatal.map_or(Ok(()), Err)
    }

    fn outcome(
        &self,
        node: NodeId,
        answer: &ProduceResponse,
        batch: &SealedBatch,
    ) -> Result<(), ClientError> {
        // Only one topic was sent.
        let mut told = answer.responses.iter().flat_map(|t| &t.partition_responses);
        let Some(told) = told.find(|told| told.index == batch.partition) else {
            let fault = ExchangeFault::Incomplete(ProduceRequest::API.name);
            return Err(match self.links.get(&node) {
                Some(link) => link.protocol(fault),
                None => self.client.incomplete::<ProduceRequest>(),
            });
        };
        // Sent twice, stored once: what idempotence is for.
        let stored =
            told.error_code.is_none() || told.error_code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
        if stored {
            return Ok(());
        }
        let about = format!("partition {}-{}", self.topic, batch.partition);
        let message = message_of(told);
        let refusal = Refusal::of(told.error_code, about, message.as_deref());
        Err(ClientError::Refused(refusal))
    }
}

/// The broker's words about the batch, with those about its first bad record.
fn message_of(told: &PartitionProduceResponse) -> Option<String> {
    let batch = told.error_message.as_deref();
    let record = told.record_errors.first();
    let reason = record.and_then(|record| record.batch_index_error_message.as_deref());
    match (batch, record.zip(reason)) {
        (Some(batch), Some((record, reason))) => Some(format!(
            "{batch} (record {} of the batch: {reason})",
            record.batch_index
        )),
        (batch, _) => batch.or(reason).map(str::to_owned),
    }
}

fn count(totals: &mut Totals, batch: &SealedBatch) {
    let bytes = u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX);
    totals.records = totals.records.saturating_add(batch.records);
    totals.batches = totals.batches.saturating_add(1);
    totals.batch_bytes = totals.batch_bytes.saturating_add(bytes);
}

fn init_producer_id(client: &mut Client) -> Result<Identity, ClientError> {
    let answer = client.call_any(&InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 0,
        ..InitProducerIdRequest::default()
    })?;
    if !answer.error_code.is_none() || answer.producer_id == ProducerId::NONE {
        let about = "a producer id".to_owned();
        return Err(ClientError::Refused(Refusal::of(
            answer.error_code,
            about,
            None,
        )));
    }
    Ok(Identity {
        id: answer.producer_id,
        epoch: answer.producer_epoch,
    })
}
