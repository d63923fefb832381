//! Devices: hands that know the kernel and nothing of Kafka.
//!
//! This file is the seam of the house. A [`Machine`] (a shard, the control writer) is synchronous:
//! it takes [`Event`]s and emits [`Effect`]s; whoever drives it (the kernel reactor here, a seeded
//! world on virtual time in `tests/sim`) carries the effects out and feeds the completions back.
//! No machine ever waits, and nothing in here knows a topic, an offset or a request.
//!
//! Everything a machine asks for is answered exactly once: each `op` it names comes back in one
//! [`Event::Done`], each connection it was told of ends in one [`Event::Closed`].

pub mod buffer;
pub mod clock;
mod doorbell;
mod files;
pub mod kernel_disk;
pub mod memory_disk;
pub mod mesh;
pub mod net;
pub mod offload;
pub mod placement;
pub mod preflight;
pub mod reactor;
mod ring;
mod slots;
pub mod world;

pub use buffer::{AlignedBuf, BufferPool};
pub use doorbell::Waker;

pub use kernel_disk::KernelDisk;
pub use mesh::{Endpoint, mesh};
pub use offload::Offload;
pub use reactor::{MachineDevices, ShardHandle, run_control, run_shard};

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::words::{Deadline, Now};

/// A connection of one machine; never used again for another connection of the same process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Name that a machine gives to an operation, to know its completion by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// Another machine in this process, by its place in the mesh.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub u16);

/// What a machine wants done. `M` is the message type of the mesh.
pub enum Effect<M> {
    /// Queue bytes on a connection, after all bytes queued before. Parts are sent in order and
    /// not copied. Completion is not reported; [`Event::Sent`] tells the progress.
    Send {
        connection: ConnectionId,
        parts: Vec<Bytes>,
    },
    /// Close once everything queued has been sent and the peer has hung up, or was given a
    /// moment to; what it still says is thrown away.
    CloseAfterSend {
        connection: ConnectionId,
    },
    /// Close at once.
    Close {
        connection: ConnectionId,
    },
    /// Stop receiving from a connection (push back); bytes already received may still arrive.
    PauseReceive {
        connection: ConnectionId,
    },
    ResumeReceive {
        connection: ConnectionId,
    },
    /// Stop accepting (draining).
    StopAccepting,

    /// Write `parts` one after the other at `position`; with `flush`, make the data durable
    /// (write, then fdatasync) before the completion. On a direct file the position, every
    /// part's address and length are multiples of the file's alignment.
    Write {
        op: OpId,
        file: FileHandle,
        position: u64,
        parts: Vec<Bytes>,
        flush: bool,
    },
    /// Make everything written to `file` before this effect durable.
    Flush {
        op: OpId,
        file: FileHandle,
    },
    /// Read `len` bytes at `position`, both arbitrary; fewer come back only at the end of file.
    Read {
        op: OpId,
        file: FileHandle,
        position: u64,
        len: usize,
    },
    /// Run what would stall a core (directories, opening, trimming) elsewhere.
    Job {
        op: OpId,
        job: Job,
    },
    /// Run what would keep a core busy elsewhere. It touches no disk, and no [`Effect::Job`] ever
    /// waits for it.
    Compute {
        op: OpId,
        job: Job,
    },

    /// Hand a message to a neighbour; messages to one peer keep their order.
    Post {
        to: PeerId,
        message: M,
    },
    /// The machine has nothing left to do: leave the loop after this turn.
    Stop,
}

/// What happened. Every event of a turn is handled before the turn's effects are carried out.
pub enum Event<M> {
    Accepted {
        connection: ConnectionId,
        peer: SocketAddr,
    },
    /// Bytes as they came, in order, not empty.
    Received {
        connection: ConnectionId,
        data: Bytes,
    },
    /// `bytes` more of what was queued have been handed to the kernel.
    Sent {
        connection: ConnectionId,
        bytes: usize,
    },
    /// The connection is gone and its id is dead: by the peer, by an error, or as asked.
    Closed {
        connection: ConnectionId,
    },
    /// The operation `op` ended.
    Done {
        op: OpId,
        result: Result<Output, Fault>,
    },
    Message {
        from: PeerId,
        message: M,
    },
    /// Somebody outside the mesh asks to look around (a new image was published, a signal came).
    Woken,
    /// The deadline given by [`Machine::next_deadline`] is reached.
    Tick,
}

/// What an operation produced.
pub enum Output {
    /// Written, flushed.
    Nothing,
    /// Bytes read; fewer than asked only at the end of file.
    Read(Bytes),
    /// What a job returned; whoever made the job knows the type.
    Job(Box<dyn Any + Send>),
}

/// A fault of the machine (not of a peer), with the operating system's error.
pub struct Fault {
    pub kind: FaultKind,
    pub error: io::Error,
}

/// Classes of faults, each with one policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// No space or no quota: appends wait, everything else goes on.
    Full,
    /// The device or file system failed: what was written there can no longer be vouched for.
    Dead,
}

/// Work for an offload thread: runs once, may take long, sees only the disk.
pub type Job = Box<dyn FnOnce(&dyn Disk) -> Result<Box<dyn Any + Send>, io::Error> + Send>;

/// Ordered effects of one turn.
pub type Effects<M> = Vec<Effect<M>>;

/// A synchronous machine under a device loop.
pub trait Machine<M> {
    /// Take one event. Never blocks, never reads a clock.
    fn handle(&mut self, now: Now, event: Event<M>, effects: &mut Effects<M>);
    /// Called once after all events of a turn: group commit and coalescing happen here.
    fn end_turn(&mut self, now: Now, effects: &mut Effects<M>);
    /// When [`Event::Tick`] is wanted at the latest; asked after every turn.
    fn next_deadline(&self) -> Option<Deadline>;
}

/// An open file. Clones share the descriptor, which closes with the last of them.
#[derive(Clone)]
pub struct FileHandle {
    /// The descriptor on a kernel device, an invented number in a simulated world.
    pub token: u64,
    /// Multiple that positions, addresses and lengths of writes obey: 1 when buffered.
    pub alignment: u32,
    keep: Arc<dyn Any + Send + Sync>,
}

impl FileHandle {
    pub fn new(token: u64, alignment: u32, keep: Arc<dyn Any + Send + Sync>) -> FileHandle {
        FileHandle {
            token,
            alignment,
            keep,
        }
    }

    /// Handles of this open file that exist, this one included.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.keep)
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle({}, {})", self.token, self.alignment)
    }
}

/// Where in a file an operation begins.
pub(crate) struct FilePlace {
    pub(crate) file: FileHandle,
    /// Bytes from the start of the file.
    pub(crate) position: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// Existing, for reading only, buffered.
    Read,
    /// Created when missing, for reading and writing, through the page cache.
    Buffered,
    /// Created when missing, for reading and writing, past the page cache where the file system
    /// can (otherwise buffered, with `alignment` 1).
    Direct,
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// Bytes, for files.
    pub len: u64,
}

/// Blocking access to directories and files: for start-up, recovery, jobs and tools; never called
/// on a serving shard thread. Positions and lengths are arbitrary (the device aligns).
/// "Durable" in a contract means: survives a power cut once the call has returned.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, how: Open) -> io::Result<FileHandle>;
    fn len(&self, file: &FileHandle) -> io::Result<u64>;
    /// Fills as much of `buffer` as the file has; returns the bytes read.
    fn read_at(&self, file: &FileHandle, position: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data`; not durable before [`Disk::sync`].
    fn write_at(&self, file: &FileHandle, position: u64, data: &[u8]) -> io::Result<()>;
    /// Makes data and size of `file` durable.
    fn sync(&self, file: &FileHandle) -> io::Result<()>;
    fn set_len(&self, file: &FileHandle, len: u64) -> io::Result<()>;
    /// Reserves space for `[position, position+len)` without changing the file's size.
    fn allocate(&self, file: &FileHandle, position: u64, len: u64) -> io::Result<()>;

    /// Whole content of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces or creates a small file; after a power cut either the old or the new content is
    /// there whole. Durable.
    fn write_atomic(&self, path: &Path, data: &[u8]) -> io::Result<()>;
    /// Entries of a directory in the order of their names.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Durable, parents included.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals inside a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Maps a small sealed file for reading, populated, so that no access faults later.
    fn map(&self, path: &Path) -> io::Result<Bytes>;
    /// Last modification.
    fn modified(&self, path: &Path) -> io::Result<crate::words::TimestampMs>;
}

/// Absolute or relative place of a data file, for messages.
pub fn display_path(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}
