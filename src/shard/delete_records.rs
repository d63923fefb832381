//! DeleteRecords on the shard: log starts move at once, whole segments below them go, and the
//! answer waits for the checkpoint that makes the new log starts durable.
//!
//! Decides nothing: which offsets are good is in `api/k21_delete_records`, which segments go is in
//! `log/partition`.

use crate::api::k21_delete_records as handler;
use crate::devices::{ConnectionId, Effect, Effects};
use crate::metadata::ownership::{Ownership, TopicRef, owner};
use crate::metadata::topic_rules;
use crate::shard::connection::{self, RequestNumber};
use crate::shard::ops::Op;
use crate::shard::partition::{FileState, Slot};
use crate::shard::{Message, Shard, jobs};
use crate::wire::error_code::ErrorCode;
use crate::wire::frame::ResponseFrame;
use crate::wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use crate::words::{Now, Offset, PartitionIndex, TopicPartition};

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub connection: ConnectionId,
    pub request: RequestNumber,
    pub version: i16,
    pub correlation_id: i32,
}

/// An answer that waits for a checkpoint.
struct Deletion {
    asker: Asker,
    response: DeleteRecordsResponse,
}

/// All answers that wait; each is one open request of a connection.
#[derive(Default)]
pub struct Deletions {
    /// For the next checkpoint to begin.
    waiting: Vec<Deletion>,
    /// For the one that is being written.
    riding: Vec<Deletion>,
    /// Log starts moved that no checkpoint covers, whether or not their askers still wait.
    moved: bool,
    /// Log starts are in the checkpoint that is being written.
    moving: bool,
}

impl Deletions {
    /// Every log start is durable.
    fn is_idle(&self) -> bool {
        !self.moved && !self.moving
    }

    /// A checkpoint begins: the log starts of everything that waits are in it.
    pub(super) fn board(&mut self) {
        self.riding.append(&mut self.waiting);
        self.moving |= std::mem::take(&mut self.moved);
    }

    /// The client of these is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        for list in [&mut self.waiting, &mut self.riding] {
            list.retain(|one| one.asker.connection != connection);
        }
    }
}

impl Shard {
    pub(super) fn delete_records(
        &mut self,
        now: Now,
        asker: Asker,
        body: &DeleteRecordsRequest,
        effects: &mut Effects<Message>,
    ) {
        let mut response = DeleteRecordsResponse::default();
        let mut moved = false;
        for (name, partitions) in handler::wanted(body) {
            let results = partitions.into_iter().map(|(index, offset)| {
                let outcome = self
                    .deletable(&name, index)
                    .and_then(|slot| self.delete_up_to(now, slot, offset, &mut moved, effects));
                handler::result(index, outcome)
            });
            let results = results.collect();
            response.topics.push(handler::topic(name, results));
        }
        // A log start that another request moved may not be durable yet either.
        if !moved && self.deletions.is_idle() {
            return self.answer_deletion(asker, &response);
        }
        self.deletions.moved |= moved;
        self.deletions.waiting.push(Deletion { asker, response });
        let soon = now.after_ms(0);
        self.checkpoint_due = Some(self.checkpoint_due.map_or(soon, |due| due.min(soon)));
    }

    fn answer_deletion(&mut self, asker: Asker, response: &DeleteRecordsResponse) {
        let frame = ResponseFrame::of(asker.version, asker.correlation_id, response);
        let slot = connection::Slot::Ready(frame);
        self.answer(asker.connection, asker.request, slot);
    }

    /// The slot of a partition whose records clients may delete.
    fn deletable(&self, topic: &str, partition: PartitionIndex) -> Result<Slot, ErrorCode> {
        match owner(&self.image, self.node, TopicRef::Name(topic), partition) {
            Ownership::Mine { .. } if topic_rules::is_internal(topic) => {
                Err(ErrorCode::INVALID_TOPIC_EXCEPTION)
            }
            Ownership::Mine { topic, .. } => self
                .partitions
                .slot_of(TopicPartition {
                    topic: topic.id,
                    partition,
                })
                .ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Ownership::Elsewhere { .. } => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            Ownership::NoTopic | Ownership::NoPartition => {
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            }
        }
    }

    /// Moves the log start of one partition; the log start of now.
    fn delete_up_to(
        &mut self,
        now: Now,
        slot: Slot,
        offset: Offset,
        moved: &mut bool,
        effects: &mut Effects<Message>,
    ) -> Result<Offset, ErrorCode> {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        };
        // Where only appends have stopped, what is durable may be deleted.
        if partition.unrecovered {
            return Err(ErrorCode::KAFKA_STORAGE_ERROR);
        }
        let log = &mut partition.log;
        let to = handler::judge(offset, log.high_watermark(), &log.settings)?;
        if to <= log.log_start() {
            return Ok(log.log_start());
        }
        log.move_log_start(to);
        *moved = true;
        let log_start = log.log_start();
        tracing::info!(
            topic = %partition.topic,
            partition = partition.topic_partition.partition.0,
            log_start = log_start.0,
            "records deleted"
        );
        self.release_segments(slot, "segments below the log start", effects);
        self.wake_watchers(now, slot, effects);
        Ok(log_start)
    }

    /// Removes the segments that lie wholly below the log start.
    pub(super) fn release_segments(
        &mut self,
        slot: Slot,
        what: &'static str,
        effects: &mut Effects<Message>,
    ) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        // A job that seals or opens a segment would make its file again after its removal: the
        // next round of retention is early enough.
        if partition.files.is_busy() {
            return;
        }
        let gone = partition.log.release_segments();
        if gone.is_empty() {
            return;
        }
        let log_start = partition.log.log_start();
        tracing::info!(
            topic = %partition.topic,
            partition = partition.topic_partition.partition.0,
            segments = gone.len(),
            log_start = log_start.0,
            what,
            "segments removed"
        );
        let first = partition
            .log
            .segments()
            .first()
            .map_or(log_start, |first| first.base_offset);
        let job = jobs::remove_segments(partition, gone, first);
        self.reads.forget(slot, Some(first));
        let op = self.ops.start(Op::Sweep { what });
        effects.push(Effect::Job { op, job });
    }

    /// A checkpoint ended: whoever waited for it is answered.
    pub(super) fn deletions_checkpointed(&mut self, durable: bool) {
        let moving = std::mem::take(&mut self.deletions.moving);
        // One that failed made nothing durable: the next has to.
        self.deletions.moved |= moving && !durable;
        for Deletion { asker, response } in std::mem::take(&mut self.deletions.riding) {
            let response = match durable {
                true => response,
                false => handler::failed(response),
            };
            self.answer_deletion(asker, &response);
        }
    }
}

impl crate::shard::partition::Files {
    /// A job of its own works on a segment's files.
    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self.state,
            FileState::Opening | FileState::Sealing | FileState::Trimming { .. }
        )
    }
}
