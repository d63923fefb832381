//! What the metadata image means for this shard: which partitions it leads, with which settings, and
//! what a client at the wrong door is told (KIP-951).

use std::collections::HashSet;
use std::sync::Arc;

use crate::devices::{Effect, Effects};
use crate::log::append_rules::LogSettings;
use crate::log::flush_debt::FlushPolicy;
use crate::log::names;
use crate::log::partition::{Log, LogStart};
use crate::log::roll;
use crate::metadata::{MetadataImage, Node, Resource, Topic};
use crate::settings::topic::{TopicCompression, TopicSettings, TopicTimestamp};
use crate::settings::{BrokerSettings, Durability, Layers};
use crate::shard::ops::Op;
use crate::shard::partition::{Files, Partition, Slot};
use crate::shard::{Message, Shard, jobs};
use crate::wait::OffsetQueue;
use crate::wire::fetch::{NodeEndpoint as FetchEndpoint, PartitionData};
use crate::wire::produce::NodeEndpoint as ProduceEndpoint;
use crate::wire::record::{Codec, TimestampType};
use crate::words::limits::{OWED_PER_PARTITION_MAX, PRODUCERS_PER_PARTITION_MAX, RELAXED_FLUSH_MS};
use crate::words::{LeaderEpoch, NodeId, Now, PartitionIndex, TopicPartition};

/// First Fetch version that carries the leader's endpoint.
const FETCH_HINTS_FROM: i16 = 16;

impl Shard {
    /// Takes a new image: opens what is led here now, gives up what is not.
    pub(super) fn take_image(
        &mut self,
        now: Now,
        image: &Arc<MetadataImage>,
        effects: &mut Effects<Message>,
    ) {
        if image.version() == self.image.version() {
            return;
        }
        self.image = Arc::clone(image);
        let mut led: HashSet<TopicPartition> = HashSet::new();
        for (topic, index, epoch) in image.led_by(self.node) {
            let id = TopicPartition {
                topic: topic.id,
                partition: index,
            };
            led.insert(id);
            match self.partitions.slot_of(id) {
                Some(slot) => self.refresh_partition(slot, topic, epoch),
                None => self.open_partition(now, topic, index, epoch),
            }
        }
        for slot in self.partitions.slots() {
            let gone = self
                .partitions
                .get(slot)
                .is_some_and(|partition| !led.contains(&partition.topic_partition));
            if gone {
                self.give_up_partition(now, slot, effects);
            }
        }
        self.wake_all_fetches(now, effects);
    }

    fn refresh_partition(&mut self, slot: Slot, topic: &Topic, epoch: LeaderEpoch) {
        let settings = self.log_settings(topic);
        if let Some(partition) = self.partitions.get_mut(slot) {
            partition.log.set_leader_epoch(epoch);
            if *partition.log.settings != settings {
                partition.log.set_settings(Arc::new(settings));
            }
        }
    }

    fn open_partition(
        &mut self,
        now: Now,
        topic: &Topic,
        index: PartitionIndex,
        epoch: LeaderEpoch,
    ) {
        let id = TopicPartition {
            topic: topic.id,
            partition: index,
        };
        let start = self
            .recovered
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&id)
            .unwrap_or_else(|| LogStart::empty(PRODUCERS_PER_PARTITION_MAX));
        let settings = self.log_settings(topic);
        let jitter = roll::jitter_ms(
            settings.segment_jitter_ms,
            settings.segment_ms,
            self.random(),
        );
        let offline = start.offline;
        let log = Log::new(id, Arc::new(settings), epoch, jitter, start, now);
        self.partitions.insert(Partition {
            topic_partition: id,
            topic: Arc::clone(&topic.name),
            directory: self.data_dir.join(names::log_dir_name(&topic.name, index)),
            log,
            files: Files::default(),
            owed: OffsetQueue::new(OWED_PER_PARTITION_MAX),
            open_run_bytes: 0,
            fill_by: None,
            unflushed_messages: 0,
            held: None,
            offline,
            unrecovered: offline,
        });
    }

    /// The settings of a topic's logs: its own, over the broker's.
    fn log_settings(&self, topic: &Topic) -> LogSettings {
        let layers = Layers {
            node: self.image.configs(&Resource::Broker(self.node)),
            cluster: self.image.configs(&Resource::BrokerDefault),
            fixed: &self.settings,
        };
        log_settings(
            &TopicSettings::resolve(&topic.configs, &layers),
            flush_given(topic, &self.settings),
            self.settings.producer_id_expiration_ms,
        )
    }

    /// The topic was deleted, or another node leads the partition now.
    fn give_up_partition(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        let id = partition.topic_partition;
        let mut owed = Vec::new();
        partition.owed.drain(|key| owed.push(key));
        let deleted = self.image.topic_by_id(id.topic).is_none();
        let code = if deleted {
            crate::wire::error_code::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            crate::wire::error_code::ErrorCode::NOT_LEADER_OR_FOLLOWER
        };
        let Some(partition) = self.partitions.remove(slot) else {
            return;
        };
        self.commit.forget(slot);
        if partition.held.is_some() {
            self.release_hold();
        }
        self.journal.ring.forget(id);
        self.reads.forget(slot, None);
        for key in owed {
            self.produce_settled(key, Some((id.topic, id.partition, code)), effects);
        }
        self.wake_watchers(now, slot, effects);
        if deleted {
            let job = jobs::remove_partition(&partition);
            let op = self.ops.start(Op::Sweep {
                what: "a deleted topic's directory",
            });
            effects.push(Effect::Job { op, job });
        }
    }
}

/// Names a leader's endpoint in a Produce answer, once.
pub fn leader_hint(endpoints: &mut Vec<ProduceEndpoint>, node: &Node) {
    if endpoints.iter().all(|known| known.node_id != node.id) {
        endpoints.push(ProduceEndpoint {
            node_id: node.id,
            host: node.host.as_str().into(),
            port: i32::from(node.port),
            rack: None,
        });
    }
}

/// Names the leader in a Fetch answer: its id and epoch with the partition, its endpoint once.
pub fn fetch_leader_hint(
    data: &mut PartitionData,
    endpoints: &mut Vec<FetchEndpoint>,
    leader: NodeId,
    epoch: LeaderEpoch,
    node: Option<&Node>,
    version: i16,
) {
    if version < FETCH_HINTS_FROM {
        return;
    }
    data.current_leader.leader_id = leader;
    data.current_leader.leader_epoch = epoch;
    if let Some(node) = node
        && endpoints.iter().all(|known| known.node_id != node.id)
    {
        endpoints.push(FetchEndpoint {
            node_id: node.id,
            host: node.host.as_str().into(),
            port: i32::from(node.port),
            rack: None,
        });
    }
}

/// Kafka flushes when it likes unless told; Ottla flushes before it answers unless told. So what
/// counts is whether anybody gave one of Kafka's flush settings.
pub fn flush_given(topic: &Topic, settings: &BrokerSettings) -> bool {
    let by_topic = ["flush.messages", "flush.ms"];
    let by_broker = ["log.flush.interval.messages", "log.flush.interval.ms"];
    by_topic.iter().any(|key| topic.configs.contains_key(*key))
        || by_broker.iter().any(|key| settings.given(key).is_some())
}

/// `flush.messages=1` and silence with `ottla.durability=fsync` flush before every answer.
fn flush_policy(topic: &TopicSettings, given: bool) -> FlushPolicy {
    let relaxed = match given {
        true => topic.flush_messages > 1 && topic.flush_ms > 0,
        false => topic.durability == Durability::Write,
    };
    match relaxed {
        true => FlushPolicy::Relaxed {
            messages: topic.flush_messages,
            ms: topic.flush_ms.min(RELAXED_FLUSH_MS),
        },
        false => FlushPolicy::Always,
    }
}

/// A topic's resolved settings as its logs take them. The table of settings bounds the numbers.
/// `flush_given`: the topic or the broker names `flush.messages` or `flush.ms` at all.
pub fn log_settings(
    topic: &TopicSettings,
    flush_given: bool,
    producer_id_expiration_ms: i64,
) -> LogSettings {
    let bound = |number: i32| u32::try_from(number).unwrap_or(0);
    LogSettings {
        segment_bytes: bound(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: bound(topic.segment_index_bytes),
        index_interval_bytes: bound(topic.index_interval_bytes),
        max_message_bytes: bound(topic.max_message_bytes),
        message_timestamp_type: match topic.timestamp {
            TopicTimestamp::CreateTime => TimestampType::CreateTime,
            TopicTimestamp::LogAppendTime => TimestampType::LogAppendTime,
        },
        message_timestamp_before_max_ms: topic.timestamp_before_ms_max,
        message_timestamp_after_max_ms: topic.timestamp_after_ms_max,
        compression_type: match topic.compression {
            TopicCompression::Producer => None,
            TopicCompression::Uncompressed => Some(Codec::NONE),
            TopicCompression::Gzip => Some(Codec::GZIP),
            TopicCompression::Snappy => Some(Codec::SNAPPY),
            TopicCompression::Lz4 => Some(Codec::LZ4),
            TopicCompression::Zstd => Some(Codec::ZSTD),
        },
        cleanup_delete: topic.cleanup_delete,
        cleanup_compact: topic.cleanup_compact,
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        delete_retention_ms: topic.delete_retention_ms,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        flush: flush_policy(topic, flush_given),
        min_insync_replicas: topic.min_insync_replicas,
        producer_id_expiration_ms,
    }
}
