//! The records inside a batch, once decompressed: borrowed views, decoded one at a time.
//!
//! Owns the layout of a record (Kafka's `DefaultRecord`, format v2) and names every way in which
//! bytes can fail to be one. Never copies, never decompresses, never judges offsets, times or keys.
//!
//! ```text
//! size varint | attributes i8 | timestamp delta varlong | offset delta varint
//! | key size varint, key | value size varint, value | headers varint, { key size, key, value size, value }
//! ```
//! A negative size is "null"; only a header's key may not be null.

use std::fmt;

use super::varint::{self, VarintFault};

/// One record, borrowed from the batch's decompressed bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Unused by Kafka; whatever was sent is kept.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Records after the batch's base offset.
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers_count: u32,
    headers: &'a [u8],
    /// Bytes of the record as encoded, its size field included.
    pub size_bytes: usize,
}

/// A header of a record. Keys are UTF-8 by convention only, and may repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Why bytes are not the records that a batch's header promises. Kafka answers every one of them
/// with INVALID_RECORD(87) for the whole batch, without naming records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordFault {
    /// The batch's records count is negative.
    Count(i32),
    /// The bytes end before `missing` of the promised records.
    Missing(i32),
    /// Bytes are left after the last promised record.
    Trailing(usize),
    /// The bytes end inside a record's size, or before the record does.
    Short,
    /// A record's size is negative.
    Size(i32),
    /// A variable-length number has more bytes or bits than its type.
    Varint,
    /// A field goes past the end of its record.
    FieldPastEnd,
    /// Bytes are left in a record after its last header.
    LeftInRecord(usize),
    /// The number of headers is negative or larger than the bytes that could hold them.
    HeadersCount(i32),
    /// A header's key is null.
    NullHeaderKey,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFault::Count(count) => write!(f, "the batch counts {count} records"),
            RecordFault::Missing(missing) => write!(f, "{missing} records are missing"),
            RecordFault::Trailing(bytes) => write!(f, "{bytes} bytes follow the last record"),
            RecordFault::Short => f.write_str("a record is cut short"),
            RecordFault::Size(size) => write!(f, "a record has the size {size}"),
            RecordFault::Varint => f.write_str("a variable-length number is too long"),
            RecordFault::FieldPastEnd => f.write_str("a field ends outside its record"),
            RecordFault::LeftInRecord(bytes) => write!(f, "{bytes} bytes of a record are unused"),
            RecordFault::HeadersCount(count) => write!(f, "a record counts {count} headers"),
            RecordFault::NullHeaderKey => f.write_str("a header has no key"),
        }
    }
}

impl std::error::Error for RecordFault {}

impl<'a> Record<'a> {
    /// Takes one record off the front of `rest`. After a fault `rest` is of no use.
    pub fn parse(rest: &mut &'a [u8]) -> Result<Record<'a>, RecordFault> {
        let before = rest.len();
        let size = varint::read_i32(rest).map_err(|fault| match fault {
            VarintFault::Short => RecordFault::Short,
            VarintFault::TooLong => RecordFault::Varint,
        })?;
        let size = usize::try_from(size).map_err(|_| RecordFault::Size(size))?;
        let (mut body, tail) = rest.split_at_checked(size).ok_or(RecordFault::Short)?;
        *rest = tail;
        let record = Self::parse_body(&mut body)?;
        if !body.is_empty() {
            return Err(RecordFault::LeftInRecord(body.len()));
        }
        Ok(Record {
            size_bytes: before.saturating_sub(tail.len()),
            ..record
        })
    }

    fn parse_body(body: &mut &'a [u8]) -> Result<Record<'a>, RecordFault> {
        let (&attributes, tail) = body.split_first().ok_or(RecordFault::FieldPastEnd)?;
        *body = tail;
        let timestamp_delta = varint::read_i64(body).map_err(in_record)?;
        let offset_delta = varint::read_i32(body).map_err(in_record)?;
        let key = take_nullable(body)?;
        let value = take_nullable(body)?;
        let count = varint::read_i32(body).map_err(in_record)?;
        let headers_count = u32::try_from(count)
            .ok()
            .filter(|&count| usize::try_from(count).is_ok_and(|count| count <= body.len()))
            .ok_or(RecordFault::HeadersCount(count))?;
        let headers = *body;
        // Walked once here, so that whoever iterates later meets no fault.
        for _ in 0..headers_count {
            take_header(body)?;
        }
        let used = headers.len().saturating_sub(body.len());
        Ok(Record {
            attributes: attributes.cast_signed(),
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers_count,
            headers: headers.get(..used).unwrap_or_default(),
            size_bytes: 0,
        })
    }

    /// The record's headers in their order, repeated keys included.
    pub fn headers(&self) -> Headers<'a> {
        Headers {
            left: self.headers_count,
            rest: self.headers,
        }
    }

    pub fn headers_count(&self) -> u32 {
        self.headers_count
    }
}

/// Headers of one record, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest).ok()
    }
}

/// The records of a batch in order. Ends after the promised number, or at the first fault.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    left: i32,
    done: bool,
}

impl<'a> RecordIter<'a> {
    /// `records` is a batch's body, decompressed; `count` what its header promises.
    pub fn new(records: &'a [u8], count: i32) -> RecordIter<'a> {
        RecordIter {
            rest: records,
            left: count,
            done: false,
        }
    }

    fn step(&mut self) -> Option<Result<Record<'a>, RecordFault>> {
        if self.left < 0 {
            return Some(Err(RecordFault::Count(self.left)));
        }
        if self.left == 0 {
            let trailing = !self.rest.is_empty();
            return trailing.then_some(Err(RecordFault::Trailing(self.rest.len())));
        }
        if self.rest.is_empty() {
            return Some(Err(RecordFault::Missing(self.left)));
        }
        self.left = self.left.saturating_sub(1);
        Some(Record::parse(&mut self.rest))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

fn in_record(fault: VarintFault) -> RecordFault {
    match fault {
        VarintFault::Short => RecordFault::FieldPastEnd,
        VarintFault::TooLong => RecordFault::Varint,
    }
}

fn take_nullable<'a>(body: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let size = varint::read_i32(body).map_err(in_record)?;
    let Ok(size) = usize::try_from(size) else {
        return Ok(None);
    };
    let (taken, tail) = body
        .split_at_checked(size)
        .ok_or(RecordFault::FieldPastEnd)?;
    *body = tail;
    Ok(Some(taken))
}

fn take_header<'a>(body: &mut &'a [u8]) -> Result<RecordHeader<'a>, RecordFault> {
    let key = take_nullable(body)?.ok_or(RecordFault::NullHeaderKey)?;
    let value = take_nullable(body)?;
    Ok(RecordHeader { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes 0, deltas 0, key "k", null value, two headers of one key.
    const BODY: [u8; 15] = [
        0, 0, 0, 2, b'k', 1, 4, 2, b'h', 2, b'1', 2, b'h', 1, /* spare */ 0,
    ];

    fn record(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint::write_i32(&mut out, body.len() as i32);
        out.extend_from_slice(body);
        out
    }

    fn fault(body: &[u8]) -> RecordFault {
        Record::parse(&mut record(body).as_slice()).unwrap_err()
    }

    #[test]
    fn null_values_and_repeated_header_keys_are_kept() {
        let bytes = record(&BODY[..14]);
        let record = Record::parse(&mut bytes.as_slice()).unwrap();
        assert_eq!(record.key, Some(&b"k"[..]));
        assert_eq!(record.value, None);
        assert_eq!(record.size_bytes, 15);
        let headers: Vec<_> = record.headers().map(|h| (h.key, h.value)).collect();
        assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (&b"h"[..], None)]);
    }

    #[test]
    fn a_records_faults_have_their_names() {
        assert_eq!(fault(&BODY), RecordFault::LeftInRecord(1));
        assert_eq!(fault(&[]), RecordFault::FieldPastEnd);
        assert_eq!(fault(&BODY[..13]), RecordFault::FieldPastEnd);
        assert_eq!(fault(&[0, 0, 0, 1, 1, 1]), RecordFault::HeadersCount(-1));
        assert_eq!(
            fault(&[0, 0, 0, 1, 1, 6, 0, 1]),
            RecordFault::HeadersCount(3)
        );
        assert_eq!(fault(&[0, 0, 0, 1, 1, 2, 1, 1]), RecordFault::NullHeaderKey);
        assert_eq!(fault(&[0x80; 20]), RecordFault::Varint);
        assert_eq!(
            Record::parse(&mut [1u8].as_slice()),
            Err(RecordFault::Size(-1))
        );
        assert_eq!(
            Record::parse(&mut [8u8, 0].as_slice()),
            Err(RecordFault::Short)
        );
        assert_eq!(
            Record::parse(&mut [0x80].as_slice()),
            Err(RecordFault::Short)
        );
    }

    #[test]
    fn the_promised_number_of_records_must_fill_the_bytes() {
        let one = record(&BODY[..14]);
        let two = [one.clone(), one].concat();
        let all = |count| RecordIter::new(&two, count).collect::<Result<Vec<_>, _>>();
        assert_eq!(all(2).map(|records| records.len()), Ok(2));
        assert_eq!(all(1), Err(RecordFault::Trailing(15)));
        assert_eq!(all(3), Err(RecordFault::Missing(1)));
        assert_eq!(all(-1), Err(RecordFault::Count(-1)));
        assert_eq!(RecordIter::new(&[], 0).count(), 0);
    }

    #[test]
    fn nothing_follows_a_fault() {
        let mut records = RecordIter::new(&[1, 1, 1], 3);
        assert!(records.next().is_some_and(|record| record.is_err()));
        assert!(records.next().is_none());
    }
}
