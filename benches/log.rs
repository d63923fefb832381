//! What the log core costs on the hot path: finding an offset or a time in an index, judging and
//! taking over a batch of an idempotent producer.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ottla::log::producers::{PRODUCERS_PER_PARTITION_MAX, Producers};
use ottla::log::segment_indexes::{IndexSettings, SegmentIndexes};
use ottla::wire::record::BatchHeader;
use ottla::words::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

const RECORDS: i32 = 10;
const BATCH_BYTES: i32 = 4200;

fn batch(number: i64, producer: i64) -> BatchHeader {
    let sequence = number * i64::from(RECORDS) % (i64::from(i32::MAX) + 1);
    BatchHeader {
        base_offset: Offset(number * i64::from(RECORDS)),
        batch_length: BATCH_BYTES - 12,
        leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: RECORDS - 1,
        base_timestamp: TimestampMs(number),
        max_timestamp: TimestampMs(number),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(i32::try_from(sequence).expect("below the largest sequence")),
        records_count: RECORDS,
    }
}

/// The indexes of a full segment of 1 GiB.
fn full_segment(batches: i64) -> SegmentIndexes {
    let settings = IndexSettings {
        segment_index_bytes: 10 << 20,
        index_interval_bytes: 4096,
    };
    let mut indexes = SegmentIndexes::new(Offset(0), settings);
    for number in 0..batches {
        let position = u32::try_from(number * i64::from(BATCH_BYTES)).expect("inside a segment");
        indexes
            .appended(&batch(number, -1), position)
            .expect("room");
    }
    indexes
}

fn lookups(criterion: &mut Criterion) {
    let batches = (1 << 30) / i64::from(BATCH_BYTES);
    let indexes = full_segment(batches);
    let records = batches * i64::from(RECORDS);
    let mut target = 1;
    let mut next = move || {
        // A walk without a pattern that a branch predictor learns.
        target = (target * 48_271) % 2_147_483_647;
        target % records
    };
    criterion.bench_function("log/offset_index/lookup, full segment", |bencher| {
        bencher.iter(|| indexes.offset_index().lookup(black_box(Offset(next()))));
    });
    criterion.bench_function("log/time_index/lookup, full segment", |bencher| {
        bencher.iter(|| {
            indexes
                .time_index()
                .view()
                .lookup(black_box(TimestampMs(next())))
        });
    });
}

fn appends(criterion: &mut Criterion) {
    criterion.bench_function("log/segment_indexes/1000 batches", |bencher| {
        bencher.iter(|| full_segment(black_box(1000)));
    });
    criterion.bench_function("log/producers/check and update, 1000 batches", |bencher| {
        let empty = || Producers::new(PRODUCERS_PER_PARTITION_MAX, Offset(0));
        let run = |mut producers: Producers| {
            for number in 0..1000 {
                let batch = batch(number, 7);
                producers.check(black_box(&batch)).expect("in order");
                producers.update(&batch, TimestampMs(number));
            }
            producers
        };
        bencher.iter_batched(empty, run, BatchSize::SmallInput);
    });
}

criterion_group!(benches, lookups, appends);
criterion_main!(benches);
