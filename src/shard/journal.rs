//! The shard's journal: the ring's rules (`log::journal_ring`) joined with its open files.

use crate::devices::{Effect, Effects, Fault, FaultKind, FileHandle, Output};
use crate::log::checkpoints::JournalMark;
use crate::log::flush_debt::FlushDebt;
use crate::log::journal_entry::{self, DurableMark, EntryBatch};
use crate::log::journal_ring::{JournalFile, JournalRing, NoPlace, Place};
use crate::shard::commit::PendingBatch;
use crate::shard::jobs;
use crate::shard::ops::Op;
use crate::shard::partitions::Partitions;
use crate::shard::{Message, Shard};
use crate::words::limits::{CHECKPOINT_STEPS, FILLS_STOP_STEPS, RESCAN_STEPS};
use crate::words::{Now, Offset, marks};

/// The ring, its files, and what the next entry has to carry.
pub struct Journal {
    pub ring: JournalRing,
    /// What was acknowledged before its flush.
    pub debt: FlushDebt,
    incarnation: u64,
    files: Vec<(JournalFile, FileHandle)>,
    pub directory: std::path::PathBuf,
    /// A group could not be placed: fills and a checkpoint must free space.
    pub starved: bool,
    growing: bool,
    /// Runs that went past the journal and are durable; the next entry tells recovery.
    marks: Vec<DurableMark>,
    /// A checkpoint is being written.
    pub checkpointing: bool,
}

/// There is no room for an entry now.
pub struct NoRoom;

/// A place in the ring for one entry.
pub struct Placed {
    pub place: Place,
    pub len: usize,
    pub marks: Vec<DurableMark>,
}

impl Journal {
    pub fn new(
        ring: JournalRing,
        incarnation: u64,
        files: Vec<(JournalFile, FileHandle)>,
        directory: std::path::PathBuf,
    ) -> Journal {
        Journal {
            ring,
            debt: FlushDebt::default(),
            incarnation,
            files,
            directory,
            starved: false,
            growing: false,
            marks: Vec::new(),
            checkpointing: false,
        }
    }

    pub fn file(&self, number: JournalFile) -> FileHandle {
        match self.files.iter().find(|(known, _)| *known == number) {
            Some((_, file)) => file.clone(),
            None => unreachable!("the ring names only files that were given to it"),
        }
    }

    /// A run of a partition reached its segment without the journal.
    pub fn note_bypass(&mut self, mark: DurableMark) {
        marks::hit("bypass");
        match self
            .marks
            .iter_mut()
            .find(|known| known.topic_partition == mark.topic_partition)
        {
            Some(known) => *known = mark,
            None => self.marks.push(mark),
        }
    }

    pub fn views<'a>(
        &self,
        partitions: &Partitions,
        batches: impl Iterator<Item = &'a PendingBatch>,
    ) -> Vec<EntryBatch<'a>> {
        batches
            .filter_map(|batch| {
                let partition = partitions.get(batch.slot)?;
                Some(EntryBatch {
                    topic_partition: partition.topic_partition,
                    base_offset: batch.placement.base_offset,
                    last_offset: batch.placement.last_offset,
                    leader_epoch: batch.placement.leader_epoch,
                    header: batch.header,
                    body: &batch.body,
                })
            })
            .collect()
    }

    /// Finds room for one entry; `Ok(None)` when there is nothing to write.
    pub fn place(
        &mut self,
        partitions: &Partitions,
        batches: &[&PendingBatch],
    ) -> Result<Option<Placed>, NoRoom> {
        if batches.is_empty() {
            return Ok(None);
        }
        let views = self.views(partitions, batches.iter().copied());
        let Some(len) = journal_entry::encoded_len(&views, &self.marks) else {
            unreachable!("a group is smaller than an entry may be");
        };
        let holds: Vec<_> = views
            .iter()
            .map(|view| (view.topic_partition, view.last_offset))
            .collect();
        match self.ring.place(len, holds) {
            Ok(place) => {
                self.starved = false;
                Ok(Some(Placed {
                    place,
                    len,
                    marks: std::mem::take(&mut self.marks),
                }))
            }
            Err(NoPlace::Full) => {
                marks::hit("journal full");
                self.starved = true;
                Err(NoRoom)
            }
            Err(NoPlace::Misshapen) => {
                unreachable!("entries are whole blocks, shorter than a file")
            }
        }
    }

    /// What a checkpoint that covers everything through `sequence` says of the journal.
    pub fn mark(&self, sequence: u64) -> JournalMark {
        JournalMark {
            incarnation: self.incarnation,
            sequence,
        }
    }

    /// The ring is filling up: older entries should move to segments.
    pub fn is_pressed(&self) -> bool {
        let usage = self.ring.usage();
        self.starved || (usage.files_free == 0 && usage.files > usage.files_max / 2)
    }
}

impl Shard {
    /// Adds a journal file when the ring is short of free ones and may grow.
    pub(super) fn grow_journal(&mut self, effects: &mut Effects<Message>) {
        if self.journal.growing {
            return;
        }
        let Some(number) = self.journal.ring.grow() else {
            return;
        };
        self.journal.growing = true;
        let job = jobs::prepare_journal_file(
            &self.journal.directory,
            number,
            self.journal.ring.file_bytes(),
        );
        let op = self.ops.start(Op::GrowJournal { number });
        effects.push(Effect::Job { op, job });
    }

    pub(super) fn journal_grown(&mut self, number: JournalFile, result: Result<Output, Fault>) {
        self.journal.growing = false;
        match jobs::output::<FileHandle>(result) {
            Ok(file) => {
                marks::hit("journal grown");
                self.journal.files.push((number, file));
                self.journal.ring.added(number);
                self.journal.starved = false;
            }
            Err(fault) => {
                tracing::warn!(error = %fault.error, "the journal cannot grow");
                self.journal.ring.add_failed();
            }
        }
    }

    /// Flushes what was acknowledged before its flush, when it is due or in the way.
    pub(super) fn schedule_flush(&mut self, now: Now, effects: &mut Effects<Message>) {
        let due = self.journal.debt.due().is_some_and(|due| now.reached(due));
        if !(due || self.journal.starved || self.fills.draining) {
            return;
        }
        for number in self.journal.debt.begin() {
            let op = self.ops.start(Op::JournalFlush);
            effects.push(Effect::Flush {
                op,
                file: self.journal.file(number),
            });
        }
    }

    pub(super) fn journal_flushed(
        &mut self,
        now: Now,
        result: &Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        if let Err(fault) = result {
            self.break_journal(now, fault, effects);
            self.forsake_groups();
            for slot in self.partitions.slots() {
                self.stop_appends(now, slot, effects);
            }
            return;
        }
        if let Some(proven) = self.journal.debt.flushed() {
            self.journal_proven(proven);
        }
    }

    /// Keeps a free journal file at hand: adds one while the ring is small, and frees drained ones
    /// with a checkpoint when it is not. A checkpoint is also due some time after the last fill,
    /// and when recovery would have much to read again: what bypasses the journal never fills it.
    pub(super) fn schedule_checkpoint(&mut self, now: Now, effects: &mut Effects<Message>) {
        let usage = self.journal.ring.usage();
        let full = usage.files_free == 0 && usage.bytes_held > 0;
        if full || self.journal.starved {
            self.grow_journal(effects);
        }
        let due = self.checkpoint_due.is_some_and(|due| now.reached(due));
        let large = usage.files >= usage.files_max / 4 || self.journal.starved;
        let frees = full && large && self.journal.ring.checkpoint_frees();
        let behind = self.recovery_would_read_much();
        let again = self.checkpoint_after.is_none_or(|after| now.reached(after));
        if !self.journal.checkpointing && again && (due || frees || behind) {
            let idle = due && self.commit.is_idle();
            self.start_checkpoint(idle, effects);
        }
        if self.journal_is_stuck() {
            marks::hit("journal held by an offline partition");
            tracing::error!(directory = %self.journal.directory.display(), "the journal is full of records of partitions that are offline: the shard takes no more appends until a restart");
            let fault = Fault {
                kind: FaultKind::Dead,
                error: std::io::Error::other("its journal is held by partitions that are offline"),
            };
            self.break_journal(now, &fault, effects);
        }
    }

    /// Appends wait for room, and nothing will ever make it: the oldest records that the journal
    /// keeps are those of partitions that went offline, and they exist nowhere else.
    fn journal_is_stuck(&self) -> bool {
        let journal = &self.journal;
        if !journal.starved || journal.growing || journal.checkpointing || self.commit.broken {
            return false;
        }
        let offline = |partition| {
            let slot = self.partitions.slot_of(partition);
            slot.and_then(|slot| self.partitions.get(slot))
                .is_some_and(|partition| partition.offline)
        };
        let mut oldest = journal.ring.holding_oldest().peekable();
        oldest.peek().is_some()
            && !journal.ring.checkpoint_frees()
            && oldest.all(|(partition, _)| offline(partition))
    }

    fn start_checkpoint(&mut self, all: bool, effects: &mut Effects<Message>) {
        self.journal.checkpointing = true;
        self.checkpoint_due = None;
        self.deletions.board();
        let through = self.journal.ring.checkpoint_through();
        let job = jobs::checkpoint(self, through, all);
        let op = self.ops.start(Op::Checkpoint { through });
        effects.push(Effect::Job { op, job });
    }

    /// The checkpoint with which a draining shard ends.
    pub(super) fn start_closing_checkpoint(&mut self, effects: &mut Effects<Message>) {
        if !self.journal.checkpointing {
            self.deletions.board();
        }
        let through = self.journal.ring.checkpoint_through();
        let job = jobs::closing_checkpoint(self, through);
        let op = self.ops.start(Op::Checkpoint { through });
        effects.push(Effect::Job { op, job });
    }

    pub(super) fn checkpointed(&mut self, now: Now, through: u64, result: Result<Output, Fault>) {
        self.journal.checkpointing = false;
        self.checkpoint_after = None;
        self.deletions_checkpointed(result.is_ok());
        match result {
            Ok(_) => {
                self.journal.ring.checkpointed(through);
                self.journal.starved = false;
            }
            Err(fault) => {
                self.checkpoint_after = Some(now.after_ms(self.config.disk_full_retry_ms));
                // What it wrote of a partition's files is not known: the next writes it whole.
                for (_, partition) in self.partitions.iter_mut() {
                    partition.files.index_bytes_written = 0;
                    partition.files.time_bytes_written = 0;
                    partition.files.epochs_written.clear();
                }
                tracing::warn!(error = %fault.error, "no checkpoint was written");
            }
        }
    }

    /// Recovery would have so much to read again that nothing more is filled before the
    /// checkpoint that is being written has ended.
    pub(super) fn fills_wait_for_checkpoint(&self) -> bool {
        let stop = self.config.rescan_bytes_max / RESCAN_STEPS * FILLS_STOP_STEPS;
        self.journal.checkpointing && self.fills.unmarked_bytes >= stop
    }

    /// So much was filled since the marks that new ones are due. What the last checkpoint could
    /// not mark (a file on its way from one segment to the next) does not ask for one by itself.
    fn recovery_would_read_much(&self) -> bool {
        let max = self.config.rescan_bytes_max;
        let since = self.fills.unmarked_kept.saturating_add(max / RESCAN_STEPS);
        self.fills.unmarked_bytes >= (max / RESCAN_STEPS * CHECKPOINT_STEPS).max(since)
    }

    /// A bypass run is durable: remember to say so in the journal.
    pub(super) fn note_bypass(&mut self, slot: crate::shard::partition::Slot, next_offset: Offset) {
        if let Some(partition) = self.partitions.get(slot) {
            self.journal.note_bypass(DurableMark {
                topic_partition: partition.topic_partition,
                last_offset: Offset(next_offset.0.saturating_sub(1)),
            });
        }
    }
}
