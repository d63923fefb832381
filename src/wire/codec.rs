//! Reading and writing the primitives of Kafka's wire.
//!
//! Owns a cursor over one frame and a buffer for one message, nothing else. Never panics on what a
//! peer sent, never reads past a frame, never allocates by a length that the frame cannot hold.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes are no message. The connection they came by is closed: where the next frame's fields
/// would begin is still known, but a peer that errs once here is not speaking this protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeFault {
    /// The frame ends before the message does, or a length points past its end.
    Short,
    /// Null where the version does not allow it.
    Null,
    /// A string longer than Kafka's 32767 bytes.
    StringTooLong,
    /// A variable-length integer of more than five bytes.
    Varint,
    /// A tagged field that is known, but not at this version.
    TagVersion(u32),
    /// A tagged field whose value is not as long as its size says.
    TagSize(u32),
    /// No API has this key.
    Key(i16),
    /// The API has no such version here.
    Version(i16),
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeFault::Short => f.write_str("the message is longer than its frame"),
            DecodeFault::Null => f.write_str("null where the version does not allow it"),
            DecodeFault::StringTooLong => f.write_str("a string longer than 32767 bytes"),
            DecodeFault::Varint => f.write_str("a variable-length integer that does not end"),
            DecodeFault::TagVersion(tag) => write!(f, "tag {tag} is not of this version"),
            DecodeFault::TagSize(tag) => write!(f, "tag {tag} belies its size"),
            DecodeFault::Key(key) => write!(f, "there is no API of key {key}"),
            DecodeFault::Version(version) => write!(f, "version {version} is not supported"),
        }
    }
}

impl std::error::Error for DecodeFault {}

/// A cursor over one frame. Slices it hands out share the frame's memory.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    /// At most the length of `frame`.
    end: usize,
}

impl<'a> Reader<'a> {
    pub fn new(frame: &'a Bytes) -> Reader<'a> {
        Reader {
            frame,
            at: 0,
            end: frame.len(),
        }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// The next `len` bytes, without a reference to the frame.
    #[inline]
    pub fn borrow(&mut self, len: usize) -> Result<&'a [u8], DecodeFault> {
        let until = self.at.checked_add(len).ok_or(DecodeFault::Short)?;
        if until > self.end {
            return Err(DecodeFault::Short);
        }
        let bytes = self.frame.get(self.at..until).ok_or(DecodeFault::Short)?;
        self.at = until;
        Ok(bytes)
    }

    /// The next `len` bytes, sharing the frame.
    #[inline]
    pub fn share(&mut self, len: usize) -> Result<Bytes, DecodeFault> {
        let from = self.at;
        self.borrow(len)?;
        // `borrow` has shown that the range is inside the frame.
        Ok(self.frame.slice(from..self.at))
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeFault> {
        self.borrow(N)?.try_into().map_err(|_| DecodeFault::Short)
    }

    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeFault> {
        self.array().map(i8::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeFault> {
        self.array().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeFault> {
        self.array().map(i32::from_be_bytes)
    }

    /// An unsigned varint, as Kafka's `ByteUtils.readUnsignedVarint`: at most five bytes, bits
    /// above the 32nd are dropped.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeFault> {
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeFault::Varint)
    }

    /// Length of a string; `None` is null. Any negative length is null, as Kafka has it.
    #[inline]
    pub fn string_len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeFault> {
        if !flexible {
            return Ok(usize::try_from(self.i16()?).ok());
        }
        match self.compact_len()? {
            Some(len) if len > STRING_BYTES_MAX => Err(DecodeFault::StringTooLong),
            len => Ok(len),
        }
    }

    /// Length of bytes or count of an array; `None` is null. Not yet compared with what is left.
    #[inline]
    pub fn long_len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeFault> {
        if flexible {
            self.compact_len()
        } else {
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    /// One less than a varint; Kafka computes in 32 bits with sign, so the upper half is null too.
    #[inline]
    fn compact_len(&mut self) -> Result<Option<usize>, DecodeFault> {
        let plus_one = self.uvarint()?.cast_signed();
        Ok(usize::try_from(plus_one.wrapping_sub(1)).ok())
    }

    /// Count of an array whose elements take at least `element_bytes_min` each: a count that what
    /// is left cannot hold ends here, before anything is allocated for it.
    #[inline]
    pub fn count(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, DecodeFault> {
        let Some(count) = self.long_len(flexible)? else {
            return Ok(None);
        };
        let least = count.checked_mul(element_bytes_min.max(1));
        match least {
            Some(least) if least <= self.remaining() => Ok(Some(count)),
            _ => Err(DecodeFault::Short),
        }
    }

    /// The next tagged field: its number and a reader of its value alone, which this reader has
    /// then passed.
    pub fn tag(&mut self) -> Result<(u32, Reader<'a>), DecodeFault> {
        let tag = self.uvarint()?;
        let len = usize::try_from(self.uvarint()?).map_err(|_| DecodeFault::Short)?;
        let from = self.at;
        self.borrow(len)?;
        let value = Reader {
            frame: self.frame,
            at: from,
            end: self.at,
        };
        Ok((tag, value))
    }

    /// Passes a section of tagged fields of which none is known.
    pub fn skip_tags(&mut self) -> Result<(), DecodeFault> {
        // Each field takes two bytes at least, so the loop ends with the frame at the latest.
        for _ in 0..self.uvarint()? {
            self.tag()?;
        }
        Ok(())
    }
}

/// Longest string of the protocol, in bytes.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A message on its way out: bytes written here, with foreign bytes spliced in by reference.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    /// Foreign bytes, and how much of `buffer` comes before them.
    spliced: Vec<(usize, Bytes)>,
    spliced_len: usize,
}

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn with_capacity(bytes: usize) -> Writer {
        Writer {
            buffer: BytesMut::with_capacity(bytes),
            ..Writer::default()
        }
    }

    /// Bytes written so far, spliced ones included.
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_add(self.spliced_len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Adds bytes by reference.
    pub fn splice(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.spliced_len = self.spliced_len.saturating_add(bytes.len());
            self.spliced.push((self.buffer.len(), bytes));
        }
    }

    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(low_seven_bits(value) | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(low_seven_bits(value));
    }

    /// A string, or null.
    pub fn string(&mut self, text: Option<&str>, flexible: bool) {
        let text = text.map(|text| text.get(..floor(text)).unwrap_or_default());
        match (text, flexible) {
            (None, false) => self.i16(-1),
            (None, true) => self.uvarint(0),
            (Some(text), false) => {
                self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
                self.put(text.as_bytes());
            }
            (Some(text), true) => {
                self.long_len(Some(text.len()), true);
                self.put(text.as_bytes());
            }
        }
    }

    /// Length of bytes or count of an array; `None` is null. More than `i32::MAX` is our mistake.
    #[inline]
    pub fn long_len(&mut self, len: Option<usize>, flexible: bool) {
        let len = len.map_or(-1, |len| {
            i32::try_from(len).expect("no message of ours has 2^31 elements")
        });
        if flexible {
            self.uvarint(len.wrapping_add(1).cast_unsigned());
        } else {
            self.i32(len);
        }
    }

    /// A tagged field: number, size, value.
    pub fn tag(&mut self, tag: u32, value: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::new();
        value(&mut inner);
        let bytes = inner.into_bytes();
        self.uvarint(tag);
        self.uvarint(u32::try_from(bytes.len()).expect("no tagged value of ours has 2^32 bytes"));
        self.put(&bytes);
    }

    /// Overwrites four bytes written earlier. Nothing happens if there are none.
    pub(super) fn patch_i32(&mut self, at: usize, value: i32) {
        let range = at..at.saturating_add(4);
        if let Some(place) = self.buffer.get_mut(range) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Everything in order, without copying: own bytes and spliced ones alternate.
    pub fn into_parts(self) -> Vec<Bytes> {
        let own = self.buffer.freeze();
        let mut parts = Vec::with_capacity(self.spliced.len().saturating_mul(2).saturating_add(1));
        let mut from = 0;
        for (until, foreign) in self.spliced {
            if until > from {
                parts.push(own.slice(from..until));
            }
            from = until;
            parts.push(foreign);
        }
        if from < own.len() {
            parts.push(own.slice(from..));
        }
        parts
    }

    /// Everything as one piece; copies only if something was spliced in.
    pub fn into_bytes(self) -> Bytes {
        if self.spliced.is_empty() {
            return self.buffer.freeze();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for part in self.into_parts() {
            whole.put_slice(&part);
        }
        whole.freeze()
    }
}

fn low_seven_bits(value: u32) -> u8 {
    let [.., low] = value.to_be_bytes();
    low & 0x7f
}

/// How many bytes of a text fit a string of the protocol. Texts of ours that are longer (error
/// messages that quote a peer) are cut between two characters.
fn floor(text: &str) -> usize {
    text.floor_char_boundary(STRING_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_and_take_as_many_bytes_as_kafkas() {
        for (value, len) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16383, 2),
            (16384, 3),
            (1 << 21, 4),
            (1 << 28, 5),
            (u32::MAX, 5),
        ] {
            let mut writer = Writer::new();
            writer.uvarint(value);
            let bytes = writer.into_bytes();
            assert_eq!(bytes.len(), len);
            assert_eq!(Reader::new(&bytes).uvarint(), Ok(value));
        }
        let endless = Bytes::from_static(b"\x81\x80\x80\x80\x80\x00");
        assert_eq!(Reader::new(&endless).uvarint(), Err(DecodeFault::Varint));
    }

    #[test]
    fn any_negative_length_is_null() {
        for len in [-1i16, -2, i16::MIN] {
            let bytes = Bytes::copy_from_slice(&len.to_be_bytes());
            assert_eq!(Reader::new(&bytes).string_len(false), Ok(None));
        }
        for len in [-1i32, -2, i32::MIN] {
            let bytes = Bytes::copy_from_slice(&len.to_be_bytes());
            assert_eq!(Reader::new(&bytes).long_len(false), Ok(None));
        }
        // Kafka took this one for null, too.
        let bytes = Bytes::from_static(b"\xff\xff\xff\xff\x7f");
        assert_eq!(Reader::new(&bytes).long_len(true), Ok(None));
    }

    #[test]
    fn a_count_that_the_rest_cannot_hold_is_refused_before_anything_is_allocated() {
        let bytes = Bytes::from_static(&[0, 0, 0, 3, 0, 0, 0, 0, 0]);
        assert_eq!(Reader::new(&bytes).count(false, 1), Ok(Some(3)));
        let refused = Reader::new(&bytes).count(false, 2);
        assert_eq!(refused, Err(DecodeFault::Short));
        let refused = Reader::new(&bytes).count(false, usize::MAX);
        assert_eq!(refused, Err(DecodeFault::Short));
    }

    #[test]
    fn spliced_bytes_keep_their_place_and_their_memory() {
        let foreign = Bytes::from(vec![7u8; 100]);
        let mut writer = Writer::new();
        writer.i8(1);
        writer.splice(foreign.clone());
        writer.splice(foreign.clone());
        writer.i8(2);
        assert_eq!(writer.len(), 202);
        let parts = writer.into_parts();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[1].as_ptr(), foreign.as_ptr());
        assert_eq!(parts[3], [2][..]);
    }

    #[test]
    fn an_overlong_text_is_cut_between_characters() {
        let text = "ü".repeat(20000);
        for flexible in [false, true] {
            let mut writer = Writer::new();
            writer.string(Some(&text), flexible);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.string_len(flexible), Ok(Some(32766)));
        }
    }
}
