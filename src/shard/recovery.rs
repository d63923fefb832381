//! Recovery: from whatever a stop, a crash or Apache Kafka left in the data directory to logs that
//! are whole, durable and known, with empty journals.
//!
//! Runs before any shard starts, step 2 on several threads, a partition each; owns the order of steps. Never serves anything,
//! never reads a clock, and decides nothing by itself: verdicts come from `log::verdict`.
//!
//! The order is what makes a crash in the middle harmless:
//! 1. read `checkpoint`, every journal and its checkpoint; nothing is changed yet;
//! 2. partition by partition: cut, replay, make indexes, epochs and producers, flush;
//! 3. write down what is offline, and set journals with unreplayed batches aside;
//! 4. replace `checkpoint`: the one atomic step after which the old journals mean nothing;
//! 5. remove the journals of shards that this start does not have, each under another name first.
//!
//! Before 4 everything can be done again from the same journals: what was appended in 2 is found
//! in the segments and skipped. After 4 nothing in them counts, so 5 may stop anywhere.

mod active;
mod crew;
mod journals;
mod one;
mod partition;
mod segment_io;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use self::journals::{JournalDirectory, Journals};
use self::one::{Outcome, Whole};
use crate::devices::{DirEntry, Disk};
use crate::log::append_rules::LogSettings;
use crate::log::checkpoints::{
    CheckpointFault, JournalMark, PartitionMark, ShardCheckpoint, parse_offsets,
};
use crate::log::epochs::LeaderEpochs;
use crate::log::names::{
    CLEAN_SHUTDOWN, LOG_START_CHECKPOINT, LogDir, LogDirKind, PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT, SegmentFile as SegmentName, SegmentFileKind, SegmentFileStage,
    log_dir_name, marked_dir_name, parse_partition_metadata,
};
use crate::log::producers::Producers;
use crate::log::segment_indexes::SegmentIndexes;
use crate::log::time_index::TimestampOffset;
use crate::log::verdict::{self, DirectoryFacts, DirectoryId, DirectoryVerdict};
use crate::words::{Offset, ShardId, TimestampMs, TopicId, TopicPartition};

/// Name of the checkpoint, both of the data directory and of a journal directory.
pub const CHECKPOINT: &str = "checkpoint";
/// Name of the file that keeps a partition offline.
pub const QUARANTINE: &str = "quarantine";
/// What stands in the data directory's checkpoint in place of a shard.
const NO_SHARD: ShardId = ShardId(u16::MAX);

/// A topic that metadata knows.
#[derive(Clone, PartialEq, Debug)]
pub struct LiveTopic {
    pub name: String,
    /// Partitions `0..partitions` exist.
    pub partitions: i32,
    pub settings: LogSettings,
}

/// What recovery is told.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryInput<'a> {
    pub data_dir: &'a Path,
    pub topics: &'a BTreeMap<TopicId, LiveTopic>,
    /// Random; becomes the lower half of the next incarnation, so that bytes which a client once
    /// sent cannot pass for a journal entry.
    pub salt: u32,
    /// Bound of the producers that one partition remembers.
    pub producers_max: usize,
    /// Shards of this start: journals of others are removed.
    pub shards: u16,
    /// Partitions recovered at a time. Nearly all of the time goes into waiting for flushes.
    pub threads: usize,
}

impl<'a> RecoveryInput<'a> {
    /// The topic of a partition that metadata knows.
    fn live(&self, id: TopicPartition) -> Option<&'a LiveTopic> {
        let topic = self.topics.get(&id.topic)?;
        (0..topic.partitions)
            .contains(&id.partition.0)
            .then_some(topic)
    }

    fn path_of(&self, id: TopicPartition) -> PathBuf {
        let name = self
            .live(id)
            .map_or_else(String::new, |topic| topic.name.clone());
        self.data_dir.join(log_dir_name(&name, id.partition))
    }
}

/// How far recovery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub partitions_done: usize,
    pub partitions: usize,
    pub bytes_scanned: u64,
    pub bytes_replayed: u64,
}

/// What recovery found and made.
#[derive(Debug)]
pub struct Recovered {
    /// The incarnation that every journal of this start writes. Durable.
    pub incarnation: u64,
    pub partitions: BTreeMap<TopicPartition, RecoveredPartition>,
    /// Live partitions that must not be served.
    pub offline: Vec<Offline>,
    /// Partition directories of topics that metadata does not know; untouched.
    pub strays: Vec<PathBuf>,
    /// Whatever was not an ordinary start.
    pub notes: Vec<Note>,
    pub summary: Summary,
}

/// A log, ready to be served.
#[derive(Debug)]
pub struct RecoveredPartition {
    pub directory: PathBuf,
    /// Ascending; the last is active. Never empty.
    pub segments: Vec<RecoveredSegment>,
    pub log_start: Offset,
    /// Offset of the next record; everything below is durable.
    pub next_offset: Offset,
    pub epochs: LeaderEpochs,
    pub producers: Producers,
    /// Indexes of the active segment.
    pub indexes: SegmentIndexes,
}

/// One segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveredSegment {
    pub base_offset: Offset,
    pub size_bytes: u64,
    /// Timestamp `-1` when it has none.
    pub max_timestamp: TimestampOffset,
    /// Max timestamp of its first batch; `None` when empty, or sealed and not read.
    pub first_batch_timestamp: Option<TimestampMs>,
}

/// A partition that cannot be vouched for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offline {
    pub partition: TopicPartition,
    pub directory: PathBuf,
    /// The file that shows it, and where.
    pub path: PathBuf,
    pub position: Option<u64>,
    /// Row of the verdict table.
    pub letter: &'static str,
    pub message: String,
}

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Row of the verdict table; empty when there was nothing to judge.
    pub letter: &'static str,
    pub path: PathBuf,
    pub position: Option<u64>,
    pub text: String,
}

/// Figures for one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub journals: usize,
    pub journal_bytes: u64,
    pub entries: u64,
    pub batches_replayed: u64,
    pub bytes_replayed: u64,
    pub bytes_scanned: u64,
}

/// Why no start is possible. What concerns one partition is [`Offline`] instead.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("cannot {doing} {path}: {error}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error("{path} has format version {version}, made by a newer release")]
    Newer { path: PathBuf, version: i64 },
    #[error("{path} is no journal file: {bytes} bytes")]
    NotAJournal { path: PathBuf, bytes: u64 },
}

/// Turns an error of the disk into one that says what was tried where.
fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoveryError {
    let path = path.to_owned();
    move |error| RecoveryError::Io { doing, path, error }
}

/// Recovers the data directory; see the head of this file for the order and the promise.
pub fn recover(
    disk: &dyn Disk,
    input: &RecoveryInput<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, RecoveryError> {
    disk.create_dir_all(input.data_dir)
        .map_err(at("create", input.data_dir))?;
    let ground = Ground::read(disk, input)?;
    let mut run = Run {
        disk,
        input,
        recovered: Recovered {
            incarnation: next_incarnation(ground.incarnation_max, input.salt),
            partitions: BTreeMap::new(),
            offline: Vec::new(),
            strays: Vec::new(),
            notes: ground.notes.clone(),
            summary: Summary {
                journals: ground.journal_directories,
                journal_bytes: ground.journals.bytes,
                entries: ground.journals.entries,
                ..Summary::default()
            },
        },
        marks: Vec::new(),
    };
    run.partitions(&ground, progress)?;
    run.set_aside(&ground)?;
    run.commit(&ground)?;
    run.remove_vanished()?;
    Ok(run.recovered)
}

/// The upper half counts, the lower half is random.
fn next_incarnation(highest: u64, salt: u32) -> u64 {
    let count = (highest >> 32).saturating_add(1).min(u64::from(u32::MAX));
    (count << 32) | u64::from(salt)
}

/// What the data directory says before anything is changed.
struct Ground {
    listed: Vec<DirEntry>,
    incarnation_max: u64,
    marks: BTreeMap<TopicPartition, PartitionMark>,
    recovery_points: BTreeMap<(String, i32), Offset>,
    log_starts: BTreeMap<(String, i32), Offset>,
    kafka_stopped_cleanly: bool,
    /// Kafka wrote last, as far as can be told.
    of_kafka: bool,
    journals: Journals,
    journal_directories: usize,
    notes: Vec<Note>,
}

impl Ground {
    fn read(disk: &dyn Disk, input: &RecoveryInput<'_>) -> Result<Ground, RecoveryError> {
        let data = input.data_dir;
        let listed = disk.list(data).map_err(at("list", data))?;
        let has = |name: &str| listed.iter().any(|entry| entry.name == name);
        let mut ground = Ground {
            kafka_stopped_cleanly: has(CLEAN_SHUTDOWN),
            of_kafka: false,
            listed: Vec::new(),
            incarnation_max: 0,
            marks: BTreeMap::new(),
            recovery_points: BTreeMap::new(),
            log_starts: BTreeMap::new(),
            journals: Journals::default(),
            journal_directories: 0,
            notes: Vec::new(),
        };
        let own = ground.checkpoint(disk, &data.join(CHECKPOINT))?;
        let incarnation = own.as_ref().map(|own| own.through.incarnation);
        ground.of_kafka = own.is_none() || ground.kafka_stopped_cleanly;
        // Kafka removes its sign when it starts, and so does commit(): if it is here, Kafka ran
        // and stopped since, and knows better than an older checkpoint of ours.
        if own.is_none() || ground.kafka_stopped_cleanly {
            ground.recovery_points = offsets(disk, &data.join(RECOVERY_POINT_CHECKPOINT))?;
            ground.log_starts = offsets(disk, &data.join(LOG_START_CHECKPOINT))?;
        }
        ground.take_marks(own.as_ref());
        let mut directories = Vec::new();
        for entry in &listed {
            let number = journals::journal_directory_number(&entry.name);
            if entry.is_dir && number.is_some() {
                directories.push(ground.journal(disk, &data.join(&entry.name), incarnation)?);
            }
        }
        ground.journal_directories = directories.len();
        let read = |directory: &JournalDirectory| Journals::read(disk, directory);
        for journals in crew::in_parallel(input.threads, &directories, read, |_| {})? {
            ground.journals.join(journals);
        }
        if ground.kafka_stopped_cleanly {
            ground.marks.clear();
        }
        ground.notes.append(&mut ground.journals.notes);
        ground.incarnation_max = ground.incarnation_max.max(ground.journals.incarnation_max);
        ground.listed = listed;
        Ok(ground)
    }

    /// Something of ours tells of the partition, or it may well be Kafka's, which did not always
    /// name topics.
    fn knows(&self, id: TopicPartition) -> bool {
        self.of_kafka
            || self.marks.contains_key(&id)
            || self.journals.batches.contains_key(&id)
            || self.journals.proofs.contains_key(&id)
    }

    /// Reads a checkpoint of ours; a rotten one counts as none, which costs time, not data.
    fn checkpoint(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
    ) -> Result<Option<ShardCheckpoint>, RecoveryError> {
        let bytes = match disk.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", path)(error)),
        };
        match ShardCheckpoint::parse(&bytes) {
            Ok(checkpoint) => {
                self.incarnation_max = self.incarnation_max.max(checkpoint.through.incarnation);
                Ok(Some(checkpoint))
            }
            Err(CheckpointFault::Version(version)) => Err(RecoveryError::Newer {
                path: path.to_owned(),
                version,
            }),
            Err(fault) => {
                self.notes.push(Note {
                    letter: "",
                    path: path.to_owned(),
                    position: None,
                    text: format!("not used, active segments are read from their start: {fault:?}"),
                });
                Ok(None)
            }
        }
    }

    /// The mark that reaches furthest counts, for segments only grow; and the highest log start,
    /// which may have moved without a record written.
    fn take_marks(&mut self, checkpoint: Option<&ShardCheckpoint>) {
        for mark in checkpoint
            .into_iter()
            .flat_map(|checkpoint| &checkpoint.partitions)
        {
            let known = self.marks.entry(mark.id).or_insert(*mark);
            let log_start = known.log_start.max(mark.log_start);
            if (mark.active_base, mark.active_bytes) > (known.active_base, known.active_bytes) {
                *known = *mark;
            }
            known.log_start = log_start;
        }
    }

    /// What is known of a journal before it is read.
    fn journal(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        incarnation: Option<u64>,
    ) -> Result<JournalDirectory, RecoveryError> {
        let checkpoint = self.checkpoint(disk, &path.join(CHECKPOINT))?;
        let checkpoint = checkpoint.filter(|checkpoint| {
            incarnation.is_none_or(|wanted| checkpoint.through.incarnation == wanted)
        });
        self.take_marks(checkpoint.as_ref());
        let through = checkpoint.as_ref().map(|checkpoint| checkpoint.through);
        Ok(JournalDirectory {
            path: path.to_owned(),
            incarnation: incarnation.or(through.map(|through| through.incarnation)),
            checkpointed: through.map_or(0, |through| through.sequence),
            partitions: checkpoint
                .iter()
                .flat_map(|checkpoint| checkpoint.partitions.iter().map(|mark| mark.id))
                .collect(),
        })
    }
}

/// One of Kafka's offset checkpoints. A missing or unreadable one says nothing, as for Kafka.
fn offsets(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<(String, i32), Offset>, RecoveryError> {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(at("read", path)(error)),
    };
    let entries = parse_offsets(&bytes).unwrap_or_default();
    let keyed = entries
        .into_iter()
        .map(|entry| ((entry.topic, entry.partition.0), entry.offset));
    Ok(keyed.collect())
}

/// A recovery under way.
struct Run<'a> {
    disk: &'a dyn Disk,
    input: &'a RecoveryInput<'a>,
    recovered: Recovered,
    marks: Vec<PartitionMark>,
}

impl<'a> Run<'a> {
    /// The partitions to recover: those that have a directory, and those that something of ours tells
    /// of; what must stay offline or is a stray is written down instead.
    fn wanted(&mut self, ground: &Ground) -> Result<Vec<TopicPartition>, RecoveryError> {
        let by_name: BTreeMap<&str, TopicId> = self
            .input
            .topics
            .iter()
            .map(|(id, topic)| (topic.name.as_str(), *id))
            .collect();
        let mut wanted: BTreeSet<TopicPartition> = BTreeSet::new();
        for entry in ground.listed.iter().filter(|entry| entry.is_dir) {
            let dir = match LogDir::parse(&entry.name) {
                Some(dir) if dir.kind == LogDirKind::Live => dir,
                Some(dir) if dir.kind == LogDirKind::Stray => {
                    let path = self.input.data_dir.join(&entry.name);
                    self.recovered.strays.push(path);
                    continue;
                }
                _ => continue,
            };
            let id = by_name.get(dir.topic.as_str()).map(|topic| TopicPartition {
                topic: *topic,
                partition: dir.partition,
            });
            let id = id.filter(|id| self.live(*id).is_some());
            let known = id.is_some_and(|id| ground.knows(id));
            if let Some(id) = self.directory(&dir, id, known)? {
                wanted.insert(id);
            }
        }
        let known = ground
            .journals
            .batches
            .keys()
            .chain(ground.journals.proofs.keys());
        let known = known.chain(ground.marks.keys());
        wanted.extend(known.copied().filter(|id| self.live(*id).is_some()));
        for lost in &ground.journals.lost {
            self.lost_entry(lost);
        }
        Ok(wanted
            .into_iter()
            .filter(|id| !self.is_offline(*id))
            .collect())
    }

    fn partitions(
        &mut self,
        ground: &Ground,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), RecoveryError> {
        let wanted = self.wanted(ground)?;
        let mut done = Progress {
            partitions_done: 0,
            partitions: wanted.len(),
            bytes_scanned: 0,
            bytes_replayed: 0,
        };
        let (disk, input) = (self.disk, self.input);
        let outcomes = crew::in_parallel(
            input.threads,
            &wanted,
            |id| one::recover(disk, input, ground, *id),
            |outcome| {
                done.partitions_done = done.partitions_done.saturating_add(1);
                if let Outcome::Whole(whole) = outcome {
                    done.bytes_scanned = done.bytes_scanned.saturating_add(whole.bytes_scanned);
                    done.bytes_replayed = done.bytes_replayed.saturating_add(whole.bytes_replayed);
                }
                progress(done);
            },
        )?;
        for outcome in outcomes {
            match outcome {
                Outcome::Whole(whole) => self.take(*whole),
                Outcome::Offline(offline) => self.recovered.offline.push(*offline),
                Outcome::NotLive => {}
            }
        }
        Ok(())
    }

    fn live(&self, id: TopicPartition) -> Option<&'a LiveTopic> {
        self.input.live(id)
    }

    fn is_offline(&self, id: TopicPartition) -> bool {
        self.recovered
            .offline
            .iter()
            .any(|offline| offline.partition == id)
    }

    fn path_of(&self, id: TopicPartition) -> PathBuf {
        self.input.path_of(id)
    }

    /// Judges a directory that has a partition's name; its partition, when it is to be recovered.
    fn directory(
        &mut self,
        dir: &LogDir,
        id: Option<TopicPartition>,
        known: bool,
    ) -> Result<Option<TopicPartition>, RecoveryError> {
        let path = self
            .input
            .data_dir
            .join(log_dir_name(&dir.topic, dir.partition));
        let files = self.disk.list(&path).map_err(at("list", &path))?;
        let whose = self.whose(&path, id)?;
        let swap = |name: &str| {
            SegmentName::parse(name).is_some_and(|file| file.stage == SegmentFileStage::Swap)
        };
        let judged = verdict::directory(DirectoryFacts {
            name_live: id.is_some(),
            id: whose,
            swap_files: files.iter().any(|file| swap(&file.name)),
            quarantined: files.iter().any(|file| file.name == QUARANTINE),
            foreign: !known && files.iter().any(|file| is_segment(&file.name)),
        });
        let offline = |message: String, path: PathBuf| {
            id.map(|partition| Offline {
                partition,
                directory: self.path_of(partition),
                path,
                position: None,
                letter: judged.letter,
                message,
            })
        };
        match judged.verdict {
            DirectoryVerdict::Recover => return Ok(id),
            DirectoryVerdict::Adopt => {
                if let Some(id) = id {
                    one::name_topic(self.disk, &path, id.topic)?;
                }
                return Ok(id);
            }
            DirectoryVerdict::LeaveStray => {
                let name = log_dir_name(&dir.topic, dir.partition);
                if journals::journal_directory_number(&name).is_none() {
                    self.recovered.strays.push(path);
                }
            }
            DirectoryVerdict::SetAsideStray => self.set_aside_stray(dir, &path)?,
            DirectoryVerdict::Refuse => {
                let story = verdict::story(judged.letter).unwrap_or_default();
                let offline = offline(story.to_owned(), path);
                self.recovered.offline.extend(offline);
            }
            DirectoryVerdict::StayOffline => {
                let path = path.join(QUARANTINE);
                let text = self.disk.read(&path).map_err(at("read", &path))?;
                let offline = offline(String::from_utf8_lossy(&text).into_owned(), path);
                self.recovered.offline.extend(offline);
            }
        }
        Ok(None)
    }

    fn whose(&self, path: &Path, id: Option<TopicPartition>) -> Result<DirectoryId, RecoveryError> {
        let file = path.join(PARTITION_METADATA);
        let bytes = match self.disk.read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DirectoryId::None),
            Err(error) => return Err(at("read", &file)(error)),
        };
        Ok(match parse_partition_metadata(&bytes) {
            Ok(found) if id.is_some_and(|id| id.topic == found) => DirectoryId::Same,
            Ok(_) => DirectoryId::Other,
            Err(_) => DirectoryId::Unknown,
        })
    }

    /// Gives a directory that is not the live topic's the name of a stray one (Kafka's
    /// `UnifiedLog.logStrayDirName`).
    fn set_aside_stray(&mut self, dir: &LogDir, path: &Path) -> Result<(), RecoveryError> {
        let mut unique = [0u8; 16];
        for (to, from) in unique
            .iter_mut()
            .zip(self.recovered.incarnation.to_be_bytes())
        {
            *to = from;
        }
        let name = marked_dir_name(&dir.topic, dir.partition, unique, LogDirKind::Stray);
        let to = self.input.data_dir.join(name);
        self.disk.rename(path, &to).map_err(at("rename", path))?;
        self.disk
            .sync_dir(self.input.data_dir)
            .map_err(at("sync", self.input.data_dir))?;
        self.recovered.strays.push(to);
        Ok(())
    }

    /// Nothing tells whose records a lost journal entry held: all that its journal served go.
    fn lost_entry(&mut self, lost: &journals::LostEntry) {
        for id in lost.partitions.iter().copied() {
            if self.live(id).is_some() && !self.is_offline(id) {
                self.recovered.offline.push(Offline {
                    partition: id,
                    directory: self.path_of(id),
                    path: lost.directory.clone(),
                    position: None,
                    letter: lost.letter,
                    message: lost.message.clone(),
                });
            }
        }
    }

    fn take(&mut self, whole: Whole) {
        let summary = &mut self.recovered.summary;
        summary.batches_replayed = summary
            .batches_replayed
            .saturating_add(whole.batches_replayed);
        summary.bytes_replayed = summary.bytes_replayed.saturating_add(whole.bytes_replayed);
        summary.bytes_scanned = summary.bytes_scanned.saturating_add(whole.bytes_scanned);
        self.recovered.notes.extend(whole.notes);
        self.marks.push(whole.mark);
        self.recovered
            .partitions
            .insert(whole.mark.id, whole.partition);
    }

    /// Writes down what is offline, so that the next start knows it too, and moves journals that
    /// hold something of it out of the way of the shards.
    fn set_aside(&mut self, ground: &Ground) -> Result<(), RecoveryError> {
        let mut journals: BTreeSet<PathBuf> = BTreeSet::new();
        for lost in &ground.journals.lost {
            journals.insert(lost.directory.clone());
        }
        for offline in &self.recovered.offline {
            let holders = ground.journals.holders.get(&offline.partition);
            journals.extend(holders.into_iter().flatten().cloned());
            let path = offline.directory.join(QUARANTINE);
            if offline.path == path {
                continue;
            }
            self.disk
                .create_dir_all(&offline.directory)
                .map_err(at("create", &offline.directory))?;
            let text = quarantine_text(offline);
            self.disk
                .write_atomic(&path, text.as_bytes())
                .map_err(at("write", &path))?;
        }
        for journal in journals {
            let mut name = journal.clone().into_os_string();
            name.push(format!(".quarantine.{:016x}", self.recovered.incarnation));
            let to = PathBuf::from(name);
            self.disk
                .rename(&journal, &to)
                .map_err(at("rename", &journal))?;
            self.recovered.notes.push(Note {
                letter: "",
                path: to,
                position: None,
                text: "journal set aside: it holds records of partitions that are offline"
                    .to_owned(),
            });
        }
        let data = self.input.data_dir;
        self.disk.sync_dir(data).map_err(at("sync", data))
    }

    /// The one atomic step: from here on the old journals mean nothing.
    fn commit(&mut self, ground: &Ground) -> Result<(), RecoveryError> {
        let path = self.input.data_dir.join(CHECKPOINT);
        let checkpoint = ShardCheckpoint {
            shard: NO_SHARD,
            through: JournalMark {
                incarnation: self.recovered.incarnation,
                sequence: 0,
            },
            partitions: std::mem::take(&mut self.marks),
        };
        self.disk
            .write_atomic(&path, &checkpoint.encode())
            .map_err(at("write", &path))?;
        if ground.kafka_stopped_cleanly {
            let sign = self.input.data_dir.join(CLEAN_SHUTDOWN);
            self.disk.remove_file(&sign).map_err(at("remove", &sign))?;
            self.disk
                .sync_dir(self.input.data_dir)
                .map_err(at("sync", self.input.data_dir))?;
        }
        Ok(())
    }

    /// Removes the journals of shards that are no more, which `commit` has emptied. The other name
    /// comes first: a start after a death in the middle must not read half a journal.
    fn remove_vanished(&self) -> Result<(), RecoveryError> {
        let data = self.input.data_dir;
        let listed = self.disk.list(data).map_err(at("list", data))?;
        let vanished = |name: &str| {
            let number = journals::journal_directory_number(name);
            number.is_some_and(|number| number >= u32::from(self.input.shards))
        };
        let (mut gone, mut begun) = (Vec::new(), Vec::new());
        for entry in listed.into_iter().filter(|entry| entry.is_dir) {
            if vanished(&entry.name) {
                gone.push(entry.name);
            } else if journals::removed_directory_number(&entry.name).is_some() {
                begun.push(data.join(entry.name));
            }
        }
        if gone.is_empty() && begun.is_empty() {
            return Ok(());
        }
        let remove = |directory: &PathBuf| {
            let removed = self.disk.remove_dir_all(directory);
            removed.map_err(at("remove", directory))
        };
        begun.iter().try_for_each(remove)?;
        let mut renamed = Vec::new();
        for name in gone {
            let (from, to) = (
                data.join(&name),
                data.join(journals::removed_directory_name(&name)),
            );
            self.disk.rename(&from, &to).map_err(at("rename", &from))?;
            renamed.push(to);
        }
        self.disk.sync_dir(data).map_err(at("sync", data))?;
        renamed.iter().try_for_each(remove)?;
        self.disk.sync_dir(data).map_err(at("sync", data))
    }
}

fn is_segment(name: &str) -> bool {
    SegmentName::parse(name).is_some_and(|file| file.kind == SegmentFileKind::Log)
}

/// What an operator reads in the partition's directory.
fn quarantine_text(offline: &Offline) -> String {
    let position = offline
        .position
        .map_or_else(String::new, |at| format!(" at byte {at}"));
    format!(
        "This partition is offline. Row {} of the recovery table.\n{}{position}\n{}\n\n\
         Nothing here was changed. To accept that records from this place on are lost, stop the\n\
         broker, remove this file and start again: the log is then cut at the damage.\n",
        offline.letter,
        offline.path.display(),
        offline.message,
    )
}

#[cfg(test)]
mod tests;
