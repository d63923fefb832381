//! Claims about encoding: ours reads what we write, another library does too, Kafka's bytes are ours.

use kacrab_protocol::record as oracle;
use proptest::prelude::*;

use super::*;
use crate::wire::record::Allowance;
use crate::wire::record::check::split_single_batch;
use crate::wire::record::control::{self, ControlType, EndTransaction};
use crate::wire::record::records::RecordIter;
use crate::wire::record::samples::{self, CODECS};

/// A record with nothing borrowed.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn build(codec: Codec, records: &[Plain]) -> Bytes {
    let mut builder =
        BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(1), Sequence(0));
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader {
                key,
                value: value.as_deref(),
            })
            .collect();
        let before = builder.size_bytes();
        let record = NewRecord {
            timestamp: TimestampMs(record.timestamp),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.push(&record).unwrap();
        assert!(builder.size_bytes() > before);
    }
    builder.build().unwrap()
}

fn read(batch: &Bytes) -> Vec<Plain> {
    let batch = split_single_batch(batch).unwrap();
    let records = compression::unpack(&batch.header, batch.body(), 1 << 24).unwrap();
    RecordIter::new(&records, batch.header.records_count)
        .map(|record| {
            let record = record.unwrap();
            Plain {
                timestamp: batch.header.timestamp_of(&record).0,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers()
                    .map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)))
                    .collect(),
            }
        })
        .collect()
}

fn plain() -> impl Strategy<Value = Plain> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    (
        any::<i64>(),
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        headers,
    )
        .prop_map(|(timestamp, key, value, headers)| Plain {
            timestamp,
            key,
            value,
            headers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_pushed_is_read_in_every_codec(records in prop::collection::vec(plain(), 1..20)) {
        for codec in CODECS {
            prop_assert_eq!(read(&build(codec, &records)), records.clone());
        }
    }

    #[test]
    fn another_library_reads_what_we_write(
        times in prop::collection::vec(0i64..1 << 50, 1..20),
        body in plain(),
    ) {
        let records: Vec<Plain> = times
            .iter()
            .map(|&timestamp| Plain { timestamp, ..body.clone() })
            .collect();
        let ours = build(Codec::NONE, &records);
        let theirs = oracle::RecordBatch::decode(&mut ours.clone()).unwrap();
        prop_assert_eq!(theirs.max_timestamp, *times.iter().max().unwrap());
        prop_assert_eq!(theirs.last_offset_delta as usize, times.len() - 1);
        let seen: Vec<Plain> = theirs
            .records
            .iter()
            .map(|record| Plain {
                timestamp: theirs.first_timestamp + record.timestamp_delta,
                key: record.key.as_ref().map(|bytes| bytes.to_vec()),
                value: record.value.as_ref().map(|bytes| bytes.to_vec()),
                headers: record
                    .headers
                    .iter()
                    .map(|h| (h.key.to_vec(), h.value.as_ref().map(|bytes| bytes.to_vec())))
                    .collect(),
            })
            .collect();
        prop_assert_eq!(seen, records);
        let mut again = bytes::BytesMut::new();
        theirs.encode(&mut again).unwrap();
        prop_assert_eq!(again.freeze(), ours);
    }
}

#[test]
fn kafkas_own_batches_are_read_in_every_codec() {
    let value = |i: u32| Some(format!("value-{i}-").repeat(5).into_bytes());
    let headers = vec![(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None)];
    let record = |timestamp, key: Option<&[u8]>, value| Plain {
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value,
        headers: headers.clone(),
    };
    for codec in CODECS {
        assert_eq!(
            read(&samples::kafkas(codec)),
            [
                record(1000, Some(b"k0"), None),
                record(1050, Some(b"k1"), value(1)),
                record(1002, None, value(2)),
            ]
        );
    }
}

#[test]
fn recoding_changes_the_codec_and_nothing_else() {
    let plain = split_single_batch(&samples::kafkas(Codec::NONE)).unwrap();
    for from in CODECS {
        let batch = split_single_batch(&samples::kafkas(from)).unwrap();
        for to in CODECS {
            let new = again(&batch, to).unwrap();
            assert_eq!(split_single_batch(&new.bytes).as_ref(), Ok(&new));
            assert_eq!(new.header.codec(), to);
            assert!(new.header.is_transactional());
            assert_eq!(again(&new, Codec::NONE), Ok(plain.clone()));
        }
    }
}

fn again(batch: &CheckedBatch, codec: Codec) -> Result<CheckedBatch, BuildFault> {
    let records = Allowance::whole().unpack(&batch.header, batch.body());
    recode(&batch.header, &records.unwrap(), codec, None)
}

#[test]
fn an_end_marker_is_kafkas_byte_for_byte() {
    let end = EndTransaction {
        outcome: ControlType::COMMIT,
        coordinator_epoch: 9,
        producer_id: ProducerId(4000),
        producer_epoch: ProducerEpoch(3),
        timestamp: TimestampMs(1234),
    };
    let batch = end.to_batch().unwrap();
    assert_eq!(batch, samples::unhex(samples::KAFKA_MARKER));
    let record = RecordIter::new(&batch[BATCH_HEADER_BYTES..], 1).next();
    let record = record.unwrap().unwrap();
    assert_eq!(
        record.key.and_then(ControlType::of_key),
        Some(ControlType::COMMIT)
    );
    assert_eq!(record.value.and_then(control::coordinator_epoch), Some(9));
    assert_eq!(ControlType::of_key(&[0, 0, 0]), None);
}

#[test]
fn offsets_may_have_holes_but_never_fall() {
    let record = NewRecord::of(TimestampMs(5), Some(b"k"), None);
    let mut builder = BatchBuilder::new(Codec::NONE).base_offset(Offset(100));
    builder.push_at(3, &record).unwrap();
    assert_eq!(builder.push_at(3, &record), Err(BuildFault::OffsetDelta(3)));
    builder.push_at(9, &record).unwrap();
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.last_offset(), Offset(109));
    assert_eq!(header.records_count, 2);
}

#[test]
fn a_batch_without_records_is_not_built() {
    assert_eq!(
        BatchBuilder::new(Codec::NONE).build(),
        Err(BuildFault::Empty)
    );
}
