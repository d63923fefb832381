//! Requests that are well formed and still odd: answered as Kafka answers them.

use std::time::Instant;

use ottla::wire::fetch::FetchResponse;
use ottla::wire::messages::ListOffsetsRequest;
use ottla::wire::messages::k02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla::wire::{ErrorCode, KStr};
use ottla::words::{NodeId, PartitionIndex, TimestampMs};

use crate::process::{Broker, PATIENCE};
use crate::talk::{FETCH, LONG_POLL, PRODUCE, Peer, batch, fetch_request, produce_request};

#[test]
fn a_topic_that_is_not_there_does_not_end_the_wait_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut reader = Peer::of(&broker);
    let mut writer = Peer::of(&broker);
    reader.create("t", 1, &[]);
    let mut both = fetch_request("t", 0, LONG_POLL);
    both.topics
        .extend(fetch_request("none", 0, LONG_POLL).topics);
    reader.connection.send(FETCH, &both).unwrap();
    writer.store("t", 0, &["at last"]);
    let answer = reader
        .connection
        .receive_as::<FetchResponse>(Instant::now() + PATIENCE)
        .unwrap();
    let told: Vec<(ErrorCode, bool)> = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|data| {
            let records = data.records.clone().unwrap().into_bytes();
            (data.error_code, records.is_empty())
        })
        .collect();
    let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true);
    assert_eq!(told, [(ErrorCode::NONE, false), unknown]);
}

#[test]
fn a_topic_named_twice_in_a_produce_request_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 2, &[]);
    let mut request = produce_request("t", 0, batch(&["first"]), -1);
    for (partition, value) in [(1, "beside"), (0, "last")] {
        let again = produce_request("t", partition, batch(&[value]), -1);
        request.topic_data.extend(again.topic_data);
    }
    let answer = peer.call_at(PRODUCE, &request);
    assert_eq!(answer.responses.len(), 1);
    assert_eq!(answer.responses[0].partition_responses.len(), 2);
    assert_eq!(peer.read("t", 0, 0), ["last"]);
    assert_eq!(peer.read("t", 1, 0), ["beside"]);
}

#[test]
fn a_partition_named_twice_under_one_topic_name_is_refused_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 2, &[]);
    let entry = |partitions: &[i32]| ListOffsetsTopic {
        name: KStr::from("t"),
        partitions: partitions
            .iter()
            .map(|index| ListOffsetsPartition {
                partition_index: PartitionIndex(*index),
                timestamp: TimestampMs(-1),
                ..ListOffsetsPartition::default()
            })
            .collect(),
    };
    let answer = peer.call(&ListOffsetsRequest {
        replica_id: NodeId(-1),
        topics: vec![entry(&[0]), entry(&[]), entry(&[0, 1])],
        ..ListOffsetsRequest::default()
    });
    assert_eq!(answer.topics.len(), 1);
    let told: Vec<(i32, ErrorCode)> = answer.topics[0]
        .partitions
        .iter()
        .map(|of| (of.partition_index.0, of.error_code))
        .collect();
    let expected = [(0, ErrorCode::INVALID_REQUEST), (1, ErrorCode::NONE)];
    assert_eq!(told, expected);
}

#[test]
fn clients_may_not_write_what_kafka_keeps_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("__consumer_offsets", 1, &[]);
    let answer = peer.produce("__consumer_offsets", 0, batch(&["x"]));
    assert_eq!(answer.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(answer.log_start_offset.0, -1);
    assert_eq!(peer.offset("__consumer_offsets", 0, -1), Ok(0));
}
