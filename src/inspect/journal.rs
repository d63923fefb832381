//! The files of a shard's journal: entries, and what is left where none is.
//!
//! Written from FORMAT.md ("Journal entry"). A file is looked at block by block, so that an entry
//! which rotted hides nothing behind it. Bytes of an entry are folded into its checksum as they are
//! read; only descriptors are kept, and only when the checksum holds.

use std::io;

use super::batch::{Batch, HEADER_BYTES};
use super::bytes::{Cut, Source, WINDOW_BYTES, Window};
use super::papers::Id;
use crate::words::TopicId;

const MAGIC: &[u8; 8] = b"ottlajnl";
const VERSION: u32 = 1;
pub const ENTRY_HEADER_BYTES: usize = 64;
const DESCRIPTOR_BYTES: usize = 48;
pub const BLOCK: u64 = 4096;

/// The header of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub version: u32,
    pub descriptors: u32,
    pub incarnation: u64,
    pub sequence: u64,
    pub filled_through: u64,
    pub completed_through: u64,
    pub body_bytes: u32,
    pub total_bytes: u32,
    pub zero: u32,
    pub crc: u32,
}

/// A batch in an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub id: Id,
    pub leader_epoch: i32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub bytes: u32,
    /// From the start of the file.
    pub position: u64,
    /// Of the batch itself, by which it is known again in a segment.
    pub crc: u32,
}

/// "Segments hold everything of this partition through this offset."
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DurableMark {
    pub id: Id,
    pub last_offset: i64,
}

/// A whole entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub position: u64,
    pub stamp: Stamp,
    pub batches: Vec<Held>,
    pub marks: Vec<DurableMark>,
    /// What contradicts itself although the checksum holds, and where.
    pub faults: Vec<(u64, String)>,
}

impl Entry {
    pub fn end(&self) -> u64 {
        self.position
            .saturating_add(u64::from(self.stamp.total_bytes))
    }
}

/// What stands at a block boundary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Block {
    /// Never written.
    Zero,
    Entry(Box<Entry>),
    /// The beginning of an entry, and why it is none.
    Broken {
        stamp: Stamp,
        why: &'static str,
    },
    /// The middle of something older, or what is left of it.
    Remains,
}

/// Walk over a journal file.
pub struct Walk<'a, S: Source + ?Sized> {
    window: Window<'a, S>,
    at: u64,
}

impl<'a, S: Source + ?Sized> Walk<'a, S> {
    pub fn new(source: &'a S) -> Walk<'a, S> {
        Walk {
            window: Window::new(source, WINDOW_BYTES),
            at: 0,
        }
    }

    /// Where the next step looks.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// What stands next, and where; `None` at the end.
    ///
    /// # Errors
    /// Those of the device, about the bytes from [`Walk::position`] on.
    pub fn step(&mut self) -> io::Result<Option<(u64, Block)>> {
        let at = self.at;
        if at >= self.window.source_size() {
            return Ok(None);
        }
        let block = self.block(at)?;
        let len = match &block {
            Block::Entry(entry) => u64::from(entry.stamp.total_bytes),
            _ => BLOCK,
        };
        self.at = at.saturating_add(len.max(BLOCK));
        Ok(Some((at, block)))
    }

    fn block(&mut self, at: u64) -> io::Result<Block> {
        let bytes = self.window.look(at, 4096)?;
        if !bytes.starts_with(MAGIC) {
            let zero = bytes.iter().all(|byte| *byte == 0);
            return Ok(if zero { Block::Zero } else { Block::Remains });
        }
        let Some(stamp) = stamp(bytes) else {
            return Ok(Block::Remains);
        };
        let there = self.window.source_size().saturating_sub(at);
        if let Some(why) = misshapen(&stamp, there) {
            return Ok(Block::Broken { stamp, why });
        }
        if self.sum(at, &stamp)? != stamp.crc {
            let why = "the checksum does not hold";
            return Ok(Block::Broken { stamp, why });
        }
        let mut entry = Entry {
            position: at,
            stamp,
            batches: Vec::new(),
            marks: Vec::new(),
            faults: Vec::new(),
        };
        self.descriptors(&mut entry)?;
        Ok(Block::Entry(Box::new(entry)))
    }

    /// Over the header up to the checksum, then over the body.
    fn sum(&mut self, at: u64, stamp: &Stamp) -> io::Result<u32> {
        let mut sum = 0;
        let mut fold = |piece: &[u8]| sum = crc32c::crc32c_append(sum, piece);
        self.window.pieces(at, 60, &mut fold)?;
        let body = at.saturating_add(ENTRY_HEADER_BYTES as u64);
        self.window
            .pieces(body, u64::from(stamp.body_bytes), &mut fold)?;
        Ok(sum)
    }

    fn descriptors(&mut self, entry: &mut Entry) -> io::Result<()> {
        let mut at = entry.position.saturating_add(ENTRY_HEADER_BYTES as u64);
        let count = entry.stamp.descriptors;
        let table = u64::from(count).saturating_mul(DESCRIPTOR_BYTES as u64);
        let mut batch_at = at.saturating_add(table);
        let end = at.saturating_add(u64::from(entry.stamp.body_bytes));
        if batch_at > end {
            let what = format!("{count} descriptors do not fit the body");
            entry.faults.push((entry.position.saturating_add(12), what));
            return Ok(());
        }
        for _ in 0..count {
            let bytes = self.window.look(at, DESCRIPTOR_BYTES)?;
            let Some((held, kind)) = descriptor(bytes, batch_at) else {
                break;
            };
            match kind {
                0 => {
                    let held = self.held(held, end, &mut entry.faults)?;
                    batch_at = batch_at.saturating_add(u64::from(held.bytes));
                    entry.batches.push(held);
                }
                1 => {
                    let odd = held.bytes != 0
                        || held.leader_epoch != -1
                        || held.base_offset != held.last_offset;
                    if odd {
                        entry
                            .faults
                            .push((at, "a mark with a batch's fields".to_owned()));
                    }
                    entry.marks.push(DurableMark {
                        id: held.id,
                        last_offset: held.last_offset,
                    });
                }
                kind => entry
                    .faults
                    .push((at, format!("a descriptor of kind {kind}"))),
            }
            at = at.saturating_add(DESCRIPTOR_BYTES as u64);
        }
        if batch_at != end {
            let what = format!("batches end at {batch_at}, the body at {end}");
            entry.faults.push((entry.position.saturating_add(48), what));
        }
        Ok(())
    }

    /// Holds the descriptor against the batch itself, which is checked like one in a segment.
    fn held(
        &mut self,
        mut held: Held,
        end: u64,
        faults: &mut Vec<(u64, String)>,
    ) -> io::Result<Held> {
        let at = held.position;
        let size = u64::from(held.bytes);
        if at.saturating_add(size) > end {
            faults.push((at, format!("a batch of {size} bytes passes the body's end")));
            return Ok(held);
        }
        let head = self.window.look(at, HEADER_BYTES)?.first_chunk().copied();
        let batch = match head.map(|head| Batch::parse(&head)) {
            Some(Ok(batch)) if batch.size() == size => batch,
            Some(Err(fault)) => {
                faults.push((at, fault.to_string()));
                return Ok(held);
            }
            _ => {
                faults.push((
                    at,
                    "the batch has another length than its descriptor".to_owned(),
                ));
                return Ok(held);
            }
        };
        let same = (batch.base_offset, batch.last_offset(), batch.leader_epoch)
            == (held.base_offset, Some(held.last_offset), held.leader_epoch);
        if !same {
            faults.push((at, "the batch is not the one of its descriptor".to_owned()));
        }
        let from = super::batch::CRC_FROM as u64;
        let mut sum = 0;
        self.window.pieces(
            at.saturating_add(from),
            size.saturating_sub(from),
            |piece| {
                sum = crc32c::crc32c_append(sum, piece);
            },
        )?;
        if sum != batch.crc {
            faults.push((at, "the batch's own checksum does not hold".to_owned()));
        }
        held.crc = batch.crc;
        Ok(held)
    }
}

fn stamp(bytes: &[u8]) -> Option<Stamp> {
    let mut cut = Cut(bytes.get(MAGIC.len()..)?);
    Some(Stamp {
        version: cut.u32()?,
        descriptors: cut.u32()?,
        incarnation: cut.u64()?,
        sequence: cut.u64()?,
        filled_through: cut.u64()?,
        completed_through: cut.u64()?,
        body_bytes: cut.u32()?,
        total_bytes: cut.u32()?,
        zero: cut.u32()?,
        crc: cut.u32()?,
    })
}

fn misshapen(stamp: &Stamp, there: u64) -> Option<&'static str> {
    let used = u64::from(stamp.body_bytes).saturating_add(ENTRY_HEADER_BYTES as u64);
    let total = u64::from(stamp.total_bytes);
    if stamp.version != VERSION {
        return Some("a version that is not 1");
    }
    if used.checked_next_multiple_of(BLOCK) != Some(total) {
        return Some("lengths that contradict each other");
    }
    if total > there {
        return Some("longer than the file");
    }
    (stamp.zero != 0).then_some("bytes 56..60 are not zero")
}

fn descriptor(bytes: &[u8], position: u64) -> Option<(Held, u32)> {
    let mut cut = Cut(bytes);
    let held = Held {
        id: (TopicId(cut.take()?), cut.i32()?),
        leader_epoch: cut.i32()?,
        base_offset: cut.i64()?,
        last_offset: cut.i64()?,
        bytes: cut.u32()?,
        position,
        crc: 0,
    };
    Some((held, cut.u32()?))
}
