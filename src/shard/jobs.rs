//! Work that would stall a core, as closures for an offload thread: opening, trimming and removing
//! files, indexes, checkpoints. Each takes all it needs by value and returns one known type.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;

use crate::devices::{Disk, Fault, FaultKind, FileHandle, Job, Open, Output};
use crate::log::checkpoints::{PartitionMark, ShardCheckpoint};
use crate::log::journal_ring::JournalFile;
use crate::log::names::{self, SegmentFileKind};
use crate::log::producer_snapshot;
use crate::shard::Shard;
use crate::shard::partition::{FileState, Partition, Slot};
use crate::words::limits::{BLOCK_BYTES, RESCAN_STEPS};
use crate::words::{Offset, TopicId, marks};

/// Bytes of one entry of each index file.
const OFFSET_INDEX_ENTRY_BYTES: usize = 8;
const TIME_INDEX_ENTRY_BYTES: usize = 12;

/// Strays without a topic id that one partition's name may have had before it.
const STRAYS_OF_ONE_NAME_MAX: u128 = 1000;

/// Directories of partitions are moved one at a time: a topic may be deleted by one shard while
/// another creates its namesake.
static DIRECTORY_MOVES: Mutex<()> = Mutex::new(());

/// A segment ready for fills.
pub struct OpenedSegment {
    pub file: FileHandle,
    /// Bytes of the file's last, partly filled block.
    pub fragment: Vec<u8>,
}

/// A segment ready for reads; the indexes are empty when it is not sealed.
pub struct OpenedForRead {
    pub file: FileHandle,
    pub index: Bytes,
    pub time_index: Bytes,
}

/// The typed result of a job.
pub fn output<T: 'static>(result: Result<Output, Fault>) -> Result<T, Fault> {
    match result? {
        Output::Job(boxed) => match boxed.downcast::<T>() {
            Ok(value) => Ok(*value),
            Err(_) => Err(mistake("a job returned another type")),
        },
        _ => Err(mistake("an operation that is no job answered for one")),
    }
}

fn mistake(what: &'static str) -> Fault {
    Fault {
        kind: FaultKind::Dead,
        error: io::Error::other(what),
    }
}

fn done<T: Any + Send>(value: T) -> Result<Box<dyn Any + Send>, io::Error> {
    Ok(Box::new(value))
}

/// Opens the active segment of a partition for direct writes, creating directory and file; reads
/// back the part of its last block that is filled (`length` bytes are known good).
pub fn open_segment(partition: &Partition, segment: Offset, length: u64) -> Job {
    let directory = partition.directory.clone();
    let topic = partition.topic_partition.topic;
    Box::new(move |disk| {
        claim_directory(disk, &directory, topic)?;
        let path = directory.join(names::segment_file_name(segment, SegmentFileKind::Log));
        let file = disk.open(&path, Open::Direct)?;
        if length == 0 {
            disk.sync_dir(&directory)?;
        }
        let block = BLOCK_BYTES as u64;
        let start = length - length % block;
        let mut fragment = vec![0u8; usize::try_from(length - start).unwrap_or(0)];
        let read = disk.read_at(&file, start, &mut fragment)?;
        if read != fragment.len() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{} is shorter than its {length} known bytes",
                    path.display()
                ),
            ));
        }
        done(OpenedSegment { file, fragment })
    })
}

/// Makes `directory` this topic's. What is in the way is nobody's whom metadata knows: it gets
/// Kafka's name of a stray partition (`UnifiedLog.logStrayDirName`) and is never touched again.
fn claim_directory(disk: &dyn Disk, directory: &Path, topic: TopicId) -> io::Result<()> {
    let _one_at_a_time = DIRECTORY_MOVES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let metadata = directory.join(names::PARTITION_METADATA);
    match disk.read(&metadata) {
        Ok(bytes) => {
            let found = names::parse_partition_metadata(&bytes).unwrap_or(TopicId::ZERO);
            if found == topic {
                return Ok(());
            }
            make_stray(disk, directory, found)?;
        }
        // We name the topic, durably, before we make a segment: these are not ours.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if has_segments(disk, directory)? {
                make_stray(disk, directory, TopicId::ZERO)?;
            }
        }
        Err(error) => return Err(error),
    }
    disk.create_dir_all(directory)?;
    disk.write_atomic(&metadata, &names::encode_partition_metadata(topic))
}

fn has_segments(disk: &dyn Disk, directory: &Path) -> io::Result<bool> {
    match disk.list(directory) {
        Ok(files) => Ok(files.iter().any(|file| {
            names::SegmentFile::parse(&file.name).is_some_and(|of| of.kind == SegmentFileKind::Log)
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames a directory to that of a stray partition of topic `of`. If that name is taken, by an
/// earlier stray of no known topic, the next one is.
fn make_stray(disk: &dyn Disk, directory: &Path, of: TopicId) -> io::Result<()> {
    let first = u128::from_be_bytes(of.0);
    for number in 0..STRAYS_OF_ONE_NAME_MAX {
        let unique = first.wrapping_add(number).to_be_bytes();
        let aside = marked(directory, unique, names::LogDirKind::Stray)?;
        if disk.list(&aside).is_ok() {
            continue;
        }
        rename_durably(disk, directory, &aside)?;
        tracing::warn!(
            "{} was there before its topic was made: it is {} now, is not served, and stays",
            directory.display(),
            aside.display()
        );
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} has too many strays of its name",
        directory.display()
    )))
}

/// The name under which a live directory is set aside.
fn marked(directory: &Path, unique: [u8; 16], kind: names::LogDirKind) -> io::Result<PathBuf> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let Some(parsed) = names::LogDir::parse(&name) else {
        return Err(io::Error::other(format!(
            "{name} is no partition's directory"
        )));
    };
    let marked = names::marked_dir_name(&parsed.topic, parsed.partition, unique, kind);
    Ok(directory.with_file_name(marked))
}

fn rename_durably(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    match to.parent() {
        Some(parent) => disk.sync_dir(parent),
        None => Ok(()),
    }
}

/// Removes a deleted topic's directory, if it is still that topic's; or what the topic's namesake,
/// made meanwhile, took for a stray. The topic's id makes both names unique.
pub fn remove_partition(partition: &Partition) -> Job {
    let directory = partition.directory.clone();
    let topic = partition.topic_partition.topic;
    Box::new(move |disk| {
        let _one_at_a_time = DIRECTORY_MOVES
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let stray = marked(&directory, topic.0, names::LogDirKind::Stray)?;
        for from in [directory.as_path(), stray.as_path()] {
            match disk.read(&from.join(names::PARTITION_METADATA)) {
                Ok(bytes) if names::parse_partition_metadata(&bytes).ok() == Some(topic) => {
                    let gone = marked(&directory, topic.0, names::LogDirKind::Delete)?;
                    rename_durably(disk, from, &gone)?;
                    disk.remove_dir_all(&gone)?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        done(())
    })
}

/// Removes the files of segments that fell to retention. `first` is the segment that is the first
/// one now: its file is made before, since without any file nothing would prove that the log
/// begins where the checkpoint says. So is the snapshot of producers at its base when it is still
/// empty: those whose batches all go would be known to nobody else.
pub fn remove_segments(partition: &Partition, segments: Vec<Offset>, first: Offset) -> Job {
    let directory = partition.directory.clone();
    let (at, state) = partition.log.filled_snapshot();
    let snapshot = (at == first).then(|| producer_snapshot::encode(&state));
    let topic = partition.topic_partition.topic;
    Box::new(move |disk| {
        claim_directory(disk, &directory, topic)?;
        let path = directory.join(names::segment_file_name(first, SegmentFileKind::Log));
        disk.open(&path, Open::Direct)?;
        if let Some(snapshot) = &snapshot {
            let name = names::segment_file_name(first, SegmentFileKind::ProducerSnapshot);
            disk.write_atomic(&directory.join(name), snapshot)?;
        }
        disk.sync_dir(&directory)?;
        marks::hit("segments removed");
        for segment in segments {
            for kind in SegmentFileKind::ALL {
                match disk.remove_file(&directory.join(names::segment_file_name(segment, kind))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        disk.sync_dir(&directory)?;
        done(())
    })
}

/// Trims a filled segment to its length and writes its indexes, and the producer state where the
/// segment after it begins. `None` when the segment is gone.
pub fn seal_segment(partition: &mut Partition, segment: Offset) -> Option<Job> {
    let facts = partition.log.segment(segment)?;
    let length = facts.size_bytes;
    let indexes = facts.building.as_ref()?;
    let offsets = indexes.offset_index().bytes().to_vec();
    let times = indexes.time_index().bytes().to_vec();
    let directory = partition.directory.clone();
    let epochs = partition.log.epochs.encode();
    let (at, state) = partition.log.filled_snapshot();
    let snapshot = producer_snapshot::encode(&state);
    Some(Box::new(move |disk| {
        marks::hit("seal begun");
        let log = disk.open(
            &directory.join(names::segment_file_name(segment, SegmentFileKind::Log)),
            Open::Direct,
        )?;
        disk.set_len(&log, length)?;
        disk.sync(&log)?;
        for (kind, bytes) in [
            (SegmentFileKind::OffsetIndex, &offsets),
            (SegmentFileKind::TimeIndex, &times),
        ] {
            disk.write_atomic(
                &directory.join(names::segment_file_name(segment, kind)),
                bytes,
            )?;
        }
        let path = directory.join(names::segment_file_name(
            at,
            SegmentFileKind::ProducerSnapshot,
        ));
        disk.write_atomic(&path, &snapshot)?;
        disk.write_atomic(&directory.join(names::LEADER_EPOCH_CHECKPOINT), &epochs)?;
        marks::hit("seal");
        done(())
    }))
}

/// Takes off what a segment's file has behind its `length` bytes of records. Flushed, so that no
/// page of the cache lies over what is written past it.
pub fn trim_segment(file: FileHandle, length: u64) -> Job {
    Box::new(move |disk| {
        disk.set_len(&file, length)?;
        disk.sync(&file)?;
        done(())
    })
}

/// Opens a segment for reading, with its indexes when it is sealed.
pub fn open_for_read(partition: &Partition, segment: Offset, sealed: bool) -> Job {
    let directory = partition.directory.clone();
    Box::new(move |disk| {
        let path = |kind| directory.join(names::segment_file_name(segment, kind));
        let file = disk.open(&path(SegmentFileKind::Log), Open::Direct)?;
        let map = |kind| match sealed {
            true => disk.map(&path(kind)),
            false => Ok(Bytes::new()),
        };
        done(OpenedForRead {
            file,
            index: map(SegmentFileKind::OffsetIndex)?,
            time_index: map(SegmentFileKind::TimeIndex)?,
        })
    })
}

/// Creates one journal file with written extents, so that appends only overwrite.
pub fn prepare_journal_file(directory: &Path, number: JournalFile, bytes: u64) -> Job {
    let directory = directory.to_path_buf();
    Box::new(move |disk| done(create_journal_file(disk, &directory, number, bytes)?))
}

/// As [`prepare_journal_file`], at start-up. An existing file of the right size is taken as it is:
/// its old entries carry an older incarnation.
pub fn create_journal_file(
    disk: &dyn Disk,
    directory: &Path,
    number: JournalFile,
    bytes: u64,
) -> io::Result<FileHandle> {
    disk.create_dir_all(directory)?;
    let file = disk.open(
        &directory.join(names::journal_file_name(number.0)),
        Open::Direct,
    )?;
    if disk.len(&file)? != bytes {
        disk.allocate(&file, 0, bytes)?;
        let zeros = vec![0u8; 1024 * 1024];
        let mut at = 0u64;
        while at < bytes {
            let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
            let piece = zeros.get(..left).unwrap_or(&zeros);
            disk.write_at(&file, at, piece)?;
            at += piece.len() as u64;
        }
        disk.sync(&file)?;
    }
    // Always: a process that was killed may have left a name that no sync ever covered.
    disk.sync_dir(directory)?;
    Ok(file)
}

/// What a checkpoint writes for one partition besides its line.
struct PartitionFiles {
    directory: PathBuf,
    topic: TopicId,
    segment: Offset,
    offsets: (u64, Vec<u8>),
    times: (u64, Vec<u8>),
    /// `None`: as the last checkpoint left them.
    epochs: Option<Vec<u8>>,
    snapshot: (Offset, Vec<u8>),
    /// The snapshot that this one makes superfluous.
    old_snapshot: Option<Offset>,
}

/// Writes the shard's checkpoint: index entries, epochs and producer state first, then the lines
/// that vouch for them. New lines go to the partitions of which recovery would read most again, as
/// many as it takes to bring that down for all of them together; `all` gives one to every partition.
pub fn checkpoint(shard: &mut Shard, through: u64, all: bool) -> Job {
    let keep = shard.config.rescan_bytes_max / RESCAN_STEPS;
    let mut unmarked: Vec<(u64, Slot)> = Vec::new();
    let mut left = 0u64;
    for (slot, partition) in shard.partitions.iter() {
        let bytes = partition.log.bytes_since_mark();
        if bytes > 0 {
            unmarked.push((bytes, slot));
            left = left.saturating_add(bytes);
        }
    }
    unmarked.sort_unstable_by_key(|(bytes, slot)| (std::cmp::Reverse(*bytes), *slot));
    let mut files = Vec::new();
    for (bytes, slot) in unmarked {
        let Some(partition) = shard.partitions.get_mut(slot) else {
            continue;
        };
        if all || left > keep || partition.log.mark_is_overtaken() {
            let made = partition_files(partition);
            left = left.saturating_sub(made.as_ref().map_or(0, |_| bytes));
            files.extend(made);
        }
    }
    shard.fills.unmarked_bytes = left;
    shard.fills.unmarked_kept = left;
    let marks = shard.partitions.iter();
    let marks = marks.filter_map(|(_, partition)| partition.log.last_mark());
    let marks: Vec<PartitionMark> = marks.collect();
    let checkpoint = ShardCheckpoint {
        shard: shard.shard,
        through: shard.journal.mark(through),
        partitions: marks,
    };
    let path = shard.journal.directory.join(names::SHARD_CHECKPOINT);
    Box::new(move |disk| {
        for of in &files {
            write_partition_files(disk, of)?;
        }
        disk.write_atomic(&path, &checkpoint.encode())?;
        marks::hit("shard checkpoint");
        for of in &files {
            drop_old_snapshot(disk, of)?;
        }
        done(())
    })
}

/// Takes a new mark of a partition, with the files that have to be durable before it counts.
fn partition_files(partition: &mut Partition) -> Option<PartitionFiles> {
    let FileState::Open { segment, .. } = partition.files.state else {
        return None;
    };
    let base_before = partition.log.last_mark().map(|mark| mark.end_offset);
    let mark = partition.log.take_mark()?;
    let indexes = partition.log.segment(segment)?.building.as_ref()?;
    let part = |bytes: &[u8], from: usize, entries: u32, entry_bytes: usize| {
        let until = (entries as usize).saturating_mul(entry_bytes);
        let new = bytes.get(from..until).unwrap_or_default().to_vec();
        (from as u64, new)
    };
    let files = PartitionFiles {
        directory: partition.directory.clone(),
        topic: partition.topic_partition.topic,
        segment,
        offsets: part(
            indexes.offset_index().bytes(),
            partition.files.index_bytes_written,
            mark.offset_index_entries,
            OFFSET_INDEX_ENTRY_BYTES,
        ),
        times: part(
            indexes.time_index().bytes(),
            partition.files.time_bytes_written,
            mark.time_index_entries,
            TIME_INDEX_ENTRY_BYTES,
        ),
        epochs: {
            let epochs = partition.log.epochs.encode();
            (epochs != partition.files.epochs_written).then_some(epochs)
        },
        snapshot: {
            let (at, state) = partition.log.filled_snapshot();
            (at, producer_snapshot::encode(&state))
        },
        // At the base of a segment it stays, as Kafka keeps them.
        old_snapshot: base_before.filter(|at| partition.log.segment(*at).is_none()),
    };
    partition.files.index_bytes_written += files.offsets.1.len();
    partition.files.time_bytes_written += files.times.1.len();
    if let Some(epochs) = &files.epochs {
        partition.files.epochs_written.clone_from(epochs);
    }
    Some(files)
}

/// A topic that was deleted meanwhile is passed over: its directory is gone, or a namesake's, and
/// its line in the checkpoint is nobody's.
fn write_partition_files(disk: &dyn Disk, of: &PartitionFiles) -> io::Result<()> {
    let _one_at_a_time = DIRECTORY_MOVES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match disk.read(&of.directory.join(names::PARTITION_METADATA)) {
        Ok(bytes) if names::parse_partition_metadata(&bytes).ok() == Some(of.topic) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {
            marks::hit("checkpoint of a deleted topic");
            return Ok(());
        }
    }
    for (kind, (at, bytes)) in [
        (SegmentFileKind::OffsetIndex, &of.offsets),
        (SegmentFileKind::TimeIndex, &of.times),
    ] {
        let path = of
            .directory
            .join(names::segment_file_name(of.segment, kind));
        let file = disk.open(&path, Open::Buffered)?;
        disk.write_at(&file, *at, bytes)?;
        disk.sync(&file)?;
    }
    if let Some(epochs) = &of.epochs {
        disk.write_atomic(&of.directory.join(names::LEADER_EPOCH_CHECKPOINT), epochs)?;
    }
    let (at, bytes) = &of.snapshot;
    let name = names::segment_file_name(*at, SegmentFileKind::ProducerSnapshot);
    disk.write_atomic(&of.directory.join(name), bytes)?;
    disk.sync_dir(&of.directory)
}

fn drop_old_snapshot(disk: &dyn Disk, of: &PartitionFiles) -> io::Result<()> {
    let Some(old) = of.old_snapshot.filter(|old| *old != of.snapshot.0) else {
        return Ok(());
    };
    let name = names::segment_file_name(old, SegmentFileKind::ProducerSnapshot);
    match disk.remove_file(&of.directory.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The last checkpoint of a run: active segments are trimmed to their length, their indexes and the
/// producer state are complete, so that the next start (or Kafka's tools) finds nothing to mend.
pub fn closing_checkpoint(shard: &mut Shard, through: u64) -> Job {
    let closing: Vec<Closing> = shard
        .partitions
        .iter()
        .filter_map(|(_, partition)| closing_files(partition))
        .collect();
    let checkpoint = checkpoint(shard, through, true);
    Box::new(move |disk| {
        for of in &closing {
            close_partition(disk, of)?;
        }
        checkpoint(disk)
    })
}

/// What is left to do for the active segment of one partition.
struct Closing {
    directory: PathBuf,
    topic: TopicId,
    segment: Offset,
    length: u64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    epochs: Vec<u8>,
    snapshot: (Offset, Vec<u8>),
}

fn closing_files(partition: &Partition) -> Option<Closing> {
    let active = partition.log.segments().last()?;
    let indexes = active.building.as_ref()?;
    let log = &partition.log;
    (!partition.offline && log.filled() >= log.log_end()).then(|| Closing {
        directory: partition.directory.clone(),
        topic: partition.topic_partition.topic,
        segment: active.base_offset,
        length: active.filled_bytes,
        offsets: indexes.offset_index().bytes().to_vec(),
        times: indexes.time_index().bytes().to_vec(),
        epochs: log.epochs.encode(),
        snapshot: (
            log.log_end(),
            producer_snapshot::encode(&log.producers.snapshot()),
        ),
    })
}

fn close_partition(disk: &dyn Disk, of: &Closing) -> io::Result<()> {
    claim_directory(disk, &of.directory, of.topic)?;
    let path = |at, kind| of.directory.join(names::segment_file_name(at, kind));
    let log = disk.open(&path(of.segment, SegmentFileKind::Log), Open::Direct)?;
    disk.set_len(&log, of.length)?;
    disk.sync(&log)?;
    disk.write_atomic(&path(of.segment, SegmentFileKind::OffsetIndex), &of.offsets)?;
    disk.write_atomic(&path(of.segment, SegmentFileKind::TimeIndex), &of.times)?;
    disk.write_atomic(
        &of.directory.join(names::LEADER_EPOCH_CHECKPOINT),
        &of.epochs,
    )?;
    let (at, bytes) = &of.snapshot;
    if at.0 > 0 {
        disk.write_atomic(&path(*at, SegmentFileKind::ProducerSnapshot), bytes)?;
    }
    Ok(())
}
