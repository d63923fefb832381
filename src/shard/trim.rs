//! The active segments of partitions at rest: their files end where their records end.
//!
//! A fill writes whole blocks, so the file of an active segment ends in zeros, on which Apache
//! Kafka's tools stumble. When nothing was appended for a while they are taken off; the next fill
//! writes the whole last block again, so it does not care. No fill of the partition runs meanwhile.

use crate::devices::{Effect, Effects, Fault, Output};
use crate::shard::ops::Op;
use crate::shard::partition::{FileState, Partition, Slot};
use crate::shard::{Message, Shard, jobs};
use crate::words::limits::{BLOCK_BYTES, TRIM_AFTER_FILL_MS, TRIMS_IN_FLIGHT_MAX};
use crate::words::{Deadline, Now, TopicPartition};

impl Partition {
    /// Everything is in the segment, and its file is open and nobody's.
    fn is_at_rest(&self) -> bool {
        self.may_fill()
            && self.log.filled() >= self.log.log_end()
            && matches!(self.files.state, FileState::Open { .. })
    }
}

impl Shard {
    /// Everything of a partition was filled, up to a position in its segment.
    pub(super) fn wants_trim(&mut self, now: Now, slot: Slot, end_position: u64) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if end_position.is_multiple_of(BLOCK_BYTES as u64) {
            partition.files.trim_by = None;
            return;
        }
        let by = now.after_ms(TRIM_AFTER_FILL_MS);
        partition.files.trim_by = Some(by);
        if !std::mem::replace(&mut partition.files.trim_queued, true) {
            self.fills.trims.push_back((by, slot));
        }
    }

    /// When the next partition may have rested long enough.
    pub(super) fn trim_deadline(&self) -> Option<Deadline> {
        let (by, _) = self.fills.trims.front()?;
        (self.fills.trimming < TRIMS_IN_FLIGHT_MAX).then_some(*by)
    }

    pub(super) fn schedule_trims(&mut self, now: Now, effects: &mut Effects<Message>) {
        while let Some(by) = self.trim_deadline().filter(|by| now.reached(*by)) {
            debug_assert!(now.reached(by));
            let Some((_, slot)) = self.fills.trims.pop_front() else {
                return;
            };
            self.trim(now, slot, effects);
        }
    }

    fn trim(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        partition.files.trim_queued = false;
        let Some(by) = partition.files.trim_by else {
            return;
        };
        if !now.reached(by) {
            partition.files.trim_queued = true;
            self.fills.trims.push_back((by, slot));
            return;
        }
        partition.files.trim_by = None;
        // Whoever fills next asks again.
        if !partition.is_at_rest() {
            return;
        }
        let FileState::Open { segment, file } = std::mem::take(&mut partition.files.state) else {
            return;
        };
        let length = partition
            .log
            .segment(segment)
            .map_or(0, |segment| segment.filled_bytes);
        let job = jobs::trim_segment(file.clone(), length);
        partition.files.state = FileState::Trimming { segment, file };
        self.fills.trimming += 1;
        let op = self.ops.start(Op::TrimSegment {
            slot,
            topic_partition: partition.topic_partition,
        });
        effects.push(Effect::Job { op, job });
    }

    pub(super) fn segment_trimmed(
        &mut self,
        slot: Slot,
        id: TopicPartition,
        result: &Result<Output, Fault>,
    ) {
        self.fills.trimming = self.fills.trimming.saturating_sub(1);
        if !self.partitions.same(slot, id) {
            return;
        }
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let state = std::mem::take(&mut partition.files.state);
        if let FileState::Trimming { segment, file } = state {
            partition.files.state = match result {
                Ok(_) => FileState::Open { segment, file },
                // It may end anywhere behind its records: it is opened anew.
                Err(_) => FileState::Closed,
            };
        }
        if let Err(fault) = result {
            let directory = partition.directory.display();
            tracing::warn!(error = %fault.error, %directory, "a segment cannot be trimmed");
        }
        if partition.log.unfilled_bytes() > 0 {
            self.fills.now.push_back(slot);
        }
    }
}
