//! Claims about walking stored bytes and about finding records by their time.

use super::*;
use crate::wire::record::builder::{BatchBuilder, NewRecord};
use crate::wire::record::header::{Codec, TimestampType};
use crate::wire::record::samples::{self, CODECS};

fn find_timestamp(
    bytes: &[u8],
    target: TimestampMs,
    from: Offset,
) -> Result<Option<(Offset, TimestampMs)>, ReadFault> {
    super::find_timestamp(bytes, target, from, &mut Allowance::whole())
}

fn max_timestamp_record(bytes: &[u8]) -> Result<Option<(Offset, TimestampMs)>, ReadFault> {
    super::max_timestamp_record(bytes, &mut Allowance::whole())
}

fn walk(bytes: &[u8]) -> (Vec<usize>, WalkStop) {
    let mut walk = BatchWalk::new(bytes);
    let positions = walk.by_ref().map(|(position, _)| position).collect();
    (positions, walk.stopped().unwrap())
}

#[test]
fn a_walk_names_why_it_ends() {
    let one = samples::batch(Codec::NONE, &[1, 2]);
    let len = one.len();
    let with = |tail: &[u8]| walk(&[&one[..], &one[..], tail].concat());
    assert_eq!(walk(&[]), (vec![], WalkStop::End));
    assert_eq!(with(&[]), (vec![0, len], WalkStop::End));
    assert_eq!(with(&one[..60]), (vec![0, len], WalkStop::ShortHeader));
    assert_eq!(with(&one[..61]), (vec![0, len], WalkStop::ShortBatch(len)));
    assert_eq!(with(&[0; 5]), (vec![0, len], WalkStop::Zeros));
    assert_eq!(with(&[0; 500]), (vec![0, len], WalkStop::Zeros));
    let mut bad = one.to_vec();
    bad[16] = 9;
    assert_eq!(with(&bad).1, WalkStop::Bad(HeaderFault::Magic(9)));
    let mut tiny = one.to_vec();
    tiny[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(
        with(&tiny).1,
        WalkStop::Bad(HeaderFault::LengthTooSmall(48))
    );
    tiny[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(with(&tiny).1, WalkStop::ShortBatch(i32::MAX as usize + 12));
}

#[test]
fn a_lookup_by_time_finds_the_record_not_the_batch() {
    for codec in CODECS {
        let mut batch = samples::batch(codec, &[100, 300, 200, 300]).to_vec();
        batch[..8].copy_from_slice(&1000i64.to_be_bytes());
        let find =
            |target, from| find_timestamp(&batch, TimestampMs(target), Offset(from)).unwrap();
        assert_eq!(find(-5, 0), Some((Offset(1000), TimestampMs(100))));
        assert_eq!(find(101, 0), Some((Offset(1001), TimestampMs(300))));
        assert_eq!(find(101, 1002), Some((Offset(1002), TimestampMs(200))));
        assert_eq!(find(201, 1002), Some((Offset(1003), TimestampMs(300))));
        assert_eq!(find(301, 0), None);
        assert_eq!(find(100, 1004), None);
        assert_eq!(
            max_timestamp_record(&batch),
            Ok(Some((Offset(1001), TimestampMs(300))))
        );
    }
}

#[test]
fn with_log_append_time_every_record_has_the_batchs_timestamp() {
    let batch = samples::batch(Codec::LZ4, &[100, 300, 200]);
    let mut header = BatchHeader::parse(&batch).unwrap();
    header.set_timestamp_type(TimestampType::LogAppendTime);
    header.max_timestamp = TimestampMs(9000);
    let batch = [&header.encode()[..], &batch[BATCH_HEADER_BYTES..]].concat();
    let found = find_timestamp(&batch, TimestampMs(8999), Offset(1));
    assert_eq!(found, Ok(Some((Offset(1), TimestampMs(9000)))));
    let largest = max_timestamp_record(&batch);
    assert_eq!(largest, Ok(Some((Offset(0), TimestampMs(9000)))));
}

#[test]
fn holes_that_compaction_left_are_not_counted() {
    let mut builder = BatchBuilder::new(Codec::GZIP).base_offset(Offset(50));
    for (delta, timestamp) in [(2, 10), (7, 20)] {
        let record = NewRecord::of(TimestampMs(timestamp), Some(b"k"), None);
        builder.push_at(delta, &record).unwrap();
    }
    let batch = builder.build().unwrap();
    let found = find_timestamp(&batch, TimestampMs(11), Offset(50));
    assert_eq!(found, Ok(Some((Offset(57), TimestampMs(20)))));
}

#[test]
fn records_without_timestamps_answer_the_first_of_them() {
    let batch = samples::batch(Codec::NONE, &[-1, -1]);
    let largest = max_timestamp_record(&batch);
    assert_eq!(largest, Ok(Some((Offset(0), TimestampMs(-1)))));
}

#[test]
fn a_batch_that_cannot_answer_is_not_unpacked() {
    let mut batch = samples::batch(Codec::ZSTD, &[100]).to_vec();
    let last = batch.len() - 1;
    batch[BATCH_HEADER_BYTES..last].fill(0xff);
    let find = |target| find_timestamp(&batch, TimestampMs(target), Offset(0));
    assert_eq!(find(101), Ok(None));
    assert_eq!(
        find(100),
        Err(ReadFault::Compression(CompressionFault::Corrupt))
    );
    let short = max_timestamp_record(&batch[..last]);
    assert_eq!(short, Err(ReadFault::Short));
}
