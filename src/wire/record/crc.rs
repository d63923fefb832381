//! CRC-32C (Castagnoli), the checksum of record batches.
//!
//! Owns the choice of the library and which bytes of a batch are covered. Never judges a batch.

use crc_fast::{CrcAlgorithm, Digest};

use super::header::{BATCH_HEADER_BYTES, BatchHeader, CRC_COVERS_FROM};

/// CRC-32C of one run of bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C over several runs of bytes, as if they were one.
pub struct Crc32c(Digest);

impl Crc32c {
    pub fn new() -> Crc32c {
        Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(&self) -> u32 {
        // A 32-bit checksum in a 64-bit carrier: the upper half is always zero.
        u32::try_from(self.0.finalize()).unwrap_or(0)
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

/// Checksum that belongs in a batch made of this header and this body (everything after the
/// header). The header's own base offset, length, leader epoch, magic and checksum are not covered.
pub fn batch_crc(header: &[u8; BATCH_HEADER_BYTES], body: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(header.get(CRC_COVERS_FROM..).unwrap_or_default());
    crc.update(body);
    crc.finish()
}

/// Checksum that belongs in the batch that fills `batch` from its first byte to its last; `None`
/// when it is too short to have one.
pub fn whole_batch_crc(batch: &[u8]) -> Option<u32> {
    Some(crc32c(batch.get(CRC_COVERS_FROM..)?))
}

/// Whether the batch at the start of `bytes`, whose header is `header`, is there whole and as its
/// checksum says.
pub fn is_intact(header: &BatchHeader, bytes: &[u8]) -> bool {
    bytes
        .get(..header.size_bytes())
        .and_then(whole_batch_crc)
        .is_some_and(|crc| crc == header.crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + (i >> 8) * 7) as u8).collect()
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_agrees_with_another_library() {
        let bytes = noise(70_000);
        for len in (0..300).chain([1023, 1024, 1025, 4096, 16_411, 65_536, 70_000]) {
            assert_eq!(crc32c(&bytes[..len]), ::crc32c::crc32c(&bytes[..len]));
        }
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let bytes = noise(5000);
        for cut in [0, 1, 39, 40, 41, 4096, 5000] {
            let mut crc = Crc32c::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.finish(), crc32c(&bytes));
        }
    }

    #[test]
    fn header_and_body_apart_give_the_checksum_of_the_batch() {
        let bytes = noise(2000);
        let header: [u8; BATCH_HEADER_BYTES] = bytes[..BATCH_HEADER_BYTES].try_into().unwrap();
        assert_eq!(
            Some(batch_crc(&header, &bytes[BATCH_HEADER_BYTES..])),
            whole_batch_crc(&bytes)
        );
    }
}
