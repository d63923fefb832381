//! What it costs to admit one produced batch, `strict` (every record looked at, as Kafka does) and
//! `relaxed` (header and checksum only): `src/decisions/0001-produce-validation.md`.
//!
//! `cargo bench --bench validation`. Throughput counts the bytes on the wire, so compressed batches
//! look slow beside what they expand to; the time per batch is what a shard pays. Values are half
//! random, half text, which halves under compression. Warm in cache: a shard has just received the batch.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use ottla::api::k00_produce::{Admitted, NotAdmitted, admit, arrive};
use ottla::log::append_rules::LogSettings;
use ottla::wire::record::{Allowance, BatchBuilder, Codec, NewRecord};
use ottla::words::limits::DECOMPRESSED_BYTES_MAX;
use ottla::words::{Now, TimestampMs};

const TIME: TimestampMs = TimestampMs(1_700_000_000_000);
const VERSION: i16 = 13;
const CODECS: [(&str, Codec); 3] = [
    ("none", Codec::NONE),
    ("lz4", Codec::LZ4),
    ("zstd", Codec::ZSTD),
];

const ALL_CODECS: [(&str, Codec); 4] = [
    ("gzip", Codec::GZIP),
    ("snappy", Codec::SNAPPY),
    ("lz4", Codec::LZ4),
    ("zstd", Codec::ZSTD),
];

/// As [`SHAPES`].
const TURN_SHAPES: [(&str, usize, usize); 3] = [
    ("1 MiB of 100 byte records", 1024 * 1024, 100),
    ("16 KiB of 1 KiB records", 16 * 1024 + 512, 1024),
    ("1 KiB of 1 byte records", 1024, 1),
];

/// Name, bytes of the batch before compression, bytes of a value.
const SHAPES: [(&str, usize, usize); 2] = [
    ("16 KiB of 1 KiB records", 16 * 1024 + 512, 1024),
    ("1 MiB of 100 byte records", 1024 * 1024, 100),
];

/// Noise that no compressor shortens (xorshift64*), and a text that every one does, by turns.
struct Values(u64);

impl Values {
    fn next(&mut self, len: usize) -> Vec<u8> {
        let text = b"the quick brown fox jumps over the lazy dog; ";
        let mut value: Vec<u8> = text.iter().copied().cycle().take(len).collect();
        for byte in value.iter_mut().take(len / 2) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            *byte = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0];
        }
        value
    }
}

fn batch(codec: Codec, size_bytes: usize, value_bytes: usize) -> (Bytes, i32) {
    let mut builder = BatchBuilder::new(codec);
    let mut values = Values(1);
    while builder.size_bytes() + value_bytes + 32 < size_bytes {
        let value = values.next(value_bytes);
        builder
            .push(&NewRecord::of(TIME, Some(b"key"), Some(&value)))
            .expect("a small record fits");
    }
    let records = builder.records_count();
    (builder.build().expect("the batch has records"), records)
}

fn look(
    bytes: &Bytes,
    settings: &LogSettings,
    strict: bool,
    purse: &mut Allowance,
) -> Result<Admitted, NotAdmitted> {
    let now = Now {
        mono_ns: 0,
        wall: TIME,
    };
    let batch = arrive(Some(bytes), VERSION, settings).map_err(NotAdmitted::Refused)?;
    admit(&batch, settings, now, strict, purse)
}

fn admitting(c: &mut Criterion) {
    let settings = LogSettings::default();
    for (shape, size_bytes, value_bytes) in SHAPES {
        let mut group = c.benchmark_group(format!("admit {shape}"));
        for (codec_name, codec) in CODECS {
            let (bytes, records) = batch(codec, size_bytes, value_bytes);
            println!(
                "{shape}, {codec_name}: {} bytes, {records} records",
                bytes.len()
            );
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            for (mode, strict) in [("relaxed", false), ("strict", true)] {
                let run = |bytes: &Bytes| {
                    let mut purse = Allowance::whole();
                    look(bytes, &settings, strict, &mut purse)
                        .map(|admitted| admitted.max_timestamp)
                };
                assert_eq!(run(&bytes).ok(), Some(TIME), "a good batch is admitted");
                group.bench_with_input(BenchmarkId::new(codec_name, mode), &bytes, |b, bytes| {
                    b.iter(|| run(black_box(bytes)));
                });
            }
        }
        group.finish();
    }
}

/// The worst that a small batch can cost: it expands to nearly all that is allowed.
fn expanding(c: &mut Criterion) {
    let value = vec![0; DECOMPRESSED_BYTES_MAX - 1024];
    let mut group = c.benchmark_group("admit expanding to 256 MiB");
    group.sample_size(10);
    for (codec_name, codec) in CODECS.into_iter().skip(1) {
        let mut builder = BatchBuilder::new(codec);
        builder
            .push(&NewRecord::of(TIME, None, Some(&value)))
            .expect("a record fits");
        let bytes = builder.build().expect("the batch has a record");
        println!("expanding, {codec_name}: {} bytes", bytes.len());
        let settings = LogSettings {
            max_message_bytes: u32::MAX,
            ..LogSettings::default()
        };
        group.bench_with_input(
            BenchmarkId::new(codec_name, "strict"),
            &bytes,
            |b, bytes| {
                b.iter(|| look(black_box(bytes), &settings, true, &mut Allowance::whole()).is_ok());
            },
        );
    }
    group.finish();
}

/// The most that the looks of one turn cost: batches of one kind until the turn has no more to spend,
/// the last of which is tried for nothing.
fn spending(c: &mut Criterion) {
    let packing = |codec| LogSettings {
        compression_type: Some(codec),
        ..LogSettings::default()
    };
    let mut group = c.benchmark_group("what a turn spends");
    for (codec_name, codec) in ALL_CODECS {
        for (shape, size_bytes, value_bytes) in TURN_SHAPES {
            let (bytes, _) = batch(codec, size_bytes, value_bytes);
            spend(
                &mut group,
                &format!("{codec_name}, {shape}"),
                &bytes,
                &LogSettings::default(),
            );
        }
        let (bytes, _) = batch(codec, 128, 10);
        spend(
            &mut group,
            &format!("{codec_name}, one record"),
            &bytes,
            &LogSettings::default(),
        );
        let (bytes, _) = batch(Codec::NONE, 4096, 100);
        spend(
            &mut group,
            &format!("none to {codec_name}, 4 KiB"),
            &bytes,
            &packing(codec),
        );
    }
    group.finish();
}

fn spend(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    bytes: &Bytes,
    settings: &LogSettings,
) {
    let run = || {
        let mut turn = Allowance::of_a_turn();
        (0..10_000)
            .take_while(|_| look(black_box(bytes), settings, true, &mut turn).is_ok())
            .count()
    };
    println!("{name}: {} batches of {} bytes", run(), bytes.len());
    group.bench_function(name, |b| b.iter(run));
}

criterion_group!(benches, admitting, expanding, spending);
criterion_main!(benches);
