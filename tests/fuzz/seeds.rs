//! Where the fuzz targets start from: bytes that are good, so that a change to them is interesting.
//!
//! Owns the making of seeds of our own formats by our own writers (they cannot go stale), and the
//! reading of `corpus/`: messages and Kafka's own batches as text, and inputs that once found a
//! bug, as files below the target's name.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla::log::checkpoints::{
    JournalMark, PartitionMark, PartitionOffset, ShardCheckpoint, encode_offsets,
};
use ottla::log::epochs::LeaderEpochs;
use ottla::log::journal_entry::{self, DurableMark, EntryBatch, EntryStamp};
use ottla::log::names;
use ottla::log::offset_index::OffsetIndex;
use ottla::log::producer_snapshot::{self, SnapshotEntry};
use ottla::log::time_index::{TimeIndex, TimestampOffset};
use ottla::metadata::records::PartitionState;
use ottla::metadata::{ClusterId, Node, Record, Resource, codec};
use ottla::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::record::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec, NewRecord, RecordHeader, compression,
};
use ottla::wire::{KStr, Message, RequestHeader, Writer};
use ottla::words::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, ShardId,
    TimestampMs, TopicId, TopicPartition,
};

use super::targets::MESSAGES;

const CODECS: [Codec; 5] = [
    Codec::NONE,
    Codec::GZIP,
    Codec::SNAPPY,
    Codec::LZ4,
    Codec::ZSTD,
];
const TIME: i64 = 1_700_000_000_000;
const PARTITION: TopicPartition = TopicPartition {
    topic: TopicId([7; 16]),
    partition: PartitionIndex(1),
};

/// The seeds of a target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "frames" => requests().iter().map(|r| framed(&[r, r])).collect(),
        "request_header" | "cold_request" => requests(),
        "messages" => messages(),
        "produce_request" => produce_requests(),
        "single_batch" => batches(),
        "batch_walk" => [batches(), vec![batches().concat()]].concat(),
        "records" => records(),
        "gzip" => packed(Codec::GZIP),
        "snappy" => packed(Codec::SNAPPY),
        "lz4" => packed(Codec::LZ4),
        "zstd" => packed(Codec::ZSTD),
        "segment_scan" => after(16, &[batches(), vec![segment()]].concat()),
        "journal_entry" => vec![entry(&[]), entry(&batches()), entry(&[segment()])],
        "offset_index" => after(0, &[offset_index()]),
        "time_index" => after(0, &[time_index()]),
        "producer_snapshot" => vec![snapshot(0), snapshot(3)],
        "shard_checkpoint" => vec![checkpoint(0), checkpoint(2)],
        "offset_checkpoint" => vec![offsets()],
        "epoch_checkpoint" => vec![epochs(), b"0\n0\n".to_vec()],
        "metadata_frame" => metadata()
            .iter()
            .map(|frame| frame[12..].to_vec())
            .collect(),
        "metadata_log" => vec![metadata().concat()],
        "log_names" => NAMES.iter().map(|name| name.as_bytes().to_vec()).collect(),
        "property_files" => property_files(),
        "server_properties" => vec![SERVER_PROPERTIES.as_bytes().to_vec()],
        "topic_configs" => vec![TOPIC_CONFIGS.as_bytes().to_vec()],
        "inspect_segment" => [batches(), vec![segment()]].concat(),
        "inspect_journal" => [
            seeds("journal_entry"),
            vec![seeds("journal_entry").concat()],
        ]
        .concat(),
        "inspect_papers" => [
            "producer_snapshot",
            "shard_checkpoint",
            "offset_checkpoint",
            "epoch_checkpoint",
            "property_files",
        ]
        .iter()
        .flat_map(|name| seeds(name))
        .collect(),
        "inspect_metadata" => vec![metadata().concat()],
        other => panic!("no seeds for {other}"),
    };
    seeds.extend(found(target));
    seeds
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Inputs that once found a bug.
fn found(target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(corpus().join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable corpus").path())
        .collect();
    paths.sort();
    let read = |path: &PathBuf| std::fs::read(path).expect("a readable corpus");
    paths.iter().map(read).collect()
}

/// Lines of a corpus file: words, the last of which is hex.
fn lines(file: &str) -> Vec<(Vec<String>, Vec<u8>)> {
    let text = std::fs::read_to_string(corpus().join(file)).expect("a readable corpus");
    let line = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let hex = words.pop().unwrap_or_default();
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two hex digits");
        (words, digits.chunks_exact(2).map(byte).collect())
    };
    let all = text.lines().filter(|line| !line.starts_with('#'));
    all.map(line).collect()
}

/// Every message of the corpus, as the target `messages` takes it.
fn messages() -> Vec<Vec<u8>> {
    let of = |(words, body): (Vec<String>, Vec<u8>)| {
        let which = MESSAGES.iter().position(|(name, ..)| *name == words[0]);
        let which = which.expect("a message of the catalogue");
        let version: i16 = words[1].parse().expect("a version");
        let version = version - MESSAGES[which].1.version_min;
        let head = [which, usize::try_from(version).expect("a version served")];
        let head = head.map(|number| u8::try_from(number).expect("below 256"));
        [head.as_slice(), &body].concat()
    };
    lines("messages.txt").into_iter().map(of).collect()
}

/// Every request of the corpus with its header.
fn requests() -> Vec<Vec<u8>> {
    let of = |(words, body): (Vec<String>, Vec<u8>)| {
        let (_, api, _) = MESSAGES.iter().find(|(name, ..)| *name == words[0])?;
        let header = RequestHeader {
            api,
            version: words[1].parse().expect("a version"),
            correlation_id: 7,
            client_id: Some("fuzz".into()),
        };
        let mut writer = Writer::new();
        header.write(&mut writer);
        writer.put(&body);
        words[0]
            .ends_with("Request")
            .then(|| writer.into_bytes().to_vec())
    };
    lines("messages.txt").into_iter().filter_map(of).collect()
}

fn framed(frames: &[&Vec<u8>]) -> Vec<u8> {
    let mut out = vec![3, 200, 1, 70];
    for frame in frames {
        let size = i32::try_from(frame.len()).expect("a short frame");
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(frame);
    }
    out
}

/// `first` in front of each.
fn after(first: u8, all: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let one = |bytes: &Vec<u8>| [&[first], bytes.as_slice()].concat();
    all.iter().map(one).collect()
}

fn builder(codec: Codec) -> BatchBuilder {
    let mut builder =
        BatchBuilder::new(codec).producer(ProducerId(4000), ProducerEpoch(1), Sequence(i32::MAX));
    let headers = [RecordHeader {
        key: b"h",
        value: None,
    }];
    for (place, key) in [None, Some(b"key".as_slice()), Some(b"")]
        .iter()
        .enumerate()
    {
        let time = TimestampMs(TIME + i64::try_from(place).expect("small") * 100);
        let mut record = NewRecord::of(time, *key, Some(b"value value value value"));
        record.headers = &headers[..place % 2];
        builder.push(&record).expect("a small record");
    }
    builder
}

/// Kafka's own batches and ours, in every codec.
fn batches() -> Vec<Vec<u8>> {
    let kafkas = lines("batches.txt").into_iter().map(|(_, bytes)| bytes);
    let ours = CODECS.iter().map(|codec| {
        let batch = builder(*codec).build().expect("records");
        batch.to_vec()
    });
    kafkas.chain(ours).collect()
}

/// Batches whose offsets follow each other.
fn segment() -> Vec<u8> {
    let batch = |at: i64| builder(Codec::NONE).base_offset(Offset(at)).build();
    let batch = |at| batch(at).expect("records").to_vec();
    [batch(0), batch(3), batch(6), vec![0; 100]].concat()
}

fn produce_requests() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (batch, version) in batches().into_iter().zip((3i16..=13).cycle()) {
        let data = |index| PartitionProduceData {
            index: PartitionIndex(index),
            records: Some(Bytes::from(batch.clone())),
        };
        let mut request = ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            ..ProduceRequest::default()
        };
        request.topic_data.push(TopicProduceData {
            name: KStr::from_static("t"),
            topic_id: PARTITION.topic,
            partition_data: [data(0), data(1), data(0)].into_iter().collect(),
        });
        let mut writer = Writer::new();
        request.write(&mut writer, version);
        let first = u8::try_from(version - 3).expect("a small version");
        out.push([&[first], &writer.into_bytes()[..]].concat());
    }
    out
}

fn records() -> Vec<Vec<u8>> {
    let body = |batch: &Vec<u8>| [&[3], &batch[BATCH_HEADER_BYTES..]].concat();
    let all = batches();
    let plain = all.iter().filter(|batch| batch[22] & 7 == 0);
    let marker = [0, 0, 0, 1, 0, 0, 0, 0, 0, 9].to_vec();
    plain.map(body).chain([marker]).collect()
}

/// Compressed text, noise and nothing, and what Kafka's codec made.
fn packed(codec: Codec) -> Vec<Vec<u8>> {
    let text = b"the same words and the same words ".repeat(9);
    let noise: Vec<u8> = (0u32..200)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let mut out: Vec<Vec<u8>> = [text, noise, Vec::new()]
        .iter()
        .map(|bytes| compression::compress(codec, bytes, None).expect("short"))
        .collect();
    let kafkas = lines("batches.txt").into_iter().filter_map(|(_, batch)| {
        let header = BatchHeader::parse(&batch).ok()?;
        (header.codec() == codec).then(|| batch[BATCH_HEADER_BYTES..].to_vec())
    });
    out.extend(kafkas);
    out
}

fn entry(batches: &[Vec<u8>]) -> Vec<u8> {
    let batches: Vec<EntryBatch<'_>> = batches
        .iter()
        .map(|batch| EntryBatch {
            topic_partition: PARTITION,
            base_offset: Offset(100),
            last_offset: Offset(102),
            leader_epoch: LeaderEpoch(2),
            header: *batch.first_chunk().expect("a header"),
            body: &batch[BATCH_HEADER_BYTES..],
        })
        .collect();
    let marks = [DurableMark {
        topic_partition: PARTITION,
        last_offset: Offset(99),
    }];
    let stamp = EntryStamp {
        incarnation: 5,
        sequence: 9,
        filled_through: 3,
        completed_through: 7,
    };
    let len = journal_entry::encoded_len(&batches, &marks).expect("a small entry");
    let mut out = vec![0; len];
    journal_entry::encode(stamp, &batches, &marks, &mut out, &mut Vec::new()).expect("room");
    out
}

fn offset_index() -> Vec<u8> {
    let mut index = OffsetIndex::new(Offset(0), 1 << 20);
    for at in 1..20u32 {
        let offset = Offset(i64::from(at) * 11);
        index.append(offset, at * 4200).expect("ascending");
    }
    index.bytes().to_vec()
}

fn time_index() -> Vec<u8> {
    let mut index = TimeIndex::new(Offset(0), 1 << 20);
    for at in 1..20 {
        let timestamp = TimestampMs(TIME + at * 7);
        let offset = Offset(at * 11);
        let entry = TimestampOffset { timestamp, offset };
        index.maybe_append(entry).expect("ascending");
    }
    index.bytes().to_vec()
}

fn snapshot(entries: i64) -> Vec<u8> {
    let entry = |id: i64| SnapshotEntry {
        producer_id: ProducerId(id),
        epoch: ProducerEpoch(1),
        last_sequence: Sequence(20),
        last_offset: Offset(30 + id),
        offset_delta: 4,
        timestamp: TimestampMs(TIME),
        coordinator_epoch: -1,
        txn_first_offset: Offset(if id == 1 { 26 } else { -1 }),
    };
    let entries: Vec<SnapshotEntry> = (0..entries).map(entry).collect();
    producer_snapshot::encode(&entries)
}

fn checkpoint(partitions: i32) -> Vec<u8> {
    let mark = |partition| PartitionMark {
        id: TopicPartition {
            partition: PartitionIndex(partition),
            ..PARTITION
        },
        log_start: Offset(5),
        end_offset: Offset(500),
        active_base: Offset(400),
        active_bytes: 12_345,
        max_timestamp: TimestampMs(TIME),
        max_timestamp_offset: Offset(480),
        offset_index_entries: 3,
        time_index_entries: 2,
        bytes_since_index_entry: 77,
        leader_epoch: LeaderEpoch(2),
        first_batch_timestamp: TimestampMs(TIME - 5),
    };
    let checkpoint = ShardCheckpoint {
        shard: ShardId(1),
        through: JournalMark {
            incarnation: 5,
            sequence: 9,
        },
        partitions: (0..partitions).map(mark).collect(),
    };
    checkpoint.encode()
}

fn offsets() -> Vec<u8> {
    encode_offsets(&[0, 1, 2].map(|partition| PartitionOffset {
        topic: "a.topic".to_owned(),
        partition: PartitionIndex(partition),
        offset: Offset(1000),
    }))
}

fn epochs() -> Vec<u8> {
    let mut epochs = LeaderEpochs::new();
    for (epoch, start) in [(0, 0), (2, 50), (5, 700)] {
        epochs.assign(LeaderEpoch(epoch), Offset(start));
    }
    epochs.encode()
}

/// Frames of a metadata log, one after the other.
fn metadata() -> Vec<Vec<u8>> {
    let topic = TopicId([7; 16]);
    let state = PartitionState {
        leader: NodeId(0),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: [NodeId(0)].into_iter().collect(),
        isr: [NodeId(0)].into_iter().collect(),
    };
    let config = |resource| Record::ConfigChanged {
        resource,
        key: "retention.ms".to_owned(),
        value: Some("1000".to_owned()),
    };
    let first = vec![
        Record::ClusterCreated {
            id: ClusterId([1; 16]),
        },
        Record::NodesRegistered {
            start: 1,
            nodes: vec![Node {
                id: NodeId(0),
                host: "localhost".to_owned(),
                port: 9092,
                rack: Some("r".to_owned()),
            }],
        },
    ];
    let second = vec![
        Record::TopicCreated {
            id: topic,
            name: "a.topic".to_owned(),
        },
        Record::PartitionChanged {
            topic,
            partition: PartitionIndex(0),
            state,
        },
        config(Resource::Topic(topic)),
        config(Resource::Broker(NodeId(0))),
        config(Resource::BrokerDefault),
        config(Resource::Group("g".to_owned())),
        config(Resource::ClientMetrics("m".to_owned())),
    ];
    let third = vec![
        Record::ProducerIdsAllocated { next: 1000 },
        Record::TopicDeleted { id: topic },
    ];
    let mut version = 0;
    let mut frame = |records: Vec<Record>| {
        let mut out = Vec::new();
        codec::encode_frame(version, &records, &mut out).expect("a small frame");
        version += records.len() as u64;
        out
    };
    [first, second, third].map(&mut frame).to_vec()
}

fn property_files() -> Vec<Vec<u8>> {
    let meta = names::MetaProperties {
        cluster_id: "a=b:c\\".to_owned(),
        node_id: NodeId(3),
        directory_id: Some(TopicId([9; 16])),
    };
    let kafkas = "#\n#Sat Nov 21 07:00:00 UTC 2026\nnode.id=1\ndirectory.id=ASNFZ4mrze_-3LqYdlQyEA\n\
        version=1\ncluster.id=ASNFZ4mrze_-3LqYdlQyEA\n";
    vec![
        names::encode_partition_metadata(PARTITION.topic),
        meta.encode(),
        kafkas.as_bytes().to_vec(),
    ]
}

const NAMES: [&str; 8] = [
    "00000000000000000042.log",
    "00000000000000000042.timeindex.deleted",
    "09223372036854775807.snapshot",
    "a.topic-12",
    "a-b-0.0123456789abcdef0123456789abcdef-delete",
    "t-2147483647.0123456789abcdef0123456789abcdef-stray",
    "ASNFZ4mrze_-3LqYdlQyEA",
    "__consumer_offsets-49",
];

const SERVER_PROPERTIES: &str = "# a comment\n\
    node.id = 1\n\
    listeners=PLAINTEXT://[::1]:9092,\\\n    INTERNAL://0.0.0.0:0\n\
    log.dirs : /a,/b\\u0020c\n\
    log.retention.hours=-1\nlog.segment.bytes 1073741824\n\
    message.max.bytes=1048588\r\ncompression.type=zstd\n\
    ottla.produce.validation=relaxed\nno.such.key=\\t\\n\n";

const TOPIC_CONFIGS: &str = "cleanup.policy=compact,delete\nretention.ms=-1\n\
    min.compaction.lag.ms=5\nmax.message.bytes=0\nmin.cleanable.dirty.ratio=0.5\n\
    compression.type=lz4\nmessage.timestamp.type=LogAppendTime\nremote.storage.enable\n";
