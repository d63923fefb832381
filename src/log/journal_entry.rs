//! One entry of the commit journal: the bytes that a commit group becomes.
//!
//! Owns the layout (FORMAT.md, "Journal entry"), its one writer and its one reader. Never does
//! I/O, never decides what a damaged entry means (`verdict.rs`) and never looks into a batch.
//!
//! ```text
//! header, 64 bytes                         descriptor, 48 bytes (one per batch or mark)
//!  0 magic "ottlajnl"    8 version u32      0 topic id 16      16 partition i32
//! 12 descriptors u32    16 incarnation u64 20 leader epoch i32 24 base offset i64
//! 24 sequence u64       32 filled u64      32 last offset i64  40 batch bytes u32
//! 40 completed u64      48 body bytes u32  44 kind u32: 0 batch, 1 mark
//! 52 total bytes u32    56 zero u32
//! 60 crc u32 (CRC-32C of 0..60 and of the body)
//! ```
//! Then the batches in the order of their descriptors, then zeros up to the block. Big-endian.

use std::ops::Range;

use crate::wire::record::BATCH_HEADER_BYTES;
use crate::wire::record::crc::Crc32c;
use crate::words::limits::BLOCK_BYTES;
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

/// First bytes of every entry.
pub const ENTRY_MAGIC: [u8; 8] = *b"ottlajnl";
/// The only layout that this build writes and reads.
pub const ENTRY_VERSION: u32 = 1;
/// Bytes of the fixed header.
pub const ENTRY_HEADER_BYTES: usize = 64;
/// Bytes of one descriptor.
pub const DESCRIPTOR_BYTES: usize = 48;

const CRC_AT: usize = 60;
const KIND_BATCH: u32 = 0;
const KIND_MARK: u32 = 1;

/// What the header says about the journal at the moment of writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EntryStamp {
    /// The start of the broker that wrote it; an entry of any other start is stale.
    pub incarnation: u64,
    /// Rises by one with every entry of the incarnation, from 1.
    pub sequence: u64,
    /// Entries up to this sequence are in flushed segments, and a durable checkpoint says so.
    pub filled_through: u64,
    /// Up to this sequence every group is complete, its bypasses included: answers may have left.
    /// Recovery knows by it that a hole below is rot and not the torn end of the journal.
    pub completed_through: u64,
}

/// A batch on its way into an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryBatch<'a> {
    pub topic_partition: TopicPartition,
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// The stamped header, as it will be served.
    pub header: [u8; BATCH_HEADER_BYTES],
    /// Everything after the header.
    pub body: &'a [u8],
}

/// A promise without bytes: the segments of this partition hold everything through `last_offset`
/// and were flushed. Written in the entry after a bypass, so that recovery can tell rot in a
/// bypassed run from a torn one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableMark {
    pub topic_partition: TopicPartition,
    pub last_offset: Offset,
}

/// Why an entry cannot be written. Both are mistakes of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeFault {
    /// The group does not fit the 32-bit lengths of one entry.
    TooLarge,
    /// The buffer is not exactly [`encoded_len`] bytes long.
    WrongBuffer { expected: usize, found: usize },
}

/// Bytes of the whole entry, padding included: a multiple of the block. `None` when the group is
/// too large for one entry.
pub fn encoded_len(batches: &[EntryBatch<'_>], marks: &[DurableMark]) -> Option<usize> {
    let descriptors = batches.len().checked_add(marks.len())?;
    let mut len = descriptors
        .checked_mul(DESCRIPTOR_BYTES)?
        .checked_add(ENTRY_HEADER_BYTES)?;
    for batch in batches {
        len = len
            .checked_add(BATCH_HEADER_BYTES)?
            .checked_add(batch.body.len())?;
    }
    let total = len.checked_next_multiple_of(BLOCK_BYTES)?;
    u32::try_from(total).ok()?;
    Some(total)
}

/// Writes the entry over all of `out`, which must be [`encoded_len`] bytes long, and puts the
/// place of each batch inside `out` into `places` (cleared first). Copies each batch once.
pub fn encode(
    stamp: EntryStamp,
    batches: &[EntryBatch<'_>],
    marks: &[DurableMark],
    out: &mut [u8],
    places: &mut Vec<Range<usize>>,
) -> Result<(), EncodeFault> {
    let total = encoded_len(batches, marks).ok_or(EncodeFault::TooLarge)?;
    if out.len() != total {
        return Err(EncodeFault::WrongBuffer {
            expected: total,
            found: out.len(),
        });
    }
    places.clear();
    places.reserve(batches.len());
    let used = fill_body(batches, marks, out, places).ok_or(EncodeFault::TooLarge)?;
    let (entry, padding) = out
        .split_at_mut_checked(used)
        .ok_or(EncodeFault::TooLarge)?;
    padding.fill(0);
    let (head, body) = entry
        .split_at_mut_checked(ENTRY_HEADER_BYTES)
        .ok_or(EncodeFault::TooLarge)?;
    let descriptors = batches
        .len()
        .checked_add(marks.len())
        .and_then(|count| u32::try_from(count).ok())
        .ok_or(EncodeFault::TooLarge)?;
    let body_bytes = u32::try_from(body.len()).map_err(|_| EncodeFault::TooLarge)?;
    let total_bytes = u32::try_from(total).map_err(|_| EncodeFault::TooLarge)?;
    let mut writer = Writer { out: head };
    writer.put(&ENTRY_MAGIC);
    writer.put(&ENTRY_VERSION.to_be_bytes());
    writer.put(&descriptors.to_be_bytes());
    writer.put(&stamp.incarnation.to_be_bytes());
    writer.put(&stamp.sequence.to_be_bytes());
    writer.put(&stamp.filled_through.to_be_bytes());
    writer.put(&stamp.completed_through.to_be_bytes());
    writer.put(&body_bytes.to_be_bytes());
    writer.put(&total_bytes.to_be_bytes());
    writer.put(&[0; 4]);
    let crc = crc_of(head, body);
    if let Some(place) = head.get_mut(CRC_AT..ENTRY_HEADER_BYTES) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    Ok(())
}

/// Descriptors and batches behind the header; returns where they end.
fn fill_body(
    batches: &[EntryBatch<'_>],
    marks: &[DurableMark],
    out: &mut [u8],
    places: &mut Vec<Range<usize>>,
) -> Option<usize> {
    let count = batches.len().checked_add(marks.len())?;
    let descriptors = count.checked_mul(DESCRIPTOR_BYTES)?;
    let mut at = ENTRY_HEADER_BYTES.checked_add(descriptors)?;
    let mut writer = Writer {
        out: out.get_mut(ENTRY_HEADER_BYTES..at)?,
    };
    for batch in batches {
        let len = BATCH_HEADER_BYTES.checked_add(batch.body.len())?;
        writer.put(&batch.topic_partition.topic.0);
        writer.put(&batch.topic_partition.partition.0.to_be_bytes());
        writer.put(&batch.leader_epoch.0.to_be_bytes());
        writer.put(&batch.base_offset.0.to_be_bytes());
        writer.put(&batch.last_offset.0.to_be_bytes());
        writer.put(&u32::try_from(len).ok()?.to_be_bytes());
        writer.put(&KIND_BATCH.to_be_bytes());
    }
    for mark in marks {
        writer.put(&mark.topic_partition.topic.0);
        writer.put(&mark.topic_partition.partition.0.to_be_bytes());
        writer.put(&(-1i32).to_be_bytes());
        writer.put(&mark.last_offset.0.to_be_bytes());
        writer.put(&mark.last_offset.0.to_be_bytes());
        writer.put(&[0; 4]);
        writer.put(&KIND_MARK.to_be_bytes());
    }
    for batch in batches {
        let body_at = at.checked_add(BATCH_HEADER_BYTES)?;
        let end = body_at.checked_add(batch.body.len())?;
        out.get_mut(at..body_at)?.copy_from_slice(&batch.header);
        out.get_mut(body_at..end)?.copy_from_slice(batch.body);
        places.push(at..end);
        at = end;
    }
    Some(at)
}

/// Puts bytes one after the other; what does not fit is a sizing mistake and is left out, which
/// the checksum over the whole then makes visible.
struct Writer<'a> {
    out: &'a mut [u8],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let out = std::mem::take(&mut self.out);
        match out.split_at_mut_checked(bytes.len()) {
            Some((here, rest)) => {
                here.copy_from_slice(bytes);
                self.out = rest;
            }
            None => debug_assert!(false, "journal entry sized too small"),
        }
    }
}

fn crc_of(head: &[u8], body: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(head.get(..CRC_AT).unwrap_or_default());
    crc.update(body);
    crc.finish()
}

/// What stands at one block of a journal file.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A block of zeros: pre-written space that no entry has reached.
    Zero,
    /// A whole entry of the wanted incarnation.
    Entry(Entry<'a>),
    /// A whole entry of another start of the broker.
    Stale(EntryStamp),
    /// Anything else: an unfinished write, a middle of something older, or rot. Which of them
    /// cannot be seen from here.
    Torn(Tear),
}

/// How a damaged entry looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tear {
    /// Not the beginning of an entry at all.
    NoMagic,
    /// The magic is there, with a layout that this build does not know.
    Version(u32),
    /// Lengths that contradict each other or the block.
    Lengths,
    /// The entry claims more bytes than the file has.
    CutShort { claimed: u32, found: usize },
    /// Header or body are not what was written.
    Crc,
    /// The checksum holds, the descriptors do not add up: a writer's bug.
    Descriptors,
}

/// A checked entry, borrowed from the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub stamp: EntryStamp,
    /// Bytes to the next entry: a multiple of the block, at least one block.
    pub total_bytes: u32,
    descriptors: u32,
    body: &'a [u8],
}

/// One descriptor with its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundBatch<'a> {
    pub topic_partition: TopicPartition,
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// Place of the batch, counted from the first byte of the entry.
    pub place: FoundPlace,
    pub bytes: &'a [u8],
}

/// Where a batch lies inside its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundPlace {
    pub at: u32,
    pub len: u32,
}

/// What a descriptor describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    Batch(FoundBatch<'a>),
    Mark(DurableMark),
}

/// Looks at the start of `bytes` (one block boundary of a journal file, up to the file's end).
/// With `incarnation`, whole entries of another one are [`Found::Stale`].
pub fn decode(bytes: &[u8], incarnation: Option<u64>) -> Found<'_> {
    match decode_entry(bytes) {
        Ok(entry) if incarnation.is_none_or(|wanted| wanted == entry.stamp.incarnation) => {
            Found::Entry(entry)
        }
        Ok(entry) => Found::Stale(entry.stamp),
        Err(Tear::NoMagic) if is_zero_block(bytes) => Found::Zero,
        Err(tear) => Found::Torn(tear),
    }
}

fn is_zero_block(bytes: &[u8]) -> bool {
    let block = bytes.get(..BLOCK_BYTES).unwrap_or(bytes);
    block.iter().all(|byte| *byte == 0)
}

fn decode_entry(bytes: &[u8]) -> Result<Entry<'_>, Tear> {
    if bytes.get(..ENTRY_MAGIC.len()) != Some(ENTRY_MAGIC.as_slice()) {
        return Err(Tear::NoMagic);
    }
    let (head, rest) = bytes
        .split_at_checked(ENTRY_HEADER_BYTES)
        .ok_or(Tear::CutShort {
            claimed: u32::try_from(ENTRY_HEADER_BYTES).unwrap_or(u32::MAX),
            found: bytes.len(),
        })?;
    let mut reader = Reader { rest: head };
    let header = reader.header().ok_or(Tear::Lengths)?;
    if header.version != ENTRY_VERSION {
        return Err(Tear::Version(header.version));
    }
    let body_len = usize::try_from(header.body_bytes).map_err(|_| Tear::Lengths)?;
    let total = usize::try_from(header.total_bytes).map_err(|_| Tear::Lengths)?;
    let padded = body_len
        .checked_add(ENTRY_HEADER_BYTES)
        .and_then(|len| len.checked_next_multiple_of(BLOCK_BYTES));
    if padded != Some(total) {
        return Err(Tear::Lengths);
    }
    if bytes.len() < total {
        return Err(Tear::CutShort {
            claimed: header.total_bytes,
            found: bytes.len(),
        });
    }
    let body = rest.get(..body_len).ok_or(Tear::Lengths)?;
    if crc_of(head, body) != header.crc {
        return Err(Tear::Crc);
    }
    let entry = Entry {
        stamp: header.stamp,
        total_bytes: header.total_bytes,
        descriptors: header.descriptors,
        body,
    };
    entry.adds_up().then_some(entry).ok_or(Tear::Descriptors)
}

impl<'a> Entry<'a> {
    /// Batches and marks in the order they were written.
    pub fn items(&self) -> Items<'a> {
        items_of(self.body, self.descriptors)
    }

    /// Whether descriptors and body describe each other exactly.
    fn adds_up(&self) -> bool {
        let mut items = self.items();
        let walked = items.by_ref().count();
        usize::try_from(self.descriptors) == Ok(walked) && items.batches.is_empty()
    }
}

/// What a damaged entry claims to be, unproven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    pub stamp: EntryStamp,
    /// The partitions that its descriptors name, and the last offset of each batch.
    pub batches: Vec<(TopicPartition, Offset)>,
}

/// What a damaged entry *claims* to have held: recovery suspects these partitions when an entry
/// that was acknowledged has rotted. `None` when the bytes are no entry's beginning.
pub fn claim(bytes: &[u8]) -> Option<Claim> {
    let (head, rest) = bytes.split_at_checked(ENTRY_HEADER_BYTES)?;
    if !head.starts_with(&ENTRY_MAGIC) {
        return None;
    }
    let header = Reader { rest: head }.header()?;
    let body = usize::try_from(header.body_bytes).ok()?;
    let body = rest.get(..body).unwrap_or_default();
    let batches = items_of(body, header.descriptors).filter_map(|item| match item {
        Item::Batch(batch) => Some((batch.topic_partition, batch.last_offset)),
        Item::Mark(_) => None,
    });
    Some(Claim {
        stamp: header.stamp,
        batches: batches.collect(),
    })
}

fn items_of(body: &[u8], descriptors: u32) -> Items<'_> {
    let split = usize::try_from(descriptors)
        .ok()
        .and_then(|count| count.checked_mul(DESCRIPTOR_BYTES))
        .and_then(|len| Some((len, body.split_at_checked(len)?)));
    let (at, (descriptors, batches)) = split.unwrap_or((0, (&[], &[])));
    Items {
        descriptors: Reader { rest: descriptors },
        batches,
        at: at.saturating_add(ENTRY_HEADER_BYTES),
    }
}

/// Walk over an entry's items; ends early where descriptors and bytes contradict each other.
pub struct Items<'a> {
    descriptors: Reader<'a>,
    batches: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (descriptor, len, kind) = self.descriptors.descriptor()?;
        match kind {
            KIND_MARK if len == 0 => Some(Item::Mark(DurableMark {
                topic_partition: descriptor.topic_partition,
                last_offset: descriptor.last_offset,
            })),
            KIND_BATCH => {
                let size = usize::try_from(len).ok()?;
                if size < BATCH_HEADER_BYTES {
                    return None;
                }
                let (bytes, rest) = self.batches.split_at_checked(size)?;
                let at = u32::try_from(self.at).ok()?;
                self.batches = rest;
                self.at = self.at.checked_add(size)?;
                Some(Item::Batch(FoundBatch {
                    bytes,
                    place: FoundPlace { at, len },
                    ..descriptor
                }))
            }
            _ => None,
        }
    }
}

struct Header {
    version: u32,
    descriptors: u32,
    stamp: EntryStamp,
    body_bytes: u32,
    total_bytes: u32,
    crc: u32,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (here, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*here)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn header(&mut self) -> Option<Header> {
        self.take::<8>()?;
        let version = self.u32()?;
        let descriptors = self.u32()?;
        let stamp = EntryStamp {
            incarnation: self.u64()?,
            sequence: self.u64()?,
            filled_through: self.u64()?,
            completed_through: self.u64()?,
        };
        let body_bytes = self.u32()?;
        let total_bytes = self.u32()?;
        self.take::<4>()?;
        let crc = self.u32()?;
        Some(Header {
            version,
            descriptors,
            stamp,
            body_bytes,
            total_bytes,
            crc,
        })
    }

    fn descriptor(&mut self) -> Option<(FoundBatch<'a>, u32, u32)> {
        let topic_partition = TopicPartition {
            topic: TopicId(self.take()?),
            partition: PartitionIndex(self.take().map(i32::from_be_bytes)?),
        };
        let leader_epoch = LeaderEpoch(self.take().map(i32::from_be_bytes)?);
        let base_offset = Offset(self.take().map(i64::from_be_bytes)?);
        let last_offset = Offset(self.take().map(i64::from_be_bytes)?);
        let len = self.u32()?;
        let kind = self.u32()?;
        let descriptor = FoundBatch {
            topic_partition,
            base_offset,
            last_offset,
            leader_epoch,
            place: FoundPlace { at: 0, len: 0 },
            bytes: &[],
        };
        Some((descriptor, len, kind))
    }
}

#[cfg(test)]
#[path = "journal_entry_tests.rs"]
mod tests;
