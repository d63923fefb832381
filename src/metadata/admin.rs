//! What may be asked of the metadata writer, and what it answers.
//!
//! Owns the words between shards and the writer, and the refusals; the wire's codes for them are
//! in `api/`.

use std::fmt;

use super::alter::{Alteration, Altered};
use super::grow::{Growth, MorePartitions};
use super::topic_rules::{BadName, CLUSTER_METADATA};
use crate::settings::ConfigRefusal;
use crate::words::{NodeId, PartitionIndex, ProducerId, TopicId};

/// A change that somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminRequest {
    CreateTopics {
        topics: Vec<NewTopic>,
        /// Decide, but change nothing.
        validate_only: bool,
    },
    DeleteTopics {
        topics: Vec<TopicSelector>,
    },
    /// Topics that clients asked for and that do not exist yet.
    AutoCreate {
        names: Vec<String>,
    },
    /// A block of producer ids for one shard.
    AllocateProducerIds,
    CreatePartitions {
        topics: Vec<MorePartitions>,
        /// Decide, but change nothing.
        validate_only: bool,
    },
    AlterConfigs {
        /// The node that was asked: a broker's settings are changed through itself.
        node: NodeId,
        resources: Vec<Alteration>,
        /// Decide, but change nothing.
        validate_only: bool,
    },
}

/// What became of an [`AdminRequest`], in the same order of variants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminReply {
    /// One for each name, in the order in which the request first names it.
    Created(Vec<TopicOutcome>),
    Deleted(Vec<Deletion>),
    AutoCreated(Vec<TopicOutcome>),
    ProducerIds(Result<ProducerIdBlock, TopicRefusal>),
    /// One for each name, in the order in which the request first names it.
    Grown(Vec<Growth>),
    /// One for each resource, in the order of the request.
    Altered(Vec<Altered>),
}

/// A topic to be made. -1 stands for the broker's default, or for "as the assignments say".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i16,
    pub assignments: Vec<Assignment>,
    pub configs: Vec<(String, Option<String>)>,
}

/// The replicas of one partition, chosen by hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub partition: PartitionIndex,
    pub replicas: Vec<NodeId>,
}

/// What became of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicOutcome {
    pub name: String,
    pub result: Result<CreatedTopic, TopicRefusal>,
}

/// A topic that was made (or would have been).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    /// The topic's own settings, as given.
    pub configs: std::collections::BTreeMap<String, String>,
}

/// A topic to be deleted, by one of the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSelector {
    pub name: Option<String>,
    /// All zero when the topic is named.
    pub id: TopicId,
}

/// What became of one deletion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    pub name: Option<String>,
    pub id: TopicId,
    pub result: Result<(), TopicRefusal>,
}

/// Producer ids `first..first + count`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub count: i64,
}

/// Why a change was not made; [`fmt::Display`] is what the client reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicRefusal {
    BadName(BadName),
    /// Differs from an existing topic only in `.` and `_`.
    Collides {
        name: String,
        existing: String,
    },
    Exists(String),
    /// Given twice in one request.
    DuplicateName,
    /// The name of the metadata log.
    ClusterMetadata,
    /// A replication factor beside assignments.
    FactorBesideAssignment,
    /// A number of partitions beside assignments.
    PartitionsBesideAssignment,
    BadFactor,
    /// More replicas than there are nodes.
    TooFewNodes {
        asked: i32,
        nodes: usize,
    },
    /// More than one replica, although there would be nodes enough.
    NoReplication {
        asked: i32,
    },
    BadPartitions,
    /// More partitions in a request than are handled at once.
    TooManyPartitions,
    /// More partitions than one cluster holds.
    ClusterFull,
    AssignmentTwice(PartitionIndex),
    AssignmentGap,
    AssignmentEmpty,
    AssignmentNodeTwice(NodeId),
    AssignmentUnknownNode(NodeId),
    AssignmentUneven {
        replicas: usize,
        before: usize,
    },
    /// As many partitions as the topic has already.
    SamePartitions(usize),
    FewerPartitions {
        name: String,
        has: usize,
        asked: i32,
    },
    /// Not one assignment for each new partition.
    AssignmentCount {
        more: usize,
        given: usize,
    },
    Config(ConfigRefusal),
    UnknownName,
    UnknownId,
    NeitherNameNorId,
    BothNameAndId,
    DuplicateId,
    /// A name and the id of the same topic in two entries.
    NameOfGivenId,
    /// `delete.topic.enable` is off.
    DeletionDisabled,
    /// Every producer id there is has been given out.
    NoProducerIds,
    /// More than one append of the metadata log holds; nothing was changed.
    TooLarge,
    /// The metadata log could not be written; nothing was changed.
    Storage,
}

impl fmt::Display for TopicRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicRefusal::BadName(bad) => bad.fmt(f),
            TopicRefusal::Collides { name, existing } => {
                write!(f, "Topic '{name}' collides with existing topic: {existing}")
            }
            TopicRefusal::Exists(name) => write!(f, "Topic '{name}' already exists."),
            TopicRefusal::DuplicateName => f.write_str("Duplicate topic name."),
            TopicRefusal::ClusterMetadata => {
                write!(
                    f,
                    "Creation of internal topic {CLUSTER_METADATA} is prohibited."
                )
            }
            TopicRefusal::FactorBesideAssignment => f.write_str(
                "A replication factor other than -1 was given beside manual assignments.",
            ),
            TopicRefusal::PartitionsBesideAssignment => f.write_str(
                "A number of partitions other than -1 was given beside manual assignments.",
            ),
            TopicRefusal::BadFactor => f.write_str(
                "The replication factor must be above 0, or -1 for the broker's default.",
            ),
            TopicRefusal::TooFewNodes { .. }
            | TopicRefusal::NoReplication { .. }
            | TopicRefusal::SamePartitions(_)
            | TopicRefusal::FewerPartitions { .. } => self.fmt_count(f),
            TopicRefusal::BadPartitions => f.write_str(
                "The number of partitions must be above 0, or -1 for the broker's default.",
            ),
            TopicRefusal::TooManyPartitions => {
                f.write_str("Excessively large number of partitions per request.")
            }
            TopicRefusal::ClusterFull => {
                f.write_str("The cluster holds as many partitions as it can.")
            }
            TopicRefusal::AssignmentTwice(_)
            | TopicRefusal::AssignmentGap
            | TopicRefusal::AssignmentEmpty
            | TopicRefusal::AssignmentNodeTwice(_)
            | TopicRefusal::AssignmentUnknownNode(_)
            | TopicRefusal::AssignmentUneven { .. }
            | TopicRefusal::AssignmentCount { .. } => self.fmt_assignment(f),
            TopicRefusal::Config(refusal) => refusal.fmt(f),
            TopicRefusal::UnknownName => {
                f.write_str("This server does not host this topic-partition.")
            }
            TopicRefusal::UnknownId => f.write_str("This server does not host this topic ID."),
            TopicRefusal::NeitherNameNorId => {
                f.write_str("Neither a topic name nor an id was given.")
            }
            TopicRefusal::BothNameAndId => {
                f.write_str("Give the topic's name or its id, not both.")
            }
            TopicRefusal::DuplicateId => f.write_str("Duplicate topic id."),
            TopicRefusal::NameOfGivenId => {
                f.write_str("The topic of this name was also given by its id.")
            }
            TopicRefusal::DeletionDisabled => f.write_str("Topic deletion is disabled."),
            TopicRefusal::NoProducerIds => f.write_str("There are no more producer ids."),
            TopicRefusal::TooLarge => f.write_str("The request is too large for one change."),
            TopicRefusal::Storage => f.write_str("The metadata log could not be written."),
        }
    }
}

impl TopicRefusal {
    /// The words of what is wrong with a number of replicas or partitions.
    fn fmt_count(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicRefusal::TooFewNodes { asked, nodes } => write!(
                f,
                "Replication factor {asked} cannot be reached: only {nodes} broker(s) are registered."
            ),
            TopicRefusal::NoReplication { asked } => write!(
                f,
                "Replication factor {asked} is not possible yet: this broker keeps one copy of each partition. Use 1 or -1."
            ),
            TopicRefusal::SamePartitions(has) => {
                write!(f, "Topic already has {has} partition(s).")
            }
            TopicRefusal::FewerPartitions { name, has, asked } => write!(
                f,
                "The topic {name} currently has {has} partition(s); {asked} would not be an increase."
            ),
            _ => Ok(()),
        }
    }

    /// The words of what is wrong with a manual assignment.
    fn fmt_assignment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicRefusal::AssignmentTwice(partition) => {
                write!(
                    f,
                    "Partition {partition} has more than one manual assignment."
                )
            }
            TopicRefusal::AssignmentGap => {
                f.write_str("Manually assigned partitions must be numbered from 0 without gaps.")
            }
            TopicRefusal::AssignmentEmpty => f.write_str("A manual assignment has no replicas."),
            TopicRefusal::AssignmentNodeTwice(node) => {
                write!(f, "A manual assignment names broker {node} more than once.")
            }
            TopicRefusal::AssignmentUnknownNode(node) => {
                write!(
                    f,
                    "A manual assignment names broker {node}, which is not registered."
                )
            }
            TopicRefusal::AssignmentCount { more, given } => write!(
                f,
                "{more} partition(s) are to be added, but {given} assignment(s) were given."
            ),
            TopicRefusal::AssignmentUneven { replicas, before } => write!(
                f,
                "A manual assignment has {replicas} replica(s), the ones before it have {before}."
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for TopicRefusal {}
