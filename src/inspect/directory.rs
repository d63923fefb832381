//! What a data directory holds by its names and small files: partitions, journals, metadata.
//!
//! Reads no segment. Works beside a running broker: a file that is gone between listing and opening
//! is left out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::bytes::DiskFile;
use super::journal::{Block, Entry, Stamp, Walk};
use super::metadata::Metadata;
use super::names::{self, Kind};
use super::papers::{self, Checkpoint, Id};
use super::{Findings, metadata};
use crate::words::TopicId;

/// A partition's directory.
#[derive(Clone, Debug)]
pub struct Partition {
    pub path: PathBuf,
    pub topic: String,
    pub number: i32,
    /// What `partition.metadata` says.
    pub id: Option<TopicId>,
    /// Why it is offline, when a recovery left it so.
    pub quarantine: Option<String>,
    /// Lengths of the segments' files.
    pub files: BTreeMap<(Kind, i64), u64>,
}

impl Partition {
    pub fn path_of(&self, kind: Kind, base: i64) -> PathBuf {
        self.path.join(names::segment_file_name(base, kind))
    }

    /// Base offsets and lengths of the segments, ascending.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = (i64, u64)> + '_ {
        let logs = self
            .files
            .range((Kind::Log, i64::MIN)..=(Kind::Log, i64::MAX));
        logs.map(|((_, base), len)| (*base, *len))
    }

    pub fn bytes(&self) -> u64 {
        self.segments().map(|(_, len)| len).sum()
    }
}

/// One file of a journal.
#[derive(Clone, Debug)]
pub struct JournalFile {
    pub path: PathBuf,
    pub len: u64,
    pub entries: Vec<Entry>,
    /// Beginnings of entries that are none.
    pub broken: Vec<(u64, Stamp, &'static str)>,
    /// The first block holds something that is no entry.
    pub headless: bool,
}

/// A directory `journal.<k>`.
#[derive(Clone, Debug)]
pub struct Journal {
    pub path: PathBuf,
    pub number: u32,
    pub checkpoint: Option<Checkpoint>,
    pub files: Vec<JournalFile>,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Directory {
    pub path: PathBuf,
    /// The broker that has it locked.
    pub in_use_by: Option<u32>,
    /// Ottla's; else it is taken for Apache Kafka's.
    pub is_ottla: bool,
    /// Cluster and machine of `meta.properties`.
    pub owner: Option<(String, i32)>,
    pub checkpoint: Option<Checkpoint>,
    pub metadata: Option<Metadata>,
    pub partitions: Vec<Partition>,
    pub journals: Vec<Journal>,
    /// Directories of deleted topics, journals set aside and the like.
    pub aside: Vec<PathBuf>,
    /// Whoever wrote here last stopped in order.
    pub is_closed: bool,
    pub findings: Findings,
}

/// Kafka's checkpoints of a log directory.
const KAFKA_CHECKPOINTS: [&str; 4] = [
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "cleaner-offset-checkpoint",
];

impl Directory {
    /// Reads names, small files and journals. `metadata` is where `metadata.log` is, when it is
    /// not here.
    ///
    /// # Errors
    /// When the directory itself cannot be listed.
    pub fn read(path: &Path, metadata: Option<&Path>) -> io::Result<Directory> {
        let mut directory = Directory {
            path: path.to_owned(),
            in_use_by: locked_by(&path.join(".lock")),
            is_ottla: false,
            owner: None,
            checkpoint: None,
            metadata: None,
            partitions: Vec::new(),
            journals: Vec::new(),
            aside: Vec::new(),
            is_closed: false,
            findings: Findings::default(),
        };
        let entries = listed(path)?;
        // What vouches is read before what it vouches for: a running broker only adds to both.
        directory.read_owner(path);
        directory.checkpoint = directory.read_checkpoint(&path.join("checkpoint"));
        directory.read_metadata(metadata.unwrap_or(path));
        for (name, is_dir) in &entries {
            let here = path.join(name);
            if !is_dir {
                directory.read_kafka_checkpoint(name, &here);
            } else if let Some(number) = names::journal_dir(name) {
                let journal = directory.read_journal(here, number);
                directory.journals.push(journal);
            } else if names::is_set_aside(name) || name.starts_with("journal.") {
                directory.aside.push(here);
            }
        }
        let dirs = entries.iter().filter(|(_, is_dir)| *is_dir);
        for (name, _) in dirs.filter(|(name, _)| !names::is_set_aside(name)) {
            if let Some((topic, number)) = names::partition_dir(name) {
                let (here, topic) = (path.join(name), topic.to_owned());
                let partition = directory.read_partition(here, topic, number);
                directory.partitions.extend(partition);
            }
        }
        directory.is_ottla = directory.metadata.is_some()
            || directory.checkpoint.is_some()
            || !directory.journals.is_empty();
        directory
            .partitions
            .sort_by(|a, b| (&a.topic, a.number).cmp(&(&b.topic, b.number)));
        directory.journals.sort_by_key(|journal| journal.number);
        directory.is_closed = directory.in_use_by.is_none()
            && match directory.is_ottla {
                true => directory.journals.iter().all(|j| directory.is_drained(j)),
                false => {
                    let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
                    has(".kafka_cleanshutdown") || !has("meta.properties")
                }
            };
        Ok(directory)
    }

    /// The start of the broker whose entries count.
    pub fn incarnation(&self) -> Option<u64> {
        let own = self.checkpoint.as_ref().map(|own| own.incarnation);
        own.or_else(|| {
            let files = self.journals.iter().flat_map(|journal| &journal.files);
            let entries = files.flat_map(|file| &file.entries);
            entries.map(|entry| entry.stamp.incarnation).max()
        })
    }

    /// The sequence up to which a journal's own checkpoint vouches.
    pub fn checkpointed(&self, journal: &Journal) -> u64 {
        let counts = |own: &&Checkpoint| Some(own.incarnation) == self.incarnation();
        let own = journal.checkpoint.as_ref().filter(counts);
        own.map_or(0, |own| own.sequence)
    }

    fn is_drained(&self, journal: &Journal) -> bool {
        let entries = journal.files.iter().flat_map(|file| &file.entries);
        let mine = entries.filter(|entry| Some(entry.stamp.incarnation) == self.incarnation());
        let last = mine.map(|entry| entry.stamp.sequence).max();
        last.is_none_or(|last| last <= self.checkpointed(journal))
    }

    /// Topic and partition as entries and checkpoints name them.
    pub fn id_of(&self, partition: &Partition) -> Option<Id> {
        partition.id.map(|topic| (topic, partition.number))
    }

    /// A small file; `None` when it is not there or cannot be read, which is noted.
    pub fn small(&mut self, path: &Path) -> Option<Vec<u8>> {
        small(path, &mut self.findings)
    }

    fn read_owner(&mut self, path: &Path) {
        let path = path.join("meta.properties");
        let Some(bytes) = self.small(&path) else {
            return;
        };
        self.owner = names::meta_properties(&bytes);
        if self.owner.is_none() {
            let what = "no version 1, cluster.id and node.id in it";
            self.findings.rotten(&path, 0, what);
        }
    }

    fn read_checkpoint(&mut self, path: &Path) -> Option<Checkpoint> {
        let bytes = self.small(path)?;
        match papers::checkpoint(&bytes) {
            Ok(checkpoint) => Some(checkpoint),
            Err(fault) => {
                self.findings.rotten(path, fault.at, fault.what);
                None
            }
        }
    }

    fn read_metadata(&mut self, path: &Path) {
        let path = path.join("metadata.log");
        let Some(bytes) = self.small(&path) else {
            return;
        };
        let metadata = metadata::read(&bytes);
        let living = self.in_use_by.is_some();
        for fault in &metadata.faults {
            match fault.torn {
                true => self.findings.torn(&path, fault.at, !living, &fault.what),
                false => self.findings.rotten(&path, fault.at, &fault.what),
            }
        }
        self.metadata = Some(metadata);
    }

    fn read_kafka_checkpoint(&mut self, name: &str, path: &Path) {
        if !KAFKA_CHECKPOINTS.contains(&name) {
            return;
        }
        if let Some(Err(fault)) = self.small(path).map(|bytes| papers::offsets(&bytes)) {
            self.findings.rotten(path, fault.at, fault.what);
        }
    }

    fn read_partition(&mut self, path: PathBuf, topic: String, number: i32) -> Option<Partition> {
        let entries = match listed(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.findings.unreadable(&path, None, &error);
                return None;
            }
        };
        let mut files = BTreeMap::new();
        for (name, is_dir) in &entries {
            if let Some((base, kind)) = names::segment_file(name).filter(|_| !is_dir)
                && let Ok(facts) = std::fs::metadata(path.join(name))
            {
                files.insert((kind, base), facts.len());
            }
        }
        let own = path.join("partition.metadata");
        let bytes = self.small(&own);
        let id = bytes.as_deref().and_then(names::partition_metadata);
        if bytes.is_some() && id.is_none() {
            self.findings
                .rotten(&own, 0, "no version 0 and topic_id in it");
        }
        let quarantine = self.small(&path.join("quarantine"));
        Some(Partition {
            quarantine: quarantine.map(|text| String::from_utf8_lossy(&text).into_owned()),
            path,
            topic,
            number,
            id,
            files,
        })
    }

    fn read_journal(&mut self, path: PathBuf, number: u32) -> Journal {
        let checkpoint = self.read_checkpoint(&path.join("checkpoint"));
        let (files, mut findings) = journal_files(&path);
        for finding in findings.list.drain(..) {
            self.findings.add(finding);
        }
        Journal {
            path,
            number,
            checkpoint,
            files,
        }
    }
}

/// The files of a journal by their numbers.
pub fn journal_files(path: &Path) -> (Vec<JournalFile>, Findings) {
    let mut findings = Findings::default();
    let entries = listed(path).unwrap_or_else(|error| {
        findings.unreadable(path, None, &error);
        Vec::new()
    });
    let numbered = entries
        .iter()
        .filter(|(_, is_dir)| !is_dir)
        .filter_map(|(name, _)| Some((names::journal_file(name)?, name)));
    let ordered: BTreeMap<u32, &String> = numbered.collect();
    let files = ordered
        .values()
        .filter_map(|name| journal_file(path.join(name), &mut findings))
        .collect();
    (files, findings)
}

fn journal_file(path: PathBuf, findings: &mut Findings) -> Option<JournalFile> {
    let source = match DiskFile::open(&path) {
        Ok(source) => source,
        Err(error) => {
            findings.unreadable(&path, None, &error);
            return None;
        }
    };
    let mut file = JournalFile {
        len: super::bytes::Source::size(&source),
        path,
        entries: Vec::new(),
        broken: Vec::new(),
        headless: false,
    };
    let mut walk = Walk::new(&source);
    loop {
        match walk.step() {
            Ok(None) => return Some(file),
            Ok(Some((_, Block::Zero))) => {}
            Ok(Some((_, Block::Entry(entry)))) => file.entries.push(*entry),
            Ok(Some((at, Block::Broken { stamp, why }))) => file.broken.push((at, stamp, why)),
            Ok(Some((at, Block::Remains))) => file.headless |= at == 0,
            Err(error) => {
                findings.unreadable(&file.path, Some(walk.position()), &error);
                return Some(file);
            }
        }
    }
}

/// Names, and whether each is a directory; in order.
fn listed(path: &Path) -> io::Result<Vec<(String, bool)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        entries.push((entry.file_name().to_string_lossy().into_owned(), is_dir));
    }
    entries.sort();
    Ok(entries)
}

pub(super) fn small(path: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    match DiskFile::read_small(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            findings.unreadable(path, None, &error);
            None
        }
    }
}

/// The process that holds a lock on the file, as the kernel tells it; taking the lock to find out
/// could stop a broker from starting.
fn locked_by(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let facts = std::fs::metadata(path).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let wanted = format!(":{}", facts.ino());
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
    let holder = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let place = words.iter().position(|word| *word == "FLOCK")?;
        let (pid, inode) = (
            words.get(place.checked_add(3)?)?,
            words.get(place.checked_add(4)?)?,
        );
        inode.ends_with(&wanted).then_some(*pid)
    })?;
    // A broker in another process namespace has no number here.
    Some(holder.parse().unwrap_or(0))
}
