//! Leader epochs of a partition: which epoch began at which offset (KIP-101, KIP-320; Kafka
//! `LeaderEpochFileCache`), and the `leader-epoch-checkpoint` file that keeps them.
//!
//! One per partition, on the core that owns it. Never writes the file: a call that changed
//! something says so, and whoever owns the file writes [`LeaderEpochs::encode`].

use crate::log::checkpoints::{CheckpointFault, encode_lines, number, parse_lines};
use crate::words::{LeaderEpoch, Offset};

/// An epoch and the offset of the first record written in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// Answer to "where does this epoch end"; both are `-1` when it is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

impl EpochEnd {
    /// Kafka's `UNDEFINED_EPOCH` with `UNDEFINED_EPOCH_OFFSET`.
    pub const UNDEFINED: EpochEnd = EpochEnd {
        epoch: LeaderEpoch(-1),
        end_offset: Offset::NONE,
    };
}

/// Epochs in ascending order, their start offsets ascending too. Grows by one per leader change;
/// the log's start moving on takes the old ones away.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    pub fn new() -> LeaderEpochs {
        LeaderEpochs::default()
    }

    /// Oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Notes that `epoch` begins at `start`; true when that changed something. Call it for a new
    /// leadership and for every stored batch: a known epoch is a cheap no. Entries that the new
    /// one contradicts are dropped. Negative values (batches of old formats) are ignored.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || start.0 < 0 {
            return false;
        }
        let known = self
            .latest()
            .is_some_and(|latest| latest.epoch == epoch && latest.start_offset <= start);
        if known {
            return false;
        }
        let kept = self.entries.iter().rposition(|entry| {
            // The list ascends in both, so the last entry below in both ends what may stay.
            entry.epoch < epoch && entry.start_offset < start
        });
        self.entries
            .truncate(kept.map_or(0, |at| at.saturating_add(1)));
        self.entries.push(EpochEntry {
            epoch,
            start_offset: start,
        });
        true
    }

    /// The log now ends at `end`: drops the epochs that begin there or later. True when changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        if end.0 < 0 {
            return false;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end);
        self.entries.len() != before
    }

    /// The log now starts at `start`: the epoch of that offset begins there, earlier ones go.
    /// True when changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let covering = self
            .entries
            .iter()
            .rposition(|entry| entry.start_offset <= start);
        let Some(at) = covering else {
            return false;
        };
        self.entries.drain(..at);
        match self.entries.first_mut() {
            Some(first) if first.start_offset != start => {
                first.start_offset = start;
                true
            }
            _ => at > 0,
        }
    }

    /// Epoch of the record at `offset`; `None` before the first known epoch.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        let at = later.checked_sub(1)?;
        self.entries.get(at).map(|entry| entry.epoch)
    }

    /// Largest epoch not above `asked` and the offset where it ends. The latest epoch ends at
    /// `log_end`; an epoch before all known ones keeps its number and ends where the first known
    /// begins; one after all known ones is undefined. (Kafka `endOffsetFor`, KIP-320.)
    pub fn end_offset_for(&self, asked: LeaderEpoch, log_end: Offset) -> EpochEnd {
        if asked == EpochEnd::UNDEFINED.epoch {
            return EpochEnd::UNDEFINED;
        }
        if self.latest().is_some_and(|latest| latest.epoch == asked) {
            return EpochEnd {
                epoch: asked,
                end_offset: log_end,
            };
        }
        let later = self.entries.partition_point(|entry| entry.epoch <= asked);
        let Some(higher) = self.entries.get(later) else {
            return EpochEnd::UNDEFINED;
        };
        let floor = later.checked_sub(1).and_then(|at| self.entries.get(at));
        EpochEnd {
            epoch: floor.map_or(asked, |entry| entry.epoch),
            end_offset: higher.start_offset,
        }
    }

    /// Content of `leader-epoch-checkpoint`.
    pub fn encode(&self) -> Vec<u8> {
        encode_lines(
            self.entries
                .iter()
                .map(|entry| format!("{} {}", entry.epoch, entry.start_offset)),
        )
    }

    /// Reads `leader-epoch-checkpoint`. Entries that contradict later ones are dropped as
    /// [`LeaderEpochs::assign`] does, which is what Kafka makes of such a file. The file may be
    /// older than the log: truncate it to the log's start and end afterwards.
    pub fn parse(bytes: &[u8]) -> Result<LeaderEpochs, CheckpointFault> {
        let entries = parse_lines(bytes, |words| match words {
            [epoch, start] => {
                let epoch: i32 = number(epoch)?;
                let start: i64 = number(start)?;
                (epoch >= 0 && start >= 0).then_some((LeaderEpoch(epoch), Offset(start)))
            }
            _ => None,
        })?;
        let mut epochs = LeaderEpochs::new();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        Ok(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn epochs(pairs: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for (epoch, start) in pairs {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        let pair = |entry: &EpochEntry| (entry.epoch.0, entry.start_offset.0);
        epochs.entries().iter().map(pair).collect()
    }

    #[test]
    fn an_epoch_ends_where_kafka_says_it_ends() {
        let known = epochs(&[(2, 6), (5, 9), (7, 20)]);
        let cases: &[(i32, i32, i64)] = &[
            (-1, -1, -1), // nobody's epoch
            (7, 7, 33),   // the current one: log end
            (8, -1, -1),  // not reached yet
            (1000, -1, -1),
            (5, 5, 20),
            (6, 5, 20), // a hole: the largest below
            (4, 2, 9),
            (2, 2, 9),
            (1, 1, 6), // before the log: its own number, first known start
            (0, 0, 6),
        ];
        for (asked, epoch, end) in cases {
            let answer = known.end_offset_for(LeaderEpoch(*asked), Offset(33));
            assert_eq!(
                (answer.epoch.0, answer.end_offset.0),
                (*epoch, *end),
                "{asked}"
            );
        }
        let empty = LeaderEpochs::new();
        let answer = empty.end_offset_for(LeaderEpoch(0), Offset(0));
        assert_eq!(answer, EpochEnd::UNDEFINED);
    }

    #[test]
    fn a_leadership_without_records_is_known() {
        let answer = epochs(&[(0, 0)]).end_offset_for(LeaderEpoch(0), Offset(0));
        assert_eq!((answer.epoch.0, answer.end_offset.0), (0, 0));
    }

    #[test]
    fn assigning_drops_what_the_new_entry_contradicts() {
        type Pairs = &'static [(i32, i64)];
        let cases: &[(Pairs, Pairs)] = &[
            (&[(1, 0), (1, 5)], &[(1, 0)]),
            (&[(1, 0), (2, 5), (2, 3)], &[(1, 0), (2, 3)]),
            (&[(1, 5), (2, 5)], &[(2, 5)]),
            (&[(1, 0), (3, 5), (2, 7)], &[(1, 0), (2, 7)]),
            (&[(1, 3), (2, 6), (3, 1)], &[(3, 1)]),
            (&[(-1, 0), (0, -1)], &[]),
        ];
        for (given, expected) in cases {
            assert_eq!(pairs(&epochs(given)), *expected, "{given:?}");
        }
    }

    #[test]
    fn truncation_keeps_the_epochs_of_what_stays() {
        let known = [(2, 6), (3, 8), (4, 11)];
        let mut cut = epochs(&known);
        assert!(!cut.truncate_from_end(Offset(12)));
        assert!(cut.truncate_from_end(Offset(11)));
        assert_eq!(pairs(&cut), [(2, 6), (3, 8)]);
        assert!(!cut.truncate_from_end(Offset::NONE));

        for (start, expected) in [
            (5, vec![(2, 6), (3, 8), (4, 11)]),
            (6, vec![(2, 6), (3, 8), (4, 11)]),
            (7, vec![(2, 7), (3, 8), (4, 11)]),
            (8, vec![(3, 8), (4, 11)]),
            (10, vec![(3, 10), (4, 11)]),
            (99, vec![(4, 99)]),
        ] {
            let mut cut = epochs(&known);
            let changed = cut.truncate_from_start(Offset(start));
            assert_eq!(changed, pairs(&cut) != known, "{start}");
            assert_eq!(pairs(&cut), expected, "{start}");
        }
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!(epochs(&[(0, 0)]).encode(), b"0\n1\n0 0\n");
        let bytes = epochs(&[(0, 0), (3, 17)]).encode();
        assert_eq!(bytes, b"0\n2\n0 0\n3 17\n");
        assert_eq!(LeaderEpochs::parse(&bytes), Ok(epochs(&[(0, 0), (3, 17)])));
        for bad in [
            "0\n1\n0\n",
            "0\n1\n-1 0\n",
            "0\n2\n0 0\n",
            "1\n0\n",
            "0\n1\n0 0 0\n",
        ] {
            assert!(LeaderEpochs::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    /// The rules again over a map, in the words of Kafka's class comment.
    fn oracle(map: &BTreeMap<i32, i64>, asked: i32, end: i64) -> (i32, i64) {
        if asked == -1 {
            return (-1, -1);
        }
        if map.last_key_value().is_some_and(|(last, _)| *last == asked) {
            return (asked, end);
        }
        match (
            map.range(asked + 1..).next(),
            map.range(..=asked).next_back(),
        ) {
            (None, _) => (-1, -1),
            (Some((_, start)), None) => (asked, *start),
            (Some((_, start)), Some((epoch, _))) => (*epoch, *start),
        }
    }

    proptest! {
        #[test]
        fn answers_agree_with_a_map(
            steps in proptest::collection::vec((0i32..12, 0i64..40, 0u8..8), 0..40),
            asked in -2i32..14,
        ) {
            let mut epochs = LeaderEpochs::new();
            let mut map: BTreeMap<i32, i64> = BTreeMap::new();
            for (epoch, offset, kind) in steps {
                match kind {
                    0 => {
                        epochs.truncate_from_end(Offset(offset));
                        map.retain(|_, start| *start < offset);
                    }
                    1 => {
                        epochs.truncate_from_start(Offset(offset));
                        let last = map.iter().filter(|(_, start)| **start <= offset).map(|(e, _)| *e).next_back();
                        map.retain(|_, start| *start > offset);
                        if let Some(last) = last { map.insert(last, offset); }
                    }
                    _ => {
                        epochs.assign(LeaderEpoch(epoch), Offset(offset));
                        let known = map.last_key_value().is_some_and(|(e, s)| *e == epoch && *s <= offset);
                        if !known {
                            map.retain(|e, s| *e < epoch && *s < offset);
                            map.insert(epoch, offset);
                        }
                    }
                }
                prop_assert_eq!(pairs(&epochs), map.iter().map(|(e, s)| (*e, *s)).collect::<Vec<_>>());
            }
            let answer = epochs.end_offset_for(LeaderEpoch(asked), Offset(50));
            prop_assert_eq!((answer.epoch.0, answer.end_offset.0), oracle(&map, asked, 50));
            prop_assert_eq!(LeaderEpochs::parse(&epochs.encode()), Ok(epochs));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = LeaderEpochs::parse(&bytes);
        }
    }
}
