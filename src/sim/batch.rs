//! A stored batch, read by the simulator's own eyes: nothing of `wire/record` is believed here.
//!
//! Pure. The layout is Kafka's message format v2.

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Offset and length in front of what the length counts.
const LENGTH_STARTS: usize = 12;
/// The checksum covers everything from here on.
const SUMMED_FROM: usize = 21;

/// What the header of a stored batch says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub base: i64,
    pub last: i64,
    pub bytes: usize,
    pub producer: i64,
    pub sequence: i32,
    pub count: i32,
    /// Tells one batch of a run from every other.
    pub body: BodyKey,
}

/// Checksum and length of the records.
pub type BodyKey = (u32, usize);

/// Reads the batch at the front of `bytes`.
pub fn see(bytes: &[u8]) -> Result<Seen, String> {
    let base = i64::from_be_bytes(field(bytes, 0)?);
    let length = i32::from_be_bytes(field(bytes, 8)?);
    let size = usize::try_from(length).map_err(|_| format!("length {length} at {base}"))?;
    let size = size.saturating_add(LENGTH_STARTS);
    let whole = bytes
        .get(..size)
        .filter(|whole| whole.len() >= HEADER_BYTES)
        .ok_or_else(|| format!("the batch at {base} is cut: {size} bytes, {}", bytes.len()))?;
    let [magic] = field(whole, 16)?;
    if magic != 2 {
        return Err(format!("magic {magic} at {base}"));
    }
    let sum = u32::from_be_bytes(field(whole, 17)?);
    if crc32c::crc32c(whole.get(SUMMED_FROM..).unwrap_or_default()) != sum {
        return Err(format!("the batch at {base} does not match its checksum"));
    }
    let delta = i32::from_be_bytes(field(whole, 23)?);
    Ok(Seen {
        base,
        last: base.saturating_add(i64::from(delta)),
        bytes: size,
        producer: i64::from_be_bytes(field(whole, 43)?),
        sequence: i32::from_be_bytes(field(whole, 53)?),
        count: i32::from_be_bytes(field(whole, 57)?),
        body: body_key(whole),
    })
}

/// Of a whole batch.
pub fn body_key(batch: &[u8]) -> BodyKey {
    let body = batch.get(HEADER_BYTES..).unwrap_or_default();
    (crc32c::crc32c(body), body.len())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let part = bytes.get(at..at.saturating_add(N));
    part.and_then(|part| part.try_into().ok())
        .ok_or_else(|| format!("{} bytes are no batch", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{BatchBuilder, Codec, NewRecord};
    use crate::words::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

    #[test]
    fn a_batch_is_seen_as_it_was_made_and_one_flipped_bit_is_seen_too() {
        let mut builder = BatchBuilder::new(Codec::NONE);
        builder = builder.producer(ProducerId(7), ProducerEpoch(0), Sequence(5));
        for _ in 0..3 {
            let record = NewRecord::of(TimestampMs(1), Some(b"k"), Some(b"v"));
            builder.push(&record).unwrap();
        }
        let bytes = builder.build().unwrap();
        let seen = see(&bytes).unwrap();
        assert_eq!((seen.base, seen.last, seen.count), (0, 2, 3));
        assert_eq!((seen.producer, seen.sequence), (7, 5));
        assert_eq!(seen.bytes, bytes.len());
        for at in SUMMED_FROM..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 4;
            assert!(see(&flipped).is_err(), "byte {at}");
        }
        assert!(see(&bytes[..bytes.len() - 1]).is_err());
    }
}
