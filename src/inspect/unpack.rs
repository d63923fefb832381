//! Decompression of a batch's records, bounded: output grows as it arrives and never past a bound.
//!
//! Speaks to the codecs' crates directly; the framing of snappy-java is read here.

use std::borrow::Cow;
use std::io::{self, Read};

use super::bytes::Cut;

/// No block of snappy expands further: its longest copy makes 64 bytes of three.
const SNAPPY_EXPANSION_MAX: usize = 64;
/// Largest window a zstd frame may ask for, as a power of two: what `zstd -19` uses.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Versions behind it, not looked at.
const XERIAL_VERSIONS: usize = 8;

/// Why records stay packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packed {
    UnknownCodec(u8),
    Corrupt,
    TooLarge,
}

impl std::fmt::Display for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Packed::UnknownCodec(codec) => write!(f, "codec {codec} is not one of Kafka's"),
            Packed::Corrupt => f.write_str("the records do not decompress"),
            Packed::TooLarge => f.write_str("the records expand beyond what is shown"),
        }
    }
}

/// The records of codec `codec`, at most `max` bytes.
///
/// # Errors
/// See [`Packed`].
pub fn unpack(codec: u8, bytes: &[u8], max: usize) -> Result<Cow<'_, [u8]>, Packed> {
    match codec {
        0 => Ok(Cow::Borrowed(bytes)),
        1 => drain(flate2::read::MultiGzDecoder::new(bytes), max),
        2 => snappy(bytes, max),
        3 => drain(lz4_flex::frame::FrameDecoder::new(bytes), max),
        4 => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            let mut decoder = decoder.map_err(|_| Packed::Corrupt)?;
            let bounded = decoder.window_log_max(ZSTD_WINDOW_LOG_MAX);
            bounded.map_err(|_| Packed::Corrupt)?;
            drain(decoder, max)
        }
        other => Err(Packed::UnknownCodec(other)),
    }
}

fn drain<'a>(from: impl Read, max: usize) -> Result<Cow<'a, [u8]>, Packed> {
    let mut out = Vec::new();
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read: io::Result<usize> = from.take(bound).read_to_end(&mut out);
    read.map_err(|_| Packed::Corrupt)?;
    match out.len() > max {
        true => Err(Packed::TooLarge),
        false => Ok(Cow::Owned(out)),
    }
}

fn snappy<'a>(bytes: &[u8], max: usize) -> Result<Cow<'a, [u8]>, Packed> {
    let mut out = Vec::new();
    let Some(framed) = bytes.strip_prefix(&XERIAL) else {
        snappy_block(bytes, max, &mut out)?;
        return Ok(Cow::Owned(out));
    };
    let mut cut = Cut(framed);
    cut.slice(XERIAL_VERSIONS).ok_or(Packed::Corrupt)?;
    while !cut.0.is_empty() {
        let len = cut.u32().and_then(|len| usize::try_from(len).ok());
        let block = len.and_then(|len| cut.slice(len)).ok_or(Packed::Corrupt)?;
        snappy_block(block, max, &mut out)?;
    }
    Ok(Cow::Owned(out))
}

fn snappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Packed> {
    let claimed = snap::raw::decompress_len(block).map_err(|_| Packed::Corrupt)?;
    if claimed > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(Packed::Corrupt);
    }
    if claimed > max.saturating_sub(out.len()) {
        return Err(Packed::TooLarge);
    }
    let unpacked = snap::raw::Decoder::new().decompress_vec(block);
    out.extend_from_slice(&unpacked.map_err(|_| Packed::Corrupt)?);
    Ok(())
}
