//! Batches that are too much for a turn are looked into elsewhere, and nobody can tell.
//!
//! Claim: a batch that expands is answered as a small one is, in its place among the requests of its
//! connection, whatever happens meanwhile; and nobody else waits for it. Method: one shard in a
//! simulated world in which looks take long, and bombs in every codec.

use bytes::Bytes;
use ottla::devices::FaultKind;
use ottla::devices::world::{Operation, OperationKind, Trouble, WorldSettings};
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    ListOffsetsResponse,
};
use ottla::wire::messages::{
    k02_list_offsets as k02, k19_create_topics as k19, k20_delete_topics as k20,
    k44_incremental_alter_configs as k44,
};
use ottla::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use ottla::wire::record::{BatchBuilder, BatchHeader, Codec, NewRecord, crc};
use ottla::wire::{ErrorCode, Request};
use ottla::words::limits::{
    ABANDONED_BYTES_MAX, ABANDONED_REQUEST_BYTES_MIN, INLINE_UNPACKED_BYTES_MAX, LOOK_BYTES_MAX,
};
use ottla::words::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::broker::Broker;
use super::client::Client;

const PACKED: [Codec; 4] = [Codec::GZIP, Codec::SNAPPY, Codec::LZ4, Codec::ZSTD];
/// By topic name, before ids took over.
const PRODUCE: i16 = 12;
const LOOK_MS: u64 = 50;
const TIME: i64 = 1_760_000_000_000;
const BOMB_BYTES: usize = 2 << 20;

type Peer = Client<()>;

/// A broker with one shard in which every look takes [`LOOK_MS`].
fn start(seed: u64) -> Broker {
    let mut broker = Broker::new(WorldSettings::new(seed), super::ORDINARY);
    broker.start(1).expect("an empty disk");
    let slow = |what: &Operation<'_>| {
        (what.kind == OperationKind::Compute).then_some(Trouble::Slow(LOOK_MS * 1_000_000))
    };
    broker.world.judge(Some(Box::new(slow)));
    broker
}

fn peer(broker: &mut Broker) -> Peer {
    Client::connect(broker, 0)
}

/// The next answer on a connection.
fn heard<R: ottla::wire::Message>(broker: &mut Broker, peer: &mut Peer) -> R {
    heard_all(broker, peer, 1).remove(0)
}

fn heard_all<R: ottla::wire::Message>(
    broker: &mut Broker,
    peer: &mut Peer,
    count: usize,
) -> Vec<R> {
    let mut all = Vec::new();
    for _ in 0..60_000 {
        for answer in peer.answers(broker).expect("answers in order") {
            all.push(answer.decode().expect("an answer"));
        }
        if all.len() >= count {
            return all;
        }
        broker.world.run_for_ms(1);
    }
    panic!("{} of {count} answers", all.len());
}

fn call<Q: Request>(broker: &mut Broker, version: i16, body: &Q) -> Q::Response {
    let mut peer = peer(broker);
    peer.ask(broker, version, body, ());
    let answer = heard(broker, &mut peer);
    peer.leave(broker, false);
    answer
}

fn create(broker: &mut Broker, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let configs = configs
        .iter()
        .map(|(name, value)| k19::CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
    let body = CreateTopicsRequest {
        topics: vec![k19::CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.collect(),
            ..k19::CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let answer = call(broker, 7, &body);
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
}

fn delete(broker: &mut Broker, name: &str) {
    let body = DeleteTopicsRequest {
        topics: vec![k20::DeleteTopicState {
            name: Some(name.into()),
            ..k20::DeleteTopicState::default()
        }],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let answer = call(broker, 6, &body);
    assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
}

/// One record of zeros.
fn zeros(codec: Codec, len: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    let value = vec![0; len];
    let record = NewRecord::of(TimestampMs(TIME), Some(b"key"), Some(&value));
    builder.push(&record).expect("a record fits");
    builder
}

fn bomb(codec: Codec) -> Bytes {
    let bytes = zeros(codec, BOMB_BYTES).build().expect("a batch");
    assert!(bytes.len() < INLINE_UNPACKED_BYTES_MAX, "it is small");
    bytes
}

fn small() -> Bytes {
    zeros(Codec::ZSTD, 100).build().expect("a batch")
}

fn to_partitions(topic: &str, batches: &[(i32, Bytes)], acks: i16) -> ProduceRequest {
    let data = |(index, records): &(i32, Bytes)| PartitionProduceData {
        index: PartitionIndex(*index),
        records: Some(records.clone()),
    };
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: [TopicProduceData {
            name: topic.into(),
            partition_data: batches.iter().map(data).collect(),
            ..TopicProduceData::default()
        }]
        .into_iter()
        .collect(),
        ..ProduceRequest::default()
    }
}

fn send(broker: &mut Broker, peer: &mut Peer, topic: &str, records: Bytes) {
    let body = to_partitions(topic, &[(0, records)], -1);
    peer.ask(broker, PRODUCE, &body, ());
}

fn only(answer: &ProduceResponse) -> &PartitionProduceResponse {
    &answer.responses[0].partition_responses[0]
}

fn stored(broker: &mut Broker, peer: &mut Peer) -> i64 {
    let answer: ProduceResponse = heard(broker, peer);
    assert_eq!(only(&answer).error_code, ErrorCode::NONE, "{answer:?}");
    only(&answer).base_offset.0
}

/// Sends one batch on a connection of its own.
fn produce(broker: &mut Broker, topic: &str, records: Bytes) -> PartitionProduceResponse {
    let answer = call(broker, PRODUCE, &to_partitions(topic, &[(0, records)], -1));
    only(&answer).clone()
}

fn ask_offset(topic: &str, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        topics: vec![k02::ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![k02::ListOffsetsPartition {
                partition_index: PartitionIndex(0),
                timestamp: TimestampMs(timestamp),
                ..k02::ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    }
}

fn offset(broker: &mut Broker, topic: &str, timestamp: i64) -> i64 {
    let answer = call(broker, 9, &ask_offset(topic, timestamp));
    answer.topics[0].partitions[0].offset.0
}

#[test]
fn requests_behind_a_bomb_are_stored_behind_it_and_others_do_not_wait() {
    for (seed, codec) in (100..).zip(PACKED) {
        let mut broker = start(seed);
        create(&mut broker, "t", 1, &[]);
        create(&mut broker, "other", 1, &[]);
        let mut bomber = peer(&mut broker);
        for records in [
            bomb(codec),
            small(),
            bomb(codec),
            small(),
            small(),
            bomb(codec),
        ] {
            send(&mut broker, &mut bomber, "t", records);
        }
        broker.world.run_for_ms(5);
        let mut good = peer(&mut broker);
        for number in 0..5 {
            send(&mut broker, &mut good, "other", small());
            assert_eq!(stored(&mut broker, &mut good), number);
        }
        assert!(bomber.answers(&mut broker).expect("in order").is_empty());
        assert_eq!(bomber.open(), 6, "{codec:?}");
        let answers = heard_all::<ProduceResponse>(&mut broker, &mut bomber, 6);
        let bases: Vec<i64> = answers.iter().map(|one| only(one).base_offset.0).collect();
        assert_eq!(bases, [0, 1, 2, 3, 4, 5], "{codec:?}");
        // What came later lies later: sizes tell bombs from others.
        let sizes: Vec<bool> = batches(&mut broker, "t").iter().map(is_bomb).collect();
        assert_eq!(sizes, [true, false, true, false, false, true], "{codec:?}");
    }
}

/// Headers of a partition's batches.
fn batches(broker: &mut Broker, topic: &str) -> Vec<BatchHeader> {
    let body = FetchRequest {
        min_bytes: 1,
        max_bytes: 64 << 20,
        session_epoch: -1,
        topics: [FetchTopic {
            topic: topic.into(),
            partitions: [FetchPartition {
                fetch_offset: Offset(0),
                partition_max_bytes: 64 << 20,
                ..FetchPartition::default()
            }]
            .into_iter()
            .collect(),
            ..FetchTopic::default()
        }]
        .into_iter()
        .collect(),
        ..FetchRequest::default()
    };
    let mut answer = call(broker, 12, &body);
    let data = answer.responses.remove(0).partitions.remove(0);
    let bytes = data.records.unwrap_or_default().into_bytes();
    let mut rest = &bytes[..];
    let mut all = Vec::new();
    while let Ok(header) = BatchHeader::parse(rest) {
        rest = &rest[header.size_bytes()..];
        all.push(header);
    }
    all
}

fn is_bomb(header: &BatchHeader) -> bool {
    // A small one is of 100 zeros in zstd.
    header.size_bytes() > small().len() + 20
}

#[test]
fn sequence_numbers_arrive_as_they_were_sent() {
    let mut broker = start(200);
    create(&mut broker, "t", 2, &[]);
    let mut bomber = peer(&mut broker);
    let batch = |codec, len, sequence| {
        let builder = zeros(codec, len);
        let builder = builder.producer(ProducerId(7), ProducerEpoch(0), Sequence(sequence));
        builder.build().expect("a batch")
    };
    for sequence in 0..20 {
        let codec = PACKED[sequence as usize % 4];
        let len = if sequence % 3 == 0 { BOMB_BYTES } else { 50 };
        // A batch of the other partition may not hold up nor overtake anything either.
        let other = if sequence % 4 == 0 { BOMB_BYTES } else { 50 };
        let both = [
            (0, batch(codec, len, sequence)),
            (1, batch(Codec::LZ4, other, sequence)),
        ];
        let body = to_partitions("t", &both, -1);
        bomber.ask(&mut broker, PRODUCE, &body, ());
    }
    let answers = heard_all::<ProduceResponse>(&mut broker, &mut bomber, 20);
    for (number, answer) in (0..).zip(&answers) {
        for partition in &answer.responses[0].partition_responses {
            assert_eq!(partition.error_code, ErrorCode::NONE, "{number}");
            assert_eq!(partition.base_offset.0, number);
        }
    }
}

/// A batch with others in the place `at`, and the checksum mended.
fn patched(bytes: &Bytes, at: usize, patch: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    let sum = crc::whole_batch_crc(&bytes).expect("a batch");
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    bytes.into()
}

fn keyless(codec: Codec, len: usize, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    let value = vec![0; len];
    for _ in 0..2 {
        let record = NewRecord::of(TimestampMs(timestamp), None, Some(&value));
        builder.push(&record).expect("a record fits");
    }
    builder.build().expect("a batch")
}

#[test]
fn a_large_batch_is_refused_with_the_words_for_a_small_one() {
    let mut broker = start(300);
    create(&mut broker, "plain", 1, &[]);
    create(
        &mut broker,
        "compacted",
        1,
        &[("cleanup.policy", "compact")],
    );
    create(
        &mut broker,
        "narrow",
        1,
        &[
            ("compression.type", "uncompressed"),
            ("max.message.bytes", "60000"),
        ],
    );
    let future = TIME + 1_000_000_000_000;
    for codec in PACKED {
        type Make = Box<dyn Fn(usize) -> Bytes>;
        let cut = move |len: usize| {
            let whole = keyless(codec, len, TIME);
            patched(&whole, whole.len() - 9, &[0xff; 9])
        };
        let rows: [(&str, Make, i16); 5] = [
            (
                "plain",
                Box::new(move |len| keyless(codec, len, future)),
                32,
            ),
            (
                "compacted",
                Box::new(move |len| keyless(codec, len, TIME)),
                87,
            ),
            // One record more than there is.
            (
                "plain",
                Box::new(move |len| {
                    let whole = keyless(codec, len, TIME);
                    patched(&patched(&whole, 57, &[0, 0, 0, 3]), 23, &[0, 0, 0, 2])
                }),
                87,
            ),
            ("plain", Box::new(cut), 87),
            ("narrow", Box::new(move |len| keyless(codec, len, TIME)), 10),
        ];
        for (row, (topic, make, code)) in rows.iter().enumerate() {
            let shorter = produce(&mut broker, topic, make(40_000));
            let longer = produce(&mut broker, topic, make(BOMB_BYTES / 2));
            assert_eq!(shorter.error_code.0, *code, "{codec:?}, row {row}");
            // All but the clock in the words about a record.
            let told = |answer: &PartitionProduceResponse| {
                let records = answer.record_errors.iter();
                let records: Vec<i32> = records.map(|record| record.batch_index).collect();
                let words = answer.error_message.clone();
                (answer.error_code, answer.log_start_offset, words, records)
            };
            assert_eq!(told(&shorter), told(&longer), "{codec:?}, row {row}");
        }
    }
    assert_eq!(offset(&mut broker, "plain", -1), 0);
}

#[test]
fn a_batch_is_packed_anew_elsewhere_into_every_codec() {
    let mut broker = start(400);
    for (name, codec) in [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)] {
        create(&mut broker, name, 1, &[("compression.type", name)]);
        for from in PACKED {
            produce(&mut broker, name, bomb(from));
        }
        produce(
            &mut broker,
            name,
            zeros(Codec::NONE, 900_000).build().expect("a batch"),
        );
        let stored = batches(&mut broker, name);
        assert_eq!(stored.len(), 5);
        assert!(stored.iter().all(|header| header.codec() == Codec(codec)));
    }
}

#[test]
fn a_topic_that_goes_while_its_batch_is_looked_into_is_unknown_and_the_line_goes_on() {
    let mut broker = start(500);
    create(&mut broker, "t", 1, &[]);
    create(&mut broker, "other", 1, &[]);
    let mut bomber = peer(&mut broker);
    send(&mut broker, &mut bomber, "t", bomb(Codec::ZSTD));
    send(&mut broker, &mut bomber, "other", small());
    broker.world.run_for_ms(2);
    delete(&mut broker, "t");
    // Its namesake is another one.
    create(&mut broker, "t", 1, &[]);
    let answers = heard_all::<ProduceResponse>(&mut broker, &mut bomber, 2);
    let code = only(&answers[0]).error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(only(&answers[1]).base_offset, Offset(0));
    assert_eq!(offset(&mut broker, "t", -1), 0);
}

#[test]
fn settings_that_change_meanwhile_judge_anew() {
    let mut broker = start(600);
    create(&mut broker, "t", 1, &[]);
    let mut bomber = peer(&mut broker);
    send(&mut broker, &mut bomber, "t", bomb(Codec::ZSTD));
    broker.world.run_for_ms(2);
    let body = IncrementalAlterConfigsRequest {
        resources: vec![k44::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![k44::AlterableConfig {
                name: "compression.type".into(),
                config_operation: 0,
                value: Some("lz4".into()),
            }],
        }],
        validate_only: false,
    };
    let answer = call(&mut broker, 1, &body);
    assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
    assert_eq!(stored(&mut broker, &mut bomber), 0);
    let stored = batches(&mut broker, "t");
    assert_eq!(stored[0].codec(), Codec::LZ4);
}

#[test]
fn what_was_sent_without_acks_is_stored_although_its_client_hung_up() {
    let mut broker = start(700);
    create(&mut broker, "t", 1, &[]);
    let mut bomber = peer(&mut broker);
    for records in [bomb(Codec::GZIP), small(), bomb(Codec::ZSTD), small()] {
        let body = to_partitions("t", &[(0, records)], 0);
        bomber.tell(&mut broker, PRODUCE, &body);
    }
    bomber.leave(&mut broker, false);
    broker.world.run_for_ms(2_000);
    let sizes: Vec<bool> = batches(&mut broker, "t").iter().map(is_bomb).collect();
    assert_eq!(sizes, [true, false, true, false]);
}

#[test]
fn clients_that_send_bombs_and_leave_are_not_waited_for_without_end() {
    let mut broker = start(800);
    create(&mut broker, "t", 1, &[]);
    let records = zeros(Codec::ZSTD, 400_000).build().expect("a batch");
    let most = ABANDONED_BYTES_MAX / ABANDONED_REQUEST_BYTES_MIN;
    for _ in 0..most + 60 {
        let mut bomber = peer(&mut broker);
        send(&mut broker, &mut bomber, "t", records.clone());
        bomber.leave(&mut broker, false);
    }
    broker.world.run_for_ms(60_000);
    let end = usize::try_from(offset(&mut broker, "t", -1)).expect("an offset");
    // A few were done before others left.
    assert!((most..most + 50).contains(&end), "{end} of {most}");
    assert!(broker.stop(30_000));
}

#[test]
fn a_broker_that_stops_answers_what_it_looks_into() {
    let mut broker = start(900);
    create(&mut broker, "t", 1, &[]);
    let mut bomber = peer(&mut broker);
    send(&mut broker, &mut bomber, "t", bomb(Codec::ZSTD));
    send(&mut broker, &mut bomber, "t", small());
    broker.world.run_for_ms(2);
    assert!(broker.stop(30_000));
    let answers = bomber.answers(&mut broker).expect("in order");
    assert_eq!(answers.len(), 2);
    broker.start(1).expect("a second start");
    assert_eq!(offset(&mut broker, "t", -1), 2);
}

#[test]
fn a_broker_that_stops_waits_for_bombs_no_longer_than_for_clients() {
    let mut broker = start(901);
    create(&mut broker, "t", 64, &[]);
    let slow = |what: &Operation<'_>| {
        (what.kind == OperationKind::Compute).then_some(Trouble::Slow(3_000_000_000))
    };
    broker.world.judge(Some(Box::new(slow)));
    let mut bomber = peer(&mut broker);
    let large = zeros(Codec::ZSTD, LOOK_BYTES_MAX).build().expect("a batch");
    let all: Vec<_> = (0..64).map(|index| (index, large.clone())).collect();
    bomber.ask(&mut broker, PRODUCE, &to_partitions("t", &all, -1), ());
    broker.world.run_for_ms(10);
    assert!(broker.stop(30_000), "64 looks would take 192 seconds");
}

#[test]
fn a_look_that_fails_is_an_error_of_its_request_alone() {
    let mut broker = start(1000);
    create(&mut broker, "t", 1, &[]);
    let mut left = 1;
    broker
        .world
        .judge(Some(Box::new(move |what: &Operation<'_>| {
            let fails = what.kind == OperationKind::Compute && left > 0;
            left -= i32::from(fails);
            fails.then_some(Trouble::Fails(FaultKind::Dead))
        })));
    let mut bomber = peer(&mut broker);
    for _ in 0..2 {
        send(&mut broker, &mut bomber, "t", bomb(Codec::ZSTD));
    }
    let answers = heard_all::<ProduceResponse>(&mut broker, &mut bomber, 2);
    let mut codes: Vec<i16> = answers.iter().map(|one| only(one).error_code.0).collect();
    codes.sort_unstable();
    assert_eq!(codes, [ErrorCode::UNKNOWN_SERVER_ERROR.0, 0]);
    assert_eq!(offset(&mut broker, "t", -1), 1);
}

#[test]
fn a_request_full_of_bombs_delays_another_by_few_of_them() {
    let mut broker = start(1100);
    create(&mut broker, "t", 40, &[]);
    create(&mut broker, "other", 1, &[]);
    let large = zeros(Codec::ZSTD, LOOK_BYTES_MAX).build().expect("a batch");
    let all: Vec<_> = (0..40).map(|index| (index, large.clone())).collect();
    let mut bomber = peer(&mut broker);
    bomber.ask(&mut broker, PRODUCE, &to_partitions("t", &all, -1), ());
    broker.world.run_for_ms(5);
    let mut good = peer(&mut broker);
    for number in 0..5 {
        send(&mut broker, &mut good, "other", bomb(Codec::LZ4));
        assert_eq!(stored(&mut broker, &mut good), number);
    }
    assert!(bomber.answers(&mut broker).expect("in order").is_empty());
    let answer: ProduceResponse = heard(&mut broker, &mut bomber);
    for partition in &answer.responses[0].partition_responses {
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (ErrorCode::NONE, Offset(0))
        );
    }
}

/// Two records of so many zeros, a second apart.
fn pair(codec: Codec, timestamp: i64, len: usize) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    let value = vec![0; len];
    for at in [timestamp, timestamp + 1000] {
        let record = NewRecord::of(TimestampMs(at), None, Some(&value));
        builder.push(&record).expect("a record fits");
    }
    builder.build().expect("a batch")
}

#[test]
fn a_time_is_found_inside_bombs_while_others_are_served() {
    let mut broker = start(1200);
    create(&mut broker, "t", 1, &[]);
    for (at, codec) in (0..).zip(PACKED) {
        let records = pair(codec, TIME + at * 10_000, BOMB_BYTES / 2);
        assert_eq!(
            produce(&mut broker, "t", records).error_code,
            ErrorCode::NONE
        );
    }
    create(&mut broker, "other", 1, &[]);
    for at in 0..4 {
        let mut asker = peer(&mut broker);
        asker.ask(&mut broker, 9, &ask_offset("t", TIME + at * 10_000 + 1), ());
        broker.world.run_for_ms(2);
        let mut good = peer(&mut broker);
        send(&mut broker, &mut good, "other", small());
        assert_eq!(stored(&mut broker, &mut good), at);
        assert_eq!(asker.open(), 1);
        let answer: ListOffsetsResponse = heard(&mut broker, &mut asker);
        let told = &answer.topics[0].partitions[0];
        assert_eq!(
            (told.error_code, told.offset.0),
            (ErrorCode::NONE, at * 2 + 1)
        );
        assert_eq!(told.timestamp.0, TIME + at * 10_000 + 1000);
    }
    assert_eq!(offset(&mut broker, "t", TIME), 0);
    assert_eq!(offset(&mut broker, "t", TIME + 100_000), -1);
    // The largest timestamp.
    assert_eq!(offset(&mut broker, "t", -3), 7);
    // After a stop it is all on the disk.
    assert!(broker.stop(30_000));
    broker.start(1).expect("a second start");
    assert_eq!(offset(&mut broker, "t", TIME + 20_001), 5);
    assert_eq!(offset(&mut broker, "t", -3), 7);
}

#[test]
fn many_lookups_share_the_offload_threads_and_are_all_answered() {
    let mut broker = start(1300);
    create(&mut broker, "t", 1, &[]);
    produce(&mut broker, "t", pair(Codec::ZSTD, TIME, BOMB_BYTES));
    let mut askers: Vec<Peer> = (0..50).map(|_| peer(&mut broker)).collect();
    for asker in &mut askers {
        asker.ask(&mut broker, 9, &ask_offset("t", TIME + 1), ());
    }
    broker.world.run_for_ms(2);
    askers.remove(3).leave(&mut broker, true);
    for asker in &mut askers {
        let answer: ListOffsetsResponse = heard(&mut broker, asker);
        assert_eq!(answer.topics[0].partitions[0].offset.0, 1);
    }
    let mut late = peer(&mut broker);
    late.ask(&mut broker, 9, &ask_offset("t", TIME + 1), ());
    broker.world.run_for_ms(2);
    delete(&mut broker, "t");
    let answer: ListOffsetsResponse = heard(&mut broker, &mut late);
    let code = answer.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}
