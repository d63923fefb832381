//! Kafka's producer snapshot file, `<offset>.snapshot`, version 1 (schema `ProducerSnapshot`;
//! Kafka `ProducerStateManager.readSnapshot`).
//!
//! Bytes in, bytes out. Never decides which snapshot counts. A snapshot that does not parse is
//! thrown away and the state rebuilt from the log.
//!
//! ```text
//!  0 version i16 = 1    2 crc u32 (CRC-32C of everything from 6 on)    6 count i32   10 entries
//! an entry of 46 bytes:
//!  0 producer id i64    8 epoch i16       10 last sequence i32      14 last offset i64
//! 22 offset delta i32  26 timestamp i64   34 coordinator epoch i32  38 txn first offset i64
//! ```

use crate::log::checkpoints::Reader;
use crate::words::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// One producer as the file tells of it; `-1` means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotEntry {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: Sequence,
    pub last_offset: Offset,
    /// Last sequence less the first of the last batch.
    pub offset_delta: i32,
    pub timestamp: TimestampMs,
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub txn_first_offset: Offset,
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotFault {
    Short,
    Version(i16),
    Checksum,
    /// The announced number of entries is not what the bytes hold.
    Count {
        claimed: i32,
        found: usize,
    },
    /// Entry `n` (from 0) says something impossible.
    Entry(usize),
}

const VERSION: i16 = 1;
const CRC_COVERS_FROM: usize = 6;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// The file's content.
pub fn encode(entries: &[SnapshotEntry]) -> Vec<u8> {
    let count = i32::try_from(entries.len()).expect("producers of a partition are bounded");
    let mut covered =
        Vec::with_capacity(HEADER_BYTES.saturating_add(entries.len().saturating_mul(ENTRY_BYTES)));
    covered.extend_from_slice(&count.to_be_bytes());
    for entry in entries {
        covered.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        covered.extend_from_slice(&entry.epoch.0.to_be_bytes());
        covered.extend_from_slice(&entry.last_sequence.0.to_be_bytes());
        covered.extend_from_slice(&entry.last_offset.0.to_be_bytes());
        covered.extend_from_slice(&entry.offset_delta.to_be_bytes());
        covered.extend_from_slice(&entry.timestamp.0.to_be_bytes());
        covered.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        covered.extend_from_slice(&entry.txn_first_offset.0.to_be_bytes());
    }
    let mut out = Vec::with_capacity(CRC_COVERS_FROM.saturating_add(covered.len()));
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
    out.append(&mut covered);
    out
}

/// Reads the whole file.
pub fn parse(bytes: &[u8]) -> Result<Vec<SnapshotEntry>, SnapshotFault> {
    let mut reader = Reader(bytes);
    let version = reader.i16().ok_or(SnapshotFault::Short)?;
    if version != VERSION {
        return Err(SnapshotFault::Version(version));
    }
    let crc = reader.u32().ok_or(SnapshotFault::Short)?;
    if crc32c::crc32c(reader.0) != crc {
        return Err(SnapshotFault::Checksum);
    }
    let claimed = reader.i32().ok_or(SnapshotFault::Short)?;
    let (whole, rest) = reader.0.as_chunks::<ENTRY_BYTES>();
    let found = whole.len();
    if !rest.is_empty() || usize::try_from(claimed) != Ok(found) {
        return Err(SnapshotFault::Count { claimed, found });
    }
    let mut entries = Vec::with_capacity(found);
    for (index, bytes) in whole.iter().enumerate() {
        let entry =
            entry(bytes).filter(|entry| entry.producer_id.0 >= 0 && entry.offset_delta >= 0);
        entries.push(entry.ok_or(SnapshotFault::Entry(index))?);
    }
    Ok(entries)
}

fn entry(bytes: &[u8]) -> Option<SnapshotEntry> {
    let mut reader = Reader(bytes);
    Some(SnapshotEntry {
        producer_id: ProducerId(reader.i64()?),
        epoch: ProducerEpoch(reader.i16()?),
        last_sequence: Sequence(reader.i32()?),
        last_offset: Offset(reader.i64()?),
        offset_delta: reader.i32()?,
        timestamp: TimestampMs(reader.i64()?),
        coordinator_epoch: reader.i32()?,
        txn_first_offset: Offset(reader.i64()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> Vec<SnapshotEntry> {
        let plain = SnapshotEntry {
            producer_id: ProducerId(5),
            epoch: ProducerEpoch(3),
            last_sequence: Sequence(7),
            last_offset: Offset(41),
            offset_delta: 2,
            timestamp: TimestampMs(1_700_000_000_000),
            coordinator_epoch: -1,
            txn_first_offset: Offset::NONE,
        };
        let open = SnapshotEntry {
            producer_id: ProducerId(1000),
            coordinator_epoch: 9,
            txn_first_offset: Offset(39),
            ..plain
        };
        vec![plain, open]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_file_is_kafkas() {
        assert_eq!(
            hex(&encode(&[])),
            "0001".to_owned() + "48674bc7" + "00000000"
        );
        assert_eq!(
            hex(&encode(&entries())),
            "0001".to_owned()
                + "719f0a0e"
                + "00000002"
                + "00000000000000050003000000070000000000000029000000020000018bcfe56800ffffffffffffffffffffffff"
                + "00000000000003e80003000000070000000000000029000000020000018bcfe56800000000090000000000000027"
        );
    }

    #[test]
    fn a_snapshot_that_kafka_wrote_is_read() {
        // Kafka 4.3.1 at shutdown, after sequences that wrapped: i32::MAX - 1, 1, 2.
        let bytes = b"\x00\x01\xd9\x66\x2b\x5e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\
            \x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\
            \x00\x00\x01\xa1\xfc\xf1\x2e\x9c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        let expected = SnapshotEntry {
            producer_id: ProducerId(5),
            epoch: ProducerEpoch(0),
            last_sequence: Sequence(2),
            last_offset: Offset(4),
            offset_delta: 0,
            timestamp: TimestampMs(1_795_245_026_972),
            coordinator_epoch: -1,
            txn_first_offset: Offset::NONE,
        };
        assert_eq!(parse(bytes), Ok(vec![expected]));
        assert_eq!(encode(&[expected]), bytes);
    }

    #[test]
    fn a_snapshot_survives_writing_and_reading() {
        assert_eq!(parse(&encode(&entries())), Ok(entries()));
        assert_eq!(parse(&encode(&[])), Ok(vec![]));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let good = encode(&entries());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(parse(&bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(parse(&good[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_count_is_not_believed() {
        let mut bad = encode(&entries());
        bad[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
        let crc = crc32c::crc32c(&bad[6..]).to_be_bytes();
        bad[2..6].copy_from_slice(&crc);
        let fault = SnapshotFault::Count {
            claimed: i32::MAX,
            found: 2,
        };
        assert_eq!(parse(&bad), Err(fault));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
