//! Names of the files and directories of a log, and the two small property files that say whose
//! they are: `partition.metadata` and `meta.properties` (Kafka `LogFileUtils`, `LocalLog`,
//! `PartitionMetadataFile`, `MetaProperties`).
//!
//! Text in, text out: never looks at a disk. What is read from a directory is hostile: a name that
//! does not parse is somebody else's file, to be left alone.

use crate::words::limits::TOPIC_NAME_BYTES_MAX;
use crate::words::{NodeId, Offset, PartitionIndex, TopicId};

pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";
/// What a shard knows of its filled partitions, in its journal directory.
pub const SHARD_CHECKPOINT: &str = "checkpoint";
pub const META_PROPERTIES: &str = "meta.properties";
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Kafka's sign of a clean shutdown, in the log directory.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Longest name of a file or directory that file systems take.
const FILE_NAME_BYTES_MAX: usize = 255;
const BASE_OFFSET_DIGITS: usize = 20;

/// What a file of a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentFileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl SegmentFileKind {
    pub const ALL: [SegmentFileKind; 5] = [
        SegmentFileKind::Log,
        SegmentFileKind::OffsetIndex,
        SegmentFileKind::TimeIndex,
        SegmentFileKind::TransactionIndex,
        SegmentFileKind::ProducerSnapshot,
    ];

    pub fn suffix(self) -> &'static str {
        match self {
            SegmentFileKind::Log => ".log",
            SegmentFileKind::OffsetIndex => ".index",
            SegmentFileKind::TimeIndex => ".timeindex",
            SegmentFileKind::TransactionIndex => ".txnindex",
            SegmentFileKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// Whether a segment file is in use, by the suffix after its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentFileStage {
    Live,
    /// `.deleted`: waits for its removal.
    Deleted,
    /// `.cleaned`: compaction was writing it; worthless.
    Cleaned,
    /// `.swap`: compaction finished it; to take the place of the live one.
    Swap,
}

impl SegmentFileStage {
    pub fn suffix(self) -> &'static str {
        match self {
            SegmentFileStage::Live => "",
            SegmentFileStage::Deleted => ".deleted",
            SegmentFileStage::Cleaned => ".cleaned",
            SegmentFileStage::Swap => ".swap",
        }
    }
}

/// A file of a segment (of a snapshot: the offset up to which it tells).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    pub base_offset: Offset,
    pub kind: SegmentFileKind,
    pub stage: SegmentFileStage,
}

/// Name of a live file: the base offset in 20 digits and the kind's suffix.
pub fn segment_file_name(base_offset: Offset, kind: SegmentFileKind) -> String {
    format!("{:020}{}", base_offset.0.max(0), kind.suffix())
}

impl SegmentFile {
    pub fn name(&self) -> String {
        segment_file_name(self.base_offset, self.kind) + self.stage.suffix()
    }

    /// `None`: not a file of a segment.
    pub fn parse(name: &str) -> Option<SegmentFile> {
        use SegmentFileStage::{Cleaned, Deleted, Live, Swap};
        let marked = [Deleted, Cleaned, Swap]
            .iter()
            .find_map(|stage| Some((name.strip_suffix(stage.suffix())?, *stage)));
        let (name, stage) = marked.unwrap_or((name, Live));
        let (digits, kind) = SegmentFileKind::ALL
            .iter()
            .find_map(|kind| Some((name.strip_suffix(kind.suffix())?, *kind)))?;
        if digits.len() != BASE_OFFSET_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(SegmentFile {
            base_offset: Offset(digits.parse().ok()?),
            kind,
            stage,
        })
    }
}

/// `journal.<shard>`: no topic's partition can have that name.
pub fn journal_dir_name(shard: crate::words::ShardId) -> String {
    format!("journal.{shard}")
}

/// `<n>.journal`.
pub fn journal_file_name(number: u32) -> String {
    format!("{number}.journal")
}

/// What a directory below the log directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogDirKind {
    Live,
    /// `.<uuid>-delete`: a deleted partition that waits for its removal.
    Delete,
    /// `.<uuid>-future`: a copy on its way from another log directory.
    Future,
    /// `.<uuid>-stray`: a partition that does not belong to this broker any more.
    Stray,
}

impl LogDirKind {
    fn suffix(self) -> &'static str {
        match self {
            LogDirKind::Live => "",
            LogDirKind::Delete => "-delete",
            LogDirKind::Future => "-future",
            LogDirKind::Stray => "-stray",
        }
    }
}

/// A partition's directory. A long topic name is cut in all but live directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDir {
    pub topic: String,
    pub partition: PartitionIndex,
    pub kind: LogDirKind,
}

/// `<topic>-<partition>`.
pub fn log_dir_name(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// Name under which a directory leaves its live name: `<topic>-<partition>.<unique>-delete` and
/// the like, the topic cut so that the name is at most 255 bytes. `unique` is random.
pub fn marked_dir_name(
    topic: &str,
    partition: PartitionIndex,
    unique: [u8; 16],
    kind: LogDirKind,
) -> String {
    let unique = u128::from_be_bytes(unique);
    let tail = format!("-{partition}.{unique:032x}{}", kind.suffix());
    let room = FILE_NAME_BYTES_MAX.saturating_sub(tail.len());
    // Topic names are ASCII; of anything else the cut keeps whole characters.
    let cut = (0..=room.min(topic.len()))
        .rev()
        .find_map(|at| topic.get(..at));
    format!("{}{tail}", cut.unwrap_or(""))
}

impl LogDir {
    /// Parses from the right, because topic names may hold dashes and dots. `None`: not the
    /// directory of a partition.
    pub fn parse(name: &str) -> Option<LogDir> {
        use LogDirKind::{Delete, Future, Live, Stray};
        let marked = [Delete, Future, Stray].iter().find_map(|kind| {
            let (rest, unique) = name.strip_suffix(kind.suffix())?.rsplit_once('.')?;
            let hex = unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then_some((rest, *kind))
        });
        let (name, kind) = marked.unwrap_or((name, Live));
        let (topic, partition) = name.rsplit_once('-')?;
        let canonical = partition.bytes().all(|b| b.is_ascii_digit())
            && (partition == "0" || !partition.starts_with('0'));
        if !canonical || !is_topic_name(topic) {
            return None;
        }
        Some(LogDir {
            topic: topic.to_owned(),
            partition: PartitionIndex(partition.parse().ok()?),
            kind,
        })
    }
}

/// Whether `name` is one that Kafka gives a topic, and so is safe as a part of a path.
fn is_topic_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let length = 1..=TOPIC_NAME_BYTES_MAX;
    length.contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

/// Reads Kafka's text form of a UUID: 22 digits of URL-safe base64, no padding.
pub fn parse_topic_id(text: &str) -> Option<TopicId> {
    let mut bits: u128 = 0;
    if text.len() != 22 {
        return None;
    }
    for (at, byte) in text.bytes().enumerate() {
        let six = u128::from(match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        });
        // 21 digits carry 126 bits; of the last one the two upper bits count.
        bits = if at < 21 {
            (bits << 6) | six
        } else {
            (bits << 2) | (six >> 4)
        };
    }
    let id = TopicId(bits.to_be_bytes());
    (id.to_string() == text).then_some(id)
}

/// Why a property file says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PropertiesFault {
    NotText,
    /// Line `n` (from 1) is not of the form that the file has.
    Line(usize),
    Version(i64),
    /// A key that has to be there is not, or its value is none.
    Key(&'static str),
}

/// Content of `partition.metadata`.
pub fn encode_partition_metadata(topic: TopicId) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic}").into_bytes()
}

/// Reads `partition.metadata`; an id of zero is none, as for Kafka.
pub fn parse_partition_metadata(bytes: &[u8]) -> Result<TopicId, PropertiesFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| PropertiesFault::NotText)?;
    let mut lines = text.lines();
    let mut value = |line: usize, key: &'static str| {
        let (found, value) = lines
            .next()
            .and_then(|line| line.split_once(':'))
            .ok_or(PropertiesFault::Line(line))?;
        if found.trim() != key {
            return Err(PropertiesFault::Key(key));
        }
        Ok(value.trim())
    };
    let version = value(1, "version")?;
    let version: i64 = version.parse().map_err(|_| PropertiesFault::Line(1))?;
    if version != 0 {
        return Err(PropertiesFault::Version(version));
    }
    parse_topic_id(value(2, "topic_id")?)
        .filter(|id| !id.is_zero())
        .ok_or(PropertiesFault::Key("topic_id"))
}

/// Content of `meta.properties`, version 1: whose log directory this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Identity of the directory; a UUID as topic ids are. Kafka before 3.7 wrote none.
    pub directory_id: Option<TopicId>,
}

impl MetaProperties {
    /// The file's content: Java properties, one a line, without Java's comment lines.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("node.id={}\n", self.node_id);
        if let Some(directory) = self.directory_id {
            text.push_str(&format!("directory.id={directory}\n"));
        }
        text.push_str(&format!(
            "version=1\ncluster.id={}\n",
            escape(&self.cluster_id)
        ));
        text.into_bytes()
    }

    /// Reads version 1. Keys that are not known are passed over; the last of a double one counts.
    pub fn parse(bytes: &[u8]) -> Result<MetaProperties, PropertiesFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| PropertiesFault::NotText)?;
        let (mut version, mut cluster, mut node, mut directory) = (None, None, None, None);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or(PropertiesFault::Line(index.saturating_add(1)))?;
            let value = value.trim();
            match key.trim() {
                "version" => version = Some(value),
                "cluster.id" => cluster = Some(unescape(value)),
                "node.id" => node = Some(value),
                "directory.id" => directory = Some(value),
                _ => {}
            }
        }
        let version = version.and_then(|v| v.parse::<i64>().ok());
        let version = version.ok_or(PropertiesFault::Key("version"))?;
        if version != 1 {
            return Err(PropertiesFault::Version(version));
        }
        let node: Option<i32> = node.and_then(|n| n.parse().ok()).filter(|n| *n >= 0);
        let directory_id = match directory {
            None => None,
            Some(text) => {
                let id = parse_topic_id(text);
                Some(id.ok_or(PropertiesFault::Key("directory.id"))?)
            }
        };
        Ok(MetaProperties {
            cluster_id: cluster
                .filter(|id| !id.is_empty())
                .ok_or(PropertiesFault::Key("cluster.id"))?,
            node_id: NodeId(node.ok_or(PropertiesFault::Key("node.id"))?),
            directory_id,
        })
    }
}

/// Java's properties put a backslash before these.
fn escape(value: &str) -> String {
    let mut out = String::new();
    for char in value.chars() {
        if matches!(char, '\\' | ':' | '=' | '#' | '!') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut escaped = false;
    for char in value.chars() {
        if char == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(char);
            escaped = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segment_files_are_named_as_kafka_names_them() {
        let log = segment_file_name(Offset(7), SegmentFileKind::Log);
        assert_eq!(log, "00000000000000000007.log");
        let longest = segment_file_name(Offset(i64::MAX), SegmentFileKind::TransactionIndex);
        assert_eq!(longest, "09223372036854775807.txnindex");
        for stage in ["", ".deleted", ".cleaned", ".swap"] {
            for suffix in [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] {
                let name = format!("00000000000000000042{suffix}{stage}");
                let file = SegmentFile::parse(&name).unwrap();
                assert_eq!(file.base_offset, Offset(42));
                assert_eq!(file.name(), name);
            }
        }
    }

    #[test]
    fn what_is_no_segment_file_is_left_alone() {
        for name in [
            "",
            ".log",
            "7.log",
            "0000000000000000000a.log",
            "+0000000000000000007.log",
            "09223372036854775808.log",
            "000000000000000000007.log",
            "00000000000000000007",
            "00000000000000000007.logs",
            "00000000000000000007.log.swap.deleted",
            "leader-epoch-checkpoint",
            "00000000000000000007-checkpoint.deleted",
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
    }

    #[test]
    fn directories_are_parsed_from_the_right() {
        let uuid = "0123456789abcdef0123456789abcdef";
        let cases = [
            ("a-0".to_owned(), "a", 0, LogDirKind::Live),
            ("a-b-12".to_owned(), "a-b", 12, LogDirKind::Live),
            ("a-1-delete-3".to_owned(), "a-1-delete", 3, LogDirKind::Live),
            (
                "a.b-2147483647".to_owned(),
                "a.b",
                i32::MAX,
                LogDirKind::Live,
            ),
            (format!("a.b-7.{uuid}-delete"), "a.b", 7, LogDirKind::Delete),
            (format!("a-7.{uuid}-future"), "a", 7, LogDirKind::Future),
            (format!("a-7.{uuid}-stray"), "a", 7, LogDirKind::Stray),
        ];
        for (name, topic, partition, kind) in cases {
            let expected = LogDir {
                topic: topic.to_owned(),
                partition: PartitionIndex(partition),
                kind,
            };
            assert_eq!(LogDir::parse(&name), Some(expected), "{name}");
        }
        for name in [
            "",
            "a",
            "-0",
            "a-",
            "a-00",
            "a-x",
            "a--1-",
            "a-2147483648",
            "..-0",
            ".-0",
            "a/b-0",
            "a b-0",
            "journal.",
            "a-7.123-delete",
            "lost+found",
        ] {
            assert_eq!(LogDir::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_marked_directory_has_a_name_that_file_systems_take() {
        let topic = "t".repeat(249);
        let name = marked_dir_name(&topic, PartitionIndex(1234), [0xab; 16], LogDirKind::Delete);
        assert_eq!(name.len(), 255);
        let dir = LogDir::parse(&name).unwrap();
        assert_eq!((dir.partition.0, dir.kind), (1234, LogDirKind::Delete));
        assert!(topic.starts_with(&dir.topic));
        assert_eq!(log_dir_name("a-b", PartitionIndex(3)), "a-b-3");
    }

    #[test]
    fn partition_metadata_is_kafkas() {
        let id = parse_topic_id("YA9P2ObbQmyPzm6X5GREvA").unwrap();
        let text = b"version: 0\ntopic_id: YA9P2ObbQmyPzm6X5GREvA";
        assert_eq!(encode_partition_metadata(id), text);
        assert_eq!(parse_partition_metadata(text), Ok(id));
        for (bad, fault) in [
            ("", PropertiesFault::Line(1)),
            (
                "version: 1\ntopic_id: YA9P2ObbQmyPzm6X5GREvA",
                PropertiesFault::Version(1),
            ),
            ("version: 0\n", PropertiesFault::Line(2)),
            ("version: 0\ntopic: x", PropertiesFault::Key("topic_id")),
            (
                "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
                PropertiesFault::Key("topic_id"),
            ),
            (
                "version: 0\ntopic_id: YA9P2ObbQmyPzm6X5GREvA==",
                PropertiesFault::Key("topic_id"),
            ),
        ] {
            assert_eq!(
                parse_partition_metadata(bad.as_bytes()),
                Err(fault),
                "{bad}"
            );
        }
    }

    #[test]
    fn meta_properties_that_kafka_wrote_are_read() {
        let text = b"#\n#Sat Nov 21 07:08:36 UTC 2026\nnode.id=1\n\
            directory.id=AOnAFIT1pwiUX6MDFKJ7kg\nversion=1\ncluster.id=pwrvNpYyYWB1FAIapn3DBg\n";
        let meta = MetaProperties::parse(text).unwrap();
        assert_eq!(meta.node_id, NodeId(1));
        assert_eq!(meta.cluster_id, "pwrvNpYyYWB1FAIapn3DBg");
        assert_eq!(
            meta.directory_id.unwrap().to_string(),
            "AOnAFIT1pwiUX6MDFKJ7kg"
        );
        assert_eq!(MetaProperties::parse(&meta.encode()), Ok(meta.clone()));
        let odd = MetaProperties {
            cluster_id: "a=b:c#d!e\\f".to_owned(),
            directory_id: None,
            ..meta
        };
        assert_eq!(MetaProperties::parse(&odd.encode()), Ok(odd));
    }

    #[test]
    fn meta_properties_that_say_too_little_are_refused() {
        for (bad, fault) in [
            ("", PropertiesFault::Key("version")),
            ("version=0\nbroker.id=1\n", PropertiesFault::Version(0)),
            ("version=1\nnode.id=1\n", PropertiesFault::Key("cluster.id")),
            ("version=1\ncluster.id=a\n", PropertiesFault::Key("node.id")),
            (
                "version=1\ncluster.id=a\nnode.id=-1\n",
                PropertiesFault::Key("node.id"),
            ),
            (
                "version=1\ncluster.id=a\nnode.id=1\ndirectory.id=x",
                PropertiesFault::Key("directory.id"),
            ),
            ("nonsense\n", PropertiesFault::Line(1)),
        ] {
            assert_eq!(MetaProperties::parse(bad.as_bytes()), Err(fault), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn ids_survive_text(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(parse_topic_id(&TopicId(bytes).to_string()), Some(TopicId(bytes)));
        }

        #[test]
        fn names_survive_parsing(topic in "[a-zA-Z0-9._-]{1,249}", partition in 0i32.., unique in any::<[u8; 16]>()) {
            prop_assume!(topic != "." && topic != "..");
            let partition = PartitionIndex(partition);
            let live = LogDir::parse(&log_dir_name(&topic, partition)).unwrap();
            prop_assert_eq!((live.topic, live.partition), (topic.clone(), partition));
            let name = marked_dir_name(&topic, partition, unique, LogDirKind::Stray);
            prop_assert_eq!(LogDir::parse(&name).map(|dir| dir.partition), Some(partition));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = SegmentFile::parse(&text);
            let _ = LogDir::parse(&text);
            let _ = parse_topic_id(&text);
            let _ = parse_partition_metadata(&bytes);
            let _ = MetaProperties::parse(&bytes);
            marked_dir_name(&text.repeat(9), PartitionIndex(1), [0; 16], LogDirKind::Delete);
        }
    }
}
