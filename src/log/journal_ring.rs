//! The ring of journal files: where the next entry goes, and which space may be used again.
//!
//! Lives on its shard's core. Owns positions, sequence numbers and the knowledge of what each
//! file still has to keep; never does I/O, never sees a batch.
//!
//! A file goes round in a lap: *free*, then *current* (entries are placed one after the other),
//! then *held* until everything in it is in flushed segments, a durable checkpoint says so, and
//! every entry in it is complete. Files are freed strictly in the order they were used, so the
//! entries that recovery needs are always one unbroken run of sequences.
//!
//! ```text
//! placed >= completed >= checkpointed        filled: per partition, by offset
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::log::journal_entry::EntryStamp;
use crate::words::limits::{BLOCK_BYTES, JOURNAL_FILE_BYTES, JOURNAL_FILES_MAX};
use crate::words::{Offset, TopicPartition, marks};

/// Number of a journal file: its name is this number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct JournalFile(pub u32);

/// Shape of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingLimits {
    /// Bytes of every file; a multiple of the block.
    pub file_bytes: u64,
    /// Files to which the ring may grow.
    pub files_max: usize,
}

impl Default for RingLimits {
    fn default() -> RingLimits {
        RingLimits {
            file_bytes: JOURNAL_FILE_BYTES as u64,
            files_max: JOURNAL_FILES_MAX,
        }
    }
}

/// Where an entry goes, and what its header has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: JournalFile,
    /// Bytes from the start of the file; a multiple of the block.
    pub position: u64,
    pub stamp: EntryStamp,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// Every file is held: appends wait until fills and a checkpoint free one, or a file is added.
    Full,
    /// The entry is longer than a file or not made of whole blocks: a mistake of the caller.
    Misshapen,
}

/// Figures for metrics and upkeep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub files: usize,
    pub files_free: usize,
    pub files_max: usize,
    /// Bytes of entries in files that are not free; what recovery would have to read.
    pub bytes_held: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries placed whose completion has not been reported.
    pub entries_in_flight: u64,
}

/// The ring of one shard and one incarnation.
#[derive(Debug)]
pub struct JournalRing {
    limits: RingLimits,
    incarnation: u64,
    /// Files with entries, in the order of use; the last is the current one.
    held: VecDeque<Lap>,
    free: VecDeque<JournalFile>,
    next_sequence: u64,
    completed: u64,
    checkpointed: u64,
    adding: bool,
}

/// One use of a file.
#[derive(Debug)]
struct Lap {
    file: JournalFile,
    used: u64,
    /// Sequence of its last entry.
    last: u64,
    /// Last offset of each partition that is not yet known to be in a flushed segment.
    unfilled: BTreeMap<TopicPartition, Offset>,
}

impl JournalRing {
    /// A ring over `files`, all of them empty (recovery leaves them so) and pre-written.
    pub fn new(limits: RingLimits, incarnation: u64, files: &[JournalFile]) -> JournalRing {
        JournalRing {
            limits,
            incarnation,
            held: VecDeque::new(),
            free: files.iter().copied().collect(),
            next_sequence: 1,
            completed: 0,
            checkpointed: 0,
            adding: false,
        }
    }

    /// Finds space for an entry of `len` bytes that holds these partitions up to these last
    /// offsets, and gives it the next sequence. The space is taken when this returns `Ok`.
    pub fn place(
        &mut self,
        len: usize,
        batches: impl IntoIterator<Item = (TopicPartition, Offset)>,
    ) -> Result<Place, NoPlace> {
        let len = self.shape(len).ok_or(NoPlace::Misshapen)?;
        let room = self.limits.file_bytes.saturating_sub(len);
        if self.held.back().is_none_or(|lap| lap.used > room) {
            let file = self.free.pop_front().ok_or(NoPlace::Full)?;
            self.held.push_back(Lap {
                file,
                used: 0,
                last: 0,
                unfilled: BTreeMap::new(),
            });
        }
        let lap = self.held.back_mut().ok_or(NoPlace::Full)?;
        let position = lap.used;
        lap.used = lap.used.saturating_add(len);
        lap.last = self.next_sequence;
        for (partition, last) in batches {
            let end = lap.unfilled.entry(partition).or_insert(last);
            *end = last.max(*end);
        }
        let stamp = EntryStamp {
            incarnation: self.incarnation,
            sequence: self.next_sequence,
            filled_through: self.checkpointed,
            completed_through: self.completed,
        };
        self.next_sequence = self.next_sequence.saturating_add(1);
        Ok(Place {
            file: lap.file,
            position,
            stamp,
        })
    }

    fn shape(&self, len: usize) -> Option<u64> {
        let good = len > 0 && len.is_multiple_of(BLOCK_BYTES);
        let len = u64::try_from(len).ok()?;
        (good && len <= self.limits.file_bytes).then_some(len)
    }

    /// Every group up to and with this entry is complete, its bypasses included, in order.
    pub fn completed(&mut self, sequence: u64) {
        debug_assert!(sequence < self.next_sequence, "completed before placed");
        self.completed = self.completed.max(sequence);
    }

    /// The partition's segments hold everything through `last` and were flushed.
    pub fn filled(&mut self, partition: TopicPartition, last: Offset) {
        for lap in &mut self.held {
            if lap.unfilled.get(&partition).is_some_and(|end| *end <= last) {
                lap.unfilled.remove(&partition);
            }
        }
    }

    /// The partition is gone: nothing of it needs to be kept.
    pub fn forget(&mut self, partition: TopicPartition) {
        for lap in &mut self.held {
            lap.unfilled.remove(&partition);
        }
    }

    /// The sequence that a checkpoint written *now* may claim: every entry up to it is complete
    /// and in flushed segments. Freeing waits for [`Self::checkpointed`] with this value.
    pub fn checkpoint_through(&self) -> u64 {
        let drained = self.held.iter().take_while(|lap| lap.unfilled.is_empty());
        drained
            .last()
            .map_or(self.checkpointed, |lap| lap.last)
            .min(self.completed)
            .max(self.checkpointed)
    }

    /// Whether a checkpoint now would free at least one file.
    pub fn checkpoint_frees(&self) -> bool {
        let through = self.checkpoint_through();
        // The current file is only freed together with a successor.
        self.held.len() > 1 && self.held.front().is_some_and(|lap| lap.last <= through)
    }

    /// A checkpoint that claims `through`, as [`Self::checkpoint_through`] gave it before the
    /// checkpoint's facts were gathered, is durable: frees what it covers, oldest first.
    pub fn checkpointed(&mut self, through: u64) {
        self.checkpointed = self.checkpointed.max(through.min(self.completed));
        while self.held.len() > 1
            && self
                .held
                .front()
                .is_some_and(|lap| lap.last <= self.checkpointed)
        {
            marks::hit("journal file free again");
            self.free.extend(self.held.pop_front().map(|lap| lap.file));
        }
    }

    /// The file to create and pre-write next, when no free one is left, the ring may grow, and
    /// none is being made. Asking takes the turn: answer with [`Self::added`] or
    /// [`Self::add_failed`].
    pub fn grow(&mut self) -> Option<JournalFile> {
        let files = self.held.len().saturating_add(self.free.len());
        if self.adding || !self.free.is_empty() || files >= self.limits.files_max {
            return None;
        }
        let used = |number: u32| {
            self.free.contains(&JournalFile(number))
                || self.held.iter().any(|lap| lap.file.0 == number)
        };
        let number = (0..=u32::MAX).find(|number| !used(*number))?;
        self.adding = true;
        Some(JournalFile(number))
    }

    /// The file asked for by [`Self::grow`] is there, durable and pre-written.
    pub fn added(&mut self, file: JournalFile) {
        self.adding = false;
        self.free.push_back(file);
    }

    /// The file could not be made (a full disk); [`Self::grow`] will ask again.
    pub fn add_failed(&mut self) {
        self.adding = false;
    }

    /// What keeps the oldest file: fill these first, through these offsets.
    pub fn holding_oldest(&self) -> impl Iterator<Item = (TopicPartition, Offset)> + '_ {
        let oldest = self.held.iter().find(|lap| !lap.unfilled.is_empty());
        oldest
            .into_iter()
            .flat_map(|lap| lap.unfilled.iter())
            .map(|(partition, end)| (*partition, *end))
    }

    /// Bytes of each file.
    pub fn file_bytes(&self) -> u64 {
        self.limits.file_bytes
    }

    /// Last sequence that was given out; 0 before the first.
    pub fn last_placed(&self) -> u64 {
        self.next_sequence.saturating_sub(1)
    }

    pub fn usage(&self) -> Usage {
        let files = self.held.len().saturating_add(self.free.len());
        Usage {
            files,
            files_free: self.free.len(),
            files_max: self.limits.files_max,
            bytes_held: self.held.iter().map(|lap| lap.used).sum(),
            bytes: self.limits.file_bytes.saturating_mul(files as u64),
            entries_in_flight: self.last_placed().saturating_sub(self.completed),
        }
    }
}

#[cfg(test)]
#[path = "journal_ring_tests.rs"]
mod tests;
