//! The time index of a segment (`.timeindex`; Kafka `TimeIndex`): sparse entries that lead from a
//! timestamp to an offset.
//!
//! An entry is 12 bytes, big-endian: timestamp i64, offset relative to the segment's base u32. It
//! says: every record at this offset or before has at most this timestamp. Timestamps strictly
//! ascend, offsets ascend.
//! Lives on the core that owns the partition. Never opens a file; hostile bytes make a lookup
//! miss, never panic.

use crate::log::offset_index::{IndexFault, IndexFaultKind, IndexRefusal, relative_offset};
use crate::words::{Offset, TimestampMs};

/// Bytes of one entry.
pub const TIME_INDEX_ENTRY_BYTES: usize = 12;

/// A timestamp and the offset of the batch that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

impl TimestampOffset {
    /// No timestamp yet in a segment that begins at `base`.
    pub fn none(base: Offset) -> TimestampOffset {
        TimestampOffset {
            timestamp: TimestampMs(-1),
            offset: base,
        }
    }
}

/// Index bytes, read where they are.
#[derive(Clone, Copy, Debug)]
pub struct TimeIndexView<'a> {
    base: Offset,
    entries: &'a [[u8; TIME_INDEX_ENTRY_BYTES]],
    torn: bool,
}

impl<'a> TimeIndexView<'a> {
    /// Bytes after the last whole entry are left out of lookups and reported by `check`.
    pub fn new(base: Offset, bytes: &'a [u8]) -> TimeIndexView<'a> {
        let (entries, rest) = bytes.as_chunks();
        TimeIndexView {
            base,
            entries,
            torn: !rest.is_empty(),
        }
    }

    /// Number of whole entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entry `at`, counted from 0.
    pub fn entry(&self, at: usize) -> Option<TimestampOffset> {
        self.entries.get(at).map(|entry| {
            let (timestamp, relative) = decode(entry);
            TimestampOffset {
                timestamp: TimestampMs(timestamp),
                offset: Offset(self.base.0.saturating_add(i64::from(relative))),
            }
        })
    }

    /// The last entry: of a sealed segment its largest timestamp. [`TimestampOffset::none`] when
    /// the index is empty.
    pub fn last(&self) -> TimestampOffset {
        self.len()
            .checked_sub(1)
            .and_then(|at| self.entry(at))
            .unwrap_or(TimestampOffset::none(self.base))
    }

    /// The entry with the largest timestamp not above `target`: every record with a later
    /// timestamp has a later offset, so a search by time begins there.
    /// [`TimestampOffset::none`] when all entries are above.
    pub fn lookup(&self, target: TimestampMs) -> TimestampOffset {
        self.entries
            .partition_point(|entry| decode(entry).0 <= target.0)
            .checked_sub(1)
            .and_then(|at| self.entry(at))
            .unwrap_or(TimestampOffset::none(self.base))
    }

    /// Reads every entry.
    pub fn check(&self) -> Result<(), IndexFault> {
        let mut before: Option<(i64, u32)> = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let (timestamp, relative) = decode(entry);
            let ascends = before.is_none_or(|(t, r)| timestamp > t && relative >= r);
            let zero = (timestamp, relative) == (0, 0);
            let kind =
                if zero && self.zero_from(at) && (!ascends || self.len() > at.saturating_add(1)) {
                    IndexFaultKind::ZeroTail
                } else if !ascends || timestamp < 0 {
                    IndexFaultKind::OutOfOrder
                } else if i32::try_from(relative).is_err() {
                    IndexFaultKind::Overflow
                } else {
                    before = Some((timestamp, relative));
                    continue;
                };
            return Err(IndexFault { entry: at, kind });
        }
        if self.torn {
            return Err(IndexFault {
                entry: self.len(),
                kind: IndexFaultKind::Torn,
            });
        }
        Ok(())
    }

    fn zero_from(&self, at: usize) -> bool {
        !self.torn && self.entries.iter().skip(at).all(|e| decode(e) == (0, 0))
    }

    /// How many leading entries have an offset below `offset`.
    fn below(&self, offset: Offset) -> usize {
        let relative = offset.0.saturating_sub(self.base.0);
        self.entries
            .partition_point(|entry| i64::from(decode(entry).1) < relative)
    }
}

fn decode(entry: &[u8; TIME_INDEX_ENTRY_BYTES]) -> (i64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
    (
        i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u32::from_be_bytes([i, j, k, l]),
    )
}

/// The time index of an active segment, in memory, in the bytes that go to the file.
#[derive(Clone, Debug)]
pub struct TimeIndex {
    base: Offset,
    entries_max: usize,
    bytes: Vec<u8>,
}

impl TimeIndex {
    /// Empty. `segment_index_bytes` is rounded down to whole entries, as Kafka does.
    pub fn new(base: Offset, segment_index_bytes: u32) -> TimeIndex {
        let bytes_max = usize::try_from(segment_index_bytes).unwrap_or(usize::MAX);
        TimeIndex {
            base,
            entries_max: bytes_max / TIME_INDEX_ENTRY_BYTES,
            bytes: Vec::new(),
        }
    }

    /// From the leading `entries` of a file's bytes; a fault when they are not good entries.
    pub fn load(
        base: Offset,
        segment_index_bytes: u32,
        bytes: &[u8],
        entries: u32,
    ) -> Result<TimeIndex, IndexFault> {
        let wanted = usize::try_from(entries).unwrap_or(usize::MAX);
        let wanted = wanted.saturating_mul(TIME_INDEX_ENTRY_BYTES);
        let bytes = bytes.get(..wanted).ok_or(IndexFault {
            entry: bytes.len() / TIME_INDEX_ENTRY_BYTES,
            kind: IndexFaultKind::Torn,
        })?;
        TimeIndexView::new(base, bytes).check()?;
        let mut index = TimeIndex::new(base, segment_index_bytes);
        index.bytes.extend_from_slice(bytes);
        Ok(index)
    }

    /// Adds an entry when its timestamp is above all so far; true when it did. An entry that does
    /// not ascend in time says nothing new and is left out, as Kafka does.
    pub fn maybe_append(&mut self, at: TimestampOffset) -> Result<bool, IndexRefusal> {
        if self.is_full() {
            return Err(IndexRefusal::Full);
        }
        self.append_last(at)
    }

    /// The same without a look at the bound: for the last entry of a segment that is sealed, for
    /// which [`TimeIndex::is_full`] leaves room.
    pub fn append_last(&mut self, at: TimestampOffset) -> Result<bool, IndexRefusal> {
        let last = self.view().last();
        if at.timestamp <= last.timestamp {
            return Ok(false);
        }
        let relative = relative_offset(self.base, at.offset).ok_or(IndexRefusal::Overflow)?;
        if !self.is_empty() && at.offset < last.offset {
            return Err(IndexRefusal::OutOfOrder);
        }
        self.bytes.extend_from_slice(&at.timestamp.0.to_be_bytes());
        self.bytes.extend_from_slice(&relative.to_be_bytes());
        Ok(true)
    }

    /// Drops the entries with an offset at `offset` and above.
    pub fn truncate_to(&mut self, offset: Offset) {
        let kept = self.view().below(offset);
        self.bytes
            .truncate(kept.saturating_mul(TIME_INDEX_ENTRY_BYTES));
    }

    /// Only the entry that seals the segment still fits: the segment has to roll.
    pub fn is_full(&self) -> bool {
        self.view().len().saturating_add(1) >= self.entries_max
    }

    /// A changed `segment.index.bytes`; entries stay even when they are now too many.
    pub fn resize(&mut self, segment_index_bytes: u32) {
        self.entries_max = TimeIndex::new(self.base, segment_index_bytes).entries_max;
    }

    /// Number of entries.
    pub fn len(&self) -> u32 {
        u32::try_from(self.view().len()).unwrap_or(u32::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The file's content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn view(&self) -> TimeIndexView<'_> {
        TimeIndexView::new(self.base, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Offset = Offset(100);

    fn at(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset {
            timestamp: TimestampMs(timestamp),
            offset: Offset(offset),
        }
    }

    fn index(entries: &[(i64, i64)]) -> TimeIndex {
        let mut index = TimeIndex::new(BASE, 1200);
        for (timestamp, offset) in entries {
            assert_eq!(index.maybe_append(at(*timestamp, *offset)), Ok(true));
        }
        index
    }

    fn raw(entries: &[(i64, u32)]) -> Vec<u8> {
        let bytes = |(t, r): &(i64, u32)| [&t.to_be_bytes()[..], &r.to_be_bytes()[..]].concat();
        entries.iter().flat_map(bytes).collect()
    }

    #[test]
    fn a_lookup_finds_the_largest_timestamp_not_above_the_target() {
        let index = index(&[(10, 105), (20, 109), (30, 109)]);
        let cases = [
            (i64::MIN, -1, 100),
            (9, -1, 100),
            (10, 10, 105),
            (19, 10, 105),
            (29, 20, 109),
            (i64::MAX, 30, 109),
        ];
        for (target, timestamp, offset) in cases {
            let found = index.view().lookup(TimestampMs(target));
            assert_eq!(found, at(timestamp, offset), "{target}");
        }
        assert_eq!(index.view().last(), at(30, 109));
        assert_eq!(TimeIndex::new(BASE, 120).view().last(), at(-1, 100));
    }

    #[test]
    fn only_a_later_timestamp_makes_an_entry() {
        let mut index = index(&[(10, 105)]);
        assert_eq!(index.maybe_append(at(10, 106)), Ok(false));
        assert_eq!(index.maybe_append(at(9, 106)), Ok(false));
        assert_eq!(index.maybe_append(at(-1, 106)), Ok(false));
        assert_eq!(
            index.maybe_append(at(11, 104)),
            Err(IndexRefusal::OutOfOrder)
        );
        assert_eq!(index.maybe_append(at(11, 99)), Err(IndexRefusal::Overflow));
        assert_eq!(index.maybe_append(at(11, 105)), Ok(true));
        assert_eq!(index.bytes(), raw(&[(10, 5), (11, 5)]));
    }

    #[test]
    fn one_place_is_kept_for_the_entry_that_seals() {
        let mut index = TimeIndex::new(BASE, 3 * 12 + 11);
        index.maybe_append(at(1, 101)).unwrap();
        assert!(!index.is_full());
        index.maybe_append(at(2, 102)).unwrap();
        assert!(index.is_full());
        assert_eq!(index.maybe_append(at(3, 103)), Err(IndexRefusal::Full));
        assert_eq!(index.append_last(at(3, 103)), Ok(true));
        assert_eq!(index.bytes().len(), 36);
    }

    #[test]
    fn truncation_goes_by_offset() {
        for (offset, left) in [(0, 0), (105, 0), (106, 1), (109, 1), (110, 3)] {
            let mut index = index(&[(10, 105), (20, 109), (30, 109)]);
            index.truncate_to(Offset(offset));
            assert_eq!(index.len(), left, "{offset}");
        }
    }

    #[test]
    fn hostile_index_bytes_are_named() {
        use IndexFaultKind::*;
        type Row = (Vec<u8>, Option<(usize, IndexFaultKind)>);
        let cases: Vec<Row> = vec![
            (vec![], None),
            (raw(&[(0, 0)]), None), // a record from 1970 in the first batch
            (raw(&[(10, 5), (11, 5)]), None),
            (raw(&[(10, 5), (11, 6)])[..20].to_vec(), Some((1, Torn))),
            (raw(&[(10, 5), (10, 6)]), Some((1, OutOfOrder))),
            (raw(&[(10, 5), (11, 4)]), Some((1, OutOfOrder))),
            (raw(&[(-5, 5)]), Some((0, OutOfOrder))),
            (raw(&[(10, 5), (0, 0)]), Some((1, ZeroTail))),
            (raw(&[(0, 0), (0, 0)]), Some((0, ZeroTail))),
            (raw(&[(10, 5), (11, u32::MAX)]), Some((1, Overflow))),
        ];
        for (bytes, fault) in cases {
            let checked = TimeIndexView::new(BASE, &bytes).check();
            let fault = fault.map(|(entry, kind)| IndexFault { entry, kind });
            assert_eq!(checked.err(), fault, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn lookups_agree_with_a_scan(
            steps in proptest::collection::vec((-3i64..50, 0i64..9), 0..60),
            target in -5i64..900,
        ) {
            let mut built = TimeIndex::new(BASE, 1 << 20);
            let mut list = vec![(-1, BASE.0)];
            let mut now = at(0, BASE.0);
            for (later, further) in steps {
                now = at(now.timestamp.0 + later, now.offset.0 + further);
                if built.maybe_append(now).unwrap() {
                    list.push((now.timestamp.0, now.offset.0));
                }
            }
            prop_assert_eq!(built.view().check(), Ok(()));
            let expected = list.iter().rev().find(|(t, _)| *t <= target).copied().unwrap_or(list[0]);
            let found = built.view().lookup(TimestampMs(target));
            prop_assert_eq!((found.timestamp.0, found.offset.0), expected);
        }

        #[test]
        fn garbage_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            base in any::<i64>(), time in any::<i64>(), offset in any::<i64>(), entries in any::<u32>(),
        ) {
            let view = TimeIndexView::new(Offset(base), &bytes);
            view.lookup(TimestampMs(time));
            view.last();
            let _ = view.check();
            if let Ok(mut index) = TimeIndex::load(Offset(base), 64, &bytes, entries) {
                let _ = index.maybe_append(at(time, offset));
                index.truncate_to(Offset(offset));
            }
        }
    }
}
