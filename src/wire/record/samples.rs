//! Batches for the tests: made by Apache Kafka 4.3.1's own client library, and made here.
//!
//! Kafka's hold three records of producer 4000, epoch 3, sequence 11, transactional:
//! `k0` = null at 1000, `k1` at 1050, a keyless one at 1002; each with the header `h` twice.

use bytes::Bytes;

use super::builder::{BatchBuilder, NewRecord};
use super::header::Codec;
use crate::words::TimestampMs;

pub(super) const CODECS: [Codec; 5] = [
    Codec::NONE,
    Codec::GZIP,
    Codec::SNAPPY,
    Codec::LZ4,
    Codec::ZSTD,
];

const KAFKA_NONE: &str = "0000000000000000000000afffffffff0228653e3600100000000200000000000003e8000000000000041a000000\
     0000000fa000030000000b000000031e000000046b300104026802310268016e006402046b315076616c75652d31\
     2d76616c75652d312d76616c75652d312d76616c75652d312d76616c75652d312d04026802310268016a00040401\
     5076616c75652d322d76616c75652d322d76616c75652d322d76616c75652d322d76616c75652d322d0402680231\
     026801";
const KAFKA_GZIP: &str = "000000000000000000000075ffffffff02b02a849500110000000200000000000003e8000000000000041a000000\
     0000000fa000030000000b000000031f8b08000000000000ff9363606060c936606461ca603264ca60cc63486162\
     c9360c284bcc294dd535d42544c3f46531b0b030427519e912a261ba00d220f9147e000000";
const KAFKA_SNAPPY: &str = "000000000000000000000086ffffffff0237c8857400120000000200000000000003e8000000000000041a000000\
     0000000fa000030000000b0000000382534e41505059000000000100000001000000417e7c1e000000046b300104\
     026802310268016e006402046b315076616c75652d312d7e080000040d38106a000404010d3600320d366608001c\
     0402680231026801";
const KAFKA_LZ4: &str = "000000000000000000000081ffffffff02a2e0114400130000000200000000000003e8000000000000041a000000\
     0000000fa000030000000b0000000304224d1860408241000000ff111e000000046b300104026802310268016e00\
     6402046b315076616c75652d312d08000d043800536a000404013600133236000f08000780040268023102680100\
     000000";
const KAFKA_ZSTD: &str = "00000000000000000000007cffffffff02e8820c6400140000000200000000000003e8000000000000041a000000\
     0000000fa000030000000b0000000328b52ffd0058fc0100a4021e000000046b300104026802310268016e006402\
     046b315076616c75652d312d6a0004040132323232320800a008c80732035940be5965dd8a08185e9e010000";
/// `MemoryRecords.withEndTransactionMarker`: commit, coordinator epoch 9, at 1234.
pub(super) const KAFKA_MARKER: &str = "000000000000000000000042ffffffff029fcc9204003000000000\
     00000000000004d200000000000004d20000000000000fa00003ffffffff00000001200000000800000001\
     0c00000000000900";

pub(super) fn unhex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

pub(super) fn kafkas(codec: Codec) -> Bytes {
    unhex(match codec {
        Codec::NONE => KAFKA_NONE,
        Codec::GZIP => KAFKA_GZIP,
        Codec::SNAPPY => KAFKA_SNAPPY,
        Codec::LZ4 => KAFKA_LZ4,
        _ => KAFKA_ZSTD,
    })
}

/// One record a timestamp, without keys, valued `v`.
pub(super) fn batch(codec: Codec, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for &timestamp in timestamps {
        builder
            .push(&NewRecord::of(TimestampMs(timestamp), None, Some(b"v")))
            .unwrap();
    }
    builder.build().unwrap()
}

/// `bytes` with others in the place `at`, and the checksum mended.
pub(super) fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    let crc = super::crc::whole_batch_crc(&bytes).unwrap();
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

/// Small generator of repeatable noise (xorshift64*).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
