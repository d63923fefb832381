//! What the shard is waiting for from its devices: every operation it started, by its id.

use std::collections::HashMap;

use crate::devices::OpId;
use crate::log::journal_ring::JournalFile;
use crate::shard::lookup::LookupKey;
use crate::shard::partition::Slot;
use crate::shard::produce::ProduceKey;
use crate::words::{Offset, TopicPartition};

/// What to do when an operation comes back.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// The journal entry of a commit group.
    Commit { group: u64 },
    /// The journal's relaxed appends are flushed.
    JournalFlush,
    /// A new journal file is written and ready.
    GrowJournal { number: JournalFile },
    /// A lazy fill.
    Fill {
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
        end_position: u64,
        next_offset: Offset,
    },
    /// A large run of a commit group that went straight to its segment.
    Bypass {
        group: u64,
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
        end_position: u64,
        /// First offset of the run; what is written before it is in the journal too.
        first_offset: Offset,
        next_offset: Offset,
    },
    /// A job that opens the active segment of a partition.
    OpenSegment {
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
    },
    /// A job that trims a segment and writes its indexes.
    SealSegment {
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
    },
    /// A job that takes the zeros off the end of an idle partition's active segment.
    TrimSegment {
        slot: Slot,
        topic_partition: TopicPartition,
    },
    /// A job that opens a segment for reading.
    OpenForRead {
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
    },
    /// A read of older data.
    ReadExtent {
        slot: Slot,
        topic_partition: TopicPartition,
        segment: Offset,
        position: u64,
        end_position: u64,
    },
    /// A job that writes the shard's checkpoint.
    Checkpoint { through: u64 },
    /// A look into produced batches.
    LookForProduce { key: ProduceKey },
    /// A look for one partition of a lookup: places of its topic and its partition in the request.
    LookForLookup { key: LookupKey, at: (usize, usize) },
    /// A job whose result nobody needs (deleting files of old segments or topics).
    Sweep { what: &'static str },
}

/// The table of running operations.
#[derive(Default)]
pub struct Ops {
    running: HashMap<OpId, Op>,
    next: u64,
}

impl Ops {
    pub fn start(&mut self, op: Op) -> OpId {
        let id = OpId(self.next);
        self.next = self.next.wrapping_add(1);
        self.running.insert(id, op);
        id
    }

    pub fn finish(&mut self, id: OpId) -> Option<Op> {
        self.running.remove(&id)
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}
