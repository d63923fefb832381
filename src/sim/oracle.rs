//! The naive oracle: what one partition must hold, as a list of batches.
//!
//! Owns the batches that were sent, what is known of their places, and every claim about a log:
//! what was acknowledged or shown once is there for ever, in its place, once, whole, in order.
//! Knows nothing of how the broker works.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::batch::{self, BodyKey};
use crate::words::ProducerId;

/// Number of a batch in its partition's oracle.
pub type BatchNumber = usize;

/// A batch as it was sent.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The whole batch, for sending it again.
    pub bytes: Bytes,
    pub count: i64,
    /// Timestamps of its records.
    pub timestamps: Vec<i64>,
    /// The connection it was first sent on, and its place among those sent there.
    pub lane: u64,
    pub lane_place: u64,
    pub producer: Option<(ProducerId, i32)>,
    /// Start of the broker in which it was first sent.
    pub life: u32,
    pub fate: Fate,
    /// Its base offset, once known.
    pub base: Option<i64>,
}

/// What the client knows of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// No answer yet, or none ever: it may be stored.
    Unknown,
    Stored,
    /// The broker said, in words that leave no doubt, that it does not take it; or it was never
    /// sent whole.
    Refused,
}

/// One partition.
#[derive(Default)]
pub struct PartitionOracle {
    pub batches: Vec<Batch>,
    by_body: HashMap<BodyKey, BatchNumber>,
    /// Batches whose place is known, by base offset.
    placed: BTreeMap<i64, BatchNumber>,
    /// Largest high watermark ever shown.
    pub high_watermark: i64,
    /// Largest log start ever shown.
    pub log_start: i64,
    /// Retention may take the oldest records.
    pub forgets: bool,
    /// The broker stamps records with its own time.
    pub stamps: bool,
    /// Furthest offset up to which somebody asked to delete records.
    pub deletable_to: i64,
    /// Log start that an answer to such a request promised: for ever.
    log_start_promised: i64,
    /// The disk failed in its time: a batch may be refused for want of storage, and the next one of
    /// its connection be taken.
    pub troubled: bool,
    /// Rot was put into its files: it may refuse to answer, never answer with something else.
    pub rotten: bool,
}

type Claim<T = ()> = Result<T, String>;

fn claim(holds: bool, what: impl FnOnce() -> String) -> Claim {
    if holds { Ok(()) } else { Err(what()) }
}

impl PartitionOracle {
    pub fn sent(&mut self, batch: Batch) -> BatchNumber {
        let number = self.batches.len();
        let before = self.by_body.insert(batch::body_key(&batch.bytes), number);
        assert!(before.is_none(), "no body is sent twice");
        self.batches.push(batch);
        number
    }

    /// The broker said that it does not take a batch.
    pub fn refused(&mut self, number: BatchNumber) -> Claim {
        let batch = &mut self.batches[number];
        claim(batch.base.is_none() && batch.fate != Fate::Stored, || {
            format!("batch {number} is refused, and was at {:?}", batch.base)
        })?;
        batch.fate = Fate::Refused;
        Ok(())
    }

    /// The broker no longer knows where, but the batch must be in the log.
    pub fn is_somewhere(&mut self, number: BatchNumber) {
        self.batches[number].fate = Fate::Stored;
    }

    /// Log start after an answered request to delete records.
    pub fn deleted_to(&mut self, asked: i64, low: i64) -> Claim {
        claim(low >= asked, || {
            format!("records to {asked} were to go, the log starts at {low}")
        })?;
        self.log_start = self.log_start.max(low);
        self.log_start_promised = self.log_start_promised.max(low);
        Ok(())
    }

    /// The broker ended without order: a log start that was only shown may be forgotten.
    pub fn ended_at_once(&mut self) {
        self.log_start = self.log_start_promised;
    }

    /// The broker said that a batch is stored at `base`.
    pub fn acknowledged(&mut self, number: BatchNumber, base: i64) -> Claim {
        self.place(number, base)?;
        self.batches[number].fate = Fate::Stored;
        let end = base + self.batches[number].count;
        self.high_watermark = self.high_watermark.max(end);
        Ok(())
    }

    /// A batch is at `base`: it is nowhere else, and nothing else is there.
    fn place(&mut self, number: BatchNumber, base: i64) -> Claim {
        let batch = &self.batches[number];
        let end = base + batch.count;
        claim(batch.fate != Fate::Refused, || {
            format!("batch {number} was refused, and is at {base}")
        })?;
        claim(batch.base.is_none_or(|known| known == base), || {
            format!("batch {number} is at {base}, and was at {:?}", batch.base)
        })?;
        let before = self.placed.range(..base).next_back();
        let overlap_before =
            before.is_some_and(|(at, other)| at + self.batches[*other].count > base);
        let overlap_after = self
            .placed
            .range(base..end)
            .any(|(at, other)| (*at, *other) != (base, number));
        claim(!overlap_before && !overlap_after, || {
            let near: Vec<_> = self.placed.range(..end).rev().take(3).collect();
            format!("batch {number} at {base}..{end} lies over others, near {near:?}")
        })?;
        self.placed.insert(base, number);
        self.batches[number].base = Some(base);
        Ok(())
    }

    /// Batches that were read, of which the first holds `offset`. Gives the offset after them.
    pub fn read(&mut self, offset: i64, records: &[u8]) -> Claim<i64> {
        let mut next = offset;
        let mut rest = records;
        while !rest.is_empty() {
            let seen = batch::see(rest)?;
            rest = rest.get(seen.bytes..).unwrap_or_default();
            let (base, last) = (seen.base, seen.last);
            let number = *self
                .by_body
                .get(&seen.body)
                .ok_or_else(|| format!("nobody sent the batch at {base}"))?;
            let sent = self.batches[number].producer;
            let (producer, sequence) = sent.map_or((-1, -1), |(id, first)| (id.0, first));
            claim(
                (seen.producer, seen.sequence) == (producer, sequence),
                || format!("batch {number} at {base} has another producer: {seen:?}"),
            )?;
            claim(i64::from(seen.count) == self.batches[number].count, || {
                format!("batch {number} at {base} has {} records", seen.count)
            })?;
            let fits = match next == offset {
                true => (base..=last).contains(&offset),
                false => base == next,
            };
            claim(fits, || {
                format!("batch {base}..={last} where {next} is due (asked for {offset})")
            })?;
            claim(last - base + 1 == self.batches[number].count, || {
                format!("batch {number} at {base}..={last} has another length")
            })?;
            self.place(number, base)?;
            next = last + 1;
        }
        Ok(next)
    }

    /// A high watermark and log start that the broker told, to a request sent when `then` was the
    /// largest one known.
    pub fn shown(&mut self, high_watermark: i64, log_start: i64, then: Known) -> Claim {
        claim(high_watermark >= then.high_watermark, || {
            format!(
                "high watermark {high_watermark} after {}",
                then.high_watermark
            )
        })?;
        claim(log_start >= then.log_start, || {
            format!("log start {log_start} after {}", then.log_start)
        })?;
        claim(self.forgets || log_start <= self.deletable_to, || {
            let most = self.deletable_to;
            format!("log start {log_start} where nothing above {most} was to be deleted")
        })?;
        claim(log_start <= high_watermark, || {
            format!("log start {log_start} above high watermark {high_watermark}")
        })?;
        self.high_watermark = self.high_watermark.max(high_watermark);
        self.log_start = self.log_start.max(log_start);
        Ok(())
    }

    pub fn known(&self) -> Known {
        Known {
            high_watermark: self.high_watermark,
            log_start: self.log_start,
        }
    }

    /// The whole log was read from `log_start` to `end`: nothing that must be there is missing,
    /// and the order of sending is the order of storing.
    pub fn complete(&self, log_start: i64, end: i64) -> Claim {
        claim(end >= self.high_watermark, || {
            format!("the log ends at {end}, {} was shown", self.high_watermark)
        })?;
        let mut next = None;
        for (base, number) in self.placed.range(log_start..) {
            let missing = || format!("hole before batch {number} at {base}, end {end}");
            claim(next.is_none_or(|next| next == *base), missing)?;
            next = Some(base + self.batches[*number].count);
        }
        claim(next.is_none_or(|next| next == end), || {
            format!("the log ends at {end}, known batches at {next:?}")
        })?;
        for (number, batch) in self.batches.iter().enumerate() {
            // Below the log start it may have gone before anybody read it.
            let lost = batch.fate == Fate::Stored && batch.base.is_none() && log_start == 0;
            claim(!lost, || format!("batch {number} is nowhere"))?;
        }
        self.in_order(log_start)
    }

    fn in_order(&self, log_start: i64) -> Claim {
        let mut lanes: HashMap<u64, u64> = HashMap::new();
        let mut sequences: HashMap<ProducerId, i32> = HashMap::new();
        for (base, number) in &self.placed {
            let batch = &self.batches[*number];
            if let Some((producer, sequence)) = batch.producer {
                let count = i32::try_from(batch.count).unwrap_or(0);
                let due = sequences.insert(producer, sequence.wrapping_add(count));
                // Batches below the log start may never have been seen.
                claim(
                    due.is_none_or(|due| due == sequence) || self.log_start > 0,
                    || format!("sequence {sequence} at {base} where {due:?} is due"),
                )?;
            } else {
                let before = lanes.insert(batch.lane, batch.lane_place);
                claim(
                    before.is_none_or(|before| before < batch.lane_place),
                    || format!("batch {number} at {base} overtook another of its connection"),
                )?;
            }
        }
        if log_start > 0 || self.troubled {
            return Ok(());
        }
        // Who came later on a connection is not stored without who came before.
        for (number, batch) in self.batches.iter().enumerate() {
            let later_stored = lanes
                .get(&batch.lane)
                .is_some_and(|last| *last > batch.lane_place);
            let lost = batch.fate == Fate::Unknown && batch.base.is_none();
            claim(!(lost && later_stored && batch.producer.is_none()), || {
                format!("batch {number} is gone, a later one of its connection is there")
            })?;
        }
        Ok(())
    }

    /// The first record from `log_start` on with `timestamp` or later: offset and timestamp.
    pub fn first_at_or_after(&self, log_start: i64, timestamp: i64) -> Option<(i64, i64)> {
        self.records_from(log_start)
            .find(|(_, at)| *at >= timestamp)
    }

    fn records_from(&self, log_start: i64) -> impl Iterator<Item = (i64, i64)> {
        self.placed
            .iter()
            .flat_map(|(base, number)| (*base..).zip(self.batches[*number].timestamps.clone()))
            .filter(move |(offset, _)| *offset >= log_start)
    }

    /// The largest timestamp from `log_start` on.
    pub fn largest_timestamp(&self, log_start: i64) -> Option<i64> {
        self.records_from(log_start).map(|(_, at)| at).max()
    }

    /// Bytes of the batch that holds `offset`, if it is known.
    pub fn batch_bytes_at(&self, offset: i64) -> Option<usize> {
        let (_, number) = self.placed.range(..=offset).next_back()?;
        Some(self.batches[*number].bytes.len())
    }
}

/// What was known when a request was sent.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub high_watermark: i64,
    pub log_start: i64,
}
