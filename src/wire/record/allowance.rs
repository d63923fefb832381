//! What looking into batches may cost: one purse for several looks, paid in bytes and records.
//!
//! Whoever must not be held up makes a small one for each of its turns; whoever may work for long
//! makes a [`Allowance::whole`] one. A look that does not fit is [`CompressionFault::TooLarge`]
//! before it has cost more than what was left. Never reads a clock: prices are estimates
//! on the safe side; `benches/validation.rs` says what a whole allowance costs.

use std::borrow::Cow;

use super::compression::{self, CompressionFault};
use super::header::{BatchHeader, Codec};
use crate::words::limits::{DECOMPRESSED_BYTES_MAX, INLINE_RECORDS_MAX, INLINE_UNPACKED_BYTES_MAX};

/// A fresh decoder, in bytes that it could have given meanwhile.
const DECODER_PRICE_BYTES: usize = 8 * 1024;
/// A fresh encoder, likewise.
const ENCODER_PRICE_BYTES: usize = 32 * 1024;

/// What is left of a purse.
#[derive(Clone, Debug)]
pub struct Allowance {
    bytes: usize,
    records: usize,
    spent_bytes: usize,
}

impl Allowance {
    pub fn new(bytes: usize, records: usize) -> Allowance {
        Allowance {
            bytes,
            records,
            spent_bytes: 0,
        }
    }

    /// What a shard may spend in one turn.
    pub fn of_a_turn() -> Allowance {
        Allowance::new(INLINE_UNPACKED_BYTES_MAX, INLINE_RECORDS_MAX)
    }

    /// For any number of batches, none of which expands past [`DECOMPRESSED_BYTES_MAX`].
    pub fn whole() -> Allowance {
        Allowance::new(usize::MAX, usize::MAX)
    }

    /// Bytes paid so far.
    pub fn spent_bytes(&self) -> usize {
        self.spent_bytes
    }

    /// The records of a batch as they are when not compressed; borrowed where they already are so.
    /// `body` is everything after the batch's header.
    pub fn unpack<'a>(
        &mut self,
        header: &BatchHeader,
        body: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, CompressionFault> {
        let records = usize::try_from(header.records_count).unwrap_or(0);
        let records_left = self.records.checked_sub(records);
        let records_left = records_left.ok_or(CompressionFault::TooLarge)?;
        let codec = header.codec();
        if codec == Codec::NONE {
            self.records = records_left;
            return Ok(Cow::Borrowed(body));
        }
        let price = body.len().saturating_add(DECODER_PRICE_BYTES);
        let output_max = self.bytes.saturating_sub(price).min(DECOMPRESSED_BYTES_MAX);
        let hopeless = compression::likely_bytes(codec, body) > output_max;
        if price > self.bytes || (hopeless && output_max < DECOMPRESSED_BYTES_MAX) {
            return Err(CompressionFault::TooLarge);
        }
        let unpacked = compression::decompress(codec, body, output_max);
        // What did not fit, or was rotten at its end, was work all the same.
        let output = unpacked.as_ref().map_or(output_max, Vec::len);
        self.spend(price.saturating_add(output));
        self.records = records_left;
        unpacked.map(Cow::Owned)
    }

    /// Pays for compressing `len` bytes.
    pub fn pay_for_packing(&mut self, codec: Codec, len: usize) -> Result<(), CompressionFault> {
        let times = match codec {
            Codec::NONE => 1,
            Codec::SNAPPY | Codec::LZ4 => 4,
            Codec::ZSTD => 8,
            _ => 32,
        };
        let price = len.saturating_mul(times);
        let price = price.saturating_add(ENCODER_PRICE_BYTES);
        if price > self.bytes {
            return Err(CompressionFault::TooLarge);
        }
        self.spend(price);
        Ok(())
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.spent_bytes = self.spent_bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::samples::{CODECS, batch};
    use crate::wire::record::{BATCH_HEADER_BYTES, BatchBuilder, NewRecord};
    use crate::words::TimestampMs;

    const PACKED: [Codec; 4] = [Codec::GZIP, Codec::SNAPPY, Codec::LZ4, Codec::ZSTD];

    fn unpack(allowance: &mut Allowance, bytes: &[u8]) -> Result<usize, CompressionFault> {
        let header = BatchHeader::parse(bytes).unwrap();
        let records = allowance.unpack(&header, &bytes[BATCH_HEADER_BYTES..])?;
        Ok(records.len())
    }

    fn zeros(codec: Codec, len: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        let value = vec![0; len];
        let record = NewRecord::of(TimestampMs(1), None, Some(&value));
        builder.push(&record).unwrap();
        builder.build().unwrap().to_vec()
    }

    #[test]
    fn a_bomb_does_not_fit_into_a_turn_and_small_batches_do_until_it_is_spent() {
        for codec in PACKED {
            let mut allowance = Allowance::of_a_turn();
            let bomb = zeros(codec, 4 << 20);
            assert_eq!(
                unpack(&mut allowance, &bomb),
                Err(CompressionFault::TooLarge),
                "{codec:?}"
            );
            assert!(allowance.spent_bytes() <= INLINE_UNPACKED_BYTES_MAX);
            let mut allowance = Allowance::of_a_turn();
            let small = zeros(codec, 10_000);
            let fitting = (0..1000)
                .take_while(|_| unpack(&mut allowance, &small).is_ok())
                .count();
            let each_at_most = DECODER_PRICE_BYTES + 10_100 + small.len();
            assert!(fitting >= INLINE_UNPACKED_BYTES_MAX / each_at_most - 1);
            assert!(fitting <= INLINE_UNPACKED_BYTES_MAX / (DECODER_PRICE_BYTES + 10_000));
            assert!(allowance.spent_bytes() <= INLINE_UNPACKED_BYTES_MAX);
        }
    }

    #[test]
    fn empty_batches_are_not_free() {
        for codec in PACKED {
            let mut allowance = Allowance::of_a_turn();
            let tiny = batch(codec, &[1]);
            let fitting = (0..1000)
                .take_while(|_| unpack(&mut allowance, &tiny).is_ok())
                .count();
            assert!(fitting <= INLINE_UNPACKED_BYTES_MAX / DECODER_PRICE_BYTES);
        }
    }

    #[test]
    fn records_are_counted_whatever_their_codec() {
        for codec in CODECS {
            let mut allowance = Allowance::new(1 << 20, 5);
            let three = batch(codec, &[1, 2, 3]);
            assert!(unpack(&mut allowance, &three).is_ok());
            let refused = unpack(&mut allowance, &three);
            assert_eq!(refused, Err(CompressionFault::TooLarge), "{codec:?}");
            assert!(unpack(&mut allowance, &batch(codec, &[1, 2])).is_ok());
        }
    }

    #[test]
    fn a_whole_allowance_takes_what_a_turn_does_not() {
        let mut allowance = Allowance::whole();
        for codec in CODECS {
            assert!(unpack(&mut allowance, &zeros(codec, 4 << 20)).is_ok());
            assert!(allowance.pay_for_packing(codec, 1 << 30).is_ok());
        }
        assert!(allowance.spent_bytes() > 4 * (4 << 20));
    }

    #[test]
    fn packing_that_is_not_paid_for_is_too_large() {
        let mut allowance = Allowance::of_a_turn();
        let refused = allowance.pay_for_packing(Codec::GZIP, 64 * 1024);
        assert_eq!(refused, Err(CompressionFault::TooLarge));
        assert_eq!(allowance.spent_bytes(), 0);
        assert_eq!(allowance.pay_for_packing(Codec::LZ4, 16 * 1024), Ok(()));
        assert!(allowance.spent_bytes() > 64 * 1024);
    }
}
