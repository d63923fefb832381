//! Lazy filling: what the journal made durable is written into segments in large aligned runs.
//!
//! Background work with a bound on what is in flight. A fill covers a contiguous range that starts
//! at the partition's filled mark and stays in one segment; the partly filled last block is kept
//! in memory and written again by the next fill, so a fill always starts on a block.

use bytes::Bytes;

use crate::devices::{Effect, Effects, Fault, FaultKind, FileHandle, Output};
use crate::log::partition::FillPlan;
use crate::shard::commit::{KeptGroup, PendingBatch};
use crate::shard::jobs::{self, OpenedSegment};
use crate::shard::ops::Op;
use crate::shard::partition::{FileState, Slot};
use crate::shard::{Message, Shard};
use crate::words::limits::{
    BLOCK_BYTES, CHECKPOINT_AFTER_FILL_MS, FILL_BYTES_MAX, FILL_RUN_BYTES, FILLS_IN_FLIGHT_CALM,
    FILLS_IN_FLIGHT_MAX,
};
use crate::words::{Deadline, Now, Offset};

/// Which partitions want filling, and how much is under way.
#[derive(Default)]
pub struct Fills {
    /// Enough data, or a file just became ready.
    pub now: std::collections::VecDeque<Slot>,
    /// Everything with unfilled data, longest first.
    pub waiting: std::collections::VecDeque<Slot>,
    pub in_flight: usize,
    /// A fill failed for want of space: try again then.
    pub full_until: Option<Deadline>,
    /// Fill everything regardless of pressure: the shard drains.
    pub draining: bool,
    /// Filled bytes that no mark covers: what recovery would read again.
    pub unmarked_bytes: u64,
    /// What the last checkpoint left of them.
    pub unmarked_kept: u64,
    /// Partitions to be trimmed when they rest; each is here once.
    pub trims: std::collections::VecDeque<(Deadline, Slot)>,
    pub trimming: usize,
}

/// An aligned write that continues a segment.
struct SegmentWrite {
    file: FileHandle,
    position: u64,
    chunk: Bytes,
    /// Memory that the chunk takes, at least its length.
    capacity: usize,
    /// Where each part that was handed in lies in the chunk.
    ranges: Vec<std::ops::Range<usize>>,
    end_position: u64,
}

/// How far a segment reaches after a fill.
#[derive(Clone, Copy)]
struct Filled {
    slot: Slot,
    segment: Offset,
    /// Bytes of the segment that are in its file.
    end_position: u64,
    /// The first offset that is not.
    next_offset: Offset,
}

impl Shard {
    /// A partition has data that is durable but not in its segment.
    pub(super) fn wants_fill(&mut self, now: Now, slot: Slot) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if partition.fill_by.is_none() {
            partition.fill_by = Some(now.after_ms(self.config.fill_idle_ms));
            self.fills.waiting.push_back(slot);
        }
        if partition.log.unfilled_bytes() >= FILL_RUN_BYTES as u64 && !partition.files.filling {
            self.fills.now.push_back(slot);
        }
    }

    /// Starts fills as far as the bound allows: called at the end of every turn.
    pub(super) fn schedule_fills(&mut self, now: Now, effects: &mut Effects<Message>) {
        if let Some(until) = self.fills.full_until {
            if !now.reached(until) {
                return;
            }
            self.fills.full_until = None;
        }
        while self.may_start_fill() {
            let Some(slot) = self.next_to_fill(now) else {
                return;
            };
            self.start_fill(slot, effects);
        }
    }

    fn next_to_fill(&mut self, now: Now) -> Option<Slot> {
        if let Some(slot) = self.fills.now.pop_front() {
            return Some(slot);
        }
        let pressed = self.journal.is_pressed() || self.fills.draining;
        let slot = *self.fills.waiting.front()?;
        let due = self
            .partitions
            .get(slot)
            .is_none_or(|partition| partition.fill_by.is_none_or(|by| now.reached(by)));
        if !(pressed || due) {
            return None;
        }
        self.fills.waiting.pop_front();
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.fill_by = None;
        }
        Some(slot)
    }

    /// Whether one more may be under way. When not, the end of one or of the checkpoint tells.
    fn may_start_fill(&self) -> bool {
        let limit = match self.journal.is_pressed() || self.fills.draining {
            true => FILLS_IN_FLIGHT_MAX,
            false => FILLS_IN_FLIGHT_CALM,
        };
        self.fills.in_flight < limit && !self.fills_wait_for_checkpoint()
    }

    /// When the next fill is due although nobody presses.
    pub(super) fn fill_deadline(&self) -> Option<Deadline> {
        if !self.may_start_fill() {
            return None;
        }
        let waiting = self.fills.waiting.front();
        let due = waiting.and_then(|slot| self.partitions.get(*slot)?.fill_by);
        match self.fills.full_until {
            Some(until) if !self.fills.now.is_empty() => Some(until),
            Some(until) => waiting.map(|_| due.map_or(until, |due| due.max(until))),
            None => due,
        }
    }

    fn start_fill(&mut self, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get(slot) else {
            return;
        };
        if !partition.may_fill() {
            return;
        }
        let limit = partition.fill_limit();
        let Some(plan) = partition.log.plan_fill(limit, FILL_BYTES_MAX) else {
            return;
        };
        if partition.file_of(plan.segment).is_none() {
            self.prepare_fill(slot, effects);
            return;
        }
        let topic_partition = partition.topic_partition;
        let parts: Vec<&[u8]> = plan.batches.iter().map(|batch| &batch[..]).collect();
        let Some(write) = self.segment_write(slot, &plan, &parts) else {
            return;
        };
        self.fills.in_flight += 1;
        let op = self.ops.start(Op::Fill {
            slot,
            topic_partition,
            segment: plan.segment,
            end_position: write.end_position,
            next_offset: plan.next_offset,
        });
        effects.push(Effect::Write {
            op,
            file: write.file,
            position: write.position,
            parts: vec![write.chunk],
            flush: true,
        });
    }

    /// Lays out fragment, parts and padding in one aligned chunk, and remembers the new fragment.
    fn segment_write(
        &mut self,
        slot: Slot,
        plan: &FillPlan,
        parts: &[&[u8]],
    ) -> Option<SegmentWrite> {
        let partition = self.partitions.get_mut(slot)?;
        let file = partition.file_of(plan.segment)?.clone();
        let block = BLOCK_BYTES as u64;
        let position = plan.position - plan.position % block;
        let head = partition.files.fragment.len();
        assert_eq!(
            head as u64,
            plan.position - position,
            "the fragment is the part of the last block that is in the file"
        );
        let data: usize = parts.iter().map(|part| part.len()).sum();
        let used = head + data;
        let len = used.next_multiple_of(BLOCK_BYTES);
        let mut chunk = self.pool.take(len);
        let out = chunk.as_mut_slice();
        out[..head].copy_from_slice(&partition.files.fragment);
        let mut ranges = Vec::with_capacity(parts.len());
        let mut at = head;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            ranges.push(at..at + part.len());
            at += part.len();
        }
        out[used..len].fill(0);
        let kept = used - used % BLOCK_BYTES;
        partition.files.fragment.clear();
        partition.files.fragment.extend_from_slice(&out[kept..used]);
        partition.files.filling = true;
        Some(SegmentWrite {
            file,
            position,
            capacity: chunk.capacity(),
            chunk: chunk.freeze(0..len),
            ranges,
            end_position: plan.position + data as u64,
        })
    }

    /// Writes large runs straight to their segments: each becomes one operation of the group.
    pub(super) fn write_bypass(
        &mut self,
        number: u64,
        batches: Vec<PendingBatch>,
        kept: &mut KeptGroup,
        effects: &mut Effects<Message>,
    ) -> u32 {
        let mut operations = 0;
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let slot = first.slot;
            let (run, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|batch| batch.slot == slot);
            rest = others;
            if self.write_bypass_run(number, slot, &run, kept, effects) {
                operations += 1;
            }
        }
        operations
    }

    fn write_bypass_run(
        &mut self,
        number: u64,
        slot: Slot,
        run: &[PendingBatch],
        kept: &mut KeptGroup,
        effects: &mut Effects<Message>,
    ) -> bool {
        let Some(partition) = self.partitions.get(slot) else {
            return false;
        };
        let Some(plan) = partition.log.plan_bypass() else {
            return false;
        };
        let topic_partition = partition.topic_partition;
        let mut parts: Vec<&[u8]> = plan.batches.iter().map(|batch| &batch[..]).collect();
        for batch in run {
            parts.push(&batch.header);
            parts.push(&batch.body);
        }
        let Some(write) = self.segment_write(slot, &plan, &parts) else {
            return false;
        };
        kept.note_chunk(write.capacity);
        let earlier = plan.batches.len();
        let first_offset = plan.next_offset;
        let mut next_offset = plan.next_offset;
        for (batch, pair) in run.iter().zip(write.ranges[earlier..].chunks_exact(2)) {
            let Some(partition) = self.partitions.get_mut(slot) else {
                return false;
            };
            next_offset = Offset(batch.placement.last_offset.0 + 1);
            partition.open_run_bytes = partition.open_run_bytes.saturating_sub(batch.size_bytes());
            partition
                .log
                .remember(batch.stored(write.chunk.slice(pair[0].start..pair[1].end)));
            kept.note_batch(slot);
        }
        let op = self.ops.start(Op::Bypass {
            group: number,
            slot,
            topic_partition,
            segment: plan.segment,
            end_position: write.end_position,
            first_offset,
            next_offset,
        });
        effects.push(Effect::Write {
            op,
            file: write.file,
            position: write.position,
            parts: vec![write.chunk],
            flush: true,
        });
        true
    }

    /// A lazy fill or the bypass of a commit group came back.
    pub(super) fn fill_operation_done(
        &mut self,
        now: Now,
        op: Op,
        result: Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        match op {
            Op::Fill {
                slot,
                topic_partition,
                segment,
                end_position,
                next_offset,
            } => {
                self.fills.in_flight = self.fills.in_flight.saturating_sub(1);
                if !self.partitions.same(slot, topic_partition) {
                    return;
                }
                match result {
                    Ok(_) => {
                        let filled = Filled {
                            slot,
                            segment,
                            end_position,
                            next_offset,
                        };
                        self.filled(now, filled, effects);
                    }
                    Err(fault) => self.fill_failed(now, slot, &fault, effects),
                }
            }
            Op::Bypass {
                group,
                slot,
                topic_partition,
                segment,
                end_position,
                first_offset,
                next_offset,
            } => {
                if self.partitions.same(slot, topic_partition) {
                    match &result {
                        Ok(_) => {
                            self.note_bypass(slot, next_offset);
                            let filled = Filled {
                                slot,
                                segment,
                                end_position,
                                next_offset,
                            };
                            self.filled(now, filled, effects);
                        }
                        Err(fault) => match fault.kind {
                            FaultKind::Full => self.hold(now, slot, first_offset, next_offset),
                            FaultKind::Dead => self.take_offline(now, slot, fault, effects),
                        },
                    }
                }
                self.commit_operation_done(now, group, Ok(()), effects);
            }
            _ => {}
        }
    }

    /// A fill (lazy or bypass) is in its segment and flushed.
    fn filled(&mut self, now: Now, filled: Filled, effects: &mut Effects<Message>) {
        let Filled {
            slot,
            segment,
            end_position,
            next_offset,
        } = filled;
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.files.filling = false;
        let unmarked = partition.log.bytes_since_mark();
        partition
            .log
            .fill_done(now, segment, end_position, next_offset);
        let more = partition.log.bytes_since_mark().saturating_sub(unmarked);
        self.fills.unmarked_bytes = self.fills.unmarked_bytes.saturating_add(more);
        let last_offset = Offset(next_offset.0.saturating_sub(1));
        self.journal
            .ring
            .filled(partition.topic_partition, last_offset);
        self.held_filled(now, slot, next_offset, effects);
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if partition.log.segment_complete(segment) {
            self.seal(slot, segment, effects);
        } else if partition.log.unfilled_bytes() > 0 {
            self.wants_fill(now, slot);
        } else {
            let due = now.after_ms(CHECKPOINT_AFTER_FILL_MS);
            self.checkpoint_due.get_or_insert(due);
            self.wants_trim(now, slot, end_position);
        }
    }

    fn fill_failed(&mut self, now: Now, slot: Slot, fault: &Fault, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.files.filling = false;
        match fault.kind {
            FaultKind::Full => {
                // The journal still has it all; the file is opened anew so that the fragment is
                // read back from what is really there.
                partition.files.state = FileState::Closed;
                self.fills.full_until = Some(now.after_ms(self.config.disk_full_retry_ms));
                let held = partition.held.is_some();
                self.wants_fill(now, slot);
                if held {
                    self.fills.now.push_back(slot);
                }
            }
            FaultKind::Dead => self.take_offline(now, slot, fault, effects),
        }
    }

    /// Makes the file that the next fill needs ready, if nothing is under way yet.
    pub(super) fn prepare_fill(&mut self, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let busy = matches!(
            partition.files.state,
            FileState::Opening | FileState::Sealing | FileState::Trimming { .. }
        );
        if busy || partition.files.filling || partition.offline {
            return;
        }
        if let Some(complete) = partition.log.segment_to_seal() {
            self.seal(slot, complete, effects);
            return;
        }
        let Some(segment) = partition.log.first_unfilled_segment() else {
            return;
        };
        if partition.file_of(segment).is_some() {
            // It is: what is durable has to go there before anything can follow.
            if !self.fills.now.contains(&slot) {
                self.fills.now.push_back(slot);
            }
            return;
        }
        let length = partition
            .log
            .segment(segment)
            .map_or(0, |segment| segment.filled_bytes);
        partition.files.state = FileState::Opening;
        let job = jobs::open_segment(partition, segment, length);
        let op = self.ops.start(Op::OpenSegment {
            slot,
            topic_partition: partition.topic_partition,
            segment,
        });
        effects.push(Effect::Job { op, job });
    }

    pub(super) fn segment_opened(
        &mut self,
        slot: Slot,
        segment: Offset,
        result: Result<Output, Fault>,
        now: Now,
        effects: &mut Effects<Message>,
    ) {
        let opened = jobs::output::<OpenedSegment>(result);
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        match opened {
            Ok(opened) => {
                partition.files.state = FileState::Open {
                    segment,
                    file: opened.file,
                };
                partition.files.fragment = opened.fragment;
                partition.files.index_bytes_written = 0;
                partition.files.time_bytes_written = 0;
                self.fills.now.push_back(slot);
            }
            Err(fault) => {
                partition.files.state = FileState::Closed;
                self.fill_failed(now, slot, &fault, effects);
            }
        }
    }

    fn seal(&mut self, slot: Slot, segment: Offset, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let Some(job) = jobs::seal_segment(partition, segment) else {
            return;
        };
        partition.files.state = FileState::Sealing;
        partition.files.fragment.clear();
        let op = self.ops.start(Op::SealSegment {
            slot,
            topic_partition: partition.topic_partition,
            segment,
        });
        effects.push(Effect::Job { op, job });
    }

    pub(super) fn segment_sealed(
        &mut self,
        slot: Slot,
        segment: Offset,
        result: Result<Output, Fault>,
        now: Now,
        effects: &mut Effects<Message>,
    ) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.files.state = FileState::Closed;
        match result {
            Ok(_) => {
                partition.log.sealed(segment);
                if partition.log.unfilled_bytes() > 0 {
                    self.wants_fill(now, slot);
                    self.fills.now.push_back(slot);
                }
            }
            Err(fault) => self.fill_failed(now, slot, &fault, effects),
        }
    }
}
