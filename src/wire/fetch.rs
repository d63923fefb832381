//! Fetch, key 1, versions 4-18: reading record batches.
//!
//! Owns the layout of the request and the response, and [`Records`], by which the record bytes of
//! a response travel from cache or disk to the socket without being copied. Never looks into them.
//!
//! 4: isolation level. 5: log start offset. 7: sessions (KIP-227). 9: leader epoch (KIP-320).
//! 10: zstd. 11: rack, preferred replica (KIP-392). 12: flexible, last fetched epoch, diverging
//! epoch. 13: topic ids (KIP-516). 14: error 109 (KIP-405). 15: replica state (KIP-903).
//! 16: endpoints of current leaders (KIP-951). 17: directory ids (KIP-853). 18: high watermark of
//! the replica (KIP-1166).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::wire::codec::{DecodeFault, Reader, Writer};
use crate::wire::error_code::ErrorCode;
use crate::wire::field::{Field, Form, Nullable};
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicId};

/// Record batches of one partition in a response: pieces that follow each other.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pieces: SmallVec<[Bytes; 1]>,
}

impl Records {
    pub fn new() -> Records {
        Records::default()
    }

    /// Adds bytes at the end, by reference.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.pieces
            .iter()
            .fold(0, |len, piece| len.saturating_add(piece.len()))
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// All bytes in one; copies only if there are several pieces.
    pub fn into_bytes(mut self) -> Bytes {
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.pop().unwrap_or_default(),
            _ => Bytes::from(self.pieces.concat()),
        }
    }
}

impl From<Bytes> for Records {
    fn from(piece: Bytes) -> Records {
        let mut records = Records::new();
        records.push(piece);
        records
    }
}

/// The same bytes, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Records) -> bool {
        self.len() == other.len()
            && self
                .pieces
                .iter()
                .flatten()
                .eq(other.pieces.iter().flatten())
    }
}

impl Field for Records {
    fn empty() -> Self {
        Records::new()
    }

    fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault> {
        Bytes::take(reader, form).map(Records::from)
    }

    fn put(&self, writer: &mut Writer, form: Form) {
        writer.long_len(Some(self.len()), form.flexible);
        for piece in &self.pieces {
            writer.splice(piece.clone());
        }
    }

    fn bytes_min(form: Form) -> usize {
        Bytes::bytes_min(form)
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::wire::testing::Dice, _: Form) -> Self {
        let mut records = Records::new();
        for _ in 0..dice.below(3) {
            records.push(dice.bytes());
        }
        records
    }
    #[cfg(test)]
    fn shape() -> crate::wire::testing::Shape {
        Bytes::shape()
    }
}

impl Nullable for Records {
    fn take_nullable(reader: &mut Reader<'_>, form: Form) -> Result<Option<Self>, DecodeFault> {
        Ok(Bytes::take_nullable(reader, form)?.map(Records::from))
    }

    fn put_null(writer: &mut Writer, form: Form) {
        Bytes::put_null(writer, form);
    }
}

request! {
    /// Partitions to read; waits up to `max_wait_ms` milliseconds for `min_bytes`.
    FetchRequest(FETCH) -> FetchResponse;
    cluster_id: Option<KStr>, 12.., null 12.., tag 0, default None;
    replica_id: NodeId, 0..=14, default NodeId::NONE;
    replica_state: ReplicaState, 15.., tag 1;
    max_wait_ms: i32, 0..;
    min_bytes: i32, 0..;
    max_bytes: i32, 3.., default i32::MAX;
    /// 0 read uncommitted, 1 read committed.
    isolation_level: i8, 4..;
    /// 0 asks for a new session, or goes with epoch -1 for none.
    session_id: i32, 7..;
    session_epoch: i32, 7.., default -1;
    topics: SmallVec<[FetchTopic; 1]>, 0..;
    /// Partitions to take out of the session.
    forgotten_topics_data: Vec<ForgottenTopic>, 7..;
    rack_id: KStr, 11..;
}

impl FetchRequest {
    /// A replica asks; a consumer has no id, which is any negative number.
    pub fn is_follower(&self) -> bool {
        self.replica_id.0 >= 0 || self.replica_state.replica_id.0 >= 0
    }
}

structure! {
    /// The follower that asks, -1 for a consumer.
    ReplicaState;
    replica_id: NodeId, 15.., default NodeId::NONE;
    replica_epoch: i64, 15.., default -1;
}

structure! {
    /// A topic, by name or from version 13 by id.
    FetchTopic;
    topic: KStr, 0..=12;
    topic_id: TopicId, 13..;
    partitions: SmallVec<[FetchPartition; 1]>, 0..;
}

structure! {
    /// A partition, and from where to read.
    FetchPartition;
    partition: PartitionIndex, 0..;
    /// What the client believes; -1 for nothing.
    current_leader_epoch: LeaderEpoch, 9.., default LeaderEpoch(-1);
    fetch_offset: Offset, 0..;
    last_fetched_epoch: LeaderEpoch, 12.., default LeaderEpoch(-1);
    /// Of a follower's own log.
    log_start_offset: Offset, 5.., default Offset::NONE;
    partition_max_bytes: i32, 0..;
    replica_directory_id: TopicId, 17.., tag 0;
    /// Known to the follower: -1 not known, the largest value not supported.
    high_watermark: Offset, 18.., tag 1, default Offset(i64::MAX);
}

structure! {
    /// Partitions to take out of the session.
    ForgottenTopic;
    topic: KStr, 7..=12;
    topic_id: TopicId, 13..;
    partitions: Vec<PartitionIndex>, 7..;
}

response! {
    /// What was read.
    FetchResponse(FETCH);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 7..;
    session_id: i32, 7..;
    responses: Vec<FetchableTopicResponse>, 0..;
    /// Where the nodes named as current leaders listen.
    node_endpoints: Vec<NodeEndpoint>, 16.., tag 0;
}

structure! {
    /// A topic answered.
    FetchableTopicResponse;
    topic: KStr, 0..=12;
    topic_id: TopicId, 13..;
    partitions: Vec<PartitionData>, 0..;
}

structure! {
    /// Batches of one partition, from the one that holds the offset asked for.
    PartitionData;
    partition_index: PartitionIndex, 0..;
    error_code: ErrorCode, 0..;
    high_watermark: Offset, 0..;
    last_stable_offset: Offset, 4.., default Offset::NONE;
    log_start_offset: Offset, 5.., default Offset::NONE;
    diverging_epoch: EpochEndOffset, 12.., tag 0;
    current_leader: LeaderIdAndEpoch, 12.., tag 1;
    snapshot_id: SnapshotId, 12.., tag 2;
    /// Null says something else than none: which one Kafka sends depends on the error.
    aborted_transactions: Option<Vec<AbortedTransaction>>, 4.., null 4..;
    /// The replica to read from instead; then there are no records.
    preferred_read_replica: NodeId, 11.., default NodeId::NONE;
    records: Option<Records>, 0.., null 0..;
}

structure! {
    /// The end of the largest epoch that the follower and the leader share.
    EpochEndOffset;
    epoch: LeaderEpoch, 12.., default LeaderEpoch(-1);
    end_offset: Offset, 12.., default Offset::NONE;
}

structure! {
    /// A leader, -1 unknown.
    LeaderIdAndEpoch;
    leader_id: NodeId, 12.., default NodeId::NONE;
    leader_epoch: LeaderEpoch, 12.., default LeaderEpoch(-1);
}

structure! {
    /// The snapshot to read instead, in the metadata log.
    SnapshotId;
    end_offset: Offset, 0.., default Offset::NONE;
    epoch: LeaderEpoch, 0.., default LeaderEpoch(-1);
}

structure! {
    /// An aborted transaction that overlaps the records, by its first offset in the partition.
    AbortedTransaction;
    producer_id: ProducerId, 4..;
    first_offset: Offset, 4..;
}

structure! {
    /// Where a node listens.
    NodeEndpoint;
    node_id: NodeId, 16..;
    host: KStr, 16..;
    port: i32, 16..;
    rack: Option<KStr>, 16.., null 16.., default None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::ResponseFrame;
    use crate::wire::header::ResponseHeader;
    use crate::wire::message::Message;

    fn answer(pieces: &[Bytes]) -> FetchResponse {
        let mut records = Records::new();
        pieces.iter().cloned().for_each(|piece| records.push(piece));
        FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: KStr::from("t"),
                partitions: vec![
                    PartitionData {
                        records: Some(records),
                        ..PartitionData::default()
                    },
                    PartitionData {
                        aborted_transactions: None,
                        ..PartitionData::default()
                    },
                ],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        }
    }

    #[test]
    fn records_reach_the_socket_as_the_bytes_they_were() {
        let pieces = [Bytes::from(vec![1; 10]), Bytes::from(vec![2; 20])];
        for version in 4..=18 {
            let parts = ResponseFrame::of(version, 7, &answer(&pieces));
            assert_eq!(parts.len(), 4);
            for (piece, part) in pieces.iter().zip(&parts[1..3]) {
                assert_eq!(piece.as_ptr_range(), part.as_ptr_range());
            }
            let whole = Bytes::from(parts.concat());
            let size = i32::from_be_bytes(whole[..4].try_into().unwrap());
            assert_eq!(size as usize + 4, whole.len());
        }
    }

    #[test]
    fn no_aborted_transactions_and_null_survive_as_two_things() {
        for version in 4..=12 {
            let sent = answer(&[]);
            let frame = Bytes::from(ResponseFrame::of(version, 7, &sent).concat()).slice(4..);
            let mut reader = Reader::new(&frame);
            ResponseHeader::read(&mut reader, FetchResponse::API, version).unwrap();
            let read = FetchResponse::read(&mut reader, version).unwrap();
            assert_eq!(read, sent);
            let partitions = &read.responses[0].partitions;
            assert_eq!(partitions[0].aborted_transactions, Some(Vec::new()));
            assert_eq!(partitions[1].aborted_transactions, None);
        }
    }

    #[test]
    fn a_known_tag_of_a_later_version_is_refused_as_kafka_does() {
        // Version 12, no partitions; the tag of the replica state, which came with 15.
        let body: &[u8] = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\xff\xff\xff\xff\
            \x01\x01\x01\x01\x01\x02ab";
        let body = Bytes::from_static(body);
        let read = FetchRequest::read(&mut Reader::new(&body), 12);
        assert_eq!(read, Err(DecodeFault::TagVersion(1)));
    }
}
