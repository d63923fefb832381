//! Produce on the shard: each partition is decided at once, and the answer is owed until everything
//! it speaks of is flushed.

use std::collections::HashMap;

use bytes::Bytes;

use crate::api::k00_produce::{self, Refused, Stored};
use crate::devices::{ConnectionId, Effects};
use crate::log::partition::Appended;
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::shard::commit::PendingBatch;
use crate::shard::connection::{self, Origin, RequestNumber};
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
use crate::words::limits::DECOMPRESSED_BYTES_MAX;
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
    /// Partitions not yet durable.
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
        let mut waits: Vec<Wait> = Vec::new();
        let refuse_all = k00_produce::refuse_request(&request);
        for topic in k00_produce::each_topic_once(request.topic_data) {
            if topic.partition_data.is_empty() {
                continue;
            }
            let outcome = self.produce_topic(now, topic, &mut owed, &refuse_all, &mut waits);
            owed.topics.push(outcome);
        }
        if waits.is_empty() {
            self.answer_produce(key, owed, effects);
            return;
        }
        owed.left = u32::try_from(waits.len()).unwrap_or(u32::MAX);
        self.produces.owed.insert(key, owed);
        for (slot, end) in waits {
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
    }

    fn produce_topic(
        &mut self,
        now: Now,
        topic: TopicProduceData,
        owed: &mut Owed,
        refuse_all: &Option<Refused>,
        waits: &mut Vec<Wait>,
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
                    None => self.append(now, slot, &data, owed.version, waits),
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
                let takes = |slot| self.partitions.get(slot).is_some_and(|p| !p.offline);
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

    /// Appends one batch, or says why not.
    fn append(
        &mut self,
        now: Now,
        slot: Slot,
        data: &PartitionProduceData,
        version: i16,
        waits: &mut Vec<Wait>,
    ) -> PartitionProduceResponse {
        let strict = self.config.strict_validation;
        let Some(partition) = self.partitions.get_mut(slot) else {
            let refused = Refused::plain(ErrorCode::NOT_LEADER_OR_FOLLOWER);
            return k00_produce::refused_response(data.index, refused, None, version);
        };
        let log_start = partition.log.log_start();
        let refuse =
            |refused| k00_produce::refused_response(data.index, refused, Some(log_start), version);
        let admitted = k00_produce::admit(
            data.records.as_ref(),
            version,
            &partition.log.settings,
            now,
            strict,
            DECOMPRESSED_BYTES_MAX,
        );
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return refuse(refused),
        };
        let header = &admitted.batch.header;
        let (stored, end) = match partition.log.append(now, header, admitted.max_timestamp) {
            Err(refusal) => return refuse(k00_produce::of_log(refusal)),
            Ok(Appended::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            }) => (
                Stored {
                    base_offset,
                    log_append_time: timestamp,
                    log_start,
                },
                last_offset,
            ),
            Ok(Appended::Placed(placement)) => {
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
        waits.push((slot, Offset(end.0.saturating_add(1))));
        k00_produce::stored_response(data.index, &stored)
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

    /// A partition's directory or journal failed: nothing of it is vouched for any more. Owed
    /// answers become KAFKA_STORAGE_ERROR; the other partitions go on.
    pub(super) fn take_offline(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if !partition.offline {
            tracing::error!(
                topic = %partition.topic,
                partition = partition.topic_partition.partition.0,
                directory = %partition.directory.display(),
                "a write or flush failed: the partition takes no more appends until a restart"
            );
        }
        partition.offline = true;
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
