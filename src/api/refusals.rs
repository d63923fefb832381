//! What clients see of the metadata writer's refusals.
//!
//! Owns the one match from refusal to error code; the words are the refusal's own.

use crate::metadata::{AlterRefusal, TopicRefusal};
use crate::settings::DynamicRefusal;
use crate::wire::ErrorCode;

/// The error code of a refusal.
pub fn code(refusal: &TopicRefusal) -> ErrorCode {
    match refusal {
        TopicRefusal::BadName(_) | TopicRefusal::Collides { .. } => {
            ErrorCode::INVALID_TOPIC_EXCEPTION
        }
        TopicRefusal::Exists(_) => ErrorCode::TOPIC_ALREADY_EXISTS,
        TopicRefusal::DuplicateName
        | TopicRefusal::ClusterMetadata
        | TopicRefusal::FactorBesideAssignment
        | TopicRefusal::PartitionsBesideAssignment
        | TopicRefusal::NeitherNameNorId
        | TopicRefusal::BothNameAndId
        | TopicRefusal::DuplicateId
        | TopicRefusal::NameOfGivenId => ErrorCode::INVALID_REQUEST,
        TopicRefusal::BadFactor
        | TopicRefusal::TooFewNodes { .. }
        | TopicRefusal::NoReplication { .. } => ErrorCode::INVALID_REPLICATION_FACTOR,
        TopicRefusal::BadPartitions
        | TopicRefusal::SamePartitions(_)
        | TopicRefusal::FewerPartitions { .. }
        | TopicRefusal::ClusterFull => ErrorCode::INVALID_PARTITIONS,
        TopicRefusal::TooManyPartitions | TopicRefusal::TooLarge => ErrorCode::POLICY_VIOLATION,
        TopicRefusal::AssignmentTwice(_)
        | TopicRefusal::AssignmentGap
        | TopicRefusal::AssignmentEmpty
        | TopicRefusal::AssignmentNodeTwice(_)
        | TopicRefusal::AssignmentUnknownNode(_)
        | TopicRefusal::AssignmentCount { .. }
        | TopicRefusal::AssignmentUneven { .. } => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        TopicRefusal::Config(_) => ErrorCode::INVALID_CONFIG,
        TopicRefusal::UnknownName => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        TopicRefusal::UnknownId => ErrorCode::UNKNOWN_TOPIC_ID,
        TopicRefusal::DeletionDisabled => ErrorCode::TOPIC_DELETION_DISABLED,
        TopicRefusal::NoProducerIds => ErrorCode::UNKNOWN_SERVER_ERROR,
        TopicRefusal::Storage => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

/// The error code of a refused change of settings.
pub fn alter_code(refusal: &AlterRefusal) -> ErrorCode {
    match refusal {
        AlterRefusal::ResourceTwice
        | AlterRefusal::KeyTwice
        | AlterRefusal::Null(_)
        | AlterRefusal::UnknownOperation(_)
        | AlterRefusal::UnknownType(_)
        | AlterRefusal::Nameless(_)
        | AlterRefusal::NotAnId(_)
        | AlterRefusal::OtherNode { .. }
        | AlterRefusal::LogLevel
        | AlterRefusal::Dynamic(DynamicRefusal::Request(_)) => ErrorCode::INVALID_REQUEST,
        AlterRefusal::BadName(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        AlterRefusal::UnknownTopic(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AlterRefusal::NotAList { .. }
        | AlterRefusal::Topic(_)
        | AlterRefusal::Dynamic(DynamicRefusal::Config(_)) => ErrorCode::INVALID_CONFIG,
        AlterRefusal::TooLarge => ErrorCode::POLICY_VIOLATION,
        AlterRefusal::Storage => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}
