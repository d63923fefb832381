//! One fetch between its beginning and its answer: the partitions to read, and what the fetcher
//! knows of each already.
//!
//! Owns copies only, so it outlives its session. Never touches the cache.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::session::{AnswerFacts, AskPartition, PartitionRef, SessionRefusal, TopicRef};
use crate::words::{Offset, TopicId};

/// A fetch in progress; made by `begin`, consumed by `finish`, or simply dropped.
#[derive(Debug)]
pub struct FetchContext {
    pub(super) kind: Kind,
    pub(super) plan: Vec<PlanPartition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Sessionless,
    Full {
        by_id: bool,
        privileged: bool,
    },
    Incremental {
        session_id: i32,
        /// Tells the session from a later one that happens to get the same id.
        serial: u64,
        /// Epoch that the session has as long as no later request has come.
        epoch: i32,
    },
}

/// One partition to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanPartition {
    pub ask: AskPartition,
    /// Name of a topic given by id, as soon as it was known once in this session, even if the
    /// topic is gone by now. So `None`: UNKNOWN_TOPIC_ID (100). `Some`, but the id is nowhere:
    /// INCONSISTENT_TOPIC_ID (103) when another topic has the name, else
    /// UNKNOWN_TOPIC_OR_PARTITION (3).
    pub name: Option<Arc<str>>,
    /// Where the session keeps it.
    pub(super) place: u64,
    pub(super) sent: Sent,
}

/// What the fetcher was told last. All -1: nothing yet, or an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

impl Sent {
    pub const NOTHING: Sent = Sent {
        high_watermark: Offset::NONE,
        log_start_offset: Offset::NONE,
    };
}

/// How to answer a fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchAnswer {
    /// Error of the whole answer, which then names no partition.
    pub refusal: Option<SessionRefusal>,
    /// 0: no session.
    pub session_id: i32,
    /// Partitions to name, as indexes into the plan, in this order.
    pub partitions: Vec<usize>,
}

impl PlanPartition {
    /// The topic's name, however the fetcher named it; see [`PlanPartition::name`].
    pub fn topic_name(&self) -> Option<&Arc<str>> {
        match &self.ask.partition.topic {
            TopicRef::Name(name) => Some(name),
            TopicRef::Id(_) => self.name.as_ref(),
        }
    }
}

impl FetchContext {
    /// The partitions to read, in this order: the client's, and in an incremental fetch those
    /// that gave records lately last, so that none starves behind `max_bytes`.
    pub fn plan(&self) -> &[PlanPartition] {
        &self.plan
    }

    /// The session that the fetch is part of; a full one has none before it is answered.
    pub fn session_id(&self) -> Option<i32> {
        match self.kind {
            Kind::Incremental { session_id, .. } => Some(session_id),
            Kind::Sessionless | Kind::Full { .. } => None,
        }
    }

    /// Whether the answer must name a partition: always, but in an incremental fetch only when
    /// there is something new in it. A moved last stable offset alone is not (as in Kafka's
    /// `CachedPartition.maybeUpdateResponseData`). May be asked at any time while parked, to
    /// estimate the size of the answer.
    pub fn must_answer(&self, index: usize, facts: &AnswerFacts) -> bool {
        let Some(part) = self.plan.get(index) else {
            return false;
        };
        if !matches!(self.kind, Kind::Incremental { .. }) {
            return true;
        }
        facts.error != 0
            || facts.records_bytes > 0
            || facts.high_watermark != part.sent.high_watermark
            || facts.log_start_offset != part.sent.log_start_offset
            || facts.diverging
            || facts.preferred_replica
    }

    /// What an answer with these facts (one for each partition of the plan) names, in its order.
    pub fn answered(&self, facts: &[AnswerFacts]) -> Vec<usize> {
        let pick = |not_read: bool| {
            let named = facts.iter().enumerate();
            named.filter(move |(at, fact)| fact.not_read == not_read && self.must_answer(*at, fact))
        };
        let order = pick(false).chain(pick(true));
        order.map(|(at, _)| at).collect()
    }

    /// A context outside any session, which names every partition.
    pub(super) fn full(
        kind: Kind,
        asked: Vec<AskPartition>,
        name_of: impl Fn(TopicId) -> Option<Arc<str>>,
    ) -> FetchContext {
        let plan = once_each(asked).into_iter().map(|ask| PlanPartition {
            name: resolve(&ask.partition.topic, &name_of),
            ask,
            place: 0,
            sent: Sent::NOTHING,
        });
        FetchContext {
            kind,
            plan: plan.collect(),
        }
    }
}

/// The name behind a topic id; nothing for a topic that has its name already.
pub(super) fn resolve(
    topic: &TopicRef,
    name_of: impl Fn(TopicId) -> Option<Arc<str>>,
) -> Option<Arc<str>> {
    match topic {
        TopicRef::Name(_) => None,
        TopicRef::Id(id) => name_of(*id),
    }
}

/// Each partition once: in the place of its first mention, with the parameters of its last.
fn once_each(mut asked: Vec<AskPartition>) -> Vec<AskPartition> {
    let mut last: HashMap<&PartitionRef, usize> = HashMap::with_capacity(asked.len());
    for (at, ask) in asked.iter().enumerate() {
        last.insert(&ask.partition, at);
    }
    if last.len() == asked.len() {
        return asked;
    }
    let mut places: HashMap<PartitionRef, usize> = HashMap::new();
    let mut once: Vec<AskPartition> = Vec::with_capacity(last.len());
    for ask in asked.drain(..) {
        match places.entry(ask.partition.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(once.len());
                once.push(ask);
            }
            Entry::Occupied(place) => {
                if let Some(first) = once.get_mut(*place.get()) {
                    *first = ask;
                }
            }
        }
    }
    once
}
