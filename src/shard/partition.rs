//! A partition on its shard: the log, its files, and who waits for it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::devices::FileHandle;
use crate::log::partition::Log;
use crate::shard::held::Held;
use crate::shard::produce::ProduceKey;
use crate::wait::OffsetQueue;
use crate::words::{Deadline, Offset, TopicPartition};

/// Place of a partition in its shard's table; never used again for another one in the same run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u32);

/// A partition that this shard leads.
pub struct Partition {
    pub topic_partition: TopicPartition,
    pub topic: Arc<str>,
    /// `<log dir>/<topic>-<partition>`.
    pub directory: PathBuf,
    pub log: Log,
    pub files: Files,
    /// Produce answers owed at a log end offset.
    pub owed: OffsetQueue<ProduceKey>,
    /// Bytes of this partition in the open commit group.
    pub open_run_bytes: usize,
    /// When idle data should be filled at the latest; `None` when everything is filled.
    pub fill_by: Option<Deadline>,
    /// Messages since the last flush, where the topic lets answers leave before it.
    pub unflushed_messages: i64,
    /// A run that went past the journal found the disk full: nothing is appended until it is
    /// stored (`shard/held.rs`).
    pub held: Option<Held>,
    /// Set when a write or flush failed: nothing is appended or vouched for any more.
    pub offline: bool,
    /// Recovery could not vouch for it: what is there is unknown, so that even reading is refused
    /// (an empty answer would have consumers begin anew).
    pub unrecovered: bool,
}

/// The active segment's file, which only fills touch.
#[derive(Default)]
pub struct Files {
    pub state: FileState,
    /// Bytes of the last, partly filled block of the file: written again with the next fill.
    pub fragment: Vec<u8>,
    /// A fill is being written.
    pub filling: bool,
    /// Bytes of the active segment's indexes that are in their files.
    pub index_bytes_written: usize,
    pub time_bytes_written: usize,
    /// The `leader-epoch-checkpoint` of the last checkpoint.
    pub epochs_written: Vec<u8>,
    /// The file ends in zeros, to be taken off when nothing is appended until then.
    pub trim_by: Option<Deadline>,
    /// The partition is in the queue of those to be trimmed.
    pub trim_queued: bool,
}

/// What stands between a fill and its file.
#[derive(Default)]
pub enum FileState {
    #[default]
    Closed,
    /// A job opens it.
    Opening,
    Open {
        segment: Offset,
        file: FileHandle,
    },
    /// A job trims it and writes its indexes.
    Sealing,
    /// A job takes the zeros off its end; it is open again behind it.
    Trimming {
        segment: Offset,
        file: FileHandle,
    },
}

impl Partition {
    /// The open file of `segment`, if it is that one.
    pub fn file_of(&self, segment: Offset) -> Option<&FileHandle> {
        match &self.files.state {
            FileState::Open {
                segment: open,
                file,
            } if *open == segment => Some(file),
            _ => None,
        }
    }

    /// A group that reaches `end` waits with the partition for space.
    pub fn holds(&self, end: Offset) -> bool {
        self.held.as_ref().is_some_and(|held| end > held.from)
    }

    /// How far fills may go: what is durable, or a run that waits for space.
    pub fn fill_limit(&self) -> Offset {
        match &self.held {
            Some(held) if held.ready => held.until,
            _ => self.log.high_watermark(),
        }
    }

    /// Whether a fill may start now, given that the file is open.
    pub fn may_fill(&self) -> bool {
        !self.files.filling && !self.offline
    }
}
