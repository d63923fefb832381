//! Judgement over the entries of the journals: which are there, which have to be, what they hold.
//!
//! The rules are those of FORMAT.md ("Journal entry", "What recovery leans on"), told from the
//! reader's side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Findings;
use super::directory::{Directory, Journal, JournalFile};
use super::journal::{Entry, Held};
use super::papers::Id;

/// A batch that a journal holds, and what its entry promises.
#[derive(Clone, Debug)]
pub struct Kept {
    pub held: Held,
    pub path: PathBuf,
    /// The segments must have it.
    pub filled: bool,
    /// It may have been acknowledged.
    pub completed: bool,
}

/// What the journals hold of each partition, in the order of offsets.
#[derive(Debug, Default)]
pub struct Holdings {
    pub batches: BTreeMap<Id, Vec<Kept>>,
    /// The highest offset that a mark proves, and where the mark stands.
    pub marks: BTreeMap<Id, (i64, PathBuf, u64)>,
    pub entries: u64,
}

/// Judges all journals of a directory.
pub fn judge(directory: &Directory, findings: &mut Findings) -> Holdings {
    let mut holdings = Holdings::default();
    let Some(incarnation) = directory.incarnation() else {
        return holdings;
    };
    for journal in &directory.journals {
        let chain = Chain::new(directory, journal, incarnation);
        chain.entries(findings);
        chain.gaps(findings);
        chain.holes(findings);
        chain.collect(&mut holdings);
    }
    for kept in holdings.batches.values_mut() {
        kept.sort_by_key(|kept| kept.held.base_offset);
    }
    holdings
}

/// One journal.
struct Chain<'a> {
    journal: &'a Journal,
    incarnation: u64,
    is_closed: bool,
    /// Entries of the incarnation that counts, by sequence.
    present: BTreeMap<u64, (&'a Path, &'a Entry)>,
    filled: u64,
    completed: u64,
}

impl<'a> Chain<'a> {
    fn new(directory: &Directory, journal: &'a Journal, incarnation: u64) -> Chain<'a> {
        let mut chain = Chain {
            journal,
            incarnation,
            is_closed: directory.is_closed,
            present: BTreeMap::new(),
            filled: directory.checkpointed(journal),
            completed: directory.checkpointed(journal),
        };
        for file in &journal.files {
            for entry in chain.mine(file) {
                let stamp = entry.stamp;
                chain.filled = chain.filled.max(stamp.filled_through);
                chain.completed = chain.completed.max(stamp.completed_through);
                chain.present.insert(stamp.sequence, (&file.path, entry));
            }
        }
        chain.completed = chain.completed.max(chain.filled);
        chain
    }

    fn mine<'b>(&self, file: &'b JournalFile) -> impl Iterator<Item = &'b Entry> + use<'b> {
        let incarnation = self.incarnation;
        let entries = file.entries.iter();
        entries.filter(move |entry| entry.stamp.incarnation == incarnation)
    }

    /// What is wrong inside entries, and entries that are broken.
    fn entries(&self, findings: &mut Findings) {
        for file in &self.journal.files {
            for entry in self.mine(file) {
                for (at, what) in &entry.faults {
                    findings.rotten(&file.path, *at, what);
                }
                let stamp = entry.stamp;
                if stamp.filled_through > stamp.completed_through
                    || stamp.completed_through >= stamp.sequence
                {
                    let what = format!(
                        "entry {} says filled through {} and completed through {}",
                        stamp.sequence, stamp.filled_through, stamp.completed_through
                    );
                    findings.rotten(&file.path, entry.position, what);
                }
            }
            for (at, stamp, why) in &file.broken {
                if stamp.incarnation != self.incarnation {
                    continue;
                }
                let what = format!("entry {}: {why}", stamp.sequence);
                match stamp.sequence <= self.completed {
                    true => findings.rotten(&file.path, *at, what),
                    false => findings.torn(&file.path, *at, self.is_closed, what),
                }
            }
            let used = self.mine(file).next().is_some();
            if file.headless && used && self.is_closed {
                findings.rotten(&file.path, 0, "a journal file begins with an entry");
            }
        }
    }

    fn is_named(&self, sequence: u64) -> bool {
        let files = self.journal.files.iter();
        let mut broken = files.flat_map(|file| &file.broken);
        broken.any(|(_, stamp, _)| {
            (stamp.incarnation, stamp.sequence) == (self.incarnation, sequence)
        })
    }

    /// Sequences that have to be there and are not.
    fn gaps(&self, findings: &mut Findings) {
        let needed = self.filled.saturating_add(1);
        let mut expected = needed;
        let later = self.present.range(needed..).map(|(sequence, _)| *sequence);
        for sequence in later.chain([self.completed.saturating_add(1)]) {
            let until = sequence.min(self.completed.saturating_add(1));
            if expected < until {
                self.gap(expected, until, findings);
            }
            expected = expected.max(sequence.saturating_add(1));
        }
        // The last entry ever written is overwritten by nobody.
        let last = self.present.last_key_value().map_or(0, |(last, _)| *last);
        if self.filled > 0 && last < self.filled {
            self.gap(self.filled, self.filled.saturating_add(1), findings);
        }
    }

    /// Entries from `first` up to `until` were complete and are gone.
    fn gap(&self, first: u64, until: u64, findings: &mut Findings) {
        let gone = (first..until).take(1000);
        let unnamed: Vec<u64> = gone.filter(|sequence| !self.is_named(*sequence)).collect();
        let Some(first) = unnamed.first() else {
            return;
        };
        let what = format!("entries {first}..{until} were complete and are gone");
        match self.present.get(&first.saturating_sub(1)) {
            Some((path, before)) => findings.rotten(path, before.end(), what),
            None => findings.rotten(&self.journal.path, None, what),
        }
    }

    /// A file is filled from its start: between two entries of one lap nothing is missing.
    fn holes(&self, findings: &mut Findings) {
        for file in &self.journal.files {
            let mut before: Option<&Entry> = None;
            for entry in self.mine(file) {
                if let Some(before) = before.filter(|before| before.end() < entry.position) {
                    self.hole(file, before, entry, findings);
                }
                before = Some(entry);
            }
        }
    }

    fn hole(&self, file: &JournalFile, before: &Entry, entry: &Entry, findings: &mut Findings) {
        let (first, until) = (
            before.stamp.sequence.saturating_add(1),
            entry.stamp.sequence,
        );
        // What an earlier lap left has lower sequences; what gaps() saw is told there.
        if first >= until || until.saturating_sub(1) > self.filled {
            return;
        }
        if (first..until)
            .take(1000)
            .any(|sequence| !self.is_named(sequence))
        {
            let what = format!("entries {first}..{until} stood here");
            findings.rotten(&file.path, before.end(), what);
        }
    }

    /// Entries that recovery reads, up to the first that nobody completed and that is not there.
    fn collect(&self, holdings: &mut Holdings) {
        let mut expected = self.filled.saturating_add(1);
        for (sequence, (path, entry)) in &self.present {
            if *sequence > expected && *sequence > self.completed.saturating_add(1) {
                break;
            }
            expected = expected.max(sequence.saturating_add(1));
            holdings.entries = holdings.entries.saturating_add(1);
            for held in &entry.batches {
                holdings.batches.entry(held.id).or_default().push(Kept {
                    held: *held,
                    path: (*path).to_owned(),
                    filled: *sequence <= self.filled,
                    completed: *sequence <= self.completed,
                });
            }
        }
        for (path, entry) in self.present.values() {
            for mark in &entry.marks {
                let known = holdings.marks.entry(mark.id);
                let here = || (mark.last_offset, (*path).to_owned(), entry.position);
                let known = known.or_insert_with(here);
                if known.0 < mark.last_offset {
                    *known = here();
                }
            }
        }
    }
}

/// Ids that the journals name.
pub fn ids(holdings: &Holdings) -> BTreeSet<Id> {
    let batches = holdings.batches.keys();
    batches.chain(holdings.marks.keys()).copied().collect()
}
