//! Bytes of the metadata log.
//!
//! ```text
//! frame   = magic "OTM1" | body length u32 LE | CRC-32C of length and body u32 LE | body
//! body    = version of the image before the frame, u64 LE | records
//! record  = kind u8 | length uvarint | fields
//! ```
//!
//! A frame is one append: all of its records count, or none. Whole numbers are uvarints (LEB128)
//! or, when they may be negative, zigzag; texts are a uvarint length and UTF-8. Fields are only
//! ever added at the end of a record: a reader passes over what it does not know there.
//!
//! Owns the layout and the verdict over damaged bytes; never does I/O.

use super::records::{ClusterId, Node, PartitionState, Record, Replicas, Resource};
use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// Beginning of every frame; its last byte is the version of the layout.
const MAGIC: [u8; 4] = *b"OTM1";
/// Bytes in front of a frame's body.
const HEADER_BYTES: usize = 12;
/// Largest body: bounds what a damaged length can claim.
pub const FRAME_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

const CLUSTER_CREATED: u8 = 1;
const NODES_REGISTERED: u8 = 2;
const TOPIC_CREATED: u8 = 3;
const PARTITION_CHANGED: u8 = 4;
const TOPIC_DELETED: u8 = 5;
const CONFIG_CHANGED: u8 = 6;
const PRODUCER_IDS_ALLOCATED: u8 = 7;

/// One decoded frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Version of the image to which the records apply.
    pub base_version: u64,
    pub records: Vec<Record>,
    /// Where the next frame begins.
    pub end: usize,
}

/// What stands at a position of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Frame(Frame),
    /// The log ends here.
    End,
    /// An append that was cut short: nothing valid follows, so nothing acknowledged is lost by
    /// cutting the file here.
    Torn,
    /// Damage in front of valid frames: cutting here would lose what was acknowledged.
    Rotten,
    /// A whole, intact frame with a record that this version does not know: written by a newer
    /// one. Not to be skipped and not to be cut.
    Unknown,
}

/// More records than a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameTooLarge;

/// Appends one frame to `out`.
pub fn encode_frame(
    base_version: u64,
    records: &[Record],
    out: &mut Vec<u8>,
) -> Result<(), FrameTooLarge> {
    let mut body = base_version.to_le_bytes().to_vec();
    let mut fields = Vec::new();
    for record in records {
        fields.clear();
        let kind = encode_record(record, &mut fields);
        body.push(kind);
        put_count(&mut body, fields.len());
        body.extend_from_slice(&fields);
    }
    if body.len() > FRAME_BODY_BYTES_MAX {
        return Err(FrameTooLarge);
    }
    let length = u32::try_from(body.len())
        .map_err(|_| FrameTooLarge)?
        .to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &body);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Judges what stands at `at` of the whole log `bytes`.
pub fn read_at(bytes: &[u8], at: usize) -> Verdict {
    let rest = bytes.get(at..).unwrap_or(&[]);
    if rest.is_empty() {
        return Verdict::End;
    }
    match intact(rest) {
        Some((body, length)) => match decode_body(body) {
            Some((base_version, records)) => Verdict::Frame(Frame {
                base_version,
                records,
                end: at.saturating_add(length),
            }),
            None => Verdict::Unknown,
        },
        None if any_intact_after(rest) => Verdict::Rotten,
        None => Verdict::Torn,
    }
}

/// The body and the whole length of the frame at the beginning of `rest`, when its checksum holds.
fn intact(rest: &[u8]) -> Option<(&[u8], usize)> {
    let (magic, after) = rest.split_first_chunk::<4>()?;
    let (length_bytes, after) = after.split_first_chunk::<4>()?;
    let (crc, after) = after.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length_bytes)).ok()?;
    if *magic != MAGIC || length > FRAME_BODY_BYTES_MAX {
        return None;
    }
    let body = after.get(..length)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(length_bytes), body);
    (sum == u32::from_le_bytes(*crc)).then_some((body, HEADER_BYTES.saturating_add(length)))
}

/// Whether any later position begins an intact frame. Only places with the magic are tried.
fn any_intact_after(rest: &[u8]) -> bool {
    let tail = rest.get(1..).unwrap_or(&[]);
    tail.windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .any(|(at, _)| tail.get(at..).is_some_and(|from| intact(from).is_some()))
}

fn decode_body(body: &[u8]) -> Option<(u64, Vec<Record>)> {
    let (base, rest) = body.split_first_chunk::<8>()?;
    let mut reader = Reader { rest };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let kind = reader.byte()?;
        let length = reader.count()?;
        let mut fields = Reader {
            rest: reader.take(length)?,
        };
        records.push(decode_record(kind, &mut fields)?);
    }
    Some((u64::from_le_bytes(*base), records))
}

fn encode_record(record: &Record, out: &mut Vec<u8>) -> u8 {
    match record {
        Record::ClusterCreated { id } => {
            out.extend_from_slice(&id.0);
            CLUSTER_CREATED
        }
        Record::NodesRegistered { start, nodes } => {
            put_uvarint(out, *start);
            put_count(out, nodes.len());
            for node in nodes {
                put_varint(out, i64::from(node.id.0));
                put_text(out, &node.host);
                put_uvarint(out, u64::from(node.port));
                put_option(out, node.rack.as_deref());
            }
            NODES_REGISTERED
        }
        Record::TopicCreated { id, name } => {
            out.extend_from_slice(&id.0);
            put_text(out, name);
            TOPIC_CREATED
        }
        Record::PartitionChanged {
            topic,
            partition,
            state,
        } => {
            out.extend_from_slice(&topic.0);
            put_varint(out, i64::from(partition.0));
            put_varint(out, i64::from(state.leader.0));
            put_varint(out, i64::from(state.leader_epoch.0));
            put_varint(out, i64::from(state.partition_epoch));
            put_nodes(out, &state.replicas);
            put_nodes(out, &state.isr);
            PARTITION_CHANGED
        }
        Record::TopicDeleted { id } => {
            out.extend_from_slice(&id.0);
            TOPIC_DELETED
        }
        Record::ConfigChanged {
            resource,
            key,
            value,
        } => {
            put_resource(out, resource);
            put_text(out, key);
            put_option(out, value.as_deref());
            CONFIG_CHANGED
        }
        Record::ProducerIdsAllocated { next } => {
            put_varint(out, *next);
            PRODUCER_IDS_ALLOCATED
        }
    }
}

/// `None` for a record or a field that this version does not understand.
fn decode_record(kind: u8, fields: &mut Reader<'_>) -> Option<Record> {
    Some(match kind {
        CLUSTER_CREATED => Record::ClusterCreated {
            id: ClusterId(fields.uuid()?),
        },
        NODES_REGISTERED => {
            let start = fields.uvarint()?;
            let mut nodes = Vec::new();
            for _ in 0..fields.count()? {
                nodes.push(Node {
                    id: fields.node()?,
                    host: fields.text()?,
                    port: u16::try_from(fields.uvarint()?).ok()?,
                    rack: fields.option()?,
                });
            }
            Record::NodesRegistered { start, nodes }
        }
        TOPIC_CREATED => Record::TopicCreated {
            id: TopicId(fields.uuid()?),
            name: fields.text()?,
        },
        PARTITION_CHANGED => Record::PartitionChanged {
            topic: TopicId(fields.uuid()?),
            partition: PartitionIndex(fields.int()?),
            state: PartitionState {
                leader: fields.node()?,
                leader_epoch: LeaderEpoch(fields.int()?),
                partition_epoch: fields.int()?,
                replicas: fields.nodes()?,
                isr: fields.nodes()?,
            },
        },
        TOPIC_DELETED => Record::TopicDeleted {
            id: TopicId(fields.uuid()?),
        },
        CONFIG_CHANGED => Record::ConfigChanged {
            resource: fields.resource()?,
            key: fields.text()?,
            value: fields.option()?,
        },
        PRODUCER_IDS_ALLOCATED => Record::ProducerIdsAllocated {
            next: fields.varint()?,
        },
        _ => return None,
    })
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_uvarint(out, u64::try_from(count).unwrap_or(u64::MAX));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_nodes(out: &mut Vec<u8>, nodes: &[NodeId]) {
    put_count(out, nodes.len());
    for node in nodes {
        put_varint(out, i64::from(node.0));
    }
}

/// A resource is its Kafka number (`ConfigResource.Type`) and its name; 0 is every broker.
fn put_resource(out: &mut Vec<u8>, resource: &Resource) {
    match resource {
        Resource::Topic(id) => {
            out.push(2);
            out.extend_from_slice(&id.0);
        }
        Resource::Broker(node) => {
            out.push(4);
            put_varint(out, i64::from(node.0));
        }
        Resource::BrokerDefault => out.push(0),
        Resource::ClientMetrics(name) => {
            out.push(16);
            put_text(out, name);
        }
        Resource::Group(name) => {
            out.push(32);
            put_text(out, name);
        }
    }
}

/// Takes fields off the front of bytes that may be anything.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            let placed = part.checked_shl(shift)?;
            if placed >> shift != part {
                return None;
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn varint(&mut self) -> Option<i64> {
        let raw = self.uvarint()?;
        Some((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    /// A count or length; each counted thing takes at least a byte, which bounds it.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.uvarint()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }

    fn int(&mut self) -> Option<i32> {
        i32::try_from(self.varint()?).ok()
    }

    fn node(&mut self) -> Option<NodeId> {
        self.int().map(NodeId)
    }

    fn nodes(&mut self) -> Option<Replicas> {
        let count = self.count()?;
        (0..count).map(|_| self.node()).collect()
    }

    fn uuid(&mut self) -> Option<[u8; 16]> {
        self.take(16)?.try_into().ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.count()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn option(&mut self) -> Option<Option<String>> {
        match self.byte()? {
            0 => Some(None),
            1 => self.text().map(Some),
            _ => None,
        }
    }

    fn resource(&mut self) -> Option<Resource> {
        Some(match self.byte()? {
            0 => Resource::BrokerDefault,
            2 => Resource::Topic(TopicId(self.uuid()?)),
            4 => Resource::Broker(self.node()?),
            16 => Resource::ClientMetrics(self.text()?),
            32 => Resource::Group(self.text()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
