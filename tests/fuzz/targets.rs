//! The bodies of the fuzz targets: each takes any bytes and must come back, with its claims held.
//!
//! Shared by the cargo-fuzz package beside it and by `tests/fuzz_smoke.rs`. A target feeds a decoder
//! first with the bytes as they are and then, where a checksum guards the way in, with the checksum
//! mended. The bodies are in `targets/`, this is their table. Owns no corpus, draws no randomness, reads no file.

#[path = "targets/disk.rs"]
mod disk;
#[path = "targets/inspect.rs"]
mod inspect;
#[path = "targets/record.rs"]
mod record;
#[path = "targets/wire.rs"]
mod wire;

use disk::{
    epoch_checkpoint, journal_entry, log_names, metadata_frame, metadata_log, offset_checkpoint,
    offset_index, producer_snapshot, property_files, segment_scan, server_properties,
    shard_checkpoint, time_index, topic_configs,
};
use inspect::{inspect_journal, inspect_metadata, inspect_papers, inspect_segment};
use record::{batch_walk, gzip, lz4, records, single_batch, snappy, zstd};
use wire::{cold_request, frames, messages, produce_request, request_header};

pub use wire::MESSAGES;

use ottla::words::{Now, TimestampMs};

/// One decoder under test.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Heap bytes that one run may hold at most, whatever it is fed ...
    pub heap_base: usize,
    /// ... and for each byte that it is fed: decoding, and what the claims copy.
    pub heap_per_byte: usize,
}

/// Frames that `frames` cuts are no larger than this.
const FRAME_BYTES_MAX: usize = 1 << 16;
/// Bound of decompression here; in the broker it is `DECOMPRESSED_BYTES_MAX`.
const OUTPUT_MAX: usize = 64 * 1024;
const KIB: usize = 1024;
/// The largest block that an lz4 frame may claim is 4 MiB, and its decoder holds two.
const COMPRESSION_BASE: usize = 10 * 1024 * KIB;
const NOW: Now = Now {
    mono_ns: 60_000_000_000,
    wall: TimestampMs(1_700_000_000_000),
};

macro_rules! targets {
    ($($name:ident, $base:expr, $per_byte:expr;)*) => {
        /// Every target, by the name of its function.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: $name,
            heap_base: $base,
            heap_per_byte: $per_byte,
        },)*];
    };
}

targets! {
    frames, 16 * KIB, 16;
    request_header, 16 * KIB, 16;
    messages, 128 * KIB, 400;
    produce_request, COMPRESSION_BASE, 400;
    cold_request, 1024 * KIB, 1000;
    single_batch, COMPRESSION_BASE, 100;
    batch_walk, COMPRESSION_BASE, 100;
    records, 16 * KIB, 16;
    gzip, COMPRESSION_BASE, 16;
    snappy, COMPRESSION_BASE, 16;
    lz4, COMPRESSION_BASE, 16;
    zstd, COMPRESSION_BASE, 16;
    segment_scan, 64 * KIB, 100;
    journal_entry, 64 * KIB, 16;
    offset_index, 16 * KIB, 16;
    time_index, 16 * KIB, 16;
    producer_snapshot, 64 * KIB, 64;
    shard_checkpoint, 16 * KIB, 16;
    offset_checkpoint, 16 * KIB, 64;
    epoch_checkpoint, 16 * KIB, 64;
    metadata_frame, 64 * KIB, 100;
    metadata_log, 64 * KIB, 400;
    log_names, 16 * KIB, 16;
    property_files, 16 * KIB, 64;
    server_properties, 256 * KIB, 400;
    topic_configs, 256 * KIB, 400;
    inspect_segment, COMPRESSION_BASE, 100;
    inspect_journal, 512 * KIB, 100;
    inspect_papers, 64 * KIB, 100;
    inspect_metadata, 64 * KIB, 400;
}

/// The target of that name.
pub fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.expect("a name of the table")
}

fn head(bytes: &[u8]) -> (u8, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (*first, rest))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("no input is that long")
}
