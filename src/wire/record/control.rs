//! Control batches: what a transaction's end looks like in the log (KIP-98; Kafka's
//! `ControlRecordType`, `EndTransactionMarker`).
//!
//! Owns the key and value of control records. Never decides when one is written.

use bytes::Bytes;

use super::builder::{BatchBuilder, BuildFault, NewRecord};
use super::header::Codec;
use crate::words::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Kind of a control record, by its number on the wire; unknown numbers survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ControlType(pub i16);

impl ControlType {
    pub const ABORT: ControlType = ControlType(0);
    pub const COMMIT: ControlType = ControlType(1);

    /// From a control record's key: version, then type. `None` when it has another shape.
    pub fn of_key(key: &[u8]) -> Option<ControlType> {
        let (version, rest) = key.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        (i16::from_be_bytes(*version) >= 0).then(|| ControlType(i16::from_be_bytes(*kind)))
    }
}

/// The end of one transaction in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTransaction {
    /// [`ControlType::COMMIT`] or [`ControlType::ABORT`].
    pub outcome: ControlType,
    pub coordinator_epoch: i32,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub timestamp: TimestampMs,
}

impl EndTransaction {
    /// The batch of one record that says so; base offset 0, to be stamped like any other.
    pub fn to_batch(&self) -> Result<Bytes, BuildFault> {
        let [kind_high, kind_low] = self.outcome.0.to_be_bytes();
        let key = [0, 0, kind_high, kind_low];
        let mut value = [0u8; 6];
        for (to, from) in value
            .iter_mut()
            .skip(2)
            .zip(self.coordinator_epoch.to_be_bytes())
        {
            *to = from;
        }
        let mut builder = BatchBuilder::new(Codec::NONE)
            .producer(self.producer_id, self.producer_epoch, Sequence(-1))
            .transactional()
            .control();
        builder.push(&NewRecord::of(self.timestamp, Some(&key), Some(&value)))?;
        builder.build()
    }
}

/// The coordinator epoch in an end marker's value. `None` when it has another shape.
pub fn coordinator_epoch(value: &[u8]) -> Option<i32> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let (epoch, _) = rest.split_first_chunk::<4>()?;
    (i16::from_be_bytes(*version) >= 0).then(|| i32::from_be_bytes(*epoch))
}
