//! Everything that can go wrong for a client, in words that say what to do next.
//!
//! Owns the sorting by whose fault it is: the way there (unreachable, closed, timed out), the
//! protocol, the broker's refusal, the caller's data. Never prints, never exits.

use std::fmt;

use super::Address;
use super::exchange::ExchangeFault;
use super::hints;
use crate::wire::ErrorCode;
use crate::wire::record::{BuildFault, ReadFault};
use crate::words::{Offset, PartitionIndex};

/// See the head of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// No connection to any of the addresses; the cause is that of the last one.
    Unreachable {
        addresses: Vec<Address>,
        cause: String,
    },
    /// No answer within so many milliseconds.
    TimedOut {
        address: Address,
        waiting_for: &'static str,
        after_ms: u64,
    },
    /// The connection ended before the answer came.
    Closed {
        address: Address,
        waiting_for: &'static str,
        cause: String,
    },
    /// What came is not Kafka's protocol as this client knows it.
    Protocol {
        address: Address,
        fault: ExchangeFault,
    },
    /// The two sides share no version of an API that is needed.
    NoVersion {
        address: Address,
        api: &'static str,
    },
    Refused(Refusal),
    /// Metadata names no leader for the partition, or a leader it does not know.
    NoLeader {
        topic: String,
        partition: PartitionIndex,
    },
    /// The topic has no such partition.
    NoPartition {
        topic: String,
        partition: PartitionIndex,
        partitions: usize,
    },
    /// A record that no batch can be made of.
    Build(BuildFault),
    /// A stored batch that cannot be read.
    Unreadable {
        topic: String,
        partition: PartitionIndex,
        offset: Offset,
        cause: Unreadable,
    },
}

/// What is wrong with a fetched batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// The checksum does not fit the bytes.
    Checksum,
    /// The first batch does not fit into an answer.
    CutShort,
    Fault(ReadFault),
}

/// A broker's "no".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    /// What was refused: `topic orders`, `partition orders-3`.
    pub about: String,
    /// The broker's own words, if it had any.
    pub message: Option<String>,
}

impl Refusal {
    pub fn of(code: ErrorCode, about: impl Into<String>, message: Option<&str>) -> Refusal {
        let message = message.filter(|message| !message.is_empty());
        Refusal {
            code,
            about: about.into(),
            message: message.map(str::to_owned),
        }
    }
}

impl ClientError {
    /// Whether the broker could not be reached or did not answer, in contrast to saying no.
    pub fn is_absence(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Closed { .. } => true,
            ClientError::Refused(refusal) => refusal.code == ErrorCode::REQUEST_TIMED_OUT,
            _ => false,
        }
    }

    /// Whether the same request may succeed a moment later, perhaps at another node.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Closed { .. }
            | ClientError::NoLeader { .. } => true,
            ClientError::Refused(refusal) => refusal.code.is_retriable(),
            ClientError::Protocol { .. }
            | ClientError::NoVersion { .. }
            | ClientError::NoPartition { .. }
            | ClientError::Build(_)
            | ClientError::Unreadable { .. } => false,
        }
    }

    /// The error code, if a broker sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ClientError::Unreachable { .. } => Some(hints::UNREACHABLE),
            ClientError::TimedOut { .. } => Some(hints::TIMED_OUT),
            ClientError::Closed { .. } => Some(hints::CLOSED),
            ClientError::Protocol { .. } => Some(hints::PROTOCOL),
            ClientError::NoVersion { .. } => Some(hints::NO_VERSION),
            ClientError::Refused(refusal) => hints::of_code(refusal.code),
            ClientError::NoLeader { .. } => Some(hints::NO_LEADER),
            ClientError::NoPartition { .. } => Some(hints::NO_PARTITION),
            ClientError::Build(_) => Some(hints::BUILD),
            ClientError::Unreadable { .. } => Some(hints::UNREADABLE),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { addresses, cause } => {
                f.write_str("cannot connect to ")?;
                for (place, address) in addresses.iter().enumerate() {
                    let between = if place == 0 { "" } else { ", " };
                    write!(f, "{between}{address}")?;
                }
                write!(f, ": {cause}")
            }
            ClientError::TimedOut {
                address,
                waiting_for,
                after_ms,
            } => write!(
                f,
                "no answer to {waiting_for} from {address} within {after_ms} ms"
            ),
            ClientError::Closed {
                address,
                waiting_for,
                cause,
            } => write!(
                f,
                "{address} went away before it answered {waiting_for}: {cause}"
            ),
            ClientError::Protocol { address, fault } => {
                write!(
                    f,
                    "{address} does not speak Kafka as it is known here: {fault}"
                )
            }
            ClientError::NoVersion { address, api } => {
                write!(f, "{address} offers no version of {api} that is known here")
            }
            ClientError::Refused(refusal) => {
                let message = refusal.message.as_deref();
                let message = message.unwrap_or_else(|| refusal.code.message());
                write!(f, "{}: {}: {message}", refusal.about, refusal.code.name())
            }
            ClientError::NoLeader { topic, partition } => {
                write!(f, "partition {topic}-{partition} has no leader")
            }
            ClientError::NoPartition {
                topic,
                partition,
                partitions,
            } => write!(
                f,
                "topic {topic} has {partitions} partitions and no partition {partition}"
            ),
            ClientError::Build(fault) => fault.fmt(f),
            ClientError::Unreadable {
                topic,
                partition,
                offset,
                cause,
            } => write!(
                f,
                "the batch of partition {topic}-{partition} at offset {offset} cannot be read: {cause}"
            ),
        }
    }
}

impl std::error::Error for ClientError {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Checksum => f.write_str("its checksum is wrong"),
            Unreadable::CutShort => f.write_str("it does not fit into an answer"),
            Unreadable::Fault(fault) => fault.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_prints_kafkas_name_and_the_brokers_words_before_our_own() {
        let code = ErrorCode::TOPIC_ALREADY_EXISTS;
        let theirs = ClientError::Refused(Refusal::of(code, "topic a", Some("Topic 'a' exists.")));
        assert_eq!(
            theirs.to_string(),
            "topic a: TOPIC_ALREADY_EXISTS: Topic 'a' exists."
        );
        let ours = ClientError::Refused(Refusal::of(code, "topic a", Some("")));
        assert_eq!(
            ours.to_string(),
            format!("topic a: TOPIC_ALREADY_EXISTS: {}", code.message())
        );
        assert!(ours.hint().is_some());
    }

    #[test]
    fn a_brokers_time_out_counts_as_absence_and_a_no_does_not() {
        let refused = |code| ClientError::Refused(Refusal::of(code, "x", None));
        assert!(refused(ErrorCode::REQUEST_TIMED_OUT).is_absence());
        assert!(!refused(ErrorCode::NOT_LEADER_OR_FOLLOWER).is_absence());
        assert!(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER).is_retriable());
        assert!(!refused(ErrorCode::TOPIC_ALREADY_EXISTS).is_retriable());
    }
}
