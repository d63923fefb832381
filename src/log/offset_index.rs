//! The offset index of a segment (`.index`; Kafka `OffsetIndex`): sparse entries that lead from an
//! offset to a file position at or before it.
//!
//! An entry is 8 bytes, big-endian: last offset of a batch relative to the segment's base (u32,
//! at most `i32::MAX`), file position of that batch (u32). Entries ascend in both.
//! Lives on the core that owns the partition; the same bytes serve the active segment in memory
//! and a sealed one from its file. Never opens a file; what a hostile file holds can make a
//! lookup miss, never panic: a reader scans forward from the position and checks what it finds.

use crate::words::Offset;

/// Bytes of one entry.
pub const OFFSET_INDEX_ENTRY_BYTES: usize = 8;

/// Largest relative offset: the field is 4 bytes wide but Kafka reads it as a signed int.
pub const RELATIVE_OFFSET_MAX: i64 = i32::MAX as i64;

/// An offset and where to start reading for it, in bytes from the start of the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetPosition {
    pub offset: Offset,
    pub position: u32,
}

/// Why an entry was not added; roll the segment, or (out of order) our own mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexRefusal {
    /// The index has all the entries that `segment.index.bytes` allows.
    Full,
    /// The offset is below the base or too far above it for a relative offset.
    Overflow,
    /// The entry does not ascend.
    OutOfOrder,
}

/// What is wrong with index bytes. `entry` counts from 0; the entries before it are good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexFault {
    pub entry: usize,
    pub kind: IndexFaultKind,
}

/// Classes of [`IndexFault`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexFaultKind {
    /// The length is no multiple of an entry: the last one is torn.
    Torn,
    /// From here on all bytes are zero: a preallocated file that was not trimmed.
    ZeroTail,
    /// The entry does not ascend from the one before.
    OutOfOrder,
    /// The relative offset is above [`RELATIVE_OFFSET_MAX`].
    Overflow,
    /// The entry points at or past the end of the segment.
    PastEnd,
}

/// Relative form of `offset` in a segment that begins at `base` (Kafka `canAppendOffset`).
pub fn relative_offset(base: Offset, offset: Offset) -> Option<u32> {
    let relative = offset.0.checked_sub(base.0)?;
    if relative > RELATIVE_OFFSET_MAX {
        return None;
    }
    u32::try_from(relative).ok()
}

/// Index bytes, read where they are: of a sealed segment's file, or of [`OffsetIndex`].
#[derive(Clone, Copy, Debug)]
pub struct OffsetIndexView<'a> {
    base: Offset,
    entries: &'a [[u8; OFFSET_INDEX_ENTRY_BYTES]],
    torn: bool,
}

impl<'a> OffsetIndexView<'a> {
    /// Bytes after the last whole entry are left out of lookups and reported by `check`.
    pub fn new(base: Offset, bytes: &'a [u8]) -> OffsetIndexView<'a> {
        let (entries, rest) = bytes.as_chunks();
        OffsetIndexView {
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
    pub fn entry(&self, at: usize) -> Option<OffsetPosition> {
        self.entries.get(at).map(|entry| {
            let (relative, position) = decode(entry);
            OffsetPosition {
                offset: Offset(self.base.0.saturating_add(i64::from(relative))),
                position,
            }
        })
    }

    pub fn last(&self) -> Option<OffsetPosition> {
        self.entry(self.len().checked_sub(1)?)
    }

    /// The entry with the largest offset not above `target`; the segment's start when none is.
    pub fn lookup(&self, target: Offset) -> OffsetPosition {
        let start = OffsetPosition {
            offset: self.base,
            position: 0,
        };
        let Some(relative) = target.0.checked_sub(self.base.0) else {
            return start;
        };
        let above = self
            .entries
            .partition_point(|entry| i64::from(decode(entry).0) <= relative);
        above
            .checked_sub(1)
            .and_then(|at| self.entry(at))
            .unwrap_or(start)
    }

    /// Reads every entry. `segment_bytes` is the size of the `.log` file. An index that passes
    /// may still point between batches: only reading the segment shows that.
    pub fn check(&self, segment_bytes: u64) -> Result<(), IndexFault> {
        let mut before: Option<(u32, u32)> = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let (relative, position) = decode(entry);
            let ascends = before.is_none_or(|(r, p)| relative > r && position > p);
            let kind = if (relative, position) == (0, 0) && self.zero_from(at) {
                IndexFaultKind::ZeroTail
            } else if !ascends {
                IndexFaultKind::OutOfOrder
            } else if i64::from(relative) > RELATIVE_OFFSET_MAX {
                IndexFaultKind::Overflow
            } else if u64::from(position) >= segment_bytes {
                IndexFaultKind::PastEnd
            } else {
                before = Some((relative, position));
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

    /// How many leading entries lie below `offset`.
    fn below(&self, offset: Offset) -> usize {
        let relative = offset.0.saturating_sub(self.base.0);
        self.entries
            .partition_point(|entry| i64::from(decode(entry).0) < relative)
    }
}

fn decode(entry: &[u8; OFFSET_INDEX_ENTRY_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *entry;
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

/// The offset index of an active segment, in memory, in the bytes that go to the file.
#[derive(Clone, Debug)]
pub struct OffsetIndex {
    base: Offset,
    bytes_max: usize,
    bytes: Vec<u8>,
}

impl OffsetIndex {
    /// Empty. `segment_index_bytes` is rounded down to whole entries, as Kafka does.
    pub fn new(base: Offset, segment_index_bytes: u32) -> OffsetIndex {
        let bytes_max = usize::try_from(segment_index_bytes).unwrap_or(usize::MAX);
        OffsetIndex {
            base,
            bytes_max: bytes_max.saturating_sub(bytes_max % OFFSET_INDEX_ENTRY_BYTES),
            bytes: Vec::new(),
        }
    }

    /// From the leading `entries` of a file's bytes; a fault when they are not good entries
    /// (`segment_bytes` as in [`OffsetIndexView::check`]).
    pub fn load(
        base: Offset,
        segment_index_bytes: u32,
        bytes: &[u8],
        entries: u32,
        segment_bytes: u64,
    ) -> Result<OffsetIndex, IndexFault> {
        let wanted = usize::try_from(entries).unwrap_or(usize::MAX);
        let wanted = wanted.saturating_mul(OFFSET_INDEX_ENTRY_BYTES);
        let bytes = bytes.get(..wanted).ok_or(IndexFault {
            entry: bytes.len() / OFFSET_INDEX_ENTRY_BYTES,
            kind: IndexFaultKind::Torn,
        })?;
        OffsetIndexView::new(base, bytes).check(segment_bytes)?;
        let mut index = OffsetIndex::new(base, segment_index_bytes);
        index.bytes.extend_from_slice(bytes);
        Ok(index)
    }

    /// Adds an entry above all others.
    pub fn append(&mut self, offset: Offset, position: u32) -> Result<(), IndexRefusal> {
        let relative = relative_offset(self.base, offset).ok_or(IndexRefusal::Overflow)?;
        if self.is_full() {
            return Err(IndexRefusal::Full);
        }
        if let Some(last) = self.view().last()
            && (offset <= last.offset || position <= last.position)
        {
            return Err(IndexRefusal::OutOfOrder);
        }
        self.bytes.extend_from_slice(&relative.to_be_bytes());
        self.bytes.extend_from_slice(&position.to_be_bytes());
        Ok(())
    }

    /// See [`OffsetIndexView::lookup`].
    pub fn lookup(&self, target: Offset) -> OffsetPosition {
        self.view().lookup(target)
    }

    /// Drops the entries at `offset` and above.
    pub fn truncate_to(&mut self, offset: Offset) {
        let kept = self.view().below(offset);
        self.bytes
            .truncate(kept.saturating_mul(OFFSET_INDEX_ENTRY_BYTES));
    }

    /// No further entry fits: the segment has to roll.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= self.bytes_max
    }

    /// A changed `segment.index.bytes`; entries stay even when they are now too many.
    pub fn resize(&mut self, segment_index_bytes: u32) {
        self.bytes_max = OffsetIndex::new(self.base, segment_index_bytes).bytes_max;
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

    pub fn view(&self) -> OffsetIndexView<'_> {
        OffsetIndexView::new(self.base, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Offset = Offset(1000);
    const MIB: u64 = 1 << 20;

    fn index(entries: &[(i64, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(BASE, 1024);
        for (offset, position) in entries {
            index.append(Offset(*offset), *position).unwrap();
        }
        index
    }

    fn raw(entries: &[(u32, u32)]) -> Vec<u8> {
        let bytes = |(r, p): &(u32, u32)| [r.to_be_bytes(), p.to_be_bytes()].concat();
        entries.iter().flat_map(bytes).collect()
    }

    #[test]
    fn a_lookup_finds_the_largest_entry_not_above_the_target() {
        let index = index(&[(1009, 4200), (1020, 8500), (1031, 12800)]);
        let cases: &[(i64, i64, u32)] = &[
            (i64::MIN, 1000, 0),
            (0, 1000, 0),
            (1000, 1000, 0),
            (1008, 1000, 0),
            (1009, 1009, 4200),
            (1019, 1009, 4200),
            (1020, 1020, 8500),
            (1031, 1031, 12800),
            (i64::MAX, 1031, 12800),
        ];
        for (target, offset, position) in cases {
            let found = index.lookup(Offset(*target));
            assert_eq!(
                (found.offset.0, found.position),
                (*offset, *position),
                "{target}"
            );
        }
    }

    #[test]
    fn an_entry_is_a_big_endian_relative_offset_and_position() {
        assert_eq!(
            index(&[(1009, 0x1234)]).bytes(),
            [0, 0, 0, 9, 0, 0, 0x12, 0x34]
        );
    }

    #[test]
    fn entries_ascend_and_fit() {
        let mut index = index(&[(1009, 4200)]);
        let far = 1000 + RELATIVE_OFFSET_MAX;
        assert_eq!(index.append(Offset(999), 9), Err(IndexRefusal::Overflow));
        assert_eq!(
            index.append(Offset(far + 1), 9),
            Err(IndexRefusal::Overflow)
        );
        assert_eq!(
            index.append(Offset(1009), 9000),
            Err(IndexRefusal::OutOfOrder)
        );
        assert_eq!(
            index.append(Offset(1010), 4200),
            Err(IndexRefusal::OutOfOrder)
        );
        assert_eq!(index.append(Offset(far), u32::MAX), Ok(()));
    }

    #[test]
    fn the_index_is_full_at_its_whole_entries() {
        let mut index = OffsetIndex::new(BASE, 23);
        assert!(!index.is_full());
        index.append(Offset(1001), 1).unwrap();
        index.append(Offset(1002), 2).unwrap();
        assert!(index.is_full());
        assert_eq!(index.append(Offset(1003), 3), Err(IndexRefusal::Full));
        index.resize(24);
        assert_eq!(index.append(Offset(1003), 3), Ok(()));
    }

    #[test]
    fn truncation_drops_what_is_at_or_above_the_offset() {
        for (offset, left) in [
            (0, 0),
            (1009, 0),
            (1010, 1),
            (1020, 1),
            (1021, 2),
            (9999, 2),
        ] {
            let mut index = index(&[(1009, 4200), (1020, 8500)]);
            index.truncate_to(Offset(offset));
            assert_eq!(index.len(), left, "{offset}");
        }
    }

    #[test]
    fn hostile_index_bytes_are_named() {
        use IndexFaultKind::*;
        let good = [(9, 4200), (20, 8500)];
        type Row = (Vec<u8>, Option<(usize, IndexFaultKind)>);
        let cases: Vec<Row> = vec![
            (vec![], None),
            (raw(&good), None),
            (raw(&good)[..15].to_vec(), Some((1, Torn))),
            (raw(&[(9, 4200), (9, 8500)]), Some((1, OutOfOrder))),
            (raw(&[(9, 4200), (20, 4200)]), Some((1, OutOfOrder))),
            (raw(&[(9, 4200), (8, 8500)]), Some((1, OutOfOrder))),
            (raw(&[(9, 4200), (0, 0), (0, 0)]), Some((1, ZeroTail))),
            (raw(&[(0, 0), (0, 0)]), Some((0, ZeroTail))),
            (raw(&[(9, 4200), (0, 0), (1, 0)]), Some((1, OutOfOrder))),
            (raw(&[(9, 4200), (1 << 31, 8500)]), Some((1, Overflow))),
            (raw(&[(9, 4200), (20, 1 << 20)]), Some((1, PastEnd))),
        ];
        for (bytes, fault) in cases {
            let checked = OffsetIndexView::new(BASE, &bytes).check(MIB);
            let fault = fault.map(|(entry, kind)| IndexFault { entry, kind });
            assert_eq!(checked.err(), fault, "{bytes:?}");
        }
    }

    #[test]
    fn a_file_is_taken_up_to_the_entries_that_the_checkpoint_vouches_for() {
        let bytes = raw(&[(9, 4200), (20, 8500), (0, 0), (0, 0)]);
        let index = OffsetIndex::load(BASE, 1024, &bytes, 2, MIB).unwrap();
        assert_eq!(index.bytes(), raw(&[(9, 4200), (20, 8500)]));
        assert!(OffsetIndex::load(BASE, 1024, &bytes, 3, MIB).is_err());
        assert!(OffsetIndex::load(BASE, 1024, &bytes, u32::MAX, MIB).is_err());
    }

    proptest! {
        #[test]
        fn lookups_and_cuts_agree_with_a_scan(
            steps in proptest::collection::vec((1i64..50, 1u32..5000), 0..60),
            target in 900i64..5000,
        ) {
            let mut built = OffsetIndex::new(BASE, 1 << 20);
            let mut list = vec![(BASE.0, 0u32)];
            for (delta, bytes) in steps {
                let (offset, position) = *list.last().unwrap();
                list.push((offset + delta, position + bytes));
                built.append(Offset(offset + delta), position + bytes).unwrap();
            }
            prop_assert_eq!(built.view().check(u64::MAX), Ok(()));
            let expected = list.iter().rev().find(|(o, _)| *o <= target).copied().unwrap_or(list[0]);
            let found = built.lookup(Offset(target));
            prop_assert_eq!((found.offset.0, found.position), expected);
            built.truncate_to(Offset(target));
            let kept = list.iter().skip(1).filter(|(o, _)| *o < target).count();
            prop_assert_eq!(built.view().len(), kept);
        }

        #[test]
        fn garbage_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            base in any::<i64>(), target in any::<i64>(), entries in any::<u32>(),
        ) {
            let view = OffsetIndexView::new(Offset(base), &bytes);
            view.lookup(Offset(target));
            view.last();
            let _ = view.check(MIB);
            if let Ok(mut index) = OffsetIndex::load(Offset(base), 64, &bytes, entries, MIB) {
                let _ = index.append(Offset(target), 7);
                index.truncate_to(Offset(target));
            }
        }
    }
}
