//! One partition, verified: every batch, every index entry, and what checkpoints, epochs and
//! journals say of it.
//!
//! Reads each segment once, in order; memory is bounded by the index files and by what the
//! journals hold of the partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::bytes::{DiskFile, Source};
use super::chain::{Holdings, Kept};
use super::directory::{Directory, Partition, small};
use super::index::{Exact, OFFSET_ENTRY_BYTES, OffsetIndex, TIME_ENTRY_BYTES, TimeIndex};
use super::names::{self, Kind};
use super::papers::{self, Mark, Producer};
use super::segment::{End, Found, Step, Walk, Why};
use super::{Finding, Findings};

/// Blocks to which an active segment's file is padded.
const BLOCK: u64 = super::journal::BLOCK;

/// Producers that are remembered; batches of more are not held against snapshots.
const PRODUCERS_MAX: usize = 100_000;

/// Figures of a verified partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verified {
    pub segments: u64,
    pub batches: u64,
    pub bytes: u64,
    pub index_entries: u64,
}

/// What is known of a partition before its segments are read.
pub struct Check<'a> {
    pub directory: &'a Directory,
    pub partition: &'a Partition,
    /// The checkpoint's line that reaches furthest.
    pub mark: Option<Mark>,
    pub holdings: &'a Holdings,
    /// Each batch begins where the one before ended.
    pub contiguous: bool,
    pub findings: &'a mut Findings,
    pub verified: &'a mut Verified,
    /// Told of bytes that were read.
    pub progress: &'a mut dyn FnMut(u64),
}

/// State of the walk over the segments.
struct State<'a> {
    /// Where the next batch begins; unknown behind damage.
    next: Option<i64>,
    end: i64,
    epoch: i32,
    epochs: Option<Vec<(i32, i64)>>,
    /// The journal's batches that no segment was held against yet.
    kept: &'a [Kept],
    /// Damage in the last segment that nothing proves to be rot: whole batches behind it would.
    doubts: Vec<(u64, String)>,
    /// Snapshots that are still ahead, the nearest last.
    snapshots: Vec<Snapshot>,
    /// Epoch, last sequence and last offset of each producer so far.
    producers: BTreeMap<i64, (i16, i32, i64)>,
    /// Something in this segment is named already.
    damaged: bool,
    /// Something in any segment so far.
    harmed: bool,
}

/// Producers of a partition as of an offset.
struct Snapshot {
    at: i64,
    path: PathBuf,
    producers: Vec<Producer>,
}

/// One segment of it.
struct Segment {
    base: i64,
    path: PathBuf,
    /// A later one holds bytes.
    sealed: bool,
    offsets: Option<(PathBuf, OffsetIndex)>,
    times: Option<(PathBuf, TimeIndex)>,
    /// The checkpoint's line tells of it.
    mark: Option<Mark>,
    mark_met: bool,
}

impl Check<'_> {
    /// Verifies all of it.
    pub fn run(&mut self) {
        if let Some(why) = &self.partition.quarantine {
            let what = format!("offline: {}", why.lines().next().unwrap_or_default());
            let path = self.partition.path.join("quarantine");
            self.findings.rotten(&path, None, what);
            return;
        }
        let (holdings, id) = (self.holdings, self.directory.id_of(self.partition));
        let kept = id.and_then(|id| holdings.batches.get(&id));
        let mut state = State {
            next: None,
            end: 0,
            epoch: -1,
            epochs: self.epochs(),
            kept: kept.map_or(&[], Vec::as_slice),
            doubts: Vec::new(),
            snapshots: self.snapshots(),
            producers: BTreeMap::new(),
            damaged: false,
            harmed: false,
        };
        let segments: Vec<(i64, u64)> = self.partition.segments().collect();
        let last_used = segments.iter().rposition(|(_, len)| *len > 0).unwrap_or(0);
        let first = segments.first().map_or(0, |(base, _)| *base);
        state.pass_below(first);
        let mut end_path = self.partition.path.clone();
        let mut end_at = None;
        for (place, (base, _)) in segments.iter().enumerate() {
            let path = self.partition.path_of(Kind::Log, *base);
            let apart = state.next.is_some_and(|next| next != *base);
            if place > 0 && apart && !state.damaged {
                self.gap(&state, *base, &end_path, end_at);
            }
            state.damaged = false;
            end_at = self.segment(*base, place < last_used, &mut state);
            state.harmed |= state.damaged;
            end_path = path;
        }
        self.end(&state, &end_path, end_at, !segments.is_empty());
        // One from behind the end tells of records that are gone, which is said elsewhere.
        let end = state.end;
        self.compare_snapshots(&mut state, end);
        self.wanted_snapshot(&state);
        self.orphans(&segments);
    }

    /// A segment that does not begin where the one before ended.
    fn gap(&mut self, state: &State<'_>, base: i64, before: &Path, at: Option<u64>) {
        if self.contiguous || base < state.end {
            let what = format!(
                "ends at offset {}, the next segment begins at {base}",
                state.end
            );
            self.findings.rotten(before, at, what);
        }
    }

    /// Reads one segment; where its good part ends.
    fn segment(&mut self, base: i64, sealed: bool, state: &mut State<'_>) -> Option<u64> {
        let mark = self.mark.filter(|mark| mark.active_base == base);
        let mut segment = Segment {
            base,
            path: self.partition.path_of(Kind::Log, base),
            sealed,
            offsets: None,
            times: None,
            mark,
            mark_met: false,
        };
        self.open_indexes(&mut segment);
        let source = match DiskFile::open(&segment.path) {
            Ok(source) => source,
            Err(error) => {
                self.findings.unreadable(&segment.path, None, &error);
                state.damaged = true;
                return None;
            }
        };
        state.next = Some(base);
        state.end = state.end.max(base);
        let end = self.walk(&source, &mut segment, state);
        self.verified.segments = self.verified.segments.saturating_add(1);
        self.verified.bytes = self.verified.bytes.saturating_add(source.size());
        if let Some(end) = end {
            let damaged = state.damaged;
            self.segment_end(&segment, source.size(), end, state);
            if damaged || state.damaged || matches!(end.why, Why::Short { .. } | Why::Alien(_)) {
                segment.pass_damage(end.position, u64::MAX, i64::MAX);
            }
        }
        self.indexes(&segment);
        end.map(|end| end.position)
    }

    fn walk(
        &mut self,
        source: &DiskFile,
        segment: &mut Segment,
        state: &mut State<'_>,
    ) -> Option<End> {
        let mut walk = Walk::new(source, true);
        let mut told = 0;
        loop {
            let step = match walk.step() {
                Ok(step) => step,
                Err(error) => {
                    let at = Some(walk.position());
                    self.findings.unreadable(&segment.path, at, &error);
                    state.damaged = true;
                    return None;
                }
            };
            match step {
                Step::Batch(found) => self.batch(segment, &found, state),
                Step::End(end) => {
                    segment.meet_mark(end.position, state.end);
                    (self.progress)(source.size().saturating_sub(told));
                    return Some(end);
                }
            }
            (self.progress)(walk.position().saturating_sub(told));
            told = walk.position();
        }
    }

    fn batch(&mut self, segment: &mut Segment, found: &Found, state: &mut State<'_>) {
        let batch = &found.batch;
        let position = found.position;
        segment.meet_mark(position, state.end);
        self.verified.batches = self.verified.batches.saturating_add(1);
        let fault = match (found.intact, batch.last_offset()) {
            (false, _) => Some("the checksum does not hold".to_owned()),
            (true, None) => Some("offsets that cannot be".to_owned()),
            (true, Some(_)) => self.out_of_order(batch, state),
        };
        let last = batch.last_offset().unwrap_or(batch.base_offset);
        if let Some(what) = fault {
            let at_name = position == 0 && batch.base_offset != segment.base;
            let what = match at_name {
                true => format!("{what}; the file's name says offset {}", segment.base),
                false => what,
            };
            self.damage(segment, position, batch.base_offset, what, state);
            let after = position.saturating_add(batch.size());
            segment.pass_damage(position, after, last.saturating_add(1));
            // Offsets stand outside of the checksum: believe them where they fit.
            let fits = Some(batch.base_offset) == state.next && last >= batch.base_offset;
            state.next = fits.then(|| last.saturating_add(1));
            state.end = if fits {
                state.end.max(last.saturating_add(1))
            } else {
                state.end
            };
            return;
        }
        // Whole and in order behind damage: a write that was never finished leaves no such thing.
        for (at, what) in state.doubts.drain(..) {
            self.findings.rotten(&segment.path, at, what);
        }
        if let Some((_, index)) = &mut segment.offsets {
            index.see(position, batch);
        }
        if let Some((_, index)) = &mut segment.times {
            index.see(batch);
        }
        self.compare_snapshots(state, batch.base_offset);
        if batch.producer_id >= 0 && !batch.is_control() && state.producers.len() < PRODUCERS_MAX {
            let told = (batch.producer_epoch, batch.last_sequence(), last);
            state.producers.insert(batch.producer_id, told);
        }
        self.epoch(segment, position, batch, state);
        self.against_journal(segment, position, batch, state);
        state.next = Some(last.saturating_add(1));
        state.end = last.saturating_add(1);
    }

    fn out_of_order(&self, batch: &Batch, state: &State<'_>) -> Option<String> {
        let base = batch.base_offset;
        match state.next {
            Some(next) if base < next || (self.contiguous && base != next) => {
                Some(format!("begins at offset {base}, expected {next}"))
            }
            None if base < state.end => {
                Some(format!("begins at offset {base}, below {}", state.end))
            }
            _ => None,
        }
    }

    /// Names damage as far as is known what it is.
    fn damage(
        &mut self,
        segment: &Segment,
        at: u64,
        base: i64,
        what: String,
        state: &mut State<'_>,
    ) {
        state.damaged = true;
        let vouched = segment.mark.is_some_and(|mark| at < mark.active_bytes);
        let proven = self
            .proven()
            .is_some_and(|(end, _)| base < end && base >= 0);
        if segment.sealed || vouched || proven {
            self.findings.rotten(&segment.path, at, what);
        } else {
            state.doubts.push((at, what));
        }
    }

    /// The offset up to which something says that the segments reach.
    fn proven(&self) -> Option<(i64, String)> {
        let mark = self
            .mark
            .map(|mark| (mark.end_offset, "the checkpoint".to_owned()));
        let id = self.directory.id_of(self.partition);
        let journal = id.and_then(|id| self.holdings.marks.get(&id));
        let journal = journal.map(|(last, path, at)| {
            let who = format!("the mark in {} at byte {at}", path.display());
            (last.saturating_add(1), who)
        });
        let kept = id.and_then(|id| self.holdings.batches.get(&id));
        let filled = kept.and_then(|kept| {
            let last = kept.iter().rfind(|kept| kept.filled)?;
            let who = format!("the journal ({})", last.path.display());
            Some((last.held.last_offset.saturating_add(1), who))
        });
        let all = mark.into_iter().chain(journal).chain(filled);
        all.max_by_key(|(end, _)| *end)
    }

    fn segment_end(&mut self, segment: &Segment, len: u64, end: End, state: &mut State<'_>) {
        let at = end.position;
        match end.why {
            Why::Clean => {}
            Why::Zeros(zeros) if segment.sealed => {
                let what = format!("{zeros} zeros behind the last batch of a sealed segment");
                self.findings.torn(&segment.path, at, true, what);
            }
            Why::Zeros(zeros) => {
                let vouched = segment.mark.is_some_and(|mark| at < mark.active_bytes);
                let padding = at.checked_next_multiple_of(BLOCK).unwrap_or(at);
                if vouched {
                    self.damage(segment, at, state.end, format!("{zeros} zeros"), state);
                } else if !(self.directory.is_ottla && len <= padding) {
                    let what = format!("{zeros} zeros behind the last batch");
                    let wrong = self.directory.is_closed;
                    self.findings.torn(&segment.path, at, wrong, what);
                }
            }
            why => self.damage(segment, at, state.end, why.to_string(), state),
        }
        for (at, what) in std::mem::take(&mut state.doubts) {
            let wrong = self.directory.is_closed;
            self.findings.torn(&segment.path, at, wrong, what);
        }
        if let Some(mark) = segment.mark.filter(|_| !segment.mark_met && !state.damaged) {
            let what = format!(
                "the checkpoint says offset {} at byte {}, where no batch begins with it",
                mark.end_offset, mark.active_bytes
            );
            self.findings
                .rotten(&segment.path, mark.active_bytes.min(at), what);
            state.damaged = true;
        }
    }

    /// The log ends: does it reach what is promised, and does the journal go on from there?
    fn end(&mut self, state: &State<'_>, path: &Path, at: Option<u64>, any: bool) {
        let journal = self.journal_from(state, path, at);
        let Some((proven, who)) = self.proven() else {
            return;
        };
        if state.end >= proven || state.harmed || journal >= proven {
            return;
        }
        let what = format!(
            "ends at offset {}, but {who} vouches for {proven}",
            state.end
        );
        match any {
            true => self.findings.rotten(path, at, what),
            false => self.findings.missing(path, true, what),
        }
    }

    /// Judges what the journal holds and no segment has; the offset that recovery reaches.
    fn journal_from(&mut self, state: &State<'_>, path: &Path, at: Option<u64>) -> i64 {
        let mut next = state.end;
        for kept in state.kept {
            let held = &kept.held;
            let what = format!("offsets {}..={}", held.base_offset, held.last_offset);
            if kept.filled && held.last_offset >= state.end && !state.harmed {
                let what = format!(
                    "{what} are missing, although the journal calls {} at byte {} filled",
                    kept.path.display(),
                    held.position
                );
                self.findings.rotten(path, at, what);
            } else if held.base_offset == next {
                next = held.last_offset.saturating_add(1);
            } else if held.last_offset < state.end {
                let what = format!("{what} are in no segment, which hold later ones");
                self.journal_contradicts(kept, state, &what);
            } else if held.base_offset < next {
                let what = format!("{what} begin before the segments end, at {next}");
                self.journal_contradicts(kept, state, &what);
            } else if kept.completed {
                let what =
                    format!("{what} were complete, and what was before them, from {next}, is gone");
                self.journal_contradicts(kept, state, &what);
            } else {
                let what = format!("{what} follow on nothing: the log ends at {next}");
                self.findings
                    .torn(&kept.path, held.position, self.directory.is_closed, what);
                break;
            }
        }
        next
    }

    fn journal_contradicts(&mut self, kept: &Kept, state: &State<'_>, what: &str) {
        if !state.harmed {
            self.findings.rotten(&kept.path, kept.held.position, what);
        }
    }

    /// A batch that the journal has, too, is the same there.
    fn against_journal(
        &mut self,
        segment: &Segment,
        at: u64,
        batch: &Batch,
        state: &mut State<'_>,
    ) {
        while let Some((kept, rest)) = state.kept.split_first() {
            let held = &kept.held;
            if held.base_offset > batch.base_offset {
                return;
            }
            if held.base_offset == batch.base_offset {
                let here = (batch.last_offset(), batch.leader_epoch, batch.crc);
                if here != (Some(held.last_offset), held.leader_epoch, held.crc) {
                    let what = format!(
                        "offset {} is another batch in {} at byte {}",
                        batch.base_offset,
                        kept.path.display(),
                        held.position
                    );
                    self.findings.rotten(&segment.path, at, what);
                }
            } else if !(state.harmed || state.damaged) {
                let what = format!(
                    "offset {} begins no batch of {}",
                    held.base_offset,
                    segment.path.display()
                );
                self.findings.rotten(&kept.path, held.position, what);
            }
            state.kept = rest;
        }
    }

    fn epoch(&mut self, segment: &Segment, at: u64, batch: &Batch, state: &mut State<'_>) {
        let (epoch, base) = (batch.leader_epoch, batch.base_offset);
        let before = std::mem::replace(&mut state.epoch, epoch);
        if epoch < before {
            let what = format!("leader epoch {epoch} after {before}");
            self.findings.rotten(&segment.path, at, what);
            return;
        }
        let Some(epochs) = &state.epochs else {
            return;
        };
        let later = epochs.partition_point(|(_, start)| *start <= base);
        let Some((known, _)) = later.checked_sub(1).and_then(|at| epochs.get(at)) else {
            return;
        };
        // The file follows the log up to where the checkpoint vouches, and may be behind after it.
        let exact = segment.sealed || self.mark.is_some_and(|mark| base < mark.end_offset);
        if *known > epoch || (*known != epoch && exact) {
            let what = format!("leader epoch {epoch}, leader-epoch-checkpoint says {known}");
            self.findings.rotten(&segment.path, at, what);
        }
    }

    fn epochs(&mut self) -> Option<Vec<(i32, i64)>> {
        let path = self.partition.path.join("leader-epoch-checkpoint");
        let Some(bytes) = small(&path, self.findings) else {
            if self.mark.is_some_and(|mark| mark.active_bytes > 0) {
                self.findings
                    .missing(&path, true, "the checkpoint counts on it");
            }
            return None;
        };
        match papers::epochs(&bytes) {
            Ok(epochs) => Some(epochs),
            Err(fault) => {
                self.findings.rotten(&path, fault.at, fault.what);
                None
            }
        }
    }

    /// Those that read, the first last.
    fn snapshots(&mut self) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        let all = (Kind::Snapshot, i64::MIN)..=(Kind::Snapshot, i64::MAX);
        for ((_, at), _) in self.partition.files.range(all).rev() {
            let path = self.partition.path_of(Kind::Snapshot, *at);
            let Some(bytes) = small(&path, self.findings) else {
                continue;
            };
            match papers::snapshot(&bytes) {
                Err(fault) => self.findings.rotten(&path, fault.at, fault.what),
                Ok(producers) => snapshots.push(Snapshot {
                    at: *at,
                    path,
                    producers,
                }),
            }
        }
        snapshots
    }

    /// Holds the snapshots up to `until` against the batches that went by.
    fn compare_snapshots(&mut self, state: &mut State<'_>, until: i64) {
        while let Some(snapshot) = state.snapshots.pop_if(|next| next.at <= until) {
            for (place, producer) in snapshot.producers.iter().enumerate() {
                let seen = state.producers.get(&producer.id);
                let told = (producer.epoch, producer.last_sequence, producer.last_offset);
                // Kafka's transaction markers change what it tells.
                let exact = self.directory.is_ottla && !(state.harmed || state.damaged);
                let what = match seen {
                    _ if producer.last_offset >= snapshot.at => {
                        "its last offset is not below the snapshot's".to_owned()
                    }
                    Some(seen) if exact && *seen != told => {
                        let (epoch, sequence, offset) = seen;
                        format!(
                            "its last batch has epoch {epoch}, sequence {sequence}, offset {offset}"
                        )
                    }
                    _ => continue,
                };
                let position = (place as u64).saturating_mul(46).saturating_add(10);
                let what = format!("producer {}: {what}", producer.id);
                self.findings.rotten(&snapshot.path, position, what);
            }
        }
    }

    /// The one that the checkpoint's line goes with.
    fn wanted_snapshot(&mut self, state: &State<'_>) {
        let wanted = self
            .mark
            .filter(|mark| mark.active_bytes > 0 && !state.harmed);
        if let Some(mark) = wanted
            && !self
                .partition
                .files
                .contains_key(&(Kind::Snapshot, mark.end_offset))
        {
            let path = self.partition.path_of(Kind::Snapshot, mark.end_offset);
            self.findings
                .missing(&path, true, "the checkpoint counts on it");
        }
    }

    /// Index files of segments that are gone: a deletion was cut off.
    fn orphans(&mut self, segments: &[(i64, u64)]) {
        for (kind, base) in self.partition.files.keys() {
            let index = matches!(kind, Kind::OffsetIndex | Kind::TimeIndex);
            if index && segments.iter().all(|(known, _)| known != base) {
                let path = self.partition.path_of(*kind, *base);
                let log = names::segment_file_name(*base, Kind::Log);
                let what = format!("{log} is not there");
                self.findings.torn(&path, 0, false, what);
            }
        }
    }
}

impl Segment {
    /// Batches between two positions, up to an offset, cannot be read.
    fn pass_damage(&mut self, from: u64, until: u64, offset: i64) {
        if let Some((_, index)) = &mut self.offsets {
            index.pass_damage(from, until);
        }
        if let Some((_, index)) = &mut self.times {
            index.pass_damage(offset);
        }
    }

    /// A batch begins, or the segment ends, at `position`, where the log has reached `next`.
    fn meet_mark(&mut self, position: u64, next: i64) {
        let here = |mark: Mark| (mark.active_bytes, mark.end_offset) == (position, next);
        self.mark_met |= self.mark.is_some_and(here);
    }
}

impl State<'_> {
    /// The journal may hold what retention took from the segments.
    fn pass_below(&mut self, first: i64) {
        let below = self
            .kept
            .partition_point(|kept| kept.held.last_offset < first);
        self.kept = self.kept.get(below..).unwrap_or_default();
    }
}

/// The index files of a segment.
impl Check<'_> {
    fn exact(&self) -> Exact {
        match self.directory.is_ottla && self.contiguous {
            true => Exact::Yes,
            false => Exact::No,
        }
    }

    /// Entries that an index must have: all that are there when sealed, else what the mark counts.
    fn open_indexes(&mut self, segment: &mut Segment) {
        let exact = self.exact();
        let base = segment.base;
        let promised = segment.mark.unwrap_or(Mark::NONE);
        if let Some((path, bytes)) =
            self.index_bytes(segment, Kind::OffsetIndex, promised.offset_entries)
        {
            segment.offsets = Some((path, OffsetIndex::new(base, &bytes, exact)));
        }
        if let Some((path, bytes)) =
            self.index_bytes(segment, Kind::TimeIndex, promised.time_entries)
        {
            segment.times = Some((path, TimeIndex::new(base, &bytes, exact)));
        }
    }

    fn index_bytes(
        &mut self,
        segment: &Segment,
        kind: Kind,
        promised: u32,
    ) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.partition.path_of(kind, segment.base);
        match small(&path, self.findings) {
            Some(bytes) => Some((path, bytes)),
            None => {
                if segment.sealed || promised > 0 {
                    let what = match segment.sealed {
                        true => "its segment is sealed",
                        false => "the checkpoint counts on it",
                    };
                    self.findings.missing(&path, true, what);
                }
                None
            }
        }
    }

    fn indexes(&mut self, segment: &Segment) {
        let promised = segment.mark.unwrap_or(Mark::NONE);
        if let Some((path, index)) = &segment.offsets {
            self.note_entries(index.len());
            let reserved = |at| index.is_zero_from(at, segment.base);
            let of = (path.as_path(), OFFSET_ENTRY_BYTES, promised.offset_entries);
            self.index_faults(segment, of, index.faults(), index.len(), reserved);
        }
        if let Some((path, index)) = &segment.times {
            self.note_entries(index.len());
            let faults = index.faults();
            let sound = faults.is_empty();
            let reserved = |at| index.is_zero_from(at, segment.base);
            let of = (path.as_path(), TIME_ENTRY_BYTES, promised.time_entries);
            self.index_faults(segment, of, faults, index.len(), reserved);
            let ended = index.ends_with_largest() || self.exact() == Exact::No;
            if segment.sealed && sound && !ended {
                let at = index.len().saturating_mul(TIME_ENTRY_BYTES) as u64;
                let what = "does not end with the largest timestamp of its segment";
                self.findings.rotten(path, at, what);
            }
        }
    }

    fn note_entries(&mut self, entries: usize) {
        let sum = self.verified.index_entries.saturating_add(entries as u64);
        self.verified.index_entries = sum;
    }

    fn index_faults(
        &mut self,
        segment: &Segment,
        (path, entry_bytes, promised): (&Path, usize, u32),
        faults: Vec<(usize, String)>,
        entries: usize,
        reserved: impl Fn(usize) -> bool,
    ) {
        let promised = usize::try_from(promised).unwrap_or(usize::MAX);
        for (at, what) in faults {
            let position = at.saturating_mul(entry_bytes) as u64;
            if segment.sealed || at < promised {
                self.findings.rotten(path, position, what);
                continue;
            }
            let wrong = self.directory.is_closed;
            if reserved(at) {
                let zeros = entries.saturating_sub(at);
                let what = format!("{zeros} entries of zeros");
                self.findings.torn(path, position, wrong, what);
                return;
            }
            self.findings.torn(path, position, wrong, what);
        }
        if entries < promised && !segment.sealed {
            let position = entries.saturating_mul(entry_bytes) as u64;
            let what = format!("{entries} entries, the checkpoint counts {promised}");
            self.findings.rotten(path, position, what);
        }
    }
}

impl Mark {
    /// Nothing is promised.
    const NONE: Mark = Mark {
        id: (crate::words::TopicId::ZERO, -1),
        log_start: 0,
        end_offset: 0,
        active_base: -1,
        active_bytes: 0,
        max_timestamp: -1,
        max_timestamp_offset: -1,
        offset_entries: 0,
        time_entries: 0,
        since_entry: 0,
        leader_epoch: -1,
        first_timestamp: -1,
    };
}

/// Findings that two looks agree on: what moved meanwhile is not wrong.
pub fn in_both(first: Findings, second: &Findings) -> Findings {
    let same = |a: &Finding, b: &Finding| {
        (&a.path, a.position, a.verdict) == (&b.path, b.position, b.verdict)
    };
    let kept = first
        .list
        .into_iter()
        .filter(|a| second.list.iter().any(|b| same(a, b)));
    Findings {
        list: kept.collect(),
        more: first.more.min(second.more),
    }
}
