//! The table of recovery: facts about bytes that were found, and what becomes of them.
//!
//! Pure. Recovery gathers facts, asks here, and acts; nothing else decides. Rows are tried from
//! the top and the first that fits wins; each has a letter, by which messages and tests name it,
//! and the crash story that leads to it.
//!
//! The law behind every table: what may have been acknowledged is never cut silently. It is
//! either kept, or restored from the journal, or its partition goes offline with a message that
//! names file, position and row, while all other partitions live.
//!
//! Torn, rotten and unreadable are three words. *Torn*: a write that was never confirmed did not
//! finish; cutting it loses nothing. *Rotten*: bytes that were once confirmed are no longer what
//! was written. *Unreadable*: the device gave an error; that is no verdict, recovery ends with it.

use crate::words::marks;

/// A row of a table.
pub struct Row<F, V> {
    /// Name of the row, unique over all tables.
    pub letter: &'static str,
    /// How the facts come about.
    pub story: &'static str,
    when: fn(&F) -> bool,
    pub verdict: V,
}

/// What becomes of the end of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum TailVerdict {
    /// The segment is as it should be.
    Keep,
    /// Whole, with unused space behind it: shorten the file.
    TrimPreallocation,
    /// An unfinished write: shorten the file to its good part.
    CutTornTail,
    /// As `CutTornTail`, but what is cut is first copied beside the segment: it could be rot in
    /// bytes whose acknowledgement left no trace.
    CutKeepingCopy,
    /// Shorten the file to its good part and delete the segments behind it: the journal holds
    /// everything from there on.
    RestoreFromJournal,
    /// Touch nothing, take the partition offline.
    QuarantineRot,
}

/// Facts about the end of one segment, after a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailFacts {
    pub end: TailEnd,
    /// Something says that offsets past the good part were once in flushed segments: the
    /// checkpoint, a mark in the journal, Kafka's recovery point.
    pub proven_beyond: bool,
    /// The journal holds every batch from where the good part ends to everything that is proven
    /// or lies behind.
    pub journal_continues: bool,
    /// A later segment of the partition holds bytes, and its base is not where this one ends.
    pub later_data_apart: bool,
}

/// How a scan ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TailEnd {
    Clean,
    Zeros,
    Damaged,
    /// Damaged, and a whole batch of later offsets stands right behind the damage.
    DamagedThenGood,
}

/// The end of a segment.
pub const TAIL: &[Row<TailFacts, TailVerdict>] = &[
    Row {
        letter: "T1",
        story: "Flushed bytes are gone or rotten, but their journal entry was not yet reused: \
                the journal still has every batch from the damage on.",
        when: |f| (f.proven_beyond || f.later_data_apart) && f.journal_continues,
        verdict: TailVerdict::RestoreFromJournal,
    },
    Row {
        letter: "T2",
        story: "Bytes that were confirmed as flushed are gone or rotten and exist nowhere else: \
                a broken drive, or somebody edited the directory.",
        when: |f| f.proven_beyond,
        verdict: TailVerdict::QuarantineRot,
    },
    Row {
        letter: "T3",
        story: "A segment is flushed before its successor gets bytes, so a hole between two \
                segments with data is not the work of a crash.",
        when: |f| f.later_data_apart,
        verdict: TailVerdict::QuarantineRot,
    },
    Row {
        letter: "T4",
        story: "A clean stop, or a crash between two writes.",
        when: |f| f.end == TailEnd::Clean,
        verdict: TailVerdict::Keep,
    },
    Row {
        letter: "T5",
        story: "A crash after a write that was padded to the block, or with space reserved ahead.",
        when: |f| f.end == TailEnd::Zeros,
        verdict: TailVerdict::TrimPreallocation,
    },
    Row {
        letter: "T6",
        story: "A power cut during one large write: its sectors reach the drive in any order, so \
                a whole batch may stand behind a torn one. Rot in a bypassed run that nothing \
                later vouches for looks the same, hence the copy.",
        when: |f| f.end == TailEnd::DamagedThenGood && !f.journal_continues,
        verdict: TailVerdict::CutKeepingCopy,
    },
    Row {
        letter: "T7",
        story: "A crash in the middle of a fill or of a bypass that was not yet answered; a fill \
                is replayed from the journal, the bypass never happened.",
        when: |f| matches!(f.end, TailEnd::Damaged | TailEnd::DamagedThenGood),
        verdict: TailVerdict::CutTornTail,
    },
];

/// What becomes of a sequence number of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum EntryVerdict {
    /// Look at its batches.
    Read,
    /// Everything in it is in flushed segments.
    SkipFilled,
    /// The journal ends before it; nothing from here on was acknowledged.
    StopAtGap,
    /// It was acknowledged and is gone: the partitions that its remains name go offline.
    QuarantineSuspects,
    /// It was acknowledged and nothing tells whose it was: every partition of this journal that
    /// is not proven whole goes offline.
    QuarantineJournal,
}

/// Facts about one sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryFacts {
    /// A whole entry with this sequence was found.
    pub present: bool,
    /// At or below the checkpoint, or what any entry calls filled.
    pub filled: bool,
    /// At or below what any entry calls completed.
    pub completed: bool,
    /// A damaged entry that claims this sequence was found, and its descriptors can be read.
    pub suspects_named: bool,
}

/// One sequence number of the journal.
pub const ENTRY: &[Row<EntryFacts, EntryVerdict>] = &[
    Row {
        letter: "E1",
        story: "An earlier lap, or the last lap of an idle shard: filled, flushed, checkpointed.",
        when: |f| f.filled,
        verdict: EntryVerdict::SkipFilled,
    },
    Row {
        letter: "E2",
        story: "Written, perhaps answered, not yet known to be in a flushed segment.",
        when: |f| f.present,
        verdict: EntryVerdict::Read,
    },
    Row {
        letter: "E3",
        story: "A crash while groups were in flight: this one did not reach the drive. Groups \
                are answered in order, so neither it nor anything after it was.",
        when: |f| !f.completed,
        verdict: EntryVerdict::StopAtGap,
    },
    Row {
        letter: "E4",
        story: "A later entry knows that this one was complete, and it no longer is: rot. Its \
                header and descriptors still read and name partitions.",
        when: |f| f.suspects_named,
        verdict: EntryVerdict::QuarantineSuspects,
    },
    Row {
        letter: "E5",
        story: "A later entry knows that this one was complete, and nothing of it is left: a \
                lost journal file, or rot in its first sector.",
        when: |_| true,
        verdict: EntryVerdict::QuarantineJournal,
    },
];

/// What becomes of one batch in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum BatchVerdict {
    /// Append it to the segments.
    ReplayFromJournal,
    /// The segments have it already.
    SkipHeldBySegment,
    /// Its topic or partition was deleted.
    ForgetDeletedTopic,
    /// Its partition is offline: leave it where it is.
    LeaveForOffline,
    /// Something before it is missing and never was acknowledged: it goes, and so do all later
    /// batches of its partition.
    StopAtGap,
    /// It contradicts what is there: the partition goes offline.
    QuarantineRot,
}

/// Where a batch lies relative to the partition's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Held,
    Next,
    Overlap,
    Beyond,
}

/// Facts about one batch in the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchFacts {
    pub live: bool,
    pub offline: bool,
    pub place: Place,
    /// Its entry is at or below what any entry calls completed.
    pub completed: bool,
    /// Its own header and checksum hold and agree with the descriptor.
    pub sound: bool,
}

/// One batch in the journal.
pub const BATCH: &[Row<BatchFacts, BatchVerdict>] = &[
    Row {
        letter: "B1",
        story: "The topic was deleted while its last batches were still only in the journal.",
        when: |f| !f.live,
        verdict: BatchVerdict::ForgetDeletedTopic,
    },
    Row {
        letter: "B2",
        story: "Its partition is in quarantine; the journal is set aside with everything in it.",
        when: |f| f.offline,
        verdict: BatchVerdict::LeaveForOffline,
    },
    Row {
        letter: "B3",
        story: "Filled before the crash, or replayed by a recovery that was itself cut off.",
        when: |f| f.place == Place::Held,
        verdict: BatchVerdict::SkipHeldBySegment,
    },
    Row {
        letter: "B4",
        story: "The entry is as it was written, the batch in it is not one: a bug of the writer.",
        when: |f| !f.sound,
        verdict: BatchVerdict::QuarantineRot,
    },
    Row {
        letter: "B5",
        story: "Acknowledged or about to be, not yet filled: the reason for having a journal.",
        when: |f| f.place == Place::Next,
        verdict: BatchVerdict::ReplayFromJournal,
    },
    Row {
        letter: "B6",
        story: "Begins before the end of the segments and ends after it: offsets were given \
                twice, or a segment was edited.",
        when: |f| f.place == Place::Overlap,
        verdict: BatchVerdict::QuarantineRot,
    },
    Row {
        letter: "B7",
        story: "Its entry was complete, so everything before it was durable, and is not there.",
        when: |f| f.completed,
        verdict: BatchVerdict::QuarantineRot,
    },
    Row {
        letter: "B8",
        story: "A bypass of the group before it (or of its own) was still being written: neither \
                was acknowledged.",
        when: |_| true,
        verdict: BatchVerdict::StopAtGap,
    },
];

/// What becomes of a segment's index files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum IndexVerdict {
    Keep,
    /// Take the entries that the checkpoint counts, go on from there.
    Extend,
    /// Scan the segment from its start.
    RebuildIndex,
}

/// Facts about the index files of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexFacts {
    /// The segment is below the one that was active at the checkpoint.
    pub sealed: bool,
    /// Files are there, and hold at least the entries that are promised (by the checkpoint for
    /// the active segment; any whole number of entries for a sealed one).
    pub long_enough: bool,
    /// The promised entries rise as they should and stay inside the segment.
    pub sane: bool,
}

/// The index files of one segment.
pub const INDEX: &[Row<IndexFacts, IndexVerdict>] = &[
    Row {
        letter: "I1",
        story: "Deleted by hand, or written in part by a stop in the middle of a roll: indexes \
                can always be made again from the segment.",
        when: |f| !f.long_enough || !f.sane,
        verdict: IndexVerdict::RebuildIndex,
    },
    Row {
        letter: "I2",
        story: "Trimmed and flushed when the segment was sealed.",
        when: |f| f.sealed,
        verdict: IndexVerdict::Keep,
    },
    Row {
        letter: "I3",
        story: "The index of an active segment is in memory; what was on disk at the checkpoint \
                is a true beginning of it.",
        when: |_| true,
        verdict: IndexVerdict::Extend,
    },
];

/// What becomes of a partition directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum DirectoryVerdict {
    Recover,
    /// As `Recover`, after writing down whose it is.
    Adopt,
    /// Nobody's, and nobody wants its name: report it, touch nothing.
    LeaveStray,
    /// Of a topic that metadata does not know, while a live topic has its name: give it Kafka's
    /// name of a stray, so that the live one can have its own.
    SetAsideStray,
    /// It is live and its state cannot be known: offline.
    Refuse,
    /// An earlier recovery took it offline, and nobody has said that it may come back.
    StayOffline,
}

/// Facts about a directory whose name looks like a partition's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryFacts {
    /// A live topic has this name and this partition.
    pub name_live: bool,
    pub id: DirectoryId,
    /// Files of an unfinished compaction of Kafka (`.swap`) are there.
    pub swap_files: bool,
    /// The file `quarantine` is there.
    pub quarantined: bool,
    /// Segments are there, and no checkpoint or journal of ours knows the partition.
    pub foreign: bool,
}

/// What `partition.metadata` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryId {
    /// The live topic's id.
    Same,
    /// Another id.
    Other,
    /// There is no such file.
    None,
    /// There is one and it does not read.
    Unknown,
}

/// One partition directory.
pub const DIRECTORY: &[Row<DirectoryFacts, DirectoryVerdict>] = &[
    Row {
        letter: "D1",
        story: "A topic that metadata does not know: deleted before its directories were, or \
                the directory came from elsewhere.",
        when: |f| !f.name_live,
        verdict: DirectoryVerdict::LeaveStray,
    },
    Row {
        letter: "D2",
        story: "A topic was deleted and made again under its old name; the crash came before the \
                old directories went.",
        when: |f| f.id == DirectoryId::Other,
        verdict: DirectoryVerdict::SetAsideStray,
    },
    Row {
        letter: "D7",
        story: "An earlier start found rot here and wrote down why; only an operator may end it.",
        when: |f| f.quarantined,
        verdict: DirectoryVerdict::StayOffline,
    },
    Row {
        letter: "D3",
        story: "The file is replaced atomically, so it is rotten; guessing the topic could serve \
                one topic's records as another's.",
        when: |f| f.id == DirectoryId::Unknown,
        verdict: DirectoryVerdict::Refuse,
    },
    Row {
        letter: "D4",
        story: "Kafka was killed while it swapped compacted segments in; only Kafka knows which \
                files replace which. Start and stop Kafka once more.",
        when: |f| f.swap_files,
        verdict: DirectoryVerdict::Refuse,
    },
    Row {
        letter: "D8",
        story: "Ottla names the topic before it makes a segment: these were brought here under \
                the name of a topic that is younger.",
        when: |f| f.id == DirectoryId::None && f.foreign,
        verdict: DirectoryVerdict::SetAsideStray,
    },
    Row {
        letter: "D5",
        story: "A crash between making the directory and naming its topic, or a directory of a \
                Kafka older than topic ids.",
        when: |f| f.id == DirectoryId::None,
        verdict: DirectoryVerdict::Adopt,
    },
    Row {
        letter: "D6",
        story: "An ordinary start.",
        when: |_| true,
        verdict: DirectoryVerdict::Recover,
    },
];

/// A verdict and the letter of the row that gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judged<V> {
    pub verdict: V,
    pub letter: &'static str,
}

fn judge<F, V: Copy>(table: &[Row<F, V>], facts: &F, otherwise: V) -> Judged<V> {
    let row = table.iter().find(|row| (row.when)(facts));
    if let Some(row) = row {
        marks::hit(row.letter);
    }
    Judged {
        verdict: row.map_or(otherwise, |row| row.verdict),
        letter: row.map_or("??", |row| row.letter),
    }
}

/// Judges the end of a segment.
pub fn tail(facts: TailFacts) -> Judged<TailVerdict> {
    judge(TAIL, &facts, TailVerdict::QuarantineRot)
}

/// Judges a sequence number of the journal.
pub fn entry(facts: EntryFacts) -> Judged<EntryVerdict> {
    judge(ENTRY, &facts, EntryVerdict::QuarantineJournal)
}

/// Judges a batch in the journal.
pub fn batch(facts: BatchFacts) -> Judged<BatchVerdict> {
    judge(BATCH, &facts, BatchVerdict::QuarantineRot)
}

/// Judges a segment's index files.
pub fn index(facts: IndexFacts) -> Judged<IndexVerdict> {
    judge(INDEX, &facts, IndexVerdict::RebuildIndex)
}

/// Judges a partition directory.
pub fn directory(facts: DirectoryFacts) -> Judged<DirectoryVerdict> {
    judge(DIRECTORY, &facts, DirectoryVerdict::Refuse)
}

/// The crash story of a row, by its letter.
pub fn story(letter: &str) -> Option<&'static str> {
    fn find<F, V>(table: &'static [Row<F, V>], letter: &str) -> Option<&'static str> {
        table
            .iter()
            .find(|row| row.letter == letter)
            .map(|row| row.story)
    }
    find(TAIL, letter)
        .or_else(|| find(ENTRY, letter))
        .or_else(|| find(BATCH, letter))
        .or_else(|| find(INDEX, letter))
        .or_else(|| find(DIRECTORY, letter))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
