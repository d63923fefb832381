//! `ottla inspect journal`: the entries of one journal in the order of their sequences, and what
//! stands where none is.

use std::path::Path;

use serde::Serialize;

use super::because;
use crate::cli::failure::Failure;
use crate::cli::output::Out;
use crate::inspect::directory::{JournalFile, journal_files};
use crate::inspect::journal::{Entry, Stamp};

#[derive(Serialize)]
struct EntryLine {
    kind: &'static str,
    file: String,
    position: u64,
    bytes: u32,
    incarnation: u64,
    sequence: u64,
    filled_through: u64,
    completed_through: u64,
    /// The newest incarnation counts, or the one that `checkpoint` names; others are remains of
    /// earlier starts.
    counts: bool,
    /// Whole, or why not.
    state: String,
    batches: Vec<BatchLine>,
    marks: Vec<MarkLine>,
}

#[derive(Serialize)]
struct BatchLine {
    topic_id: String,
    partition: i32,
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    position: u64,
    bytes: u32,
}

#[derive(Serialize)]
struct MarkLine {
    topic_id: String,
    partition: i32,
    last_offset: i64,
}

pub fn run(dir: &Path, out: &mut Out) -> Result<(), Failure> {
    std::fs::read_dir(dir).map_err(because(dir))?;
    let (files, findings) = journal_files(dir);
    let stamps = files.iter().flat_map(|file| &file.entries);
    let newest = stamps.map(|entry| entry.stamp.incarnation).max();
    let own = std::fs::read(dir.join("checkpoint")).ok();
    let own = own.and_then(|bytes| crate::inspect::papers::checkpoint(&bytes).ok());
    // The directory's own checkpoint speaks for its journals, where this is one of them.
    let above = dir.join("..").join("checkpoint");
    let above = std::fs::read(above).ok();
    let above = above.and_then(|bytes| crate::inspect::papers::checkpoint(&bytes).ok());
    let counts = above.map(|above| above.incarnation).or(newest);
    let completed = files.iter().flat_map(|file| &file.entries);
    let completed = completed.filter(|entry| Some(entry.stamp.incarnation) == counts);
    let completed = completed.map(|entry| entry.stamp.completed_through).max();
    let through = own.filter(|own| Some(own.incarnation) == counts);
    let through = through.map_or(0, |own| own.sequence);
    let completed = completed.unwrap_or(0).max(through);
    let mut lines: Vec<EntryLine> = files
        .iter()
        .flat_map(|file| of(file, counts, completed))
        .collect();
    lines.sort_by_key(|line| (line.incarnation, line.sequence, line.position));
    print(&lines, out)?;
    let torn = lines
        .iter()
        .filter(|line| line.counts && line.state.starts_with("torn"));
    let told = format!(
        "{} files, {} entries that count, checkpoint through {through}, complete through {completed}, torn {}",
        files.len(),
        lines.iter().filter(|line| line.counts).count(),
        torn.count(),
    );
    if !out.is_json() {
        out.line(&told)?;
    }
    super::findings(dir, &findings, out)?;
    let rotten = lines
        .iter()
        .filter(|line| line.counts && line.state.starts_with("rotten"));
    let wrong = findings.wrong().saturating_add(rotten.count() as u64);
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::Local(format!(
            "{} has {wrong} faults",
            dir.display()
        ))),
    }
}

fn of(file: &JournalFile, counts: Option<u64>, completed: u64) -> Vec<EntryLine> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let whole = file.entries.iter().map(|entry| whole(entry, &name, counts));
    let broken = file.broken.iter().map(|(position, stamp, why)| {
        let verdict = match stamp.sequence <= completed {
            true => "rotten",
            false => "torn",
        };
        EntryLine {
            position: *position,
            state: format!("{verdict}: {why}"),
            ..bare(stamp, &name, counts)
        }
    });
    whole.chain(broken).collect()
}

fn bare(stamp: &Stamp, file: &str, counts: Option<u64>) -> EntryLine {
    EntryLine {
        kind: "entry",
        file: file.to_owned(),
        position: 0,
        bytes: stamp.total_bytes,
        incarnation: stamp.incarnation,
        sequence: stamp.sequence,
        filled_through: stamp.filled_through,
        completed_through: stamp.completed_through,
        counts: Some(stamp.incarnation) == counts,
        state: "whole".to_owned(),
        batches: Vec::new(),
        marks: Vec::new(),
    }
}

fn whole(entry: &Entry, file: &str, counts: Option<u64>) -> EntryLine {
    let fault = entry.faults.first().map(|(_, what)| what);
    let batches = entry.batches.iter().map(|held| BatchLine {
        topic_id: held.id.0.to_string(),
        partition: held.id.1,
        base_offset: held.base_offset,
        last_offset: held.last_offset,
        leader_epoch: held.leader_epoch,
        position: held.position,
        bytes: held.bytes,
    });
    let marks = entry.marks.iter().map(|mark| MarkLine {
        topic_id: mark.id.0.to_string(),
        partition: mark.id.1,
        last_offset: mark.last_offset,
    });
    EntryLine {
        position: entry.position,
        state: fault.map_or("whole".to_owned(), |what| format!("rotten: {what}")),
        batches: batches.collect(),
        marks: marks.collect(),
        ..bare(&entry.stamp, file, counts)
    }
}

fn print(lines: &[EntryLine], out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return lines.iter().try_for_each(|line| out.json_line(line));
    }
    let row = |line: &EntryLine| {
        let batches = line.batches.iter().map(|batch| {
            let BatchLine {
                topic_id,
                partition,
                base_offset,
                last_offset,
                ..
            } = batch;
            format!("{topic_id}-{partition} {base_offset}-{last_offset}")
        });
        let marks = line.marks.iter();
        let marks = marks.map(|mark| {
            format!(
                "{}-{} mark {}",
                mark.topic_id, mark.partition, mark.last_offset
            )
        });
        let mut holds: Vec<String> = batches.chain(marks).take(4).collect();
        let all = line.batches.len().saturating_add(line.marks.len());
        if all > holds.len() {
            holds.push(format!("and {} more", all.saturating_sub(holds.len())));
        }
        vec![
            line.sequence.to_string(),
            line.file.clone(),
            line.position.to_string(),
            line.bytes.to_string(),
            format!("{:#x}", line.incarnation),
            line.filled_through.to_string(),
            line.completed_through.to_string(),
            if line.counts { "yes" } else { "no" }.to_owned(),
            line.state.clone(),
            holds.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let titles = [
        "SEQUENCE",
        "FILE",
        "BYTE",
        "BYTES",
        "INCARNATION",
        "FILLED",
        "COMPLETE",
        "COUNTS",
        "STATE",
        "HOLDS",
    ];
    out.table(&titles, &rows)
}
