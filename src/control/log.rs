//! The metadata log: where changes become durable before anybody hears of them.
//!
//! [`MetadataLog`] is all that the writer asks of a log, so that a quorum can take its place.
//! [`FileLog`] keeps it in one local file, `metadata.log` (layout: `metadata/codec.rs`). Owns the
//! file and the verdict over its end; never decides a change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::devices::{Disk, FileHandle, Open, display_path};
use crate::metadata::codec::{self, Verdict};
use crate::metadata::image::Misfit;
use crate::metadata::{MetadataImage, Record};

/// Name of the log inside the data directory.
pub const FILE_NAME: &str = "metadata.log";
/// Records in one frame of a snapshot.
const SNAPSHOT_FRAME_RECORDS: usize = 4096;

/// What makes changes durable.
pub trait MetadataLog: Send {
    /// Makes `records`, which follow on an image of `base_version`, durable: all of them when
    /// this returns, none of them ever when it fails. Runs on the writer's own thread and may
    /// block there.
    fn append(&mut self, base_version: u64, records: &[Record]) -> Result<(), LogFault>;

    /// What all records so far come to, after each append: a log may drop what it replaces.
    fn applied(&mut self, image: &MetadataImage);
}

/// Why an append failed.
#[derive(Debug)]
pub enum LogFault {
    /// More than one append holds.
    TooLarge,
    /// No space; a later append may succeed.
    Full(io::Error),
    /// The file can no longer be vouched for; nothing is appended until the next start.
    Dead,
}

/// Why a log cannot be loaded.
#[derive(Debug)]
pub enum LoadFault {
    /// The operating system does not give the bytes.
    Unreadable(io::Error),
    /// Damage in front of intact frames, at this byte.
    Rotten(usize),
    /// Written by a newer Ottla, from this byte on.
    Newer(usize),
    /// Intact records that contradict each other.
    Misfit(Misfit),
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadFault::Unreadable(error) => write!(f, "{FILE_NAME} cannot be read: {error}"),
            LoadFault::Rotten(at) => write!(
                f,
                "{FILE_NAME} is damaged at byte {at}, in front of intact changes; restore it from a copy"
            ),
            LoadFault::Newer(at) => {
                write!(
                    f,
                    "{FILE_NAME} holds a change at byte {at} that this version does not know"
                )
            }
            LoadFault::Misfit(misfit) => write!(f, "{FILE_NAME} contradicts itself: {misfit}"),
        }
    }
}

impl std::error::Error for LoadFault {}

/// A log in one local file.
pub struct FileLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: FileHandle,
    /// Bytes of whole frames; the next one goes here.
    end: u64,
    /// Bytes that the snapshot at the beginning took.
    snapshot_end: u64,
    /// Growth after which the file is written anew.
    snapshot_bytes: u64,
    dead: bool,
}

impl FileLog {
    /// Opens the log in `dir`, made when missing, and folds it. What a cut append left behind is
    /// taken off; it was never acknowledged.
    pub fn load(
        disk: Arc<dyn Disk>,
        dir: &Path,
        snapshot_bytes: u64,
    ) -> Result<(FileLog, MetadataImage), LoadFault> {
        let path = dir.join(FILE_NAME);
        let opened = disk
            .create_dir_all(dir)
            .and_then(|()| disk.open(&path, Open::Buffered))
            .and_then(|file| disk.sync_dir(dir).map(|()| file));
        let file = opened.map_err(LoadFault::Unreadable)?;
        let bytes = disk.read(&path).map_err(LoadFault::Unreadable)?;
        let (image, end) = fold(&bytes)?;
        if end < bytes.len() {
            tracing::warn!(
                file = display_path(&path),
                from = end,
                bytes = bytes.len().saturating_sub(end),
                "cut an append that was not finished"
            );
            disk.set_len(&file, length(end))
                .and_then(|()| disk.sync(&file))
                .map_err(LoadFault::Unreadable)?;
        }
        let log = FileLog {
            disk,
            path,
            file,
            end: length(end),
            snapshot_end: 0,
            snapshot_bytes,
            dead: false,
        };
        Ok((log, image))
    }

    /// Writes the image in place of the records that led to it.
    fn compact(&mut self, image: &MetadataImage) -> io::Result<()> {
        let bytes = snapshot(image).map_err(|_| io::Error::other("a snapshot frame too large"))?;
        // The old file stays whole until the new one is durable.
        self.disk.write_atomic(&self.path, &bytes)?;
        // From here on the handle is one of a file without a name: an append to it would be lost.
        self.dead = true;
        self.file = self.disk.open(&self.path, Open::Buffered)?;
        self.dead = false;
        self.end = length(bytes.len());
        self.snapshot_end = self.end;
        Ok(())
    }

    /// Takes a failed append off again, so that the file ends with a whole frame.
    fn take_back(&mut self) -> io::Result<()> {
        self.disk.set_len(&self.file, self.end)?;
        self.disk.sync(&self.file)
    }
}

impl MetadataLog for FileLog {
    fn append(&mut self, base_version: u64, records: &[Record]) -> Result<(), LogFault> {
        if self.dead {
            return Err(LogFault::Dead);
        }
        let mut frame = Vec::new();
        codec::encode_frame(base_version, records, &mut frame).map_err(|_| LogFault::TooLarge)?;
        let written = self
            .disk
            .write_at(&self.file, self.end, &frame)
            .and_then(|()| self.disk.sync(&self.file));
        let Err(error) = written else {
            self.end = self.end.saturating_add(length(frame.len()));
            return Ok(());
        };
        tracing::error!(file = display_path(&self.path), %error, "metadata append failed");
        // The frame may be there in part or whole: unless it is taken off, a later start could
        // find a change that was answered as failed.
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if self.take_back().is_ok() && full {
            return Err(LogFault::Full(error));
        }
        // After a failed write or flush nothing more is written to the same place.
        self.dead = true;
        Err(LogFault::Dead)
    }

    fn applied(&mut self, image: &MetadataImage) {
        // Not before the log has doubled: a large cluster must not be rewritten for each change.
        let grown = self.end.saturating_sub(self.snapshot_end);
        if self.dead || grown < self.snapshot_bytes.max(self.snapshot_end) {
            return;
        }
        if let Err(error) = self.compact(image) {
            tracing::error!(file = display_path(&self.path), %error, "metadata snapshot failed");
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The image that the log's bytes come to, and where its whole frames end.
fn fold(bytes: &[u8]) -> Result<(MetadataImage, usize), LoadFault> {
    let mut image = MetadataImage::empty();
    let mut at = 0;
    loop {
        match codec::read_at(bytes, at) {
            Verdict::Frame(frame) => {
                if at == 0 {
                    // A snapshot has fewer records than the history it replaces.
                    image = image.at_version(frame.base_version);
                }
                if frame.base_version != image.version() {
                    return Err(LoadFault::Rotten(at));
                }
                image.apply_all(&frame.records).map_err(LoadFault::Misfit)?;
                at = frame.end;
            }
            Verdict::End | Verdict::Torn => return Ok((image, at)),
            Verdict::Rotten => return Err(LoadFault::Rotten(at)),
            Verdict::Unknown => return Err(LoadFault::Newer(at)),
        }
    }
}

/// A log whose records give `image`, its version included.
fn snapshot(image: &MetadataImage) -> Result<Vec<u8>, codec::FrameTooLarge> {
    let records = image.to_records();
    // Each thing in the image was made by at least one record, so this does not go below zero.
    let mut base = image.version().saturating_sub(length(records.len()));
    let mut bytes = Vec::new();
    for chunk in records.chunks(SNAPSHOT_FRAME_RECORDS) {
        codec::encode_frame(base, chunk, &mut bytes)?;
        base = base.saturating_add(length(chunk.len()));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
