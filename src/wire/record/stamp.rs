//! The header that a batch gets on its way into the log.
//!
//! Owns what a leader writes over a producer's header: base offset, leader epoch, and where the topic
//! or the records ask for it the timestamps. Never touches, copies or looks into the body.

use super::crc;
use super::header::{BATCH_HEADER_BYTES, BatchHeader, TimestampType};
use crate::words::{LeaderEpoch, Offset, TimestampMs};

/// What to write over a producer's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub timestamps: StampTimestamps,
}

/// What becomes of a batch's timestamp type and max timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StampTimestamps {
    /// As sent, unseen.
    Keep,
    /// Create time, with this max timestamp: the one that the records really have.
    CreateTime(TimestampMs),
    /// Log append time, now.
    LogAppendTime(TimestampMs),
}

/// The new header for a batch with `header` and `body` (everything after the header). The checksum
/// is only computed again when the timestamps really change; base offset and leader epoch are not
/// covered by it (Kafka `DefaultRecordBatch.setMaxTimestamp`).
pub fn stamp(header: &BatchHeader, body: &[u8], stamp: Stamp) -> [u8; BATCH_HEADER_BYTES] {
    let mut new = BatchHeader {
        base_offset: stamp.base_offset,
        leader_epoch: stamp.leader_epoch,
        ..*header
    };
    let (timestamp_type, max_timestamp) = match stamp.timestamps {
        StampTimestamps::Keep => return new.encode(),
        StampTimestamps::CreateTime(max) => (TimestampType::CreateTime, max),
        StampTimestamps::LogAppendTime(now) => (TimestampType::LogAppendTime, now),
    };
    if header.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return new.encode();
    }
    new.drop_unused_attributes();
    new.set_timestamp_type(timestamp_type);
    new.max_timestamp = max_timestamp;
    new.crc = crc::batch_crc(&new.encode(), body);
    new.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::builder::{BatchBuilder, NewRecord};
    use crate::wire::record::header::Codec;

    fn batch() -> (BatchHeader, Vec<u8>) {
        let mut builder = BatchBuilder::new(Codec::NONE);
        for timestamp in [1000, 1005, 1002] {
            builder
                .push(&NewRecord::of(TimestampMs(timestamp), None, Some(b"v")))
                .unwrap();
        }
        let bytes = builder.build().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        (header, bytes[BATCH_HEADER_BYTES..].to_vec())
    }

    fn stamped(header: &BatchHeader, body: &[u8], timestamps: StampTimestamps) -> BatchHeader {
        let bytes = stamp(
            header,
            body,
            Stamp {
                base_offset: Offset(77),
                leader_epoch: LeaderEpoch(5),
                timestamps,
            },
        );
        let new = BatchHeader::parse(&bytes).unwrap();
        let whole = [&bytes[..], body].concat();
        assert!(crc::is_intact(&new, &whole));
        assert_eq!(new.base_offset, Offset(77));
        assert_eq!(new.leader_epoch, LeaderEpoch(5));
        new
    }

    #[test]
    fn offset_and_epoch_change_without_a_new_checksum() {
        let (header, body) = batch();
        let kept = stamped(&header, &body, StampTimestamps::Keep);
        assert_eq!(kept.crc, header.crc);
        let right = StampTimestamps::CreateTime(TimestampMs(1005));
        assert_eq!(stamped(&header, &body, right), kept);
    }

    #[test]
    fn log_append_time_sets_the_type_and_the_largest_timestamp() {
        let (header, body) = batch();
        let now = TimestampMs(9000);
        let new = stamped(&header, &body, StampTimestamps::LogAppendTime(now));
        assert_eq!(new.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(new.max_timestamp, now);
        assert_eq!(new.base_timestamp, header.base_timestamp);
        assert_ne!(new.crc, header.crc);
    }

    #[test]
    fn a_wrong_largest_timestamp_is_mended() {
        let (mut header, body) = batch();
        header.max_timestamp = TimestampMs(1);
        header.attributes |= 0x0100;
        let right = StampTimestamps::CreateTime(TimestampMs(1005));
        let new = stamped(&header, &body, right);
        assert_eq!(new.max_timestamp, TimestampMs(1005));
        assert_eq!(new.attributes, 0);
    }
}
