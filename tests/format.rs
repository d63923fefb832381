//! The bytes on disk, announced: what the writers make of fixed inputs is what `src/FORMAT.md`
//! shows, byte by byte, and the other reader finds in it what the page says.
//!
//! A layout that changes fails here until the page says so, too.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla::control::meta_properties::MetaProperties;
use ottla::inspect::journal::{Block, Walk as JournalWalk};
use ottla::inspect::segment::{Step, Walk};
use ottla::inspect::{index, metadata, names, papers};
use ottla::log::checkpoints::{JournalMark, PartitionMark, ShardCheckpoint};
use ottla::log::epochs::LeaderEpochs;
use ottla::log::journal_entry::{self, DurableMark, EntryBatch, EntryStamp};
use ottla::log::names::encode_partition_metadata;
use ottla::log::producer_snapshot::{self, SnapshotEntry};
use ottla::log::segment_indexes::{IndexSettings, SegmentIndexes};
use ottla::metadata::codec;
use ottla::metadata::records::{Node, PartitionState, Resource};
use ottla::metadata::{ClusterId, Record};
use ottla::wire::record::BatchHeader;
use ottla::wire::record::builder::{BatchBuilder, NewRecord};
use ottla::wire::record::header::Codec;
use ottla::words::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, ShardId,
    TimestampMs, TopicId, TopicPartition,
};

const TOPIC: TopicId = TopicId(*b"topic-id-16bytes");
const PARTITION: TopicPartition = TopicPartition {
    topic: TOPIC,
    partition: PartitionIndex(1),
};
const TIME: i64 = 1_700_000_000_000;
const INCARNATION: u64 = 0x3_5eed_5eed;

/// Offset 7 and offsets 8 and 9, of one idempotent producer.
fn batches() -> [Bytes; 2] {
    let builder = |base, sequence| {
        BatchBuilder::new(Codec::NONE)
            .base_offset(Offset(base))
            .leader_epoch(LeaderEpoch(2))
            .producer(ProducerId(4000), ProducerEpoch(1), Sequence(sequence))
    };
    let record = |after, key, value| NewRecord::of(TimestampMs(TIME + after), key, Some(value));
    let mut first = builder(7, 0);
    first.push(&record(0, None, b"one")).unwrap();
    let mut second = builder(8, 1);
    second.push(&record(5, Some(b"k"), b"two")).unwrap();
    second.push(&record(9, None, b"three")).unwrap();
    [first.build().unwrap(), second.build().unwrap()]
}

fn indexes() -> SegmentIndexes {
    let settings = IndexSettings {
        segment_index_bytes: 1024,
        index_interval_bytes: 0,
    };
    let mut indexes = SegmentIndexes::new(Offset(7), settings);
    let mut position = 0;
    for batch in batches() {
        let header = BatchHeader::parse(&batch).unwrap();
        indexes.appended(&header, position).unwrap();
        position += u32::try_from(batch.len()).unwrap();
    }
    indexes.seal().unwrap();
    indexes
}

fn entry() -> Vec<u8> {
    let [first, _] = batches();
    let (header, body) = first.split_first_chunk().unwrap();
    let batch = EntryBatch {
        topic_partition: PARTITION,
        base_offset: Offset(7),
        last_offset: Offset(7),
        leader_epoch: LeaderEpoch(2),
        header: *header,
        body,
    };
    let mark = DurableMark {
        topic_partition: TopicPartition {
            partition: PartitionIndex(0),
            ..PARTITION
        },
        last_offset: Offset(41),
    };
    let stamp = EntryStamp {
        incarnation: INCARNATION,
        sequence: 5,
        filled_through: 3,
        completed_through: 4,
    };
    let len = journal_entry::encoded_len(&[batch], &[mark]).unwrap();
    let mut out = vec![0; len];
    journal_entry::encode(stamp, &[batch], &[mark], &mut out, &mut Vec::new()).unwrap();
    out
}

fn checkpoint() -> Vec<u8> {
    let [first, second] = batches();
    let mark = PartitionMark {
        id: PARTITION,
        log_start: Offset(7),
        end_offset: Offset(10),
        active_base: Offset(7),
        active_bytes: (first.len() + second.len()) as u64,
        max_timestamp: TimestampMs(TIME + 9),
        max_timestamp_offset: Offset(9),
        offset_index_entries: 1,
        time_index_entries: 1,
        bytes_since_index_entry: u32::try_from(second.len()).unwrap(),
        leader_epoch: LeaderEpoch(2),
        first_batch_timestamp: TimestampMs(TIME),
    };
    let checkpoint = ShardCheckpoint {
        shard: ShardId(0),
        through: JournalMark {
            incarnation: INCARNATION,
            sequence: 5,
        },
        partitions: vec![mark],
    };
    checkpoint.encode()
}

fn snapshot() -> Vec<u8> {
    producer_snapshot::encode(&[SnapshotEntry {
        producer_id: ProducerId(4000),
        epoch: ProducerEpoch(1),
        last_sequence: Sequence(2),
        last_offset: Offset(9),
        offset_delta: 1,
        timestamp: TimestampMs(TIME + 9),
        coordinator_epoch: -1,
        txn_first_offset: Offset(-1),
    }])
}

fn metadata_log() -> Vec<u8> {
    let node = Node {
        id: NodeId(0),
        host: "127.0.0.1".to_owned(),
        port: 9092,
        rack: None,
    };
    let state = PartitionState {
        leader: NodeId(0),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: [NodeId(0)].into_iter().collect(),
        isr: [NodeId(0)].into_iter().collect(),
    };
    let first = [
        Record::ClusterCreated {
            id: ClusterId(*b"cluster-16-bytes"),
        },
        Record::NodesRegistered {
            start: 1,
            nodes: vec![node],
        },
    ];
    let second = [
        Record::TopicCreated {
            id: TOPIC,
            name: "t".to_owned(),
        },
        Record::PartitionChanged {
            topic: TOPIC,
            partition: PartitionIndex(0),
            state,
        },
        Record::ConfigChanged {
            resource: Resource::Topic(TOPIC),
            key: "retention.ms".to_owned(),
            value: Some("-1".to_owned()),
        },
        Record::ProducerIdsAllocated { next: 5000 },
    ];
    let mut out = Vec::new();
    codec::encode_frame(0, &first, &mut out).unwrap();
    codec::encode_frame(2, &second, &mut out).unwrap();
    out
}

fn epochs() -> Vec<u8> {
    let mut epochs = LeaderEpochs::new();
    epochs.assign(LeaderEpoch(0), Offset(0));
    epochs.assign(LeaderEpoch(2), Offset(7));
    epochs.encode()
}

fn meta_properties() -> Vec<u8> {
    let text = MetaProperties {
        cluster: ClusterId(*b"cluster-16-bytes"),
        machine: 0,
        directory: Some(ClusterId(*b"directory-16byte")),
    };
    text.to_string().into_bytes()
}

/// Everything that the page shows, by the name in its fence.
fn written() -> BTreeMap<&'static str, Vec<u8>> {
    let indexes = indexes();
    BTreeMap::from([
        ("segment", batches().concat()),
        ("index", indexes.offset_index().bytes().to_vec()),
        ("timeindex", indexes.time_index().bytes().to_vec()),
        ("journal", entry()),
        ("checkpoint", checkpoint()),
        ("snapshot", snapshot()),
        ("metadata.log", metadata_log()),
        ("leader-epoch-checkpoint", epochs()),
        ("partition.metadata", encode_partition_metadata(TOPIC)),
        ("meta.properties", meta_properties()),
    ])
}

/// The page's examples: fences "```hex NAME", rows of "OFFSET  BYTES    WHAT". A last row with
/// "..." instead of bytes stands for zeros up to the offset of the row behind it.
fn shown() -> BTreeMap<String, Vec<u8>> {
    let page = include_str!("../src/FORMAT.md");
    let mut examples = BTreeMap::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("```hex ") {
            open = Some((name.to_owned(), Vec::new()));
            continue;
        }
        let Some((name, bytes)) = &mut open else {
            continue;
        };
        if line == "```" {
            examples.insert(name.clone(), bytes.clone());
            open = None;
            continue;
        }
        let (offset, rest) = line.split_at(6);
        let offset = usize::from_str_radix(offset.trim(), 16).unwrap();
        if offset > bytes.len() {
            bytes.resize(offset, 0);
        }
        assert_eq!(offset, bytes.len(), "{name}: {line}");
        let hex = rest.split("    ").next().unwrap();
        let pairs = hex.split(' ').filter(|pair| !pair.is_empty());
        bytes.extend(pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()));
    }
    examples
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_page_shows_what_is_written() {
    let shown = shown();
    let mut wrong = Vec::new();
    for (name, bytes) in written() {
        if shown.get(name) != Some(&bytes) {
            let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            wrong.push(format!("{name} {} {}", bytes.len(), hex(&bytes[..used])));
        }
    }
    assert!(
        wrong.is_empty(),
        "src/FORMAT.md shows other bytes for:\n{}",
        wrong.join("\n")
    );
    assert_eq!(shown.len(), written().len());
}

#[test]
fn the_other_reader_finds_in_the_examples_what_was_put_in() {
    let shown = shown();
    let mut walk = Walk::new(shown["segment"].as_slice(), true);
    let mut offsets = index::OffsetIndex::new(7, &shown["index"], index::Exact::Yes);
    let mut times = index::TimeIndex::new(7, &shown["timeindex"], index::Exact::Yes);
    let mut found = Vec::new();
    while let Step::Batch(batch) = walk.step().unwrap() {
        assert!(batch.intact);
        offsets.see(batch.position, &batch.batch);
        times.see(&batch.batch);
        found.push((batch.batch.base_offset, batch.batch.last_offset()));
    }
    assert_eq!(found, [(7, Some(7)), (8, Some(9))]);
    assert_eq!((offsets.len(), offsets.faults()), (1, vec![]));
    assert_eq!((times.len(), times.faults()), (1, vec![]));
    assert!(times.ends_with_largest());
    let mut journal = JournalWalk::new(shown["journal"].as_slice());
    let Some((0, Block::Entry(entry))) = journal.step().unwrap() else {
        panic!("no entry");
    };
    assert_eq!(
        (entry.faults.len(), entry.batches.len(), entry.marks.len()),
        (0, 1, 1)
    );
    assert_eq!(
        (entry.stamp.incarnation, entry.stamp.sequence),
        (INCARNATION, 5)
    );
    assert_eq!(entry.batches[0].id, (TOPIC, 1));
    assert_eq!(entry.marks[0].last_offset, 41);
    assert_eq!(journal.step().unwrap(), None);
    let checkpoint = papers::checkpoint(&shown["checkpoint"]).unwrap();
    assert_eq!(
        (checkpoint.sequence, checkpoint.marks[0].end_offset),
        (5, 10)
    );
    let producers = papers::snapshot(&shown["snapshot"]).unwrap();
    assert_eq!((producers[0].id, producers[0].last_sequence), (4000, 2));
    let metadata = metadata::read(&shown["metadata.log"]);
    assert_eq!(
        (metadata.version, metadata.faults.len(), metadata.starts),
        (6, 0, 1)
    );
    let topic = &metadata.topics[&TOPIC];
    assert_eq!((topic.name.as_str(), topic.partitions[&0]), ("t", (0, 0)));
    assert_eq!(topic.settings["retention.ms"], "-1");
    assert_eq!(metadata.producer_ids_below, 5000);
    let epochs = papers::epochs(&shown["leader-epoch-checkpoint"]);
    assert_eq!(epochs, Ok(vec![(0, 0), (2, 7)]));
    assert_eq!(
        names::partition_metadata(&shown["partition.metadata"]),
        Some(TOPIC)
    );
    let owner = names::meta_properties(&shown["meta.properties"]);
    assert_eq!(owner.map(|(_, machine)| machine), Some(0));
}
