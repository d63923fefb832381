//! Compression of a batch's records: gzip, snappy, lz4 and zstd as Kafka's clients use them.
//!
//! Owns the framing that Kafka's ecosystem expects around each codec. Input is hostile: output grows
//! only as data arrives and never past the bound that the caller names. Runs where it is called;
//! `allowance` says what is too large for a shard.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

use super::header::{BatchHeader, Codec};

/// Output reserved before the first byte is decompressed, when the input is small.
const FIRST_OUTPUT_BYTES: usize = 4096;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// No client writes more than one member; each costs a fresh decoder.
const GZIP_MEMBERS_MAX: usize = 16;
/// What snappy-java puts in front of its blocks.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_VERSION: i32 = 1;
/// Bytes in a block that we write, as snappy-java does by default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Snappy's longest copy makes 64 bytes of three, so no honest block expands further.
const SNAPPY_EXPANSION_MAX: usize = 64;
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_FLAG_VERSION_MASK: u8 = 0xc0;
const LZ4_FLAG_VERSION: u8 = 0x40;
const LZ4_FLAG_INDEPENDENT: u8 = 0x20;

/// Why bytes could not be decompressed (or, for [`CompressionFault::Unsupported`], compressed).
///
/// Kafka answers a Produce request whose records do not decompress with UNKNOWN_SERVER_ERROR(-1),
/// by accident; INVALID_RECORD(87) is the honest answer for [`CompressionFault::Corrupt`], and
/// UNSUPPORTED_COMPRESSION_TYPE(76) for [`CompressionFault::Unsupported`]. Kafka has no bound of
/// its own on what a batch expands to; [`CompressionFault::TooLarge`] is best MESSAGE_TOO_LARGE(10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionFault {
    /// Nobody has defined this codec.
    Unsupported(Codec),
    /// The bytes are not what the codec makes, or are cut short.
    Corrupt,
    /// The output would be larger than the caller's bound.
    TooLarge,
}

impl fmt::Display for CompressionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompressionFault::Unsupported(codec) => write!(f, "unknown codec {}", codec.0),
            CompressionFault::Corrupt => f.write_str("the compressed records are corrupt"),
            CompressionFault::TooLarge => f.write_str("the records expand beyond the limit"),
        }
    }
}

impl std::error::Error for CompressionFault {}

/// Decompresses all of `input` into at most `output_max` bytes. Bytes after the end of a gzip
/// member or an lz4 frame that begin no other one are ignored, as Kafka ignores them.
pub fn decompress(
    codec: Codec,
    input: &[u8],
    output_max: usize,
) -> Result<Vec<u8>, CompressionFault> {
    match codec {
        Codec::NONE if input.len() > output_max => Err(CompressionFault::TooLarge),
        Codec::NONE => Ok(input.to_vec()),
        Codec::GZIP => gunzip(input, output_max),
        Codec::SNAPPY => unsnappy(input, output_max),
        Codec::LZ4 => unlz4(input, output_max),
        Codec::ZSTD => unzstd(input, output_max),
        other => Err(CompressionFault::Unsupported(other)),
    }
}

/// A guess, without decompressing, at the least that `input` expands to: what it claims itself, and
/// records are worth compressing only when they shrink by half. A claim may lie; it bounds nothing.
pub fn likely_bytes(codec: Codec, input: &[u8]) -> usize {
    let claimed = match codec {
        Codec::NONE => return input.len(),
        Codec::GZIP => input
            .last_chunk::<4>()
            .map(|size| u32::from_le_bytes(*size))
            .and_then(|size| usize::try_from(size).ok()),
        Codec::ZSTD => zstd::zstd_safe::get_frame_content_size(input)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok()),
        Codec::SNAPPY if !input.starts_with(&XERIAL_MAGIC) => snap::raw::decompress_len(input).ok(),
        _ => None,
    };
    claimed.unwrap_or(0).max(input.len().saturating_mul(2))
}

/// The records of a batch as they are when not compressed; borrowed where they already are so (then
/// `output_max` does not apply). `body` is everything after the batch's header.
pub fn unpack<'a>(
    header: &BatchHeader,
    body: &'a [u8],
    output_max: usize,
) -> Result<Cow<'a, [u8]>, CompressionFault> {
    match header.codec() {
        Codec::NONE => Ok(Cow::Borrowed(body)),
        codec => decompress(codec, body, output_max).map(Cow::Owned),
    }
}

/// Compresses `input`. `level` is what Kafka's `compression.<codec>.level` says and is brought into
/// the codec's range; `None` is the codec's default. Snappy and lz4 have one level here.
pub fn compress(
    codec: Codec,
    input: &[u8],
    level: Option<i32>,
) -> Result<Vec<u8>, CompressionFault> {
    match codec {
        Codec::NONE => Ok(input.to_vec()),
        Codec::GZIP => gzip(input, level).map_err(|_| CompressionFault::TooLarge),
        Codec::SNAPPY => snappy(input),
        Codec::LZ4 => lz4(input).map_err(|_| CompressionFault::TooLarge),
        Codec::ZSTD => {
            zstd::bulk::compress(input, zstd_level(level)).map_err(|_| CompressionFault::TooLarge)
        }
        other => Err(CompressionFault::Unsupported(other)),
    }
}

/// Reads `from` to its end and appends to `out`, which never grows past `output_max + 1`.
fn drain(
    mut from: impl Read,
    out: &mut Vec<u8>,
    output_max: usize,
) -> Result<(), CompressionFault> {
    // One byte more than allowed tells a full output from one that is too large.
    let room_max = output_max.saturating_add(1);
    let start = out.len();
    let mut filled = start;
    loop {
        if filled >= room_max {
            return Err(CompressionFault::TooLarge);
        }
        if filled == out.len() {
            // Doubles what this reader has given, so that many short ones do not zero it all again.
            let more = filled.saturating_sub(start).max(FIRST_OUTPUT_BYTES);
            grow(out, filled.saturating_add(more).min(room_max), room_max);
        }
        let spare = out.get_mut(filled..).unwrap_or_default();
        match from.read(spare) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(_) => return Err(CompressionFault::Corrupt),
        }
    }
    out.truncate(filled);
    Ok(())
}

/// Lengthens `out` with zeros to `len`; what is reserved at least doubles, but stays within `max`.
fn grow(out: &mut Vec<u8>, len: usize, max: usize) {
    if len > out.capacity() {
        let room = out.capacity().saturating_mul(2).min(max).max(len);
        out.reserve_exact(room.saturating_sub(out.len()));
    }
    out.resize(len, 0);
}

fn gunzip(input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionFault> {
    let mut out = Vec::new();
    let mut rest = input;
    // Members one after the other are one stream, as for Java's GZIPInputStream.
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        drain(&mut member, &mut out, output_max)?;
        rest = member.into_inner();
        if !rest.starts_with(&GZIP_MAGIC) {
            return Ok(out);
        }
    }
    Err(CompressionFault::Corrupt)
}

fn gzip(input: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let level = match level.and_then(|level| u32::try_from(level).ok()) {
        Some(level) => flate2::Compression::new(level.min(9)),
        None => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(input)?;
    encoder.finish()
}

/// Xerial framing where the input begins with its magic, one raw block otherwise (librdkafka).
fn unsnappy(input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionFault> {
    let mut out = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        unsnappy_block(input, &mut out, output_max)?;
        return Ok(out);
    }
    let mut rest = after_xerial_header(input)?;
    while !rest.is_empty() {
        if rest.starts_with(&XERIAL_MAGIC) {
            // Streams that were written one after the other.
            rest = after_xerial_header(rest)?;
            continue;
        }
        let (size, tail) = split_i32(rest).ok_or(CompressionFault::Corrupt)?;
        let size = usize::try_from(size).map_err(|_| CompressionFault::Corrupt)?;
        let (block, tail) = tail
            .split_at_checked(size)
            .ok_or(CompressionFault::Corrupt)?;
        unsnappy_block(block, &mut out, output_max)?;
        rest = tail;
    }
    Ok(out)
}

fn after_xerial_header(input: &[u8]) -> Result<&[u8], CompressionFault> {
    let (header, rest) = input
        .split_at_checked(XERIAL_HEADER_BYTES)
        .ok_or(CompressionFault::Corrupt)?;
    let version = header.get(XERIAL_MAGIC.len()..).and_then(split_i32);
    match version {
        Some((version, _)) if version >= XERIAL_VERSION => Ok(rest),
        _ => Err(CompressionFault::Corrupt),
    }
}

fn unsnappy_block(
    block: &[u8],
    out: &mut Vec<u8>,
    output_max: usize,
) -> Result<(), CompressionFault> {
    let size = snap::raw::decompress_len(block).map_err(|_| CompressionFault::Corrupt)?;
    let before = out.len();
    let after = before.saturating_add(size);
    if after > output_max {
        return Err(CompressionFault::TooLarge);
    }
    if size > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err(CompressionFault::Corrupt);
    }
    grow(out, after, output_max);
    let target = out.get_mut(before..).unwrap_or_default();
    match snap::raw::Decoder::new().decompress(block, target) {
        Ok(written) if written == size => Ok(()),
        _ => Err(CompressionFault::Corrupt),
    }
}

fn snappy(input: &[u8]) -> Result<Vec<u8>, CompressionFault> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder
            .compress_vec(block)
            .map_err(|_| CompressionFault::TooLarge)?;
        let size = i32::try_from(packed.len()).map_err(|_| CompressionFault::TooLarge)?;
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out)
}

fn split_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*first), rest))
}

/// A reader over bytes that remembers being asked for more than there was.
struct Exact<'a> {
    rest: &'a [u8],
    ran_dry: bool,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(buffer)?;
        self.ran_dry |= read < buffer.len();
        Ok(read)
    }
}

/// One frame of the current format with independent blocks: all that Java's consumers can read, so
/// all that Kafka lets in. Checksums are verified where the frame has them.
fn unlz4(input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionFault> {
    let flags = input
        .strip_prefix(&LZ4_MAGIC)
        .and_then(|rest| rest.first().copied())
        .ok_or(CompressionFault::Corrupt)?;
    if flags & LZ4_FLAG_VERSION_MASK != LZ4_FLAG_VERSION || flags & LZ4_FLAG_INDEPENDENT == 0 {
        return Err(CompressionFault::Corrupt);
    }
    let mut decoder = FrameDecoder::new(Exact {
        rest: input,
        ran_dry: false,
    });
    let mut out = Vec::new();
    drain(&mut decoder, &mut out, output_max)?;
    // The library takes the end of the input for the end of the frame; Kafka does not.
    if decoder.get_ref().ran_dry {
        return Err(CompressionFault::Corrupt);
    }
    Ok(out)
}

fn lz4(input: &[u8]) -> Result<Vec<u8>, lz4_flex::frame::Error> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input)?;
    encoder.finish()
}

/// Whole frames straight into the output, so that the window a frame claims (128 MiB at the highest
/// level) is never allocated. The output's size is tried from small to large: what a frame says of
/// its content is only believed as far as the input's length makes it likely.
fn unzstd(input: &[u8], output_max: usize) -> Result<Vec<u8>, CompressionFault> {
    let likely = input.len().saturating_mul(8).max(FIRST_OUTPUT_BYTES);
    let claimed = zstd::zstd_safe::get_frame_content_size(input)
        .map_err(|_| CompressionFault::Corrupt)?
        .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let mut room = match claimed {
        Some(size) if size > output_max => return Err(CompressionFault::TooLarge),
        Some(size) => size.max(1).min(likely.saturating_mul(8)),
        None => likely,
    };
    let mut decoder = zstd::zstd_safe::DCtx::create();
    loop {
        let mut out = Vec::with_capacity(room.min(output_max));
        match decoder.decompress(&mut out, input) {
            Ok(_) => return Ok(out),
            Err(code) if !is_output_too_small(code) => return Err(CompressionFault::Corrupt),
            Err(_) if room >= output_max => return Err(CompressionFault::TooLarge),
            Err(_) => room = room.saturating_mul(4),
        }
    }
}

/// The library's codes are numbers counted down from the top of `usize`.
fn is_output_too_small(code: usize) -> bool {
    code.wrapping_neg() == ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize
}

fn zstd_level(level: Option<i32>) -> i32 {
    let range = zstd::compression_level_range();
    level.map_or(zstd::DEFAULT_COMPRESSION_LEVEL, |level| {
        level.clamp(*range.start(), *range.end())
    })
}

#[cfg(test)]
#[path = "compression_tests.rs"]
mod tests;
