//! Claims about what may be appended: each row was asked of Apache Kafka 4.3.1 (the answers are in
//! the comments of the variants); where Ottla differs on purpose the test's name says so.

use super::*;
use crate::wire::record::Allowance;
use crate::wire::record::builder::{BatchBuilder, NewRecord};
use crate::wire::record::samples::{self, CODECS, patched};
use crate::words::{ProducerEpoch, ProducerId};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn rules() -> RecordRules {
    RecordRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: 60_000,
        timestamp_after_max_ms: 120_000,
        now: NOW,
        compacted: false,
    }
}

fn at(delays: &[i64]) -> Vec<i64> {
    delays.iter().map(|delay| NOW.0 + delay).collect()
}

fn split(bytes: &[u8]) -> Result<CheckedBatch, BatchFault> {
    split_single_batch(&Bytes::copy_from_slice(bytes))
}

fn validate(bytes: &[u8], rules: &RecordRules) -> Result<RecordFacts, RecordsRefusal> {
    let batch = split(bytes).unwrap();
    let records = Allowance::whole().unpack(&batch.header, batch.body());
    validate_records(&batch.header, &records.unwrap(), rules)
}

#[test]
fn a_good_batch_is_sliced_not_copied() {
    let bytes = samples::kafkas(Codec::ZSTD);
    let batch = split_single_batch(&bytes).unwrap();
    assert_eq!(batch.bytes.as_ptr(), bytes.as_ptr());
    assert_eq!(batch.body().len(), bytes.len() - BATCH_HEADER_BYTES);
    assert_eq!(batch.header.records_count, 3);
}

#[test]
fn shapes_that_are_no_batch_have_their_names() {
    let good = samples::batch(Codec::NONE, &[1, 2]);
    let fault = |bytes: &[u8]| split(bytes).unwrap_err();
    assert_eq!(fault(&[]), BatchFault::NoBatch);
    assert_eq!(fault(&[0; 11]), BatchFault::NoBatch);
    assert_eq!(fault(&[0; 12]), BatchFault::LengthTooSmall(0));
    let present = good.len() - 1;
    let claimed = good.len();
    for cut in [12, 16, 17, 61, present] {
        let present = cut;
        assert_eq!(fault(&good[..cut]), BatchFault::Short { claimed, present });
    }
    for (length, named) in [(-1, -1), (13, 13), (14, 14), (48, 48)] {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        bytes.truncate(usize::try_from(length).unwrap_or(61).max(5) + 12);
        assert_eq!(fault(&bytes), BatchFault::LengthTooSmall(named));
    }
    for (magic, named) in [
        (0u8, BatchFault::OldMagic(0)),
        (1, BatchFault::OldMagic(1)),
        (3, BatchFault::UnknownMagic(3)),
        (0xff, BatchFault::UnknownMagic(-1)),
    ] {
        let mut bytes = good.to_vec();
        bytes[16] = magic;
        assert_eq!(fault(&bytes), named);
    }
}

#[test]
fn what_follows_the_batch_is_cut_off_refused_or_a_second_batch() {
    let good = samples::batch(Codec::NONE, &[1]);
    let then = |tail: &[u8]| split(&[&good[..], tail].concat());
    let header = |length: u8, magic: u8| {
        let mut bytes = [0u8; 17];
        bytes[11] = length;
        bytes[16] = magic;
        bytes
    };
    // Too little to judge, or a batch that has only begun.
    for tail in [
        &[0][..],
        &[0; 8],
        &[0xff; 11],
        &header(15, 2),
        &header(255, 0),
    ] {
        assert_eq!(then(tail).map(|batch| batch.bytes), Ok(good.clone()));
    }
    for tail in [&[0; 12][..], &[0; 17], &header(15, 9), &header(13, 2)] {
        assert_eq!(then(tail), Err(BatchFault::TrailingGarbage));
    }
    assert_eq!(then(&good), Err(BatchFault::SecondBatch));
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let good = samples::batch(Codec::NONE, &[1, 2]);
    let fault = |at, patch: &[u8]| split(&patched(&good, at, patch)).unwrap_err();
    let mismatch = |records_count, last_offset_delta| BatchFault::CountMismatch {
        records_count,
        last_offset_delta,
    };
    assert_eq!(
        fault(0, &[0, 0, 0, 0, 0, 0, 1, 0xf4]),
        BatchFault::BaseOffset(Offset(500))
    );
    assert_eq!(fault(21, &[0, 5]), BatchFault::UnknownCodec(Codec(5)));
    assert_eq!(fault(23, &[0xff; 4]), BatchFault::LastOffsetDelta(-1));
    assert_eq!(fault(23, &[0; 4]), mismatch(2, 0));
    assert_eq!(fault(23, &[0x7f, 0xff, 0xff, 0xff]), mismatch(2, i32::MAX));
    assert_eq!(fault(57, &[0; 4]), BatchFault::RecordsCount(0));
    assert_eq!(fault(57, &[0xff; 4]), BatchFault::RecordsCount(-1));
    assert_eq!(fault(57, &[0, 0, 0, 3]), mismatch(3, 1));
    assert_eq!(fault(21, &[0, 0x20]), BatchFault::Control);
    assert_eq!(
        fault(43, &[0, 0, 0, 0, 0, 0, 0, 7]),
        BatchFault::NegativeSequence(Sequence(-1))
    );
    // Bits that mean nothing are let through.
    assert!(split(&patched(&good, 21, &[0x80, 0x80])).is_ok());
}

#[test]
fn the_checksum_covers_the_records_and_comes_after_the_base_offset() {
    let mut bytes = samples::batch(Codec::NONE, &[1, 2]).to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(matches!(split(&bytes), Err(BatchFault::Crc { .. })));
    bytes[7] = 1;
    assert_eq!(split(&bytes), Err(BatchFault::BaseOffset(Offset(1))));
}

#[test]
fn the_records_largest_timestamp_is_found_whatever_the_header_says() {
    for codec in CODECS {
        let good = samples::batch(codec, &at(&[0, 50, -5, 50]));
        let lying = patched(&good, 35, &1i64.to_be_bytes());
        let facts = validate(&lying, &rules()).unwrap();
        assert_eq!(facts.max_timestamp, TimestampMs(NOW.0 + 50));
        assert_eq!(facts.max_timestamp_delta, 1);
        let untimed = samples::batch(codec, &[-1, -1]);
        let facts = validate(&untimed, &rules()).unwrap();
        assert_eq!(facts.max_timestamp, TimestampMs(-1));
        assert_eq!(facts.max_timestamp_delta, 0);
    }
}

#[test]
fn every_timestamp_out_of_range_is_named() {
    let batch = samples::batch(
        Codec::GZIP,
        &[
            &at(&[-60_000, 120_001, 0, -60_001, 120_000])[..],
            &[-1, i64::MIN],
        ]
        .concat(),
    );
    let refusal = validate(&batch, &rules()).unwrap_err();
    assert_eq!(refusal.kind, RecordsRefusalKind::InvalidTimestamp);
    let named: Vec<i32> = refusal
        .record_errors
        .iter()
        .map(|e| e.batch_index)
        .collect();
    assert_eq!(named, [1, 3, 6]);
    let message = refusal.record_errors[0].complaint.to_string();
    assert_eq!(
        message,
        "Timestamp 1700000120001 is out of range [1699999940000, 1700000120000]"
    );
}

#[test]
fn an_unlimited_past_is_kafkas_default() {
    let open = RecordRules {
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        ..rules()
    };
    assert!(validate(&samples::batch(Codec::NONE, &[0, -2]), &open).is_ok());
    let ahead = samples::batch(Codec::NONE, &at(&[7_200_000]));
    let refusal = validate(&ahead, &open).unwrap_err();
    assert_eq!(refusal.kind, RecordsRefusalKind::InvalidTimestamp);
}

#[test]
fn a_compacted_topic_names_its_keyless_records() {
    let compacted = RecordRules {
        compacted: true,
        ..rules()
    };
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        for (key, delay) in [(Some(&b"k"[..]), 0), (None, 0), (Some(b""), 0), (None, 0)] {
            let time = TimestampMs(NOW.0 + delay);
            builder.push(&NewRecord::of(time, key, None)).unwrap();
        }
        let refusal = validate(&builder.build().unwrap(), &compacted).unwrap_err();
        assert_eq!(refusal.kind, RecordsRefusalKind::InvalidRecord);
        let keyless = |batch_index| RecordError {
            batch_index,
            complaint: RecordComplaint::NoKey,
        };
        assert_eq!(refusal.record_errors, [keyless(1), keyless(3)]);
    }
    // One bad timestamp decides the class; a keyless record is not blamed for its time as well.
    let mixed = samples::batch(Codec::NONE, &at(&[900_000]));
    let refusal = validate(&mixed, &compacted).unwrap_err();
    assert_eq!(refusal.kind, RecordsRefusalKind::InvalidRecord);
}

#[test]
fn only_brokers_may_say_log_append_time() {
    let appended = RecordRules {
        timestamp_type: TimestampType::LogAppendTime,
        ..rules()
    };
    let old = samples::batch(Codec::NONE, &[5, 6]);
    let facts = validate(&old, &appended).unwrap();
    assert_eq!((facts.max_timestamp, facts.max_timestamp_delta), (NOW, 0));
    let claimed = patched(&old, 21, &[0, 8]);
    let refusal = validate(&claimed, &appended).unwrap_err();
    assert_eq!(refusal.kind, RecordsRefusalKind::InvalidTimestamp);
    assert_eq!(refusal.record_errors.len(), 2);
    // Where timestamps are judged, it is judged by the header's and taken for create time.
    let claimed = patched(&claimed, 35, &NOW.0.to_be_bytes());
    assert_eq!(
        validate(&claimed, &rules()).map(|f| f.max_timestamp),
        Ok(NOW)
    );
    let untimed = patched(&claimed, 35, &[0xff; 8]);
    let refusal = validate(&untimed, &rules()).unwrap_err();
    assert_eq!(
        refusal.record_errors[0].complaint,
        RecordComplaint::LogAppendTime
    );
}

#[test]
fn holes_in_offsets_are_refused_though_kafka_stores_them_uncompressed() {
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        for delta in [0, 2] {
            let record = NewRecord::of(NOW, None, Some(b"v"));
            builder.push_at(delta, &record).unwrap();
        }
        let batch = patched(&builder.build().unwrap(), 23, &[0, 0, 0, 1]);
        let refusal = validate(&batch, &rules()).unwrap_err();
        assert_eq!(refusal.kind, RecordsRefusalKind::InvalidRecord);
        assert_eq!(
            refusal.record_errors,
            [RecordError {
                batch_index: 1,
                complaint: RecordComplaint::OffsetDelta(2)
            }]
        );
    }
}

#[test]
fn records_that_cannot_be_read_are_malformed_and_none_is_named() {
    let good = samples::batch(Codec::NONE, &at(&[0]));
    for (size, fault) in [
        (0u8, RecordFault::FieldPastEnd),
        (1, RecordFault::Size(-1)),
        (0x7e, RecordFault::Short),
    ] {
        let refusal = validate(&patched(&good, 61, &[size]), &rules()).unwrap_err();
        assert_eq!(refusal.kind, RecordsRefusalKind::Malformed(fault));
        assert!(refusal.record_errors.is_empty());
    }
}

#[test]
fn the_list_of_refused_records_is_bounded() {
    let batch = samples::batch(Codec::ZSTD, &vec![0; RECORD_ERRORS_MAX * 3]);
    let refusal = validate(&batch, &rules()).unwrap_err();
    assert_eq!(refusal.record_errors.len(), RECORD_ERRORS_MAX);
}

#[test]
fn an_idempotent_batch_with_a_sequence_passes() {
    let mut builder = BatchBuilder::new(Codec::NONE)
        .producer(ProducerId(7), ProducerEpoch(0), Sequence(i32::MAX))
        .transactional();
    builder.push(&NewRecord::of(NOW, None, None)).unwrap();
    let batch = split(&builder.build().unwrap()).unwrap();
    assert!(batch.header.is_transactional());
}
