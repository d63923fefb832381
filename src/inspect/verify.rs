//! `ottla inspect verify`: the whole directory held against FORMAT.md and against itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::Findings;
use super::chain;
use super::directory::{Directory, Partition};
use super::papers::{Id, Mark};
use super::partition::{Check, Verified, in_both};

/// Looks at a directory that a broker is writing to; what all of them agree on is wrong.
const LOOKS_MAX: u32 = 3;

/// What verification came to.
#[derive(Debug)]
pub struct Report {
    pub findings: Findings,
    pub in_use_by: Option<u32>,
    pub is_ottla: bool,
    /// Whoever wrote here last stopped in order.
    pub is_closed: bool,
    pub partitions: u64,
    pub journal_entries: u64,
    pub verified: Verified,
}

/// Verifies everything in `path`. `metadata` is where `metadata.log` is, when it is not there.
/// `progress` is told of bytes read and bytes in all.
///
/// # Errors
/// When the directory cannot be listed at all.
pub fn verify(
    path: &Path,
    metadata: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Report> {
    let mut report = look(path, metadata, progress)?;
    for _ in 1..LOOKS_MAX {
        if report.in_use_by.is_none() || report.findings.wrong() == 0 {
            break;
        }
        let again = look(path, metadata, progress)?;
        report.findings = in_both(report.findings, &again.findings);
    }
    Ok(report)
}

fn look(
    path: &Path,
    metadata: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Report> {
    let mut directory = Directory::read(path, metadata)?;
    let mut findings = std::mem::take(&mut directory.findings);
    let holdings = chain::judge(&directory, &mut findings);
    let marks = marks(&directory);
    let total = directory.partitions.iter().map(Partition::bytes).sum();
    let (mut done, mut verified) = (0u64, Verified::default());
    for partition in &directory.partitions {
        let id = directory.id_of(partition);
        if !belongs(&directory, partition, id, &mut findings) {
            done = done.saturating_add(partition.bytes());
            continue;
        }
        let mut check = Check {
            directory: &directory,
            partition,
            mark: id.and_then(|id| marks.get(&id)).copied(),
            holdings: &holdings,
            contiguous: is_contiguous(&directory, id),
            findings: &mut findings,
            verified: &mut verified,
            progress: &mut |bytes| {
                done = done.saturating_add(bytes);
                progress(done, total);
            },
        };
        check.run();
    }
    absent(&directory, &marks, &holdings, &mut findings);
    Ok(Report {
        findings,
        in_use_by: directory.in_use_by,
        is_ottla: directory.is_ottla,
        is_closed: directory.is_closed,
        partitions: directory.partitions.len() as u64,
        journal_entries: holdings.entries,
        verified,
    })
}

/// The line of each partition that reaches furthest, as recovery takes them.
fn marks(directory: &Directory) -> BTreeMap<Id, Mark> {
    let incarnation = directory.incarnation();
    let of_journals = directory
        .journals
        .iter()
        .filter_map(|journal| journal.checkpoint.as_ref())
        .filter(|own| Some(own.incarnation) == incarnation);
    let mut marks: BTreeMap<Id, Mark> = BTreeMap::new();
    for mark in directory
        .checkpoint
        .iter()
        .chain(of_journals)
        .flat_map(|own| &own.marks)
    {
        let known = marks.entry(mark.id).or_insert(*mark);
        if (mark.active_base, mark.active_bytes) > (known.active_base, known.active_bytes) {
            *known = *mark;
        }
    }
    marks
}

/// Whether metadata knows the partition under this name; a stray one is read by itself.
fn belongs(
    directory: &Directory,
    partition: &Partition,
    id: Option<Id>,
    findings: &mut Findings,
) -> bool {
    let Some(metadata) = &directory.metadata else {
        return true;
    };
    let own = partition.path.join("partition.metadata");
    let Some((topic, number)) = id else {
        let named = metadata
            .topics
            .values()
            .any(|topic| topic.name == partition.topic);
        if named && !own.exists() {
            findings.missing(&own, false, "the next start writes it");
        }
        return true;
    };
    match metadata.topics.get(&topic) {
        Some(known) if known.name == partition.topic && known.partitions.contains_key(&number) => {
            true
        }
        Some(known) => {
            let what = format!("topic {topic} is {} in metadata.log", known.name);
            findings.rotten(&own, None, what);
            false
        }
        None => {
            let what = format!("topic {topic} is not in metadata.log: deleted, or from elsewhere");
            findings.torn(&own, 0, false, what);
            false
        }
    }
}

/// Ottla's own logs have no gaps; Kafka's may have been compacted.
fn is_contiguous(directory: &Directory, id: Option<Id>) -> bool {
    let Some(metadata) = &directory.metadata else {
        return directory.is_ottla;
    };
    let topic = id.and_then(|(topic, _)| metadata.topics.get(&topic));
    topic.is_none_or(|topic| !topic.is_compacted())
}

/// Live partitions that something vouches for and that have no directory.
fn absent(
    directory: &Directory,
    marks: &BTreeMap<Id, Mark>,
    holdings: &chain::Holdings,
    findings: &mut Findings,
) {
    let Some(metadata) = &directory.metadata else {
        return;
    };
    let present: Vec<Option<Id>> = directory
        .partitions
        .iter()
        .map(|partition| directory.id_of(partition))
        .collect();
    let mut wanted = chain::ids(holdings);
    wanted.extend(marks.keys());
    for id in wanted
        .into_iter()
        .filter(|id| !present.contains(&Some(*id)))
    {
        let Some(topic) = metadata.topics.get(&id.0) else {
            continue;
        };
        let marked = marks.get(&id).is_some_and(|mark| mark.active_bytes > 0);
        let kept = holdings.batches.get(&id);
        let filled = kept.is_some_and(|kept| kept.iter().any(|kept| kept.filled));
        if marked || filled || holdings.marks.contains_key(&id) {
            let path = directory.path.join(format!("{}-{}", topic.name, id.1));
            let what = "checkpoint or journal say that it holds records";
            findings.missing(&path, true, what);
        }
    }
}
