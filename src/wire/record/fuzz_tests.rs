//! Smoke fuzz over every decoder of the folder: nothing panics, nothing outgrows its bound.
//!
//! Inputs are noise, good batches with bytes changed, and the same with a mended checksum, so that
//! they get past it. Seeds are fixed; a failure prints the seed of its round.

use bytes::Bytes;

use super::Allowance;
use super::check::{RecordRules, split_single_batch, validate_records};
use super::compression::{compress, decompress};
use super::control::{ControlType, coordinator_epoch};
use super::header::{Codec, TimestampType};
use super::records::{Record, RecordIter};
use super::samples::{CODECS, Noise, kafkas};
use super::slice::{BatchWalk, find_timestamp, max_timestamp_record};
use super::stamp::{Stamp, StampTimestamps, stamp};
use super::{BATCH_HEADER_BYTES, BatchHeader, crc};
use crate::words::{LeaderEpoch, Offset, TimestampMs};

const ROUNDS: u64 = 3000;
const OUTPUT_MAX: usize = 64 * 1024;

fn small() -> Allowance {
    Allowance::new(OUTPUT_MAX, usize::MAX)
}

/// Everything a peer's or a disk's bytes can reach.
fn decode_all(bytes: &[u8]) {
    let rules = RecordRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        now: TimestampMs(i64::MAX),
        compacted: true,
    };
    if let Ok(batch) = split_single_batch(&Bytes::copy_from_slice(bytes)) {
        assert!(batch.bytes.len() <= bytes.len());
        if let Ok(records) = small().unpack(&batch.header, batch.body()) {
            let _ = validate_records(&batch.header, &records, &rules);
            let _ = super::builder::recode(&batch.header, &records, Codec::SNAPPY, None);
        }
    }
    let mut walk = BatchWalk::new(bytes);
    let mut position = 0;
    for (at, header) in walk.by_ref() {
        assert_eq!(at, position);
        position = at + header.size_bytes();
        let batch = &bytes[at..position];
        let _ = crc::is_intact(&header, batch);
        let _ = find_timestamp(batch, TimestampMs(i64::MIN), Offset(i64::MIN), &mut small());
        let _ = max_timestamp_record(batch, &mut small());
        let _ = (
            header.last_offset(),
            header.next_offset(),
            header.last_sequence(),
        );
        let marks = Stamp {
            base_offset: Offset(i64::MAX),
            leader_epoch: LeaderEpoch(i32::MAX),
            timestamps: StampTimestamps::LogAppendTime(TimestampMs(0)),
        };
        stamp(&header, &batch[BATCH_HEADER_BYTES..], marks);
    }
    assert!(walk.stopped().is_some() && position <= bytes.len());
    for count in [0, 1, i32::MAX, -1] {
        let walked = RecordIter::new(bytes, count)
            .filter_map(Result::ok)
            .inspect(|record: &Record<'_>| assert!(record.headers().count() <= bytes.len()))
            .count();
        assert!(walked <= bytes.len());
    }
    for codec in CODECS {
        if let Ok(output) = decompress(codec, bytes, OUTPUT_MAX) {
            assert!(output.capacity() <= OUTPUT_MAX + 1);
        }
    }
    let _ = (ControlType::of_key(bytes), coordinator_epoch(bytes));
}

fn change(noise: &mut Noise, bytes: &mut Vec<u8>, from: usize) {
    for _ in 0..=noise.below(4) {
        let at = from + noise.below(bytes.len().saturating_sub(from));
        match noise.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), noise.next() as u8),
            2 => bytes.extend_from_within(at.min(bytes.len())..),
            _ => {
                let byte = [noise.next() as u8, 0, 0xff, 0x7f, 0x80][noise.below(5)];
                if let Some(target) = bytes.get_mut(at) {
                    *target = byte;
                }
            }
        }
    }
}

/// Makes length and checksum say what the bytes are.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < BATCH_HEADER_BYTES {
        return;
    }
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc::whole_batch_crc(bytes).unwrap();
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn noise_is_never_trouble() {
    for seed in 1..=ROUNDS {
        let mut noise = Noise(seed);
        let len = noise.below(300);
        let bytes = noise.bytes(len);
        println!("seed {seed}");
        decode_all(&bytes);
    }
}

#[test]
fn changed_batches_are_never_trouble() {
    for seed in 1..=ROUNDS {
        let mut noise = Noise(seed << 20 | 1);
        let mut bytes = kafkas(CODECS[noise.below(CODECS.len())]).to_vec();
        if noise.below(3) == 0 {
            bytes.extend_from_within(..);
        }
        change(&mut noise, &mut bytes, 0);
        println!("seed {seed}");
        decode_all(&bytes);
    }
}

#[test]
fn changed_batches_with_a_good_checksum_are_never_trouble() {
    for seed in 1..=ROUNDS {
        let mut noise = Noise(seed << 32 | 1);
        let mut bytes = kafkas(CODECS[noise.below(CODECS.len())]).to_vec();
        let from = if noise.below(4) == 0 {
            21
        } else {
            BATCH_HEADER_BYTES
        };
        change(&mut noise, &mut bytes, from);
        mend(&mut bytes);
        println!("seed {seed}");
        decode_all(&bytes);
    }
}

#[test]
fn changed_compressed_bytes_are_never_trouble() {
    let mut noise = Noise(99);
    let text: Vec<u8> = (0..20_000).map(|_| b"abc"[noise.below(3)]).collect();
    for codec in CODECS {
        let packed = compress(codec, &text, None).unwrap();
        for seed in 1..=500 {
            let mut noise = Noise(seed);
            let mut bytes = packed.clone();
            change(&mut noise, &mut bytes, 0);
            println!("codec {codec:?} seed {seed}");
            if let Ok(output) = decompress(codec, &bytes, OUTPUT_MAX) {
                assert!(output.capacity() <= OUTPUT_MAX + 1);
            }
        }
    }
}

#[test]
fn headers_of_noise_survive_a_round_trip() {
    for seed in 1..=ROUNDS {
        let mut noise = Noise(seed);
        let mut bytes = noise.bytes(BATCH_HEADER_BYTES);
        bytes[16] = 2;
        bytes[8] &= 0x7f;
        bytes[10] |= 1;
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.encode().as_slice(), bytes, "seed {seed}");
    }
}
