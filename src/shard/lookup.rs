//! ListOffsets on the shard: most answers are known at once; a time is found through the time index,
//! the offset index and the records themselves, which may have to come from the disk first. A search
//! remembers how far it came; where a turn cannot bear the look into a batch, an offload thread goes
//! on with it (`looks`).

use std::collections::{HashMap, HashSet};

use crate::api::k01_fetch::judge_leader_epoch;
use crate::api::k02_list_offsets::{self, Found, Wanted};
use crate::devices::{ConnectionId, Effects, Fault, Output};
use crate::log::partition::ReadPlan;
use crate::log::tail::StoredBatch;
use crate::log::time_index::TimeIndexView;
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::shard::connection::{self, Origin};
use crate::shard::looks::{self, Asker, Seen, Sought};
use crate::shard::ops::Op;
use crate::shard::partition::Slot;
use crate::shard::reads::{Older, Reader};
use crate::shard::{Message, Shard, jobs};
use crate::wire::error_code::ErrorCode;
use crate::wire::frame::ResponseFrame;
use crate::wire::messages::k02_list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::wire::record::Allowance;
use crate::words::limits::LOOKUP_BATCHES_MAX;
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicPartition};

/// A lookup that is being worked on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupKey(pub u64);

struct Lookup {
    origin: Origin,
    body: ListOffsetsRequest,
    /// By topic and place.
    answers: Vec<Vec<Answer>>,
    /// It waits for an offload thread.
    queued: bool,
}

/// How far one partition of a lookup has come.
enum Answer {
    Open(Progress),
    /// An offload thread goes on with it.
    Elsewhere(Progress),
    Known(ListOffsetsPartitionResponse),
}

/// How far a search has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Places of its topic and its partition in the request.
    at: (usize, usize),
    /// In which log; another one is searched anew.
    slot: Option<Slot>,
    /// Where it goes on; `None` before its beginning is known.
    from: Option<Offset>,
    /// Runs of batches that it has had.
    runs: usize,
    /// What an offload thread saw.
    seen: Option<Seen>,
    /// The batch at `from` is too much for a turn.
    too_large: bool,
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
    /// More than what this turn has left.
    TooLarge(Vec<StoredBatch>, Sought),
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
            .map(|topic| {
                let open = || Answer::Open(Progress::default());
                topic.partitions.iter().map(|_| open()).collect()
            })
            .collect();
        let key = LookupKey(self.lookups.next);
        self.lookups.next += 1;
        self.lookups.open.insert(
            key,
            Lookup {
                origin,
                body,
                answers,
                queued: false,
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
        let mut wants_look = false;
        let doubles = named_twice(&lookup.body);
        for (at, topic) in lookup.body.topics.iter().enumerate() {
            for (place, ask) in topic.partitions.iter().enumerate() {
                let Some(answer) = lookup.answers.get_mut(at).and_then(|of| of.get_mut(place))
                else {
                    continue;
                };
                if let Answer::Open(progress) = answer {
                    let progress = Progress {
                        at: (at, place),
                        ..*progress
                    };
                    *answer = if doubles.contains(&(at, ask.partition_index)) {
                        refused(ask, ErrorCode::INVALID_REQUEST)
                    } else {
                        self.look_up(terms, &topic.name, ask, progress, effects)
                    };
                }
                complete &= matches!(answer, Answer::Known(_));
                wants_look |= matches!(answer, Answer::Open(progress) if progress.too_large);
            }
        }
        if complete {
            self.answer_lookup(lookup);
            return;
        }
        if wants_look && !lookup.queued {
            lookup.queued = true;
            self.looks.wait(Asker::Lookup(key));
        }
        self.lookups.open.insert(key, lookup);
    }

    /// It is the turn of a lookup to have an offload thread.
    pub(super) fn look_for_lookup(&mut self, key: LookupKey, effects: &mut Effects<Message>) {
        if let Some(lookup) = self.lookups.open.get_mut(&key) {
            lookup.queued = false;
            self.evaluate_lookup(key, effects);
        }
    }

    /// A look for one partition of a lookup came back.
    pub(super) fn looked_for_lookup(
        &mut self,
        key: LookupKey,
        at: (usize, usize),
        result: Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        self.looks.ended();
        if let Some(lookup) = self.lookups.open.get_mut(&key)
            && let Some(topic) = lookup.body.topics.get(at.0)
            && let Some(ask) = topic.partitions.get(at.1)
            && let Some(answer) = lookup.answers.get_mut(at.0).and_then(|of| of.get_mut(at.1))
            && let Answer::Elsewhere(progress) = answer
        {
            *answer = match jobs::output::<Seen>(result) {
                Ok(seen) => Answer::Open(Progress {
                    seen: Some(seen),
                    too_large: false,
                    ..*progress
                }),
                Err(fault) => {
                    tracing::error!(error = %fault.error, "a look into stored batches failed");
                    refused(ask, ErrorCode::UNKNOWN_SERVER_ERROR)
                }
            };
            self.evaluate_lookup(key, effects);
        }
        self.start_looks(effects);
    }

    fn answer_lookup(&mut self, lookup: Lookup) {
        let doubles = named_twice(&lookup.body);
        let mut response = ListOffsetsResponse::default();
        for (at, (topic, answers)) in lookup.body.topics.iter().zip(lookup.answers).enumerate() {
            let mut told: HashSet<PartitionIndex> = HashSet::new();
            let partitions = answers
                .into_iter()
                .filter_map(|answer| match answer {
                    Answer::Known(response) => Some(response),
                    Answer::Open(_) | Answer::Elsewhere(_) => None,
                })
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

    /// Goes on with one partition, as far as this turn bears it.
    fn look_up(
        &mut self,
        terms: Terms,
        topic: &str,
        ask: &ListOffsetsPartition,
        mut progress: Progress,
        effects: &mut Effects<Message>,
    ) -> Answer {
        let wanted = match k02_list_offsets::wanted(ask.timestamp, terms.version) {
            Ok(wanted) => wanted,
            Err(code) => return refused(ask, code),
        };
        let slot = match self.led_slot(topic, ask.partition_index, ask.current_leader_epoch) {
            Ok(slot) => slot,
            Err(code) => return refused(ask, code),
        };
        if progress.slot != Some(slot) {
            progress = Progress {
                at: progress.at,
                slot: Some(slot),
                ..Progress::default()
            };
        }
        match self.search(terms, slot, wanted, &mut progress, effects) {
            Search::Found(found) => Answer::Known(k02_list_offsets::found_response(ask, found)),
            Search::Failed(code) => refused(ask, code),
            Search::Loading => Answer::Open(progress),
            Search::TooLarge(batches, sought) if self.looks.has_room() => {
                let (key, at) = (terms.key, progress.at);
                let job = looks::search_elsewhere(batches, sought);
                self.start_look(Op::LookForLookup { key, at }, job, effects);
                Answer::Elsewhere(progress)
            }
            Search::TooLarge(..) => {
                progress.too_large = true;
                Answer::Open(progress)
            }
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
        progress: &mut Progress,
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
                    Some(largest) => {
                        self.search_largest(key, slot, largest.offset, progress, effects)
                    }
                }
            }
            Wanted::At(target) => self.search_time(key, (slot, limit), target, progress, effects),
        }
    }

    /// The first record with the largest timestamp of the batch that holds `offset`.
    fn search_largest(
        &mut self,
        key: LookupKey,
        slot: Slot,
        offset: Offset,
        progress: &mut Progress,
        effects: &mut Effects<Message>,
    ) -> Search {
        let seen = match progress.seen.take() {
            Some(seen) => seen,
            None => {
                let batches = match self.batches_from(slot, offset, Reader::Lookup(key), effects) {
                    Older::Loading => return Search::Loading,
                    Older::Failed => return Search::Failed(ErrorCode::KAFKA_STORAGE_ERROR),
                    Older::Batches(batches) => batches,
                };
                let one: Vec<StoredBatch> = batches.into_iter().take(1).collect();
                match self.see(&one, Sought::Largest, progress) {
                    Seen::TooLarge { .. } => return Search::TooLarge(one, Sought::Largest),
                    seen => seen,
                }
            }
        };
        match seen {
            Seen::Found {
                offset,
                timestamp,
                leader_epoch,
            } => Search::Found(Found {
                timestamp,
                offset,
                leader_epoch,
            }),
            Seen::Nothing { .. } | Seen::TooLarge { .. } => Search::Found(Found::NOTHING),
            Seen::Rotten => Search::Failed(ErrorCode::CORRUPT_MESSAGE),
        }
    }

    /// The first record at or after `target`, below `limit`.
    fn search_time(
        &mut self,
        key: LookupKey,
        (slot, limit): (Slot, Offset),
        target: TimestampMs,
        progress: &mut Progress,
        effects: &mut Effects<Message>,
    ) -> Search {
        let log_start = self
            .partitions
            .get(slot)
            .map_or(Offset(0), |partition| partition.log.log_start());
        let sought = Sought::Time(target, log_start);
        if progress.from.is_none() {
            progress.from = match self.time_start(key, slot, target, effects) {
                Ok(Some(from)) => Some(from),
                Ok(None) => return Search::Found(Found::NOTHING),
                Err(search) => return search,
            };
        }
        loop {
            let from = progress.from.unwrap_or(log_start).max(log_start);
            let mut batches = Vec::new();
            let seen = match progress.seen.take() {
                Some(seen) => seen,
                None if from >= limit => return Search::Found(Found::NOTHING),
                None if progress.runs >= LOOKUP_BATCHES_MAX => {
                    return Search::Failed(ErrorCode::REQUEST_TIMED_OUT);
                }
                None => {
                    batches = match self.batches_from(slot, from, Reader::Lookup(key), effects) {
                        Older::Loading => return Search::Loading,
                        Older::Failed => return Search::Failed(ErrorCode::KAFKA_STORAGE_ERROR),
                        Older::Batches(batches) => batches,
                    };
                    if batches.is_empty() {
                        return Search::Found(Found::NOTHING);
                    }
                    progress.runs += 1;
                    self.see(&batches, sought, progress)
                }
            };
            match seen {
                Seen::Found { offset, .. } if offset >= limit => {
                    return Search::Found(Found::NOTHING);
                }
                Seen::Found {
                    offset,
                    timestamp,
                    leader_epoch,
                } => {
                    return Search::Found(Found {
                        timestamp,
                        offset,
                        leader_epoch,
                    });
                }
                Seen::Rotten => return Search::Failed(ErrorCode::CORRUPT_MESSAGE),
                Seen::Nothing { next } => {
                    progress.from = Some(next);
                    progress.too_large = false;
                }
                Seen::TooLarge { next } => {
                    progress.from = Some(next);
                    batches.retain(|batch| batch.base_offset >= next);
                    return Search::TooLarge(batches, sought);
                }
            }
        }
    }

    /// Searches batches within what is left of this turn.
    fn see(&mut self, batches: &[StoredBatch], sought: Sought, progress: &Progress) -> Seen {
        match progress.too_large {
            true => looks::search_batches(batches, sought, &mut Allowance::new(0, 0)),
            false => looks::search_batches(batches, sought, &mut self.looks.turn),
        }
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

fn refused(ask: &ListOffsetsPartition, code: ErrorCode) -> Answer {
    Answer::Known(k02_list_offsets::refused_response(ask, code))
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
