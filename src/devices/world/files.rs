//! Operations of the ring and jobs, in a simulated world: against a disk in memory, in steps.
//!
//! Owns every operation between its effect and its `Done`. Bytes reach the page cache some time
//! after they were asked for, a flush covers what was there when it began, and whoever is not
//! told that something ended may not rely on it. A flush waits for the writes of the same machine
//! to the same file that were asked for before it.

use std::fmt;
use std::io;

use bytes::Bytes;

use super::{Happening, Operation, OperationKind, Trouble, World};
use crate::devices::memory_disk::SyncTicket;
use crate::devices::{
    Disk, Event, Fault, FaultKind, FileHandle, FilePlace, Job, OpId, Output, PeerId,
};

/// Reads longer than this are a machine's mistake.
const READ_BYTES_MAX: usize = 1 << 30;
/// While an earlier write is in flight, a flush looks again after so many nanoseconds.
const FLUSH_AGAIN_NS: u64 = 5_000;

/// An operation between its effect and its end.
pub(super) struct FileOperation {
    machine: PeerId,
    op: OpId,
    next: Next,
    /// The file with which later flushes have to reckon: of writes that have not landed.
    writes_to: Option<u64>,
    trouble: Option<Trouble>,
}

/// What happens at the next step.
enum Next {
    Write {
        file: FileHandle,
        position: u64,
        parts: Vec<Bytes>,
        flush: bool,
    },
    BeginFlush(FileHandle),
    EndFlush(FileHandle, SyncTicket),
    Read {
        file: FileHandle,
        position: u64,
        len: usize,
    },
    Job(Job),
}

impl<M: fmt::Debug + 'static> World<M> {
    pub(super) fn start_write(
        &mut self,
        machine: PeerId,
        op: OpId,
        at: FilePlace,
        parts: Vec<Bytes>,
        flush: bool,
    ) {
        let FilePlace { file, position } = at;
        assert_aligned(&file, position, &parts);
        let len = parts.iter().map(Bytes::len).sum();
        let kind = OperationKind::Write { flush };
        let trouble = self.trouble(machine, kind, Some(&file), position, len);
        let delay = self.delay(&self.settings.pace.write_ns.clone());
        let operation = FileOperation {
            machine,
            op,
            writes_to: Some(file.token),
            next: Next::Write {
                file,
                position,
                parts,
                flush,
            },
            trouble,
        };
        self.start_operation(operation, delay);
    }

    pub(super) fn start_flush(&mut self, machine: PeerId, op: OpId, file: FileHandle) {
        let trouble = self.trouble(machine, OperationKind::Flush, Some(&file), 0, 0);
        let operation = FileOperation {
            machine,
            op,
            writes_to: None,
            next: Next::BeginFlush(file),
            trouble,
        };
        self.start_operation(operation, 0);
    }

    pub(super) fn start_read(
        &mut self,
        machine: PeerId,
        op: OpId,
        file: FileHandle,
        position: u64,
        len: usize,
    ) {
        assert!(len <= READ_BYTES_MAX, "a read of {len} bytes");
        let trouble = self.trouble(machine, OperationKind::Read, Some(&file), position, len);
        let delay = self.delay(&self.settings.pace.read_ns.clone());
        let operation = FileOperation {
            machine,
            op,
            writes_to: None,
            next: Next::Read {
                file,
                position,
                len,
            },
            trouble,
        };
        self.start_operation(operation, delay);
    }

    /// `kind`: one that blocks or one that computes.
    pub(super) fn start_job(&mut self, machine: PeerId, op: OpId, job: Job, kind: OperationKind) {
        let trouble = self.trouble(machine, kind, None, 0, 0);
        let delay = self.delay(&self.settings.pace.job_ns.clone());
        let operation = FileOperation {
            machine,
            op,
            writes_to: None,
            next: Next::Job(job),
            trouble,
        };
        self.start_operation(operation, delay);
    }

    fn start_operation(&mut self, operation: FileOperation, delay: u64) {
        let more = match operation.trouble {
            Some(Trouble::Slow(more)) => more,
            _ => 0,
        };
        let number = self.serial();
        self.operations.insert(number, operation);
        self.file_step_in(number, delay.saturating_add(more));
    }

    fn file_step_in(&mut self, number: u64, delay: u64) {
        let at = self.agenda.now_ns().saturating_add(delay);
        self.plan(at, Happening::File(number));
    }

    /// What befalls an operation: the judge knows first, then chance.
    fn trouble(
        &mut self,
        machine: PeerId,
        kind: OperationKind,
        file: Option<&FileHandle>,
        position: u64,
        len: usize,
    ) -> Option<Trouble> {
        if let Some(judge) = &mut self.judge {
            let path = file.and_then(|file| self.disk.path_of(file));
            let verdict = judge(&Operation {
                machine,
                kind,
                path: path.as_deref(),
                position,
                len: len as u64,
            });
            if verdict.is_some() {
                return verdict;
            }
        }
        let faults = self.settings.faults.clone();
        let fault = match faults.full {
            true => FaultKind::Full,
            false => FaultKind::Dead,
        };
        let (write, flush) = match kind {
            OperationKind::Write { flush } => (true, flush),
            OperationKind::Flush => (false, true),
            OperationKind::Read => {
                let fails = self.dice.once_in(faults.read_once_in);
                return fails.then_some(Trouble::Fails(FaultKind::Dead));
            }
            OperationKind::Job => {
                let fails = self.dice.once_in(faults.job_once_in);
                return fails.then_some(Trouble::Fails(fault));
            }
            OperationKind::Compute => return None,
        };
        if write && self.dice.once_in(faults.write_once_in) {
            return Some(Trouble::Fails(fault));
        }
        if flush && self.dice.once_in(faults.flush_once_in) {
            return Some(Trouble::FlushFails(fault));
        }
        None
    }

    pub(super) fn file_step(&mut self, number: u64) {
        let Some(operation) = self.operations.remove(&number) else {
            return;
        };
        let FileOperation {
            machine,
            op,
            next,
            writes_to,
            trouble,
        } = operation;
        let again = |next| FileOperation {
            machine,
            op,
            next,
            writes_to: None,
            trouble,
        };
        let result = match next {
            Next::Write {
                file,
                position,
                parts,
                flush,
            } => match self.write_now(&file, position, &parts, trouble) {
                Err(fault) => Err(fault),
                Ok(()) if flush => {
                    self.operations
                        .insert(number, again(Next::BeginFlush(file)));
                    self.file_step_in(number, 0);
                    return;
                }
                Ok(()) => Ok(Output::Nothing),
            },
            Next::BeginFlush(file) if self.writes_before(number, machine, file.token) => {
                let mut operation = again(Next::BeginFlush(file));
                operation.writes_to = writes_to;
                self.operations.insert(number, operation);
                self.file_step_in(number, FLUSH_AGAIN_NS);
                return;
            }
            Next::BeginFlush(file) => match self.disk.begin_sync(&file) {
                Err(error) => Err(fault_of(error)),
                Ok(ticket) => {
                    let delay = self.delay(&self.settings.pace.flush_ns.clone());
                    let next = Next::EndFlush(file, ticket);
                    self.operations.insert(number, again(next));
                    self.file_step_in(number, delay);
                    return;
                }
            },
            Next::EndFlush(_file, ticket) => self.flush_now(&ticket, trouble),
            Next::Read {
                file,
                position,
                len,
            } => self.read_now(&file, position, len, trouble),
            Next::Job(job) => self.job_now(job, trouble),
        };
        self.deliver(machine, Event::Done { op, result });
    }

    /// A write of this machine to the file that was asked for earlier has not landed.
    fn writes_before(&self, number: u64, machine: PeerId, token: u64) -> bool {
        self.operations
            .range(..number)
            .any(|(_, other)| other.machine == machine && other.writes_to == Some(token))
    }

    fn write_now(
        &mut self,
        file: &FileHandle,
        position: u64,
        parts: &[Bytes],
        trouble: Option<Trouble>,
    ) -> Result<(), Fault> {
        let data = match parts {
            [one] => one.clone(),
            many => Bytes::from(many.concat()),
        };
        let failing = match trouble {
            Some(Trouble::Fails(kind)) => Some(kind),
            _ => None,
        };
        if let Some(kind) = failing {
            // Any number of its first bytes got there.
            let landed = usize::try_from(self.dice.roll(data.len() as u64 + 1)).unwrap_or(0);
            let landed = data.get(..landed).unwrap_or_default();
            let _ = self.disk.write_at(file, position, landed);
            return Err(asked_for(kind));
        }
        self.disk.write_at(file, position, &data).map_err(fault_of)
    }

    fn flush_now(&self, ticket: &SyncTicket, trouble: Option<Trouble>) -> Result<Output, Fault> {
        if let Some(Trouble::Fails(kind) | Trouble::FlushFails(kind)) = trouble {
            // What it covered never becomes durable, unless it is written again.
            self.disk.fail_sync(ticket);
            return Err(asked_for(kind));
        }
        let synced = self.disk.finish_sync(ticket).map_err(fault_of);
        synced.map(|()| Output::Nothing)
    }

    fn job_now(&self, job: Job, trouble: Option<Trouble>) -> Result<Output, Fault> {
        if let Some(Trouble::Fails(kind) | Trouble::FlushFails(kind)) = trouble {
            return Err(asked_for(kind));
        }
        job(&self.disk).map(Output::Job).map_err(fault_of)
    }

    fn read_now(
        &mut self,
        file: &FileHandle,
        position: u64,
        len: usize,
        trouble: Option<Trouble>,
    ) -> Result<Output, Fault> {
        if let Some(Trouble::Fails(kind) | Trouble::FlushFails(kind)) = trouble {
            return Err(asked_for(kind));
        }
        let there = self.disk.len(file).map_err(fault_of)?;
        let left = usize::try_from(there.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut buffer = vec![0u8; len.min(left)];
        let read = self
            .disk
            .read_at(file, position, &mut buffer)
            .map_err(fault_of)?;
        buffer.truncate(read);
        Ok(Output::Read(Bytes::from(buffer)))
    }
}

fn asked_for(kind: FaultKind) -> Fault {
    Fault {
        kind,
        error: io::Error::other("a fault of the simulated world"),
    }
}

fn fault_of(error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Full,
        _ => FaultKind::Dead,
    };
    Fault { kind, error }
}

/// What the seam asks of writes to a direct file.
fn assert_aligned(file: &FileHandle, position: u64, parts: &[Bytes]) {
    let alignment = file.alignment as usize;
    if alignment <= 1 {
        return;
    }
    assert_eq!(
        position % u64::from(file.alignment),
        0,
        "a direct write at {position}"
    );
    for part in parts {
        assert_eq!(part.len() % alignment, 0, "a direct write of odd length");
        assert_eq!(
            part.as_ptr().addr() % alignment,
            0,
            "a direct write from odd memory"
        );
    }
}
