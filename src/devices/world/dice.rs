//! The one source of chance in a simulated world, and the digest that tells two runs apart.
//!
//! Owns nothing but its own state; never asks the machine for randomness.

use std::ops::Range;

/// SplitMix64: small and seeded. The same seed rolls the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`; 0 when there are none.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.any() % sides.max(1)
    }

    /// A number in `range`; its start when it is empty.
    pub fn within(&mut self, range: &Range<u64>) -> u64 {
        range
            .start
            .saturating_add(self.roll(range.end.saturating_sub(range.start)))
    }

    /// True once in `times` on average; never for 0.
    pub fn once_in(&mut self, times: u64) -> bool {
        times > 0 && self.roll(times) == 0
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let at = self.roll(choices.len() as u64);
        choices.get(usize::try_from(at).ok()?)
    }

    /// Dice of its own for a part that shall not disturb the others' luck.
    pub fn fork(&mut self) -> Dice {
        Dice(self.any())
    }
}

/// A running digest of everything that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(pub u64);

impl Digest {
    pub fn number(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub fn bytes(&mut self, data: &[u8]) {
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data);
        self.number(data.len() as u64);
        self.number(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers() {
        let rolls = |seed| -> Vec<u64> {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.within(&(5..9))).collect()
        };
        assert_eq!(rolls(1), rolls(1));
        assert_ne!(rolls(1), rolls(2));
        assert!(rolls(3).iter().all(|roll| (5..9).contains(roll)));
    }

    #[test]
    fn a_digest_knows_order() {
        let digest = |numbers: &[u64]| {
            let mut digest = Digest::default();
            numbers.iter().for_each(|number| digest.number(*number));
            digest
        };
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
    }
}
