//! Zigzag variable-length integers, as records use them (Kafka `ByteUtils`; Protocol Buffers' sint).
//!
//! Stricter than Kafka in one point: bits beyond the value's width are a fault, not dropped.

/// Why bytes are no varint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VarintFault {
    /// The bytes end inside the number.
    Short,
    /// More bytes, or more bits, than the number can have.
    TooLong,
}

/// Takes an `i32` off the front of `rest`.
pub(super) fn read_i32(rest: &mut &[u8]) -> Result<i32, VarintFault> {
    let raw = read_bits(rest, 5, 0x0f)?;
    // At most 4 * 7 + 4 = 32 bits were let through.
    let raw = u32::try_from(raw).map_err(|_| VarintFault::TooLong)?;
    Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// Takes an `i64` off the front of `rest`.
pub(super) fn read_i64(rest: &mut &[u8]) -> Result<i64, VarintFault> {
    let raw = read_bits(rest, 10, 0x01)?;
    Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
}

/// `last_byte_max` bounds the byte at place `bytes_max`, so that no bit is lost.
#[inline]
fn read_bits(rest: &mut &[u8], bytes_max: u32, last_byte_max: u8) -> Result<u64, VarintFault> {
    let last_place = bytes_max.saturating_sub(1);
    let mut value = 0u64;
    for place in 0..bytes_max {
        let (&byte, tail) = rest.split_first().ok_or(VarintFault::Short)?;
        *rest = tail;
        if place == last_place && byte > last_byte_max {
            return Err(VarintFault::TooLong);
        }
        value |= u64::from(byte & 0x7f) << place.saturating_mul(7);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(VarintFault::TooLong)
}

pub(super) fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_i64(out, i64::from(value));
}

pub(super) fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    let [last, ..] = raw.to_le_bytes();
    out.push(last);
}

/// Bytes that [`write_i64`] takes for `value`: 1 to 10.
pub(super) fn len_i64(value: i64) -> usize {
    let bits = u64::BITS.saturating_sub((zigzag(value) | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

fn zigzag(value: i64) -> u64 {
    (value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_number_survives() {
        let mut values = vec![0i64, i64::MIN, i64::MAX];
        for shift in 0..63 {
            let power = 1i64 << shift;
            values.extend([power, power - 1, -power, 1 - power, -power - 1]);
        }
        for value in values {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            assert_eq!(out.len(), len_i64(value), "{value}");
            let mut rest = out.as_slice();
            assert_eq!(read_i64(&mut rest), Ok(value));
            assert!(rest.is_empty());
            if let Ok(small) = i32::try_from(value) {
                let mut rest = out.as_slice();
                assert_eq!(read_i32(&mut rest), Ok(small));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_protocol_buffers() {
        for (value, bytes) in [
            (0, vec![0]),
            (-1, vec![1]),
            (1, vec![2]),
            (63, vec![0x7e]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i32::MIN, vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn too_many_bytes_or_bits_are_refused() {
        let long = [0x80u8; 12];
        assert_eq!(read_i32(&mut long.as_slice()), Err(VarintFault::TooLong));
        assert_eq!(read_i64(&mut long.as_slice()), Err(VarintFault::TooLong));
        let bits = [0xff, 0xff, 0xff, 0xff, 0x10];
        assert_eq!(read_i32(&mut bits.as_slice()), Err(VarintFault::TooLong));
        let short = [0x80, 0x80];
        assert_eq!(read_i32(&mut short.as_slice()), Err(VarintFault::Short));
    }
}
