//! ListOffsets (key 2), versions 1 to 11: the offset that belongs to a time.
//!
//! v2 isolation level; v4 leader epochs; v5 offset not available; v6 flexible; v7 largest timestamp
//! (-3, KIP-734); v8 earliest local (-4, KIP-405); v9 latest tiered (-5, KIP-1005); v10 timeout;
//! v11 earliest pending upload (-6, KIP-1023). Without tiers -4 is the log start and -5 and -6 find
//! nothing.

use std::collections::BTreeMap;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::messages::k02_list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic,
};
use crate::words::{LeaderEpoch, Offset, TimestampMs};

/// What a timestamp asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Latest,
    Earliest,
    MaxTimestamp,
    /// Where tiers would answer; there are none.
    Tiered,
    /// First record at or after a time.
    At(TimestampMs),
}

/// Special values and the first version that knows each (`ListOffsetsRequest`).
const SPECIAL: [(i64, i16, Wanted); 6] = [
    (-1, 1, Wanted::Latest),
    (-2, 1, Wanted::Earliest),
    (-3, 7, Wanted::MaxTimestamp),
    (-4, 8, Wanted::Earliest),
    (-5, 9, Wanted::Tiered),
    (-6, 11, Wanted::Tiered),
];

/// Reads a timestamp; a special one that is too new for the version is UNSUPPORTED_VERSION.
pub fn wanted(timestamp: TimestampMs, version: i16) -> Result<Wanted, ErrorCode> {
    if timestamp.0 >= 0 {
        return Ok(Wanted::At(timestamp));
    }
    SPECIAL
        .iter()
        .find(|(value, since, _)| *value == timestamp.0 && version >= *since)
        .map(|(_, _, wanted)| *wanted)
        .ok_or(ErrorCode::UNSUPPORTED_VERSION)
}

/// An offset found; the default is Kafka's "no match": -1, -1, no error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl Found {
    pub const NOTHING: Found = Found {
        timestamp: TimestampMs(-1),
        offset: Offset(-1),
        leader_epoch: LeaderEpoch(-1),
    };
}

/// A topic that is named twice is one topic; one without partitions is not answered.
pub fn each_topic_once(topics: Vec<ListOffsetsTopic>) -> Vec<ListOffsetsTopic> {
    let mut kept: Vec<ListOffsetsTopic> = Vec::with_capacity(topics.len());
    let mut places: BTreeMap<KStr, usize> = BTreeMap::new();
    for topic in topics {
        if topic.partitions.is_empty() {
            continue;
        }
        match places.get(&topic.name).and_then(|at| kept.get_mut(*at)) {
            Some(earlier) => earlier.partitions.extend(topic.partitions),
            None => {
                places.insert(topic.name.clone(), kept.len());
                kept.push(topic);
            }
        }
    }
    kept
}

pub fn found_response(ask: &ListOffsetsPartition, found: Found) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: ask.partition_index,
        error_code: ErrorCode::NONE,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: found.leader_epoch,
    }
}

pub fn refused_response(
    ask: &ListOffsetsPartition,
    code: ErrorCode,
) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: ask.partition_index,
        error_code: code,
        ..ListOffsetsPartitionResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_timestamp_too_new_for_the_version_is_unsupported() {
        for (value, since, expected) in SPECIAL {
            assert_eq!(wanted(TimestampMs(value), since), Ok(expected));
            assert_eq!(wanted(TimestampMs(value), 11), Ok(expected));
            if since > 1 {
                assert_eq!(
                    wanted(TimestampMs(value), since - 1),
                    Err(ErrorCode::UNSUPPORTED_VERSION)
                );
            }
        }
        assert_eq!(
            wanted(TimestampMs(-7), 11),
            Err(ErrorCode::UNSUPPORTED_VERSION)
        );
        assert_eq!(wanted(TimestampMs(0), 1), Ok(Wanted::At(TimestampMs(0))));
    }
}
