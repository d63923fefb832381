//! The settings of topics, groups and metrics subscriptions, as Kafka 4.3.1 has them.
//!
//! Flat catalogues in the order of the names. Own facts; never code. `follows` names the broker
//! setting that a topic or group takes its default from (Kafka `ServerTopicConfigSynonyms`).

use super::kinds::{Allowed::*, Effect::*, Importance::*, Kind::*, Setting, Update::*, row};

/// Every topic setting, sorted by name.
#[rustfmt::skip]
pub static TOPIC: &[Setting] = &[
    row("cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]), Medium, Dynamic, Served, "What happens to old segments: `delete`, `compact`, both, or nothing.").follows("log.cleanup.policy"),
    row("compression.gzip.level", Int, Some("-1"), GzipLevel, Medium, Dynamic, Served, "Level for batches that the broker packs with gzip; -1 is the codec's own.").follows("compression.gzip.level"),
    row("compression.lz4.level", Int, Some("9"), Between(1, 17), Medium, Dynamic, Served, "Level for batches that the broker packs with lz4.").follows("compression.lz4.level"),
    row("compression.type", Text, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium, Dynamic, Served, "Codec in which batches are stored; `producer` keeps what was sent.").follows("compression.type"),
    row("compression.zstd.level", Int, Some("3"), Between(-131072, 22), Medium, Dynamic, Served, "Level for batches that the broker packs with zstd.").follows("compression.zstd.level"),
    row("delete.retention.ms", Long, Some("86400000"), AtLeast(0), Medium, Dynamic, Served, "How long a tombstone stays readable after compaction, in ms.").follows("log.cleaner.delete.retention.ms"),
    row("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), Medium, Dynamic, Served, "How long a removed segment stays on disk, in ms.").follows("log.segment.delete.delay.ms"),
    row("flush.messages", Long, Some("9223372036854775807"), AtLeast(1), Medium, Dynamic, Served, "Flush after so many records; every commit is flushed anyway unless durability is `write`.").follows("log.flush.interval.messages"),
    row("flush.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, Dynamic, Served, "Flush after so many ms; every commit is flushed anyway unless durability is `write`.").follows("log.flush.interval.ms"),
    row("follower.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Medium, Dynamic, Accepted, "Followers whose replication is throttled, as partition:node, or `*`."),
    row("index.interval.bytes", Int, Some("4096"), AtLeast(0), Medium, Dynamic, Served, "Bytes of log between two entries of the offset index.").follows("log.index.interval.bytes"),
    row("internal.segment.bytes", Int, None, Any, Medium, Internal, Accepted, "Segment size without a lower bound, for tests."),
    row("leader.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Medium, Dynamic, Accepted, "Leaders whose replication is throttled, as partition:node, or `*`."),
    row("local.retention.bytes", Long, Some("-2"), AtLeast(-2), Medium, Dynamic, Accepted, "Bytes kept locally when the topic is in remote storage; -2 follows `retention.bytes`.").follows("log.local.retention.bytes"),
    row("local.retention.ms", Long, Some("-2"), AtLeast(-2), Medium, Dynamic, Accepted, "Time kept locally when the topic is in remote storage, in ms; -2 follows `retention.ms`.").follows("log.local.retention.ms"),
    row("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Medium, Dynamic, Served, "Longest time that a record may stay uncompacted, in ms.").follows("log.cleaner.max.compaction.lag.ms"),
    row("max.message.bytes", Int, Some("1048588"), AtLeast(0), Medium, Dynamic, Served, "Largest batch that is accepted, as it is stored, in bytes.").follows("message.max.bytes"),
    row("message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), Medium, Dynamic, Served, "How far a record's timestamp may lie in the future, in ms.").follows("log.message.timestamp.after.max.ms"),
    row("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Medium, Dynamic, Served, "How far a record's timestamp may lie in the past, in ms.").follows("log.message.timestamp.before.max.ms"),
    row("message.timestamp.type", Text, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium, Dynamic, Served, "Whether records keep the producer's time or get the broker's.").follows("log.message.timestamp.type"),
    row("min.cleanable.dirty.ratio", Double, Some("0.5"), Ratio(1.0), Medium, Dynamic, Served, "Share of uncompacted bytes from which the log is worth compacting.").follows("log.cleaner.min.cleanable.ratio"),
    row("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Medium, Dynamic, Served, "Shortest time that a record stays uncompacted, in ms.").follows("log.cleaner.min.compaction.lag.ms"),
    row("min.insync.replicas", Int, Some("1"), AtLeast(1), Medium, Dynamic, Served, "Replicas that must have a batch before acks=all is answered.").follows("min.insync.replicas"),
    row("ottla.durability", Text, Some("fsync"), OneOf(&["fsync", "write"]), Medium, Internal, Served, "What acks 1 and all wait for: the flush to the drive, or only the write.").follows("ottla.durability"),
    row("preallocate", Bool, Some("false"), Any, Medium, Dynamic, Served, "Whether a new segment takes its full size on disk at once.").follows("log.preallocate"),
    row("remote.log.copy.disable", Bool, Some("false"), Any, Medium, Dynamic, Accepted, "Whether copying to remote storage stops."),
    row("remote.log.delete.on.disable", Bool, Some("false"), Any, Medium, Dynamic, Accepted, "Whether remote data goes when remote storage is turned off."),
    row("remote.storage.enable", Bool, Some("false"), Any, Medium, Dynamic, Accepted, "Whether old segments move to remote storage; not built yet."),
    row("retention.bytes", Long, Some("-1"), Any, Medium, Dynamic, Served, "Bytes per partition above which old segments go; -1 is no limit.").follows("log.retention.bytes"),
    row("retention.ms", Long, Some("604800000"), AtLeast(-1), Medium, Dynamic, Served, "Age at which old segments go, in ms; -1 is never.").follows("log.retention.ms"),
    row("segment.bytes", Int, Some("1073741824"), AtLeast(1048576), Medium, Dynamic, Served, "Size at which a segment is closed, in bytes.").follows("log.segment.bytes"),
    row("segment.index.bytes", Int, Some("10485760"), AtLeast(4), Medium, Dynamic, Served, "Largest size of an index file, in bytes.").follows("log.index.size.max.bytes"),
    row("segment.jitter.ms", Long, Some("0"), AtLeast(0), Medium, Dynamic, Served, "Most ms taken off the roll time at random.").follows("log.roll.jitter.ms"),
    row("segment.ms", Long, Some("604800000"), AtLeast(1), Medium, Dynamic, Served, "Age at which a segment is closed, in ms.").follows("log.roll.ms"),
    row("unclean.leader.election.enable", Bool, Some("false"), Any, Medium, Dynamic, Accepted, "Whether a replica that lacks acknowledged records may lead when no other is left.").follows("unclean.leader.election.enable"),
];

/// Every group setting, sorted by name (Kafka `GroupConfig`).
#[rustfmt::skip]
pub static GROUP: &[Setting] = &[
    row("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Medium, Dynamic, Accepted, "Least time between two assignments, in ms.").follows("group.consumer.assignment.interval.ms"),
    row("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, Dynamic, Accepted, "Heartbeat interval of the members, in ms.").follows("group.consumer.heartbeat.interval.ms"),
    row("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, Dynamic, Accepted, "Silence after which a member is removed, in ms.").follows("group.consumer.session.timeout.ms"),
    row("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Medium, Dynamic, Accepted, "Least time between two assignments, in ms.").follows("group.share.assignment.interval.ms"),
    row("share.auto.offset.reset", Text, Some("latest"), Any, Medium, Dynamic, Accepted, "Where a share group begins: latest, earliest, or by a duration.").follows("share.auto.offset.reset"),
    row("share.delivery.count.limit", Int, Some("5"), AtLeast(2), Medium, Dynamic, Accepted, "How often a record is delivered at most.").follows("group.share.delivery.count.limit"),
    row("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, Dynamic, Accepted, "Heartbeat interval of the members, in ms.").follows("group.share.heartbeat.interval.ms"),
    row("share.isolation.level", Text, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Medium, Dynamic, Accepted, "Whether records of open transactions are delivered.").follows("share.isolation.level"),
    row("share.partition.max.record.locks", Int, Some("2000"), AtLeast(100), Medium, Dynamic, Accepted, "Records of a partition that may be locked at once.").follows("group.share.partition.max.record.locks"),
    row("share.record.lock.duration.ms", Int, Some("30000"), AtLeast(1000), Medium, Dynamic, Accepted, "How long a member holds a record it took, in ms.").follows("group.share.record.lock.duration.ms"),
    row("share.renew.acknowledge.enable", Bool, Some("true"), Any, Medium, Dynamic, Accepted, "Whether a member may prolong its hold on a record.").follows("share.renew.acknowledge.enable"),
    row("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, Dynamic, Accepted, "Silence after which a member is removed, in ms.").follows("group.share.session.timeout.ms"),
    row("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Medium, Dynamic, Accepted, "Least time between two assignments, in ms.").follows("group.streams.assignment.interval.ms"),
    row("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Medium, Dynamic, Accepted, "Heartbeat interval of the members, in ms.").follows("group.streams.heartbeat.interval.ms"),
    row("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), Medium, Dynamic, Accepted, "How long the first rebalance waits for more members, in ms.").follows("group.streams.initial.rebalance.delay.ms"),
    row("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), Medium, Dynamic, Accepted, "Standby copies of each task.").follows("group.streams.num.standby.replicas"),
    row("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), Medium, Dynamic, Accepted, "Silence after which a member is removed, in ms.").follows("group.streams.session.timeout.ms"),
];

/// Every setting of a client metrics subscription (KIP-714).
#[rustfmt::skip]
pub static CLIENT_METRICS: &[Setting] = &[
    row("interval.ms", Int, Some("300000"), Between(100, 3600000), Low, Dynamic, Accepted, "How often clients push metrics, in ms."),
    row("match", List, Some(""), Any, Low, Dynamic, Accepted, "Which clients the subscription is for."),
    row("metrics", List, Some(""), Any, Low, Dynamic, Accepted, "Prefixes of the metrics that are wanted."),
];
