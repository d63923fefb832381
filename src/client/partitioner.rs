//! Which partition a record goes to, as Kafka's Java client decides it (`BuiltInPartitioner`).
//!
//! Owns murmur2 and the turn of records without a key. Never looks at leaders or loads, and draws
//! no randomness: the first turn is an argument.

use crate::words::PartitionIndex;

/// The partition of a key: every client that hashes as Java's does agrees. `None` for a topic
/// without partitions.
pub fn partition_of_key(key: &[u8], partitions: u32) -> Option<PartitionIndex> {
    // The sign bit is masked off; an absolute value would differ.
    let masked = murmur2(key) & 0x7fff_ffff;
    let place = masked.checked_rem(partitions)?;
    i32::try_from(place).ok().map(PartitionIndex)
}

/// Records without a key stay with one partition until its batch is sent, then move to the next
/// (KIP-480's idea, in turn instead of by chance).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sticky {
    turn: u32,
}

impl Sticky {
    /// Programs that start at the same `turn` all begin at the same partition.
    pub fn starting_at(turn: u32) -> Sticky {
        Sticky { turn }
    }

    /// The partition of the moment. `None` for a topic without partitions.
    pub fn partition(self, partitions: u32) -> Option<PartitionIndex> {
        let place = self.turn.checked_rem(partitions)?;
        i32::try_from(place).ok().map(PartitionIndex)
    }

    /// Moves on; to be called when a batch is sent.
    pub fn advance(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }
}

/// The 32-bit murmur2 hash with Kafka's seed (`Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // The length enters by its low 32 bits; no key comes near 4 GiB.
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0u32, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_the_java_clients() {
        // Kafka's own vectors (UtilsTest.testMurmur2).
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
        }
    }

    #[test]
    fn the_sign_is_masked_not_negated() {
        // -973932308 & 0x7fffffff = 1173551340
        let partition = partition_of_key(b"21", 100);
        assert_eq!(partition, Some(PartitionIndex(40)));
        assert_eq!(partition_of_key(b"21", 0), None);
    }

    #[test]
    fn records_without_a_key_take_turns_by_batch() {
        let mut sticky = Sticky::starting_at(u32::MAX);
        assert_eq!(sticky.partition(2), Some(PartitionIndex(1)));
        assert_eq!(sticky.partition(2), Some(PartitionIndex(1)));
        sticky.advance();
        assert_eq!(sticky.partition(2), Some(PartitionIndex(0)));
        assert_eq!(sticky.partition(0), None);
    }
}
