//! `ottla inspect`: data directories, segments and journals, as `inspect/` reads them.
//!
//! Owns how they look: tables for people, an object a line for programs. Exits 1 when something is
//! not as it should be.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Out, clean};
use super::typed::{Inspect as Typed, InspectDeed};
use crate::inspect::directory::{Directory, Journal, Partition};
use crate::inspect::verify::{self, Report};
use crate::inspect::{Finding, Findings, survey};

mod journal;
mod segment;

pub fn run(typed: &Typed, out: &mut Out) -> Result<(), Failure> {
    match &typed.deed {
        InspectDeed::Data { dir, metadata } => data(dir, metadata.as_deref(), out),
        InspectDeed::Segment { file, records } => segment::run(file, *records, out),
        InspectDeed::Journal { dir } => journal::run(dir, out),
        InspectDeed::Verify { dir, metadata } => verify(dir, metadata.as_deref(), out),
    }
}

/// A file or directory that the system does not give.
fn because(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::Local(format!("cannot read {path}: {error}"))
}

/// A bar where a person waits.
fn bar(total: u64, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    // The template is ours; if it were wrong the default bar would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// RFC 3339 in UTC; the number itself where no date is that far, `-` for none.
fn time(timestamp: i64) -> String {
    match jiff::Timestamp::from_millisecond(timestamp) {
        _ if timestamp == -1 => "-".to_owned(),
        Ok(time) => format!("{time:.3}"),
        Err(_) => timestamp.to_string(),
    }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// Field names are stable, as in all objects of this command.
#[derive(Serialize)]
struct DirectoryLine<'a> {
    kind: &'static str,
    path: String,
    written_by: &'static str,
    /// Process id of the broker that runs here, null for none.
    in_use_by: Option<u32>,
    stopped_in_order: bool,
    cluster_id: Option<&'a str>,
    machine: Option<i32>,
    /// The start of the broker whose journal entries count.
    incarnation: Option<u64>,
    metadata_version: Option<u64>,
    starts: Option<u64>,
    set_aside: usize,
}

#[derive(Serialize)]
struct TopicLine<'a> {
    kind: &'static str,
    topic: &'a str,
    id: String,
    partitions: usize,
    settings: &'a std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct PartitionLine<'a> {
    kind: &'static str,
    topic: &'a str,
    partition: i32,
    id: Option<String>,
    segments: u64,
    bytes: u64,
    batches: u64,
    records: u64,
    first_offset: Option<i64>,
    next_offset: Option<i64>,
    first_timestamp: Option<i64>,
    last_timestamp: Option<i64>,
    first_epoch: Option<i32>,
    last_epoch: Option<i32>,
    producers: usize,
    /// Null when nothing is wrong at first sight.
    health: Option<&'a str>,
}

#[derive(Serialize)]
struct JournalLine {
    kind: &'static str,
    journal: u32,
    files: usize,
    bytes: u64,
    /// Of the incarnation that counts.
    entries: usize,
    batches: usize,
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    checkpointed_through: u64,
}

fn data(dir: &Path, metadata: Option<&Path>, out: &mut Out) -> Result<(), Failure> {
    let directory = Directory::read(dir, metadata).map_err(because(dir))?;
    heading(&directory, out)?;
    topics(&directory, out)?;
    journals(&directory, out)?;
    let healthy = partitions(&directory, out)?;
    findings(dir, &directory.findings, out)?;
    let wrong = directory.findings.wrong();
    match healthy && wrong == 0 {
        true => Ok(()),
        false => Err(Failure::Local(format!(
            "{} is not as it should be; `ottla inspect verify` says more",
            dir.display()
        ))),
    }
}

fn heading(directory: &Directory, out: &mut Out) -> Result<(), Failure> {
    let line = DirectoryLine {
        kind: "directory",
        path: directory.path.display().to_string(),
        written_by: if directory.is_ottla { "ottla" } else { "kafka" },
        in_use_by: directory.in_use_by,
        stopped_in_order: directory.is_closed,
        cluster_id: directory
            .owner
            .as_ref()
            .map(|(cluster, _)| cluster.as_str()),
        machine: directory.owner.as_ref().map(|(_, machine)| *machine),
        incarnation: directory.incarnation(),
        metadata_version: directory.metadata.as_ref().map(|m| m.version),
        starts: directory.metadata.as_ref().map(|m| m.starts),
        set_aside: directory.aside.len(),
    };
    if out.is_json() {
        return out.json_line(&line);
    }
    let whose = match directory.is_ottla {
        true => "a data directory of Ottla",
        false => "a log directory of Apache Kafka, or of nobody",
    };
    out.line(&clean(&format!(
        "{}: {whose}{}",
        line.path,
        state(directory.in_use_by, line.stopped_in_order)
    )))?;
    let incarnation = line
        .incarnation
        .map_or("-".to_owned(), |own| format!("{own:#x}"));
    out.line(&clean(&format!(
        "cluster {}  node.id {}  starts {}  incarnation {incarnation}  metadata version {}  set aside {}",
        or_dash(line.cluster_id),
        or_dash(line.machine),
        or_dash(line.starts),
        or_dash(line.metadata_version),
        line.set_aside,
    )))
}

/// Said of a directory behind its name.
fn state(in_use_by: Option<u32>, is_closed: bool) -> String {
    match (in_use_by, is_closed) {
        (Some(pid), _) => format!(", in use by process {pid}"),
        (None, true) => String::new(),
        (None, false) => ", not stopped in order".to_owned(),
    }
}

fn topics(directory: &Directory, out: &mut Out) -> Result<(), Failure> {
    let Some(metadata) = &directory.metadata else {
        return Ok(());
    };
    let mut rows = Vec::new();
    for (id, topic) in &metadata.topics {
        let line = TopicLine {
            kind: "topic",
            topic: &topic.name,
            id: id.to_string(),
            partitions: topic.partitions.len(),
            settings: &topic.settings,
        };
        if out.is_json() {
            out.json_line(&line)?;
            continue;
        }
        let settings = line
            .settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let settings: Vec<String> = settings.collect();
        rows.push(vec![
            line.topic.to_owned(),
            line.id,
            line.partitions.to_string(),
            settings.join(","),
        ]);
    }
    section(&["TOPIC", "ID", "PARTITIONS", "SETTINGS"], &rows, out)
}

/// A table with a line in front, unless it is empty.
fn section(titles: &[&str], rows: &[Vec<String>], out: &mut Out) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.table(titles, rows)
}

fn journals(directory: &Directory, out: &mut Out) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for journal in &directory.journals {
        let line = journal_line(directory, journal);
        if out.is_json() {
            out.json_line(&line)?;
            continue;
        }
        rows.push(vec![
            line.journal.to_string(),
            line.files.to_string(),
            line.bytes.to_string(),
            line.entries.to_string(),
            line.batches.to_string(),
            or_dash(line.first_sequence),
            or_dash(line.last_sequence),
            line.checkpointed_through.to_string(),
        ]);
    }
    let titles = [
        "JOURNAL",
        "FILES",
        "BYTES",
        "ENTRIES",
        "BATCHES",
        "FIRST",
        "LAST",
        "CHECKPOINT",
    ];
    section(&titles, &rows, out)
}

fn journal_line(directory: &Directory, journal: &Journal) -> JournalLine {
    let incarnation = directory.incarnation();
    let entries = journal.files.iter().flat_map(|file| &file.entries);
    let mine: Vec<_> = entries
        .filter(|entry| Some(entry.stamp.incarnation) == incarnation)
        .collect();
    let sequences = || mine.iter().map(|entry| entry.stamp.sequence);
    JournalLine {
        kind: "journal",
        journal: journal.number,
        files: journal.files.len(),
        bytes: journal.files.iter().map(|file| file.len).sum(),
        entries: mine.len(),
        batches: mine.iter().map(|entry| entry.batches.len()).sum(),
        first_sequence: sequences().min(),
        last_sequence: sequences().max(),
        checkpointed_through: directory.checkpointed(journal),
    }
}

/// Prints every partition; whether all of them are well.
fn partitions(directory: &Directory, out: &mut Out) -> Result<bool, Failure> {
    let total = directory.partitions.iter().map(Partition::bytes).sum();
    let bar = bar(total, out.is_json());
    let mut rows = Vec::new();
    let mut healthy = true;
    for partition in &directory.partitions {
        let found = survey::partition(directory, partition, &mut |bytes| bar.inc(bytes));
        // A batch that a broker is writing looks cut short.
        healthy &= found.health.is_none() || !directory.is_closed;
        let line = partition_line(partition, &found);
        if out.is_json() {
            out.json_line(&line)?;
            continue;
        }
        rows.push(row(&line));
    }
    bar.finish_and_clear();
    let titles = [
        "PARTITION",
        "SEGMENTS",
        "FIRST",
        "NEXT",
        "RECORDS",
        "BYTES",
        "FROM",
        "UNTIL",
        "EPOCHS",
        "PRODUCERS",
        "HEALTH",
    ];
    section(&titles, &rows, out)?;
    Ok(healthy)
}

fn partition_line<'a>(partition: &'a Partition, found: &'a survey::Line) -> PartitionLine<'a> {
    PartitionLine {
        kind: "partition",
        topic: &partition.topic,
        partition: partition.number,
        id: partition.id.map(|id| id.to_string()),
        segments: found.segments,
        bytes: found.bytes,
        batches: found.batches,
        records: found.records,
        first_offset: found.offsets.map(|(first, _)| first),
        next_offset: found.offsets.map(|(_, next)| next),
        first_timestamp: found.times.map(|(first, _)| first),
        last_timestamp: found.times.map(|(_, last)| last),
        first_epoch: found.epochs.map(|(first, _)| first),
        last_epoch: found.epochs.map(|(_, last)| last),
        producers: found.producers,
        health: found.health.as_deref(),
    }
}

fn row(line: &PartitionLine<'_>) -> Vec<String> {
    let epochs = match (line.first_epoch, line.last_epoch) {
        (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
        (first, _) => or_dash(first),
    };
    vec![
        format!("{}-{}", line.topic, line.partition),
        line.segments.to_string(),
        or_dash(line.first_offset),
        or_dash(line.next_offset),
        line.records.to_string(),
        line.bytes.to_string(),
        line.first_timestamp.map_or("-".to_owned(), time),
        line.last_timestamp.map_or("-".to_owned(), time),
        epochs,
        line.producers.to_string(),
        line.health.unwrap_or("ok").to_owned(),
    ]
}

#[derive(Serialize)]
struct FindingLine<'a> {
    kind: &'static str,
    file: String,
    position: Option<u64>,
    /// torn, rotten, unreadable or missing.
    verdict: String,
    /// False for what a killed or running broker leaves as a matter of course.
    wrong: bool,
    what: &'a str,
}

fn findings(dir: &Path, findings: &Findings, out: &mut Out) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for finding in &findings.list {
        let line = finding_line(finding);
        if out.is_json() {
            out.json_line(&line)?;
            continue;
        }
        let short = finding.path.strip_prefix(dir).unwrap_or(&finding.path);
        rows.push(vec![
            line.verdict,
            if line.wrong { "wrong" } else { "ordinary" }.to_owned(),
            short.display().to_string(),
            or_dash(line.position),
            line.what.to_owned(),
        ]);
    }
    section(&["VERDICT", "STATE", "FILE", "BYTE", "WHAT"], &rows, out)
}

fn finding_line(finding: &Finding) -> FindingLine<'_> {
    FindingLine {
        kind: "finding",
        file: finding.path.display().to_string(),
        position: finding.position,
        verdict: finding.verdict.to_string(),
        wrong: finding.wrong,
        what: &finding.what,
    }
}

#[derive(Serialize)]
struct SummaryLine {
    kind: &'static str,
    in_use_by: Option<u32>,
    stopped_in_order: bool,
    partitions: u64,
    segments: u64,
    batches: u64,
    bytes: u64,
    index_entries: u64,
    journal_entries: u64,
    wrong: u64,
}

fn verify(dir: &Path, metadata: Option<&Path>, out: &mut Out) -> Result<(), Failure> {
    let bar = bar(0, out.is_json());
    let verified = verify::verify(dir, metadata, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = verified.map_err(because(dir))?;
    findings(dir, &report.findings, out)?;
    summary(dir, &report, out)?;
    match report.findings.wrong() {
        0 => Ok(()),
        wrong => Err(Failure::Local(format!(
            "{wrong} findings in {} are not the ordinary remains of a broker",
            dir.display()
        ))),
    }
}

fn summary(dir: &Path, report: &Report, out: &mut Out) -> Result<(), Failure> {
    let line = SummaryLine {
        kind: "summary",
        in_use_by: report.in_use_by,
        stopped_in_order: report.is_closed,
        partitions: report.partitions,
        segments: report.verified.segments,
        batches: report.verified.batches,
        bytes: report.verified.bytes,
        index_entries: report.verified.index_entries,
        journal_entries: report.journal_entries,
        wrong: report.findings.wrong(),
    };
    if out.is_json() {
        return out.json_line(&line);
    }
    if !report.findings.list.is_empty() {
        out.line("")?;
    }
    out.line(&clean(&format!(
        "{}{}: {} partitions, {} segments, {} batches in {} bytes, {} index entries, {} journal entries: {} wrong",
        dir.display(),
        state(line.in_use_by, line.stopped_in_order),
        line.partitions,
        line.segments,
        line.batches,
        line.bytes,
        line.index_entries,
        line.journal_entries,
        line.wrong,
    )))
}
