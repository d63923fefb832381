//! DeleteRecords (key 21), versions 0 to 2: moving the log start (KIP-107).
//!
//! v1 throttled late; v2 flexible.
//!
//! The answer waits until the new log start is durable, whatever the timeout says: there is no
//! other replica to wait for.

use std::collections::BTreeMap;

use crate::log::append_rules::LogSettings;
use crate::wire::messages::k21_delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use crate::wire::{ErrorCode, KStr};
use crate::words::{Offset, PartitionIndex};

/// Stands for the high watermark in a request.
const HIGH_WATERMARK: Offset = Offset(-1);

/// What is asked, by topic and partition: of a partition named twice the last offset counts, and a
/// topic without partitions is left out, as Kafka does.
pub fn wanted(request: &DeleteRecordsRequest) -> BTreeMap<KStr, BTreeMap<PartitionIndex, Offset>> {
    let mut topics: BTreeMap<KStr, BTreeMap<PartitionIndex, Offset>> = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let of_topic = topics.entry(topic.name.clone()).or_default();
            of_topic.insert(partition.partition_index, partition.offset);
        }
    }
    topics
}

/// Where the log is to start (Kafka `Partition.deleteRecordsOnLeader`). An offset below the
/// present start is fine and changes nothing.
pub fn judge(
    offset: Offset,
    high_watermark: Offset,
    settings: &LogSettings,
) -> Result<Offset, ErrorCode> {
    if settings.cleanup_compact && !settings.cleanup_delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    match offset {
        HIGH_WATERMARK => Ok(high_watermark),
        Offset(..0) => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        above if above > high_watermark => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        offset => Ok(offset),
    }
}

/// The outcome of one partition: its log start, or why nothing was done.
pub fn result(
    partition: PartitionIndex,
    outcome: Result<Offset, ErrorCode>,
) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index: partition,
        low_watermark: outcome.unwrap_or(Offset::NONE),
        error_code: outcome.err().unwrap_or(ErrorCode::NONE),
    }
}

/// The outcomes of one topic.
pub fn topic(
    name: KStr,
    partitions: Vec<DeleteRecordsPartitionResult>,
) -> DeleteRecordsTopicResult {
    DeleteRecordsTopicResult { name, partitions }
}

/// The answer when the new log starts could not be made durable.
pub fn failed(mut response: DeleteRecordsResponse) -> DeleteRecordsResponse {
    let partitions = response
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|one| one.error_code == ErrorCode::NONE) {
        *partition = result(
            partition.partition_index,
            Err(ErrorCode::KAFKA_STORAGE_ERROR),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::k21_delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};

    #[test]
    fn offsets_are_judged_as_kafka_judges_them() {
        let policy = |delete, compact| LogSettings {
            cleanup_delete: delete,
            cleanup_compact: compact,
            ..LogSettings::default()
        };
        let range = Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        let compacted = Err(ErrorCode::POLICY_VIOLATION);
        for (offset, delete, compact, expected) in [
            (0, true, false, Ok(Offset(0))),
            (8, true, false, Ok(Offset(8))),
            (-1, true, false, Ok(Offset(8))),
            (9, true, false, range),
            (i64::MAX, true, false, range),
            (-2, true, false, range),
            (i64::MIN, true, true, range),
            (3, true, true, Ok(Offset(3))),
            (3, false, false, Ok(Offset(3))),
            (0, false, true, compacted),
            (99, false, true, compacted),
        ] {
            let judged = judge(Offset(offset), Offset(8), &policy(delete, compact));
            assert_eq!(judged, expected, "{offset}");
        }
    }

    #[test]
    fn the_last_offset_of_a_partition_counts() {
        let topic = |name: &str, partitions: &[(i32, i64)]| DeleteRecordsTopic {
            name: name.into(),
            partitions: partitions
                .iter()
                .map(|(index, offset)| DeleteRecordsPartition {
                    partition_index: PartitionIndex(*index),
                    offset: Offset(*offset),
                })
                .collect(),
        };
        let request = DeleteRecordsRequest {
            topics: vec![
                topic("a", &[(0, 7), (0, 1)]),
                topic("b", &[]),
                topic("a", &[(4, 2), (0, 3)]),
            ],
            timeout_ms: 0,
        };
        let all: Vec<_> = wanted(&request)
            .into_iter()
            .flat_map(|(name, of)| of.into_iter().map(move |one| (name.to_string(), one)))
            .collect();
        let line = |index, offset| ("a".to_owned(), (PartitionIndex(index), Offset(offset)));
        assert_eq!(all, [line(0, 3), line(4, 2)]);
    }
}
