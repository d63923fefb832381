//! Recovery's hands on one segment file: reading it through a scan, shortening it, appending to it.
//!
//! Runs before any shard starts. Never decides anything.

use std::path::{Path, PathBuf};

use super::{RecoveryError, at};
use crate::devices::{Disk, FileHandle, Open};
use crate::log::segment_scan::{Order, ScanEnd, ScannedBatch, SegmentScan, Step};
use crate::words::Offset;

const PIECE_BYTES: usize = 256 * 1024;
/// Bytes of appended batches kept back for one larger write.
const APPEND_BYTES: usize = 1024 * 1024;

/// Where a scan begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanFrom {
    pub(super) position: u64,
    pub(super) next_offset: Offset,
    pub(super) order: Order,
}

/// An open segment file.
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    file: FileHandle,
    /// Bytes that are in the file or in `kept_back`.
    len: u64,
    kept_back: Vec<u8>,
}

impl SegmentFile {
    /// Opens the file, or creates it empty.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> Result<SegmentFile, RecoveryError> {
        let file = disk
            .open(&path, Open::Buffered)
            .map_err(at("open", &path))?;
        let len = disk.len(&file).map_err(at("measure", &path))?;
        Ok(SegmentFile {
            path,
            file,
            len,
            kept_back: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Walks the batches from a good place to the end, telling each.
    pub(super) fn scan(
        &self,
        disk: &dyn Disk,
        from: ScanFrom,
        mut each: impl FnMut(&ScannedBatch) -> Result<(), RecoveryError>,
    ) -> Result<ScanEnd, RecoveryError> {
        let mut scan = SegmentScan::new(from.position, from.next_offset, from.order);
        let mut position = from.position;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let read = self.read_at(disk, position, &mut buffer)?;
            let mut piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                return Ok(scan.finish());
            }
            loop {
                match scan.step(&mut piece) {
                    Step::More => break,
                    Step::Batch(batch) => each(&batch)?,
                    Step::End(end) => return Ok(end),
                }
            }
            position = position.saturating_add(read as u64);
        }
    }

    /// Whether a whole batch of `next_offset` or later begins at `position`.
    pub(super) fn has_batch_at(
        &self,
        disk: &dyn Disk,
        position: u64,
        next_offset: Offset,
    ) -> Result<bool, RecoveryError> {
        let mut found = false;
        let mut scan = SegmentScan::new(position, next_offset, Order::Ascending);
        let mut at = position;
        let mut buffer = vec![0; PIECE_BYTES];
        while !found {
            let read = self.read_at(disk, at, &mut buffer)?;
            let mut piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            at = at.saturating_add(read as u64);
            match scan.step(&mut piece) {
                Step::More => {}
                Step::Batch(_) => found = true,
                Step::End(_) => break,
            }
        }
        Ok(found)
    }

    pub(super) fn read_at(
        &self,
        disk: &dyn Disk,
        position: u64,
        buffer: &mut [u8],
    ) -> Result<usize, RecoveryError> {
        disk.read_at(&self.file, position, buffer)
            .map_err(at("read", &self.path))
    }

    /// Copies everything from `position` on into a new file beside this one.
    pub(super) fn copy_tail(
        &self,
        disk: &dyn Disk,
        position: u64,
        to: &Path,
    ) -> Result<(), RecoveryError> {
        let copy = disk.open(to, Open::Buffered).map_err(at("create", to))?;
        disk.set_len(&copy, 0).map_err(at("empty", to))?;
        let mut buffer = vec![0; PIECE_BYTES];
        let mut done = 0u64;
        loop {
            let read = self.read_at(disk, position.saturating_add(done), &mut buffer)?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            disk.write_at(&copy, done, piece).map_err(at("write", to))?;
            done = done.saturating_add(read as u64);
        }
        disk.sync(&copy).map_err(at("sync", to))
    }

    pub(super) fn cut(&mut self, disk: &dyn Disk, len: u64) -> Result<(), RecoveryError> {
        if len < self.len {
            disk.set_len(&self.file, len)
                .map_err(at("shorten", &self.path))?;
            self.len = len;
        }
        Ok(())
    }

    /// Appends; on disk only after [`SegmentFile::settle`].
    pub(super) fn append(&mut self, disk: &dyn Disk, bytes: &[u8]) -> Result<(), RecoveryError> {
        if self.kept_back.len().saturating_add(bytes.len()) > APPEND_BYTES {
            self.write_kept_back(disk)?;
        }
        self.kept_back.extend_from_slice(bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Makes everything durable: also what nobody changed here, for a process that was killed may
    /// have left it in the page cache only.
    pub(super) fn settle(&mut self, disk: &dyn Disk) -> Result<(), RecoveryError> {
        self.write_kept_back(disk)?;
        disk.sync(&self.file).map_err(at("sync", &self.path))
    }

    /// Hands what was kept back to the disk, not yet durable.
    pub(super) fn write_kept_back(&mut self, disk: &dyn Disk) -> Result<(), RecoveryError> {
        if self.kept_back.is_empty() {
            return Ok(());
        }
        let position = self.len.saturating_sub(self.kept_back.len() as u64);
        disk.write_at(&self.file, position, &self.kept_back)
            .map_err(at("write", &self.path))?;
        self.kept_back.clear();
        Ok(())
    }
}
