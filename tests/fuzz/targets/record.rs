//! Targets of record batches: on their way into the log, as they lie there, and their compression.

use bytes::Bytes;
use ottla::log::append_rules;
use ottla::wire::record::control::{ControlType, coordinator_epoch};
use ottla::wire::record::header::CRC_COVERS_FROM;
use ottla::wire::record::{
    Allowance, BATCH_HEADER_BYTES, BatchWalk, CheckedBatch, Codec, RecordIter, builder,
    compression, crc, find_timestamp, max_timestamp_record, split_single_batch,
};
use ottla::words::{Offset, TimestampMs};

use super::wire::{admit, log_settings};
use super::{OUTPUT_MAX, count, head, put_u32};

/// A purse for one look.
fn small() -> Allowance {
    Allowance::new(OUTPUT_MAX, usize::MAX)
}

/// Makes magic, length and checksum of a batch what they should be.
pub fn mend_batch(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(magic) = bytes.get_mut(16) {
        *magic = 2;
    }
    let length = count(bytes.len()).saturating_sub(12);
    put_u32(&mut bytes, 8, length);
    if let Some(sum) = crc::whole_batch_crc(&bytes) {
        put_u32(&mut bytes, CRC_COVERS_FROM - 4, sum);
    }
    bytes
}

/// A partition's records field, as it came and mended: all that happens on the way into the log.
pub fn single_batch(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend_batch(bytes)] {
        let bytes = Bytes::from(bytes);
        admit(Some(&bytes), 13);
        let Ok(batch) = split_single_batch(&bytes) else {
            continue;
        };
        assert!(batch.bytes.len() <= bytes.len());
        assert!(crc::is_intact(&batch.header, &batch.bytes));
        for settings in log_settings() {
            let size = batch.bytes.len() as u64;
            let _ = append_rules::judge(&batch.header, size, &settings);
        }
        let Ok(unpacked) = small().unpack(&batch.header, batch.body()) else {
            continue;
        };
        let Ok(again) = builder::recode(&batch.header, &unpacked, Codec::SNAPPY, None) else {
            continue;
        };
        assert!(crc::is_intact(&again.header, &again.bytes));
        let records = |batch: &CheckedBatch| {
            compression::unpack(&batch.header, batch.body(), bytes.len().max(OUTPUT_MAX))
                .map(|records| records.into_owned())
        };
        assert_eq!(records(&batch), records(&again));
    }
}

/// Batches one after the other, as they lie in a segment or come in a fetch.
pub fn batch_walk(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend_batch(bytes)] {
        let mut walk = BatchWalk::new(&bytes);
        let mut position = 0;
        for (at, header) in walk.by_ref() {
            assert_eq!(at, position);
            position = at + header.size_bytes();
            let batch = &bytes[at..position];
            let _ = crc::is_intact(&header, batch);
            let _ = (header.last_sequence(), header.next_offset());
            assert_eq!(header.encode(), batch[..BATCH_HEADER_BYTES]);
            for (target, from) in [(i64::MIN, i64::MIN), (0, 0), (i64::MAX, 1)] {
                let (target, from) = (TimestampMs(target), Offset(from));
                if let Ok(Some((offset, timestamp))) =
                    find_timestamp(batch, target, from, &mut small())
                {
                    assert!(offset >= from && timestamp >= target);
                }
            }
            let _ = max_timestamp_record(batch, &mut small());
        }
        assert!(walk.stopped().is_some() && walk.position() == position);
        assert!(position <= bytes.len());
    }
}

/// First byte: how many records are promised. The rest: records, and a control record's parts.
pub fn records(bytes: &[u8]) {
    let (promised, body) = head(bytes);
    for promised in [i32::from(promised), 0, 1, -1, i32::MAX] {
        let mut walked = 0usize;
        let mut faults = 0usize;
        for record in RecordIter::new(body, promised) {
            assert_eq!(faults, 0, "a fault ends the walk");
            match record {
                Ok(record) => {
                    walked += 1;
                    let headers = record.headers().count();
                    assert_eq!(u32::try_from(headers), Ok(record.headers_count()));
                    assert!(
                        record
                            .headers()
                            .all(|header| header.key.len() <= body.len())
                    );
                }
                Err(_) => faults += 1,
            }
        }
        assert!(walked <= body.len());
        assert!(faults == 1 || i32::try_from(walked) == Ok(promised.max(0)));
    }
    let _ = (ControlType::of_key(body), coordinator_epoch(body));
}

fn codec_target(codec: Codec, bytes: &[u8]) {
    for bound in [0, 1, OUTPUT_MAX] {
        if let Ok(output) = compression::decompress(codec, bytes, bound) {
            assert!(output.len() <= bound && output.capacity() <= bound + 1);
        }
    }
    let packed = compression::compress(codec, bytes, None).expect("any bytes compress");
    let output = compression::decompress(codec, &packed, bytes.len());
    assert_eq!(output.as_deref(), Ok(bytes));
    if let Some(less) = bytes.len().checked_sub(1) {
        assert!(compression::decompress(codec, &packed, less).is_err());
    }
}

pub fn gzip(bytes: &[u8]) {
    codec_target(Codec::GZIP, bytes);
}

pub fn snappy(bytes: &[u8]) {
    codec_target(Codec::SNAPPY, bytes);
}

pub fn lz4(bytes: &[u8]) {
    codec_target(Codec::LZ4, bytes);
}

pub fn zstd(bytes: &[u8]) {
    codec_target(Codec::ZSTD, bytes);
}
