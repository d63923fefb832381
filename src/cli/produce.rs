//! `ottla produce`: lines in, records out.
//!
//! A line is a record as soon as its end is there; it is sent when its batch is full, or when no
//! line has come for a moment, so that a slow pipe is not held back.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;
use super::input::{self, Input, LINE_BYTES_MAX, Lines};
use super::meaning;
use super::output::Out;
use super::typed::Produce as Typed;
use crate::client::{Producer, Totals};
use crate::wire::record::{NewRecord, RecordHeader};
use crate::words::{PartitionIndex, TimestampMs};

/// A batch that is not full is sent when nothing more came for so long.
const LINGER: Duration = Duration::from_millis(50);

/// What was stored. Field names are stable.
#[derive(Serialize)]
struct SummaryLine<'a> {
    topic: &'a str,
    records: u64,
    batches: u64,
    batch_bytes: u64,
    retries: u64,
    seconds: f64,
}

pub fn run(typed: &Typed, out: &mut Out) -> Result<(), Failure> {
    let options = meaning::producer_options(typed, first_turn())?;
    let client = super::connect(&typed.broker)?;
    let mut producer = Producer::new(client, &typed.topic, options)?;
    let progress = progress(typed);
    let started = Instant::now();
    let outcome = Writing {
        typed,
        producer: &mut producer,
        line_number: 0,
    }
    .write_all(&input::read(typed.files.clone()), &progress);
    progress.finish_and_clear();
    // Told after a failure too: it says how much is stored.
    let told = summary(typed, producer.totals(), started.elapsed(), out);
    outcome.and(told)
}

struct Writing<'a> {
    typed: &'a Typed,
    producer: &'a mut Producer,
    /// Of the line being treated, counted from 1 through all files.
    line_number: u64,
}

impl Writing<'_> {
    fn write_all(
        &mut self,
        input: &Receiver<Input>,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        let pairs = self.typed.header.iter();
        let headers: Vec<RecordHeader<'_>> = pairs
            .map(|pair| RecordHeader {
                key: pair.key.as_bytes(),
                value: Some(pair.value.as_bytes()),
            })
            .collect();
        let mut lines = Lines::default();
        while let Some(next) = self.next(input)? {
            let now = now();
            match next {
                Input::Block(block) => {
                    let mut sink = |line: &[u8]| self.write(line, &headers, now);
                    lines.cut(&block, too_long, &mut sink)?;
                    progress.inc(u64::try_from(block.len()).unwrap_or(0));
                }
                Input::EndOfFile => lines.end(&mut |line| self.write(line, &headers, now))?,
                Input::Failed(told) => {
                    // What was read before is a record all the same.
                    self.producer.flush()?;
                    return Err(Failure::Local(told));
                }
            }
        }
        Ok(self.producer.flush()?)
    }

    /// What is read next; sends what waits when nothing comes. `None` at the end of all input.
    fn next(&mut self, input: &Receiver<Input>) -> Result<Option<Input>, Failure> {
        if self.producer.is_idle() {
            return Ok(input.recv().ok());
        }
        match input.recv_timeout(LINGER) {
            Ok(next) => Ok(Some(next)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.producer.flush()?;
                Ok(input.recv().ok())
            }
        }
    }

    fn write(
        &mut self,
        line: &[u8],
        headers: &[RecordHeader<'_>],
        timestamp: TimestampMs,
    ) -> Result<(), Failure> {
        self.line_number = self.line_number.saturating_add(1);
        let (key, value) = match &self.typed.key_separator {
            None => (None, line),
            Some(separator) => {
                let split = split_key(line, separator.as_bytes());
                let (key, value) = split.ok_or_else(|| {
                    Failure::Local(format!(
                        "line {} has no key: there is no `{separator}` in it",
                        self.line_number
                    ))
                })?;
                (Some(key), value)
            }
        };
        let record = NewRecord {
            timestamp,
            key,
            value: Some(value),
            headers,
        };
        let partition = self.typed.partition.map(PartitionIndex);
        Ok(self.producer.push(&record, partition)?)
    }
}

/// Splits at the first separator.
fn split_key<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line
        .windows(separator.len().max(1))
        .position(|window| window == separator)?;
    let (key, rest) = line.split_at_checked(at)?;
    Some((key, rest.get(separator.len()..)?))
}

fn too_long() -> Failure {
    let mib = LINE_BYTES_MAX / (1024 * 1024);
    Failure::Local(format!("a line is longer than {mib} MiB: is this text?"))
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    TimestampMs(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// So that many short runs do not all write to partition 0.
fn first_turn() -> u32 {
    std::process::id()
}

/// A bar where a person sees it: with an end for files, without one for a pipe.
fn progress(typed: &Typed) -> ProgressBar {
    if typed.broker.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (total, template) = match input::total_bytes(&typed.files) {
        Some(total) => (
            Some(total),
            "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        ),
        // Nothing is drawn over what is being typed.
        None if typed.files.is_empty() && io::stdin().is_terminal() => {
            return ProgressBar::hidden();
        }
        None => (None, "{spinner} {bytes}  {bytes_per_sec}"),
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    // The templates are ours; if one were wrong the default bar would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn summary(typed: &Typed, totals: Totals, took: Duration, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.json_line(&SummaryLine {
            topic: &typed.topic,
            records: totals.records,
            batches: totals.batches,
            batch_bytes: totals.batch_bytes,
            retries: totals.retries,
            seconds: took.as_secs_f64(),
        });
    }
    eprint_line(&summary_text(totals, took));
    Ok(())
}

fn summary_text(totals: Totals, took: Duration) -> String {
    // Below a millisecond a rate says nothing.
    let ms = took.as_millis().max(1);
    let per_second = |count: u64| {
        let rate = u128::from(count).saturating_mul(1000).checked_div(ms);
        u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX)
    };
    let retries = match totals.retries {
        0 => String::new(),
        retries => format!(", {} sent again", counted(retries, "batch", "batches")),
    };
    format!(
        "{} in {}, {}, in {:.3} s: {} records/s, {}/s{retries}",
        counted(totals.records, "record", "records"),
        counted(totals.batches, "batch", "batches"),
        HumanBytes(totals.batch_bytes),
        took.as_secs_f64(),
        HumanCount(per_second(totals.records)),
        HumanBytes(per_second(totals.batch_bytes)),
    )
}

fn counted(count: u64, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{} {noun}", HumanCount(count))
}

/// To standard error, which may be closed.
fn eprint_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_separator() {
        let split =
            |line: &'static str, separator: &str| split_key(line.as_bytes(), separator.as_bytes());
        assert_eq!(split("k:v:w", ":"), Some((&b"k"[..], &b"v:w"[..])));
        assert_eq!(split("k=>v", "=>"), Some((&b"k"[..], &b"v"[..])));
        assert_eq!(split(":", ":"), Some((&b""[..], &b""[..])));
        assert_eq!(split("kv", ":"), None);
        assert_eq!(split("", "=>"), None);
    }

    #[test]
    fn the_summary_tells_counts_and_rates() {
        let totals = Totals {
            records: 20_000,
            batches: 3,
            batch_bytes: 4 * 1024 * 1024,
            retries: 0,
        };
        assert_eq!(
            summary_text(totals, Duration::from_secs(2)),
            "20,000 records in 3 batches, 4.00 MiB, in 2.000 s: 10,000 records/s, 2.00 MiB/s"
        );
        let retried = Totals {
            retries: 1,
            ..totals
        };
        assert!(summary_text(retried, Duration::ZERO).ends_with(", 1 batch sent again"));
    }
}
