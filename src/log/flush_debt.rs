//! What was acknowledged before its flush, for topics that ask for that (`flush.messages`,
//! `flush.ms`, `ottla.durability=write`), and which journal entries are proven durable all the same.
//!
//! Lives on its shard's core; pure. An entry counts as proven only when every entry acknowledged
//! before it is flushed: recovery takes the absence of a proven entry for rot.

use std::collections::BTreeSet;

use crate::log::journal_ring::JournalFile;
use crate::words::Deadline;

/// When the answers of a topic leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FlushPolicy {
    /// After the flush: the default.
    #[default]
    Always,
    /// After the write; flushed after so many messages of a partition or so many ms.
    Relaxed { messages: i64, ms: i64 },
}

/// Journal files with acknowledged entries that no flush has covered yet.
#[derive(Default, Debug)]
pub struct FlushDebt {
    owed: BTreeSet<JournalFile>,
    due: Option<Deadline>,
    /// Last acknowledged entry.
    acknowledged: u64,
    /// Flushes under way, and the last entry that they prove together.
    flushing: usize,
    flushing_through: u64,
}

impl FlushDebt {
    /// An entry was acknowledged. `relaxed` is the deadline of its flush when it had none of its
    /// own. Returns how far entries are proven now, if that moved.
    pub fn acknowledged(
        &mut self,
        sequence: u64,
        file: JournalFile,
        relaxed: Option<Deadline>,
    ) -> Option<u64> {
        self.acknowledged = sequence;
        match relaxed {
            Some(due) => {
                self.owed.insert(file);
                self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
                None
            }
            None => self.proven(),
        }
    }

    /// When the next flush is due; while one is under way its end comes first.
    pub fn due(&self) -> Option<Deadline> {
        self.due.filter(|_| self.flushing == 0)
    }

    /// Whether anything acknowledged is not flushed.
    pub fn is_clear(&self) -> bool {
        self.owed.is_empty() && self.flushing == 0
    }

    /// Files to flush now; each is reported by [`FlushDebt::flushed`]. None while flushes of an
    /// earlier round are under way.
    pub fn begin(&mut self) -> Vec<JournalFile> {
        if self.flushing > 0 {
            return Vec::new();
        }
        self.due = None;
        self.flushing = self.owed.len();
        self.flushing_through = self.acknowledged;
        std::mem::take(&mut self.owed).into_iter().collect()
    }

    /// One flush of the round is done. Returns how far entries are proven now, if that moved.
    pub fn flushed(&mut self) -> Option<u64> {
        self.flushing = self.flushing.saturating_sub(1);
        match self.flushing {
            0 => self.proven().or(Some(self.flushing_through)),
            _ => None,
        }
    }

    fn proven(&self) -> Option<u64> {
        self.is_clear().then_some(self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JournalFile = JournalFile(0);
    const B: JournalFile = JournalFile(1);

    #[test]
    fn flushed_entries_are_proven_as_they_come() {
        let mut debt = FlushDebt::default();
        assert_eq!(debt.acknowledged(1, A, None), Some(1));
        assert_eq!(debt.acknowledged(2, A, None), Some(2));
        assert!(debt.begin().is_empty());
    }

    #[test]
    fn a_flushed_entry_behind_an_unflushed_one_is_not_proven() {
        let mut debt = FlushDebt::default();
        assert_eq!(debt.acknowledged(1, A, Some(Deadline(10))), None);
        assert_eq!(debt.acknowledged(2, B, None), None);
        assert_eq!(debt.begin(), [A]);
        assert_eq!(debt.flushed(), Some(2));
        assert!(debt.is_clear());
    }

    #[test]
    fn what_was_acknowledged_during_a_flush_waits_for_the_next() {
        let mut debt = FlushDebt::default();
        debt.acknowledged(1, A, Some(Deadline(10)));
        debt.acknowledged(2, B, Some(Deadline(5)));
        assert_eq!(debt.due(), Some(Deadline(5)));
        assert_eq!(debt.begin(), [A, B]);
        debt.acknowledged(3, A, Some(Deadline(20)));
        assert!(debt.begin().is_empty());
        assert_eq!(debt.flushed(), None);
        assert_eq!(debt.flushed(), Some(2));
        assert_eq!(debt.begin(), [A]);
        assert_eq!(debt.flushed(), Some(3));
    }
}
