//! The sessions of a shard: finding, changing, making and evicting them.
//!
//! Owns every session and the account of their memory. Never answers by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::session::context::{Kind, Sent, resolve};
use crate::session::{
    AnswerFacts, AskPartition, FINAL_EPOCH, FetchAnswer, FetchAsk, FetchContext, INITIAL_EPOCH,
    NO_SESSION_ID, PartitionRef, PlanPartition, SessionRefusal, TOPIC_IDS_SINCE_VERSION, TopicRef,
};
use crate::words::limits::{
    FETCH_SESSION_IDLE_MS_MAX, FETCH_SESSION_PARTITIONS_MAX, FETCH_SESSIONS_BYTES_MAX,
    FETCH_SESSIONS_MAX,
};
use crate::words::{Now, Offset, PartitionIndex, TopicId};

const IDLE_NS_MAX: u64 = FETCH_SESSION_IDLE_MS_MAX * 1_000_000;
/// Estimate for one cached partition without its topic's name: the entry in the order, and the
/// entry in the index at half load.
const PARTITION_BYTES: usize = size_of::<(u64, Cached)>() + 2 * size_of::<(PartitionRef, u64)>();

const _: () = assert!(PARTITION_BYTES <= 256);

/// Bounds of a shard's sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSessionLimits {
    /// `max.incremental.fetch.session.cache.slots`; 0 makes every fetch sessionless.
    pub sessions_max: usize,
    pub partitions_per_session_max: usize,
    /// Estimated memory of all sessions.
    pub bytes_max: usize,
}

impl Default for FetchSessionLimits {
    fn default() -> FetchSessionLimits {
        FetchSessionLimits {
            sessions_max: FETCH_SESSIONS_MAX,
            partitions_per_session_max: FETCH_SESSION_PARTITIONS_MAX,
            bytes_max: FETCH_SESSIONS_BYTES_MAX,
        }
    }
}

/// The fetch sessions of one shard.
pub struct FetchSessions {
    limits: FetchSessionLimits,
    sessions: HashMap<i32, Session>,
    next_serial: u64,
    /// Sum over all sessions.
    bytes: usize,
    partitions: usize,
    evictions: u64,
}

struct Session {
    serial: u64,
    /// Made by a follower.
    privileged: bool,
    by_id: bool,
    created_ns: u64,
    last_used_ns: u64,
    /// Was used when it was older than the idle limit. Only such a session makes way for a larger
    /// one of its own rank: a burst of newcomers shall not chase each other out.
    seasoned: bool,
    /// Of the next request.
    epoch: i32,
    /// In the order in which they are read; a place is never given twice.
    order: BTreeMap<u64, Cached>,
    places: HashMap<PartitionRef, u64>,
    next_place: u64,
    bytes: usize,
}

struct Cached {
    ask: AskPartition,
    name: Option<Arc<str>>,
    sent: Sent,
}

impl FetchSessions {
    pub fn new(limits: FetchSessionLimits) -> FetchSessions {
        FetchSessions {
            limits,
            sessions: HashMap::new(),
            next_serial: 0,
            bytes: 0,
            partitions: 0,
            evictions: 0,
        }
    }

    /// Takes a request in: closes, changes or moves on its session, and says what to read.
    /// `name_of` is today's name of a topic id. A refusal is answered with session id 0 and no
    /// partitions.
    pub fn begin(
        &mut self,
        now: Now,
        ask: FetchAsk,
        name_of: impl Fn(TopicId) -> Option<Arc<str>>,
    ) -> Result<FetchContext, SessionRefusal> {
        let kind = match ask.epoch {
            INITIAL_EPOCH => Kind::Full {
                by_id: ask.version >= TOPIC_IDS_SINCE_VERSION,
                privileged: ask.is_follower,
            },
            FINAL_EPOCH => Kind::Sessionless,
            _ => return self.begin_incremental(now, ask, name_of),
        };
        self.remove(ask.session_id);
        Ok(FetchContext::full(kind, ask.partitions, name_of))
    }

    fn begin_incremental(
        &mut self,
        now: Now,
        ask: FetchAsk,
        name_of: impl Fn(TopicId) -> Option<Arc<str>>,
    ) -> Result<FetchContext, SessionRefusal> {
        let id = ask.session_id;
        let by_id = ask.version >= TOPIC_IDS_SINCE_VERSION;
        let session = self.sessions.get(&id).ok_or(SessionRefusal::IdNotFound)?;
        if session.epoch != ask.epoch {
            return Err(SessionRefusal::InvalidEpoch);
        }
        if session.by_id != by_id {
            return Err(SessionRefusal::TopicIdError);
        }
        // Out of the cache while it changes, so that the accounts are right by construction.
        let mut session = self.remove(id).ok_or(SessionRefusal::IdNotFound)?;
        session
            .update(&ask, self.limits.partitions_per_session_max)
            .ok_or(SessionRefusal::IdNotFound)?;
        if session.order.is_empty() {
            return Ok(FetchContext::full(
                Kind::Sessionless,
                ask.partitions,
                name_of,
            ));
        }
        session.touch(now);
        session.epoch = next_epoch(session.epoch);
        let context = session.context(id, name_of);
        // Grown past the memory of the shard: less worthy ones go, or else this one stays out.
        while session.bytes > self.limits.bytes_max.saturating_sub(self.bytes) {
            if !self.evict_for(now, session.privileged, session.order.len()) {
                return Err(SessionRefusal::IdNotFound);
            }
        }
        self.put(id, session);
        Ok(context)
    }

    /// Ends a fetch with what was found, one fact for each partition of the plan, in its order.
    /// A full fetch gets its session here (`random` picks its id), if there is room for one; an
    /// incremental one notes what the fetcher knows from now on. A session that has gone on
    /// meanwhile refuses; one that is gone answers as if it were there, and the next request
    /// will learn it.
    pub fn finish(
        &mut self,
        now: Now,
        random: u32,
        context: FetchContext,
        facts: &[AnswerFacts],
    ) -> FetchAnswer {
        debug_assert_eq!(context.plan.len(), facts.len());
        if let Some(overtaken) = self.overtaken(&context) {
            return overtaken;
        }
        let partitions = context.answered(facts);
        let session_id = match context.kind {
            Kind::Sessionless => NO_SESSION_ID,
            Kind::Full { by_id, privileged } => {
                let session = Session::new(now, self.next_serial, by_id, privileged);
                let session = session.filled(context.plan, &partitions, facts);
                self.admit(now, random, session)
            }
            Kind::Incremental {
                session_id, serial, ..
            } => {
                let session = self.sessions.get_mut(&session_id);
                if let Some(session) = session.filter(|session| session.serial == serial) {
                    session.note_sent(&context.plan, &partitions, facts);
                }
                session_id
            }
        };
        FetchAnswer {
            refusal: None,
            session_id,
            partitions,
        }
    }

    /// Ends a fetch with nothing (a quota is used up): the fetcher learns nothing, a full fetch
    /// makes no session, and an incremental one stays good for the next request.
    pub fn finish_empty(&self, context: &FetchContext) -> FetchAnswer {
        self.overtaken(context).unwrap_or(FetchAnswer {
            refusal: None,
            session_id: context.session_id().unwrap_or(NO_SESSION_ID),
            partitions: Vec::new(),
        })
    }

    /// The refusal of a fetch whose session took another request meanwhile. Unlike those of
    /// [`FetchSessions::begin`] it names the session.
    fn overtaken(&self, context: &FetchContext) -> Option<FetchAnswer> {
        let Kind::Incremental {
            session_id,
            serial,
            epoch,
        } = context.kind
        else {
            return None;
        };
        let session = self.sessions.get(&session_id)?;
        (session.serial == serial && session.epoch != epoch).then_some(FetchAnswer {
            refusal: Some(SessionRefusal::InvalidEpoch),
            session_id,
            partitions: Vec::new(),
        })
    }

    /// Sessions (Kafka's metric `NumIncrementalFetchSessions`).
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Partitions of all sessions (Kafka's metric `NumIncrementalFetchPartitionsCached`).
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Sessions that ever had to make way (Kafka's `IncrementalFetchSessionEvictionsPerSec`).
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Estimated memory of all sessions.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn set_next_epoch(&mut self, id: i32, epoch: i32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.epoch = epoch;
        }
    }

    /// Puts a new session into the cache if there is room or can be made; returns its id, or 0.
    fn admit(&mut self, now: Now, random: u32, session: Session) -> i32 {
        let fits = session.order.len() <= self.limits.partitions_per_session_max
            && session.bytes <= self.limits.bytes_max;
        if !fits {
            return NO_SESSION_ID;
        }
        while self.sessions.len() >= self.limits.sessions_max
            || session.bytes > self.limits.bytes_max.saturating_sub(self.bytes)
        {
            if !self.evict_for(now, session.privileged, session.order.len()) {
                return NO_SESSION_ID;
            }
        }
        let mut id = positive(random);
        // Ends: there are more ids than sessions.
        while self.sessions.contains_key(&id) {
            id = next_epoch(id);
        }
        self.next_serial = self.next_serial.wrapping_add(1);
        self.put(id, session);
        id
    }

    /// Evicts the least worthy session, if it is less worthy than a session of this rank and
    /// size. In this order (`FetchSessionCacheShard.tryEvict`): the one that was idle longest, if
    /// for too long; the smallest of a consumer's; the smallest of a follower's. Followers' go
    /// only when seasoned, consumers' also for a follower.
    ///
    /// Looks at every session, which is no cost as long as there is room.
    fn evict_for(&mut self, now: Now, privileged: bool, partitions: usize) -> bool {
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(id, s)| (s.last_used_ns, **id));
        let stale =
            oldest.filter(|(_, s)| now.mono_ns.saturating_sub(s.last_used_ns) > IDLE_NS_MAX);
        let victim = stale.map(|(id, _)| *id).or_else(|| {
            let open = |s: &Session| s.seasoned || (privileged && !s.privileged);
            let open = self.sessions.iter().filter(|(_, s)| open(s));
            open.map(|(id, s)| (s.privileged, s.order.len(), *id))
                .min()
                .filter(|(rank, size, _)| (*rank, *size) < (privileged, partitions))
                .map(|(_, _, id)| id)
        });
        let evicted = victim.is_some_and(|id| self.remove(id).is_some());
        self.evictions = self.evictions.wrapping_add(u64::from(evicted));
        evicted
    }

    fn put(&mut self, id: i32, session: Session) {
        self.bytes = self.bytes.saturating_add(session.bytes);
        self.partitions = self.partitions.saturating_add(session.order.len());
        self.sessions.insert(id, session);
    }

    fn remove(&mut self, id: i32) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(session.bytes);
        self.partitions = self.partitions.saturating_sub(session.order.len());
        Some(session)
    }
}

impl Session {
    fn new(now: Now, serial: u64, by_id: bool, privileged: bool) -> Session {
        Session {
            serial,
            privileged,
            by_id,
            created_ns: now.mono_ns,
            last_used_ns: now.mono_ns,
            seasoned: false,
            epoch: next_epoch(INITIAL_EPOCH),
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            bytes: 0,
        }
    }

    /// With the partitions of a full fetch, in the order of its answer.
    fn filled(
        mut self,
        plan: Vec<PlanPartition>,
        answered: &[usize],
        facts: &[AnswerFacts],
    ) -> Session {
        let mut plan: Vec<Option<PlanPartition>> = plan.into_iter().map(Some).collect();
        for at in answered {
            let (part, fact) = (plan.get_mut(*at).and_then(Option::take), facts.get(*at));
            if let (Some(part), Some(fact)) = (part, fact) {
                self.add(Cached {
                    ask: part.ask,
                    name: part.name,
                    sent: Sent {
                        high_watermark: fact.high_watermark,
                        log_start_offset: fact.log_start_offset,
                    },
                });
            }
        }
        self
    }

    /// Takes over what an incremental request names, then forgets. `None` when it gets too large.
    fn update(&mut self, ask: &FetchAsk, partitions_max: usize) -> Option<()> {
        for asked in &ask.partitions {
            if let Some(place) = self.places.get(&asked.partition) {
                if let Some(known) = self.order.get_mut(place) {
                    known.ask.take_parameters(asked);
                }
                continue;
            }
            if self.order.len() >= partitions_max {
                return None;
            }
            self.add(Cached {
                ask: asked.clone(),
                name: None,
                sent: Sent::NOTHING,
            });
        }
        for (topic, partitions) in &ask.forgotten {
            for partition in partitions {
                self.forget(topic, *partition);
            }
        }
        Some(())
    }

    fn add(&mut self, cached: Cached) {
        self.bytes = self.bytes.saturating_add(cached.bytes());
        self.places
            .insert(cached.ask.partition.clone(), self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place = self.next_place.wrapping_add(1);
    }

    fn forget(&mut self, topic: &TopicRef, partition: PartitionIndex) {
        let key = PartitionRef {
            topic: topic.clone(),
            partition,
        };
        let place = self.places.remove(&key);
        if let Some(gone) = place.and_then(|place| self.order.remove(&place)) {
            self.bytes = self.bytes.saturating_sub(gone.bytes());
        }
    }

    fn touch(&mut self, now: Now) {
        self.last_used_ns = now.mono_ns;
        self.seasoned = now.mono_ns.saturating_sub(self.created_ns) > IDLE_NS_MAX;
    }

    /// The whole session as a plan, with the names that have become known.
    fn context(&mut self, id: i32, name_of: impl Fn(TopicId) -> Option<Arc<str>>) -> FetchContext {
        let mut plan = Vec::with_capacity(self.order.len());
        for (place, cached) in &mut self.order {
            if cached.name.is_none() {
                cached.name = resolve(&cached.ask.partition.topic, &name_of);
                let name_bytes = cached.name.as_ref().map_or(0, |name| name.len());
                self.bytes = self.bytes.saturating_add(name_bytes);
            }
            plan.push(PlanPartition {
                ask: cached.ask.clone(),
                name: cached.name.clone(),
                place: *place,
                sent: cached.sent,
            });
        }
        FetchContext {
            kind: Kind::Incremental {
                session_id: id,
                serial: self.serial,
                epoch: self.epoch,
            },
            plan,
        }
    }

    /// Notes what an answer told; partitions that gave records go to the back.
    fn note_sent(&mut self, plan: &[PlanPartition], answered: &[usize], facts: &[AnswerFacts]) {
        for at in answered {
            let (Some(part), Some(fact)) = (plan.get(*at), facts.get(*at)) else {
                continue;
            };
            let Some(cached) = self.order.get_mut(&part.place) else {
                continue;
            };
            cached.sent.log_start_offset = fact.log_start_offset;
            // After an error the fetcher knows nothing: the partition is named again once well.
            cached.sent.high_watermark = match fact.error {
                0 => fact.high_watermark,
                _ => Offset::NONE,
            };
            if fact.records_bytes > 0 {
                self.move_to_back(part.place);
            }
        }
    }

    fn move_to_back(&mut self, place: u64) {
        let Some(cached) = self.order.remove(&place) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&cached.ask.partition) {
            *place = self.next_place;
        }
        self.order.insert(self.next_place, cached);
        self.next_place = self.next_place.wrapping_add(1);
    }
}

impl AskPartition {
    fn take_parameters(&mut self, newer: &AskPartition) {
        let AskPartition {
            partition: _,
            current_leader_epoch,
            fetch_offset,
            last_fetched_epoch,
            log_start_offset,
            max_bytes,
        } = *newer;
        self.current_leader_epoch = current_leader_epoch;
        self.fetch_offset = fetch_offset;
        self.last_fetched_epoch = last_fetched_epoch;
        self.log_start_offset = log_start_offset;
        self.max_bytes = max_bytes;
    }
}

impl Cached {
    fn bytes(&self) -> usize {
        let asked = match &self.ask.partition.topic {
            TopicRef::Name(name) => name.len(),
            TopicRef::Id(_) => 0,
        };
        let resolved = self.name.as_ref().map_or(0, |name| name.len());
        PARTITION_BYTES
            .saturating_add(asked)
            .saturating_add(resolved)
    }
}

/// The epoch (or id) after a positive one; wraps to 1, for 0 and -1 have meanings of their own.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// Any number as a positive one, evenly.
fn positive(random: u32) -> i32 {
    i32::try_from(random % i32::MAX.unsigned_abs())
        .unwrap_or(0)
        .saturating_add(1)
}
