//! OffsetForLeaderEpoch (key 23), versions 2 to 4: where a leader epoch ended (KIP-101, KIP-320).
//!
//! v3 replica id; v4 flexible.

use crate::api::k01_fetch::judge_leader_epoch;
use crate::log::partition::Log;
use crate::wire::error_code::ErrorCode;
use crate::wire::messages::k23_offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition,
};

/// The answer of a partition that is led here.
pub fn answer(ask: &OffsetForLeaderPartition, log: &Log) -> EpochEndOffset {
    match judge_leader_epoch(ask.current_leader_epoch, log.leader_epoch()) {
        Err(code) => refused(ask, code),
        Ok(()) => {
            let end = log
                .epochs
                .end_offset_for(ask.leader_epoch, log.high_watermark());
            EpochEndOffset {
                error_code: ErrorCode::NONE,
                partition: ask.partition,
                leader_epoch: end.epoch,
                end_offset: end.end_offset,
            }
        }
    }
}

pub fn refused(ask: &OffsetForLeaderPartition, code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset {
        error_code: code,
        partition: ask.partition,
        ..EpochEndOffset::default()
    }
}
