//! File operations of one machine on its ring: vectored writes, flushes, reads.
//!
//! Owns every operation in flight with its memory and a hold on its file. Short transfers are
//! continued here; each operation ends in one `Done`. A flush waits for the writes to the same
//! file that were asked for before it.

use std::io;

use bytes::{Buf, Bytes};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use super::ring::{Completion, Ring, Tag};
use super::slots::Slots;
use super::{AlignedBuf, BufferPool, Event, Fault, FileHandle, FilePlace, OpId, Output};
use crate::words::limits::{INTERRUPTS_MAX, READ_BYTES_MAX, WRITE_PARTS_MAX};
use std::collections::VecDeque;
use std::sync::Arc;

struct Operation {
    op: OpId,
    file: FileHandle,
    fd: Fd,
    /// Order of asking.
    serial: u64,
    /// Completions that the kernel still owes.
    owed: u32,
    interrupts: u32,
    error: Option<io::Error>,
    kind: Kind,
}

enum Kind {
    Write(Write),
    Flush { state: FlushState },
    Read(Read),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlushState {
    /// Earlier writes to the file are still in flight.
    Waiting,
    Started,
    Done,
}

struct Write {
    /// Not yet written; the front ones are in the kernel's hands while completions are owed.
    parts: VecDeque<Bytes>,
    vectors: Vec<libc::iovec>,
    position: u64,
    /// Bytes that the write in flight would transfer.
    asked: usize,
    flush: bool,
    flushed: bool,
}

struct Read {
    buffer: AlignedBuf,
    /// Aligned place in the file where the buffer starts.
    start: u64,
    /// Bytes between `start` and what was asked for.
    skip: usize,
    len: usize,
    done: usize,
    end_of_file: bool,
}

pub(super) struct Files {
    operations: Slots<Operation>,
    serial: u64,
    waiting_flushes: Vec<u32>,
    /// Operations that ended without the kernel (asked wrongly, or nothing to do).
    ended: Vec<(OpId, Result<Output, Fault>)>,
}

impl Files {
    pub(super) fn new() -> Files {
        Files {
            operations: Slots::new(),
            serial: 0,
            waiting_flushes: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.operations.len()
    }

    /// Hands over what ended without a completion of the kernel.
    pub(super) fn collect<M>(&mut self, events: &mut Vec<Event<M>>) {
        let ended = self.ended.drain(..);
        events.extend(ended.map(|(op, result)| Event::Done { op, result }));
    }

    pub(super) fn write(
        &mut self,
        op: OpId,
        at: FilePlace,
        parts: Vec<Bytes>,
        flush: bool,
        ring: &mut Ring,
    ) {
        let FilePlace { file, position } = at;
        if let Some(part) = misaligned(&file, position, &parts) {
            return self.refuse(op, format!("{part} on {file:?} is not aligned"));
        }
        let parts = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let write = Write {
            parts,
            vectors: Vec::new(),
            position,
            asked: 0,
            flush,
            flushed: false,
        };
        self.begin(op, file, Kind::Write(write), ring);
    }

    pub(super) fn flush(&mut self, op: OpId, file: FileHandle, ring: &mut Ring) {
        let state = FlushState::Waiting;
        self.begin(op, file, Kind::Flush { state }, ring);
    }

    pub(super) fn read(
        &mut self,
        op: OpId,
        at: FilePlace,
        len: usize,
        pool: &Arc<BufferPool>,
        ring: &mut Ring,
    ) {
        let FilePlace { file, position } = at;
        if len > READ_BYTES_MAX {
            return self.refuse(op, format!("a read of {len} bytes is too long"));
        }
        let alignment = u64::from(file.alignment.max(1));
        let skip = position % alignment;
        let start = position - skip;
        // At most READ_BYTES_MAX and two blocks, checked against overflow beside the limit.
        let skip = usize::try_from(skip).unwrap_or(0);
        let span = (skip + len).next_multiple_of(file.alignment.max(1) as usize);
        if i64::try_from(start).is_err() || len == 0 {
            self.ended.push((op, Ok(Output::Read(Bytes::new()))));
            return;
        }
        let read = Read {
            buffer: pool.take(span),
            start,
            skip,
            len,
            done: 0,
            end_of_file: false,
        };
        self.begin(op, file, Kind::Read(read), ring);
    }

    fn refuse(&mut self, op: OpId, why: String) {
        let error = io::Error::new(io::ErrorKind::InvalidInput, why);
        self.ended.push((op, Err(Fault::from_error(error))));
    }

    fn begin(&mut self, op: OpId, file: FileHandle, kind: Kind, ring: &mut Ring) {
        let Ok(fd) = i32::try_from(file.token) else {
            return self.refuse(op, format!("{file:?} is not of this device"));
        };
        self.serial += 1;
        let operation = Operation {
            op,
            file,
            fd: Fd(fd),
            serial: self.serial,
            owed: 0,
            interrupts: 0,
            error: None,
            kind,
        };
        match self.operations.insert(operation) {
            Ok(slot) => self.go_on(slot, ring),
            Err(operation) => self.refuse(operation.op, "too many operations".to_owned()),
        }
    }

    /// A completion of one of our tags.
    pub(super) fn completed(&mut self, done: Completion, ring: &mut Ring) {
        let Some(operation) = self.operations.get_mut(done.slot) else {
            return;
        };
        operation.owed = operation.owed.saturating_sub(1);
        operation.note(done);
        if operation.owed == 0 {
            self.go_on(done.slot, ring);
        }
    }

    /// Starts the next step of an operation of which the kernel holds nothing, or ends it.
    fn go_on(&mut self, slot: u32, ring: &mut Ring) {
        if self.must_wait(slot) {
            self.waiting_flushes.push(slot);
            return;
        }
        let Some(operation) = self.operations.get_mut(slot) else {
            return;
        };
        if operation.error.is_none() && operation.start_next(slot, ring) {
            return;
        }
        let Some(operation) = self.operations.remove(slot) else {
            return;
        };
        let wrote = matches!(operation.kind, Kind::Write(_));
        self.ended.push(operation.finish());
        if wrote && !self.waiting_flushes.is_empty() {
            // Those that must wait on put themselves back.
            for waiting in std::mem::take(&mut self.waiting_flushes) {
                self.go_on(waiting, ring);
            }
        }
    }

    /// A flush that has not begun, with an earlier write to its file in flight.
    fn must_wait(&mut self, slot: u32) -> bool {
        let Some(flush) = self.operations.get_mut(slot) else {
            return false;
        };
        let waiting = FlushState::Waiting;
        if !matches!(flush.kind, Kind::Flush { state } if state == waiting) {
            return false;
        }
        let (token, serial) = (flush.file.token, flush.serial);
        self.operations.iter().any(|other| {
            matches!(other.kind, Kind::Write(_))
                && other.file.token == token
                && other.serial < serial
        })
    }
}

/// Names what breaks the alignment of a direct file.
fn misaligned(file: &FileHandle, position: u64, parts: &[Bytes]) -> Option<&'static str> {
    let alignment = file.alignment.max(1) as usize;
    if alignment == 1 {
        return None;
    }
    if !position.is_multiple_of(alignment as u64) {
        return Some("the position of a write");
    }
    let even = |part: &Bytes| {
        part.as_ptr().addr().is_multiple_of(alignment) && part.len().is_multiple_of(alignment)
    };
    (!parts.iter().all(even)).then_some("a part of a write")
}

impl Operation {
    /// Takes note of what the kernel says.
    fn note(&mut self, done: Completion) {
        let outcome = match done.outcome() {
            Ok(count) => Ok(count as usize),
            Err(error) => match error.raw_os_error() {
                // Interrupted before it moved anything; or a flush linked to a short write.
                Some(libc::EINTR | libc::EAGAIN) => {
                    self.interrupts += 1;
                    if self.interrupts <= INTERRUPTS_MAX {
                        return;
                    }
                    Err(error)
                }
                Some(libc::ECANCELED) if done.tag == Tag::Sync => return,
                _ => Err(error),
            },
        };
        match (outcome, &mut self.kind) {
            // The first error is the cause.
            (Err(error), _) => {
                self.error.get_or_insert(error);
            }
            (Ok(_), Kind::Flush { state }) => *state = FlushState::Done,
            (Ok(_), Kind::Write(write)) if done.tag == Tag::Sync => write.flushed = true,
            (Ok(count), Kind::Write(write)) => {
                if count == 0 {
                    self.error = Some(io::ErrorKind::WriteZero.into());
                }
                write.advance(count);
            }
            (Ok(count), Kind::Read(read)) => read.advance(count, self.file.alignment),
        }
    }

    /// Queues the next step; false when there is none.
    fn start_next(&mut self, slot: u32, ring: &mut Ring) -> bool {
        let sync = opcode::Fsync::new(self.fd)
            .flags(FsyncFlags::DATASYNC)
            .build()
            .user_data(Tag::Sync.with(slot));
        match &mut self.kind {
            Kind::Write(write) if !write.parts.is_empty() => {
                let entry = write.entry(self.fd).user_data(Tag::Write.with(slot));
                let with_flush = write.flush && write.covers_all();
                self.owed = if with_flush { 2 } else { 1 };
                if with_flush {
                    // SAFETY: parts and vectors stay in this operation, unmoved and untouched,
                    // until `owed` is zero; a flush points to no memory; `file` keeps the
                    // descriptor open.
                    unsafe { ring.push_linked(entry, sync) };
                } else {
                    // SAFETY: as above, without the flush.
                    unsafe { ring.push(entry) };
                }
            }
            Kind::Write(write) if write.flush && !write.flushed => {
                self.owed = 1;
                // SAFETY: a flush points to no memory; `file` keeps the descriptor open.
                unsafe { ring.push(sync) };
            }
            Kind::Flush { state } if *state != FlushState::Done => {
                *state = FlushState::Started;
                self.owed = 1;
                // SAFETY: as above.
                unsafe { ring.push(sync) };
            }
            Kind::Read(read) => {
                let Some(entry) = read.entry(self.fd) else {
                    return false;
                };
                self.owed = 1;
                // SAFETY: the buffer stays in this operation and nobody looks at it until `owed`
                // is zero; `file` keeps the descriptor open.
                unsafe { ring.push(entry.user_data(Tag::Read.with(slot))) };
            }
            Kind::Write(_) | Kind::Flush { .. } => return false,
        }
        true
    }

    fn finish(self) -> (OpId, Result<Output, Fault>) {
        let result = match (self.error, self.kind) {
            (Some(error), _) => Err(Fault::from_error(error)),
            (None, Kind::Read(read)) => Ok(Output::Read(read.into_bytes())),
            (None, Kind::Write(_) | Kind::Flush { .. }) => Ok(Output::Nothing),
        };
        (self.op, result)
    }
}

impl Write {
    fn entry(&mut self, fd: Fd) -> squeue::Entry {
        self.vectors.clear();
        let parts = self.parts.iter().take(WRITE_PARTS_MAX);
        self.vectors.extend(parts.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        }));
        self.asked = self.vectors.iter().map(|vector| vector.iov_len).sum();
        let count = u32::try_from(self.vectors.len()).unwrap_or(u32::MAX);
        opcode::Writev::new(fd, self.vectors.as_ptr(), count)
            .offset(self.position)
            .build()
    }

    fn covers_all(&self) -> bool {
        self.vectors.len() == self.parts.len()
    }

    fn advance(&mut self, count: usize) {
        self.position = self.position.saturating_add(count as u64);
        let mut left = count.min(self.asked);
        while left > 0 {
            let Some(front) = self.parts.front_mut() else {
                return;
            };
            if front.len() > left {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.parts.pop_front();
        }
    }
}

impl Read {
    /// The next piece to read, or `None` when there is nothing more to get.
    fn entry(&mut self, fd: Fd) -> Option<squeue::Entry> {
        if self.end_of_file || self.done >= self.skip + self.len {
            return None;
        }
        let rest = self.buffer.as_mut_slice().get_mut(self.done..)?;
        let len = u32::try_from(rest.len()).ok()?;
        let entry = opcode::Read::new(fd, rest.as_mut_ptr(), len)
            .offset(self.start.saturating_add(self.done as u64))
            .build();
        Some(entry)
    }

    fn advance(&mut self, count: usize, alignment: u32) {
        self.done = self.done.saturating_add(count).min(self.buffer.len());
        // A direct read that ends inside a block ended at the end of the file.
        self.end_of_file = count == 0 || !self.done.is_multiple_of(alignment.max(1) as usize);
    }

    fn into_bytes(self) -> Bytes {
        let end = self.done.min(self.skip + self.len).max(self.skip);
        self.buffer.freeze(self.skip..end)
    }
}
