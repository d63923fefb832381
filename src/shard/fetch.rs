//! Fetch on the shard: read what is there; when that is not enough, park until enough has come, the
//! wait is over, or something happened to one of the partitions (Kafka's `DelayedFetch`).

use std::collections::HashMap;

use bytes::Bytes;

use crate::api::k01_fetch::{self, FetchTerms, Lineage};
use crate::devices::{ConnectionId, Effects};
use crate::log::partition::ReadPlan;
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::session::{self, AnswerFacts, FetchContext, PlanPartition, SessionRefusal};
use crate::shard::connection::{self, Origin, RequestNumber};
use crate::shard::ownership::fetch_leader_hint;
use crate::shard::partition::Slot;
use crate::shard::reads::{Older, Reader};
use crate::shard::{Message, Shard, Timer};
use crate::wait::TimerHandle;
use crate::wire::error_code::ErrorCode;
use crate::wire::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, NodeEndpoint, PartitionData, Records,
};
use crate::wire::frame::ResponseFrame;
use crate::words::{LeaderEpoch, Now, Offset, PartitionIndex, TopicPartition};

/// A fetch that is being worked on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchKey(pub u64);

/// A fetch between its request and its answer.
struct Fetch {
    connection: ConnectionId,
    request: RequestNumber,
    correlation_id: i32,
    terms: FetchTerms,
    context: FetchContext,
    /// Set while it is parked.
    timer: Option<TimerHandle>,
    /// It hears when a high watermark moves.
    watching: bool,
}

/// All fetches under way.
#[derive(Default)]
pub struct Fetches {
    open: HashMap<FetchKey, Fetch>,
    next: u64,
}

impl Fetches {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// One partition as read.
struct Answered {
    data: PartitionData,
    bytes: usize,
    /// Error, divergence: answer at once.
    urgent: bool,
}

/// Everything read for one fetch.
struct Gathered {
    /// In the order of the plan.
    partitions: Vec<PartitionData>,
    /// Whose log was never asked.
    not_read: Vec<bool>,
    slots: Vec<Slot>,
    endpoints: Vec<NodeEndpoint>,
    bytes: usize,
    urgent: bool,
    /// Some data is still on its way from the disk.
    loading: bool,
}

impl Shard {
    /// Handles one Fetch request up to its answer or its parking place.
    pub(super) fn fetch(
        &mut self,
        now: Now,
        origin: Origin,
        body: FetchRequest,
        effects: &mut Effects<Message>,
    ) {
        let Origin {
            connection,
            request,
            version,
            correlation_id,
        } = origin;
        let terms = FetchTerms::of(&body, version, self.config.fetch_bytes_max);
        let ask = crate::shard::requests::session_ask(version, body);
        let image = &self.image;
        let name_of = |id| image.topic_by_id(id).map(|topic| topic.name.clone());
        let context = match self.sessions.begin(now, ask, name_of) {
            Ok(context) => context,
            Err(refusal) => {
                let frame = refused_whole(refusal, 0, version, correlation_id);
                self.answer(connection, request, connection::Slot::Ready(frame));
                return;
            }
        };
        let key = FetchKey(self.fetches.next);
        self.fetches.next += 1;
        self.fetches.open.insert(
            key,
            Fetch {
                connection,
                request,
                correlation_id,
                terms,
                context,
                timer: None,
                watching: false,
            },
        );
        self.evaluate_fetch(now, key, effects);
    }

    /// Looks at a fetch again: answers it if it may be answered, else parks it.
    pub(super) fn evaluate_fetch(
        &mut self,
        now: Now,
        key: FetchKey,
        effects: &mut Effects<Message>,
    ) {
        self.try_fetch(now, key, false, effects);
    }

    /// The wait is over: whatever is there is the answer.
    pub(super) fn fetch_deadline(
        &mut self,
        now: Now,
        key: FetchKey,
        effects: &mut Effects<Message>,
    ) {
        if let Some(fetch) = self.fetches.open.get_mut(&key) {
            fetch.timer = None;
        }
        self.try_fetch(now, key, true, effects);
    }

    fn try_fetch(&mut self, now: Now, key: FetchKey, over: bool, effects: &mut Effects<Message>) {
        // The fetch leaves the table while it is looked at, so that everything else of the shard
        // can be used meanwhile.
        let Some(mut fetch) = self.fetches.open.remove(&key) else {
            return;
        };
        let gathered = self.gather(key, &fetch, effects);
        let enough = gathered.slots.is_empty()
            || gathered.urgent
            || gathered.bytes >= fetch.terms.min_bytes
            || fetch.terms.max_wait_ms <= 0
            || over
            || fetch.over();
        if enough && !gathered.loading {
            self.unwatch(key, &fetch);
            self.answer_fetch(now, fetch, gathered);
            return;
        }
        if over {
            fetch.terms.max_wait_ms = 0;
        }
        let mut no_room = false;
        if !gathered.loading && !fetch.watching {
            no_room |= self.watchers.watch(key, &gathered.slots).is_err();
            fetch.watching = !no_room;
        }
        if fetch.timer.is_none() && !over && fetch.terms.max_wait_ms > 0 {
            let deadline = now.after_ms(i64::from(fetch.terms.max_wait_ms));
            fetch.timer = self.wheel.insert(deadline, Timer::Fetch(key)).ok();
            no_room |= fetch.timer.is_none();
        }
        if no_room && !gathered.loading {
            // Too many are parked already: this one is answered with what is there.
            self.unwatch(key, &fetch);
            self.answer_fetch(now, fetch, gathered);
            return;
        }
        self.fetches.open.insert(key, fetch);
    }

    /// Reads every partition of the fetch in order, within its bounds.
    fn gather(&mut self, key: FetchKey, fetch: &Fetch, effects: &mut Effects<Message>) -> Gathered {
        let mut gathered = Gathered {
            partitions: Vec::with_capacity(fetch.context.plan().len()),
            not_read: Vec::with_capacity(fetch.context.plan().len()),
            slots: Vec::new(),
            endpoints: Vec::new(),
            bytes: 0,
            urgent: false,
            loading: false,
        };
        for plan in fetch.context.plan() {
            let slot = match self.place_to_fetch(plan, &fetch.terms, &mut gathered.endpoints) {
                Ok(slot) => slot,
                Err(data) => {
                    gathered.urgent |= !k01_fetch::is_unknown(data.error_code);
                    gathered.partitions.push(*data);
                    gathered.not_read.push(true);
                    continue;
                }
            };
            gathered.slots.push(slot);
            let left = fetch.terms.max_bytes.saturating_sub(gathered.bytes);
            let first = gathered.bytes == 0;
            match self.read_partition(key, slot, plan, &fetch.terms, left, first, effects) {
                Some(answered) => {
                    gathered.bytes = gathered.bytes.saturating_add(answered.bytes);
                    gathered.urgent |= answered.urgent;
                    gathered.partitions.push(answered.data);
                    gathered.not_read.push(false);
                }
                None => gathered.loading = true,
            }
        }
        gathered
    }

    /// The slot of a partition that may be read here, or its answer.
    fn place_to_fetch(
        &self,
        plan: &PlanPartition,
        terms: &FetchTerms,
        endpoints: &mut Vec<NodeEndpoint>,
    ) -> Result<Slot, Box<PartitionData>> {
        let ask = &plan.ask;
        let index = ask.partition.partition;
        let refuse = |code, known| Box::new(k01_fetch::refused(index, code, known));
        let topic = match &ask.partition.topic {
            session::TopicRef::Name(name) => TopicRef::Name(name),
            session::TopicRef::Id(id) => TopicRef::Id(*id),
        };
        match owner(&self.image, self.node, topic, index) {
            Ownership::Mine { topic, epoch } => {
                let id = TopicPartition {
                    topic: topic.id,
                    partition: index,
                };
                self.slot_to_fetch(id, ask.current_leader_epoch, epoch, terms)
                    .map_err(|code| {
                        let mut data = refuse(code, true);
                        if k01_fetch::names_leader(code) {
                            let (leader, node) = (self.node, self.image.node(self.node));
                            let version = terms.version;
                            fetch_leader_hint(&mut data, endpoints, leader, epoch, node, version);
                        }
                        data
                    })
            }
            Ownership::Elsewhere {
                leader,
                epoch,
                endpoint,
            } => {
                let mut data = refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER, true);
                fetch_leader_hint(&mut data, endpoints, leader, epoch, endpoint, terms.version);
                Err(data)
            }
            Ownership::NoTopic if matches!(topic, TopicRef::Id(_)) => {
                let code = match &plan.name {
                    None => ErrorCode::UNKNOWN_TOPIC_ID,
                    Some(name) if self.image.topic(name).is_some() => {
                        ErrorCode::INCONSISTENT_TOPIC_ID
                    }
                    Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                // One that got another id was known, and Kafka's log is asked for it.
                Err(refuse(code, code == ErrorCode::INCONSISTENT_TOPIC_ID))
            }
            Ownership::NoTopic | Ownership::NoPartition => {
                Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false))
            }
        }
    }

    /// The slot of a partition that this shard leads, if the fetcher may read it.
    fn slot_to_fetch(
        &self,
        id: TopicPartition,
        believed: LeaderEpoch,
        epoch: LeaderEpoch,
        terms: &FetchTerms,
    ) -> Result<Slot, ErrorCode> {
        k01_fetch::judge_fetch_epoch(believed, epoch)?;
        let slot = self.partitions.slot_of(id);
        let slot = slot.ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
        if self.partitions.is_unrecovered(slot) {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        k01_fetch::judge_follower(terms, believed)?;
        if let Some(partition) = self.partitions.get(slot) {
            let stored = partition.log.settings.compression_type;
            k01_fetch::judge_codec(stored, terms.version)?;
        }
        Ok(slot)
    }

    /// Reads one partition. `None`: older data is on its way.
    #[expect(clippy::too_many_arguments, reason = "one read, fully named")]
    fn read_partition(
        &mut self,
        key: FetchKey,
        slot: Slot,
        plan: &PlanPartition,
        terms: &FetchTerms,
        left: usize,
        first: bool,
        effects: &mut Effects<Message>,
    ) -> Option<Answered> {
        let ask = &plan.ask;
        let index = ask.partition.partition;
        let partition = self.partitions.get(slot)?;
        let log = &partition.log;
        let limit = match terms.read_committed {
            true => log.last_stable(),
            false => log.high_watermark(),
        };
        let mut data = PartitionData {
            partition_index: index,
            error_code: ErrorCode::NONE,
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable(),
            log_start_offset: log.log_start(),
            aborted_transactions: terms.read_committed.then(Vec::new),
            records: Some(Records::new()),
            ..PartitionData::default()
        };
        let lineage = k01_fetch::judge_lineage(
            ask.last_fetched_epoch,
            ask.fetch_offset,
            &log.epochs,
            log.log_end(),
        );
        match lineage {
            Lineage::Same => {}
            Lineage::Diverging(end) => return Some(urgent(k01_fetch::diverging(data, end))),
            Lineage::Unknown => return Some(out_of_range(index)),
        }
        let bytes_max = usize::try_from(ask.max_bytes).unwrap_or(0).min(left);
        let batches = match log.plan_read(ask.fetch_offset, limit, bytes_max, first) {
            ReadPlan::OutOfRange => return Some(out_of_range(index)),
            ReadPlan::Nothing => Vec::new(),
            ReadPlan::Memory(batches) => batches,
            ReadPlan::Disk { .. } if left == 0 && !first => Vec::new(),
            ReadPlan::Disk { .. } => {
                match self.older(slot, ask.fetch_offset, Reader::Fetch(key), effects) {
                    Older::Batches(batches) => whole_batches(batches, limit, bytes_max, first),
                    Older::Loading => return None,
                    Older::Failed => {
                        let code = ErrorCode::KAFKA_STORAGE_ERROR;
                        return Some(urgent(k01_fetch::refused(index, code, true)));
                    }
                }
            }
        };
        let mut records = Records::new();
        for batch in batches {
            records.push(batch);
        }
        let bytes = records.len();
        data.records = Some(records);
        Some(Answered {
            data,
            bytes,
            urgent: false,
        })
    }

    fn unwatch(&mut self, key: FetchKey, fetch: &Fetch) {
        if fetch.watching {
            self.watchers.unwatch(key);
        }
        if let Some(timer) = fetch.timer {
            self.wheel.cancel(timer);
        }
    }

    /// Looks again at every fetch parked on a partition.
    pub(super) fn wake_watchers(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        if !self.watchers.is_watched(slot) {
            return;
        }
        let keys: Vec<FetchKey> = self.watchers.tickets(slot).collect();
        for key in keys {
            self.evaluate_fetch(now, key, effects);
        }
    }

    /// The client of these fetches is gone.
    pub(super) fn forget_fetches_of(&mut self, connection: ConnectionId) {
        let gone: Vec<FetchKey> = self
            .fetches
            .open
            .iter()
            .filter(|(_, fetch)| fetch.connection == connection)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            if let Some(fetch) = self.fetches.open.remove(&key) {
                self.unwatch(key, &fetch);
            }
        }
    }

    /// Looks again at every open fetch: ownership changed.
    pub(super) fn wake_all_fetches(&mut self, now: Now, effects: &mut Effects<Message>) {
        let mut keys: Vec<FetchKey> = self.fetches.open.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.evaluate_fetch(now, key, effects);
        }
    }

    /// Answers every parked fetch with what is there: the shard drains.
    pub(super) fn end_fetches(&mut self, now: Now, effects: &mut Effects<Message>) {
        let mut keys: Vec<FetchKey> = self.fetches.open.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.try_fetch(now, key, true, effects);
        }
    }

    fn answer_fetch(&mut self, now: Now, fetch: Fetch, gathered: Gathered) {
        let facts: Vec<AnswerFacts> = gathered
            .partitions
            .iter()
            .zip(&gathered.not_read)
            .map(|(data, not_read)| facts_of(data, *not_read))
            .collect();
        let topics: Vec<session::TopicRef> = fetch
            .context
            .plan()
            .iter()
            .map(|plan| plan.ask.partition.topic.clone())
            .collect();
        let random = (self.random() >> 32) as u32;
        let (version, correlation_id) = (fetch.terms.version, fetch.correlation_id);
        let answer = self.sessions.finish(now, random, fetch.context, &facts);
        let frame = match answer.refusal {
            Some(refusal) => refused_whole(refusal, answer.session_id, version, correlation_id),
            None => {
                let mut response = FetchResponse {
                    session_id: answer.session_id,
                    // Followers know their brokers: Kafka names none to them.
                    node_endpoints: match fetch.terms.is_follower {
                        true => Vec::new(),
                        false => gathered.endpoints,
                    },
                    ..FetchResponse::default()
                };
                let mut data: Vec<Option<PartitionData>> =
                    gathered.partitions.into_iter().map(Some).collect();
                for at in answer.partitions {
                    let taken = data.get_mut(at).and_then(Option::take);
                    if let (Some(topic), Some(data)) = (topics.get(at), taken) {
                        push_partition(&mut response, topic, data);
                    }
                }
                ResponseFrame::of(version, correlation_id, &response)
            }
        };
        self.answer(
            fetch.connection,
            fetch.request,
            connection::Slot::Ready(frame),
        );
    }
}

impl Fetch {
    /// Its wait was over before, when data was still on its way.
    fn over(&self) -> bool {
        self.terms.max_wait_ms <= 0
    }
}

fn urgent(data: PartitionData) -> Answered {
    Answered {
        data,
        bytes: 0,
        urgent: true,
    }
}

fn out_of_range(index: PartitionIndex) -> Answered {
    urgent(k01_fetch::refused(
        index,
        ErrorCode::OFFSET_OUT_OF_RANGE,
        true,
    ))
}

/// As many of the batches as fit, below `limit`.
fn whole_batches(
    batches: Vec<crate::log::tail::StoredBatch>,
    limit: Offset,
    bytes_max: usize,
    at_least_one: bool,
) -> Vec<Bytes> {
    let mut taken = Vec::new();
    let mut bytes = 0usize;
    for batch in batches {
        bytes = bytes.saturating_add(batch.bytes.len());
        let first = taken.is_empty() && at_least_one;
        if batch.last_offset >= limit || (bytes > bytes_max && !first) {
            break;
        }
        taken.push(batch.bytes);
    }
    taken
}

fn facts_of(data: &PartitionData, not_read: bool) -> AnswerFacts {
    AnswerFacts {
        error: data.error_code.0,
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
        records_bytes: data.records.as_ref().map_or(0, Records::len),
        diverging: data.diverging_epoch.end_offset.0 >= 0,
        preferred_replica: data.preferred_read_replica.0 >= 0,
        not_read,
    }
}

/// An answer that is an error of the whole request.
fn refused_whole(
    refusal: SessionRefusal,
    session_id: i32,
    version: i16,
    correlation_id: i32,
) -> Vec<Bytes> {
    let response = FetchResponse {
        error_code: match refusal {
            SessionRefusal::IdNotFound => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            SessionRefusal::InvalidEpoch => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            SessionRefusal::TopicIdError => ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
        },
        session_id,
        ..FetchResponse::default()
    };
    ResponseFrame::of(version, correlation_id, &response)
}

/// Adds a partition, joining neighbours of one topic.
fn push_partition(response: &mut FetchResponse, topic: &session::TopicRef, data: PartitionData) {
    let same = response.responses.last().is_some_and(|last| match topic {
        session::TopicRef::Name(name) => *last.topic == **name,
        session::TopicRef::Id(id) => last.topic_id == *id,
    });
    if !same {
        let mut next = FetchableTopicResponse::default();
        match topic {
            session::TopicRef::Name(name) => next.topic = (&**name).into(),
            session::TopicRef::Id(id) => next.topic_id = *id,
        }
        response.responses.push(next);
    }
    if let Some(last) = response.responses.last_mut() {
        last.partitions.push(data);
    }
}
