//! What the tests of the codecs share: dice, and the shape of a message table as data.
//!
//! Compiled for tests only.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

/// A small deterministic generator (xorshift64*); the seed is all there is to know.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.roll() >> 33) as usize % bound
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| (self.roll() >> 40) as u8)
    }

    pub fn bytes(&mut self) -> Bytes {
        let len = if self.below(50) == 0 {
            5000
        } else {
            self.below(40)
        };
        (0..len).map(|_| (self.roll() >> 40) as u8).collect()
    }

    pub fn text(&mut self) -> String {
        let len = if self.below(20) == 0 {
            200
        } else {
            self.below(12)
        };
        (0..len)
            .map(|_| {
                *['a', 'Z', '-', '.', 'ü', '中', '🦀']
                    .get(self.below(7))
                    .unwrap()
            })
            .collect()
    }
}

/// What a table says of a type.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// Name as in Kafka's schemas.
    Plain(&'static str),
    Array(Box<Shape>),
    Structure(Vec<RowShape>),
}

/// What a table says of a field; version ranges are inclusive.
#[derive(Debug, PartialEq)]
pub struct RowShape {
    pub name: &'static str,
    pub versions: (i16, i16),
    pub null: Option<(i16, i16)>,
    pub tag: Option<u32>,
    pub default: String,
    pub shape: Shape,
}

pub fn bounds(range: impl RangeBounds<i16>) -> (i16, i16) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        _ => panic!("a range of versions begins somewhere"),
    };
    let to = match range.end_bound() {
        Bound::Included(to) => *to,
        Bound::Excluded(_) => panic!("write a..=b"),
        Bound::Unbounded => i16::MAX,
    };
    (from, to)
}
