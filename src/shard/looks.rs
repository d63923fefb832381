//! Looks into batches that are too much for a turn: decompression, walks over records, packing anew.
//!
//! Owns the order in which requests get an offload thread, and what is left of the present turn's
//! allowance. Whoever waits here is named by its key and holds its own state (`lines`, `lookup`). A
//! look ends after a bounded amount of work, and what is left of its request goes to the end of the
//! line, so that a request full of bombs delays others by one of them at a time.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::api::k00_produce::{self, Admitted, NotAdmitted, Refused};
use crate::devices::{Effect, Effects, Job};
use crate::log::append_rules::LogSettings;
use crate::log::tail::StoredBatch;
use crate::shard::lookup::LookupKey;
use crate::shard::ops::Op;
use crate::shard::produce::ProduceKey;
use crate::shard::{Message, Shard};
use crate::wire::record::check::CheckedBatch;
use crate::wire::record::slice::{find_timestamp, max_timestamp_record};
use crate::wire::record::{Allowance, BatchHeader};
use crate::words::limits::{LOOK_BYTES_MAX, LOOKS_IN_FLIGHT_MAX};
use crate::words::{LeaderEpoch, Now, Offset, TimestampMs};

/// Who waits for a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    Produce(ProduceKey),
    Lookup(LookupKey),
}

/// All looks of a shard.
pub struct Looks {
    /// What is left of it in this turn.
    pub(super) turn: Allowance,
    /// Each an open request or one in `lines`, once, or one that has gone and is passed over. Not
    /// empty only while all places are taken, so that the end of a look is what calls the next.
    waiting: VecDeque<Asker>,
    in_flight: usize,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks {
            turn: Allowance::of_a_turn(),
            waiting: VecDeque::new(),
            in_flight: 0,
        }
    }
}

impl Looks {
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < LOOKS_IN_FLIGHT_MAX
    }

    pub(super) fn wait(&mut self, asker: Asker) {
        self.waiting.push_back(asker);
    }

    /// A look came back.
    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

impl Shard {
    /// Starts looks while there is room for them.
    pub(super) fn start_looks(&mut self, effects: &mut Effects<Message>) {
        while self.looks.has_room() {
            match self.looks.waiting.pop_front() {
                None => return,
                Some(Asker::Produce(key)) => self.look_for_produce(key, effects),
                Some(Asker::Lookup(key)) => self.look_for_lookup(key, effects),
            }
        }
    }

    /// Hands a look to an offload thread.
    pub(super) fn start_look(&mut self, op: Op, job: Job, effects: &mut Effects<Message>) {
        self.looks.in_flight += 1;
        let op = self.ops.start(op);
        effects.push(Effect::Compute { op, job });
    }
}

/// A batch that nobody has looked into.
pub(super) struct Unseen {
    /// Its place in its request.
    pub place: usize,
    pub batch: CheckedBatch,
    pub settings: Arc<LogSettings>,
    /// When it came.
    pub now: Now,
}

/// What was found out about batches, by their places; those that are not named come later.
pub(super) struct Judgements(pub Vec<(usize, Result<Admitted, Refused>)>);

/// Admits batches of one request, or some of them: at least one.
pub(super) fn admit_batches(batches: Vec<Unseen>, strict: bool) -> Job {
    Box::new(move |_| {
        let mut purse = Allowance::whole();
        let mut judged = Vec::new();
        for unseen in batches {
            if purse.spent_bytes() >= LOOK_BYTES_MAX {
                break;
            }
            let Unseen {
                place,
                batch,
                settings,
                now,
            } = unseen;
            let verdict = k00_produce::admit(&batch, &settings, now, strict, &mut purse);
            judged.push((place, verdict.map_err(refused)));
        }
        done(Judgements(judged))
    })
}

fn refused(why: NotAdmitted) -> Refused {
    match why {
        NotAdmitted::Refused(refused) => refused,
        NotAdmitted::TooLarge => k00_produce::expands_too_far(),
    }
}

/// What a search looks for in batches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sought {
    /// The first record at or after a time, not below an offset.
    Time(TimestampMs, Offset),
    /// The first record with the largest timestamp of the first batch.
    Largest,
}

/// What a search found in some batches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    Found {
        offset: Offset,
        timestamp: TimestampMs,
        leader_epoch: LeaderEpoch,
    },
    /// Not below `next`.
    Nothing { next: Offset },
    /// A batch is not what was stored.
    Rotten,
    /// The allowance is spent; nothing is known of `next` and what follows.
    TooLarge { next: Offset },
}

/// Searches batches that follow each other, with what `purse` allows.
pub(super) fn search_batches(
    batches: &[StoredBatch],
    sought: Sought,
    purse: &mut Allowance,
) -> Seen {
    use crate::wire::record::{CompressionFault, ReadFault};
    let mut next = Offset(0);
    for batch in batches {
        let found = match sought {
            Sought::Time(target, _) if batch.max_timestamp < target => Ok(None),
            Sought::Time(target, from) => find_timestamp(&batch.bytes, target, from, purse),
            Sought::Largest => max_timestamp_record(&batch.bytes, purse),
        };
        match found {
            Ok(Some((offset, timestamp))) => {
                return Seen::Found {
                    offset,
                    timestamp,
                    leader_epoch: epoch_of(batch),
                };
            }
            Ok(None) => {}
            Err(ReadFault::Compression(CompressionFault::TooLarge)) => {
                return Seen::TooLarge {
                    next: batch.base_offset,
                };
            }
            Err(_) => return Seen::Rotten,
        }
        next = Offset(batch.last_offset.0.saturating_add(1));
    }
    Seen::Nothing { next }
}

/// As [`search_batches`], on an offload thread: all of them, or the first few.
pub(super) fn search_elsewhere(batches: Vec<StoredBatch>, sought: Sought) -> Job {
    Box::new(move |_| {
        let mut purse = Allowance::whole();
        let mut seen = Seen::Rotten;
        for batch in batches {
            seen = match search_batches(&[batch], sought, &mut purse) {
                // Past what any batch may expand to.
                Seen::TooLarge { .. } => Seen::Rotten,
                seen => seen,
            };
            let go_on = matches!(seen, Seen::Nothing { .. });
            if !go_on || purse.spent_bytes() >= LOOK_BYTES_MAX {
                break;
            }
        }
        done(seen)
    })
}

fn epoch_of(batch: &StoredBatch) -> LeaderEpoch {
    BatchHeader::parse(&batch.bytes).map_or(LeaderEpoch(-1), |header| header.leader_epoch)
}

fn done<T: Any + Send>(value: T) -> Result<Box<dyn Any + Send>, io::Error> {
    Ok(Box::new(value))
}
