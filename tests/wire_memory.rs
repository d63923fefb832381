//! What hostile bytes cost in memory: every decoder of `wire/`, under an allocator that counts.
//!
//! Claim: the most that is held at any time while decoding stays within a fixed multiple of the
//! frame, whatever lengths and counts the frame claims. Method: frames that claim as much as they
//! can at many places and are filled with the smallest elements there are.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla::wire::fetch::*;
use ottla::wire::messages::*;
use ottla::wire::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::wire::{FrameCutter, KStr, Message, Reader, RequestFrame, RequestHeader};

/// Heap bytes per byte of a frame, at most; the reader of the largest structures needs the most,
/// and a growing array holds its old memory and its new at once.
const HEAP_PER_BYTE_MAX: usize = 80;
/// Heap bytes that any decoding may take besides: some arrays' first pieces.
const HEAP_BASE_MAX: usize = 128 * 1024;
const FRAME_BYTES: usize = 16 * 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Peak of what `work` holds above what was held before, in bytes.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed).saturating_sub(before)
}

/// Frames that claim counts from modest to absurd at `place`.
fn hostile_frames(place: usize) -> Vec<Bytes> {
    let fixed = [
        FRAME_BYTES / 2,
        FRAME_BYTES / 4,
        FRAME_BYTES / 8,
        100_000_000,
        i32::MAX as usize,
    ];
    let fixed = fixed.map(|count| (count as u32).to_be_bytes().to_vec());
    let compact = [
        vec![0x81, 0x40],
        vec![0x81, 0x20],
        vec![0x81, 0x10],
        vec![0xff, 0xff, 0xff, 0xff, 0x07],
    ];
    let fillings: [&[u8]; 6] = [
        &[0],
        &[1],
        &[1, 0],
        &[1, 1, 0],
        &[0, 1, 1, 0],
        &[0x7f, 0xff],
    ];
    let mut frames = Vec::new();
    for before in [0u8, 1] {
        for claim in fixed.iter().chain(&compact) {
            for filling in fillings {
                let mut bytes = vec![before; place];
                bytes.extend(claim);
                bytes.extend(filling.iter().cycle().take(FRAME_BYTES - bytes.len()));
                frames.push(Bytes::from(bytes));
            }
        }
    }
    frames
}

macro_rules! messages {
    ($($name:ident;)*) => {
        type Decoder = fn(&Bytes, i16);
        const DECODERS: &[(&str, i16, i16, Decoder)] = &[$((
            stringify!($name),
            <$name as Message>::API.version_min,
            <$name as Message>::API.version_max,
            |bytes, version| drop(<$name as Message>::read(&mut Reader::new(bytes), version)),
        ),)*];
    };
}

messages! {
    ProduceRequest;
    ProduceResponse;
    FetchRequest;
    FetchResponse;
    ListOffsetsRequest;
    ListOffsetsResponse;
    MetadataRequest;
    MetadataResponse;
    OffsetCommitRequest;
    OffsetCommitResponse;
    OffsetFetchRequest;
    OffsetFetchResponse;
    FindCoordinatorRequest;
    FindCoordinatorResponse;
    JoinGroupRequest;
    JoinGroupResponse;
    HeartbeatRequest;
    HeartbeatResponse;
    LeaveGroupRequest;
    LeaveGroupResponse;
    SyncGroupRequest;
    SyncGroupResponse;
    DescribeGroupsRequest;
    DescribeGroupsResponse;
    ListGroupsRequest;
    ListGroupsResponse;
    SaslHandshakeRequest;
    SaslHandshakeResponse;
    ApiVersionsRequest;
    ApiVersionsResponse;
    CreateTopicsRequest;
    CreateTopicsResponse;
    DeleteTopicsRequest;
    DeleteTopicsResponse;
    DeleteRecordsRequest;
    DeleteRecordsResponse;
    InitProducerIdRequest;
    InitProducerIdResponse;
    OffsetForLeaderEpochRequest;
    OffsetForLeaderEpochResponse;
    DescribeConfigsRequest;
    DescribeConfigsResponse;
    AlterConfigsRequest;
    AlterConfigsResponse;
    DescribeLogDirsRequest;
    DescribeLogDirsResponse;
    SaslAuthenticateRequest;
    SaslAuthenticateResponse;
    CreatePartitionsRequest;
    CreatePartitionsResponse;
    DeleteGroupsRequest;
    DeleteGroupsResponse;
    IncrementalAlterConfigsRequest;
    IncrementalAlterConfigsResponse;
    DescribeClusterRequest;
    DescribeClusterResponse;
    DescribeTopicPartitionsRequest;
    DescribeTopicPartitionsResponse;
}

/// One test, because the counters belong to the process.
#[test]
fn decoding_holds_no_more_than_a_multiple_of_the_frame() {
    let mut worst = (0, String::new());
    for place in (0..12).chain([14, 18, 22, 27, 34]) {
        for frame in hostile_frames(place) {
            for (name, min, max, decode) in DECODERS {
                for version in *min..=*max {
                    let peak = peak_of(|| decode(&frame, version));
                    if peak > worst.0 {
                        worst = (peak, format!("{name} {version}, claim at {place}"));
                    }
                }
            }
        }
    }
    println!("worst: {} bytes for {FRAME_BYTES}, {}", worst.0, worst.1);
    assert!(
        worst.0 <= HEAP_BASE_MAX + HEAP_PER_BYTE_MAX * FRAME_BYTES,
        "{worst:?}"
    );

    let size = Bytes::copy_from_slice(&(100i32 << 20).to_be_bytes());
    let claimed = peak_of(|| {
        let mut cutter = FrameCutter::new(100 << 20);
        cutter.feed(size.clone());
        assert_eq!(cutter.next_frame(), Ok(None));
    });
    assert!(claimed < 4096, "{claimed} bytes for a claim of 100 MiB");

    assert_eq!(peak_of_a_small_produce(), 0, "one partition needs no heap");
}

/// Heap bytes for a Produce of one topic and one partition, header included.
fn peak_of_a_small_produce() -> usize {
    let mut request = ProduceRequest::default();
    request.topic_data.push(TopicProduceData::default());
    request.topic_data[0].name = KStr::from_static("t");
    request.topic_data[0]
        .partition_data
        .push(PartitionProduceData {
            records: Some(Bytes::from_static(b"records")),
            ..PartitionProduceData::default()
        });
    let frame = RequestFrame::of(10, 1, Some("client"), &request).concat();
    // A slice of a shared chunk, as a connection's cutter hands out.
    let chunk = Bytes::from(frame);
    let frame = chunk.slice(4..);
    peak_of(|| {
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader).expect("a header");
        let read = ProduceRequest::read(&mut reader, header.version).expect("a body");
        assert_eq!(read, request);
    })
}
