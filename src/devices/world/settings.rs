//! How fast and how faithful a simulated world is.
//!
//! Owns the numbers only. Nothing fails unless it is asked for here or by a judge
//! ([`super::World::judge`]).

use std::ops::Range;
use std::path::Path;

use crate::devices::FaultKind;
use crate::words::TimestampMs;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldSettings {
    /// Decides everything.
    pub seed: u64,
    /// Wall clock at the beginning.
    pub wall: TimestampMs,
    pub pace: Pace,
    pub faults: Faults,
}

/// Durations in nanoseconds of virtual time, drawn evenly from each range.
#[derive(Clone, Debug)]
pub struct Pace {
    /// From the effect to the bytes in the page cache.
    pub write_ns: Range<u64>,
    pub flush_ns: Range<u64>,
    pub read_ns: Range<u64>,
    pub job_ns: Range<u64>,
    /// One way of the network.
    pub network_ns: Range<u64>,
    /// A message between machines, a wake.
    pub post_ns: Range<u64>,
    /// How long a machine works on a turn; what comes meanwhile waits for the next one.
    pub turn_ns: Range<u64>,
    /// One operation in so many is [`Pace::slow_factor`] times as slow; 0: none.
    pub slow_once_in: u64,
    pub slow_factor: u64,
    /// One received chunk in so many is a few bytes long; 0: none.
    pub crumbs_once_in: u64,
    /// Longest received chunk, in bytes.
    pub chunk_bytes: u64,
    /// Bytes that a client's side takes although it does not read.
    pub socket_bytes: usize,
}

/// How often a device fails: one operation in so many; 0: never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub write_once_in: u64,
    pub flush_once_in: u64,
    pub read_once_in: u64,
    pub job_once_in: u64,
    /// Failing writes and flushes say that the disk is full instead of dead.
    pub full: bool,
}

impl WorldSettings {
    /// A world without faults.
    pub fn new(seed: u64) -> WorldSettings {
        WorldSettings {
            seed,
            wall: TimestampMs(1_760_000_000_000),
            pace: Pace::default(),
            faults: Faults::default(),
        }
    }
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            write_ns: 5_000..80_000,
            flush_ns: 20_000..400_000,
            read_ns: 10_000..200_000,
            job_ns: 10_000..2_000_000,
            network_ns: 1_000..60_000,
            post_ns: 500..20_000,
            turn_ns: 200..30_000,
            slow_once_in: 64,
            slow_factor: 50,
            crumbs_once_in: 12,
            chunk_bytes: 128 * 1024,
            socket_bytes: 128 * 1024,
        }
    }
}

/// An operation that is about to start, for a judge.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    pub machine: crate::devices::PeerId,
    pub kind: OperationKind,
    /// Name of the file; `None` for jobs and files without a name.
    pub path: Option<&'a Path>,
    pub position: u64,
    pub len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationKind {
    /// `flush`: a flush belongs to it.
    Write {
        flush: bool,
    },
    Flush,
    Read,
    Job,
    Compute,
}

/// What befalls an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It ends with this fault. A write may have left any of its sectors; a flush made nothing
    /// durable, and no later one will; a job does not run.
    Fails(FaultKind),
    /// The write reaches the page cache, its flush fails.
    FlushFails(FaultKind),
    /// It takes so many nanoseconds more.
    Slow(u64),
}

/// Decides what befalls an operation; `None` leaves it to [`Faults`].
pub type Judge = Box<dyn FnMut(&Operation<'_>) -> Option<Trouble>>;
