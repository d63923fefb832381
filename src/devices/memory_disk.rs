//! A disk in memory that can lose power: for tests and for the simulated world.
//!
//! Owns a tree of files of which it knows two states, what was written and what is durable, and
//! the one seed that decides what a power cut leaves. Never touches the kernel, never reads a
//! clock; the same calls and the same seed give the same disk.
//!
//! What a cut may do, and no more: every sector (512 bytes) that was written since the file's
//! last sync is the old or the new one; the length is the old one, the new one or between; of the
//! names made, changed or removed since their directory's last sync, a random number of the
//! first ones holds. A cut in the middle of a call is set with [`MemoryDisk::cut_power_after`].

mod names;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::devices::world::dice::Dice;
use crate::devices::{DirEntry, Disk, FileHandle, Open};
use crate::words::TimestampMs;

use names::Names;

const SECTOR: usize = 512;
/// Larger files are a test's mistake.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    now: Names,
    durable: Names,
    /// Changes of names since they were last durable, oldest first.
    pending: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    changes: u64,
    cut_after: Option<u64>,
    unreadable: BTreeSet<PathBuf>,
    room: Option<u64>,
    next_ticket: u64,
    /// What a file's time of modification becomes; without it every change adds a millisecond.
    wall: Option<TimestampMs>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    MakeDir(PathBuf),
    RemoveTree(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Default)]
struct Inode {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync began.
    dirty: Sectors,
    /// Syncs that have begun and not ended, oldest first.
    syncing: VecDeque<Syncing>,
    /// Sectors of which a sync failed: a crash may lose them, however many syncs came after.
    doomed: Sectors,
    modified: i64,
}

/// What a sync that has begun will make durable.
struct Syncing {
    ticket: u64,
    len: usize,
    /// Content of each run of sectors, by its first byte.
    runs: Vec<(usize, Vec<u8>)>,
}

/// A sync that has begun; see [`MemoryDisk::begin_sync`].
pub(super) struct SyncTicket {
    inode: u64,
    ticket: u64,
}

/// A set of sectors: runs by their first sector, none touching the next.
#[derive(Default)]
struct Sectors(BTreeMap<usize, usize>);

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// After `changes` more changing calls, the next one is cut in its middle and fails, and so
    /// does everything after it, until [`MemoryDisk::crash`].
    pub fn cut_power_after(&self, changes: u64) {
        let mut world = self.world();
        world.cut_after = Some(world.changes.saturating_add(changes));
    }

    /// Changing calls so far.
    pub fn changes(&self) -> u64 {
        self.world().changes
    }

    /// Loses what was not durable, as `seed` decides, and turns the power on again.
    pub fn crash(&self, seed: u64) {
        let mut world = self.world();
        let mut dice = Dice::new(seed);
        let kept = dice.roll(world.pending.len() as u64 + 1) as usize;
        let pending: Vec<NameChange> = world.pending.drain(..).take(kept).collect();
        for change in &pending {
            world.durable.apply(change);
        }
        world.durable.drop_orphans();
        world.now = world.durable.clone();
        for inode in world.inodes.values_mut() {
            inode.crash(&mut dice);
        }
        world.cut_after = None;
    }

    /// Turns the power on again without a loss: only the process was killed. What it wrote is
    /// there to be read, and no more durable than before.
    pub fn restart(&self) {
        self.world().cut_after = None;
    }

    /// Makes everything durable, as a long quiet time does.
    pub fn settle(&self) {
        let mut world = self.world();
        world.pending.clear();
        world.durable = world.now.clone();
        world.inodes.values_mut().for_each(Inode::settle);
    }

    /// Flips bits of one byte for good; false when there is no such byte.
    pub fn rot(&self, path: &Path, position: usize, mask: u8) -> bool {
        let mut world = self.world();
        let Some(inode) = world.now.files.get(path).copied() else {
            return false;
        };
        let Some(inode) = world.inodes.get_mut(&inode) else {
            return false;
        };
        let mut found = false;
        for state in [&mut inode.written, &mut inode.durable] {
            if let Some(byte) = state.get_mut(position) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }

    /// A sector of a file holds what another one of it holds, for good: a write that went astray.
    pub fn misdirect(&self, path: &Path, from: usize, to: usize) -> bool {
        let mut world = self.world();
        let Some(inode) = world.now.files.get(path).copied() else {
            return false;
        };
        let Some(inode) = world.inodes.get_mut(&inode) else {
            return false;
        };
        let (from, to) = (from - from % SECTOR, to - to % SECTOR);
        for state in [&mut inode.written, &mut inode.durable] {
            let sector: Vec<u8> = state.iter().skip(from).take(SECTOR).copied().collect();
            let there = state.iter_mut().skip(to);
            there.zip(sector).for_each(|(byte, astray)| *byte = astray);
        }
        true
    }

    /// From now on every read of this file fails as a broken drive does.
    pub fn make_unreadable(&self, path: &Path) {
        self.world().unreadable.insert(path.to_owned());
    }

    /// The drive is whole again.
    pub fn make_readable(&self) {
        self.world().unreadable.clear();
    }

    /// From now on files may grow by this many bytes, then the disk is full; `None` lifts it.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.world().room = bytes;
    }

    /// All files with their written content, for comparisons.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        let content = |inode: &u64| {
            let inode = world.inodes.get(inode);
            inode.map(|inode| inode.written.clone()).unwrap_or_default()
        };
        let files = world.now.files.iter();
        files
            .map(|(path, inode)| (path.clone(), content(inode)))
            .collect()
    }

    /// Files of this name, wherever they are, with their written content.
    pub fn snapshot_of(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let world = self.world();
        let named = world
            .now
            .files
            .iter()
            .filter(|(path, _)| path.ends_with(name));
        named
            .filter_map(|(path, inode)| {
                Some((path.clone(), world.inodes.get(inode)?.written.clone()))
            })
            .collect()
    }

    /// The power is off: a cut that was set has happened.
    pub fn is_off(&self) -> bool {
        self.world().powered().is_err()
    }

    /// Forgets files that have no name any more; their handles go stale.
    pub fn drop_nameless(&self) {
        let mut world = self.world();
        let world = &mut *world;
        let named: BTreeSet<u64> = [&world.now, &world.durable]
            .iter()
            .flat_map(|names| names.files.values().copied())
            .chain(world.pending.iter().filter_map(|change| match change {
                NameChange::Link(_, inode) => Some(*inode),
                _ => None,
            }))
            .collect();
        world.inodes.retain(|inode, _| named.contains(inode));
    }

    /// A process that saw a sync fail is gone: what it covered is as good as any other write, and
    /// the next sync makes it durable.
    pub fn forgive_failed_syncs(&self) {
        self.world().inodes.values_mut().for_each(Inode::forgive);
    }

    /// The wall clock by which files are modified from now on.
    pub fn set_wall(&self, wall: TimestampMs) {
        self.world().wall = Some(wall);
    }

    /// A name of the open file, if it still has one.
    pub fn path_of(&self, file: &FileHandle) -> Option<PathBuf> {
        let world = self.world();
        let mut names = world.now.files.iter();
        names
            .find(|(_, inode)| **inode == file.token)
            .map(|(path, _)| path.clone())
    }

    /// Begins to make durable what was written to `file` so far; what is written meanwhile is
    /// not covered. [`Disk::sync`] is both halves in one moment.
    pub(super) fn begin_sync(&self, file: &FileHandle) -> io::Result<SyncTicket> {
        let mut world = self.world();
        if world.change()? {
            return Err(World::power());
        }
        world.next_ticket += 1;
        let ticket = world.next_ticket;
        world.inode(file)?.begin_sync(ticket);
        let inode = file.token;
        Ok(SyncTicket { inode, ticket })
    }

    /// The sync is done: what it covers is durable. Syncs of the file that began earlier are
    /// done too, since the drive's cache is flushed whole.
    pub(super) fn finish_sync(&self, sync: &SyncTicket) -> io::Result<()> {
        let mut world = self.world();
        if world.change()? {
            return Err(World::power());
        }
        if let Some(inode) = world.inodes.get_mut(&sync.inode) {
            inode.finish_sync(sync.ticket);
        }
        Ok(())
    }

    /// The sync failed, as Linux and drives fail: what it covered is not durable, and a later sync
    /// does not make it so, unless it is written again.
    pub(super) fn fail_sync(&self, sync: &SyncTicket) {
        let mut world = self.world();
        if let Some(inode) = world.inodes.get_mut(&sync.inode) {
            inode.fail_sync(sync.ticket);
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn is_root(path: &Path) -> bool {
    path.parent()
        .is_none_or(|parent| parent.as_os_str().is_empty() && path.as_os_str().is_empty())
}

impl NameChange {
    /// A file change of exactly this path.
    fn names(&self, path: &Path) -> bool {
        matches!(self, NameChange::Link(at, _) | NameChange::Unlink(at) if at == path)
    }

    /// The directories whose sync makes this change durable: each of them does.
    fn is_inside(&self, dir: &Path) -> bool {
        match self {
            NameChange::Link(path, _)
            | NameChange::Unlink(path)
            | NameChange::MakeDir(path)
            | NameChange::RemoveTree(path) => parent(path) == dir,
            NameChange::Rename(from, to) => parent(from) == dir || parent(to) == dir,
        }
    }
}

impl Sectors {
    /// Adds the sectors that the bytes `[from, to)` touch.
    fn add(&mut self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (mut first, mut end) = (from / SECTOR, to.div_ceil(SECTOR));
        while let Some((at, until)) = self.0.range(..=end).next_back().map(|(a, b)| (*a, *b)) {
            if until < first {
                break;
            }
            self.0.remove(&at);
            first = first.min(at);
            end = end.max(until);
        }
        self.0.insert(first, end);
    }

    /// Runs of bytes, the last of them perhaps past the end of the file.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0
            .iter()
            .map(|(first, end)| (first * SECTOR, end * SECTOR))
    }

    fn each(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(|(first, end)| *first..*end)
    }
}

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.add(from, to);
    }

    fn settle(&mut self) {
        // What a sync that never ended would have covered is covered by this one.
        for sync in std::mem::take(&mut self.syncing) {
            for (from, data) in sync.runs {
                self.dirty.add(from, from + data.len());
            }
        }
        let len = self.written.len();
        self.durable.resize(len, 0);
        for (from, to) in std::mem::take(&mut self.dirty).runs() {
            let (from, to) = (from.min(len), to.min(len));
            self.durable[from..to].copy_from_slice(&self.written[from..to]);
        }
    }

    fn begin_sync(&mut self, ticket: u64) {
        let len = self.written.len();
        let runs = std::mem::take(&mut self.dirty)
            .runs()
            .map(|(from, to)| (from.min(len), to.min(len)))
            .map(|(from, to)| (from, self.written[from..to].to_vec()))
            .collect();
        self.syncing.push_back(Syncing { ticket, len, runs });
    }

    fn finish_sync(&mut self, ticket: u64) {
        while let Some(sync) = self.syncing.pop_front_if(|sync| sync.ticket <= ticket) {
            self.durable.resize(sync.len, 0);
            for (from, data) in sync.runs {
                self.durable[from..from + data.len()].copy_from_slice(&data);
            }
        }
    }

    fn fail_sync(&mut self, ticket: u64) {
        if let Some(at) = self.syncing.iter().position(|sync| sync.ticket == ticket)
            && let Some(sync) = self.syncing.remove(at)
        {
            for (from, data) in sync.runs {
                self.doomed.add(from, from + data.len());
            }
        }
    }

    fn forgive(&mut self) {
        for (from, to) in std::mem::take(&mut self.doomed).runs() {
            self.dirty.add(from, to);
        }
    }

    fn crash(&mut self, dice: &mut Dice) {
        self.forgive();
        for sync in std::mem::take(&mut self.syncing) {
            for (from, data) in sync.runs {
                self.dirty.add(from, from + data.len());
            }
        }
        let (old, new) = (self.durable.len(), self.written.len());
        if self.dirty.0.is_empty() && old == new {
            return;
        }
        let len = match dice.roll(3) {
            0 => old,
            1 => new,
            _ if new > old => {
                let sectors = ((new - old) / SECTOR) as u64;
                old + dice.roll(sectors + 1) as usize * SECTOR
            }
            _ => new,
        };
        let mut after = self.durable.clone();
        after.resize(len, 0);
        for sector in self.dirty.each() {
            let from = sector * SECTOR;
            let to = (from + SECTOR).min(len).min(new);
            if from < to && dice.roll(2) == 0 {
                after[from..to].copy_from_slice(&self.written[from..to]);
            }
        }
        self.dirty = Sectors::default();
        self.durable.clone_from(&after);
        self.written = after;
    }
}

impl World {
    /// Counts a changing call. `Err` when the power is off; `Ok(true)` when this very call is
    /// the one that is cut: it may leave traces and must fail.
    fn change(&mut self) -> io::Result<bool> {
        let cut = match self.cut_after {
            Some(last) if self.changes > last => return Err(Self::power()),
            Some(last) => self.changes == last,
            None => false,
        };
        self.changes += 1;
        Ok(cut)
    }

    fn power() -> io::Error {
        io::Error::other("power cut")
    }

    fn powered(&self) -> io::Result<()> {
        match self.cut_after {
            Some(last) if self.changes > last => Err(Self::power()),
            _ => Ok(()),
        }
    }

    fn rename_now(&mut self, change: NameChange) {
        self.now.apply(&change);
        self.pending.push(change);
    }

    fn inode(&mut self, file: &FileHandle) -> io::Result<&mut Inode> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "stale handle");
        self.inodes.get_mut(&file.token).ok_or_else(gone)
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        if !self.now.has_dir(&parent(path)) {
            return Err(not_found(path));
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.rename_now(NameChange::Link(path.to_owned(), inode));
        Ok(inode)
    }

    fn read(&self, inode: u64) -> io::Result<&Inode> {
        self.powered()?;
        let unreadable = self
            .unreadable
            .iter()
            .any(|path| self.now.files.get(path) == Some(&inode));
        if unreadable {
            return Err(io::Error::other("unreadable sector"));
        }
        let gone = || io::Error::new(io::ErrorKind::NotFound, "stale handle");
        self.inodes.get(&inode).ok_or_else(gone)
    }

    fn modified(&mut self, file: &FileHandle) -> io::Result<()> {
        let wall = self.wall;
        let inode = self.inode(file)?;
        inode.modified = wall.map_or(inode.modified + 1, |wall| wall.0);
        Ok(())
    }

    fn take_room(&mut self, grown: u64) -> io::Result<()> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(grown).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    fn give_room(&mut self, freed: u64) {
        if let Some(room) = &mut self.room {
            *room = room.saturating_add(freed);
        }
    }

    fn lookup(&self, path: &Path) -> io::Result<u64> {
        self.powered()?;
        self.now
            .files
            .get(path)
            .copied()
            .ok_or_else(|| not_found(path))
    }
}

fn in_memory(position: u64, len: u64) -> io::Result<(usize, usize)> {
    let end = position
        .checked_add(len)
        .filter(|end| *end <= FILE_BYTES_MAX);
    let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
    Ok((position as usize, end as usize))
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<FileHandle> {
        let mut world = self.world();
        let inode = match world.lookup(path) {
            Ok(inode) => inode,
            Err(error) if how == Open::Read => return Err(error),
            Err(_) => {
                let cut = world.change()?;
                let inode = world.create(path)?;
                if cut {
                    return Err(World::power());
                }
                inode
            }
        };
        let alignment = if how == Open::Direct { 4096 } else { 1 };
        Ok(FileHandle::new(inode, alignment, Arc::new(())))
    }

    fn len(&self, file: &FileHandle) -> io::Result<u64> {
        let mut world = self.world();
        world.powered()?;
        Ok(world.inode(file)?.written.len() as u64)
    }

    fn read_at(&self, file: &FileHandle, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.world();
        let inode = world.read(file.token)?;
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let there = inode.written.get(from..).unwrap_or_default();
        let len = there.len().min(buffer.len());
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn write_at(&self, file: &FileHandle, position: u64, data: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        let (from, to) = in_memory(position, data.len() as u64)?;
        let old = world.inode(file)?.written.len();
        world.take_room(to.saturating_sub(old) as u64)?;
        let inode = world.inode(file)?;
        if inode.written.len() < to {
            inode.written.resize(to, 0);
        }
        inode.written[from..to].copy_from_slice(data);
        inode.touch(from.min(old), to);
        world.modified(file)?;
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn sync(&self, file: &FileHandle) -> io::Result<()> {
        let mut world = self.world();
        if world.change()? {
            return Err(World::power());
        }
        world.inode(file)?.settle();
        Ok(())
    }

    fn set_len(&self, file: &FileHandle, len: u64) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        let (_, len) = in_memory(0, len)?;
        let old = world.inode(file)?.written.len();
        world.take_room(len.saturating_sub(old) as u64)?;
        world.give_room(old.saturating_sub(len) as u64);
        let inode = world.inode(file)?;
        inode.written.resize(len, 0);
        inode.touch(len.min(old), len.max(old));
        world.modified(file)?;
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn allocate(&self, file: &FileHandle, _position: u64, _len: u64) -> io::Result<()> {
        let mut world = self.world();
        world.powered()?;
        world.inode(file).map(|_| ())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world();
        let inode = world.lookup(path)?;
        Ok(world.read(inode)?.written.clone())
    }

    fn write_atomic(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        // A call that is cut has done nothing or everything: here, nothing.
        if world.change()? {
            return Err(World::power());
        }
        world.take_room(data.len() as u64)?;
        let inode = world.create(path)?;
        if let Some(inode) = world.inodes.get_mut(&inode) {
            inode.written = data.to_vec();
            inode.durable = data.to_vec();
        }
        let link = world.pending.pop();
        world.pending.retain(|change| !change.names(path));
        if let Some(link) = link {
            world.durable.apply(&link);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world();
        world.powered()?;
        if !world.now.has_dir(path) {
            return Err(not_found(path));
        }
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let mut entries: Vec<DirEntry> = Vec::new();
        for (file, inode) in &world.now.files {
            if parent(file) == path {
                let len = world
                    .inodes
                    .get(inode)
                    .map_or(0, |inode| inode.written.len());
                entries.extend(name(file).map(|name| DirEntry {
                    name,
                    is_dir: false,
                    len: len as u64,
                }));
            }
        }
        for dir in &world.now.dirs {
            if parent(dir) == path {
                entries.extend(name(dir).map(|name| DirEntry {
                    name,
                    is_dir: true,
                    len: 0,
                }));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = path.to_owned();
        while !world.now.has_dir(&at) {
            missing.push(at.clone());
            at = parent(&at);
        }
        for dir in missing.into_iter().rev() {
            let make = NameChange::MakeDir(dir);
            world.now.apply(&make);
            if cut {
                world.pending.push(make);
            } else {
                world.durable.apply(&make);
            }
        }
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        if world.change()? {
            return Err(World::power());
        }
        let pending = std::mem::take(&mut world.pending);
        for change in pending {
            if change.is_inside(path) {
                world.durable.apply(&change);
            } else {
                world.pending.push(change);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        let there = world.now.files.contains_key(from) || world.now.dirs.contains(from);
        if !there || !world.now.has_dir(&parent(to)) {
            return Err(not_found(from));
        }
        if world.now.dirs.contains(to) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        world.rename_now(NameChange::Rename(from.to_owned(), to.to_owned()));
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        let Some(inode) = world.now.files.get(path).copied() else {
            return Err(not_found(path));
        };
        let freed = world
            .inodes
            .get(&inode)
            .map_or(0, |inode| inode.written.len());
        world.give_room(freed as u64);
        world.rename_now(NameChange::Unlink(path.to_owned()));
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        let cut = world.change()?;
        if !world.now.dirs.contains(path) {
            return Err(not_found(path));
        }
        world.rename_now(NameChange::RemoveTree(path.to_owned()));
        if cut { Err(World::power()) } else { Ok(()) }
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.read(path).map(Bytes::from)
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        let world = self.world();
        let inode = world.lookup(path)?;
        Ok(TimestampMs(world.read(inode)?.modified))
    }
}

#[cfg(test)]
mod tests;
