//! DeleteRecords, key 21, versions 0-2: moving the log start offset (KIP-107).
//!
//! 1: throttled late. 2: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::{Offset, PartitionIndex};

request! {
    /// Offsets below which records go.
    DeleteRecordsRequest(DELETE_RECORDS) -> DeleteRecordsResponse;
    topics: Vec<DeleteRecordsTopic>, 0..;
    timeout_ms: i32, 0..;
}

structure! {
    /// A topic.
    DeleteRecordsTopic;
    name: KStr, 0..;
    partitions: Vec<DeleteRecordsPartition>, 0..;
}

structure! {
    /// New log start offset; -1 is the high watermark.
    DeleteRecordsPartition;
    partition_index: PartitionIndex, 0..;
    offset: Offset, 0..;
}

response! {
    /// Outcome by partition.
    DeleteRecordsResponse(DELETE_RECORDS);
    throttle_time_ms: i32, 0..;
    topics: Vec<DeleteRecordsTopicResult>, 0..;
}

structure! {
    /// A topic answered.
    DeleteRecordsTopicResult;
    name: KStr, 0..;
    partitions: Vec<DeleteRecordsPartitionResult>, 0..;
}

structure! {
    /// Lowest log start offset among the live replicas.
    DeleteRecordsPartitionResult;
    partition_index: PartitionIndex, 0..;
    low_watermark: Offset, 0..;
    error_code: ErrorCode, 0..;
}
