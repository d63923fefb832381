//! How a record looks: as a line of text, as its bare value, as a JSON object.
//!
//! Owns the looks only. Text is bytes as they are, except on a terminal: there control characters
//! are written out, since whoever wrote the record may not be a friend of whoever reads it.

use serde::Serialize;

use super::failure::Failure;
use super::output::{Out, clean};
use super::typed::{Column, FormatWord};
use crate::client::FetchedRecord;
use crate::wire::record::TimestampType;
use crate::words::TimestampMs;

/// See the head of the file.
pub struct Formatter<'a> {
    format: FormatWord,
    topic: &'a str,
    columns: &'a [Column],
    terminal: bool,
    line: Vec<u8>,
}

impl<'a> Formatter<'a> {
    pub fn new(
        format: FormatWord,
        topic: &'a str,
        columns: &'a [Column],
        terminal: bool,
    ) -> Formatter<'a> {
        Formatter {
            format,
            topic,
            columns,
            terminal,
            line: Vec::new(),
        }
    }

    pub fn print(&mut self, record: &FetchedRecord<'_>, out: &mut Out) -> Result<(), Failure> {
        match self.format {
            FormatWord::Raw => out.bytes(record.value.unwrap_or_default()),
            FormatWord::Json => out.json_line(&RecordLine::of(self.topic, record)),
            FormatWord::Text => {
                self.text(record);
                out.bytes(&self.line)
            }
        }
    }

    fn text(&mut self, record: &FetchedRecord<'_>) {
        self.line.clear();
        for column in self.columns {
            match column {
                Column::Key => self.bytes(record.key),
                Column::Partition => self.bytes(Some(record.partition.to_string().as_bytes())),
                Column::Offset => self.bytes(Some(record.offset.to_string().as_bytes())),
                Column::Timestamp => self.bytes(Some(time(record.timestamp).as_bytes())),
                Column::Headers => self.headers(record),
            }
            self.line.push(b'\t');
        }
        self.bytes(record.value);
        self.line.push(b'\n');
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.line.extend_from_slice(b"null"),
            Some(bytes) if self.terminal => {
                let text = String::from_utf8_lossy(bytes);
                self.line.extend_from_slice(clean(&text).as_bytes());
            }
            Some(bytes) => self.line.extend_from_slice(bytes),
        }
    }

    fn headers(&mut self, record: &FetchedRecord<'_>) {
        for (place, header) in record.headers.clone().enumerate() {
            if place > 0 {
                self.line.push(b',');
            }
            self.bytes(Some(header.key));
            self.line.push(b'=');
            self.bytes(header.value);
        }
    }
}

/// RFC 3339 in UTC; the number itself where no date is that far, `-` for none.
fn time(timestamp: TimestampMs) -> String {
    if timestamp == TimestampMs(-1) {
        return "-".to_owned();
    }
    match jiff::Timestamp::from_millisecond(timestamp.0) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => timestamp.to_string(),
    }
}

/// A record for programs. Field names are stable. Bytes that are no UTF-8 are null under their
/// name, and there in base64 under the name with `_base64`, a field that is else left out.
#[derive(Serialize)]
struct RecordLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// Milliseconds since the Unix epoch, -1 for none.
    timestamp: i64,
    timestamp_type: &'static str,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<HeaderLine<'a>>,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    key: String,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> RecordLine<'a> {
    fn of(topic: &'a str, record: &FetchedRecord<'a>) -> RecordLine<'a> {
        let (key, key_base64) = text_or_base64(record.key);
        let (value, value_base64) = text_or_base64(record.value);
        let headers = record.headers.clone().map(|header| {
            let (value, value_base64) = text_or_base64(header.value);
            HeaderLine {
                key: String::from_utf8_lossy(header.key).into_owned(),
                value,
                value_base64,
            }
        });
        RecordLine {
            topic,
            partition: record.partition.0,
            offset: record.offset.0,
            timestamp: record.timestamp.0,
            timestamp_type: match record.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            },
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        }
    }
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<&str>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text), None),
        Some((Err(_), bytes)) => (None, Some(base64(bytes))),
    }
}

/// RFC 4648 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let mut bits = 0u32;
        for place in 0..3 {
            bits = (bits << 8) | chunk.get(place).copied().map_or(0, u32::from);
        }
        for (place, shift) in [18u32, 12, 6, 0].into_iter().enumerate() {
            // n bytes fill n + 1 digits.
            let digit = usize::try_from((bits >> shift) & 0x3f).ok();
            let digit = digit.and_then(|digit| ALPHABET.get(digit)).copied();
            let padded = place > chunk.len();
            text.push(if padded {
                '='
            } else {
                char::from(digit.unwrap_or(b'='))
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{BatchBuilder, Codec, NewRecord, RecordHeader, RecordIter};
    use crate::words::{LeaderEpoch, Offset, PartitionIndex};

    /// The one record of a batch, at partition 1 and offset 2.
    fn with_record(new: &NewRecord<'_>, see: impl FnOnce(&FetchedRecord<'_>)) {
        let mut batch = BatchBuilder::new(Codec::NONE);
        batch.push(new).unwrap();
        let bytes = batch.build().unwrap();
        let record = RecordIter::new(&bytes[61..], 1).next().unwrap().unwrap();
        see(&FetchedRecord {
            partition: PartitionIndex(1),
            offset: Offset(2),
            timestamp: new.timestamp,
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: LeaderEpoch(0),
            key: record.key,
            value: record.value,
            headers: record.headers(),
        });
    }

    fn text(new: &NewRecord<'_>, columns: &[Column], terminal: bool) -> Vec<u8> {
        let mut formatter = Formatter::new(FormatWord::Text, "t", columns, terminal);
        with_record(new, |record| formatter.text(record));
        formatter.line
    }

    fn sample<'a>(headers: &'a [RecordHeader<'a>]) -> NewRecord<'a> {
        NewRecord {
            timestamp: TimestampMs(1_700_000_000_123),
            key: None,
            value: Some(b"v\x1b\xff"),
            headers,
        }
    }

    #[test]
    fn columns_stand_before_the_value_in_the_order_named() {
        let headers = [
            RecordHeader {
                key: b"h",
                value: Some(b"1"),
            },
            RecordHeader {
                key: b"h",
                value: None,
            },
        ];
        let columns = [
            Column::Headers,
            Column::Partition,
            Column::Offset,
            Column::Key,
            Column::Timestamp,
        ];
        let line = text(&sample(&headers), &columns, false);
        let expected = b"h=1,h=null\t1\t2\tnull\t2023-11-14T22:13:20.123Z\tv\x1b\xff\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn control_characters_reach_a_pipe_but_no_terminal() {
        assert_eq!(text(&sample(&[]), &[], false), b"v\x1b\xff\n");
        let shown = String::from_utf8(text(&sample(&[]), &[], true)).unwrap();
        assert_eq!(shown, "v\\u{1b}\u{fffd}\n");
    }

    #[test]
    fn a_time_that_is_no_date_is_a_number() {
        assert_eq!(time(TimestampMs(-1)), "-");
        assert_eq!(time(TimestampMs(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(TimestampMs(i64::MAX)), i64::MAX.to_string());
    }

    #[test]
    fn json_tells_null_text_and_bytes_apart() {
        with_record(&sample(&[]), |record| {
            let line = serde_json::to_string(&RecordLine::of("t", record)).unwrap();
            assert_eq!(
                line,
                r#"{"topic":"t","partition":1,"offset":2,"timestamp":1700000000123,"timestamp_type":"CreateTime","key":null,"value":null,"value_base64":"dhv/","headers":[]}"#
            );
        });
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
