//! Fetch (key 1), versions 4 to 18: whole batches of many partitions, waiting for enough of them.
//!
//! v7 sessions (KIP-227); v9 leader epochs (KIP-320); v10 zstd; v11 rack (KIP-392, the leader is the
//! only replica and never names another); v12 flexible, diverging epochs; v13 topic ids (KIP-516);
//! v16 leader hints (KIP-951); v17-18 replicas' own fields, read and ignored.
//!
//! Not done: followers (no replication yet) are served like consumers.

use crate::log::epochs::{EpochEnd, LeaderEpochs};
use crate::wire::error_code::ErrorCode;
use crate::wire::fetch::{EpochEndOffset, FetchRequest, PartitionData, Records};
use crate::wire::record::Codec;
use crate::words::{LeaderEpoch, Offset, PartitionIndex};

/// First version that may be handed zstd batches (KIP-110).
const ZSTD_VERSION_MIN: i16 = 10;

/// Limits and wishes of one request.
#[derive(Clone, Copy, Debug)]
pub struct FetchTerms {
    pub max_wait_ms: i32,
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub read_committed: bool,
    pub version: i16,
}

impl FetchTerms {
    /// `fetch_bytes_max` is the broker's `fetch.max.bytes`.
    pub fn of(request: &FetchRequest, version: i16, fetch_bytes_max: usize) -> FetchTerms {
        let max_bytes = usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(fetch_bytes_max);
        FetchTerms {
            max_wait_ms: request.max_wait_ms,
            min_bytes: usize::try_from(request.min_bytes)
                .unwrap_or(0)
                .min(max_bytes),
            max_bytes,
            read_committed: request.isolation_level == 1,
            version,
        }
    }
}

/// Compares what the client believes of the leader's epoch with ours (KIP-320).
pub fn judge_leader_epoch(believed: LeaderEpoch, ours: LeaderEpoch) -> Result<(), ErrorCode> {
    match believed {
        LeaderEpoch(-1) => Ok(()),
        older if older < ours => Err(ErrorCode::FENCED_LEADER_EPOCH),
        newer if newer > ours => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// What the last fetched epoch of a reader says about its log (KIP-595, from v12 on).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lineage {
    Same,
    Diverging(EpochEnd),
    /// Nothing is known of that epoch.
    Unknown,
}

/// Compares the reader's last fetched epoch with the log (`Partition.readRecords`).
pub fn judge_lineage(
    last_fetched: LeaderEpoch,
    from: Offset,
    epochs: &LeaderEpochs,
    log_end: Offset,
) -> Lineage {
    if last_fetched.0 < 0 {
        return Lineage::Same;
    }
    let end = epochs.end_offset_for(last_fetched, log_end);
    if end.end_offset.0 < 0 || end.epoch.0 < 0 {
        return Lineage::Unknown;
    }
    if end.epoch < last_fetched || end.end_offset < from {
        return Lineage::Diverging(end);
    }
    Lineage::Same
}

/// Whether a topic that stores zstd may be read in `version`.
pub fn judge_codec(stored: Option<Codec>, version: i16) -> Result<(), ErrorCode> {
    match stored {
        Some(Codec::ZSTD) if version < ZSTD_VERSION_MIN => {
            Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)
        }
        _ => Ok(()),
    }
}

/// An answer without records for a partition in error. `known`: the partition exists, and Kafka
/// then says null where it says none for one that does not (semantics 65).
pub fn refused(index: PartitionIndex, code: ErrorCode, known: bool) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code,
        high_watermark: Offset::NONE,
        aborted_transactions: if known { None } else { Some(Vec::new()) },
        records: Some(Records::new()),
        ..PartitionData::default()
    }
}

/// Whether the partition is not there at all: that is told with the answer, and does not end the
/// wait for the others (semantics 65).
pub fn is_unknown(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID
    )
}

/// The diverging epoch, told without records and without an error.
pub fn diverging(mut data: PartitionData, end: EpochEnd) -> PartitionData {
    data.diverging_epoch = EpochEndOffset {
        epoch: end.epoch,
        end_offset: end.end_offset,
    };
    data
}
