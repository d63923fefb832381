//! Checkpoint files: Kafka's line format (`recovery-point-offset-checkpoint`,
//! `log-start-offset-checkpoint`, `leader-epoch-checkpoint`) and the shard checkpoint of Ottla,
//! which says for every partition how far its active segment is known good.
//!
//! Bytes in, bytes out: never opens a file, never decides what recovery does with what it reads,
//! never reserves memory by a count that a file claims.
//!
//! ```text
//! Kafka, text:  version "0" / number of entries / one line per entry
//! Ottla, binary, big-endian:
//!   0 magic "OTTLACKP"    8 crc u32 (CRC-32C of everything from 12 on)   12 version u16
//!  14 shard u16          16 incarnation u64    24 sequence u64    32 count u32    36 entries
//! an entry of 92 bytes:
//!   0 topic id 16        16 partition i32      20 log start i64   28 end offset i64
//!  36 active base i64    44 active bytes u64   52 max timestamp i64   60 its offset i64
//!  68 offset index entries u32   72 time index entries u32   76 bytes since index entry u32
//!  80 leader epoch i32   84 first batch timestamp i64
//! ```

use crate::words::{
    LeaderEpoch, Offset, PartitionIndex, ShardId, TimestampMs, TopicId, TopicPartition,
};

/// Why bytes are no checkpoint. A checkpoint is replaced atomically, so none of these is the
/// ordinary end of a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckpointFault {
    /// Not UTF-8, or (binary) not our magic.
    NotACheckpoint,
    /// Fewer bytes or lines than a checkpoint has at least.
    Short,
    /// A version that this build does not know.
    Version(i64),
    /// Line `n` (from 1) does not have the shape of its place.
    Line(usize),
    /// The file announces another number of entries than it holds.
    Count { claimed: u64, found: u64 },
    /// The bytes are not those that were written.
    Checksum,
    /// Entry `n` (from 0) says something impossible, like a negative offset.
    Entry(usize),
}

/// One line of Kafka's offset checkpoints (Kafka `OffsetCheckpointFile`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionOffset {
    pub topic: String,
    pub partition: PartitionIndex,
    pub offset: Offset,
}

const KAFKA_VERSION: i64 = 0;

/// Writes a Kafka checkpoint of lines.
pub(super) fn encode_lines(lines: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut text = format!("{KAFKA_VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text.into_bytes()
}

/// Reads a Kafka checkpoint: `each` turns the words of one line into an entry.
pub(super) fn parse_lines<T>(
    bytes: &[u8],
    mut each: impl FnMut(&[&str]) -> Option<T>,
) -> Result<Vec<T>, CheckpointFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| CheckpointFault::NotACheckpoint)?;
    let mut lines = text.lines();
    let version = lines.next().ok_or(CheckpointFault::Short)?;
    let version: i64 = version.parse().map_err(|_| CheckpointFault::Line(1))?;
    if version != KAFKA_VERSION {
        return Err(CheckpointFault::Version(version));
    }
    let claimed = lines.next().ok_or(CheckpointFault::Short)?;
    let claimed: u32 = claimed.parse().map_err(|_| CheckpointFault::Line(2))?;
    let mut entries = Vec::new();
    for (index, line) in lines.enumerate() {
        // No entry has more than three words; a fourth makes the line wrong for every reader.
        let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
        let entry = each(&words).ok_or(CheckpointFault::Line(index.saturating_add(3)))?;
        entries.push(entry);
    }
    let found = entries.len() as u64;
    if found != u64::from(claimed) {
        return Err(CheckpointFault::Count {
            claimed: u64::from(claimed),
            found,
        });
    }
    Ok(entries)
}

/// A number without sign tricks: Rust accepts "+1", Kafka's files never hold it.
pub(super) fn number<T: std::str::FromStr>(word: &str) -> Option<T> {
    if word.starts_with('+') {
        return None;
    }
    word.parse().ok()
}

/// `recovery-point-offset-checkpoint` or `log-start-offset-checkpoint`.
pub fn encode_offsets(entries: &[PartitionOffset]) -> Vec<u8> {
    encode_lines(
        entries
            .iter()
            .map(|entry| format!("{} {} {}", entry.topic, entry.partition, entry.offset)),
    )
}

/// Reads what [`encode_offsets`] and Kafka write. Topic names are words, not judged further.
pub fn parse_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, CheckpointFault> {
    parse_lines(bytes, |words| match words {
        [topic, partition, offset] => {
            let partition: i32 = number(partition)?;
            let offset: i64 = number(offset)?;
            (partition >= 0 && offset >= 0).then(|| PartitionOffset {
                topic: (*topic).to_owned(),
                partition: PartitionIndex(partition),
                offset: Offset(offset),
            })
        }
        _ => None,
    })
}

/// A place in a shard's journal: which start of the broker, and which entry of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct JournalMark {
    pub incarnation: u64,
    pub sequence: u64,
}

/// What a shard knows of one partition that it has filled and flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionMark {
    pub id: TopicPartition,
    pub log_start: Offset,
    /// Offset after the last record that is in a flushed segment.
    pub end_offset: Offset,
    /// Base offset of the active segment.
    pub active_base: Offset,
    /// Bytes of the active segment's file that hold the batches up to `end_offset`.
    pub active_bytes: u64,
    /// Largest batch timestamp in the active segment; `-1` when none.
    pub max_timestamp: TimestampMs,
    /// Last offset of the batch that has `max_timestamp`.
    pub max_timestamp_offset: Offset,
    /// Entries of the active segment's index files that belong to `active_bytes`.
    pub offset_index_entries: u32,
    pub time_index_entries: u32,
    /// Bytes of batches after the batch that the last index entry was made for, that one included.
    pub bytes_since_index_entry: u32,
    /// Leader epoch of the last batch; `-1` when the log is empty.
    pub leader_epoch: LeaderEpoch,
    /// Max timestamp of the active segment's first batch, for rolling; `-1` when empty or unset.
    pub first_batch_timestamp: TimestampMs,
}

/// The checkpoint of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardCheckpoint {
    pub shard: ShardId,
    /// Everything in the journal up to and including this entry is in flushed segments.
    pub through: JournalMark,
    pub partitions: Vec<PartitionMark>,
}

const MAGIC: [u8; 8] = *b"OTTLACKP";
const VERSION: u16 = 1;
const CRC_COVERS_FROM: usize = 12;
const HEADER_BYTES: usize = 36;
/// Bytes of one partition in a shard checkpoint.
const MARK_BYTES: usize = 92;

impl ShardCheckpoint {
    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = HEADER_BYTES.saturating_add(self.partitions.len().saturating_mul(MARK_BYTES));
        let mut body = Vec::with_capacity(bytes);
        body.extend_from_slice(&VERSION.to_be_bytes());
        body.extend_from_slice(&self.shard.0.to_be_bytes());
        body.extend_from_slice(&self.through.incarnation.to_be_bytes());
        body.extend_from_slice(&self.through.sequence.to_be_bytes());
        let count = u32::try_from(self.partitions.len())
            .expect("a shard has fewer partitions than a u32 counts");
        body.extend_from_slice(&count.to_be_bytes());
        for mark in &self.partitions {
            mark.encode(&mut body);
        }
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.append(&mut body);
        out
    }

    /// Reads the whole file; bytes too many or too few are a fault like any other.
    pub fn parse(bytes: &[u8]) -> Result<ShardCheckpoint, CheckpointFault> {
        let mut reader = Reader(bytes);
        let short = CheckpointFault::Short;
        if reader.take::<8>().ok_or(short.clone())? != MAGIC {
            return Err(CheckpointFault::NotACheckpoint);
        }
        let crc = reader.u32().ok_or(short.clone())?;
        let covered = bytes.get(CRC_COVERS_FROM..).ok_or(short.clone())?;
        let version = reader.u16().ok_or(short.clone())?;
        if version != VERSION {
            return Err(CheckpointFault::Version(i64::from(version)));
        }
        if crc32c::crc32c(covered) != crc {
            return Err(CheckpointFault::Checksum);
        }
        let shard = ShardId(reader.u16().ok_or(short.clone())?);
        let incarnation = reader.u64().ok_or(short.clone())?;
        let sequence = reader.u64().ok_or(short.clone())?;
        let claimed = u64::from(reader.u32().ok_or(short)?);
        let (whole, rest) = reader.0.as_chunks::<MARK_BYTES>();
        if !rest.is_empty() || whole.len() as u64 != claimed {
            let found = whole.len() as u64;
            return Err(CheckpointFault::Count { claimed, found });
        }
        let mut partitions = Vec::with_capacity(whole.len());
        for (index, mark) in whole.iter().enumerate() {
            let mark = PartitionMark::parse(mark).filter(PartitionMark::is_possible);
            partitions.push(mark.ok_or(CheckpointFault::Entry(index))?);
        }
        Ok(ShardCheckpoint {
            shard,
            through: JournalMark {
                incarnation,
                sequence,
            },
            partitions,
        })
    }
}

impl PartitionMark {
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.id.topic.0);
        out.extend_from_slice(&self.id.partition.0.to_be_bytes());
        out.extend_from_slice(&self.log_start.0.to_be_bytes());
        out.extend_from_slice(&self.end_offset.0.to_be_bytes());
        out.extend_from_slice(&self.active_base.0.to_be_bytes());
        out.extend_from_slice(&self.active_bytes.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp_offset.0.to_be_bytes());
        out.extend_from_slice(&self.offset_index_entries.to_be_bytes());
        out.extend_from_slice(&self.time_index_entries.to_be_bytes());
        out.extend_from_slice(&self.bytes_since_index_entry.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.0.to_be_bytes());
        out.extend_from_slice(&self.first_batch_timestamp.0.to_be_bytes());
        debug_assert_eq!(out.len().checked_sub(start), Some(MARK_BYTES));
    }

    fn parse(bytes: &[u8]) -> Option<PartitionMark> {
        let mut reader = Reader(bytes);
        Some(PartitionMark {
            id: TopicPartition {
                topic: TopicId(reader.take::<16>()?),
                partition: PartitionIndex(reader.i32()?),
            },
            log_start: Offset(reader.i64()?),
            end_offset: Offset(reader.i64()?),
            active_base: Offset(reader.i64()?),
            active_bytes: reader.u64()?,
            max_timestamp: TimestampMs(reader.i64()?),
            max_timestamp_offset: Offset(reader.i64()?),
            offset_index_entries: reader.u32()?,
            time_index_entries: reader.u32()?,
            bytes_since_index_entry: reader.u32()?,
            leader_epoch: LeaderEpoch(reader.i32()?),
            first_batch_timestamp: TimestampMs(reader.i64()?),
        })
    }

    /// The relations that every honest mark has; what fails here was never written by us. The log
    /// may start above `end_offset`: what lies between is in the journal.
    fn is_possible(&self) -> bool {
        self.id.partition.0 >= 0
            && self.log_start.0 >= 0
            && self.active_base.0 >= 0
            && self.active_base <= self.end_offset
    }
}

/// Takes big-endian values off the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(partition: i32) -> PartitionMark {
        PartitionMark {
            id: TopicPartition {
                topic: TopicId([7; 16]),
                partition: PartitionIndex(partition),
            },
            log_start: Offset(3),
            end_offset: Offset(100),
            active_base: Offset(50),
            active_bytes: 8192,
            max_timestamp: TimestampMs(1_700_000_000_000),
            max_timestamp_offset: Offset(98),
            offset_index_entries: 2,
            time_index_entries: 1,
            bytes_since_index_entry: 77,
            leader_epoch: LeaderEpoch(4),
            first_batch_timestamp: TimestampMs(-1),
        }
    }

    fn checkpoint() -> ShardCheckpoint {
        ShardCheckpoint {
            shard: ShardId(3),
            through: JournalMark {
                incarnation: 9,
                sequence: 1_234,
            },
            partitions: vec![mark(0), mark(1)],
        }
    }

    #[test]
    fn kafkas_offset_checkpoint_is_read_and_written_as_kafka_does() {
        let text = b"0\n2\na 0 12\nb-c.d 7 0\n";
        let entries = parse_offsets(text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].topic, "b-c.d");
        assert_eq!(entries[1].partition, PartitionIndex(7));
        assert_eq!(encode_offsets(&entries), text);
        assert_eq!(encode_offsets(&[]), b"0\n0\n");
    }

    #[test]
    fn a_text_checkpoint_that_is_not_one_names_what_is_wrong() {
        let cases: &[(&[u8], CheckpointFault)] = &[
            (b"", CheckpointFault::Short),
            (b"0", CheckpointFault::Short),
            (b"1\n0\n", CheckpointFault::Version(1)),
            (b"x\n0\n", CheckpointFault::Line(1)),
            (b"0\n-1\n", CheckpointFault::Line(2)),
            (b"0\n1\na 0\n", CheckpointFault::Line(3)),
            (b"0\n1\na 0 1 2\n", CheckpointFault::Line(3)),
            (b"0\n1\na 0 -1\n", CheckpointFault::Line(3)),
            (b"0\n1\na +0 1\n", CheckpointFault::Line(3)),
            (b"0\n1\n\n", CheckpointFault::Line(3)),
            (b"\xff\xfe", CheckpointFault::NotACheckpoint),
            (
                b"0\n4000000000\na 0 1\n",
                CheckpointFault::Count {
                    claimed: 4_000_000_000,
                    found: 1,
                },
            ),
        ];
        for (bytes, fault) in cases {
            assert_eq!(parse_offsets(bytes).as_ref(), Err(fault), "{bytes:?}");
        }
    }

    #[test]
    fn a_shard_checkpoint_survives_writing_and_reading() {
        let bytes = checkpoint().encode();
        assert_eq!(bytes.len(), HEADER_BYTES + 2 * MARK_BYTES);
        assert_eq!(ShardCheckpoint::parse(&bytes), Ok(checkpoint()));
    }

    #[test]
    fn the_layout_of_a_shard_checkpoint_stands() {
        let mut one = checkpoint();
        one.partitions.truncate(1);
        let hex: String = one.encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(&hex[..24], "4f54544c41434b50748636b4");
        assert_eq!(
            &hex[24..],
            "00010003000000000000000900000000000004d2\
             00000001\
             07070707070707070707070707070707\
             00000000\
             00000000000000030000000000000064\
             00000000000000320000000000002000\
             0000018bcfe568000000000000000062\
             00000002000000010000004d\
             00000004ffffffffffffffff"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_shard_checkpoint_is_refused() {
        let good = checkpoint().encode();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(ShardCheckpoint::parse(&bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(ShardCheckpoint::parse(&good[..at]).is_err());
        }
        let mut longer = good;
        longer.push(0);
        assert!(ShardCheckpoint::parse(&longer).is_err());
    }

    #[test]
    fn an_impossible_mark_is_refused_even_with_a_good_checksum() {
        let mut bad = checkpoint();
        bad.partitions[1].end_offset = Offset(2);
        let parsed = ShardCheckpoint::parse(&bad.encode());
        assert_eq!(parsed, Err(CheckpointFault::Entry(1)));
    }

    #[test]
    fn a_log_may_start_above_what_is_in_its_segments() {
        let mut cut = checkpoint();
        let end = cut.partitions[1].end_offset;
        cut.partitions[1].log_start = Offset(end.0 + 7);
        assert_eq!(ShardCheckpoint::parse(&cut.encode()), Ok(cut));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ShardCheckpoint::parse(&bytes);
            let _ = parse_offsets(&bytes);
        }
    }
}
