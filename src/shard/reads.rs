//! Older data: what the tail no longer holds is read from segments in large aligned pieces
//! (*extents*), checked, and kept in a small cache of its own, so that catching up never evicts
//! the tail. A reader that goes on in order finds the next extent already on its way.
//!
//! Nothing here waits: a read that is not in memory answers `Loading`, and whoever asked is
//! evaluated again when the device has answered.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use crate::devices::{Effect, Effects, Fault, FileHandle, Output};
use crate::log::offset_index::OffsetIndexView;
use crate::log::partition::ReadPlan;
use crate::log::tail::StoredBatch;
use crate::shard::jobs::{self, OpenedForRead};
use crate::shard::ops::Op;
use crate::shard::partition::Slot;
use crate::shard::{Message, Shard};
use crate::wire::record::slice::{BatchWalk, WalkStop};
use crate::wire::record::{BatchHeader, crc};
use crate::words::limits::{
    READ_CACHE_BYTES_MAX, READ_EXTENT_BYTES, READ_FILES_MAX, READS_IN_FLIGHT_MAX,
};
use crate::words::{Offset, marks};

/// Who waits for older data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reader {
    Fetch(super::fetch::FetchKey),
    Lookup(super::lookup::LookupKey),
}

/// What is left to read of a segment's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub slot: Slot,
    /// Base offset.
    pub segment: Offset,
    /// Bytes from the start of the file; a batch begins there.
    pub position: u64,
    /// What is written and may be read ends there.
    pub end_position: u64,
}

/// What a look into older data gave.
pub enum Older {
    /// Whole batches, the first of which holds the offset or is the next one after it.
    Batches(Vec<StoredBatch>),
    /// On its way; the reader is called again.
    Loading,
    /// The data cannot be read or is not what was written.
    Failed,
}

/// Whole batches of one segment that follow each other.
struct Extent {
    segment: Offset,
    last_offset: Offset,
    end_position: u64,
    batches: Vec<StoredBatch>,
    bytes: usize,
    used: u64,
}

/// A segment open for reading, with its indexes if it is sealed.
pub struct ReadFile {
    pub file: FileHandle,
    pub index: Bytes,
    pub time_index: Bytes,
    used: u64,
}

/// Cache and traffic of older data.
#[derive(Default)]
pub struct Reads {
    extents: BTreeMap<(Slot, Offset), Extent>,
    bytes: usize,
    files: HashMap<(Slot, Offset), ReadFile>,
    opening: HashSet<(Slot, Offset)>,
    reading: HashSet<(Slot, Offset, u64)>,
    failed: HashSet<(Slot, Offset)>,
    waiting: HashMap<Slot, Vec<Reader>>,
    /// Partitions whose read had to wait for another to end.
    deferred: Vec<Slot>,
    clock: u64,
}

impl Reads {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The extent that holds `from`.
    fn find(&mut self, slot: Slot, from: Offset) -> Option<&mut Extent> {
        let stamp = self.tick();
        let (_, extent) = self
            .extents
            .range_mut((slot, Offset(i64::MIN))..=(slot, from))
            .next_back()?;
        if extent.last_offset < from {
            return None;
        }
        extent.used = stamp;
        Some(extent)
    }

    /// Where the extent before `from` in the same segment ends.
    fn end_before(&self, slot: Slot, segment: Offset, from: Offset) -> Option<u64> {
        let (_, extent) = self
            .extents
            .range((slot, Offset(i64::MIN))..=(slot, from))
            .next_back()?;
        (extent.segment == segment && extent.last_offset < from).then_some(extent.end_position)
    }

    fn insert(&mut self, slot: Slot, extent: Extent) {
        let Some(first) = extent.batches.first().map(|batch| batch.base_offset) else {
            return;
        };
        self.bytes += extent.bytes;
        if let Some(old) = self.extents.insert((slot, first), extent) {
            self.bytes -= old.bytes;
        }
        while self.bytes > READ_CACHE_BYTES_MAX && self.extents.len() > 1 {
            let oldest = self
                .extents
                .iter()
                .min_by_key(|(_, extent)| extent.used)
                .map(|(key, _)| *key);
            let Some(gone) = oldest.and_then(|key| self.extents.remove(&key)) else {
                break;
            };
            self.bytes -= gone.bytes;
        }
    }

    fn insert_file(&mut self, slot: Slot, segment: Offset, opened: OpenedForRead) {
        let used = self.tick();
        self.files.insert(
            (slot, segment),
            ReadFile {
                file: opened.file,
                index: opened.index,
                time_index: opened.time_index,
                used,
            },
        );
        if self.files.len() > READ_FILES_MAX {
            let oldest = self
                .files
                .iter()
                .min_by_key(|(_, file)| file.used)
                .map(|(key, _)| *key);
            if let Some(key) = oldest {
                self.files.remove(&key);
            }
        }
    }

    /// Forgets a partition, or its segments below `before`.
    pub fn forget(&mut self, slot: Slot, before: Option<Offset>) {
        let goes = |segment: Offset| before.is_none_or(|before| segment < before);
        self.files
            .retain(|(of, segment), _| *of != slot || !goes(*segment));
        self.failed
            .retain(|(of, segment)| *of != slot || !goes(*segment));
        let mut freed = 0;
        self.extents.retain(|(of, _), extent| {
            let keep = *of != slot || !goes(extent.segment);
            if !keep {
                freed += extent.bytes;
            }
            keep
        });
        self.bytes -= freed;
    }

    pub fn file(&self, slot: Slot, segment: Offset) -> Option<&ReadFile> {
        self.files.get(&(slot, segment))
    }

    fn wait(&mut self, slot: Slot, reader: Reader) {
        let waiting = self.waiting.entry(slot).or_default();
        if !waiting.contains(&reader) {
            waiting.push(reader);
        }
    }

    /// Everybody who waits for older data of `slot`, and of partitions whose read was put off.
    pub fn take_waiting(&mut self, slot: Slot) -> Vec<Reader> {
        let mut readers = self.waiting.remove(&slot).unwrap_or_default();
        for slot in std::mem::take(&mut self.deferred) {
            readers.extend(self.waiting.remove(&slot).unwrap_or_default());
        }
        readers
    }
}

impl Shard {
    /// Batches from the one that holds `from` on, out of segment `segment`, which is known to
    /// hold it below `end_position`.
    pub(super) fn older(
        &mut self,
        slot: Slot,
        from: Offset,
        reader: Reader,
        effects: &mut Effects<Message>,
    ) -> Older {
        if let Some(extent) = self.reads.find(slot, from) {
            let start = extent
                .batches
                .partition_point(|batch| batch.last_offset < from);
            let batches: Vec<StoredBatch> =
                extent.batches.get(start..).unwrap_or_default().to_vec();
            let next = Offset(extent.last_offset.0 + 1);
            let ahead = start * 2 >= extent.batches.len();
            if ahead {
                self.load(slot, next, effects);
            }
            return Older::Batches(batches);
        }
        match self.load(slot, from, effects) {
            Load::Started => {
                self.reads.wait(slot, reader);
                Older::Loading
            }
            // The caller planned a read from the disk, so what is in memory was not it.
            Load::InMemory | Load::Failed => Older::Failed,
        }
    }

    /// Starts what is needed to have `from` in an extent.
    fn load(&mut self, slot: Slot, from: Offset, effects: &mut Effects<Message>) -> Load {
        let Some(partition) = self.partitions.get(slot) else {
            return Load::Failed;
        };
        let high_watermark = partition.log.high_watermark();
        let (segment, end_position) = match partition.log.plan_read(from, high_watermark, 1, true) {
            ReadPlan::Disk {
                segment,
                end_position,
            } => (segment, end_position),
            ReadPlan::Memory(_) | ReadPlan::Nothing => return Load::InMemory,
            ReadPlan::OutOfRange => return Load::Failed,
        };
        if self.reads.failed.contains(&(slot, segment)) {
            return Load::Failed;
        }
        if self.reads.find(slot, from).is_some() {
            return Load::InMemory;
        }
        let sealed = partition
            .log
            .segment(segment)
            .is_some_and(|segment| segment.building.is_none());
        let Some(file) = self.file_to_read(slot, segment, sealed, effects) else {
            return Load::Started;
        };
        if self.reads.reading.len() >= READS_IN_FLIGHT_MAX {
            marks::hit("read put off");
            self.reads.deferred.push(slot);
            return Load::Started;
        }
        let indexed = self.indexed_position(slot, segment, from);
        let position = self
            .reads
            .end_before(slot, segment, from)
            .map_or(indexed, |end| end.max(indexed));
        let stretch = Stretch {
            slot,
            segment,
            position,
            end_position,
        };
        self.read_extent(stretch, &file, READ_EXTENT_BYTES, effects);
        Load::Started
    }

    fn file_to_read(
        &mut self,
        slot: Slot,
        segment: Offset,
        sealed: bool,
        effects: &mut Effects<Message>,
    ) -> Option<FileHandle> {
        let stamp = self.reads.tick();
        if let Some(open) = self.reads.files.get_mut(&(slot, segment)) {
            open.used = stamp;
            return Some(open.file.clone());
        }
        let partition = self.partitions.get(slot)?;
        if !sealed && let Some(file) = partition.file_of(segment) {
            return Some(file.clone());
        }
        if self.reads.opening.insert((slot, segment)) {
            let job = jobs::open_for_read(partition, segment, sealed);
            let op = self.ops.start(Op::OpenForRead {
                slot,
                topic_partition: partition.topic_partition,
                segment,
            });
            effects.push(Effect::Job { op, job });
        }
        None
    }

    /// The sealed segment open for reading with its indexes, or `reader` is called when it is.
    pub(super) fn open_to_read(
        &mut self,
        slot: Slot,
        segment: Offset,
        reader: Reader,
        effects: &mut Effects<Message>,
    ) -> Option<&ReadFile> {
        if self.file_to_read(slot, segment, true, effects).is_none() {
            self.reads.wait(slot, reader);
        }
        self.reads.files.get(&(slot, segment))
    }

    /// The position of the largest index entry at or below `from`.
    fn indexed_position(&self, slot: Slot, segment: Offset, from: Offset) -> u64 {
        let building = self
            .partitions
            .get(slot)
            .and_then(|partition| partition.log.segment(segment))
            .and_then(|segment| segment.building.as_ref());
        match building {
            Some(indexes) => u64::from(indexes.offset_index().lookup(from).position),
            None => self.reads.file(slot, segment).map_or(0, |open| {
                let index = OffsetIndexView::new(segment, &open.index);
                u64::from(index.lookup(from).position)
            }),
        }
    }

    /// Reads at most `len` bytes from the beginning of a stretch.
    fn read_extent(
        &mut self,
        stretch: Stretch,
        file: &FileHandle,
        len: usize,
        effects: &mut Effects<Message>,
    ) {
        let Stretch {
            slot,
            segment,
            position,
            end_position,
        } = stretch;
        let Some(partition) = self.partitions.get(slot) else {
            return;
        };
        if position >= end_position || !self.reads.reading.insert((slot, segment, position)) {
            return;
        }
        let left = usize::try_from(end_position - position).unwrap_or(usize::MAX);
        let op = self.ops.start(Op::ReadExtent {
            slot,
            topic_partition: partition.topic_partition,
            segment,
            position,
            end_position,
        });
        effects.push(Effect::Read {
            op,
            file: file.clone(),
            position,
            len: len.min(left),
        });
    }

    pub(super) fn opened_for_read(
        &mut self,
        slot: Slot,
        segment: Offset,
        result: Result<Output, Fault>,
    ) {
        self.reads.opening.remove(&(slot, segment));
        match jobs::output::<OpenedForRead>(result) {
            Ok(opened) => self.reads.insert_file(slot, segment, opened),
            Err(fault) => {
                tracing::error!(error = %fault.error, segment = segment.0, "a segment cannot be opened for reading");
                self.reads.failed.insert((slot, segment));
            }
        }
    }

    /// An extent arrived: check every batch, keep the whole ones.
    pub(super) fn extent_read(
        &mut self,
        stretch: Stretch,
        result: Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        let Stretch {
            slot,
            segment,
            position,
            end_position,
        } = stretch;
        self.reads.reading.remove(&(slot, segment, position));
        let bytes = match result {
            Ok(Output::Read(bytes)) => bytes,
            Ok(_) => Bytes::new(),
            Err(fault) => {
                tracing::error!(error = %fault.error, segment = segment.0, position, "a read failed");
                self.reads.failed.insert((slot, segment));
                return;
            }
        };
        match parse_extent(segment, position, &bytes) {
            Parsed::Extent(mut extent) => {
                extent.used = self.reads.tick();
                self.reads.insert(slot, extent);
            }
            Parsed::NeedsMore(len) if position + len as u64 <= end_position => {
                marks::hit("batch longer than its extent");
                if let Some(file) = self.file_to_read(slot, segment, false, effects) {
                    self.read_extent(stretch, &file, len, effects);
                }
            }
            Parsed::NeedsMore(_) | Parsed::Rotten => {
                marks::hit("rot met by a read");
                tracing::error!(
                    segment = segment.0,
                    position,
                    "stored bytes are not what was written"
                );
                self.reads.failed.insert((slot, segment));
            }
        }
    }
}

/// How far a load got.
enum Load {
    Started,
    InMemory,
    Failed,
}

enum Parsed {
    Extent(Extent),
    /// The first batch is longer than what was read: this many bytes hold it.
    NeedsMore(usize),
    Rotten,
}

fn parse_extent(segment: Offset, position: u64, bytes: &Bytes) -> Parsed {
    let mut batches: Vec<StoredBatch> = Vec::new();
    let mut walk = BatchWalk::new(bytes);
    let mut end = 0usize;
    for (at, header) in walk.by_ref() {
        let len = header.size_bytes();
        let Some(batch) = bytes.get(at..at.saturating_add(len)) else {
            break;
        };
        if !crc::is_intact(&header, batch) {
            return Parsed::Rotten;
        }
        end = at + len;
        batches.push(stored(
            segment,
            position + at as u64,
            &header,
            bytes.slice(at..end),
        ));
    }
    match (batches.first(), batches.last(), walk.stopped()) {
        (Some(first), Some(last), _) => Parsed::Extent(Extent {
            segment: first.segment,
            last_offset: last.last_offset,
            end_position: position + end as u64,
            bytes: end,
            used: 0,
            batches,
        }),
        (_, _, Some(WalkStop::ShortBatch(needed))) => Parsed::NeedsMore(needed),
        _ => Parsed::Rotten,
    }
}

fn stored(segment: Offset, position: u64, header: &BatchHeader, bytes: Bytes) -> StoredBatch {
    StoredBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
        segment,
        position,
        bytes,
    }
}
