//! What the append path does to every batch before it knows the topic: header, shape and checksum
//! (`batch check`), and, for topics that ask for it, the walk over every record (`record walk`).
//!
//! `cargo bench --bench record`. Batches are warm in cache: this is the cost of the code, not of memory.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use ottla::wire::record::{
    Allowance, BATCH_HEADER_BYTES, BatchBuilder, Codec, NewRecord, RecordRules, TimestampType,
    split_single_batch, validate_records,
};
use ottla::words::TimestampMs;

const SIZES: [(&str, usize); 3] = [
    ("1 KiB", 1024),
    ("16 KiB", 16 * 1024),
    ("1 MiB", 1024 * 1024),
];
const VALUE_BYTES: usize = 100;

/// A batch of about `size_bytes` before compression, of records of 100 bytes (one for all when
/// `size_bytes` is less).
fn batch(codec: Codec, size_bytes: usize) -> Bytes {
    let value = [b'v'; VALUE_BYTES];
    let mut builder = BatchBuilder::new(codec);
    while builder.records_count() == 0 || builder.size_bytes() + VALUE_BYTES < size_bytes {
        builder
            .push(&NewRecord::of(TimestampMs(0), Some(b"key"), Some(&value)))
            .expect("a small record fits");
    }
    builder.build().expect("the batch has records")
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch check");
    for (name, size) in SIZES {
        let bytes = batch(Codec::NONE, size);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &bytes, |b, bytes| {
            b.iter(|| split_single_batch(black_box(bytes)));
        });
    }
    group.finish();
}

fn walk(c: &mut Criterion) {
    let rules = RecordRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        now: TimestampMs(0),
        compacted: true,
    };
    let mut group = c.benchmark_group("record walk 16 KiB");
    let plain = batch(Codec::NONE, 16 * 1024).len() - BATCH_HEADER_BYTES;
    for (name, codec) in [
        ("none", Codec::NONE),
        ("gzip", Codec::GZIP),
        ("snappy", Codec::SNAPPY),
        ("lz4", Codec::LZ4),
        ("zstd", Codec::ZSTD),
    ] {
        let bytes = batch(codec, 16 * 1024);
        let checked = split_single_batch(&bytes).expect("a built batch is good");
        group.throughput(Throughput::Bytes(plain as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &checked, |b, checked| {
            b.iter(|| {
                let checked = black_box(checked);
                let records = Allowance::whole().unpack(&checked.header, checked.body());
                let records = records.expect("it was built a moment ago");
                validate_records(&checked.header, &records, &rules)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, check, walk);
criterion_main!(benches);
