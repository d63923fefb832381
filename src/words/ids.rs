//! Identifiers as newtypes, so that two neighbours of one machine type cannot swap.
//!
//! Values come from peers and disks, so every one of them can hold any bit pattern of its
//! machine type; meaning is checked where it is used.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Place of a record in its partition, counted in records from 0. Kafka's `offset`.
    Offset(i64)
);
number!(
    /// Term of one leadership of a partition (KIP-101). `-1` means unknown.
    LeaderEpoch(i32)
);
number!(
    /// Identity of an idempotent or transactional producer; `-1` means none.
    ProducerId(i64)
);
number!(
    /// Incarnation of a producer id; `-1` means none.
    ProducerEpoch(i16)
);
number!(
    /// Sequence number of a record of an idempotent producer, wrapping from `i32::MAX` to 0.
    Sequence(i32)
);
number!(
    /// Milliseconds since the Unix epoch, as Kafka's record timestamps; `-1` means none.
    TimestampMs(i64)
);
number!(
    /// Number of a partition inside its topic, from 0.
    PartitionIndex(i32)
);
number!(
    /// A Kafka node. Shard `k` of machine `M` is node `M * 1000 + k`.
    NodeId(i32)
);
number!(
    /// Number of a shard (one pinned core) inside its machine, from 0.
    ShardId(u16)
);

/// A topic's identity (KIP-516): 16 bytes, all zero means none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// "No topic id", as the wire and Kafka's `Uuid.ZERO_UUID` say it.
    pub const ZERO: TopicId = TopicId([0; 16]);

    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// URL-safe base64 without padding, as Kafka's `Uuid.toString`.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        // 16 bytes are 128 bits: 21 digits of 6 bits, then 2 bits shifted up by 4.
        for digit in 0..22u32 {
            let six = if digit < 21 {
                (bits >> (122 - 6 * digit)) & 0x3f
            } else {
                (bits << 4) & 0x3f
            };
            let byte = ALPHABET.get(six as usize).copied().unwrap_or(b'?');
            write!(f, "{}", char::from(byte))?;
        }
        Ok(())
    }
}

/// One partition, by the identity that survives renames and re-creations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl Offset {
    /// "Unknown offset" on the wire.
    pub const NONE: Offset = Offset(-1);

    /// The offset `delta` records further, or `None` past the end of the number line.
    pub fn checked_add(self, delta: i64) -> Option<Offset> {
        self.0.checked_add(delta).map(Offset)
    }
}

impl NodeId {
    /// "No node" on the wire.
    pub const NONE: NodeId = NodeId(-1);
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_prints_as_kafkas_uuid_does() {
        // Kafka: new Uuid(0x0123456789abcdefL, 0xfedcba9876543210L).toString()
        let id = TopicId(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128.to_be_bytes());
        assert_eq!(id.to_string(), "ASNFZ4mrze_-3LqYdlQyEA");
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }
}
