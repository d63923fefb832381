//! ListOffsets on the shard: most answers are known at once; a time is found through the time index,
//! the offset index and the records themselves, which may have to come from the disk first.

use std::collections::{HashMap, HashSet};

use crate::api::k01_fetch::judge_leader_epoch;
use crate::api::k02_list_offsets::{self, Found, Wanted};
use crate::devices::{ConnectionId, Effects};
use crate::log::partition::ReadPlan;
use crate::log::tail::StoredBatch;
use crate::log::time_index::TimeIndexView;
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::shard::connection::{self, Origin};
use crate::shard::partition::Slot;
use crate::shard::reads::{Older, Reader};
use crate::shard::{Message, Shard};
use crate::wire::error_code::ErrorCode;
use crate::wire::frame::ResponseFrame;
use crate::wire::messages::k02_list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::wire::record::BatchHeader;
use crate::wire::record::slice::{find_timestamp, max_timestamp_record};
use crate::words::limits::{DECOMPRESSED_BYTES_MAX, LOOKUP_BATCHES_MAX};
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicPartition};

/// A lookup that is being worked on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupKey(pub u64);

struct Lookup {
    origin: Origin,
    body: ListOffsetsRequest,
    /// Answers so far, by topic and place.
    answers: Vec<Vec<Option<ListOffsetsPartitionResponse>>>,
}

/// All lookups under way.
#[derive(Default)]
pub struct Lookups {
    open: HashMap<LookupKey, Lookup>,
    next: u64,
}

impl Lookups {
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// What a lookup settles for all its partitions.
#[derive(Clone, Copy)]
struct Terms {
    key: LookupKey,
    version: i16,
    /// Only what the last stable offset covers counts (`isolation.level=read_committed`).
    committed: bool,
}

/// One step of a search.
enum Search {
    Found(Found),
    Failed(ErrorCode),
    /// Data is on its way.
    Loading,
}

impl Shard {
    pub(super) fn list_offsets(
        &mut self,
        origin: Origin,
        mut body: ListOffsetsRequest,
        effects: &mut Effects<Message>,
    ) {
        body.topics = k02_list_offsets::each_topic_once(body.topics);
        let answers = body
            .topics
            .iter()
            .map(|topic| vec![None; topic.partitions.len()])
            .collect();
        let key = LookupKey(self.lookups.next);
        self.lookups.next += 1;
        self.lookups.open.insert(
            key,
            Lookup {
                origin,
                body,
                answers,
            },
        );
        self.evaluate_lookup(key, effects);
    }

    /// Goes on with a lookup; answers when every partition is known.
    pub(super) fn evaluate_lookup(&mut self, key: LookupKey, effects: &mut Effects<Message>) {
        let Some(mut lookup) = self.lookups.open.remove(&key) else {
            return;
        };
        let terms = Terms {
            key,
            version: lookup.origin.version,
            committed: lookup.body.isolation_level == 1,
        };
        let mut complete = true;
        let doubles = named_twice(&lookup.body);
        for (at, topic) in lookup.body.topics.iter().enumerate() {
            for (place, ask) in topic.partitions.iter().enumerate() {
                let Some(answer) = lookup.answers.get_mut(at).and_then(|of| of.get_mut(place))
                else {
                    continue;
                };
                if answer.is_some() {
                    continue;
                }
                *answer = if doubles.contains(&(at, ask.partition_index)) {
                    let code = ErrorCode::INVALID_REQUEST;
                    Some(k02_list_offsets::refused_response(ask, code))
                } else {
                    self.look_up(terms, &topic.name, ask, effects)
                };
                complete &= answer.is_some();
            }
        }
        if !complete {
            self.lookups.open.insert(key, lookup);
            return;
        }
        self.answer_lookup(lookup);
    }

    fn answer_lookup(&mut self, lookup: Lookup) {
        let doubles = named_twice(&lookup.body);
        let mut response = ListOffsetsResponse::default();
        for (at, (topic, answers)) in lookup.body.topics.iter().zip(lookup.answers).enumerate() {
            let mut told: HashSet<PartitionIndex> = HashSet::new();
            let partitions = answers
                .into_iter()
                .flatten()
                .filter(|answer| {
                    !doubles.contains(&(at, answer.partition_index))
                        || told.insert(answer.partition_index)
                })
                .collect();
            response.topics.push(ListOffsetsTopicResponse {
                name: topic.name.clone(),
                partitions,
            });
        }
        let origin = lookup.origin;
        let frame = ResponseFrame::of(origin.version, origin.correlation_id, &response);
        self.answer(
            origin.connection,
            origin.request,
            connection::Slot::Ready(frame),
        );
    }

    fn look_up(
        &mut self,
        terms: Terms,
        topic: &str,
        ask: &ListOffsetsPartition,
        effects: &mut Effects<Message>,
    ) -> Option<ListOffsetsPartitionResponse> {
        let refuse = |code| Some(k02_list_offsets::refused_response(ask, code));
        let wanted = match k02_list_offsets::wanted(ask.timestamp, terms.version) {
            Ok(wanted) => wanted,
            Err(code) => return refuse(code),
        };
        let slot = match self.led_slot(topic, ask.partition_index, ask.current_leader_epoch) {
            Ok(slot) => slot,
            Err(code) => return refuse(code),
        };
        match self.search(terms, slot, wanted, effects) {
            Search::Found(found) => Some(k02_list_offsets::found_response(ask, found)),
            Search::Failed(code) => refuse(code),
            Search::Loading => None,
        }
    }

    /// The slot of a partition led here, after the check of the believed leader epoch.
    pub(super) fn led_slot(
        &self,
        topic: &str,
        partition: PartitionIndex,
        believed: LeaderEpoch,
    ) -> Result<Slot, ErrorCode> {
        match owner(&self.image, self.node, TopicRef::Name(topic), partition) {
            Ownership::Mine { topic, epoch } => {
                judge_leader_epoch(believed, epoch)?;
                let slot = self
                    .partitions
                    .slot_of(TopicPartition {
                        topic: topic.id,
                        partition,
                    })
                    .ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
                if self.partitions.is_unrecovered(slot) {
                    return Err(ErrorCode::KAFKA_STORAGE_ERROR);
                }
                Ok(slot)
            }
            Ownership::Elsewhere { .. } => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Ownership::NoTopic | Ownership::NoPartition => {
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
        }
    }

    fn search(
        &mut self,
        terms: Terms,
        slot: Slot,
        wanted: Wanted,
        effects: &mut Effects<Message>,
    ) -> Search {
        let Some(partition) = self.partitions.get(slot) else {
            return Search::Failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        let log = &partition.log;
        let key = terms.key;
        let limit = if terms.committed {
            log.last_stable()
        } else {
            log.high_watermark()
        };
        match wanted {
            Wanted::Latest => Search::Found(Found {
                timestamp: TimestampMs(-1),
                offset: limit,
                leader_epoch: log.leader_epoch(),
            }),
            Wanted::Earliest => Search::Found(Found {
                timestamp: TimestampMs(-1),
                offset: log.log_start(),
                leader_epoch: log
                    .epochs
                    .epoch_at(log.log_start())
                    .unwrap_or(LeaderEpoch(-1)),
            }),
            Wanted::Tiered => Search::Found(Found::NOTHING),
            Wanted::MaxTimestamp => {
                let largest = log
                    .segments()
                    .iter()
                    .filter(|segment| segment.size_bytes > 0)
                    .map(|segment| segment.largest)
                    .reduce(|a, b| if b.timestamp > a.timestamp { b } else { a });
                match largest {
                    None => Search::Found(Found::NOTHING),
                    Some(largest) => self.search_largest(key, slot, largest.offset, effects),
                }
            }
            Wanted::At(target) => self.search_time(key, slot, target, limit, effects),
        }
    }

    /// The first record with the largest timestamp of the batch that holds `offset`.
    fn search_largest(
        &mut self,
        key: LookupKey,
        slot: Slot,
        offset: Offset,
        effects: &mut Effects<Message>,
    ) -> Search {
        match self.batches_from(slot, offset, Reader::Lookup(key), effects) {
            Older::Loading => Search::Loading,
            Older::Failed => Search::Failed(ErrorCode::KAFKA_STORAGE_ERROR),
            Older::Batches(batches) => {
                let Some(batch) = batches.first() else {
                    return Search::Found(Found::NOTHING);
                };
                match max_timestamp_record(&batch.bytes, DECOMPRESSED_BYTES_MAX) {
                    Ok(Some((offset, timestamp))) => Search::Found(Found {
                        timestamp,
                        offset,
                        leader_epoch: epoch_of(batch),
                    }),
                    Ok(None) => Search::Found(Found::NOTHING),
                    Err(_) => Search::Failed(ErrorCode::CORRUPT_MESSAGE),
                }
            }
        }
    }

    /// The first record at or after `target`, below `limit`.
    fn search_time(
        &mut self,
        key: LookupKey,
        slot: Slot,
        target: TimestampMs,
        limit: Offset,
        effects: &mut Effects<Message>,
    ) -> Search {
        let mut from = match self.time_start(key, slot, target, effects) {
            Ok(Some(from)) => from,
            Ok(None) => return Search::Found(Found::NOTHING),
            Err(search) => return search,
        };
        for _ in 0..LOOKUP_BATCHES_MAX {
            if from >= limit {
                return Search::Found(Found::NOTHING);
            }
            let batches = match self.batches_from(slot, from, Reader::Lookup(key), effects) {
                Older::Loading => return Search::Loading,
                Older::Failed => return Search::Failed(ErrorCode::KAFKA_STORAGE_ERROR),
                Older::Batches(batches) => batches,
            };
            for batch in &batches {
                if batch.max_timestamp >= target {
                    let start = self
                        .partitions
                        .get(slot)
                        .map_or(Offset(0), |partition| partition.log.log_start());
                    match find_timestamp(&batch.bytes, target, start, DECOMPRESSED_BYTES_MAX) {
                        Ok(Some((offset, _))) if offset >= limit => {
                            return Search::Found(Found::NOTHING);
                        }
                        Ok(Some((offset, timestamp))) => {
                            return Search::Found(Found {
                                timestamp,
                                offset,
                                leader_epoch: epoch_of(batch),
                            });
                        }
                        Ok(None) => {}
                        Err(_) => return Search::Failed(ErrorCode::CORRUPT_MESSAGE),
                    }
                }
                from = Offset(batch.last_offset.0.saturating_add(1));
            }
            if batches.is_empty() {
                return Search::Found(Found::NOTHING);
            }
        }
        Search::Failed(ErrorCode::REQUEST_TIMED_OUT)
    }

    /// Where the search for `target` begins: in the first segment that reaches it, at its largest
    /// time index entry not above it. `None`: no segment reaches it.
    fn time_start(
        &mut self,
        key: LookupKey,
        slot: Slot,
        target: TimestampMs,
        effects: &mut Effects<Message>,
    ) -> Result<Option<Offset>, Search> {
        let Some(partition) = self.partitions.get(slot) else {
            return Err(Search::Failed(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        };
        let log_start = partition.log.log_start();
        let reaching = partition
            .log
            .segments()
            .iter()
            .find(|segment| segment.size_bytes > 0 && segment.largest.timestamp >= target);
        let Some(segment) = reaching else {
            return Ok(None);
        };
        let base = segment.base_offset;
        let entry = match &segment.building {
            Some(indexes) => indexes.time_index().view().lookup(target),
            None => match self.open_to_read(slot, base, Reader::Lookup(key), effects) {
                Some(file) => TimeIndexView::new(base, &file.time_index).lookup(target),
                None => return Err(Search::Loading),
            },
        };
        // The entry names the last offset of a batch whose time may be the one that is wanted.
        let from = match entry.timestamp >= target {
            true => base,
            false => entry.offset.max(base),
        };
        Ok(Some(from.max(log_start)))
    }

    /// Batches from memory or from the disk.
    fn batches_from(
        &mut self,
        slot: Slot,
        from: Offset,
        reader: Reader,
        effects: &mut Effects<Message>,
    ) -> Older {
        let Some(partition) = self.partitions.get(slot) else {
            return Older::Failed;
        };
        let log = &partition.log;
        match log.plan_read(from, log.high_watermark(), usize::MAX, true) {
            ReadPlan::Memory(_) => Older::Batches(
                log.tail
                    .from(from)
                    .take_while(|batch| batch.last_offset < log.high_watermark())
                    .cloned()
                    .collect(),
            ),
            ReadPlan::Nothing | ReadPlan::OutOfRange => Older::Batches(Vec::new()),
            ReadPlan::Disk { .. } => self.older(slot, from, reader, effects),
        }
    }

    /// The client of these lookups is gone.
    pub(super) fn forget_lookups_of(&mut self, connection: ConnectionId) {
        self.lookups
            .open
            .retain(|_, lookup| lookup.origin.connection != connection);
    }
}

fn epoch_of(batch: &StoredBatch) -> LeaderEpoch {
    BatchHeader::parse(&batch.bytes).map_or(LeaderEpoch(-1), |header| header.leader_epoch)
}

/// Partitions that one topic of the request names more than once.
fn named_twice(body: &ListOffsetsRequest) -> HashSet<(usize, PartitionIndex)> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for (at, topic) in body.topics.iter().enumerate() {
        for ask in &topic.partitions {
            if !seen.insert((at, ask.partition_index)) {
                twice.insert((at, ask.partition_index));
            }
        }
    }
    twice
}
