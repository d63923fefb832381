//! The metadata log's bytes: round trips, damage, and one layout pinned as text.

use proptest::prelude::*;

use super::*;

fn sample() -> Vec<Record> {
    vec![
        Record::ClusterCreated {
            id: ClusterId([7; 16]),
        },
        Record::NodesRegistered {
            start: 300,
            nodes: vec![Node {
                id: NodeId(1001),
                host: "host".into(),
                port: 9093,
                rack: Some("r".into()),
            }],
        },
        Record::TopicCreated {
            id: TopicId([1; 16]),
            name: "orders".into(),
        },
        Record::PartitionChanged {
            topic: TopicId([1; 16]),
            partition: PartitionIndex(5),
            state: PartitionState {
                leader: NodeId(-1),
                leader_epoch: LeaderEpoch(i32::MAX),
                partition_epoch: i32::MIN,
                replicas: Replicas::from_slice(&[NodeId(0), NodeId(1), NodeId(2)]),
                isr: Replicas::new(),
            },
        },
        Record::ConfigChanged {
            resource: Resource::Topic(TopicId([1; 16])),
            key: "retention.ms".into(),
            value: Some(String::new()),
        },
        Record::ConfigChanged {
            resource: Resource::BrokerDefault,
            key: "k".into(),
            value: None,
        },
        Record::ConfigChanged {
            resource: Resource::Group("g".into()),
            key: "k".into(),
            value: Some("ä".into()),
        },
        Record::TopicDeleted {
            id: TopicId([1; 16]),
        },
        Record::ProducerIdsAllocated { next: i64::MAX },
    ]
}

fn frames(batches: &[Vec<Record>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut version = 0u64;
    for batch in batches {
        encode_frame(version, batch, &mut bytes).unwrap();
        version += u64::try_from(batch.len()).unwrap();
    }
    bytes
}

#[test]
fn every_record_comes_back() {
    let bytes = frames(&[sample()]);
    let Verdict::Frame(frame) = read_at(&bytes, 0) else {
        panic!("not a frame")
    };
    assert_eq!(frame.records, sample());
    assert_eq!((frame.base_version, frame.end), (0, bytes.len()));
    assert_eq!(read_at(&bytes, bytes.len()), Verdict::End);
}

#[test]
fn the_layout_does_not_change_unseen() {
    let mut bytes = Vec::new();
    let record = Record::TopicCreated {
        id: TopicId([0xab; 16]),
        name: "t".into(),
    };
    encode_frame(3, &[record], &mut bytes).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "4f544d31",
            "1c000000",
            "a74cc021",         // magic, body length, checksum
            "0300000000000000", // base version
            "03",
            "12",
            "abababababababababababababababab",
            "01",
            "74",
        )
    );
}

#[test]
fn a_cut_at_any_byte_of_the_last_frame_is_torn() {
    let first = frames(&[sample()]).len();
    let bytes = frames(&[sample(), sample()]);
    for cut in first + 1..bytes.len() {
        assert_eq!(read_at(&bytes[..cut], first), Verdict::Torn, "cut at {cut}");
    }
    // What a drive may leave of an append: zeros, or the length without the body.
    let mut zeros = bytes[..first].to_vec();
    zeros.extend_from_slice(&[0; 500]);
    assert_eq!(read_at(&zeros, first), Verdict::Torn);
}

#[test]
fn a_flipped_bit_before_a_good_frame_is_rotten() {
    let first = frames(&[sample()]).len();
    let good = frames(&[sample(), sample()]);
    for at in 0..first {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert_eq!(read_at(&bytes, 0), Verdict::Rotten, "byte {at}");
    }
    for at in first..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert_eq!(read_at(&bytes, first), Verdict::Torn, "byte {at}");
    }
}

/// One frame with a body of these bytes after the version.
fn raw_frame(after_version: &[u8]) -> Vec<u8> {
    let mut body = 0u64.to_le_bytes().to_vec();
    body.extend_from_slice(after_version);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &body);
    [&MAGIC[..], &length, &crc.to_le_bytes(), &body].concat()
}

#[test]
fn an_intact_record_of_a_newer_version_is_unknown_and_new_fields_are_passed_over() {
    assert_eq!(read_at(&raw_frame(&[99, 0]), 0), Verdict::Unknown);
    let Verdict::Frame(frame) = read_at(&raw_frame(&[7, 3, 10, 1, 2]), 0) else {
        panic!("not a frame")
    };
    assert_eq!(frame.records, [Record::ProducerIdsAllocated { next: 5 }]);
}

#[test]
fn lengths_and_counts_beyond_the_bytes_are_refused() {
    for body in [
        &[TOPIC_DELETED, 200][..],
        &[NODES_REGISTERED, 3, 0, 0xff, 0x7f],
        &[
            TOPIC_DELETED,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0x7f,
        ],
        &[PRODUCER_IDS_ALLOCATED, 1, 0x80],
    ] {
        assert_eq!(read_at(&raw_frame(body), 0), Verdict::Unknown, "{body:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_at(&bytes, 0);
        let _ = read_at(&raw_frame(&bytes), 0);
    }

    #[test]
    fn numbers_round_trip(value in any::<i64>()) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        let mut reader = Reader { rest: &bytes };
        prop_assert_eq!(reader.varint(), Some(value));
        prop_assert!(reader.rest.is_empty());
    }
}
