//! The commit pipeline of a shard: everything appended since the last group becomes one journal
//! write and one flush. Groups are acknowledged strictly in order, so that a gap in the journal
//! never hides an acknowledged record.
//!
//! Lives on the shard; never answers a client itself (completion moves durable marks, which
//! `shard/produce.rs` and `shard/fetch.rs` turn into answers).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::devices::{Effect, Effects, Fault};
use crate::log::flush_debt::FlushPolicy;
use crate::log::journal_entry;
use crate::log::journal_ring::JournalFile;
use crate::log::partition::Placement;
use crate::log::tail::StoredBatch;
use crate::shard::journal::{NoRoom, Placed};
use crate::shard::ops::Op;
use crate::shard::partition::Slot;
use crate::shard::{Message, Shard};
use crate::wire::record::BATCH_HEADER_BYTES;
use crate::wire::record::check::CheckedBatch;
use crate::wire::record::stamp::{Stamp, StampTimestamps, stamp};
use crate::words::limits::{
    COMMIT_GROUP_BYTES_MAX, COMMIT_GROUPS_IN_FLIGHT_MAX, JOURNAL_ENTRY_BYTES_MAX,
    JOURNAL_RUN_BYTES_MAX,
};
use crate::words::{Now, Offset};

/// A placed batch that waits for its commit group.
pub struct PendingBatch {
    pub slot: Slot,
    pub placement: Placement,
    /// The stamped header; replaces the first 61 bytes of what the client sent.
    pub header: [u8; BATCH_HEADER_BYTES],
    /// The records, as they came.
    pub body: Bytes,
}

impl PendingBatch {
    /// A checked batch with its place, stamped: the header is made anew, the body stays a slice.
    pub fn of(slot: Slot, placement: Placement, batch: &CheckedBatch) -> PendingBatch {
        let timestamps = match placement.log_append_time {
            Some(now) => StampTimestamps::LogAppendTime(now),
            None => StampTimestamps::CreateTime(placement.max_timestamp),
        };
        let facts = Stamp {
            base_offset: placement.base_offset,
            leader_epoch: placement.leader_epoch,
            timestamps,
        };
        PendingBatch {
            slot,
            placement,
            header: stamp(&batch.header, batch.body(), facts),
            body: batch.bytes.slice(BATCH_HEADER_BYTES..),
        }
    }

    /// Bytes of the whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        self.body.len().saturating_add(BATCH_HEADER_BYTES)
    }

    /// The batch as the tail keeps it, once `bytes` holds it stamped.
    pub fn stored(&self, bytes: Bytes) -> StoredBatch {
        StoredBatch {
            base_offset: self.placement.base_offset,
            last_offset: self.placement.last_offset,
            max_timestamp: self.placement.max_timestamp,
            segment: self.placement.segment,
            position: self.placement.position,
            bytes,
        }
    }
}

/// A group on its way to the disk.
struct Group {
    number: u64,
    /// The journal entry's sequence and file, when it has one.
    entry: Option<(u64, JournalFile)>,
    /// When its journal entry is to be flushed at the latest, if not before it is acknowledged.
    relaxed_ms: Option<i64>,
    /// Writes that have not come back.
    operations_left: u32,
    /// New log end offset of each partition in it.
    ends: Vec<(Slot, Offset)>,
    failed: bool,
    kept: KeptGroup,
}

/// A group whose batches are (perhaps) still in the tails: the unit of eviction.
#[derive(Default)]
pub(super) struct KeptGroup {
    /// Memory of the chunks that hold them: a lone small batch takes a whole block.
    bytes: usize,
    batches: Vec<(Slot, u32)>,
}

impl KeptGroup {
    pub(super) fn note_chunk(&mut self, capacity: usize) {
        self.bytes = self.bytes.saturating_add(capacity);
    }

    pub(super) fn note_batch(&mut self, slot: Slot) {
        match self.batches.last_mut() {
            Some((last, count)) if *last == slot => *count = count.saturating_add(1),
            _ => self.batches.push((slot, 1)),
        }
    }
}

/// The open group, the groups in flight, and the groups kept in memory.
#[derive(Default)]
pub struct Commit {
    open: VecDeque<PendingBatch>,
    open_bytes: usize,
    in_flight: VecDeque<Group>,
    next_number: u64,
    kept: VecDeque<KeptGroup>,
    kept_bytes: usize,
    /// A journal entry failed. Recovery ends at the hole, so nothing behind it may ever be
    /// acknowledged: this shard appends no more.
    pub broken: bool,
    /// Groups have been completed up to the hole.
    at_hole: bool,
    /// Partitions that wait for space (`shard/held.rs`).
    held: usize,
    /// How far the journal is proven, once none of them waits any more.
    proven: Option<u64>,
}

impl Commit {
    pub fn push(&mut self, batch: PendingBatch) {
        self.open_bytes = self.open_bytes.saturating_add(batch.size_bytes());
        self.open.push_back(batch);
    }

    /// The partition is gone: what waits of it goes nowhere.
    pub fn forget(&mut self, slot: Slot) {
        self.open.retain(|batch| batch.slot != slot);
        self.open_bytes = self.open.iter().map(PendingBatch::size_bytes).sum();
    }

    /// Takes back what waits of a partition; it comes again with [`Commit::push`].
    pub fn take_open(&mut self, slot: Slot) -> Vec<PendingBatch> {
        let (taken, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.open)
            .into_iter()
            .partition(|batch| batch.slot == slot);
        self.open = rest;
        self.open_bytes = self.open.iter().map(PendingBatch::size_bytes).sum();
        taken.into()
    }

    /// One more partition waits for space.
    pub fn hold(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    /// One partition less waits for space; how far the journal is proven if it was the last.
    pub fn release(&mut self) -> Option<u64> {
        self.held = self.held.saturating_sub(1);
        match self.held {
            0 => self.proven.take(),
            _ => None,
        }
    }

    /// Entries up to `sequence` are durable, and so is everything else of their groups unless a
    /// partition waits for space. How far they count now, if at all.
    pub fn prove(&mut self, sequence: u64) -> Option<u64> {
        if self.held == 0 {
            return Some(sequence);
        }
        self.proven = self.proven.max(Some(sequence));
        None
    }

    /// Bytes that wait for a group.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.in_flight.is_empty()
    }

    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }
}

/// How a batch of the closing group goes to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Journal,
    /// Straight to its segment, together with everything of its partition not yet there.
    Bypass,
}

impl Shard {
    /// Closes the open group if the pipeline has room: at the end of every turn.
    pub(super) fn close_commit_group(&mut self, effects: &mut Effects<Message>) {
        while !self.commit.open.is_empty()
            && self.commit.in_flight.len() < COMMIT_GROUPS_IN_FLIGHT_MAX
        {
            if !self.close_one_group(effects) {
                return;
            }
        }
    }

    /// Takes a prefix of the open batches as one group: one journal entry, and the runs that
    /// bypass the journal. `false`: nothing can go now.
    fn close_one_group(&mut self, effects: &mut Effects<Message>) -> bool {
        let Some(ways) = self.choose_ways(self.group_prefix(), effects) else {
            return false;
        };
        let journal: Vec<&PendingBatch> = self
            .commit
            .open
            .iter()
            .zip(&ways)
            .filter_map(|(batch, way)| (*way == Way::Journal).then_some(batch))
            .collect();
        let placed = match self.journal.place(&self.partitions, &journal) {
            Ok(placed) => placed,
            Err(NoRoom) => {
                self.grow_journal(effects);
                return false;
            }
        };
        let batches: Vec<PendingBatch> = self.commit.open.drain(..ways.len()).collect();
        let bytes: usize = batches.iter().map(PendingBatch::size_bytes).sum();
        self.commit.open_bytes = self.commit.open_bytes.saturating_sub(bytes);
        let number = self.commit.next_number;
        self.commit.next_number = number.wrapping_add(1);
        let mut group = Group {
            number,
            entry: placed
                .as_ref()
                .map(|placed| (placed.place.stamp.sequence, placed.place.file)),
            relaxed_ms: self.relaxation(&batches),
            operations_left: 0,
            ends: group_ends(&batches),
            failed: false,
            kept: KeptGroup::default(),
        };
        let (journal, bypass) = split(batches, ways);
        if let Some(placed) = placed {
            self.write_entry(&journal, &placed, &mut group, effects);
        }
        group.operations_left += self.write_bypass(number, bypass, &mut group.kept, effects);
        self.commit.in_flight.push_back(group);
        true
    }

    /// How many of the open batches make the next group: at least one, bounded in bytes, and of
    /// each partition in one segment. A batch that fits no journal entry would otherwise wait for
    /// ever for its neighbour in the next segment, and that one for it.
    fn group_prefix(&self) -> usize {
        let mut bytes = 0usize;
        let mut count = 0usize;
        let mut segments: HashMap<Slot, Offset> = HashMap::new();
        for batch in &self.commit.open {
            bytes = bytes.saturating_add(batch.size_bytes());
            let segment = batch.placement.segment;
            let rolled = *segments.entry(batch.slot).or_insert(segment) != segment;
            if count > 0 && (rolled || bytes > COMMIT_GROUP_BYTES_MAX) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Decides per partition; `None` when a batch fits no journal entry and its segment's file is
    /// not ready (it is being made ready).
    fn choose_ways(&mut self, count: usize, effects: &mut Effects<Message>) -> Option<Vec<Way>> {
        let mut runs: Vec<(Slot, usize, bool)> = Vec::new();
        for batch in self.commit.open.iter().take(count) {
            let large = batch.size_bytes() > JOURNAL_ENTRY_BYTES_MAX;
            match runs.iter_mut().find(|(slot, ..)| *slot == batch.slot) {
                Some(run) => {
                    run.1 = run.1.saturating_add(batch.size_bytes());
                    run.2 |= large;
                }
                None => runs.push((batch.slot, batch.size_bytes(), large)),
            }
        }
        let mut bypassing: Vec<Slot> = Vec::new();
        for (slot, bytes, too_large_for_journal) in runs {
            if bytes < JOURNAL_RUN_BYTES_MAX {
                continue;
            }
            if self.can_bypass(slot, count) {
                bypassing.push(slot);
            } else {
                self.prepare_fill(slot, effects);
                if too_large_for_journal {
                    return None;
                }
            }
        }
        Some(self.ways_of_prefix(count, &bypassing))
    }

    /// The way of each batch, cut where the journal's part would outgrow one entry.
    fn ways_of_prefix(&self, count: usize, bypassing: &[Slot]) -> Vec<Way> {
        let mut ways = Vec::with_capacity(count);
        let mut journal_bytes = 0usize;
        for batch in self.commit.open.iter().take(count) {
            if bypassing.contains(&batch.slot) {
                ways.push(Way::Bypass);
                continue;
            }
            journal_bytes = journal_bytes.saturating_add(batch.size_bytes());
            if journal_bytes > JOURNAL_ENTRY_BYTES_MAX && !ways.is_empty() {
                break;
            }
            ways.push(Way::Journal);
        }
        ways
    }

    /// A run may go straight to its segment when the file is open, no fill is in flight, and
    /// everything unfilled and the run lie in that one segment.
    fn can_bypass(&self, slot: Slot, count: usize) -> bool {
        let Some(partition) = self.partitions.get(slot) else {
            return false;
        };
        let Some(segment) = partition.log.first_unfilled_segment() else {
            return false;
        };
        partition.may_fill()
            && partition.held.is_none()
            && !self.fills_wait_for_checkpoint()
            && partition.file_of(segment).is_some()
            && self
                .commit
                .open
                .iter()
                .take(count)
                .filter(|batch| batch.slot == slot)
                .all(|batch| batch.placement.segment == segment)
    }

    /// Encodes the entry into its chunk, gives the tails their slices, and starts the write.
    fn write_entry(
        &mut self,
        batches: &[PendingBatch],
        placed: &Placed,
        group: &mut Group,
        effects: &mut Effects<Message>,
    ) {
        let mut chunk = self.pool.take(placed.len);
        let views = self.journal.views(&self.partitions, batches.iter());
        let mut ranges = Vec::new();
        let encoded = journal_entry::encode(
            placed.place.stamp,
            &views,
            &placed.marks,
            chunk.as_mut_slice(),
            &mut ranges,
        );
        assert!(
            encoded.is_ok(),
            "the chunk was made for this entry: {encoded:?}"
        );
        assert_eq!(ranges.len(), batches.len(), "every batch has its range");
        group.kept.note_chunk(chunk.capacity());
        let chunk = chunk.freeze(0..placed.len);
        for (batch, range) in batches.iter().zip(ranges) {
            let Some(partition) = self.partitions.get_mut(batch.slot) else {
                continue;
            };
            partition.log.remember(batch.stored(chunk.slice(range)));
            partition.open_run_bytes = partition.open_run_bytes.saturating_sub(batch.size_bytes());
            group.kept.note_batch(batch.slot);
        }
        group.operations_left += 1;
        let op = self.ops.start(Op::Commit {
            group: group.number,
        });
        effects.push(Effect::Write {
            op,
            file: self.journal.file(placed.place.file),
            position: placed.place.position,
            parts: vec![chunk],
            flush: group.relaxed_ms.is_none(),
        });
    }

    /// How long the flush of these batches may wait: only if every one of them belongs to a topic
    /// that allows it, and no partition has had enough messages since its last flush.
    fn relaxation(&mut self, batches: &[PendingBatch]) -> Option<i64> {
        let mut wait_ms: Option<i64> = None;
        let mut strict = false;
        for batch in batches {
            let Some(partition) = self.partitions.get_mut(batch.slot) else {
                continue;
            };
            match partition.log.settings.flush {
                FlushPolicy::Always => strict = true,
                FlushPolicy::Relaxed { messages, ms } => {
                    let records = batch
                        .placement
                        .last_offset
                        .0
                        .saturating_sub(batch.placement.base_offset.0)
                        .saturating_add(1);
                    partition.unflushed_messages =
                        partition.unflushed_messages.saturating_add(records);
                    if partition.unflushed_messages >= messages {
                        partition.unflushed_messages = 0;
                        strict = true;
                    }
                    wait_ms = Some(wait_ms.map_or(ms, |earlier| earlier.min(ms)));
                }
            }
        }
        wait_ms.filter(|_| !strict)
    }

    /// One write of a group came back.
    pub(super) fn commit_operation_done(
        &mut self,
        now: Now,
        number: u64,
        result: Result<(), Fault>,
        effects: &mut Effects<Message>,
    ) {
        let Some(group) = self
            .commit
            .in_flight
            .iter_mut()
            .find(|group| group.number == number)
        else {
            return;
        };
        group.operations_left = group.operations_left.saturating_sub(1);
        if let Err(fault) = result {
            group.failed = true;
            self.break_journal(now, &fault, effects);
        }
        while self
            .commit
            .in_flight
            .front()
            .is_some_and(|group| group.operations_left == 0)
        {
            if let Some(group) = self.commit.in_flight.pop_front() {
                self.group_done(now, group, effects);
            }
        }
    }

    /// The journal has a hole, or may have one: from now on appends are refused, and what waits
    /// has nowhere to go. Groups before the hole still complete.
    pub(super) fn break_journal(
        &mut self,
        now: Now,
        fault: &Fault,
        effects: &mut Effects<Message>,
    ) {
        tracing::error!(
            error = %fault.error,
            directory = %self.journal.directory.display(),
            "the journal in this directory cannot be written: its shard takes no more appends \
             until a restart; fetches and deletions go on"
        );
        self.commit.broken = true;
        for batch in std::mem::take(&mut self.commit.open) {
            self.stop_appends(now, batch.slot, effects);
        }
        self.commit.open_bytes = 0;
    }

    /// No group that is still in flight counts any more.
    pub(super) fn forsake_groups(&mut self) {
        self.commit.at_hole = true;
    }

    /// Journal entries up to `sequence` are durable, with everything before them.
    pub(super) fn journal_proven(&mut self, sequence: u64) {
        if let Some(proven) = self.commit.prove(sequence) {
            self.journal.ring.completed(proven);
        }
    }

    fn group_done(&mut self, now: Now, group: Group, effects: &mut Effects<Message>) {
        self.commit.at_hole |= group.failed;
        if let Some((sequence, file)) = group.entry.filter(|_| !self.commit.at_hole) {
            let due = group.relaxed_ms.map(|ms| now.after_ms(ms));
            if let Some(proven) = self.journal.debt.acknowledged(sequence, file, due) {
                self.journal_proven(proven);
            }
        }
        for (slot, end) in &group.ends {
            if self.commit.at_hole {
                self.stop_appends(now, *slot, effects);
                continue;
            }
            match self.partitions.get_mut(*slot) {
                // Its part of the group went past the journal and failed.
                Some(partition) if partition.offline => continue,
                Some(partition) if partition.holds(*end) => {
                    self.held_group_done(now, *slot, *end, effects);
                    continue;
                }
                Some(partition) => partition.log.durable_to(*end),
                None => {}
            }
            self.high_watermark_moved(now, *slot, effects);
        }
        self.commit.kept_bytes = self.commit.kept_bytes.saturating_add(group.kept.bytes);
        self.commit.kept.push_back(group.kept);
    }
}

/// The furthest end offset of each partition among `batches`.
fn group_ends(batches: &[PendingBatch]) -> Vec<(Slot, Offset)> {
    let mut ends: Vec<(Slot, Offset)> = Vec::new();
    for batch in batches {
        let end = Offset(batch.placement.last_offset.0.saturating_add(1));
        match ends.iter_mut().find(|(slot, _)| *slot == batch.slot) {
            Some(known) => known.1 = end,
            None => ends.push((batch.slot, end)),
        }
    }
    ends
}

fn split(batches: Vec<PendingBatch>, ways: Vec<Way>) -> (Vec<PendingBatch>, Vec<PendingBatch>) {
    let mut journal = Vec::with_capacity(batches.len());
    let mut bypass = Vec::new();
    for (batch, way) in batches.into_iter().zip(ways) {
        match way {
            Way::Journal => journal.push(batch),
            Way::Bypass => bypass.push(batch),
        }
    }
    (journal, bypass)
}

impl Shard {
    /// Gives up the oldest batches in memory until the tail fits its budget; what is not yet in a
    /// segment stays, and everything behind it.
    pub(super) fn evict_tail(&mut self) {
        while self.commit.kept_bytes > self.config.tail_cache_bytes {
            let Some(group) = self.commit.kept.front_mut() else {
                return;
            };
            while let Some((slot, count)) = group.batches.last_mut() {
                let Some(partition) = self.partitions.get_mut(*slot) else {
                    group.batches.pop();
                    continue;
                };
                let filled = partition.log.filled();
                while *count > 0 {
                    if partition.log.tail.evict_front(filled).is_none() {
                        return;
                    }
                    *count -= 1;
                }
                group.batches.pop();
            }
            let bytes = group.bytes;
            self.commit.kept_bytes = self.commit.kept_bytes.saturating_sub(bytes);
            self.commit.kept.pop_front();
        }
    }
}
