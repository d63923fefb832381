//! What a shard does for every batch and every fetch before any device is asked: appending into a
//! partition's tail, and planning a fetch.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ottla::log::append_rules::LogSettings;
use ottla::log::partition::{Appended, Log, LogStart, ReadPlan};
use ottla::log::producers::PRODUCERS_PER_PARTITION_MAX;
use ottla::log::tail::StoredBatch;
use ottla::wire::record::BatchHeader;
use ottla::words::{
    LeaderEpoch, Now, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs,
    TopicId, TopicPartition,
};

const RECORDS: i32 = 10;
const BATCH_BYTES: usize = 1200;
const BATCHES: i64 = 1000;

fn now() -> Now {
    Now {
        wall: TimestampMs(1_700_000_000_000),
        ..Now::default()
    }
}

fn log() -> Log {
    let id = TopicPartition {
        topic: TopicId([7; 16]),
        partition: PartitionIndex(0),
    };
    let start = LogStart::empty(PRODUCERS_PER_PARTITION_MAX);
    let settings = Arc::new(LogSettings::default());
    Log::new(id, settings, LeaderEpoch(0), 0, start, now())
}

/// The header of a batch as a client sends it; `producer` is -1 for none.
fn header(number: i64, producer: i64) -> BatchHeader {
    let sequence = i32::try_from(number).expect("few batches") * RECORDS;
    BatchHeader {
        base_offset: Offset(0),
        batch_length: i32::try_from(BATCH_BYTES).expect("small") - 12,
        leader_epoch: LeaderEpoch(-1),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: RECORDS - 1,
        base_timestamp: TimestampMs(1_700_000_000_000),
        max_timestamp: TimestampMs(1_700_000_000_000),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(if producer < 0 { -1 } else { 0 }),
        base_sequence: Sequence(if producer < 0 { -1 } else { sequence }),
        records_count: RECORDS,
    }
}

/// Appends a batch as the shard does once its group is durable.
fn append(log: &mut Log, header: &BatchHeader, bytes: &Bytes) {
    let Ok(Appended::Placed(placed)) = log.append(now(), header, header.max_timestamp) else {
        panic!("the batch is new and in order");
    };
    log.remember(StoredBatch {
        base_offset: placed.base_offset,
        last_offset: placed.last_offset,
        max_timestamp: placed.max_timestamp,
        segment: placed.segment,
        position: placed.position,
        bytes: bytes.clone(),
    });
    log.durable_to(Offset(placed.last_offset.0 + 1));
}

fn filled(batches: i64) -> Log {
    let bytes = Bytes::from(vec![0; BATCH_BYTES]);
    let mut log = log();
    for number in 0..batches {
        append(&mut log, &header(number, -1), &bytes);
    }
    log
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard/append into the tail");
    group.throughput(Throughput::Elements(BATCHES.unsigned_abs()));
    let bytes = Bytes::from(vec![0; BATCH_BYTES]);
    for (name, producer) in [("plain", -1), ("idempotent", 5)] {
        let headers: Vec<BatchHeader> = (0..BATCHES)
            .map(|number| header(number, producer))
            .collect();
        group.bench_function(name, |bencher| {
            let run = |mut log: Log| {
                for header in &headers {
                    append(&mut log, black_box(header), &bytes);
                }
                log
            };
            bencher.iter_batched(log, run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn plans(criterion: &mut Criterion) {
    let log = filled(BATCHES);
    let end = log.high_watermark();
    for (name, from, bytes_max) in [
        ("the last batch", Offset(end.0 - 1), 1 << 20),
        (
            "a hundred batches",
            Offset(end.0 - 100 * i64::from(RECORDS)),
            1 << 20,
        ),
        ("at the end, nothing", end, 1 << 20),
    ] {
        criterion.bench_function(&format!("shard/plan a fetch/{name}"), |bencher| {
            bencher.iter(|| -> ReadPlan { log.plan_read(black_box(from), end, bytes_max, true) });
        });
    }
}

criterion_group!(benches, appends, plans);
criterion_main!(benches);
