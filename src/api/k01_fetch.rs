//! Fetch (key 1), versions 4 to 18: whole batches of many partitions, waiting for enough of them.
//!
//! v7 sessions (KIP-227); v9 leader epochs (KIP-320); v10 zstd; v11 rack (KIP-392, the leader is the
//! only replica and never names another); v12 flexible, diverging epochs; v13 topic ids (KIP-516);
//! v16 leader hints (KIP-951); v17-18 replicas' own fields, read and ignored.
//!
//! Not done: replication. No follower is in a replica set, and each is refused as Kafka refuses one that is not.

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
    /// A replica asks, not a consumer.
    pub is_follower: bool,
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
            is_follower: request.is_follower(),
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

/// The same for a fetch: whatever is negative is no belief (Kafka `FetchRequest.optionalEpoch`); other
/// requests know -1 alone.
pub fn judge_fetch_epoch(believed: LeaderEpoch, ours: LeaderEpoch) -> Result<(), ErrorCode> {
    judge_leader_epoch(believed.max(LeaderEpoch(-1)), ours)
}

/// What a follower is told that is not in the replica set, which is every one: to look for the leader
/// anew, or, where it named an epoch, that this replica set is not known here
/// (`Partition.followerReplicaOrThrow`). Asked behind [`judge_fetch_epoch`].
pub fn judge_follower(terms: &FetchTerms, believed: LeaderEpoch) -> Result<(), ErrorCode> {
    match (terms.is_follower, believed.0 >= 0) {
        (false, _) => Ok(()),
        (true, true) => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        (true, false) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
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

/// Whether an answer with this error says who leads (from v16 on, as Kafka's `handleFetchRequest`).
pub fn names_leader(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::NodeId;

    const FENCED: ErrorCode = ErrorCode::FENCED_LEADER_EPOCH;
    const NOT_LEADER: ErrorCode = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    const UNKNOWN: ErrorCode = ErrorCode::UNKNOWN_LEADER_EPOCH;

    /// What a fetcher is told that believes in an epoch, at a leader of epoch 3.
    fn told(replica: i32, state: i32, believed: i32) -> Result<(), ErrorCode> {
        let mut request = FetchRequest {
            replica_id: NodeId(replica),
            ..FetchRequest::default()
        };
        request.replica_state.replica_id = NodeId(state);
        let terms = FetchTerms::of(&request, 12, 1);
        judge_fetch_epoch(LeaderEpoch(believed), LeaderEpoch(3))?;
        judge_follower(&terms, LeaderEpoch(believed))
    }

    #[test]
    fn a_follower_is_told_that_it_is_in_no_replica_set_and_a_consumer_reads() {
        for (believed, consumer, follower) in [
            (i32::MIN, Ok(()), Err(NOT_LEADER)),
            (-2, Ok(()), Err(NOT_LEADER)),
            (-1, Ok(()), Err(NOT_LEADER)),
            (2, Err(FENCED), Err(FENCED)),
            (3, Ok(()), Err(UNKNOWN)),
            (4, Err(UNKNOWN), Err(UNKNOWN)),
        ] {
            for (replica, state, expected) in [
                (-1, -1, consumer),
                (-2, -1, consumer),
                (i32::MIN, -3, consumer),
                (0, -1, follower),
                (i32::MAX, -1, follower),
                (-1, 0, follower),
                (-1, 7000, follower),
            ] {
                let got = told(replica, state, believed);
                assert_eq!(got, expected, "{replica} {state} {believed}");
            }
        }
    }

    #[test]
    fn other_requests_know_no_epoch_below_none() {
        let judged = |believed| judge_leader_epoch(LeaderEpoch(believed), LeaderEpoch(3));
        assert_eq!(judged(-1), Ok(()));
        assert_eq!(judged(-2), Err(FENCED));
    }
}
