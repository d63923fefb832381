//! Produce, key 0, versions 3-13: appending record batches.
//!
//! Owns the layout of the request and the response. Records stay a slice of the frame; nothing is
//! allocated for a request of one topic and one partition. Never looks into records: see
//! `wire/record/`.
//!
//! Versions 0-2 are advertised and refused: Kafka 4.3 closes the connection on them, and so does
//! whoever gets [`DecodeFault::Version`](crate::wire::DecodeFault::Version) from here.
//! 3: transactional id. 4: error 56. 5: log start offset. 7: zstd. 8: record errors (KIP-467).
//! 9: flexible. 10: current leader and its endpoint (KIP-951). 11-12: transactions of version 2
//! (KIP-890). 13: topic ids (KIP-516).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{LeaderEpoch, NodeId, Offset, PartitionIndex, TimestampMs, TopicId};

request! {
    /// Batches to append; acks are -1 (all in-sync replicas), 0 (no answer) or 1 (the leader).
    ProduceRequest(PRODUCE) -> ProduceResponse;
    transactional_id: Option<KStr>, 3.., null 3.., default None;
    acks: i16, 0..;
    timeout_ms: i32, 0..;
    topic_data: SmallVec<[TopicProduceData; 1]>, 0..;
}

structure! {
    /// A topic, by name or from version 13 by id.
    TopicProduceData;
    name: KStr, 0..=12;
    topic_id: TopicId, 13..;
    partition_data: SmallVec<[PartitionProduceData; 1]>, 0..;
}

structure! {
    /// Batches for one partition, one after the other as they came.
    PartitionProduceData;
    index: PartitionIndex, 0..;
    records: Option<Bytes>, 0.., null 0.., default None;
}

response! {
    /// Outcome by partition.
    ProduceResponse(PRODUCE);
    responses: SmallVec<[TopicProduceResponse; 1]>, 0..;
    throttle_time_ms: i32, 1..;
    /// Where the nodes named as current leaders listen.
    node_endpoints: Vec<NodeEndpoint>, 10.., tag 0;
}

structure! {
    /// A topic answered.
    TopicProduceResponse;
    name: KStr, 0..=12;
    topic_id: TopicId, 13..;
    partition_responses: SmallVec<[PartitionProduceResponse; 1]>, 0..;
}

structure! {
    /// Outcome for one partition.
    PartitionProduceResponse;
    index: PartitionIndex, 0..;
    error_code: ErrorCode, 0..;
    base_offset: Offset, 0..;
    /// -1 unless the topic uses log append time.
    log_append_time_ms: TimestampMs, 2.., default TimestampMs(-1);
    log_start_offset: Offset, 5.., default Offset::NONE;
    record_errors: Vec<BatchIndexAndErrorMessage>, 8..;
    error_message: Option<KStr>, 8.., null 8.., default None;
    /// Told with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH.
    current_leader: LeaderIdAndEpoch, 10.., tag 0;
}

structure! {
    /// A record that made its batch fail, by its place in the batch.
    BatchIndexAndErrorMessage;
    batch_index: i32, 8..;
    batch_index_error_message: Option<KStr>, 8.., null 8.., default None;
}

structure! {
    /// A leader, -1 unknown.
    LeaderIdAndEpoch;
    leader_id: NodeId, 10.., default NodeId::NONE;
    leader_epoch: LeaderEpoch, 10.., default LeaderEpoch(-1);
}

structure! {
    /// Where a node listens.
    NodeEndpoint;
    node_id: NodeId, 10..;
    host: KStr, 10..;
    port: i32, 10..;
    rack: Option<KStr>, 10.., null 10.., default None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{DecodeFault, Reader};
    use crate::wire::frame::{RequestFrame, ResponseFrame};
    use crate::wire::header::RequestHeader;
    use crate::wire::message::Message;

    #[test]
    fn versions_0_to_2_are_refused() {
        let bytes = Bytes::from_static(&[0; 30]);
        for version in 0..3 {
            let read = ProduceRequest::read(&mut Reader::new(&bytes), version);
            assert_eq!(read, Err(DecodeFault::Version(version)));
        }
    }

    #[test]
    fn records_are_a_slice_of_the_frame_and_one_partition_allocates_nothing() {
        let mut request = ProduceRequest {
            acks: -1,
            ..ProduceRequest::default()
        };
        let records = Bytes::from(vec![7; 100]);
        request.topic_data.push(TopicProduceData {
            name: KStr::from("t"),
            partition_data: SmallVec::from_elem(
                PartitionProduceData {
                    index: PartitionIndex(3),
                    records: Some(records),
                },
                1,
            ),
            ..TopicProduceData::default()
        });
        for version in 3..=12 {
            let frame = Bytes::from(RequestFrame::of(version, 1, None, &request).concat());
            let frame = frame.slice(4..);
            let mut reader = Reader::new(&frame);
            RequestHeader::read(&mut reader).unwrap();
            let read = ProduceRequest::read(&mut reader, version).unwrap();
            assert_eq!(read, request);
            assert!(!read.topic_data.spilled());
            let partition = &read.topic_data[0].partition_data;
            assert!(!partition.spilled());
            let slice = partition[0].records.as_ref().unwrap();
            assert!(frame.as_ptr_range().contains(&slice.as_ptr()));
        }
    }

    #[test]
    fn an_answer_has_the_bytes_that_kafka_sends() {
        // Apache Kafka 4.3.1 to version 3, an unknown topic `t`, partition 0.
        let mut answer = ProduceResponse::default();
        answer.responses.push(TopicProduceResponse {
            name: KStr::from("t"),
            partition_responses: SmallVec::from_elem(
                PartitionProduceResponse {
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    base_offset: Offset::NONE,
                    ..PartitionProduceResponse::default()
                },
                1,
            ),
            ..TopicProduceResponse::default()
        });
        let bytes = ResponseFrame::of(3, 7, &answer).concat();
        let expected: &[u8] = b"\0\0\0\x29\0\0\0\x07\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\x03\
            \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(bytes, expected);
    }
}
