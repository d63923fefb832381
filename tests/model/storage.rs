//! What a shard does when its storage fails it, and what recovery has to do after a kill.
//!
//! Claims: a full disk costs answers, never a partition; a journal that cannot be written stops
//! appends and nothing else, and is named; nothing acknowledged is lost between a fill and the
//! checkpoint behind it; recovery reads no more than it may, however much was stored. Method: one
//! scripted client, and a judge that decides which writes fail.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla::devices::FaultKind;
use ottla::devices::world::dice::Dice;
use ottla::devices::world::{Judge, Operation, OperationKind, Trouble, WorldSettings};
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla::wire::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, k19_create_topics as k19,
    k20_delete_topics as k20, k21_delete_records as k21,
};
use ottla::wire::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::wire::record::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec, NewRecord, RecordIter,
};
use ottla::wire::{ErrorCode, Request};
use ottla::words::{Offset, PartitionIndex, TopicId};

use super::broker::Broker;
use super::client::Client;

const TOPIC: &str = "t";
/// Goes past the journal when the segment's file is open.
const LARGE: usize = 300_000;
const SMALL: usize = 100;

/// A batch that was sent: partition, and the number that its one record carries.
type Sent = (i32, u64);

/// One answered batch.
#[derive(Clone, Copy, Debug)]
struct Told {
    sent: Sent,
    error: ErrorCode,
    base: i64,
}

/// A broker with one topic, and one client of shard 0.
struct Bench {
    broker: Broker,
    topic: TopicId,
    client: Client<Sent>,
    next: u64,
}

impl Bench {
    fn new(seed: u64, shards: u16, partitions: i32) -> Bench {
        let mut broker = Broker::new(WorldSettings::new(seed), "");
        broker.start(shards).expect("a first start");
        let client = Client::connect(&mut broker, 0);
        let mut bench = Bench {
            broker,
            topic: TopicId::ZERO,
            client,
            next: 1,
        };
        let body = CreateTopicsRequest {
            topics: vec![k19::CreatableTopic {
                name: TOPIC.into(),
                num_partitions: partitions,
                replication_factor: -1,
                configs: vec![k19::CreatableTopicConfig {
                    name: "max.message.bytes".into(),
                    value: Some("4194304".into()),
                }],
                ..k19::CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        bench.topic = bench.ask(7, &body).topics[0].topic_id;
        bench
    }

    /// Asks shard 0 on a connection of its own.
    fn ask<R: Request>(&mut self, version: i16, body: &R) -> R::Response {
        let mut client: Client<()> = Client::connect(&mut self.broker, 0);
        client.ask(&mut self.broker, version, body, ());
        for _ in 0..100_000 {
            let answer = client.answers(&mut self.broker).expect("good frames").pop();
            if let Some(answer) = answer {
                client.leave(&mut self.broker, false);
                return answer.decode().expect("an answer that decodes");
            }
            self.broker.world.run_for_ms(1);
        }
        panic!("no answer");
    }

    /// Sends one record of so many bytes.
    fn send(&mut self, partition: i32, bytes: usize) -> Sent {
        let number = self.next;
        self.next += 1;
        let mut value = number.to_be_bytes().to_vec();
        value.resize(bytes.max(8), 7);
        let mut builder = BatchBuilder::new(Codec::NONE);
        let at = self.broker.world.now().wall;
        builder
            .push(&NewRecord::of(at, None, Some(&value)))
            .expect("a small batch");
        let sent = (partition, number);
        self.send_batch(sent, builder.build().expect("a batch"));
        sent
    }

    /// Sends one batch of its own to a partition.
    fn send_batch(&mut self, sent: Sent, batch: Bytes) {
        let data = PartitionProduceData {
            index: PartitionIndex(sent.0),
            records: Some(batch),
        };
        let body = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: [TopicProduceData {
                topic_id: self.topic,
                partition_data: [data].into_iter().collect(),
                ..TopicProduceData::default()
            }]
            .into_iter()
            .collect(),
            ..ProduceRequest::default()
        };
        self.client.ask(&mut self.broker, 13, &body, sent);
    }

    /// What was answered since the last call.
    fn told(&mut self) -> Vec<Told> {
        let answers = self.client.answers(&mut self.broker).expect("good frames");
        let told = answers.into_iter().map(|answer| {
            let response: ProduceResponse = answer.decode().expect("an answer");
            let partition = &response.responses[0].partition_responses[0];
            Told {
                sent: answer.note,
                error: partition.error_code,
                base: partition.base_offset.0,
            }
        });
        told.collect()
    }

    /// Waits for every answer.
    fn all_told(&mut self) -> Vec<Told> {
        let mut told = self.told();
        for _ in 0..60_000 {
            if self.client.open() == 0 {
                return told;
            }
            self.broker.world.run_for_ms(1);
            told.append(&mut self.told());
        }
        panic!("{} requests without an answer", self.client.open());
    }

    /// Stores one record and returns its offset.
    fn store(&mut self, partition: i32, bytes: usize) -> (Sent, i64) {
        let sent = self.send(partition, bytes);
        let told = self.all_told();
        assert_eq!(told[0].error, ErrorCode::NONE, "{told:?}");
        (sent, told[0].base)
    }

    /// Stores, fills, and leaves the file of the active segment open.
    fn open_segment(&mut self, partition: i32) {
        self.store(partition, SMALL);
        self.broker.world.run_for_ms(7_000);
    }

    /// The numbers in a partition from an offset on; offsets are contiguous.
    fn read(&mut self, partition: i32, from: i64) -> Vec<u64> {
        let mut numbers = Vec::new();
        let mut next = from;
        loop {
            let ask = FetchPartition {
                partition: PartitionIndex(partition),
                fetch_offset: Offset(next),
                partition_max_bytes: 8 << 20,
                ..FetchPartition::default()
            };
            let body = FetchRequest {
                max_wait_ms: 0,
                min_bytes: 0,
                session_epoch: -1,
                topics: [FetchTopic {
                    topic_id: self.topic,
                    partitions: [ask].into_iter().collect(),
                    ..FetchTopic::default()
                }]
                .into_iter()
                .collect(),
                ..FetchRequest::default()
            };
            let mut response: FetchResponse = self.ask(16, &body);
            let data = response.responses[0].partitions.remove(0);
            assert_eq!(data.error_code, ErrorCode::NONE, "fetch from {next}");
            let records = data.records.unwrap_or_default().into_bytes();
            let mut rest = &records[..];
            while let Ok(header) = BatchHeader::parse(rest) {
                assert_eq!(header.base_offset.0, next, "offsets have no gap");
                next = header.last_offset().0 + 1;
                let batch = &rest[..header.size_bytes()];
                numbers.push(number_of(batch));
                rest = &rest[header.size_bytes()..];
            }
            if next >= data.high_watermark.0 {
                return numbers;
            }
        }
    }

    fn judge(&mut self, judge: impl FnMut(&Operation<'_>) -> Option<Trouble> + 'static) {
        let judge: Judge = Box::new(judge);
        self.broker.world.judge(Some(judge));
    }

    fn restart(&mut self, shards: u16) {
        self.broker.start(shards).expect("a start");
        self.client = Client::connect(&mut self.broker, 0);
    }

    fn delete_records(&mut self, partition: i32, offset: i64) -> ErrorCode {
        let body = DeleteRecordsRequest {
            topics: vec![k21::DeleteRecordsTopic {
                name: TOPIC.into(),
                partitions: vec![k21::DeleteRecordsPartition {
                    partition_index: PartitionIndex(partition),
                    offset: Offset(offset),
                }],
            }],
            timeout_ms: 30_000,
        };
        self.ask(2, &body).topics[0].partitions[0].error_code
    }
}

/// The number that the one record of a batch carries.
fn number_of(batch: &[u8]) -> u64 {
    let mut iter = RecordIter::new(&batch[BATCH_HEADER_BYTES..], 1);
    let record = iter.next().expect("one record").expect("a whole record");
    let value = record.value.expect("a value");
    u64::from_be_bytes(value[..8].try_into().expect("eight bytes"))
}

fn is_segment_of(operation: &Operation<'_>, partition: i32) -> bool {
    let directory = format!("{TOPIC}-{partition}/");
    operation.path.is_some_and(|path| {
        let path = path.to_string_lossy();
        path.contains(&directory) && path.ends_with(".log")
    })
}

/// Writes into the segments of one partition find the disk full.
fn full(partition: i32) -> impl FnMut(&Operation<'_>) -> Option<Trouble> + 'static {
    move |operation| {
        let write = matches!(operation.kind, OperationKind::Write { .. });
        (write && is_segment_of(operation, partition)).then_some(Trouble::Fails(FaultKind::Full))
    }
}

/// Fills the disk under a run that goes past the journal, with more behind it.
fn fill_the_disk(bench: &mut Bench, dice: &mut Dice) -> Vec<Told> {
    bench.judge(full(0));
    for _ in 0..1 + dice.roll(3) {
        bench.send(0, LARGE);
        bench.broker.world.run_for_ms(dice.roll(2) as i64);
        for _ in 0..dice.roll(4) {
            bench.send(0, SMALL);
            bench.send(1, SMALL);
        }
    }
    bench.all_told()
}

#[test]
fn a_full_disk_costs_answers_and_never_a_partition() {
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let mut bench = Bench::new(seed, 1, 2);
        bench.open_segment(0);
        bench.open_segment(1);
        let told = fill_the_disk(&mut bench, &mut dice);
        let of = |partition: i32| told.iter().filter(move |told| told.sent.0 == partition);
        assert!(of(0).any(|told| told.error == ErrorCode::KAFKA_STORAGE_ERROR));
        assert!(of(1).all(|told| told.error == ErrorCode::NONE), "{told:?}");
        let stored: Vec<Told> = of(0).copied().filter(|told| told.error.is_none()).collect();
        assert_eq!(bench.read(0, 0).len(), 1 + stored.len(), "seed {seed}");
        // Refused at once, again and again, while it lasts.
        for _ in 0..3 {
            bench.broker.world.run_for_ms(1_500);
            bench.send(0, SMALL);
            bench.broker.world.run_for_ms(5);
            let told = bench.told();
            assert_eq!(told[0].error, ErrorCode::KAFKA_STORAGE_ERROR);
        }
        bench.store(1, SMALL);
        // Space comes back, and nobody has to do anything.
        bench.broker.world.judge(None);
        bench.broker.world.run_for_ms(2_500);
        let (sent, base) = bench.store(0, SMALL);
        let all = bench.read(0, 0);
        assert_eq!(all.last(), Some(&sent.1));
        assert_eq!(all.len() as i64, base + 1, "contiguous, seed {seed}");
        assert!(all.is_sorted(), "in the order of sending: {all:?}");
        for told in &stored {
            assert_eq!(all[usize::try_from(told.base).unwrap()], told.sent.1);
        }
        let (_, base) = bench.store(0, LARGE);
        bench.broker.world.run_for_ms(12_000);
        let before = (bench.read(0, 0), bench.read(1, 0));
        bench.broker.crash(seed);
        bench.restart(1);
        assert_eq!((bench.read(0, 0), bench.read(1, 0)), before, "seed {seed}");
        assert_eq!(bench.store(0, SMALL).1, base + 1);
    }
}

#[test]
fn a_batch_that_was_looked_into_while_its_partition_began_to_hold_is_refused() {
    for seed in 0..6 {
        let mut bench = Bench::new(seed, 1, 2);
        bench.open_segment(0);
        let mut full = full(0);
        bench.judge(move |operation: &Operation<'_>| match operation.kind {
            OperationKind::Compute => Some(Trouble::Slow(300_000_000)),
            _ => full(operation),
        });
        let mut bomber: Client<Sent> = Client::connect(&mut bench.broker, 0);
        let mut builder = BatchBuilder::new(Codec::ZSTD);
        let at = bench.broker.world.now().wall;
        let zeros = vec![0; 2 << 20];
        builder
            .push(&NewRecord::of(at, None, Some(&zeros)))
            .expect("a record fits");
        let bomb = builder.build().expect("a batch");
        std::mem::swap(&mut bench.client, &mut bomber);
        bench.send_batch((0, 0), bomb);
        std::mem::swap(&mut bench.client, &mut bomber);
        bench.broker.world.run_for_ms(5);
        // The run finds the disk full; what is behind it waits.
        bench.send(0, LARGE);
        for _ in 0..3 {
            bench.send(0, SMALL);
        }
        bench.all_told();
        std::mem::swap(&mut bench.client, &mut bomber);
        let told = bench.all_told();
        assert_eq!(told[0].error, ErrorCode::KAFKA_STORAGE_ERROR, "seed {seed}");
        std::mem::swap(&mut bench.client, &mut bomber);
        bench.broker.world.judge(None);
        bench.broker.world.run_for_ms(2_500);
        let (sent, base) = bench.store(0, SMALL);
        let all = bench.read(0, 0);
        assert_eq!((all.len() as i64, all.last()), (base + 1, Some(&sent.1)));
        assert!(all.is_sorted(), "seed {seed}: {all:?}");
    }
}

#[test]
fn a_kill_or_a_power_cut_on_a_full_disk_loses_nothing_and_takes_nothing_offline() {
    for seed in 0..24 {
        let mut dice = Dice::new(seed ^ 0xf011);
        let mut bench = Bench::new(seed, 1, 2);
        bench.open_segment(0);
        bench.open_segment(1);
        let mut told = fill_the_disk(&mut bench, &mut dice);
        bench.broker.world.run_for_ms(dice.roll(4_000) as i64);
        bench.send(1, SMALL);
        told.append(&mut bench.all_told());
        if dice.once_in(3) {
            bench.broker.world.judge(None);
            bench.broker.world.run_for_ms(dice.roll(2_000) as i64);
        }
        match dice.roll(3) {
            0 => assert!(bench.broker.stop(120_000), "it stops on a full disk too"),
            1 => bench.broker.kill(),
            _ => bench.broker.crash(seed),
        }
        bench.broker.world.judge(None);
        bench.restart(1);
        for partition in 0..2 {
            let (sent, base) = bench.store(partition, SMALL);
            let all = bench.read(partition, 0);
            assert_eq!((all.len() as i64, all.last()), (base + 1, Some(&sent.1)));
            assert!(all.is_sorted(), "seed {seed}: {all:?}");
            let stored = told.iter().filter(|told| told.error.is_none());
            for told in stored.filter(|told| told.sent.0 == partition) {
                let at = usize::try_from(told.base).unwrap();
                assert_eq!(all[at], told.sent.1, "seed {seed}");
            }
        }
    }
}

/// Lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_journal_that_cannot_be_written_stops_appends_of_its_shard_and_nothing_else() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || broken_journal(&lines));
}

fn broken_journal(lines: &Lines) {
    // Partitions 0 and 2 are of shard 0, 1 of shard 1.
    let mut bench = Bench::new(3, 2, 3);
    for partition in [0, 0, 2] {
        bench.store(partition, SMALL);
    }
    bench.judge(|operation| {
        let journal = |path: &std::path::Path| path.to_string_lossy().contains("/journal.0/");
        let write = matches!(operation.kind, OperationKind::Write { .. });
        (write && operation.path.is_some_and(journal)).then_some(Trouble::Fails(FaultKind::Dead))
    });
    bench.send(0, SMALL);
    assert_eq!(bench.all_told()[0].error, ErrorCode::KAFKA_STORAGE_ERROR);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told = log.lines().find(|line| line.contains("cannot be written"));
    let told = told.unwrap_or_else(|| panic!("not said: {log}"));
    assert!(
        told.contains("ERROR") && told.contains("directory=/data/journal.0"),
        "{told}"
    );
    // Both partitions of the shard refuse at once, as often as they are asked.
    for partition in [0, 2, 2, 0] {
        bench.send(partition, SMALL);
        bench.broker.world.run_for_ms(5);
        assert_eq!(bench.told()[0].error, ErrorCode::KAFKA_STORAGE_ERROR);
    }
    // What was stored is served, and may be deleted.
    assert_eq!((bench.read(0, 0).len(), bench.read(2, 0).len()), (2, 1));
    assert_eq!(bench.delete_records(0, 1), ErrorCode::NONE);
    assert_eq!(bench.read(0, 1).len(), 1);
    // The other shard does not care.
    let mut other: Client<Sent> = Client::connect(&mut bench.broker, 1);
    std::mem::swap(&mut bench.client, &mut other);
    bench.store(1, SMALL);
    let gone = DeleteTopicsRequest {
        topics: vec![k20::DeleteTopicState {
            name: Some("none".into()),
            topic_id: TopicId::ZERO,
        }],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let answer = bench.ask(6, &gone);
    assert_eq!(
        answer.responses[0].error_code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    bench.broker.kill();
    bench.broker.world.judge(None);
    bench.restart(1);
    // The record whose write failed may be there all the same.
    let (kept, other) = (bench.read(0, 1).len(), bench.read(2, 0).len());
    assert!((1..=2).contains(&kept) && other == 1, "{kept}, {other}");
    assert_eq!(bench.store(0, SMALL).1, 1 + kept as i64);
    assert_eq!(bench.store(2, SMALL).1, 1);
}

#[test]
fn a_record_right_behind_a_fill_outlives_the_checkpoint_behind_the_fill() {
    let mut bench = Bench::new(11, 1, 2);
    bench.open_segment(0);
    bench.open_segment(1);
    // The fill takes its time.
    bench.judge(|operation| {
        let write = matches!(operation.kind, OperationKind::Write { .. });
        (write && is_segment_of(operation, 0)).then_some(Trouble::Slow(500_000_000))
    });
    for _ in 0..6 {
        bench.send(0, 200_000);
        bench.broker.world.run_for_ms(20);
    }
    bench.all_told();
    let (sent, _) = bench.store(0, SMALL);
    bench.broker.world.run_for_ms(1_000);
    // Nothing was filled since; the checkpoint says what the journal need not keep.
    assert_eq!(bench.delete_records(1, 1), ErrorCode::NONE);
    bench.broker.kill();
    bench.broker.world.judge(None);
    bench.restart(1);
    assert_eq!(bench.read(0, 0).last(), Some(&sent.1));
}

#[test]
fn recovery_reads_no_more_than_it_may_after_a_kill_under_load() {
    const BOUND: u64 = 16 << 20;
    // What fills and groups in flight may add: a few runs of one client.
    const IN_FLIGHT: u64 = 8 << 20;
    for (seed, bytes) in [(1, LARGE), (2, 60_000)] {
        let mut bench = Bench::new(seed, 1, 10);
        bench.broker.rescan_bytes_max = Some(BOUND);
        bench.broker.kill();
        bench.restart(1);
        let mut dice = Dice::new(seed);
        let mut stored = 0u64;
        while stored < 100 << 20 {
            for _ in 0..10 {
                bench.send(dice.roll(10) as i32, bytes);
                stored += bytes as u64;
            }
            bench.broker.world.run_for_ms(5);
            let told = bench.told();
            assert!(told.iter().all(|told| told.error.is_none()), "{told:?}");
        }
        bench.broker.kill();
        bench.restart(1);
        let read = bench.broker.recovered.bytes_scanned;
        assert!(
            read <= BOUND + IN_FLIGHT,
            "{read} bytes read, {stored} stored"
        );
        let all: usize = (0..10).map(|at| bench.read(at, 0).len()).sum();
        assert!(all as u64 * bytes as u64 <= stored);
    }
}

#[test]
fn the_active_segment_of_a_partition_at_rest_ends_where_its_records_end() {
    let mut bench = Bench::new(5, 1, 2);
    let path = std::path::Path::new("/data/t-0/00000000000000000000.log");
    let mut numbers = Vec::new();
    for round in 0..3 {
        for _ in 0..=round {
            numbers.push(bench.store(0, 1_000).0.1);
        }
        bench.broker.world.run_for_ms(20_000);
        let bytes = ottla::devices::Disk::read(bench.broker.world.disk(), path).expect("a segment");
        let mut rest = &bytes[..];
        let mut batches = 0;
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).expect("a batch, and no zeros");
            rest = &rest[header.size_bytes()..];
            batches += 1;
        }
        assert_eq!(batches, numbers.len());
        assert_eq!(bench.read(0, 0), numbers);
    }
    bench.broker.kill();
    bench.restart(1);
    assert_eq!(bench.read(0, 0), numbers);
}
