//! `metadata.log`: its frames, and the topics that they come to.
//!
//! Written from FORMAT.md ("Metadata log"). Reads what it needs of a record and passes over the
//! rest; a kind that it does not know is a finding, not the end.

use std::collections::BTreeMap;

use super::bytes::Cut;
use crate::words::TopicId;

const MAGIC: &[u8; 4] = b"OTM1";
const FRAME_HEADER_BYTES: usize = 12;
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A topic as the log leaves it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topic {
    pub name: String,
    /// Leader and leader epoch of each partition.
    pub partitions: BTreeMap<i32, (i32, i32)>,
    pub settings: BTreeMap<String, String>,
}

impl Topic {
    /// Compaction takes records out of the middle, which leaves gaps.
    pub fn is_compacted(&self) -> bool {
        let policy = self.settings.get("cleanup.policy");
        policy.is_some_and(|policy| policy.contains("compact"))
    }
}

/// What the log says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    pub cluster: Option<TopicId>,
    pub version: u64,
    pub starts: u64,
    pub frames: u64,
    /// Node, host, port.
    pub nodes: Vec<(i32, String, u64)>,
    pub topics: BTreeMap<TopicId, Topic>,
    pub producer_ids_below: i64,
    /// Where whole frames end.
    pub end: u64,
    pub faults: Vec<Fault>,
}

/// What is wrong with the log, and at which byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub at: u64,
    /// A frame that was never finished: nothing whole stands behind it.
    pub torn: bool,
    pub what: String,
}

/// Folds the whole file.
pub fn read(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    let mut at = 0usize;
    let mut expected: Option<u64> = None;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let Some(body) = frame(rest) else {
            let behind = whole_frame_behind(rest);
            metadata.faults.push(Fault {
                at: at as u64,
                torn: behind.is_none(),
                what: match behind {
                    Some(_) => "a damaged frame in front of whole ones".to_owned(),
                    None => "a frame that is not whole, and nothing behind it".to_owned(),
                },
            });
            match behind {
                Some(skip) => at = at.saturating_add(skip),
                None => break,
            }
            // What a lost frame said is not known.
            expected = None;
            continue;
        };
        let records = metadata.fold(body, at, expected);
        expected = Some(metadata.version.saturating_add(records));
        metadata.version = metadata.version.saturating_add(records);
        metadata.frames = metadata.frames.saturating_add(1);
        at = at
            .saturating_add(FRAME_HEADER_BYTES)
            .saturating_add(body.len());
        metadata.end = at as u64;
    }
    metadata
}

/// The body of the whole frame at the front of `rest`.
fn frame(rest: &[u8]) -> Option<&[u8]> {
    let behind = rest.strip_prefix(MAGIC)?;
    let length_bytes = behind.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length_bytes)).ok()?;
    let mut cut = Cut(behind.get(4..)?);
    let crc = u32::from_le_bytes(cut.take()?);
    let body = cut.slice(Some(length).filter(|length| *length <= BODY_BYTES_MAX)?)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(length_bytes), body);
    (sum == crc).then_some(body)
}

/// Bytes to the next whole frame. Only places with the magic are tried.
fn whole_frame_behind(rest: &[u8]) -> Option<usize> {
    let places = rest.windows(MAGIC.len()).enumerate().skip(1);
    places
        .filter(|(_, window)| window == MAGIC)
        .map(|(at, _)| at)
        .find(|at| rest.get(*at..).and_then(frame).is_some())
}

impl Metadata {
    /// Folds one frame; returns how many records it has.
    fn fold(&mut self, body: &[u8], at: usize, expected: Option<u64>) -> u64 {
        let mut fault = |inside: usize, what: String| {
            self.faults.push(Fault {
                at: at.saturating_add(inside) as u64,
                torn: false,
                what,
            });
        };
        let mut cut = Cut(body);
        let Some(version) = cut.take().map(u64::from_le_bytes) else {
            fault(4, "a body without a version".to_owned());
            return 0;
        };
        if let Some(expected) = expected.filter(|expected| *expected != version) {
            let what = format!("begins at version {version}, the frame before ends at {expected}");
            fault(FRAME_HEADER_BYTES, what);
        }
        self.version = version;
        let mut records = 0u64;
        while !cut.0.is_empty() {
            let inside = body.len().saturating_sub(cut.0.len());
            let inside = inside.saturating_add(FRAME_HEADER_BYTES);
            let fields = cut.u8().zip(uint(&mut cut));
            let fields = fields.and_then(|(kind, len)| Some((kind, cut.slice(len)?)));
            let what = match fields {
                Some((kind, fields)) => match self.record(kind, fields) {
                    Some(()) => None,
                    None => Some(format!("a record of kind {kind} that does not read")),
                },
                None => Some("a record that passes the frame's end".to_owned()),
            };
            if let Some(what) = what {
                self.faults.push(Fault {
                    at: at.saturating_add(inside) as u64,
                    torn: false,
                    what,
                });
            }
            if fields.is_none() {
                break;
            }
            records = records.saturating_add(1);
        }
        records
    }

    fn record(&mut self, kind: u8, fields: &[u8]) -> Option<()> {
        let mut cut = Cut(fields);
        match kind {
            1 => self.cluster = Some(TopicId(cut.take()?)),
            2 => {
                self.starts = cut.uvarint()?;
                self.nodes.clear();
                for _ in 0..cut.uvarint()? {
                    let node = int(&mut cut)?;
                    let host = text(&mut cut)?;
                    let port = cut.uvarint()?;
                    option(&mut cut)?;
                    self.nodes.push((node, host, port));
                }
            }
            3 => {
                let id = TopicId(cut.take()?);
                let name = text(&mut cut)?;
                let topic = Topic {
                    name,
                    ..Topic::default()
                };
                self.topics.insert(id, topic);
            }
            4 => self.partition(&mut cut)?,
            5 => {
                self.topics.remove(&TopicId(cut.take()?))?;
            }
            6 => self.setting(&mut cut)?,
            7 => self.producer_ids_below = cut.varint()?,
            _ => return None,
        }
        Some(())
    }

    fn partition(&mut self, cut: &mut Cut<'_>) -> Option<()> {
        let topic = self.topics.get_mut(&TopicId(cut.take()?))?;
        let (partition, leader, epoch) = (int(cut)?, int(cut)?, int(cut)?);
        int(cut)?;
        for _list in ["replicas", "in-sync replicas"] {
            for _ in 0..cut.uvarint()? {
                int(cut)?;
            }
        }
        topic.partitions.insert(partition, (leader, epoch));
        Some(())
    }

    fn setting(&mut self, cut: &mut Cut<'_>) -> Option<()> {
        let mut of = None;
        match cut.u8()? {
            0 => {}
            2 => of = Some(TopicId(cut.take()?)),
            4 => drop(int(cut)?),
            16 | 32 => drop(text(cut)?),
            _ => return None,
        }
        let (key, value) = (text(cut)?, option(cut)?);
        let Some(topic) = of.and_then(|id| self.topics.get_mut(&id)) else {
            return of.is_none().then_some(());
        };
        match value {
            Some(value) => topic.settings.insert(key, value),
            None => topic.settings.remove(&key),
        };
        Some(())
    }
}

fn uint(cut: &mut Cut<'_>) -> Option<usize> {
    cut.uvarint().and_then(|value| usize::try_from(value).ok())
}

fn int(cut: &mut Cut<'_>) -> Option<i32> {
    cut.varint().and_then(|value| i32::try_from(value).ok())
}

fn text(cut: &mut Cut<'_>) -> Option<String> {
    let len = uint(cut)?;
    let bytes = cut.slice(len)?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn option(cut: &mut Cut<'_>) -> Option<Option<String>> {
    match cut.u8()? {
        0 => Some(None),
        1 => text(cut).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(version: u64, records: &[u8]) -> Vec<u8> {
        let body = [&version.to_le_bytes()[..], records].concat();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let sum = crc32c::crc32c_append(crc32c::crc32c(&length), &body);
        [&MAGIC[..], &length, &sum.to_le_bytes(), &body].concat()
    }

    fn topic() -> Vec<u8> {
        let mut record = vec![3, 18];
        record.extend_from_slice(&[7; 16]);
        record.extend_from_slice(&[1, b't']);
        record
    }

    #[test]
    fn a_torn_end_is_told_from_rot_in_front_of_whole_frames() {
        let good = [framed(0, &topic()), framed(1, &[7, 1, 4])].concat();
        let read_of = |bytes: &[u8]| {
            let metadata = read(bytes);
            let faults: Vec<(u64, bool)> = metadata
                .faults
                .iter()
                .map(|fault| (fault.at, fault.torn))
                .collect();
            (metadata.topics.len(), metadata.version, faults)
        };
        assert_eq!(read_of(&good), (1, 2, vec![]));
        let cut = &good[..good.len() - 1];
        assert_eq!(read_of(cut), (1, 1, vec![(40, true)]));
        let mut rotten = good.clone();
        rotten[30] ^= 1;
        assert_eq!(read_of(&rotten), (0, 2, vec![(0, false)]));
        let apart = [framed(0, &topic()), framed(5, &[7, 1, 4])].concat();
        assert_eq!(read_of(&apart), (1, 6, vec![(52, false)]));
        let unknown = framed(0, &[99, 1, 0]);
        assert_eq!(read_of(&unknown), (0, 1, vec![(20, false)]));
    }
}
