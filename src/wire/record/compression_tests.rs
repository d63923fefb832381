//! Claims about the codecs: what goes in comes out, and hostile input stays small.

use super::*;
use crate::wire::record::samples::{CODECS, Noise};

const PACKED: [Codec; 4] = [Codec::GZIP, Codec::SNAPPY, Codec::LZ4, Codec::ZSTD];
const PLENTY: usize = 16 << 20;

fn text(len: usize) -> Vec<u8> {
    let mut noise = Noise(7);
    (0..len).map(|_| b"abcd \n"[noise.below(6)]).collect()
}

#[test]
fn every_codec_gives_back_what_it_was_given() {
    for codec in CODECS {
        for len in [1, 2, 100, 32 * 1024, 65_536, 65_537, 300_000] {
            let input = text(len);
            let packed = compress(codec, &input, None).unwrap();
            assert_eq!(
                decompress(codec, &packed, len).as_ref(),
                Ok(&input),
                "{codec:?} {len}"
            );
            assert_eq!(
                decompress(codec, &packed, PLENTY),
                Ok(input),
                "{codec:?} {len}"
            );
        }
    }
}

#[test]
fn levels_out_of_range_are_brought_into_it() {
    let input = text(5000);
    for codec in CODECS {
        for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
            let packed = compress(codec, &input, Some(level)).unwrap();
            assert_eq!(decompress(codec, &packed, PLENTY).as_ref(), Ok(&input));
        }
    }
}

#[test]
fn one_byte_over_the_bound_is_too_large() {
    for codec in CODECS {
        for len in [2, 5000, 200_000] {
            let packed = compress(codec, &text(len), None).unwrap();
            let refused = decompress(codec, &packed, len - 1);
            assert_eq!(refused, Err(CompressionFault::TooLarge), "{codec:?} {len}");
        }
    }
}

#[test]
fn a_bomb_is_never_unpacked_past_the_bound() {
    let bomb = vec![0u8; 8 << 20];
    for codec in PACKED {
        let packed = compress(codec, &bomb, None).unwrap();
        let refused = decompress(codec, &packed, 64 * 1024);
        assert_eq!(refused, Err(CompressionFault::TooLarge), "{codec:?}");
        let whole = decompress(codec, &packed, bomb.len()).unwrap();
        assert!(whole.capacity() <= bomb.len() + 1, "{codec:?}");
    }
}

#[test]
fn what_is_cut_short_is_corrupt() {
    let input = text(70_000);
    for codec in PACKED {
        let packed = compress(codec, &input, None).unwrap();
        for cut in [0, 1, 3, 8, 17, packed.len() / 2, packed.len() - 1] {
            let read = decompress(codec, &packed[..cut], PLENTY);
            // An empty xerial stream and one cut between blocks look whole.
            let whole = codec == Codec::SNAPPY && cut == XERIAL_HEADER_BYTES;
            assert!(
                whole || read == Err(CompressionFault::Corrupt),
                "{codec:?} {cut}"
            );
        }
    }
}

#[test]
fn unknown_codecs_are_unsupported() {
    for number in [5, 6, 7] {
        let codec = Codec(number);
        let unsupported = Err(CompressionFault::Unsupported(codec));
        assert_eq!(decompress(codec, b"x", 10), unsupported);
        assert_eq!(compress(codec, b"x", None), unsupported);
    }
}

#[test]
fn snappy_is_read_raw_framed_and_joined() {
    let input = text(40_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompress(Codec::SNAPPY, &raw, PLENTY).as_ref(), Ok(&input));
    let framed = compress(Codec::SNAPPY, &input, None).unwrap();
    assert!(framed.starts_with(&XERIAL_MAGIC));
    let twice = [framed.clone(), framed.clone()].concat();
    let both = [input.clone(), input].concat();
    assert_eq!(decompress(Codec::SNAPPY, &twice, PLENTY), Ok(both));
    let mut future = framed;
    future[11] = 0;
    let refused = decompress(Codec::SNAPPY, &future, PLENTY);
    assert_eq!(refused, Err(CompressionFault::Corrupt));
}

#[test]
fn a_snappy_block_that_promises_the_moon_is_corrupt() {
    // Claims 2^31 bytes in six.
    let block = [0x80, 0x80, 0x80, 0x80, 0x08, 0];
    let refused = decompress(Codec::SNAPPY, &block, usize::MAX);
    assert_eq!(refused, Err(CompressionFault::Corrupt));
}

#[test]
fn gzip_members_are_one_stream_and_garbage_after_them_is_ignored() {
    let packed = compress(Codec::GZIP, b"ab", None).unwrap();
    let twice = [packed.clone(), packed.clone()].concat();
    assert_eq!(decompress(Codec::GZIP, &twice, 10), Ok(b"abab".to_vec()));
    let dirty = [packed.clone(), b"rest".to_vec()].concat();
    assert_eq!(decompress(Codec::GZIP, &dirty, 10), Ok(b"ab".to_vec()));
    let endless = packed.repeat(GZIP_MEMBERS_MAX + 1);
    let refused = decompress(Codec::GZIP, &endless, PLENTY);
    assert_eq!(refused, Err(CompressionFault::Corrupt));
}

#[test]
fn lz4_frames_of_every_block_size_and_checksum_are_read() {
    let input = text(600_000);
    for size in [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ] {
        for checks in 0..4 {
            let info = FrameInfo::new()
                .block_size(size)
                .block_checksums(checks & 1 != 0)
                .content_checksum(checks & 2 != 0)
                .content_size((checks == 3).then_some(600_000));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&input).unwrap();
            let mut packed = encoder.finish().unwrap();
            assert_eq!(decompress(Codec::LZ4, &packed, PLENTY).as_ref(), Ok(&input));
            let middle = packed.len() / 2;
            packed[middle] ^= 0x55;
            if checks != 0 {
                let refused = decompress(Codec::LZ4, &packed, PLENTY);
                assert_eq!(refused, Err(CompressionFault::Corrupt));
            }
        }
    }
}

#[test]
fn lz4_blocks_that_lean_on_each_other_are_refused_as_java_refuses_them() {
    let info = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&text(200_000)).unwrap();
    let packed = encoder.finish().unwrap();
    let refused = decompress(Codec::LZ4, &packed, PLENTY);
    assert_eq!(refused, Err(CompressionFault::Corrupt));
}

#[test]
fn zstd_needs_no_claim_of_its_size_and_believes_none() {
    let input = text(500_000);
    let mut encoder = zstd::Encoder::new(Vec::new(), 22).unwrap();
    encoder.write_all(&input).unwrap();
    let unsized_frame = encoder.finish().unwrap();
    let claimed = zstd::zstd_safe::get_frame_content_size(&unsized_frame);
    assert!(matches!(claimed, Ok(None)));
    assert_eq!(
        decompress(Codec::ZSTD, &unsized_frame, PLENTY).as_ref(),
        Ok(&input)
    );
    // Single segment, content size of 2^40 bytes, then nothing.
    let liar = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(
        decompress(Codec::ZSTD, &liar, PLENTY),
        Err(CompressionFault::TooLarge)
    );
    assert_eq!(
        decompress(Codec::ZSTD, &liar, usize::MAX),
        Err(CompressionFault::Corrupt)
    );
}
