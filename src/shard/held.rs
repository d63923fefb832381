//! A run that went past the journal and found the disk full.
//!
//! The run has its offsets, and batches behind it may be on their way or even in the journal, so
//! nothing is taken back. The partition holds: producers are told KAFKA_STORAGE_ERROR, at once from
//! then on, and what is durable is served. The run stays in the tail and is written again with the
//! fills, which try as soon as they may on a full disk; once it is in the segment and flushed, all
//! that waited behind it counts and appends go on.
//!
//! Why recovery may find this at any moment:
//! - A retry begins at the filled mark, as every fill does, so it writes over everything that the
//!   failed write may have left in part, and nothing of the run counts before a write of it was
//!   flushed.
//! - The run's group is not complete, so no journal entry from it on is called complete (FORMAT.md,
//!   "completed through") while any partition of the shard holds: recovery takes the missing run
//!   for the torn end of this partition and drops what lies behind it, of which nothing was
//!   acknowledged. Other partitions are answered meanwhile: their entries are flushed and in
//!   sequence, and only a proof against rot is late.
//! - If the failed write got there whole, recovery keeps the run: its batches stand at their
//!   offsets, and a client that was told an error knows that they may be stored.

use crate::devices::Effects;
use crate::shard::commit::PendingBatch;
use crate::shard::partition::{FileState, Slot};
use crate::shard::{Message, Shard};
use crate::words::{Now, Offset};

/// What a partition waits for, and what waits with it.
pub struct Held {
    /// First offset of the run; everything below it becomes durable as ever.
    pub from: Offset,
    /// The offset after the run.
    pub until: Offset,
    /// The run's group had its turn, so everything before the run is durable: fills may write it.
    pub ready: bool,
    /// How far the groups reach that were completed meanwhile.
    then: Offset,
    /// Batches that had their place behind the run and no group yet. Bounded by what the open
    /// group had: no others come.
    waiting: Vec<PendingBatch>,
}

impl Shard {
    /// A run did not fit on the disk.
    pub(super) fn hold(&mut self, now: Now, slot: Slot, from: Offset, until: Offset) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        // The file is opened anew, so that the fragment is read back from what is really there.
        partition.files.filling = false;
        partition.files.state = FileState::Closed;
        if partition.offline {
            return;
        }
        tracing::error!(
            topic = %partition.topic,
            partition = partition.topic_partition.partition.0,
            directory = %partition.directory.display(),
            "no space for a run of records: appends to this partition are refused until it is \
             stored, which is tried again and again"
        );
        partition.held = Some(Held {
            from,
            until,
            ready: false,
            then: until,
            waiting: self.commit.take_open(slot),
        });
        self.commit.hold();
        self.fills.full_until = Some(now.after_ms(self.config.disk_full_retry_ms));
    }

    /// A group is complete but for what waits of this partition, at or behind the run.
    pub(super) fn held_group_done(
        &mut self,
        now: Now,
        slot: Slot,
        end: Offset,
        effects: &mut Effects<Message>,
    ) {
        if let Some(held) = self
            .partitions
            .get_mut(slot)
            .and_then(|partition| partition.held.as_mut())
        {
            held.ready = true;
            held.then = held.then.max(end);
            self.fills.now.push_back(slot);
        }
        self.fail_owed(now, slot, effects);
    }

    /// Everything below `next_offset` is in the segment and flushed.
    pub(super) fn held_filled(
        &mut self,
        now: Now,
        slot: Slot,
        next_offset: Offset,
        effects: &mut Effects<Message>,
    ) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let Some(held) = &partition.held else {
            return;
        };
        if next_offset <= held.from {
            return;
        }
        partition.log.durable_to(next_offset);
        if next_offset < held.until {
            self.fills.now.push_back(slot);
        } else if let Some(held) = partition.held.take() {
            partition.log.durable_to(held.then);
            tracing::info!(
                topic = %partition.topic,
                partition = partition.topic_partition.partition.0,
                "there is space again: appends go on"
            );
            for batch in held.waiting {
                self.commit.push(batch);
            }
            self.release_hold();
        }
        self.note_bypass(slot, next_offset);
        self.high_watermark_moved(now, slot, effects);
    }

    /// One partition holds no more: stored, offline or gone.
    pub(super) fn release_hold(&mut self) {
        if let Some(proven) = self.commit.release() {
            self.journal.ring.completed(proven);
        }
    }
}
