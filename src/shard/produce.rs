//! Produce on the shard: each partition is decided at once, if a turn can bear the look into its batch
//! (`lines` has the others), and the answer is owed until everything it speaks of is flushed.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::k00_produce::{self, Admitted, NotAdmitted, Refused, Stored};
use crate::devices::{ConnectionId, Effects, Fault};
use crate::log::partition::Appended;
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::shard::commit::PendingBatch;
use crate::shard::connection::{self, Origin, RequestNumber};
use crate::shard::lines::{Held, Look};
use crate::shard::ownership::leader_hint;
use crate::shard::partition::Slot;
use crate::shard::{Message, Shard};
use crate::wire::error_code::ErrorCode;
use crate::wire::frame::ResponseFrame;
use crate::wire::kstr::KStr;
use crate::wire::produce::{
    NodeEndpoint, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use crate::wire::record::TimestampType;
use crate::words::limits::LOOKS_AHEAD_MAX;
use crate::words::{Now, Offset, PartitionIndex, TimestampMs, TopicId};

/// A produce answer that is owed: where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProduceKey {
    pub connection: ConnectionId,
    pub request: RequestNumber,
}

/// A request whose batches are on their way to the disk.
struct Owed {
    version: i16,
    correlation_id: i32,
    acks: i16,
    /// Partitions not yet durable, or not even appended.
    left: u32,
    topics: Vec<TopicOutcome>,
    endpoints: Vec<NodeEndpoint>,
}

struct TopicOutcome {
    name: KStr,
    id: TopicId,
    partitions: Vec<PartitionProduceResponse>,
}

/// Where a placed partition waits: its slot and the offset after its last record.
type Wait = (Slot, Offset);

/// What becomes of the batches of one request, besides answers.
#[derive(Default)]
struct Sorted {
    waits: Vec<Wait>,
    held: Vec<Held>,
}

/// What holds for every batch of one request.
#[derive(Clone, Copy)]
struct Terms {
    now: Now,
    version: i16,
    /// Requests of the connection that have to be appended before.
    before: usize,
}

/// All produce answers that are owed.
#[derive(Default)]
pub struct Produces {
    owed: HashMap<ProduceKey, Owed>,
}

impl Produces {
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub fn len(&self) -> usize {
        self.owed.len()
    }

    /// Nobody is there to be answered.
    pub(super) fn forget(&mut self, key: ProduceKey) {
        self.owed.remove(&key);
    }
}

impl Shard {
    /// Handles one Produce request from decoding to the owed answer.
    pub(super) fn produce(
        &mut self,
        now: Now,
        origin: Origin,
        request: ProduceRequest,
        effects: &mut Effects<Message>,
    ) {
        let key = ProduceKey {
            connection: origin.connection,
            request: origin.request,
        };
        let mut owed = Owed {
            version: origin.version,
            correlation_id: origin.correlation_id,
            acks: request.acks,
            left: 0,
            topics: Vec::with_capacity(request.topic_data.len()),
            endpoints: Vec::new(),
        };
        let mut sorted = Sorted::default();
        let terms = Terms {
            now,
            version: origin.version,
            before: self.lines.len_of(origin.connection),
        };
        let refuse_all = k00_produce::refuse_request(&request);
        for topic in k00_produce::each_topic_once(request.topic_data) {
            if topic.partition_data.is_empty() {
                continue;
            }
            let outcome = self.produce_topic(terms, topic, &mut owed, &refuse_all, &mut sorted);
            owed.topics.push(outcome);
        }
        let Sorted { waits, held } = sorted;
        if waits.is_empty() && held.is_empty() {
            self.answer_produce(key, owed, effects);
            return;
        }
        let left = waits.len().saturating_add(held.len());
        owed.left = u32::try_from(left).unwrap_or(u32::MAX);
        self.produces.owed.insert(key, owed);
        for wait in waits {
            self.await_durable(key, wait, effects);
        }
        if !held.is_empty() {
            self.stand_in_line(now, key, held, effects);
        }
    }

    /// One partition of an owed answer settles when what was appended to it is durable.
    fn await_durable(
        &mut self,
        key: ProduceKey,
        (slot, end): Wait,
        effects: &mut Effects<Message>,
    ) {
        let durable = self
            .partitions
            .get(slot)
            .is_some_and(|partition| partition.log.high_watermark() >= end);
        if durable {
            self.produce_settled(key, None, effects);
        } else if let Some(partition) = self.partitions.get_mut(slot) {
            let id = partition.topic_partition;
            if partition.owed.owe(end, key).is_err() {
                // It may well be stored: the client asks again, its sequence numbers tell.
                let timed_out = (id.topic, id.partition, ErrorCode::REQUEST_TIMED_OUT);
                self.produce_settled(key, Some(timed_out), effects);
            }
        }
    }

    fn produce_topic(
        &mut self,
        terms: Terms,
        topic: TopicProduceData,
        owed: &mut Owed,
        refuse_all: &Option<Refused>,
        sorted: &mut Sorted,
    ) -> TopicOutcome {
        let mut outcome = TopicOutcome {
            name: topic.name,
            id: topic.topic_id,
            partitions: Vec::with_capacity(topic.partition_data.len()),
        };
        let partitions = k00_produce::last_of_each(topic.partition_data);
        for data in partitions {
            let name = if k00_produce::names_topics_by_id(owed.version) {
                TopicRef::Id(outcome.id)
            } else {
                TopicRef::Name(&outcome.name)
            };
            let index = data.index;
            let response = match self.place_to_produce(name, index, owed) {
                Err(refused) => k00_produce::refused_response(index, refused, None, owed.version),
                Ok(slot) => match refuse_all {
                    Some(refused) => {
                        k00_produce::refused_response(index, refused.clone(), None, owed.version)
                    }
                    None => {
                        let at = (owed.topics.len(), outcome.partitions.len());
                        self.take_batch(terms, slot, &data, at, sorted)
                    }
                },
            };
            outcome
                .partitions
                .push(response.with_hint(self, name, index, owed));
        }
        outcome
    }

    /// The slot of a partition that this shard leads, or what to tell the client.
    fn place_to_produce(
        &self,
        topic: TopicRef<'_>,
        partition: PartitionIndex,
        owed: &mut Owed,
    ) -> Result<Slot, Refused> {
        match owner(&self.image, self.node, topic, partition) {
            Ownership::Mine { topic, .. } if topic.is_internal() => {
                Err(Refused::plain(ErrorCode::INVALID_TOPIC_EXCEPTION))
            }
            Ownership::Mine { topic, .. } => {
                let id = crate::words::TopicPartition {
                    topic: topic.id,
                    partition,
                };
                let takes = |slot| {
                    let partition = self.partitions.get(slot);
                    partition.is_some_and(|p| !p.offline && p.held.is_none())
                };
                match self.partitions.slot_of(id) {
                    Some(slot) if takes(slot) && !self.commit.broken => Ok(slot),
                    Some(_) => Err(Refused::plain(ErrorCode::KAFKA_STORAGE_ERROR)),
                    None => Err(Refused::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
                }
            }
            Ownership::Elsewhere { endpoint, .. } => {
                if let Some(node) = endpoint {
                    leader_hint(&mut owed.endpoints, node);
                }
                Err(Refused::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER))
            }
            Ownership::NoTopic if matches!(topic, TopicRef::Id(_)) => {
                Err(Refused::plain(ErrorCode::UNKNOWN_TOPIC_ID))
            }
            Ownership::NoTopic | Ownership::NoPartition => {
                Err(Refused::plain(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
            }
        }
    }

    /// Appends one batch, says why not, or holds it for its line: then what is returned is filled
    /// in later.
    fn take_batch(
        &mut self,
        terms: Terms,
        slot: Slot,
        data: &PartitionProduceData,
        at: (usize, usize),
        sorted: &mut Sorted,
    ) -> PartitionProduceResponse {
        let Terms { now, version, .. } = terms;
        let index = data.index;
        let Some(partition) = self.partitions.get(slot) else {
            let refused = Refused::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            return k00_produce::refused_response(index, refused, None, version);
        };
        let log_start = partition.log.log_start();
        let refuse =
            |refused| k00_produce::refused_response(index, refused, Some(log_start), version);
        let settings = &partition.log.settings;
        let batch = match k00_produce::arrive(data.records.as_ref(), version, settings) {
            Ok(batch) => batch,
            Err(refused) => return refuse(refused),
        };
        let strict = self.config.strict_validation;
        let admitted = match terms.before < LOOKS_AHEAD_MAX {
            true => k00_produce::admit(&batch, settings, now, strict, &mut self.looks.turn),
            false => Err(NotAdmitted::TooLarge),
        };
        let look = match admitted {
            Ok(admitted) if terms.before == 0 => {
                return match self.append(now, slot, &admitted) {
                    Err(refused) => refuse(refused),
                    Ok((stored, wait)) => {
                        sorted.waits.push(wait);
                        k00_produce::stored_response(index, &stored)
                    }
                };
            }
            Ok(admitted) => Look::Judged(Ok(admitted)),
            Err(NotAdmitted::Refused(refused)) => return refuse(refused),
            Err(NotAdmitted::TooLarge) => Look::Unseen,
        };
        sorted.held.push(Held {
            at,
            slot,
            topic_partition: partition.topic_partition,
            batch,
            settings: Arc::clone(settings),
            look,
        });
        PartitionProduceResponse {
            index,
            ..PartitionProduceResponse::default()
        }
    }

    /// Appends a batch whose time in line is over, and puts what came of it into the answer.
    pub(super) fn append_held(
        &mut self,
        now: Now,
        key: ProduceKey,
        held: &Held,
        effects: &mut Effects<Message>,
    ) {
        let Some(owed) = self.produces.owed.get(&key) else {
            return;
        };
        let (version, index) = (owed.version, held.topic_partition.partition);
        let partition = self.partitions.get(held.slot);
        let log_start = partition.map(|partition| partition.log.log_start());
        let (response, wait) = match self.append_judged(now, held) {
            Ok((stored, wait)) => (k00_produce::stored_response(index, &stored), Some(wait)),
            Err(refused) => {
                let response = k00_produce::refused_response(index, refused, log_start, version);
                (response, None)
            }
        };
        let (topic, partition) = held.at;
        if let Some(owed) = self.produces.owed.get_mut(&key)
            && let Some(topic) = owed.topics.get_mut(topic)
            && let Some(place) = topic.partitions.get_mut(partition)
        {
            *place = response;
        }
        match wait {
            Some(wait) => self.await_durable(key, wait, effects),
            None => self.produce_settled(key, None, effects),
        }
    }

    /// Much may have happened to the partition since the batch came.
    fn append_judged(&mut self, now: Now, held: &Held) -> Result<(Stored, Wait), Refused> {
        let Some(partition) = self.partitions.get(held.slot) else {
            let topic = self.image.topic_by_id(held.topic_partition.topic);
            return Err(Refused::plain(match topic {
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Some(_) => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            }));
        };
        if partition.offline || partition.held.is_some() || self.commit.broken {
            return Err(Refused::plain(ErrorCode::KAFKA_STORAGE_ERROR));
        }
        match &held.look {
            Look::Judged(Ok(admitted)) => self.append(now, held.slot, admitted),
            Look::Judged(Err(refused)) => Err(refused.clone()),
            Look::Unseen | Look::Underway => {
                debug_assert!(false, "a line moves when all is known");
                Err(Refused::plain(ErrorCode::UNKNOWN_SERVER_ERROR))
            }
        }
    }

    /// Appends an admitted batch, or says why not.
    fn append(
        &mut self,
        now: Now,
        slot: Slot,
        admitted: &Admitted,
    ) -> Result<(Stored, Wait), Refused> {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return Err(Refused::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        };
        let log = &mut partition.log;
        let log_start = log.log_start();
        let max_timestamp = match log.settings.message_timestamp_type {
            TimestampType::CreateTime => admitted.max_timestamp,
            TimestampType::LogAppendTime => now.wall,
        };
        let header = &admitted.batch.header;
        let appended = log.append(now, header, max_timestamp);
        let (stored, end) = match appended.map_err(k00_produce::of_log)? {
            Appended::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            } => (
                Stored {
                    base_offset,
                    log_append_time: timestamp,
                    log_start,
                },
                last_offset,
            ),
            Appended::Placed(placement) => {
                self.commit
                    .push(PendingBatch::of(slot, placement, &admitted.batch));
                (
                    Stored {
                        base_offset: placement.base_offset,
                        log_append_time: placement.log_append_time.unwrap_or(TimestampMs(-1)),
                        log_start,
                    },
                    placement.last_offset,
                )
            }
        };
        Ok((stored, (slot, Offset(end.0.saturating_add(1)))))
    }

    /// One partition of an owed answer is durable, or (with `failed`) never will be.
    pub(super) fn produce_settled(
        &mut self,
        key: ProduceKey,
        failed: Option<(TopicId, PartitionIndex, ErrorCode)>,
        effects: &mut Effects<Message>,
    ) {
        let Some(owed) = self.produces.owed.get_mut(&key) else {
            return;
        };
        owed.left = owed.left.saturating_sub(1);
        if let Some((id, index, code)) = failed {
            let name = self.image.topic_by_id(id).map(|topic| topic.name.clone());
            for topic in &mut owed.topics {
                let same = topic.id == id || name.as_deref() == Some(topic.name.as_str());
                for partition in topic
                    .partitions
                    .iter_mut()
                    .filter(|p| same && p.index == index)
                {
                    *partition = k00_produce::refused_response(
                        index,
                        Refused::plain(code),
                        None,
                        owed.version,
                    );
                }
            }
        }
        if owed.left == 0
            && let Some(owed) = self.produces.owed.remove(&key)
        {
            self.answer_produce(key, owed, effects);
        }
    }

    /// Sends the answer; with `acks=0` says nothing, or closes the connection when something went
    /// wrong, so that the client looks for the leaders again (`KafkaApis.handleProduceRequest`).
    fn answer_produce(&mut self, key: ProduceKey, owed: Owed, _effects: &mut Effects<Message>) {
        let Some(connection) = self.connections.get_mut(&key.connection) else {
            return;
        };
        self.touched.push(key.connection);
        if owed.acks == 0 {
            let wrong = owed
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .any(|partition| !partition.error_code.is_none());
            connection.answer(key.request, connection::Slot::Silent);
            if wrong {
                tracing::debug!(peer = %connection.peer, "acks=0 met an error: closing");
                connection.closing = true;
            }
            return;
        }
        let mut response = ProduceResponse {
            node_endpoints: owed.endpoints,
            ..ProduceResponse::default()
        };
        for topic in owed.topics {
            response.responses.push(TopicProduceResponse {
                name: topic.name,
                topic_id: topic.id,
                partition_responses: topic.partitions.into(),
            });
        }
        let frame = ResponseFrame::of(owed.version, owed.correlation_id, &response);
        connection.answer(key.request, connection::Slot::Ready(frame));
    }

    /// The high watermark of a partition moved: answers that waited for it settle, parked fetches
    /// are looked at again.
    pub(super) fn high_watermark_moved(
        &mut self,
        now: Now,
        slot: Slot,
        effects: &mut Effects<Message>,
    ) {
        let mut settled: Vec<ProduceKey> = Vec::new();
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let durable = partition.log.high_watermark();
        partition.owed.release_to(durable, |key| settled.push(key));
        for key in settled {
            self.produce_settled(key, None, effects);
        }
        self.wake_watchers(now, slot, effects);
        self.wants_fill(now, slot);
    }

    /// A partition's directory failed: nothing more of it is vouched for. The other partitions
    /// go on.
    pub(super) fn take_offline(
        &mut self,
        now: Now,
        slot: Slot,
        fault: &Fault,
        effects: &mut Effects<Message>,
    ) {
        if let Some(partition) = self.partitions.get(slot)
            && !partition.offline
        {
            tracing::error!(
                topic = %partition.topic,
                partition = partition.topic_partition.partition.0,
                directory = %partition.directory.display(),
                error = %fault.error,
                "a write or flush failed: the partition takes no more appends until a restart"
            );
        }
        self.stop_appends(now, slot, effects);
    }

    /// Nothing is appended to a partition any more; what is owed becomes KAFKA_STORAGE_ERROR.
    pub(super) fn stop_appends(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.offline = true;
        partition.files.filling = false;
        if partition.held.take().is_some() {
            self.release_hold();
        }
        self.fail_owed(now, slot, effects);
    }

    /// Answers everything that is owed on a partition with KAFKA_STORAGE_ERROR, which clients try
    /// again.
    pub(super) fn fail_owed(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let id = partition.topic_partition;
        let mut owed: Vec<ProduceKey> = Vec::new();
        partition.owed.drain(|key| owed.push(key));
        for key in owed {
            let failed = (id.topic, id.partition, ErrorCode::KAFKA_STORAGE_ERROR);
            self.produce_settled(key, Some(failed), effects);
        }
        self.wake_watchers(now, slot, effects);
    }
}

/// Fills in KIP-951's leader for a partition that is led elsewhere.
trait WithHint {
    fn with_hint(
        self,
        shard: &Shard,
        topic: TopicRef<'_>,
        partition: PartitionIndex,
        owed: &Owed,
    ) -> Self;
}

impl WithHint for PartitionProduceResponse {
    fn with_hint(
        mut self,
        shard: &Shard,
        topic: TopicRef<'_>,
        partition: PartitionIndex,
        owed: &Owed,
    ) -> Self {
        const HINTS_FROM: i16 = 10;
        if self.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER
            && owed.version >= HINTS_FROM
            && let Ownership::Elsewhere { leader, epoch, .. } =
                owner(&shard.image, shard.node, topic, partition)
        {
            self.current_leader.leader_id = leader;
            self.current_leader.leader_epoch = epoch;
        }
        self
    }
}

/// Bytes of a produce request's records, for tests and metrics.
pub fn records_bytes(data: &PartitionProduceData) -> usize {
    data.records.as_ref().map_or(0, Bytes::len)
}
