//! The records of the metadata log: every change there can be.
//!
//! Owns their meaning; their bytes are in [`codec`](super::codec).

use std::fmt;

use smallvec::SmallVec;

use crate::words::{LeaderEpoch, NodeId, PartitionIndex, TopicId};

/// Identity of a cluster, printed as Kafka prints it (URL-safe base64 without padding).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// The id that `text` prints; `None` for anything else (22 digits, spare bits zero).
    pub fn parse(text: &str) -> Option<ClusterId> {
        let mut bits = 0u128;
        let mut digits = text.bytes();
        for _ in 0..21 {
            bits = (bits << 6) | u128::from(digit(digits.next()?)?);
        }
        let last = digit(digits.next()?)?;
        if digits.next().is_some() || last & 0x0f != 0 {
            return None;
        }
        Some(ClusterId(
            ((bits << 2) | u128::from(last >> 4)).to_be_bytes(),
        ))
    }
}

/// Value of a digit of URL-safe base64.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => byte.checked_sub(b'A'),
        b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(26),
        b'0'..=b'9' => byte.checked_sub(b'0')?.checked_add(52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TopicId(self.0).fmt(f)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A node (a shard) and where clients reach it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

/// Nodes of a partition, the preferred leader first; one as long as there is no replication.
pub type Replicas = SmallVec<[NodeId; 2]>;

/// What has dynamic settings, other than a topic (Kafka `ConfigResource`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Resource {
    /// A topic by its identity: settings go with it.
    Topic(TopicId),
    /// One node.
    Broker(NodeId),
    /// All nodes.
    BrokerDefault,
    Group(String),
    ClientMetrics(String),
}

/// State of a partition, new or changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    /// Counts every change of this state (Kafka's partition epoch).
    pub partition_epoch: i32,
    pub replicas: Replicas,
    pub isr: Replicas,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The cluster begins; the first record of a log.
    ClusterCreated {
        id: ClusterId,
    },
    /// The nodes of this start; nodes of earlier starts are gone.
    NodesRegistered {
        /// Number of the start, rising by one.
        start: u64,
        nodes: Vec<Node>,
    },
    /// A topic without partitions; they follow in the same batch, from 0 on.
    TopicCreated {
        id: TopicId,
        name: String,
    },
    PartitionChanged {
        topic: TopicId,
        partition: PartitionIndex,
        state: PartitionState,
    },
    TopicDeleted {
        id: TopicId,
    },
    /// A dynamic setting; without a value it goes back to the default.
    ConfigChanged {
        resource: Resource,
        key: String,
        value: Option<String>,
    },
    /// Producer ids below `next` are given out.
    ProducerIdsAllocated {
        next: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_reads_what_it_prints_and_nothing_else() {
        for bytes in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let text = ClusterId(bytes).to_string();
            assert_eq!(ClusterId::parse(&text), Some(ClusterId(bytes)));
        }
        let good = "BODD6yjFuHBlzwLxnX8awg";
        assert_eq!(
            ClusterId::parse(good).map(|id| id.to_string()).as_deref(),
            Some(good)
        );
        for bad in [
            "",
            "BODD6yjFuHBlzwLxnX8aw",
            "BODD6yjFuHBlzwLxnX8awgA",
            "BODD6yjFuHBlzwLxnX8awh",
            "BODD6yjFuHBlzwLxnX8a+g",
        ] {
            assert_eq!(ClusterId::parse(bad), None, "{bad}");
        }
    }
}
