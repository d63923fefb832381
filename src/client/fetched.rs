//! From the bytes of a Fetch answer to records, one at a time.
//!
//! Owns checking, decompressing and the passing of what a consumer does not see: records before the
//! offset asked for, control batches, half a batch at the end. Transactions are not judged: what is
//! aborted is seen (read uncommitted). Never asks for anything.

use super::error::Unreadable;
use crate::wire::record::compression;
use crate::wire::record::records::Headers;
use crate::wire::record::{
    BATCH_HEADER_BYTES, BatchHeader, BatchWalk, HeaderFault, ReadFault, RecordIter, TimestampType,
    WalkStop, crc,
};
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

/// What one batch may expand to, in bytes.
pub const UNPACKED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A record as a consumer sees it, borrowed from the answer.
#[derive(Clone, Debug)]
pub struct FetchedRecord<'a> {
    pub partition: PartitionIndex,
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub timestamp_type: TimestampType,
    pub leader_epoch: LeaderEpoch,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Whether to go on after a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Go,
    Stop,
}

/// How far a walk came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked {
    /// Where to read on.
    pub next: Offset,
    /// Records given to the sink.
    pub records: u64,
    /// The sink said [`Flow::Stop`].
    pub stopped: bool,
}

/// Gives the records of `bytes` from offset `from` on to `sink`, in order.
///
/// # Errors
/// The offset of the batch that cannot be read, and why; records before it have been given.
pub fn walk_records(
    partition: PartitionIndex,
    bytes: &[u8],
    from: Offset,
    sink: &mut dyn FnMut(&FetchedRecord<'_>) -> Flow,
) -> Result<Walked, (Offset, Unreadable)> {
    let mut walked = Walked {
        next: from,
        records: 0,
        stopped: false,
    };
    let mut walk = BatchWalk::new(bytes);
    for (position, header) in walk.by_ref() {
        if header.next_offset() <= walked.next {
            continue;
        }
        let bytes = bytes.get(position..).unwrap_or_default();
        walk_batch(partition, &header, bytes, &mut walked, sink)
            .map_err(|cause| (header.base_offset, cause))?;
        if walked.stopped {
            return Ok(walked);
        }
        walked.next = walked.next.max(header.next_offset());
    }
    let cause = match walk.stopped() {
        None | Some(WalkStop::End) => return Ok(walked),
        // The broker cuts where the limit falls.
        Some(WalkStop::ShortHeader | WalkStop::ShortBatch(_)) if walked.next > from => {
            return Ok(walked);
        }
        Some(WalkStop::ShortHeader | WalkStop::ShortBatch(_)) => Unreadable::CutShort,
        Some(WalkStop::Bad(fault)) => Unreadable::Fault(ReadFault::Header(fault)),
        Some(WalkStop::Zeros) => Unreadable::Fault(ReadFault::Header(HeaderFault::Magic(0))),
    };
    Err((walked.next, cause))
}

/// `bytes` begins with the batch.
fn walk_batch(
    partition: PartitionIndex,
    header: &BatchHeader,
    bytes: &[u8],
    walked: &mut Walked,
    sink: &mut dyn FnMut(&FetchedRecord<'_>) -> Flow,
) -> Result<(), Unreadable> {
    if !crc::is_intact(header, bytes) {
        return Err(Unreadable::Checksum);
    }
    if header.is_control() {
        return Ok(());
    }
    let body = bytes
        .get(BATCH_HEADER_BYTES..header.size_bytes())
        .ok_or(Unreadable::Fault(ReadFault::Short))?;
    let records = compression::unpack(header, body, UNPACKED_BYTES_MAX)
        .map_err(|fault| Unreadable::Fault(ReadFault::Compression(fault)))?;
    for record in RecordIter::new(&records, header.records_count) {
        let record = record.map_err(|fault| Unreadable::Fault(ReadFault::Record(fault)))?;
        let offset = header.offset_of(&record);
        if offset < walked.next {
            continue;
        }
        let flow = sink(&FetchedRecord {
            partition,
            offset,
            timestamp: header.timestamp_of(&record),
            timestamp_type: header.timestamp_type(),
            leader_epoch: header.leader_epoch,
            key: record.key,
            value: record.value,
            headers: record.headers(),
        });
        walked.records = walked.records.saturating_add(1);
        walked.next = Offset(offset.0.saturating_add(1));
        if flow == Flow::Stop {
            walked.stopped = true;
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::control::{ControlType, EndTransaction};
    use crate::wire::record::{BatchBuilder, Codec, NewRecord};
    use crate::words::{ProducerEpoch, ProducerId};

    fn batch(base: i64, values: &[&str], codec: Codec) -> Vec<u8> {
        let mut batch = BatchBuilder::new(codec).base_offset(Offset(base));
        for value in values {
            let value = Some(value.as_bytes());
            batch
                .push(&NewRecord::of(TimestampMs(5), None, value))
                .unwrap();
        }
        batch.build().unwrap().to_vec()
    }

    type Seen = Vec<(i64, String)>;

    fn walk(bytes: &[u8], from: i64, most: usize) -> (Seen, Result<Walked, (Offset, Unreadable)>) {
        let mut seen = Vec::new();
        let walked = walk_records(PartitionIndex(0), bytes, Offset(from), &mut |record| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            seen.push((record.offset.0, value));
            if seen.len() == most {
                Flow::Stop
            } else {
                Flow::Go
            }
        });
        (seen, walked)
    }

    #[test]
    fn records_before_the_offset_asked_for_are_not_seen() {
        let bytes = [
            batch(10, &["a", "b"], Codec::NONE),
            batch(12, &["c", "d", "e"], Codec::ZSTD),
        ]
        .concat();
        let (seen, walked) = walk(&bytes, 13, 99);
        assert_eq!(seen, [(13, "d".to_owned()), (14, "e".to_owned())]);
        assert_eq!(walked.unwrap().next, Offset(15));
    }

    #[test]
    fn a_stop_is_read_on_from_exactly() {
        let bytes = batch(0, &["a", "b", "c"], Codec::GZIP);
        let (seen, walked) = walk(&bytes, 0, 2);
        let walked = walked.unwrap();
        assert_eq!(
            (seen.len(), walked.next, walked.stopped),
            (2, Offset(2), true)
        );
        let (seen, _) = walk(&bytes, walked.next.0, 99);
        assert_eq!(seen, [(2, "c".to_owned())]);
    }

    #[test]
    fn control_batches_move_the_offset_and_are_not_seen() {
        let marker = EndTransaction {
            outcome: ControlType::COMMIT,
            coordinator_epoch: 0,
            producer_id: ProducerId(1),
            producer_epoch: ProducerEpoch(0),
            timestamp: TimestampMs(5),
        };
        let (seen, walked) = walk(&marker.to_batch().unwrap(), 0, 99);
        assert_eq!((seen.len(), walked.unwrap().next), (0, Offset(1)));
    }

    #[test]
    fn half_a_batch_is_left_for_the_next_answer_unless_it_is_the_first() {
        let second = batch(1, &["b"], Codec::NONE);
        let half = &second[..second.len() / 2];
        let (seen, walked) = walk(&[&batch(0, &["a"], Codec::NONE), half].concat(), 0, 99);
        assert_eq!((seen.len(), walked.unwrap().next), (1, Offset(1)));
        let (_, walked) = walk(half, 1, 99);
        assert_eq!(walked, Err((Offset(1), Unreadable::CutShort)));
        assert_eq!(walk(&[], 1, 99).1.unwrap().next, Offset(1));
    }

    #[test]
    fn damage_is_named_with_the_offset_of_its_batch() {
        let good = batch(0, &["a"], Codec::NONE);
        let mut bad = batch(1, &["b"], Codec::NONE);
        *bad.last_mut().unwrap() ^= 1;
        let (seen, walked) = walk(&[good.clone(), bad].concat(), 0, 99);
        assert_eq!(seen.len(), 1);
        assert_eq!(walked, Err((Offset(1), Unreadable::Checksum)));
        let (_, walked) = walk(&[good, vec![0; 100]].concat(), 0, 99);
        assert!(matches!(walked, Err((Offset(1), Unreadable::Fault(_)))));
    }
}
