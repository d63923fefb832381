//! `ottla inspect data`: what each partition holds, from the headers of its batches alone.

use std::collections::BTreeSet;

use super::bytes::{DiskFile, GLANCE_BYTES, Source};
use super::directory::{Directory, Partition};
use super::names::Kind;
use super::segment::{Step, Walk, Why};

/// Producers counted in one partition.
const PRODUCERS_MAX: usize = 100_000;

/// A partition in a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    pub segments: u64,
    pub bytes: u64,
    pub batches: u64,
    pub records: u64,
    /// First offset, and the one behind the last.
    pub offsets: Option<(i64, i64)>,
    /// Smallest base timestamp and largest timestamp.
    pub times: Option<(i64, i64)>,
    pub epochs: Option<(i32, i32)>,
    pub producers: usize,
    /// What is wrong at first sight; checksums are not looked at.
    pub health: Option<String>,
}

/// Walks over the headers of a partition; `progress` is told of bytes passed.
pub fn partition(
    directory: &Directory,
    partition: &Partition,
    progress: &mut dyn FnMut(u64),
) -> Line {
    let mut line = Line::default();
    if let Some(why) = &partition.quarantine {
        let first = why.lines().next().unwrap_or_default();
        line.health = Some(format!("quarantine: {first}"));
    }
    let mut producers = BTreeSet::new();
    let segments: Vec<(i64, u64)> = partition.segments().collect();
    for (place, (base, len)) in segments.iter().enumerate() {
        let last = place.saturating_add(1) == segments.len();
        line.segments = line.segments.saturating_add(1);
        line.bytes = line.bytes.saturating_add(*len);
        line.extend(*base, *base);
        segment(
            directory,
            partition,
            (*base, last),
            &mut line,
            &mut producers,
        );
        progress(*len);
    }
    line.producers = producers.len();
    line
}

fn segment(
    directory: &Directory,
    partition: &Partition,
    (base, last): (i64, bool),
    line: &mut Line,
    producers: &mut BTreeSet<i64>,
) {
    let path = partition.path_of(Kind::Log, base);
    let name = super::names::segment_file_name(base, Kind::Log);
    let source = match DiskFile::open(&path) {
        Ok(source) => source,
        Err(error) => return line.sick(format!("{name} is unreadable: {error}")),
    };
    let mut walk = Walk::new(&source, false);
    loop {
        match walk.step() {
            Err(error) => {
                let at = walk.position();
                return line.sick(format!("{name} is unreadable at byte {at}: {error}"));
            }
            Ok(Step::Batch(found)) => {
                let batch = &found.batch;
                let Some(end) = batch.last_offset() else {
                    line.sick(format!(
                        "{name}, byte {}: offsets that cannot be",
                        found.position
                    ));
                    continue;
                };
                line.batches = line.batches.saturating_add(1);
                let count = u64::try_from(batch.count).unwrap_or(0);
                line.records = line.records.saturating_add(count);
                line.extend(batch.base_offset, end.saturating_add(1));
                line.date(batch.base_timestamp, batch.max_timestamp);
                let epoch = batch.leader_epoch;
                let known = line.epochs.get_or_insert((epoch, epoch));
                *known = (known.0.min(epoch), known.1.max(epoch));
                if batch.producer_id >= 0 && producers.len() < PRODUCERS_MAX {
                    producers.insert(batch.producer_id);
                }
            }
            Ok(Step::End(end)) => {
                let ordinary = match end.why {
                    Why::Clean => true,
                    Why::Zeros(zeros) => last && directory.is_ottla && zeros < GLANCE_BYTES as u64,
                    Why::Short { .. } | Why::Alien(_) => false,
                };
                if !ordinary {
                    line.sick(format!(
                        "{name}, byte {} of {}: {}",
                        end.position,
                        source.size(),
                        end.why
                    ));
                }
                return;
            }
        }
    }
}

impl Line {
    fn extend(&mut self, from: i64, until: i64) {
        let known = self.offsets.get_or_insert((from, until));
        *known = (known.0.min(from), known.1.max(until));
    }

    fn date(&mut self, from: i64, until: i64) {
        if until >= 0 {
            let from = if from >= 0 { from } else { until };
            let known = self.times.get_or_insert((from, until));
            *known = (known.0.min(from), known.1.max(until));
        }
    }

    fn sick(&mut self, what: String) {
        self.health.get_or_insert(what);
    }
}
