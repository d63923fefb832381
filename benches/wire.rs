//! What the wire costs per request: from received bytes to a decoded Produce, and an answer made.
//!
//! Run: `cargo bench --bench wire`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smallvec::SmallVec;

use ottla::wire::fetch::{FetchResponse, FetchableTopicResponse, PartitionData, Records};
use ottla::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use ottla::wire::{FrameCutter, KStr, Message, Reader, RequestFrame, RequestHeader, ResponseFrame};
use ottla::words::{Offset, PartitionIndex};

/// Version of librdkafka 2.15's newest Produce.
const VERSION: i16 = 10;
const BATCH_BYTES: usize = 1024;
const PARTITIONS: [i32; 2] = [1, 16];

fn produce(partitions: i32) -> Bytes {
    let records = Bytes::from(vec![7; BATCH_BYTES]);
    let partition_data = (0..partitions)
        .map(|index| PartitionProduceData {
            index: PartitionIndex(index),
            records: Some(records.clone()),
        })
        .collect();
    let mut request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        ..ProduceRequest::default()
    };
    request.topic_data.push(TopicProduceData {
        name: KStr::from_static("measurements"),
        partition_data,
        ..TopicProduceData::default()
    });
    Bytes::from(RequestFrame::of(VERSION, 1, Some("rdkafka"), &request).concat())
}

fn decode(chunk: &Bytes) -> ProduceRequest {
    let mut cutter = FrameCutter::new(1 << 20);
    cutter.feed(chunk.clone());
    let frame = cutter
        .next_frame()
        .expect("a good size")
        .expect("a whole frame");
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::read(&mut reader).expect("a good header");
    ProduceRequest::read(&mut reader, header.version).expect("a good body")
}

fn produce_answer(partitions: i32) -> ProduceResponse {
    let partition_responses = (0..partitions)
        .map(|index| PartitionProduceResponse {
            index: PartitionIndex(index),
            base_offset: Offset(1 << 40),
            ..PartitionProduceResponse::default()
        })
        .collect();
    ProduceResponse {
        responses: SmallVec::from_iter([TopicProduceResponse {
            name: KStr::from_static("measurements"),
            partition_responses,
            ..TopicProduceResponse::default()
        }]),
        ..ProduceResponse::default()
    }
}

fn fetch_answer(partitions: i32) -> FetchResponse {
    let partitions = (0..partitions)
        .map(|index| PartitionData {
            partition_index: PartitionIndex(index),
            high_watermark: Offset(1 << 40),
            records: Some(Records::from(Bytes::from(vec![7; BATCH_BYTES]))),
            ..PartitionData::default()
        })
        .collect();
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: KStr::from_static("measurements"),
            partitions,
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(1));
    for partitions in PARTITIONS {
        let chunk = produce(partitions);
        group.bench_function(BenchmarkId::new("produce decode", partitions), |b| {
            b.iter(|| decode(black_box(&chunk)));
        });
        let answer = produce_answer(partitions);
        group.bench_function(BenchmarkId::new("produce answer", partitions), |b| {
            b.iter(|| ResponseFrame::of(VERSION, 1, black_box(&answer)));
        });
        let answer = fetch_answer(partitions);
        group.bench_function(BenchmarkId::new("fetch answer", partitions), |b| {
            b.iter(|| ResponseFrame::of(12, 1, black_box(&answer)));
        });
    }
    group.finish();
}

criterion_group!(benches, wire);
criterion_main!(benches);
