//! The kernel's questions, answered from the store. Knows when the power has failed.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use crate::store::{Kind, Names, Store};

/// Nobody changes anything but through this mount.
const TTL: Duration = Duration::from_secs(60);
const BLOCK_BYTES: u32 = 4096;
/// What `statfs` says is free: 64 GiB.
const FREE_BLOCKS: u64 = 1 << 24;

pub struct Power {
    pub store: Store,
    /// Operations of a kind until it fails.
    left: Option<(u64, Of)>,
    out: bool,
}

/// Which operations are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Any,
    /// Changes of names, and what makes them durable.
    Names,
    Writes,
    Flushes,
}

impl Of {
    pub fn parse(word: &str) -> Option<Of> {
        Some(match word {
            "any" => Of::Any,
            "names" => Of::Names,
            "writes" => Of::Writes,
            "flushes" => Of::Flushes,
            _ => return None,
        })
    }

    fn has(self, operation: &str) -> bool {
        match self {
            Of::Any => true,
            Of::Names => !matches!(operation, "write" | "fsync" | "truncate"),
            Of::Writes => matches!(operation, "write" | "truncate"),
            Of::Flushes => operation == "fsync",
        }
    }
}

impl Power {
    pub fn new(store: Store) -> Power {
        Power {
            store,
            left: None,
            out: false,
        }
    }

    pub fn arm(&mut self, after: u64, of: Of) {
        self.left = Some((after, of));
    }

    pub fn fail(&mut self) {
        self.out = true;
    }

    /// Before each change and flush: whether it happens at all.
    fn spend(&mut self, operation: &str) -> Result<(), Errno> {
        if let Some((left, of)) = &mut self.left
            && !self.out
            && of.has(operation)
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.out = true;
                crate::say(&format!("out {operation}"));
            }
        }
        if self.out { Err(Errno::EIO) } else { Ok(()) }
    }
}

pub struct Mounted {
    power: Arc<Mutex<Power>>,
    uid: u32,
    gid: u32,
}

impl Mounted {
    pub fn new(power: Arc<Mutex<Power>>) -> Mounted {
        // SAFETY: these two cannot fail and touch no memory.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        Mounted { power, uid, gid }
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().expect("no panic")
    }

    fn attr(&self, store: &Store, ino: u64) -> Result<FileAttr, Errno> {
        let (kind, size) = match store.kind(ino).ok_or(Errno::ENOENT)? {
            Kind::Dir => (FileType::Directory, 0),
            Kind::File { len } => (FileType::RegularFile, len),
        };
        let dir = kind == FileType::Directory;
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: SystemTime::now(),
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if dir { 0o755 } else { 0o644 },
            nlink: if dir { 2 } else { 1 },
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        })
    }

    fn make(&self, dir: u64, name: &OsStr, is_dir: bool) -> Result<FileAttr, Errno> {
        let mut power = self.power();
        power.spend(if is_dir { "mkdir" } else { "create" })?;
        if power.store.lookup(dir, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let ino = power.store.create(dir, name, is_dir);
        self.attr(&power.store, ino)
    }

    fn remove(&self, dir: u64, name: &OsStr, is_dir: bool) -> Result<(), Errno> {
        let mut power = self.power();
        let store = &power.store;
        let ino = store.lookup(dir, name).ok_or(Errno::ENOENT)?;
        match (store.kind(ino), is_dir) {
            (Some(Kind::Dir), false) => return Err(Errno::EISDIR),
            (Some(Kind::File { .. }), true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        if is_dir && store.names(ino).is_some_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        power.spend(if is_dir { "rmdir" } else { "unlink" })?;
        power.store.remove(dir, name).map(drop).ok_or(Errno::ENOENT)
    }

    fn renamed(&self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let mut power = self.power();
        let there = power.store.lookup(to.0, to.1);
        let names = there.and_then(|ino| power.store.names(ino));
        if names.is_some_and(|names: &Names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        power.spend("rename")?;
        power.store.rename(from, to).ok_or(Errno::ENOENT)
    }
}

fn answer(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let power = self.power();
        let found = power.store.lookup(parent.0, name).ok_or(Errno::ENOENT);
        match found.and_then(|ino| self.attr(&power.store, ino)) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(&self.power().store, ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut power = self.power();
        let done = match size {
            None => Ok(()),
            Some(size) => power
                .spend("truncate")
                .and_then(|()| power.store.set_len(ino.0, size).ok_or(Errno::EISDIR)),
        };
        match done.and_then(|()| self.attr(&power.store, ino.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, dir: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        match self.make(dir.0, name, true) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(dir.0, name, false) {
            Ok(attr) => {
                let (made, flags) = (Generation(0), FopenFlags::empty());
                reply.created(&TTL, &attr, made, FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.remove(dir.0, name, false), reply);
    }

    fn rmdir(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(self.remove(dir.0, name, true), reply);
    }

    fn rename(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        to_dir: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer(self.renamed((dir.0, name), (to_dir.0, to_name)), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // What the kernel has read stays good: it sees every change.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.power().store.read(ino.0, offset, size as usize) {
            Some(bytes) => reply.data(&bytes),
            None => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut power = self.power();
        let done = power.spend("write").and_then(|()| {
            let written = power.store.write(ino.0, offset, data);
            written.ok_or(Errno::EISDIR)
        });
        match done {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(0)),
            Err(error) => reply.error(error),
        }
    }

    /// Close: promises nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        let mut power = self.power();
        let done = power.spend("fsync");
        answer(
            done.and_then(|()| power.store.sync(ino.0).ok_or(Errno::EISDIR)),
            reply,
        );
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        let mut power = self.power();
        let done = power.spend("fsyncdir");
        answer(done.map(|()| power.store.sync_dir(ino.0)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let power = self.power();
        let Some(names) = power.store.names(ino.0) else {
            return reply.error(Errno::ENOTDIR);
        };
        let own = [(0, ino.0, OsStr::new(".")), (1, ino.0, OsStr::new(".."))];
        let all = names
            .iter()
            .map(|(name, ino)| (ino + 1, *ino, name.as_os_str()));
        // A place in the list is an inode's number: removals in between move nothing.
        let mut all: Vec<(u64, u64, &OsStr)> = own.into_iter().chain(all).collect();
        all.sort_unstable();
        for (at, child, name) in all.into_iter().filter(|(at, ..)| *at >= offset) {
            let kind = match power.store.kind(child) {
                Some(Kind::File { .. }) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(child), at + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = FREE_BLOCKS;
        reply.statfs(
            2 * blocks,
            blocks,
            blocks,
            blocks,
            blocks,
            BLOCK_BYTES,
            255,
            BLOCK_BYTES,
        );
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    /// Space is no question here; with the size kept there is nothing to do.
    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode == libc::FALLOC_FL_KEEP_SIZE {
            reply.ok();
        } else {
            reply.error(Errno::EOPNOTSUPP);
        }
    }
}
