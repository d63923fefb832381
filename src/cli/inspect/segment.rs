//! `ottla inspect segment`: one file, batch by batch, and its records when asked.

use std::path::Path;

use serde::Serialize;

use super::{because, time};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, clean};
use crate::inspect::batch::{Batch, HEADER_BYTES, Record, Records};
use crate::inspect::bytes::{DiskFile, Source};
use crate::inspect::segment::{End, Found, Step, Walk, Why};
use crate::inspect::unpack::unpack;
use crate::words::limits::DECOMPRESSED_BYTES_MAX;

/// Rows of one table: they are held until their widths are known.
const ROWS_MAX: usize = 5000;
/// Bytes of a key or value that are shown.
const PREVIEW_BYTES: usize = 64;

#[derive(Serialize)]
struct BatchLine {
    kind: &'static str,
    position: u64,
    bytes: u64,
    base_offset: i64,
    /// Null when offsets cannot be.
    last_offset: Option<i64>,
    records: i32,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    codec: &'static str,
    transactional: bool,
    control: bool,
    timestamp_type: &'static str,
    base_timestamp: i64,
    max_timestamp: i64,
    crc_ok: bool,
}

#[derive(Serialize)]
struct RecordLine {
    kind: &'static str,
    position: u64,
    offset: i64,
    timestamp: i64,
    key_bytes: Option<usize>,
    key: Option<String>,
    value_bytes: Option<usize>,
    value: Option<String>,
    headers: usize,
}

#[derive(Serialize)]
struct FaultLine {
    kind: &'static str,
    position: u64,
    what: String,
}

#[derive(Serialize)]
struct EndLine {
    kind: &'static str,
    position: u64,
    bytes: u64,
    batches: u64,
    what: String,
}

/// What one walk prints.
struct Print<'a> {
    out: &'a mut Out,
    source: &'a DiskFile,
    records: bool,
    rows: Vec<Vec<String>>,
    batches: u64,
    wrong: u64,
}

pub fn run(file: &Path, records: bool, out: &mut Out) -> Result<(), Failure> {
    let source = DiskFile::open(file).map_err(because(file))?;
    let mut walk = Walk::new(&source, true);
    let mut print = Print {
        out,
        source: &source,
        records,
        rows: Vec::new(),
        batches: 0,
        wrong: 0,
    };
    loop {
        let step = match walk.step() {
            Ok(step) => step,
            Err(error) => {
                print.flush()?;
                let at = walk.position();
                let file = file.display();
                let what = format!("{file} is unreadable at byte {at}: {error}");
                return Err(Failure::Local(what));
            }
        };
        match step {
            Step::Batch(found) => print.batch(&found)?,
            Step::End(end) => {
                print.end(&end)?;
                break;
            }
        }
    }
    match print.wrong {
        0 => Ok(()),
        wrong => Err(Failure::Local(format!(
            "{} has {wrong} faults",
            file.display()
        ))),
    }
}

impl Print<'_> {
    fn batch(&mut self, found: &Found) -> Result<(), Failure> {
        let line = batch_line(found);
        self.batches = self.batches.saturating_add(1);
        let bad = !line.crc_ok || line.last_offset.is_none();
        self.wrong = self.wrong.saturating_add(u64::from(bad));
        if self.out.is_json() {
            self.out.json_line(&line)?;
        } else if self.records {
            self.out.line(&sentence(&line))?;
        } else {
            self.rows.push(row(&line));
            if self.rows.len() >= ROWS_MAX {
                self.flush()?;
            }
        }
        if self.records && !bad {
            self.records(found)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let titles = [
            "BYTE", "OFFSETS", "RECORDS", "EPOCH", "PRODUCER", "SEQUENCE", "CODEC", "KIND",
            "BYTES", "FROM", "UNTIL", "CRC",
        ];
        self.out.table(&titles, &self.rows)?;
        self.rows.clear();
        Ok(())
    }

    /// The checksum holds: the batch is as long as it says.
    fn records(&mut self, found: &Found) -> Result<(), Failure> {
        let size = found.batch.size().saturating_sub(HEADER_BYTES as u64);
        let mut packed = vec![0; usize::try_from(size).unwrap_or(0)];
        let at = found.position.saturating_add(HEADER_BYTES as u64);
        let read = self.source.read_at(at, &mut packed);
        let read = read.map_err(|error| Failure::Local(format!("byte {at}: {error}")))?;
        packed.truncate(read);
        let unpacked = match unpack(found.batch.codec(), &packed, DECOMPRESSED_BYTES_MAX) {
            Ok(unpacked) => unpacked,
            Err(why) => return self.fault(found.position, why.to_string()),
        };
        for record in Records::new(found.batch, &unpacked) {
            match record {
                Ok(record) => self.record(found, &record)?,
                Err(fault) => {
                    let what = format!("record {} of the batch does not read", fault.0);
                    self.fault(found.position, what)?;
                }
            }
        }
        Ok(())
    }

    fn fault(&mut self, position: u64, what: String) -> Result<(), Failure> {
        self.wrong = self.wrong.saturating_add(1);
        if !self.out.is_json() {
            return self.out.line(&format!("  {what}"));
        }
        self.out.json_line(&FaultLine {
            kind: "fault",
            position,
            what,
        })
    }

    fn record(&mut self, found: &Found, record: &Record<'_>) -> Result<(), Failure> {
        let line = RecordLine {
            kind: "record",
            position: found.position,
            offset: record.offset,
            timestamp: record.timestamp,
            key_bytes: record.key.map(<[u8]>::len),
            key: record.key.map(preview),
            value_bytes: record.value.map(<[u8]>::len),
            value: record.value.map(preview),
            headers: record.headers.count,
        };
        if self.out.is_json() {
            return self.out.json_line(&line);
        }
        let mut text = format!(
            "  {}  {}  key {}  value {}",
            line.offset,
            time(line.timestamp),
            shown(line.key, line.key_bytes),
            shown(line.value, line.value_bytes),
        );
        for (key, value) in record.headers {
            let value = value.map_or("null".to_owned(), preview);
            text.push_str(&format!("  {}={value}", preview(key)));
        }
        self.out.line(&clean(&text))
    }

    fn end(&mut self, end: &End) -> Result<(), Failure> {
        self.flush()?;
        let bytes = self.source.size();
        let padding = |zeros: u64| zeros < crate::inspect::journal::BLOCK;
        let what = match end.why {
            Why::Clean => "ends behind a batch".to_owned(),
            Why::Zeros(zeros) if padding(zeros) => {
                format!("{zeros} zeros up to the end, as behind an active segment")
            }
            why => {
                self.wrong = self.wrong.saturating_add(1);
                why.to_string()
            }
        };
        let line = EndLine {
            kind: "end",
            position: end.position,
            bytes,
            batches: self.batches,
            what,
        };
        if self.out.is_json() {
            return self.out.json_line(&line);
        }
        self.out.line(&format!(
            "{} batches; byte {} of {bytes}: {}",
            line.batches, line.position, line.what
        ))
    }
}

fn batch_line(found: &Found) -> BatchLine {
    let batch: &Batch = &found.batch;
    BatchLine {
        kind: "batch",
        position: found.position,
        bytes: batch.size(),
        base_offset: batch.base_offset,
        last_offset: batch.last_offset(),
        records: batch.count,
        leader_epoch: batch.leader_epoch,
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        codec: batch.codec_name(),
        transactional: batch.is_transactional(),
        control: batch.is_control(),
        timestamp_type: match batch.is_log_append_time() {
            true => "LogAppendTime",
            false => "CreateTime",
        },
        base_timestamp: batch.base_timestamp,
        max_timestamp: batch.max_timestamp,
        crc_ok: found.intact,
    }
}

fn offsets(line: &BatchLine) -> String {
    match line.last_offset {
        Some(last) => format!("{}-{last}", line.base_offset),
        None => format!("{}-?", line.base_offset),
    }
}

fn kind(line: &BatchLine) -> &'static str {
    match (line.control, line.transactional) {
        (true, _) => "control",
        (false, true) => "transactional",
        (false, false) => "data",
    }
}

fn crc(line: &BatchLine) -> &'static str {
    if line.crc_ok { "ok" } else { "WRONG" }
}

fn producer(line: &BatchLine) -> (String, String) {
    match line.producer_id {
        -1 => ("-".to_owned(), "-".to_owned()),
        id => (
            format!("{id}/{}", line.producer_epoch),
            line.base_sequence.to_string(),
        ),
    }
}

fn row(line: &BatchLine) -> Vec<String> {
    let (producer, sequence) = producer(line);
    vec![
        line.position.to_string(),
        offsets(line),
        line.records.to_string(),
        line.leader_epoch.to_string(),
        producer,
        sequence,
        line.codec.to_owned(),
        kind(line).to_owned(),
        line.bytes.to_string(),
        time(line.base_timestamp),
        time(line.max_timestamp),
        crc(line).to_owned(),
    ]
}

fn sentence(line: &BatchLine) -> String {
    let (producer, sequence) = producer(line);
    format!(
        "batch at byte {}: offsets {}, {} records, epoch {}, producer {producer}, sequence {sequence}, {}, {}, {} bytes, crc {}",
        line.position,
        offsets(line),
        line.records,
        line.leader_epoch,
        line.codec,
        kind(line),
        line.bytes,
        crc(line),
    )
}

/// The beginning of bytes as text.
fn preview(bytes: &[u8]) -> String {
    let shown = bytes.get(..PREVIEW_BYTES).unwrap_or(bytes);
    String::from_utf8_lossy(shown).into_owned()
}

fn shown(text: Option<String>, len: Option<usize>) -> String {
    match (text, len) {
        (Some(text), Some(len)) if len > PREVIEW_BYTES => format!("{text:?}... ({len} bytes)"),
        (Some(text), _) => format!("{text:?}"),
        (None, _) => "null".to_owned(),
    }
}
