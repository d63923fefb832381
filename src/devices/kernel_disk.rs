//! Files and directories of a Linux machine, blocking.
//!
//! Owns open descriptors and knows which of them bypass the page cache, with what alignment. Used
//! at start, in recovery, in jobs and in tools; a shard's thread does its own I/O through its ring
//! with the descriptors opened here. A whole-block access to a direct file goes past the page
//! cache; anything else on it goes through a second, buffered descriptor (the kernel keeps the two
//! coherent as long as they do not run into each other, and a range has one writer at a time).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, fallocate, fdatasync, fstatfs, statx};

use super::buffer::Region;
use super::{DirEntry, Disk, FileHandle, Open, clock};
use crate::words::TimestampMs;
use crate::words::limits::BLOCK_BYTES;

/// Bytes moved at a time between direct files and unaligned memory.
const BOUNCE_BYTES: usize = 256 * 1024;
/// `STATX_DIOALIGN` (Linux 6.1).
const STATX_DIOALIGN: u32 = 0x2000;
/// File systems that accept direct access and then use the page cache all the same.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// The disks of this machine.
#[derive(Clone, Copy, Default, Debug)]
pub struct KernelDisk;

struct KernelFile {
    file: File,
    /// 1 when `file` goes through the page cache.
    alignment: usize,
    /// For partial blocks of a direct file; opened when first needed.
    buffered: OnceLock<File>,
}

impl KernelDisk {
    pub fn new() -> KernelDisk {
        KernelDisk
    }
}

impl Disk for KernelDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<FileHandle> {
        let file = match how {
            Open::Read => KernelFile::plain(File::open(path)?),
            Open::Buffered => KernelFile::plain(writable(0).open(path)?),
            Open::Direct => open_direct(path)?,
        };
        let token = u64::try_from(file.file.as_raw_fd()).map_err(io::Error::other)?;
        let alignment = u32::try_from(file.alignment).map_err(io::Error::other)?;
        Ok(FileHandle::new(token, alignment, Arc::new(file)))
    }

    fn len(&self, file: &FileHandle) -> io::Result<u64> {
        Ok(opened(file)?.file.metadata()?.len())
    }

    fn read_at(&self, file: &FileHandle, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = opened(file)?;
        if file.alignment == 1 || file.fits(position, buffer) {
            return file.read_full(position, buffer);
        }
        file.read_bounced(position, buffer)
    }

    fn write_at(&self, file: &FileHandle, position: u64, data: &[u8]) -> io::Result<()> {
        let file = opened(file)?;
        if file.alignment == 1 || file.fits(position, data) {
            return file.file.write_all_at(data, position);
        }
        if !file.even(position, data.len()) {
            return file.buffered()?.write_all_at(data, position);
        }
        // Whole blocks in memory that is not aligned: move the memory.
        let mut bounce = Region::new(data.len().min(BOUNCE_BYTES));
        let mut at = position;
        for piece in data.chunks(BOUNCE_BYTES) {
            let Some(room) = bounce.as_mut_slice().get_mut(..piece.len()) else {
                return Err(io::ErrorKind::WriteZero.into());
            };
            room.copy_from_slice(piece);
            file.file.write_all_at(room, at)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn sync(&self, file: &FileHandle) -> io::Result<()> {
        // Of the file, not of a descriptor: covers what either of the two has written.
        Ok(fdatasync(&opened(file)?.file)?)
    }

    fn set_len(&self, file: &FileHandle, len: u64) -> io::Result<()> {
        opened(file)?.file.set_len(len)
    }

    fn allocate(&self, file: &FileHandle, position: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let file = &opened(file)?.file;
        match fallocate(file, FallocateFlags::KEEP_SIZE, position, len) {
            // A file system that cannot reserve has nothing to promise; writes may then be Full.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    /// One writer for a path at a time: the new content grows under the name with `.tmp` added.
    fn write_atomic(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let fresh = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)?;
        file.write_all_at(data, 0)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        self.sync_dir(parent(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Removed since it was listed: then it is not there.
            let about = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => about?,
            };
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: about.is_dir(),
                len: if about.is_file() { about.len() } else { 0 },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = Vec::new();
        for place in path.ancestors() {
            if place.as_os_str().is_empty() || place.is_dir() {
                break;
            }
            missing.push(place);
        }
        for place in missing.into_iter().rev() {
            match fs::create_dir(place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_dir() => {}
                made => made?,
            }
            self.sync_dir(parent(place))?;
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: only sealed files are mapped, and the broker, which alone writes in its
        // directory (it holds the lock), neither changes nor truncates those; removal leaves the
        // mapping whole. A stranger who truncates one of them kills the process, as he would any
        // program that maps files.
        let map = unsafe { memmap2::MmapOptions::new().populate().map(&file)? };
        Ok(Bytes::from_owner(map))
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        Ok(clock::wall(fs::metadata(path)?.modified()?))
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn writable(flags: i32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags);
    options
}

fn opened(handle: &FileHandle) -> io::Result<&KernelFile> {
    handle
        .keep
        .downcast_ref::<KernelFile>()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file of another device"))
}

fn open_direct(path: &Path) -> io::Result<KernelFile> {
    let file = match writable(libc::O_DIRECT).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return Ok(KernelFile::plain(writable(0).open(path)?));
        }
        Err(error) => return Err(error),
    };
    match direct_alignment(&file)? {
        Some(alignment) => Ok(KernelFile {
            file,
            alignment,
            buffered: OnceLock::new(),
        }),
        None => Ok(KernelFile::plain(writable(0).open(path)?)),
    }
}

/// Alignment of memory, position and length for direct access; `None` when there is none, or one
/// that our blocks do not fit.
pub(super) fn direct_alignment(file: &File) -> io::Result<Option<usize>> {
    let flags = StatxFlags::from_bits_retain(STATX_DIOALIGN);
    if let Ok(about) = statx(file, "", AtFlags::EMPTY_PATH, flags)
        && about.stx_mask & STATX_DIOALIGN != 0
    {
        let alignment = about.stx_dio_mem_align.max(about.stx_dio_offset_align) as usize;
        let usable = about.stx_dio_mem_align != 0
            && about.stx_dio_offset_align != 0
            && alignment.is_power_of_two()
            && alignment <= BLOCK_BYTES;
        return Ok(usable.then_some(alignment));
    }
    // A file system that does not say. It took O_DIRECT; a block satisfies all that mean it.
    let kind = fstatfs(file)?.f_type;
    Ok((kind != TMPFS_MAGIC && kind != RAMFS_MAGIC).then_some(BLOCK_BYTES))
}

impl KernelFile {
    fn plain(file: File) -> KernelFile {
        KernelFile {
            file,
            alignment: 1,
            buffered: OnceLock::new(),
        }
    }

    fn even(&self, position: u64, len: usize) -> bool {
        position.is_multiple_of(self.alignment as u64) && len.is_multiple_of(self.alignment)
    }

    fn fits(&self, position: u64, memory: &[u8]) -> bool {
        self.even(position, memory.len()) && memory.as_ptr().addr().is_multiple_of(self.alignment)
    }

    /// The same file through the page cache.
    fn buffered(&self) -> io::Result<&File> {
        if let Some(file) = self.buffered.get() {
            return Ok(file);
        }
        // By descriptor and not by name: the file may have been renamed or removed meanwhile.
        let again = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let file = OpenOptions::new().read(true).write(true).open(again)?;
        Ok(self.buffered.get_or_init(|| file))
    }

    /// Reads until the buffer is full or the file ends.
    fn read_full(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0usize;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self
                .file
                .read_at(rest, position.saturating_add(done as u64))
            {
                Ok(0) => break,
                Ok(count) => done = done.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // A direct read that ends inside a block ended at the end of the file.
            if !done.is_multiple_of(self.alignment) {
                break;
            }
        }
        Ok(done)
    }

    /// Reads whole blocks into aligned memory and copies what was asked for.
    fn read_bounced(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bounce = Region::new(
            buffer
                .len()
                .saturating_add(2 * BLOCK_BYTES)
                .min(BOUNCE_BYTES),
        );
        let mut done = 0usize;
        while done < buffer.len() {
            let at = position.saturating_add(done as u64);
            let skip_bytes = at % self.alignment as u64;
            let got = self.read_full(at - skip_bytes, bounce.as_mut_slice())?;
            let skip = usize::try_from(skip_bytes).map_err(io::Error::other)?;
            let piece = bounce.as_slice().get(skip..got).unwrap_or(&[]);
            let rest = buffer.get_mut(done..).unwrap_or(&mut []);
            let count = piece.len().min(rest.len());
            if let (Some(to), Some(from)) = (rest.get_mut(..count), piece.get(..count)) {
                to.copy_from_slice(from);
            }
            done = done.saturating_add(count);
            if got < bounce.as_slice().len() {
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::TimestampMs;

    fn pattern(len: usize) -> Vec<u8> {
        (0..len)
            .map(|n| (n.wrapping_mul(31) ^ (n >> 9)) as u8)
            .collect()
    }

    /// Arbitrary accesses against a vector that stands for the file.
    fn agrees_with_a_vector(directory: &Path, how: Open) {
        let disk = KernelDisk::new();
        let path = directory.join("data");
        let file = disk.open(&path, how).unwrap();
        let mut model: Vec<u8> = Vec::new();
        // Whole blocks, parts of blocks, across blocks, past the end, longer than the bounce.
        let writes = [
            (0, 8192),
            (4096, 4096),
            (100, 1),
            (4095, 2),
            (20_000, 777),
            (8192, 300_000),
            (300_001, 400_000),
            (1 << 20, 600 * 1024),
        ];
        for (round, (position, len)) in writes.into_iter().enumerate() {
            let mut data = pattern(len);
            data.iter_mut().for_each(|byte| *byte ^= round as u8);
            disk.write_at(&file, position as u64, &data).unwrap();
            model.resize(model.len().max(position + len), 0);
            model[position..position + len].copy_from_slice(&data);
            assert_eq!(disk.len(&file).unwrap(), model.len() as u64);
        }
        disk.sync(&file).unwrap();
        assert!(disk.read(&path).unwrap() == model);
        for (position, len) in [
            (0, 1),
            (1, 4096),
            (4095, 700_000),
            (0, 2 << 20),
            (1 << 30, 9),
        ] {
            let mut buffer = vec![0xee; len];
            let got = disk.read_at(&file, position as u64, &mut buffer).unwrap();
            let from = position.min(model.len());
            let to = (position + len).min(model.len());
            assert_eq!(got, to - from);
            assert!(buffer[..got] == model[from..to], "read at {position}");
            assert!(buffer[got..].iter().all(|byte| *byte == 0xee));
        }
        disk.set_len(&file, 5000).unwrap();
        disk.allocate(&file, 0, 1 << 20).unwrap();
        assert_eq!(disk.len(&file).unwrap(), 5000);
        let mut buffer = [0; 200];
        assert_eq!(disk.read_at(&file, 4900, &mut buffer).unwrap(), 100);
        assert!(buffer[..100] == model[4900..5000]);
    }

    #[test]
    fn every_way_to_open_reads_and_writes_anywhere() {
        let home = tempfile::tempdir().unwrap();
        agrees_with_a_vector(home.path(), Open::Direct);
        let home = tempfile::tempdir().unwrap();
        agrees_with_a_vector(home.path(), Open::Buffered);
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        agrees_with_a_vector(memory.path(), Open::Direct);
    }

    #[test]
    fn a_renamed_direct_file_still_takes_partial_blocks() {
        let home = tempfile::tempdir().unwrap();
        let disk = KernelDisk::new();
        let file = disk.open(&home.path().join("old"), Open::Direct).unwrap();
        disk.rename(&home.path().join("old"), &home.path().join("new"))
            .unwrap();
        disk.write_at(&file, 3, b"abc").unwrap();
        assert_eq!(disk.read(&home.path().join("new")).unwrap(), b"\0\0\0abc");
    }

    #[test]
    fn a_file_open_for_reading_refuses_writes_and_must_exist() {
        let home = tempfile::tempdir().unwrap();
        let disk = KernelDisk::new();
        assert!(disk.open(&home.path().join("none"), Open::Read).is_err());
        disk.write_atomic(&home.path().join("some"), b"text")
            .unwrap();
        let file = disk.open(&home.path().join("some"), Open::Read).unwrap();
        assert!(disk.write_at(&file, 0, b"x").is_err());
        let foreign = FileHandle::new(3, 1, Arc::new(()));
        assert!(disk.len(&foreign).is_err());
    }

    #[test]
    fn directories_are_listed_in_order_and_atomic_writes_leave_nothing_beside() {
        let home = tempfile::tempdir().unwrap();
        let disk = KernelDisk::new();
        let deep = home.path().join("a/b/c");
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        for (name, text) in [("z", "1"), ("m", "22"), ("b", "333"), ("m", "4444")] {
            disk.write_atomic(&deep.join(name), text.as_bytes())
                .unwrap();
        }
        disk.create_dir_all(&deep.join("d")).unwrap();
        let listed: Vec<_> = disk.list(&deep).unwrap();
        let listed: Vec<_> = listed.iter().map(|e| (&*e.name, e.is_dir, e.len)).collect();
        let want = [
            ("b", false, 3),
            ("d", true, 0),
            ("m", false, 4),
            ("z", false, 1),
        ];
        assert_eq!(listed, want);
        assert_eq!(disk.read(&deep.join("m")).unwrap(), b"4444");
        disk.remove_file(&deep.join("z")).unwrap();
        disk.sync_dir(&deep).unwrap();
        disk.remove_dir_all(&home.path().join("a")).unwrap();
        assert!(disk.list(home.path()).unwrap().is_empty());
    }

    #[test]
    fn a_map_outlives_its_file() {
        let home = tempfile::tempdir().unwrap();
        let disk = KernelDisk::new();
        let path = home.path().join("index");
        disk.write_atomic(&path, &pattern(10_000)).unwrap();
        let map = disk.map(&path).unwrap();
        assert!(disk.modified(&path).unwrap() > TimestampMs(0));
        disk.remove_file(&path).unwrap();
        assert!(map == pattern(10_000));
        disk.write_atomic(&path, b"").unwrap();
        assert!(disk.map(&path).unwrap().is_empty());
    }
}
