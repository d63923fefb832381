//! One partition among many: from what the ground knows of it to an outcome that owns itself.
//!
//! Runs before any shard starts, several partitions at a time. Writes into the partition's own
//! directory only.

use std::io;
use std::path::Path;

use super::partition::{Rebuilt, Stop, Task};
use super::{Ground, Note, Offline, RecoveredPartition, RecoveryError, RecoveryInput, at};
use crate::devices::Disk;
use crate::log::checkpoints::PartitionMark;
use crate::log::names::{PARTITION_METADATA, encode_partition_metadata};
use crate::words::{LeaderEpoch, TimestampMs, TopicId, TopicPartition};

/// What became of a partition.
pub(super) enum Outcome {
    Whole(Box<Whole>),
    Offline(Box<Offline>),
    NotLive,
}

/// A recovered partition, and what it took.
pub(super) struct Whole {
    pub(super) partition: RecoveredPartition,
    pub(super) mark: PartitionMark,
    pub(super) notes: Vec<Note>,
    pub(super) batches_replayed: u64,
    pub(super) bytes_replayed: u64,
    pub(super) bytes_scanned: u64,
}

/// Recovers a partition; everything of it is durable when this returns.
pub(super) fn recover(
    disk: &dyn Disk,
    input: &RecoveryInput<'_>,
    ground: &Ground,
    id: TopicPartition,
) -> Result<Outcome, RecoveryError> {
    let Some(topic) = input.live(id) else {
        return Ok(Outcome::NotLive);
    };
    let directory = input.path_of(id);
    match disk.list(&directory) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir_all(&directory)
                .map_err(at("create", &directory))?;
            name_topic(disk, &directory, id.topic)?;
        }
        Err(error) => return Err(at("list", &directory)(error)),
    }
    let named = (topic.name.clone(), id.partition.0);
    let mut batches = ground
        .journals
        .batches
        .get(&id)
        .cloned()
        .unwrap_or_default();
    // One journal has them in this order already; a partition that moved between two needs it.
    batches.sort_by_key(|batch| batch.base_offset);
    let task = Task {
        disk,
        directory,
        id,
        topic,
        mark: ground.marks.get(&id).copied(),
        recovery_point: ground.recovery_points.get(&named).copied(),
        log_start: ground.log_starts.get(&named).copied(),
        proof: ground.journals.proofs.get(&id).cloned(),
        batches: &batches,
        journals: &ground.journals.files,
        producers_max: input.producers_max,
    };
    match task.run() {
        Ok(rebuilt) => Ok(Outcome::Whole(Box::new(whole(id, rebuilt)))),
        Err(Stop::Offline(offline)) => Ok(Outcome::Offline(offline)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Writes down whose a directory is.
pub(super) fn name_topic(
    disk: &dyn Disk,
    directory: &Path,
    topic: TopicId,
) -> Result<(), RecoveryError> {
    let path = directory.join(PARTITION_METADATA);
    let text = encode_partition_metadata(topic);
    disk.write_atomic(&path, &text).map_err(at("write", &path))
}

fn whole(id: TopicPartition, rebuilt: Rebuilt<'_>) -> Whole {
    let Rebuilt {
        building,
        log_start,
        notes,
    } = rebuilt;
    let indexes = building.active.indexes;
    let index = indexes.mark();
    let latest = building
        .epochs
        .latest()
        .map_or(LeaderEpoch(-1), |latest| latest.epoch);
    let first_batch_timestamp = building.active.first_batch_timestamp;
    let mark = PartitionMark {
        id,
        log_start,
        end_offset: building.next,
        active_base: building.active.base,
        active_bytes: building.active.file.len(),
        max_timestamp: index.max_timestamp.timestamp,
        max_timestamp_offset: index.max_timestamp.offset,
        offset_index_entries: index.offset_index_entries,
        time_index_entries: index.time_index_entries,
        bytes_since_index_entry: index.bytes_since_index_entry,
        leader_epoch: latest,
        first_batch_timestamp: first_batch_timestamp.unwrap_or(TimestampMs(-1)),
    };
    Whole {
        mark,
        notes,
        batches_replayed: building.batches_replayed,
        bytes_replayed: building.bytes_replayed,
        bytes_scanned: building.bytes_scanned,
        partition: RecoveredPartition {
            directory: building.directory.to_owned(),
            segments: building.segments,
            log_start,
            next_offset: building.next,
            epochs: building.epochs,
            producers: building.producers,
            indexes,
        },
    }
}
