//! Recovery's reading of the journals: which batches they hold, what they prove, what they lost.
//!
//! Runs before any shard starts. Owns nothing on disk: only reads. What a missing or damaged entry
//! means is asked of `log::verdict`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Note, RecoveryError, at};
use crate::devices::{Disk, FileHandle, Open};
use crate::log::journal_entry::{self, Claim, DurableMark, Entry, EntryStamp, Found, Item, Tear};
use crate::log::verdict::{self, EntryFacts, EntryVerdict, Judged};
use crate::words::limits::BLOCK_BYTES;
use crate::words::{LeaderEpoch, Offset, TopicPartition, marks};

/// Largest file that is taken for a journal file, in bytes: the ring's files are far smaller.
const JOURNAL_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Where a batch lies in a journal, and what its entry says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRef {
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) leader_epoch: LeaderEpoch,
    /// Place of the file in [`Journals::files`].
    pub(super) file: usize,
    pub(super) position: u64,
    pub(super) len: u32,
    /// Some later entry calls this batch's entry complete: it may have been acknowledged.
    pub(super) completed: bool,
}

/// Proof that a partition's log once reached `end`, durably.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proof {
    pub(super) end: Offset,
    /// Who says so, for the message.
    pub(super) source: String,
}

/// A journal that lost an acknowledged entry without a trace of whose it was.
#[derive(Debug)]
pub(super) struct LostEntry {
    pub(super) directory: PathBuf,
    pub(super) letter: &'static str,
    pub(super) message: String,
    /// Partitions that this journal is known to have served.
    pub(super) partitions: BTreeSet<TopicPartition>,
}

/// Everything that the journals say.
#[derive(Default)]
pub(super) struct Journals {
    pub(super) files: Vec<(PathBuf, FileHandle)>,
    /// Batches that the segments may lack, in the order of the journal.
    pub(super) batches: BTreeMap<TopicPartition, Vec<BatchRef>>,
    pub(super) proofs: BTreeMap<TopicPartition, Proof>,
    pub(super) lost: Vec<LostEntry>,
    /// Directories that hold a batch of the partition.
    pub(super) holders: BTreeMap<TopicPartition, BTreeSet<PathBuf>>,
    pub(super) incarnation_max: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) notes: Vec<Note>,
}

/// One directory `journal.<k>`, and what is known of it before it is read.
pub(super) struct JournalDirectory {
    pub(super) path: PathBuf,
    /// The only incarnation that counts; the highest found when nothing says which.
    pub(super) incarnation: Option<u64>,
    /// The durable checkpoint covers entries up to this sequence of that incarnation.
    pub(super) checkpointed: u64,
    /// Partitions of its checkpoint.
    pub(super) partitions: BTreeSet<TopicPartition>,
}

struct FoundEntry {
    stamp: EntryStamp,
    file: usize,
    batches: Vec<(TopicPartition, BatchRef)>,
    marks: Vec<DurableMark>,
}

struct DamagedEntry {
    claim: Claim,
    path: PathBuf,
    position: u64,
    tear: Tear,
}

/// What stands in the files of one directory, unjudged.
#[derive(Default)]
struct Contents {
    entries: BTreeMap<(u64, u64), FoundEntry>,
    damaged: Vec<DamagedEntry>,
}

impl Journals {
    /// What one directory says.
    pub(super) fn read(
        disk: &dyn Disk,
        directory: &JournalDirectory,
    ) -> Result<Journals, RecoveryError> {
        let mut journals = Journals::default();
        let contents = journals.contents(disk, directory)?;
        let highest = contents.entries.last_key_value().map(|((of, _), _)| *of);
        if let Some(incarnation) = directory.incarnation.or(highest) {
            journals.chain(directory, incarnation, &contents);
        }
        Ok(journals)
    }

    /// Adds what another directory says, behind what is known.
    pub(super) fn join(&mut self, other: Journals) {
        let files = self.files.len();
        self.files.extend(other.files);
        for (partition, batches) in other.batches {
            let moved = batches.into_iter().map(|batch| BatchRef {
                file: batch.file.saturating_add(files),
                ..batch
            });
            self.batches.entry(partition).or_default().extend(moved);
        }
        for (partition, proof) in other.proofs {
            self.prove_to(partition, proof);
        }
        self.lost.extend(other.lost);
        for (partition, directories) in other.holders {
            self.holders
                .entry(partition)
                .or_default()
                .extend(directories);
        }
        self.incarnation_max = self.incarnation_max.max(other.incarnation_max);
        self.entries = self.entries.saturating_add(other.entries);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.notes.extend(other.notes);
    }

    fn contents(
        &mut self,
        disk: &dyn Disk,
        directory: &JournalDirectory,
    ) -> Result<Contents, RecoveryError> {
        let mut contents = Contents::default();
        let listed = disk.list(&directory.path);
        for file in listed.map_err(at("list", &directory.path))? {
            let Some(_) = journal_file_number(&file.name).filter(|_| !file.is_dir) else {
                continue;
            };
            let path = directory.path.join(&file.name);
            let bytes = self.load(disk, &path)?;
            let file = self.files.len().saturating_sub(1);
            self.walk(directory, &path, file, &bytes, &mut contents)?;
        }
        Ok(contents)
    }

    fn load(&mut self, disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, RecoveryError> {
        let handle = disk.open(path, Open::Read).map_err(at("open", path))?;
        let len = disk.len(&handle).map_err(at("measure", path))?;
        let size = usize::try_from(len)
            .ok()
            .filter(|_| len <= JOURNAL_FILE_BYTES_MAX);
        let size = size.ok_or_else(|| RecoveryError::NotAJournal {
            path: path.to_owned(),
            bytes: len,
        })?;
        let mut bytes = vec![0; size];
        let read = disk
            .read_at(&handle, 0, &mut bytes)
            .map_err(at("read", path))?;
        bytes.truncate(read);
        self.bytes = self.bytes.saturating_add(read as u64);
        self.files.push((path.to_owned(), handle));
        Ok(bytes)
    }

    /// Looks at every block: an entry is found wherever it stands, so one that rotted hides
    /// nothing behind it.
    fn walk(
        &mut self,
        directory: &JournalDirectory,
        path: &Path,
        file: usize,
        bytes: &[u8],
        contents: &mut Contents,
    ) -> Result<(), RecoveryError> {
        let mut position = 0usize;
        while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
            let mut step = BLOCK_BYTES;
            match journal_entry::decode(rest, directory.incarnation) {
                Found::Zero => {}
                Found::Stale(stamp) => {
                    marks::hit("entry of an earlier start");
                    self.incarnation_max = self.incarnation_max.max(stamp.incarnation);
                }
                Found::Entry(entry) => {
                    let stamp = entry.stamp;
                    self.incarnation_max = self.incarnation_max.max(stamp.incarnation);
                    step = usize::try_from(entry.total_bytes).unwrap_or(step).max(step);
                    if stamp.sequence <= directory.checkpointed {
                        marks::hit("stale lap entry");
                    }
                    if stamp.sequence > directory.checkpointed || directory.incarnation.is_none() {
                        let found = found_entry(&entry, file, position as u64);
                        contents
                            .entries
                            .insert((stamp.incarnation, stamp.sequence), found);
                    }
                }
                // Only an entry stands at the start of a file, so only there does a layout of the
                // future mean what it says; elsewhere it may be a client's bytes.
                Found::Torn(Tear::Version(version)) if position == 0 => {
                    return Err(RecoveryError::Newer {
                        path: path.to_owned(),
                        version: i64::from(version),
                    });
                }
                Found::Torn(tear) => {
                    let claim = journal_entry::claim(rest);
                    let of_now = claim.as_ref().is_some_and(|claim| {
                        Some(claim.stamp.incarnation) == directory.incarnation
                            && claim.stamp.sequence > directory.checkpointed
                    });
                    if of_now {
                        marks::hit("torn journal entry");
                    }
                    contents.damaged.extend(claim.map(|claim| DamagedEntry {
                        claim,
                        path: path.to_owned(),
                        position: position as u64,
                        tear,
                    }));
                }
            }
            position = position.saturating_add(step);
        }
        Ok(())
    }

    /// Follows the sequences from the first that may be needed to where the journal ends.
    fn chain(&mut self, directory: &JournalDirectory, incarnation: u64, contents: &Contents) {
        let of = |sequence| (incarnation, sequence);
        let mine = || {
            contents
                .entries
                .range(of(0)..=of(u64::MAX))
                .map(|(_, entry)| entry)
        };
        let stamps = || mine().map(|entry| entry.stamp);
        let completed = stamps()
            .map(|stamp| stamp.completed_through)
            .max()
            .unwrap_or(0);
        let filled = stamps()
            .map(|stamp| stamp.filled_through)
            .max()
            .unwrap_or(0);
        let filled = filled.max(directory.checkpointed);
        // Marks are true whether or not their entry counts.
        for entry in mine() {
            for mark in &entry.marks {
                self.prove(mark, &directory.path);
            }
        }
        let mut expected = filled.saturating_add(1);
        for entry in contents
            .entries
            .range(of(expected)..=of(u64::MAX))
            .map(|(_, entry)| entry)
        {
            let sequence = entry.stamp.sequence;
            if sequence > expected
                && self.gap(
                    directory,
                    incarnation,
                    expected..sequence,
                    completed,
                    contents,
                )
            {
                return;
            }
            self.take(entry, completed, &directory.path);
            expected = sequence.saturating_add(1);
        }
        if expected <= completed {
            let gap = expected..completed.saturating_add(1);
            self.gap(directory, incarnation, gap, completed, contents);
        }
    }

    /// Judges missing sequences; true when the journal ends there.
    fn gap(
        &mut self,
        directory: &JournalDirectory,
        incarnation: u64,
        gap: std::ops::Range<u64>,
        completed: u64,
        contents: &Contents,
    ) -> bool {
        let remains: Vec<&DamagedEntry> = contents
            .damaged
            .iter()
            .filter(|damaged| {
                damaged.claim.stamp.incarnation == incarnation
                    && gap.contains(&damaged.claim.stamp.sequence)
                    && damaged.claim.stamp.sequence <= completed
                    && !damaged.claim.batches.is_empty()
            })
            .collect();
        let gone = gap
            .end
            .min(completed.saturating_add(1))
            .saturating_sub(gap.start);
        let named: BTreeSet<u64> = remains.iter().map(|d| d.claim.stamp.sequence).collect();
        let judged = verdict::entry(EntryFacts {
            present: false,
            filled: false,
            completed: gap.start <= completed,
            suspects_named: named.len() as u64 == gone,
        });
        match judged.verdict {
            EntryVerdict::QuarantineSuspects => self.suspect(&remains, judged),
            EntryVerdict::QuarantineJournal => {
                let of = |sequence| (incarnation, sequence);
                let entries = contents.entries.range(of(0)..=of(u64::MAX));
                let named = entries.flat_map(|(_, entry)| entry.batches.iter().map(|(p, _)| *p));
                let partitions = directory.partitions.iter().copied().chain(named).collect();
                self.lose(directory, &gap, judged, partitions);
            }
            EntryVerdict::Read | EntryVerdict::SkipFilled | EntryVerdict::StopAtGap => {}
        }
        // The last missing sequence decides: what follows one that nobody completed does not count.
        gap.end > completed.saturating_add(1)
    }

    fn suspect(&mut self, remains: &[&DamagedEntry], judged: Judged<EntryVerdict>) {
        for damaged in remains {
            let text = format!(
                "journal entry {} is rotten ({:?}) though it was acknowledged",
                damaged.claim.stamp.sequence, damaged.tear
            );
            self.notes.push(Note {
                letter: judged.letter,
                path: damaged.path.clone(),
                position: Some(damaged.position),
                text,
            });
            for (partition, last) in &damaged.claim.batches {
                let mark = DurableMark {
                    topic_partition: *partition,
                    last_offset: *last,
                };
                self.prove(&mark, &damaged.path);
                if let Some(directory) = damaged.path.parent() {
                    self.hold(*partition, directory);
                }
            }
        }
    }

    fn lose(
        &mut self,
        directory: &JournalDirectory,
        gap: &std::ops::Range<u64>,
        judged: Judged<EntryVerdict>,
        partitions: BTreeSet<TopicPartition>,
    ) {
        self.lost.push(LostEntry {
            directory: directory.path.clone(),
            letter: judged.letter,
            message: format!(
                "acknowledged journal entries {}..{} of {} are gone",
                gap.start,
                gap.end,
                directory.path.display()
            ),
            partitions,
        });
    }

    fn take(&mut self, entry: &FoundEntry, completed: u64, directory: &Path) {
        self.entries = self.entries.saturating_add(1);
        for (partition, batch) in &entry.batches {
            self.batches.entry(*partition).or_default().push(BatchRef {
                completed: entry.stamp.sequence <= completed,
                file: entry.file,
                ..*batch
            });
            self.hold(*partition, directory);
        }
    }

    fn hold(&mut self, partition: TopicPartition, directory: &Path) {
        let holders = self.holders.entry(partition).or_default();
        if !holders.contains(directory) {
            holders.insert(directory.to_owned());
        }
    }

    fn prove(&mut self, mark: &DurableMark, source: &Path) {
        let proof = Proof {
            end: Offset(mark.last_offset.0.saturating_add(1)),
            source: source.display().to_string(),
        };
        self.prove_to(mark.topic_partition, proof);
    }

    fn prove_to(&mut self, partition: TopicPartition, proof: Proof) {
        match self.proofs.get_mut(&partition) {
            Some(known) if known.end >= proof.end => {}
            Some(known) => *known = proof,
            None => {
                self.proofs.insert(partition, proof);
            }
        }
    }
}

fn found_entry(entry: &Entry<'_>, file: usize, position: u64) -> FoundEntry {
    let mut found = FoundEntry {
        stamp: entry.stamp,
        file,
        batches: Vec::new(),
        marks: Vec::new(),
    };
    for item in entry.items() {
        match item {
            Item::Mark(mark) => found.marks.push(mark),
            Item::Batch(batch) => found.batches.push((
                batch.topic_partition,
                BatchRef {
                    base_offset: batch.base_offset,
                    last_offset: batch.last_offset,
                    leader_epoch: batch.leader_epoch,
                    file,
                    position: position.saturating_add(u64::from(batch.place.at)),
                    len: batch.place.len,
                    completed: false,
                },
            )),
        }
    }
    found
}

/// `<n>.journal`, canonical decimal.
pub(super) fn journal_file_number(name: &str) -> Option<u32> {
    canonical(name.strip_suffix(".journal")?)
}

/// `journal.<k>`, canonical decimal.
pub(super) fn journal_directory_number(name: &str) -> Option<u32> {
    canonical(name.strip_prefix("journal.")?)
}

/// What ends the name of a journal that is being removed.
const REMOVED: &str = ".removed";

/// `journal.<k>.removed`, for `journal.<k>`.
pub(super) fn removed_directory_name(name: &str) -> String {
    format!("{name}{REMOVED}")
}

/// The shard of a journal that is being removed.
pub(super) fn removed_directory_number(name: &str) -> Option<u32> {
    journal_directory_number(name.strip_suffix(REMOVED)?)
}

fn canonical(digits: &str) -> Option<u32> {
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}
