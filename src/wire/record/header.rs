//! The 61 bytes in front of every record batch of message format v2.
//!
//! ```text
//!  0 base offset i64     8 batch length i32 (bytes after this field)   12 leader epoch i32
//! 16 magic i8           17 crc u32 (CRC-32C of everything from 21 on)
//! 21 attributes i16     23 last offset delta i32   27 base timestamp i64   35 max timestamp i64
//! 43 producer id i64    51 producer epoch i16      53 base sequence i32    57 records count i32
//! ```

use super::records::Record;
use crate::words::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Bytes of the header of a v2 batch.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes in front of what `batch length` counts (Kafka `Records.LOG_OVERHEAD`).
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the bytes covered by the checksum begin.
pub const CRC_COVERS_FROM: usize = 21;
/// The only magic that Ottla stores.
pub const MAGIC_V2: i8 = 2;

const ATTRIBUTE_CODEC_MASK: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;
const ATTRIBUTES_KNOWN: i16 = 0x7f;

/// A decoded batch header: plain values, nothing judged but that the bytes were there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after the length field, as claimed.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub records_count: i32,
}

/// Compression of a batch's records, by its number on the wire; unknown numbers survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Codec(pub u8);

impl Codec {
    pub const NONE: Codec = Codec(0);
    pub const GZIP: Codec = Codec(1);
    pub const SNAPPY: Codec = Codec(2);
    pub const LZ4: Codec = Codec(3);
    pub const ZSTD: Codec = Codec(4);
}

/// Who set the timestamps of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Why bytes are no batch header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderFault {
    /// Fewer bytes than a header has.
    Short,
    /// `batch length` is below the header's own size.
    LengthTooSmall(i32),
    /// Magic 0 or 1 (message sets of old) or one nobody has defined.
    Magic(i8),
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the claimed length may exceed what is there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, HeaderFault> {
        const LEAST: usize = BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES;
        let magic = bytes
            .get(16)
            .copied()
            .ok_or(HeaderFault::Short)?
            .cast_signed();
        if magic != MAGIC_V2 {
            return Err(HeaderFault::Magic(magic));
        }
        let header = Self::fields(bytes, magic).ok_or(HeaderFault::Short)?;
        if !usize::try_from(header.batch_length).is_ok_and(|length| length >= LEAST) {
            return Err(HeaderFault::LengthTooSmall(header.batch_length));
        }
        Ok(header)
    }

    fn fields(bytes: &[u8], magic: i8) -> Option<BatchHeader> {
        Some(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(take(bytes, 0)?)),
            batch_length: i32::from_be_bytes(take(bytes, 8)?),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(take(bytes, 12)?)),
            magic,
            crc: u32::from_be_bytes(take(bytes, 17)?),
            attributes: i16::from_be_bytes(take(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)?),
            base_timestamp: TimestampMs(i64::from_be_bytes(take(bytes, 27)?)),
            max_timestamp: TimestampMs(i64::from_be_bytes(take(bytes, 35)?)),
            producer_id: ProducerId(i64::from_be_bytes(take(bytes, 43)?)),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(take(bytes, 51)?)),
            base_sequence: Sequence(i32::from_be_bytes(take(bytes, 53)?)),
            records_count: i32::from_be_bytes(take(bytes, 57)?),
        })
    }

    /// The header as bytes, for stamping a batch on its way into the log.
    pub fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0u8; BATCH_HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = self.magic.cast_unsigned();
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.0.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch as claimed, header included. At least [`BATCH_HEADER_BYTES`].
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length)
            .unwrap_or(0)
            .saturating_add(LOG_OVERHEAD_BYTES)
    }

    /// Offset of the last record; saturates on a hostile delta.
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(i64::from(self.last_offset_delta)),
        )
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Sequence of the last record, wrapping as Kafka's `DefaultRecordBatch.incrementSequence`.
    pub fn last_sequence(&self) -> Sequence {
        const PERIOD: i64 = i32::MAX as i64 + 1;
        if self.base_sequence.0 < 0 {
            return self.base_sequence;
        }
        let sum = i64::from(self.base_sequence.0).saturating_add(self.last_offset_delta.into());
        // A remainder by 2^31 fits, whatever its sign.
        Sequence(i32::try_from(sum % PERIOD).unwrap_or(0))
    }

    pub fn codec(&self) -> Codec {
        Codec(u8::try_from(self.attributes & ATTRIBUTE_CODEC_MASK).unwrap_or(0))
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    pub fn set_timestamp_type(&mut self, to: TimestampType) {
        match to {
            TimestampType::CreateTime => self.attributes &= !ATTRIBUTE_LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes |= ATTRIBUTE_LOG_APPEND_TIME,
        }
    }

    pub fn set_codec(&mut self, to: Codec) {
        self.attributes &= !ATTRIBUTE_CODEC_MASK;
        self.attributes |= i16::from(to.0) & ATTRIBUTE_CODEC_MASK;
    }

    pub fn set_transactional(&mut self) {
        self.attributes |= ATTRIBUTE_TRANSACTIONAL;
    }

    pub fn set_control(&mut self) {
        self.attributes |= ATTRIBUTE_CONTROL;
    }

    /// Clears the bits that mean nothing, as Kafka does whenever it writes the attributes anew.
    pub fn drop_unused_attributes(&mut self) {
        self.attributes &= ATTRIBUTES_KNOWN;
    }

    /// Offset of one of the batch's records; saturates on a hostile delta.
    pub fn offset_of(&self, record: &Record<'_>) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(i64::from(record.offset_delta)),
        )
    }

    /// Timestamp of one of the batch's records: the batch's own with log append time. Wraps as
    /// Kafka's does.
    pub fn timestamp_of(&self, record: &Record<'_>) -> TimestampMs {
        match self.timestamp_type() {
            TimestampType::LogAppendTime => self.max_timestamp,
            TimestampType::CreateTime => {
                TimestampMs(self.base_timestamp.0.wrapping_add(record.timestamp_delta))
            }
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & ATTRIBUTE_DELETE_HORIZON != 0
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            batch_length: 100,
            leader_epoch: LeaderEpoch(3),
            magic: MAGIC_V2,
            crc: 0xdead_beef,
            attributes: 0x10,
            last_offset_delta: 4,
            base_timestamp: TimestampMs(1000),
            max_timestamp: TimestampMs(1004),
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(1),
            base_sequence: Sequence(i32::MAX - 1),
            records_count: 5,
        }
    }

    #[test]
    fn a_header_survives_encoding_and_parsing() {
        assert_eq!(BatchHeader::parse(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn the_last_sequence_wraps_to_zero_after_the_largest_int() {
        assert_eq!(sample().last_sequence(), Sequence(2));
    }

    #[test]
    fn every_prefix_of_a_header_is_short() {
        let bytes = sample().encode();
        for len in 0..BATCH_HEADER_BYTES {
            assert_eq!(BatchHeader::parse(&bytes[..len]), Err(HeaderFault::Short));
        }
    }
}
