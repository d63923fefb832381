//! DescribeLogDirs, key 35, versions 1-5: sizes by directory, topic and partition (KIP-113).
//!
//! 2: flexible. 3: error for all. 4: sizes of volumes (KIP-827). 5: cordoned directories (KIP-1066).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::PartitionIndex;

request! {
    /// Partitions asked for; null is all.
    DescribeLogDirsRequest(DESCRIBE_LOG_DIRS) -> DescribeLogDirsResponse;
    topics: Option<Vec<DescribableLogDirTopic>>, 0.., null 0..;
}

structure! {
    /// A topic asked for.
    DescribableLogDirTopic;
    topic: KStr, 0..;
    partitions: Vec<PartitionIndex>, 0..;
}

response! {
    /// Directories.
    DescribeLogDirsResponse(DESCRIBE_LOG_DIRS);
    throttle_time_ms: i32, 0..;
    error_code: ErrorCode, 3..;
    results: Vec<DescribeLogDirsResult>, 0..;
}

structure! {
    /// A directory; sizes in bytes, -1 unknown.
    DescribeLogDirsResult;
    error_code: ErrorCode, 0..;
    log_dir: KStr, 0..;
    topics: Vec<DescribeLogDirsTopic>, 0..;
    total_bytes: i64, 4.., default -1;
    usable_bytes: i64, 4.., default -1;
    is_cordoned: bool, 5..;
}

structure! {
    /// A topic in a directory.
    DescribeLogDirsTopic;
    name: KStr, 0..;
    partitions: Vec<DescribeLogDirsPartition>, 0..;
}

structure! {
    /// Bytes of a partition, and how far it lags behind the high watermark.
    DescribeLogDirsPartition;
    partition_index: PartitionIndex, 0..;
    partition_size: i64, 0..;
    offset_lag: i64, 0..;
    is_future_key: bool, 0..;
}
