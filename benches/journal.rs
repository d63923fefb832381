//! What a commit group costs to become a journal entry: sizing, one copy of every batch, the
//! checksum over the whole.
//!
//! `cargo bench --bench journal`. Batches of 1 KiB for different partitions, warm in cache.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use ottla::log::journal_entry::{EntryBatch, EntryStamp, encode, encoded_len};
use ottla::wire::record::BATCH_HEADER_BYTES;
use ottla::words::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

const BATCH_BYTES: usize = 1024;

fn entry_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("entry encode");
    let body = [b'v'; BATCH_BYTES - BATCH_HEADER_BYTES];
    for count in [1, 16, 256] {
        let batches: Vec<EntryBatch<'_>> = (0..count)
            .map(|partition| EntryBatch {
                topic_partition: TopicPartition {
                    topic: TopicId([7; 16]),
                    partition: PartitionIndex(partition),
                },
                base_offset: Offset(1000),
                last_offset: Offset(1009),
                leader_epoch: LeaderEpoch(1),
                header: [b'h'; BATCH_HEADER_BYTES],
                body: &body,
            })
            .collect();
        let len = encoded_len(&batches, &[]).expect("fits one entry");
        let mut out = vec![0; len];
        let mut places = Vec::new();
        group.throughput(Throughput::Bytes((batches.len() * BATCH_BYTES) as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let batches = black_box(&batches);
                let len = encoded_len(batches, &[]).expect("fits one entry");
                let out = &mut out[..len];
                encode(EntryStamp::default(), batches, &[], out, &mut places).expect("sized");
                black_box(places.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, entry_encode);
criterion_main!(benches);
