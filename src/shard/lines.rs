//! Produce requests that are not appended yet: a batch of theirs is too large to be looked into within
//! a turn, or an earlier request of their connection waits for such a one.
//!
//! Owns one line for each connection. Batches are looked into out of order and ahead of time, by a
//! few requests; requests are appended strictly in the order in which they came, each as a whole,
//! so that the sequence numbers of idempotent producers arrive as they were sent. Other connections
//! know nothing of it. What the partition is by then is asked anew when it is appended to.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::api::k00_produce::{Admitted, Refused};
use crate::devices::{ConnectionId, Effects, Fault, Output};
use crate::log::append_rules::LogSettings;
use crate::shard::connection::RequestNumber;
use crate::shard::looks::{self, Asker, Judgements, Unseen};
use crate::shard::ops::Op;
use crate::shard::partition::Slot;
use crate::shard::produce::ProduceKey;
use crate::shard::{Life, Message, Shard, jobs};
use crate::wire::error_code::ErrorCode;
use crate::wire::record::check::CheckedBatch;
use crate::words::limits::{ABANDONED_BYTES_MAX, ABANDONED_REQUEST_BYTES_MIN, LOOKS_AHEAD_MAX};
use crate::words::{Now, TopicPartition};

/// A batch that waits to be appended.
pub(super) struct Held {
    /// Places of its topic and its partition in the answer.
    pub at: (usize, usize),
    pub slot: Slot,
    pub topic_partition: TopicPartition,
    /// As it came.
    pub batch: CheckedBatch,
    /// By which it is judged.
    pub settings: Arc<LogSettings>,
    pub look: Look,
}

/// How far the look into a batch has come.
pub(super) enum Look {
    Unseen,
    /// On an offload thread.
    Underway,
    Judged(Result<Admitted, Refused>),
}

/// A request in its line.
struct InLine {
    request: RequestNumber,
    /// When it came.
    now: Now,
    held: Vec<Held>,
    /// It waits for an offload thread, or has one.
    asked: bool,
    /// Bytes of batches that were packed anew, which count against the shard's budget of requests.
    packed_bytes: usize,
    /// Its client has left.
    abandoned: bool,
}

impl InLine {
    fn is_judged(&self) -> bool {
        self.held
            .iter()
            .all(|held| matches!(held.look, Look::Judged(_)))
    }

    fn wants_look(&self) -> bool {
        let unseen = |held: &Held| matches!(held.look, Look::Unseen);
        !self.asked && self.held.iter().any(unseen)
    }

    /// What it counts for once its client has left.
    fn abandoned_bytes(&self) -> usize {
        let bytes: usize = self.held.iter().map(|held| held.batch.bytes.len()).sum();
        bytes.max(ABANDONED_REQUEST_BYTES_MIN)
    }
}

/// All lines of a shard.
#[derive(Default)]
pub struct Lines {
    of: HashMap<ConnectionId, VecDeque<InLine>>,
    abandoned_bytes: usize,
}

impl Lines {
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Requests of a connection that are not appended yet.
    pub(super) fn len_of(&self, connection: ConnectionId) -> usize {
        self.of.get(&connection).map_or(0, VecDeque::len)
    }

    fn find(&mut self, key: ProduceKey) -> Option<&mut InLine> {
        let line = self.of.get_mut(&key.connection)?;
        line.iter_mut().find(|one| one.request == key.request)
    }
}

impl Shard {
    /// A request whose batches cannot all be appended now goes to the end of its line.
    pub(super) fn stand_in_line(
        &mut self,
        now: Now,
        key: ProduceKey,
        held: Vec<Held>,
        effects: &mut Effects<Message>,
    ) {
        let line = self.lines.of.entry(key.connection).or_default();
        line.push_back(InLine {
            request: key.request,
            now,
            held,
            asked: false,
            packed_bytes: 0,
            abandoned: false,
        });
        self.ask_for_looks(key.connection, effects);
    }

    /// Has the first requests of a line looked into.
    fn ask_for_looks(&mut self, connection: ConnectionId, effects: &mut Effects<Message>) {
        let line = self.lines.of.get_mut(&connection).into_iter().flatten();
        for one in line.take(LOOKS_AHEAD_MAX).filter(|one| one.wants_look()) {
            one.asked = true;
            self.looks.wait(Asker::Produce(ProduceKey {
                connection,
                request: one.request,
            }));
        }
        self.start_looks(effects);
    }

    /// It is the turn of a request in line: all of its batches that nobody has looked into.
    pub(super) fn look_for_produce(&mut self, key: ProduceKey, effects: &mut Effects<Message>) {
        let strict = self.config.strict_validation;
        let Some(one) = self.lines.find(key) else {
            return;
        };
        let now = one.now;
        let mut unseen = Vec::new();
        for (place, held) in one.held.iter_mut().enumerate() {
            if matches!(held.look, Look::Unseen) {
                held.look = Look::Underway;
                unseen.push(Unseen {
                    place,
                    batch: held.batch.clone(),
                    settings: Arc::clone(&held.settings),
                    now,
                });
            }
        }
        let job = looks::admit_batches(unseen, strict);
        self.start_look(Op::LookForProduce { key }, job, effects);
    }

    /// A look came back; maybe the line moves.
    pub(super) fn looked_for_produce(
        &mut self,
        now: Now,
        key: ProduceKey,
        result: Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        self.looks.ended();
        if let Some(one) = self.lines.find(key) {
            let packed = one.take_judgements(jobs::output::<Judgements>(result));
            self.request_bytes = self.request_bytes.saturating_add(packed);
            self.move_line(now, key.connection, effects);
        }
        self.ask_for_looks(key.connection, effects);
    }

    /// Appends the requests at the front of a line that are known whole.
    fn move_line(&mut self, now: Now, connection: ConnectionId, effects: &mut Effects<Message>) {
        while let Some(line) = self.lines.of.get_mut(&connection) {
            let Some(front) = line.front_mut() else {
                self.lines.of.remove(&connection);
                return;
            };
            for held in &mut front.held {
                // Settings that changed meanwhile judge anew.
                let settings = self.partitions.get(held.slot).map(|p| &p.log.settings);
                let other = settings.filter(|settings| !Arc::ptr_eq(settings, &held.settings));
                if let (Some(settings), Look::Judged(_)) = (other, &held.look) {
                    held.settings = Arc::clone(settings);
                    held.look = Look::Unseen;
                }
            }
            if !front.is_judged() {
                return;
            }
            let Some(front) = line.pop_front() else {
                return;
            };
            self.leaves_line(&front);
            let key = ProduceKey {
                connection,
                request: front.request,
            };
            for held in &front.held {
                self.append_held(now, key, held, effects);
            }
        }
    }

    fn leaves_line(&mut self, one: &InLine) {
        self.request_bytes = self.request_bytes.saturating_sub(one.packed_bytes);
        if one.abandoned {
            let bytes = one.abandoned_bytes();
            self.lines.abandoned_bytes = self.lines.abandoned_bytes.saturating_sub(bytes);
        }
    }

    /// The client has left. What it sent is appended all the same, as for one that asked for no
    /// answers and hung up, unless too many have done so.
    pub(super) fn abandon_line(&mut self, connection: ConnectionId) {
        let Some(line) = self.lines.of.get_mut(&connection) else {
            return;
        };
        let bytes = line.iter().map(InLine::abandoned_bytes).sum::<usize>();
        let after = self.lines.abandoned_bytes.saturating_add(bytes);
        if self.life != Life::Serving || after > ABANDONED_BYTES_MAX {
            self.drop_line(connection);
            return;
        }
        line.iter_mut().for_each(|one| one.abandoned = true);
        self.lines.abandoned_bytes = after;
    }

    fn drop_line(&mut self, connection: ConnectionId) {
        for one in self.lines.of.remove(&connection).unwrap_or_default() {
            self.leaves_line(&one);
            self.produces.forget(ProduceKey {
                connection,
                request: one.request,
            });
        }
    }

    /// On the way out nobody waits for those who left.
    pub(super) fn drop_abandoned_lines(&mut self) {
        let gone = |id: &&ConnectionId| !self.connections.contains_key(id);
        let gone: Vec<ConnectionId> = self.lines.of.keys().filter(gone).copied().collect();
        for connection in gone {
            self.drop_line(connection);
        }
    }
}

impl InLine {
    /// Takes what a look found out; bytes of batches that were packed anew.
    fn take_judgements(&mut self, result: Result<Judgements, Fault>) -> usize {
        self.asked = false;
        let mut packed = 0usize;
        match result {
            Ok(Judgements(judged)) => {
                for (place, verdict) in judged {
                    let Some(held) = self.held.get_mut(place) else {
                        continue;
                    };
                    if let Ok(admitted) = &verdict
                        && admitted.batch.bytes.as_ptr() != held.batch.bytes.as_ptr()
                    {
                        packed = packed.saturating_add(admitted.batch.bytes.len());
                    }
                    held.look = Look::Judged(verdict);
                }
                self.end_look(|| Look::Unseen);
            }
            Err(fault) => {
                tracing::error!(error = %fault.error, "a look into produced batches failed");
                let refused = Refused::plain(ErrorCode::UNKNOWN_SERVER_ERROR);
                self.end_look(|| Look::Judged(Err(refused.clone())));
            }
        }
        self.packed_bytes = self.packed_bytes.saturating_add(packed);
        packed
    }

    /// What the look did not come to.
    fn end_look(&mut self, becomes: impl Fn() -> Look) {
        for held in &mut self.held {
            if matches!(held.look, Look::Underway) {
                held.look = becomes();
            }
        }
    }
}
