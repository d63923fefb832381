//! Small files: Ottla's checkpoint, Kafka's checkpoints of lines, producer snapshots.
//!
//! Written from FORMAT.md and Kafka's sources. Bytes in, facts out; a fault names the byte or the
//! line where it was seen. No count in a file reserves memory.

use super::bytes::Cut;
use crate::words::TopicId;

/// Why a small file says nothing, and at which byte it shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: u64,
    pub what: String,
}

impl Fault {
    fn new(at: usize, what: impl Into<String>) -> Fault {
        Fault {
            at: at as u64,
            what: what.into(),
        }
    }
}

/// A partition by its topic's id.
pub type Id = (TopicId, i32);

/// What a checkpoint vouches for in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub id: Id,
    pub log_start: i64,
    pub end_offset: i64,
    pub active_base: i64,
    pub active_bytes: u64,
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
    pub offset_entries: u32,
    pub time_entries: u32,
    pub since_entry: u32,
    pub leader_epoch: i32,
    pub first_timestamp: i64,
}

/// `checkpoint`, of a data directory (shard 65535) or of a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub shard: u16,
    pub incarnation: u64,
    pub sequence: u64,
    pub marks: Vec<Mark>,
}

const CHECKPOINT_MAGIC: &[u8; 8] = b"OTTLACKP";
const CHECKPOINT_HEADER_BYTES: usize = 36;
const MARK_BYTES: usize = 92;

/// Reads the whole file.
///
/// # Errors
/// The first thing that is not as FORMAT.md says.
pub fn checkpoint(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    let (head, body) = bytes
        .split_at_checked(CHECKPOINT_HEADER_BYTES)
        .ok_or_else(|| Fault::new(bytes.len(), "shorter than its header of 36 bytes"))?;
    let mut cut = Cut(head);
    if cut.slice(8) != Some(CHECKPOINT_MAGIC) {
        return Err(Fault::new(0, "does not begin with OTTLACKP"));
    }
    let crc = cut.u32();
    let covered = bytes.get(12..).unwrap_or_default();
    if crc != Some(crc32c::crc32c(covered)) {
        return Err(Fault::new(8, "the checksum does not hold"));
    }
    let fields = (|| Some((cut.u16()?, cut.u16()?, cut.u64()?, cut.u64()?, cut.u32()?)))();
    let short = || Fault::new(12, "cut short");
    let (version, shard, incarnation, sequence, count) = fields.ok_or_else(short)?;
    if version != 1 {
        return Err(Fault::new(12, format!("version {version} is not 1")));
    }
    let whole = body.chunks_exact(MARK_BYTES);
    if !whole.remainder().is_empty() || whole.len() as u64 != u64::from(count) {
        let what = format!("{count} partitions announced, {} bytes of them", body.len());
        return Err(Fault::new(32, what));
    }
    let mut marks = Vec::new();
    for (place, bytes) in whole.enumerate() {
        let at = CHECKPOINT_HEADER_BYTES.saturating_add(place.saturating_mul(MARK_BYTES));
        let mark = mark(bytes).filter(|mark| {
            mark.id.1 >= 0
                && mark.log_start >= 0
                && (0..=mark.end_offset).contains(&mark.active_base)
        });
        marks.push(mark.ok_or_else(|| Fault::new(at, "an entry that cannot be"))?);
    }
    Ok(Checkpoint {
        shard,
        incarnation,
        sequence,
        marks,
    })
}

fn mark(bytes: &[u8]) -> Option<Mark> {
    let mut cut = Cut(bytes);
    Some(Mark {
        id: (TopicId(cut.take()?), cut.i32()?),
        log_start: cut.i64()?,
        end_offset: cut.i64()?,
        active_base: cut.i64()?,
        active_bytes: cut.u64()?,
        max_timestamp: cut.i64()?,
        max_timestamp_offset: cut.i64()?,
        offset_entries: cut.u32()?,
        time_entries: cut.u32()?,
        since_entry: cut.u32()?,
        leader_epoch: cut.i32()?,
        first_timestamp: cut.i64()?,
    })
}

/// The lines of one of Kafka's checkpoints, version 0: each with the byte it begins at.
fn lines(bytes: &[u8]) -> Result<Vec<(usize, &str)>, Fault> {
    let text =
        std::str::from_utf8(bytes).map_err(|fault| Fault::new(fault.valid_up_to(), "not text"))?;
    let mut at = 0usize;
    let mut all = text.split_inclusive('\n').map(|line| {
        let here = at;
        at = at.saturating_add(line.len());
        (here, line.trim_end())
    });
    let version = all.next().map_or("", |(_, line)| line);
    if version != "0" {
        return Err(Fault::new(0, format!("version {version:?} is not 0")));
    }
    let (count_at, count) = all.next().unwrap_or((bytes.len(), ""));
    let claimed: Option<usize> = count.parse().ok();
    let found: Vec<(usize, &str)> = all.collect();
    if claimed != Some(found.len()) {
        let what = format!("{count:?} entries announced, {} there", found.len());
        return Err(Fault::new(count_at, what));
    }
    Ok(found)
}

fn number<T: std::str::FromStr + PartialOrd + Default>(word: Option<&str>) -> Option<T> {
    let value: T = word.filter(|word| !word.starts_with('+'))?.parse().ok()?;
    (value >= T::default()).then_some(value)
}

/// `leader-epoch-checkpoint`: epochs and where each begins.
///
/// # Errors
/// The first line that is none, or that does not ascend.
pub fn epochs(bytes: &[u8]) -> Result<Vec<(i32, i64)>, Fault> {
    let mut epochs: Vec<(i32, i64)> = Vec::new();
    for (at, line) in lines(bytes)? {
        let mut words = line.split(' ');
        let entry = (number(words.next()), number(words.next()), words.next());
        let (Some(epoch), Some(start), None) = entry else {
            return Err(Fault::new(at, format!("{line:?} is no epoch and offset")));
        };
        if epochs
            .last()
            .is_some_and(|last| epoch <= last.0 || start < last.1)
        {
            return Err(Fault::new(at, format!("{line:?} does not ascend")));
        }
        epochs.push((epoch, start));
    }
    Ok(epochs)
}

/// Kafka's checkpoints of the log directory: topic, partition, offset.
///
/// # Errors
/// The first line that is none.
pub fn offsets(bytes: &[u8]) -> Result<Vec<(String, i32, i64)>, Fault> {
    let mut offsets = Vec::new();
    for (at, line) in lines(bytes)? {
        let mut words = line.split(' ');
        let topic = words.next().filter(|topic| !topic.is_empty());
        let entry = (topic, number(words.next()), number(words.next()));
        let (Some(topic), Some(partition), Some(offset)) = entry else {
            return Err(Fault::new(
                at,
                format!("{line:?} is no partition and offset"),
            ));
        };
        offsets.push((topic.to_owned(), partition, offset));
    }
    Ok(offsets)
}

/// A producer in `<offset>.snapshot`; -1 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    pub txn_first_offset: i64,
}

const SNAPSHOT_HEADER_BYTES: usize = 10;
const PRODUCER_BYTES: usize = 46;

/// A producer snapshot, version 1.
///
/// # Errors
/// The first thing that is not as Kafka writes it.
pub fn snapshot(bytes: &[u8]) -> Result<Vec<Producer>, Fault> {
    let mut cut = Cut(bytes);
    let head = (cut.i16(), cut.u32());
    let (Some(version), Some(crc)) = head else {
        return Err(Fault::new(
            bytes.len(),
            "shorter than its header of 10 bytes",
        ));
    };
    if version != 1 {
        return Err(Fault::new(0, format!("version {version} is not 1")));
    }
    if crc32c::crc32c(cut.0) != crc {
        return Err(Fault::new(2, "the checksum does not hold"));
    }
    let count = cut.i32().unwrap_or(-1);
    let whole = cut.0.chunks_exact(PRODUCER_BYTES);
    if !whole.remainder().is_empty() || usize::try_from(count) != Ok(whole.len()) {
        let what = format!("{count} producers announced, {} bytes of them", cut.0.len());
        return Err(Fault::new(6, what));
    }
    let mut producers = Vec::new();
    for (place, bytes) in whole.enumerate() {
        let at = SNAPSHOT_HEADER_BYTES.saturating_add(place.saturating_mul(PRODUCER_BYTES));
        let producer = producer(bytes).filter(|p| p.id >= 0 && p.offset_delta >= 0);
        producers.push(producer.ok_or_else(|| Fault::new(at, "a producer that cannot be"))?);
    }
    Ok(producers)
}

fn producer(bytes: &[u8]) -> Option<Producer> {
    let mut cut = Cut(bytes);
    Some(Producer {
        id: cut.i64()?,
        epoch: cut.i16()?,
        last_sequence: cut.i32()?,
        last_offset: cut.i64()?,
        offset_delta: cut.i32()?,
        timestamp: cut.i64()?,
        coordinator_epoch: cut.i32()?,
        txn_first_offset: cut.i64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_a_fault_is_told_with_its_byte() {
        assert_eq!(epochs(b"0\n2\n0 0\n3 17\n"), Ok(vec![(0, 0), (3, 17)]));
        assert_eq!(epochs(b"0\n0\n"), Ok(Vec::new()));
        assert_eq!(epochs(b"0\n2\n0 0\n0 17\n").unwrap_err().at, 8);
        assert_eq!(epochs(b"0\n3\n0 0\n3 17\n").unwrap_err().at, 2);
        assert_eq!(epochs(b"1\n0\n").unwrap_err().at, 0);
        assert_eq!(epochs(b"0\n1\n0 x\n").unwrap_err().at, 4);
        let found = offsets(b"0\n1\na.b-c 3 99\n");
        assert_eq!(found, Ok(vec![("a.b-c".to_owned(), 3, 99)]));
    }
}
