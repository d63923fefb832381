//! A record batch of Kafka's message format v2: its header of 61 bytes, and the records behind it.
//!
//! Written from Kafka's description of the format, not from the broker's code. Never trusts a
//! length before the bytes that it counts are there.
//!
//! ```text
//!  0 base offset i64       8 batch length i32 (from 12 on)   12 leader epoch i32   16 magic i8 = 2
//! 17 crc u32 (CRC-32C from 21 on)   21 attributes i16        23 last offset delta i32
//! 27 base timestamp i64   35 max timestamp i64   43 producer id i64   51 producer epoch i16
//! 53 base sequence i32    57 records i32         61 records
//! ```

use std::fmt;

use super::bytes::Cut;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 61;
/// Bytes in front of what the batch length counts.
const BEFORE_LENGTH_END: u64 = 12;
/// The batch length of a header alone.
const LENGTH_MIN: i32 = 49;
/// The checksum covers everything from here on.
pub const CRC_FROM: usize = 21;
const MAGIC: i8 = 2;

/// A header as it stands there; nothing in it is proven before the checksum is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    pub base_offset: i64,
    pub length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoHeader {
    /// Not format v2; 0 and 1 are Kafka's formats of before 2017.
    Magic(i8),
    Length(i32),
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoHeader::Magic(found @ (0 | 1)) => {
                write!(f, "message format v{found}, which is not read here")
            }
            NoHeader::Magic(found) => write!(f, "no batch: magic {found}"),
            NoHeader::Length(found) => write!(f, "no batch: batch length {found}"),
        }
    }
}

impl Batch {
    /// Reads a header.
    ///
    /// # Errors
    /// When format or length cannot be those of a batch.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Batch, NoHeader> {
        let (batch, magic) = Batch::fields(bytes).ok_or(NoHeader::Length(-1))?;
        if magic != MAGIC {
            return Err(NoHeader::Magic(magic));
        }
        if batch.length < LENGTH_MIN {
            return Err(NoHeader::Length(batch.length));
        }
        Ok(batch)
    }

    fn fields(bytes: &[u8]) -> Option<(Batch, i8)> {
        let mut cut = Cut(bytes);
        let base_offset = cut.i64()?;
        let length = cut.i32()?;
        let leader_epoch = cut.i32()?;
        let magic = cut.i8()?;
        let batch = Batch {
            base_offset,
            length,
            leader_epoch,
            crc: cut.u32()?,
            attributes: cut.i16()?,
            last_offset_delta: cut.i32()?,
            base_timestamp: cut.i64()?,
            max_timestamp: cut.i64()?,
            producer_id: cut.i64()?,
            producer_epoch: cut.i16()?,
            base_sequence: cut.i32()?,
            count: cut.i32()?,
        };
        Some((batch, magic))
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> u64 {
        u64::try_from(self.length)
            .unwrap_or(0)
            .saturating_add(BEFORE_LENGTH_END)
    }

    /// `None` when it ends before it begins, or past the end of the number line.
    pub fn last_offset(&self) -> Option<i64> {
        let last = self
            .base_offset
            .checked_add(i64::from(self.last_offset_delta))?;
        (self.base_offset >= 0 && last >= self.base_offset && last < i64::MAX).then_some(last)
    }

    /// Sequence of the last record; sequences wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        let sum = i64::from(self.base_sequence).saturating_add(i64::from(self.last_offset_delta));
        let wrapped = sum.rem_euclid(1 << 31);
        i32::try_from(wrapped).unwrap_or(0)
    }

    pub fn codec(&self) -> u8 {
        self.attributes.to_be_bytes()[1] & 7
    }

    pub fn codec_name(&self) -> &'static str {
        match self.codec() {
            0 => "none",
            1 => "gzip",
            2 => "snappy",
            3 => "lz4",
            4 => "zstd",
            _ => "unknown",
        }
    }

    /// The log wrote the time, not the client.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}

/// One record, borrowed from the records of its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record, walked through when they were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers<'a> {
    pub count: usize,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let mut cut = Cut(self.bytes);
        let key = text(&mut cut)??;
        let value = text(&mut cut)?;
        self.bytes = cut.0;
        Some((key, value))
    }
}

/// Walk over the records of a batch, decompressed; ends behind the first that is none.
pub struct Records<'a> {
    batch: Batch,
    left: i32,
    cut: Cut<'a>,
}

impl<'a> Records<'a> {
    pub fn new(batch: Batch, records: &'a [u8]) -> Records<'a> {
        Records {
            batch,
            left: batch.count,
            cut: Cut(records),
        }
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let len = usize::try_from(self.cut.varint()?).ok()?;
        let mut cut = Cut(self.cut.slice(len)?);
        cut.i8()?;
        let timestamp = match self.batch.is_log_append_time() {
            true => cut.varint().map(|_| self.batch.max_timestamp)?,
            false => self.batch.base_timestamp.checked_add(cut.varint()?)?,
        };
        let offset = self.batch.base_offset.checked_add(cut.varint()?)?;
        let key = text(&mut cut)?;
        let value = text(&mut cut)?;
        let count = usize::try_from(cut.varint()?).ok()?;
        let headers = Headers {
            count,
            bytes: cut.0,
        };
        for _ in 0..count {
            text(&mut cut)??;
            text(&mut cut)?;
        }
        cut.0.is_empty().then_some(Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    }
}

/// A length, -1 for none, and so many bytes.
fn text<'a>(cut: &mut Cut<'a>) -> Option<Option<&'a [u8]>> {
    match cut.varint()? {
        -1 => Some(None),
        len => cut.slice(usize::try_from(len).ok()?).map(Some),
    }
}

/// Bytes that are no record, at record `n` of the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRecord(pub i32);

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, NoRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            // More bytes than records: said once.
            let rest = std::mem::take(&mut self.cut.0);
            return (!rest.is_empty()).then_some(Err(NoRecord(self.batch.count)));
        }
        let at = self.batch.count.saturating_sub(self.left);
        self.left = self.left.saturating_sub(1);
        let record = self.record();
        if record.is_none() {
            self.left = 0;
            self.cut.0 = &[];
        }
        Some(record.ok_or(NoRecord(at)))
    }
}
