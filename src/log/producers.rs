//! Producer state of a partition: what makes a repeated batch a duplicate and a missing one an
//! error (KIP-98; Kafka `ProducerStateManager`, `ProducerStateEntry`, `ProducerAppendInfo`).
//!
//! One per partition, on the core that owns it; changed only by batches that are in the log, so
//! replay after a crash makes the same state. Never reads a clock, never writes a snapshot
//! (see `producer_snapshot.rs`), never parses the record inside a transaction marker.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use crate::log::producer_snapshot::SnapshotEntry;
use crate::wire::record::BatchHeader;
use crate::words::limits::PRODUCER_BATCHES_KEPT;
use crate::words::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Producers that one partition remembers. Above it those that have been silent the longest are
/// forgotten, a part at a time, so that new ids cost a bounded amount of memory and, on average,
/// of work. Kafka has no such bound.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 16_384;
/// One in this many is forgotten when the bound is reached.
const FORGET_FRACTION: usize = 16;

const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);
const NO_SEQUENCE: Sequence = Sequence(-1);
const NO_COORDINATOR_EPOCH: i32 = -1;
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// A batch that a producer has stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownBatch {
    pub last_sequence: Sequence,
    pub last_offset: Offset,
    /// Last offset less the first, which is also the distance of the sequences.
    pub offset_delta: i32,
    /// Max timestamp of the batch as stored.
    pub timestamp: TimestampMs,
}

impl KnownBatch {
    pub fn first_offset(&self) -> Offset {
        Offset(
            self.last_offset
                .0
                .saturating_sub(i64::from(self.offset_delta)),
        )
    }

    /// Sequences wrap from `i32::MAX` to 0.
    pub fn first_sequence(&self) -> Sequence {
        const PERIOD: i64 = i32::MAX as i64 + 1;
        let first = i64::from(self.last_sequence.0).saturating_sub(i64::from(self.offset_delta));
        Sequence(i32::try_from(first.rem_euclid(PERIOD)).unwrap_or(0))
    }
}

/// What the partition knows of one producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// The last batches of this epoch, oldest first, at most [`PRODUCER_BATCHES_KEPT`].
    pub batches: SmallVec<[KnownBatch; PRODUCER_BATCHES_KEPT]>,
    /// Max timestamp of the last batch, or of the last marker.
    pub last_timestamp: TimestampMs,
    /// Wall clock of the last append; after a restart the last timestamp stands in.
    pub last_append: TimestampMs,
    /// Epoch of the coordinator that wrote the last marker; `-1` when none has.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub txn_first_offset: Option<Offset>,
}

impl ProducerEntry {
    fn empty() -> ProducerEntry {
        ProducerEntry {
            epoch: NO_EPOCH,
            batches: SmallVec::new(),
            last_timestamp: NO_TIMESTAMP,
            last_append: NO_TIMESTAMP,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            txn_first_offset: None,
        }
    }

    /// Sequence of the last record; `-1` when the epoch has no batch.
    pub fn last_sequence(&self) -> Sequence {
        self.batches.last().map_or(NO_SEQUENCE, |b| b.last_sequence)
    }

    /// Batches of another epoch say nothing about this one's sequences.
    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn find(&self, batch: &BatchHeader) -> Option<KnownBatch> {
        if batch.producer_epoch != self.epoch {
            return None;
        }
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let same = |b: &&KnownBatch| b.last_sequence == last && b.first_sequence() == first;
        self.batches.iter().find(same).copied()
    }
}

/// A batch that may be answered with success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Append it.
    New,
    /// It is in the log already: answer with its first offset, do not append. The answer's log
    /// append time is the batch's timestamp, whatever the topic's timestamp type.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: TimestampMs,
    },
}

/// Why a batch or a marker may not be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerRefusal {
    /// The sequence is not the next one: OUT_OF_ORDER_SEQUENCE_NUMBER (45).
    OutOfOrderSequence { got: Sequence, last: Sequence },
    /// A newer epoch of the producer has written here: INVALID_PRODUCER_EPOCH (47).
    InvalidProducerEpoch {
        got: ProducerEpoch,
        current: ProducerEpoch,
    },
    /// A plain batch inside an open transaction: INVALID_TXN_STATE (48).
    TransactionOpen,
    /// A marker of a deposed coordinator: TRANSACTION_COORDINATOR_FENCED (52).
    CoordinatorFenced { got: i32, current: i32 },
    /// Every producer the partition may remember has an open transaction; retriable.
    TooManyProducers,
}

/// How a transaction ended here (the record of a control batch, KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionMarker {
    pub commit: bool,
    pub coordinator_epoch: i32,
}

/// A transaction with records in this partition that a marker has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// Offset of the marker.
    pub last_offset: Offset,
    pub aborted: bool,
    /// First offset of the oldest transaction still open, or the offset after the marker: what
    /// the transaction index keeps as last stable offset.
    pub last_stable_offset: Offset,
}

/// All producers of one partition.
#[derive(Clone, Debug)]
pub struct Producers {
    by_id: HashMap<ProducerId, ProducerEntry>,
    producers_max: usize,
    /// First offset of each open transaction.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset to marker offset of ended transactions whose marker is not yet below the
    /// high watermark.
    unreplicated: BTreeMap<Offset, Offset>,
    end_offset: Offset,
}

impl Producers {
    /// Nobody known; `end_offset` is where the log is, or begins to be replayed.
    pub fn new(producers_max: usize, end_offset: Offset) -> Producers {
        Producers {
            by_id: HashMap::new(),
            producers_max,
            open: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            end_offset,
        }
    }

    /// From a snapshot taken at `end_offset`; replay the batches from there on.
    pub fn from_snapshot(
        producers_max: usize,
        end_offset: Offset,
        entries: impl IntoIterator<Item = SnapshotEntry>,
    ) -> Producers {
        let mut producers = Producers::new(producers_max, end_offset);
        for entry in entries {
            let (id, entry) = from_snapshot_entry(entry);
            if let Some(first) = entry.txn_first_offset {
                producers.open.insert(first, id);
            }
            producers.make_room_for(id);
            producers.by_id.insert(id, entry);
        }
        producers
    }

    /// What a `.snapshot` file named after [`Producers::end_offset`] holds, by producer id.
    pub fn snapshot(&self) -> Vec<SnapshotEntry> {
        let entries = self.by_id.iter().map(|(id, e)| to_snapshot_entry(*id, e));
        let mut entries: Vec<SnapshotEntry> = entries.collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        entries
    }

    /// Judges a batch of a client (or, with a negative base sequence, of a coordinator, which has
    /// an epoch but no sequences) before it is appended. Changes nothing. A batch without
    /// producer id is new. Control batches go to [`Producers::check_marker`].
    pub fn check(&self, batch: &BatchHeader) -> Result<Admission, ProducerRefusal> {
        if !batch.has_producer_id() {
            return Ok(Admission::New);
        }
        let Some(entry) = self.by_id.get(&batch.producer_id) else {
            // Nothing known (perhaps expired): any sequence may begin, and any epoch from -1 on.
            if batch.producer_epoch < NO_EPOCH {
                return Err(ProducerRefusal::InvalidProducerEpoch {
                    got: batch.producer_epoch,
                    current: NO_EPOCH,
                });
            }
            return self.room().map(|()| Admission::New);
        };
        let sequenced = batch.base_sequence.0 >= 0;
        if sequenced && let Some(known) = entry.find(batch) {
            return Ok(Admission::Duplicate {
                base_offset: known.first_offset(),
                last_offset: known.last_offset,
                timestamp: known.timestamp,
            });
        }
        if batch.producer_epoch < entry.epoch {
            return Err(ProducerRefusal::InvalidProducerEpoch {
                got: batch.producer_epoch,
                current: entry.epoch,
            });
        }
        if sequenced {
            check_sequence(entry, batch)?;
        }
        if entry.txn_first_offset.is_some() && !batch.is_transactional() {
            return Err(ProducerRefusal::TransactionOpen);
        }
        Ok(Admission::New)
    }

    /// Judges a marker before it is appended. `transaction_version` is that of the request: from
    /// 2 on a marker raises the epoch, so one at the present epoch is stale, except a repetition
    /// when nothing is open (KIP-890).
    pub fn check_marker(
        &self,
        batch: &BatchHeader,
        marker: TransactionMarker,
        transaction_version: i16,
    ) -> Result<(), ProducerRefusal> {
        let Some(entry) = self.by_id.get(&batch.producer_id) else {
            return self.room();
        };
        let got = batch.producer_epoch;
        let repeated = got == entry.epoch && entry.txn_first_offset.is_none();
        let stale = if transaction_version >= 2 {
            got <= entry.epoch && !repeated
        } else {
            got < entry.epoch
        };
        if stale {
            return Err(ProducerRefusal::InvalidProducerEpoch {
                got,
                current: entry.epoch,
            });
        }
        if entry.coordinator_epoch > marker.coordinator_epoch {
            return Err(ProducerRefusal::CoordinatorFenced {
                got: marker.coordinator_epoch,
                current: entry.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Takes over a batch that is in the log, with its offsets as stored; on append and on replay
    /// alike, every batch in order. Judges nothing: what is stored is true. `wall` is the time of
    /// appending; on replay the batch's max timestamp serves. Of a control batch only its end
    /// counts here (one that compaction has emptied says no more).
    pub fn update(&mut self, stored: &BatchHeader, wall: TimestampMs) {
        self.end_offset = self.end_offset.max(stored.next_offset());
        if !stored.has_producer_id() || stored.is_control() {
            return;
        }
        self.make_room_for(stored.producer_id);
        let entry = self.entry(stored.producer_id);
        entry.enter_epoch(stored.producer_epoch);
        if entry.batches.len() >= PRODUCER_BATCHES_KEPT {
            entry.batches.remove(0);
        }
        entry.batches.push(KnownBatch {
            last_sequence: stored.last_sequence(),
            last_offset: stored.last_offset(),
            offset_delta: stored.last_offset_delta,
            timestamp: stored.max_timestamp,
        });
        entry.last_timestamp = stored.max_timestamp;
        entry.last_append = wall;
        if stored.is_transactional() && entry.txn_first_offset.is_none() {
            entry.txn_first_offset = Some(stored.base_offset);
            self.open.insert(stored.base_offset, stored.producer_id);
        }
    }

    /// The same for a marker. `None` when the producer had no open transaction here.
    pub fn update_marker(
        &mut self,
        stored: &BatchHeader,
        marker: TransactionMarker,
        wall: TimestampMs,
    ) -> Option<CompletedTransaction> {
        self.end_offset = self.end_offset.max(stored.next_offset());
        self.make_room_for(stored.producer_id);
        let entry = self.entry(stored.producer_id);
        entry.enter_epoch(stored.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = stored.max_timestamp;
        entry.last_append = wall;
        let first_offset = entry.txn_first_offset.take()?;
        self.open.remove(&first_offset);
        let last_offset = stored.base_offset;
        self.unreplicated.insert(first_offset, last_offset);
        let oldest_open = self.open.first_key_value().map(|(first, _)| *first);
        Some(CompletedTransaction {
            producer_id: stored.producer_id,
            first_offset,
            last_offset,
            aborted: !marker.commit,
            last_stable_offset: oldest_open.unwrap_or(stored.next_offset()),
        })
    }

    /// First offset of the oldest transaction that is open, or ended by a marker at or above the
    /// high watermark: read_committed reads stop there. `None`: they stop at the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let ended = self.unreplicated.first_key_value().map(|(first, _)| *first);
        match (open, ended) {
            (Some(open), Some(ended)) => Some(open.min(ended)),
            (open, ended) => open.or(ended),
        }
    }

    /// The high watermark (or the log start offset) is now `offset`: markers below it are final.
    pub fn settle_below(&mut self, offset: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= offset);
    }

    /// Forgets producers that appended nothing for `expiration_ms` (`producer.id.expiration.ms`)
    /// and have no open transaction; returns how many.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, entry| {
            let idle_ms = now.0.saturating_sub(entry.last_append.0);
            entry.txn_first_offset.is_some() || idle_ms < expiration_ms
        });
        before.saturating_sub(self.by_id.len())
    }

    /// Offset after the last batch seen.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.by_id.get(&id)
    }

    /// In no order; for DescribeProducers.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.by_id.iter().map(|(id, entry)| (*id, entry))
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn entry(&mut self, id: ProducerId) -> &mut ProducerEntry {
        self.by_id.entry(id).or_insert_with(ProducerEntry::empty)
    }

    /// Whether a producer not yet known can be remembered, others being forgotten if need be.
    fn room(&self) -> Result<(), ProducerRefusal> {
        let stuck = self.by_id.len() >= self.producers_max && self.open.len() >= self.by_id.len();
        if stuck {
            return Err(ProducerRefusal::TooManyProducers);
        }
        Ok(())
    }

    /// Forgets a part of the producers when `id` is new and the bound is reached. What has an open
    /// transaction stays; replay may then go above the bound, which a running broker never wrote.
    fn make_room_for(&mut self, id: ProducerId) {
        if self.by_id.len() < self.producers_max || self.by_id.contains_key(&id) {
            return;
        }
        let idle = |(id, entry): (&ProducerId, &ProducerEntry)| {
            (entry.txn_first_offset.is_none()).then_some((entry.last_append, *id))
        };
        let mut idle: Vec<(TimestampMs, ProducerId)> = self.by_id.iter().filter_map(idle).collect();
        let excess = self.by_id.len().saturating_sub(self.producers_max);
        let count = excess
            .saturating_add((self.producers_max / FORGET_FRACTION).max(1))
            .min(idle.len());
        if count < idle.len() {
            idle.select_nth_unstable(count);
        }
        for (_, id) in idle.iter().take(count) {
            self.by_id.remove(id);
        }
    }
}

fn check_sequence(entry: &ProducerEntry, batch: &BatchHeader) -> Result<(), ProducerRefusal> {
    let got = batch.base_sequence;
    let last = entry.last_sequence();
    let in_order = if entry.epoch == NO_EPOCH {
        // A batch with epoch -1, which Kafka takes, leaves no order to keep.
        true
    } else if batch.producer_epoch != entry.epoch {
        got.0 == 0
    } else {
        last.0.checked_add(1) == Some(got.0) || (got.0 == 0 && last.0 == i32::MAX)
    };
    if in_order {
        Ok(())
    } else {
        Err(ProducerRefusal::OutOfOrderSequence { got, last })
    }
}

fn to_snapshot_entry(id: ProducerId, entry: &ProducerEntry) -> SnapshotEntry {
    let last = entry.batches.last();
    SnapshotEntry {
        producer_id: id,
        epoch: entry.epoch,
        last_sequence: entry.last_sequence(),
        last_offset: last.map_or(Offset::NONE, |batch| batch.last_offset),
        offset_delta: last.map_or(0, |batch| batch.offset_delta),
        timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        txn_first_offset: entry.txn_first_offset.unwrap_or(Offset::NONE),
    }
}

/// Of the last batches only the very last is in a snapshot, so right after a restart only that
/// one is known as a duplicate. Kafka's format has room for no more.
fn from_snapshot_entry(entry: SnapshotEntry) -> (ProducerId, ProducerEntry) {
    let mut batches = SmallVec::new();
    if entry.last_offset.0 >= 0 {
        batches.push(KnownBatch {
            last_sequence: entry.last_sequence,
            last_offset: entry.last_offset,
            offset_delta: entry.offset_delta,
            timestamp: entry.timestamp,
        });
    }
    let entry_of = ProducerEntry {
        epoch: entry.epoch,
        batches,
        last_timestamp: entry.timestamp,
        last_append: entry.timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        txn_first_offset: (entry.txn_first_offset.0 >= 0).then_some(entry.txn_first_offset),
    };
    (entry.producer_id, entry_of)
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
