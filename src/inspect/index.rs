//! Entries of a segment's index files, and whether the segment bears each of them out.
//!
//! Written from Kafka's `OffsetIndex` and `TimeIndex`. Every entry is judged by itself against the
//! batches, so that one which is wrong does not make its neighbours look wrong.
//!
//! ```text
//! .index      8 bytes: offset less the segment's base u32, position of a batch u32
//! .timeindex 12 bytes: timestamp i64, offset less the segment's base u32
//! ```

use super::batch::Batch;
use super::bytes::Cut;

pub const OFFSET_ENTRY_BYTES: usize = 8;
pub const TIME_ENTRY_BYTES: usize = 12;

/// How exact entries have to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exact {
    /// Ottla: an entry names the last offset of the batch that it points to.
    Yes,
    /// Kafka, whose versions differ: it leads to a place from where a scan finds it.
    No,
}

/// An entry of the offset index.
#[derive(Clone, Copy, Debug)]
struct OffsetEntry {
    offset: i64,
    position: u64,
    borne_out: bool,
}

/// `.index`, while the batches of its segment go by.
#[derive(Debug)]
pub struct OffsetIndex {
    exact: Exact,
    entries: Vec<OffsetEntry>,
    /// Places in `entries`, by position.
    order: Vec<usize>,
    next: usize,
    odd_bytes: usize,
}

impl OffsetIndex {
    pub fn new(base: i64, bytes: &[u8], exact: Exact) -> OffsetIndex {
        let chunks = bytes.chunks_exact(OFFSET_ENTRY_BYTES);
        let odd_bytes = chunks.remainder().len();
        let entry = |bytes: &[u8]| {
            let mut cut = Cut(bytes);
            Some(OffsetEntry {
                offset: base.saturating_add(i64::from(cut.u32()?)),
                position: u64::from(cut.u32()?),
                borne_out: false,
            })
        };
        let entries: Vec<OffsetEntry> = chunks.filter_map(entry).collect();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|at| entries.get(*at).map(|entry| entry.position));
        OffsetIndex {
            exact,
            entries,
            order,
            next: 0,
            odd_bytes,
        }
    }

    /// A batch at `position`; batches come in order.
    pub fn see(&mut self, position: u64, batch: &Batch) {
        while let Some(entry) = self
            .order
            .get(self.next)
            .and_then(|at| self.entries.get_mut(*at))
        {
            if entry.position > position {
                return;
            }
            let last = batch.last_offset().unwrap_or(i64::MIN);
            entry.borne_out = entry.position == position
                && match self.exact {
                    Exact::Yes => entry.offset == last,
                    Exact::No => entry.offset >= batch.base_offset,
                };
            self.next = self.next.saturating_add(1);
        }
    }

    /// Damage from `position` up to `until`: nobody can say what an entry there should be.
    pub fn pass_damage(&mut self, position: u64, until: u64) {
        while let Some(entry) = self
            .order
            .get(self.next)
            .and_then(|at| self.entries.get_mut(*at))
        {
            if entry.position >= until {
                return;
            }
            entry.borne_out = entry.position >= position;
            self.next = self.next.saturating_add(1);
        }
    }

    /// Entries that the segment does not bear out: number, and what each says.
    pub fn faults(&self) -> Vec<(usize, String)> {
        let mut faults = Vec::new();
        let mut before: Option<(i64, u64)> = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let here = (entry.offset, entry.position);
            let ascends =
                before.is_none_or(|(offset, position)| here.0 > offset && here.1 > position);
            if !entry.borne_out {
                let what = format!("offset {} at byte {} is no batch", here.0, here.1);
                faults.push((at, what));
            } else if !ascends {
                faults.push((at, format!("offset {} does not ascend", here.0)));
            } else {
                before = Some(here);
            }
        }
        if self.odd_bytes > 0 {
            let what = format!("{} bytes are no whole entry", self.odd_bytes);
            faults.push((self.entries.len(), what));
        }
        faults
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Nothing but zeros from entry `at` on: space that was reserved.
    pub fn is_zero_from(&self, at: usize, base: i64) -> bool {
        let rest = self.entries.get(at..).unwrap_or_default();
        rest.iter()
            .all(|entry| (entry.offset, entry.position) == (base, 0))
    }
}

/// An entry of the time index.
#[derive(Clone, Copy, Debug)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
    borne_out: bool,
}

/// `.timeindex`, while the batches of its segment go by.
#[derive(Debug)]
pub struct TimeIndex {
    exact: Exact,
    entries: Vec<TimeEntry>,
    /// Places in `entries`, by offset.
    order: Vec<usize>,
    next: usize,
    odd_bytes: usize,
    /// Largest timestamp so far.
    max: i64,
    /// Damage went by.
    unsure: bool,
}

impl TimeIndex {
    pub fn new(base: i64, bytes: &[u8], exact: Exact) -> TimeIndex {
        let chunks = bytes.chunks_exact(TIME_ENTRY_BYTES);
        let odd_bytes = chunks.remainder().len();
        let entry = |bytes: &[u8]| {
            let mut cut = Cut(bytes);
            Some(TimeEntry {
                timestamp: cut.i64()?,
                offset: base.saturating_add(i64::from(cut.u32()?)),
                borne_out: false,
            })
        };
        let entries: Vec<TimeEntry> = chunks.filter_map(entry).collect();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|at| entries.get(*at).map(|entry| entry.offset));
        TimeIndex {
            exact,
            entries,
            order,
            next: 0,
            odd_bytes,
            max: -1,
            unsure: false,
        }
    }

    /// Batches come in order.
    pub fn see(&mut self, batch: &Batch) {
        let before = self.max;
        self.max = self.max.max(batch.max_timestamp);
        let last = batch.last_offset().unwrap_or(i64::MIN);
        while let Some(entry) = self
            .order
            .get(self.next)
            .and_then(|at| self.entries.get_mut(*at))
        {
            if entry.offset > last {
                return;
            }
            entry.borne_out = match self.exact {
                Exact::Yes => {
                    entry.offset == last
                        && entry.timestamp == batch.max_timestamp
                        && entry.timestamp > before
                }
                Exact::No => entry.timestamp >= before,
            };
            self.next = self.next.saturating_add(1);
        }
    }

    /// Damage: from here on offsets and timestamps may be missing among those that went by. What
    /// is known begins again at offset `until`.
    pub fn pass_damage(&mut self, until: i64) {
        self.unsure = true;
        while let Some(entry) = self
            .order
            .get(self.next)
            .and_then(|at| self.entries.get_mut(*at))
        {
            if entry.offset >= until {
                return;
            }
            entry.borne_out = true;
            self.next = self.next.saturating_add(1);
        }
    }

    /// As [`OffsetIndex::faults`].
    pub fn faults(&self) -> Vec<(usize, String)> {
        let mut faults = Vec::new();
        let mut before: Option<(i64, i64)> = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let here = (entry.timestamp, entry.offset);
            let ascends = before.is_none_or(|(time, offset)| here.0 > time && here.1 >= offset);
            if !entry.borne_out {
                let what = format!(
                    "timestamp {} at offset {} is not the segment's",
                    here.0, here.1
                );
                faults.push((at, what));
            } else if !ascends {
                faults.push((at, format!("timestamp {} does not ascend", here.0)));
            } else {
                before = Some(here);
            }
        }
        if self.odd_bytes > 0 {
            let what = format!("{} bytes are no whole entry", self.odd_bytes);
            faults.push((self.entries.len(), what));
        }
        faults
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// As [`OffsetIndex::is_zero_from`].
    pub fn is_zero_from(&self, at: usize, base: i64) -> bool {
        let rest = self.entries.get(at..).unwrap_or_default();
        rest.iter()
            .all(|entry| (entry.timestamp, entry.offset) == (0, base))
    }

    /// Whether the last entry has the largest timestamp that went by.
    pub fn ends_with_largest(&self) -> bool {
        let last = self.entries.last().map_or(-1, |entry| entry.timestamp);
        last == self.max || self.unsure
    }
}
