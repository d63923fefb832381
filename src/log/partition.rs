//! One partition's log: its cursors, its segments as facts, its tail, and the plans that the shard
//! carries out (append, fill, read). Lives on the shard that leads the partition.
//!
//! Pure: no clock, no I/O. Batches pass through as opaque slices; only their headers are known here.
//!
//! ```text
//!  log start        filled              durable = high watermark        log end
//!     |-- segments ----|-- journal, flushed ------|-- commit groups ---------|
//!                      |<------------------ tail (memory) ------------------>|
//! ```
//! `log start <= filled <= durable <= log end` at all times (filled may stay below log start for a
//! moment after records were deleted from the front).

use std::sync::Arc;

use bytes::Bytes;

use crate::log::append_rules::{self, AppendRefusal, LogSettings};
use crate::log::checkpoints::PartitionMark;
use crate::log::epochs::LeaderEpochs;
use crate::log::producer_snapshot::SnapshotEntry;
use crate::log::producers::{Admission, ProducerRefusal, Producers};
use crate::log::retention::{self, LogFacts, RetentionVerdict, SegmentFacts};
use crate::log::roll::{self, ActiveSegment, Incoming};
use crate::log::segment_indexes::SegmentIndexes;
use crate::log::tail::{StoredBatch, Tail};
use crate::log::time_index::TimestampOffset;
use crate::wire::record::{BatchHeader, TimestampType};
use crate::words::limits::PRODUCERS_PER_PARTITION_MAX;
use crate::words::{LeaderEpoch, Now, Offset, TimestampMs, TopicPartition, marks};

/// A segment as the log knows it; the bytes are the shard's business.
#[derive(Debug)]
pub struct Segment {
    pub base_offset: Offset,
    /// Offset after its last record.
    pub next_offset: Offset,
    /// Bytes it has or will have once everything is filled.
    pub size_bytes: u64,
    /// Bytes that are in its file and flushed.
    pub filled_bytes: u64,
    /// Max timestamp of its first batch, for rolling by time.
    pub first_timestamp: Option<TimestampMs>,
    /// Largest timestamp, and the offset the time index names for it.
    pub largest: TimestampOffset,
    /// Wall time at which it was opened, standing in for the file's creation.
    pub created: TimestampMs,
    /// Indexes of a segment that grows or is not sealed yet; `None` once they are in their files.
    pub building: Option<Box<SegmentIndexes>>,
}

/// What an append decided.
#[derive(Clone, Debug)]
pub enum Appended {
    /// The batch has its place; `header` is stamped and replaces the first 61 bytes.
    Placed(Placement),
    /// An idempotent producer's batch that is here already.
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: TimestampMs,
    },
}

/// Why a batch was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    Rules(AppendRefusal),
    Producer(ProducerRefusal),
    /// No offset is left for it.
    OffsetsUsedUp,
}

/// Where a new batch goes.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub segment: Offset,
    pub position: u64,
    /// The broker's time, when the topic says so (`message.timestamp.type`).
    pub log_append_time: Option<TimestampMs>,
    pub max_timestamp: TimestampMs,
}

/// What a read found, without having read.
#[derive(Debug)]
pub enum ReadPlan {
    /// Below the log start or above the log end.
    OutOfRange,
    /// At the limit: nothing yet.
    Nothing,
    /// Whole batches from memory.
    Memory(Vec<Bytes>),
    /// In a segment: look from the largest index entry at or below `from`.
    Disk {
        segment: Offset,
        /// Flushed bytes of that segment: never read past it.
        end_position: u64,
    },
}

/// A contiguous run of one partition to be written into one segment.
#[derive(Debug)]
pub struct FillPlan {
    pub segment: Offset,
    /// Where the first batch goes; unaligned.
    pub position: u64,
    pub batches: Vec<Bytes>,
    pub bytes: usize,
    /// Everything below is in the segment once this is written.
    pub next_offset: Offset,
    /// The segment is rolled and this is the rest of it: trim and seal after the write.
    pub completes_segment: bool,
}

/// The state of one partition's log.
pub struct Log {
    pub topic_partition: TopicPartition,
    pub settings: Arc<LogSettings>,
    leader_epoch: LeaderEpoch,
    log_start: Offset,
    log_end: Offset,
    durable: Offset,
    filled: Offset,
    segments: Vec<Segment>,
    pub tail: Tail,
    pub epochs: LeaderEpochs,
    pub producers: Producers,
    /// Jitter of this log's time roll, drawn by the shard (`segment.jitter.ms`).
    roll_jitter_ms: i64,
    /// Producer state as of the filled mark: what a snapshot for recovery has to say.
    filled_producers: Producers,
    /// The last mark that was handed out, and the bytes filled since.
    marked: Option<PartitionMark>,
    /// The mark of the beginning: what recovery made durable, or an empty log.
    origin: Option<PartitionMark>,
    bytes_since_mark: u64,
}

/// What recovery found, or what a new partition starts with.
pub struct LogStart {
    pub log_start: Offset,
    pub next_offset: Offset,
    /// In offset order; the last one is active and carries its indexes. Empty for a new log.
    pub segments: Vec<Segment>,
    pub epochs: LeaderEpochs,
    pub producers: Producers,
    /// It cannot be vouched for and must not be served.
    pub offline: bool,
}

impl LogStart {
    /// An empty log that starts at offset 0.
    pub fn empty(producers_max: usize) -> LogStart {
        LogStart {
            log_start: Offset(0),
            next_offset: Offset(0),
            segments: Vec::new(),
            epochs: LeaderEpochs::new(),
            producers: Producers::new(producers_max, Offset(0)),
            offline: false,
        }
    }
}

impl Log {
    pub fn new(
        topic_partition: TopicPartition,
        settings: Arc<LogSettings>,
        leader_epoch: LeaderEpoch,
        roll_jitter_ms: i64,
        start: LogStart,
        now: Now,
    ) -> Log {
        let filled_producers = Producers::from_snapshot(
            PRODUCERS_PER_PARTITION_MAX,
            start.next_offset,
            start.producers.snapshot(),
        );
        let mut log = Log {
            topic_partition,
            settings,
            leader_epoch,
            log_start: start.log_start,
            log_end: start.next_offset,
            durable: start.next_offset,
            filled: start.next_offset,
            segments: start.segments,
            tail: Tail::default(),
            epochs: start.epochs,
            producers: start.producers,
            roll_jitter_ms,
            filled_producers,
            marked: None,
            origin: None,
            bytes_since_mark: 0,
        };
        if log
            .segments
            .last()
            .is_none_or(|last| last.building.is_none())
        {
            log.open_segment(now);
        }
        log.origin = log.mark();
        log.set_leader_epoch(leader_epoch);
        log
    }

    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything below is flushed. With one replica this is the high watermark.
    pub fn high_watermark(&self) -> Offset {
        self.durable
    }

    /// Last stable offset: no transactions yet, so the high watermark.
    pub fn last_stable(&self) -> Offset {
        self.durable
    }

    /// Everything below is in flushed segments.
    pub fn filled(&self) -> Offset {
        self.filled
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// A new leadership begins (KIP-101): the epoch starts at the log end, whether or not anything
    /// is ever written in it (`Partition.makeLeader`).
    pub fn set_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.leader_epoch = epoch;
        self.epochs.assign(epoch, self.log_end);
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of all segments, filled or not.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .iter()
            .fold(0u64, |sum, segment| sum.saturating_add(segment.size_bytes))
    }

    /// Bytes that are only in the journal or in memory.
    pub fn unfilled_bytes(&self) -> u64 {
        self.segments
            .iter()
            .rev()
            .take_while(|segment| segment.next_offset > self.filled)
            .fold(0u64, |sum, segment| {
                sum.saturating_add(segment.size_bytes.saturating_sub(segment.filled_bytes))
            })
    }

    // ---- append -------------------------------------------------------------------------------

    /// Gives a checked batch its offsets, or says why not. The order of the checks is Kafka's
    /// (`UnifiedLog.append`): size, then producer, then placement. `max_timestamp` is what the
    /// stored header will say.
    ///
    /// State moves on at once; what was placed must be committed or the log dropped and recovered.
    pub fn append(
        &mut self,
        now: Now,
        header: &BatchHeader,
        max_timestamp: TimestampMs,
    ) -> Result<Appended, Refusal> {
        append_rules::judge_stored(header.size_bytes() as u64, &self.settings)
            .map_err(Refusal::Rules)?;
        let incoming = BatchHeader {
            base_offset: self.log_end,
            max_timestamp,
            ..*header
        };
        match self.producers.check(&incoming).map_err(Refusal::Producer)? {
            Admission::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            } => {
                marks::hit("duplicate batch");
                Ok(Appended::Duplicate {
                    base_offset,
                    last_offset,
                    timestamp,
                })
            }
            Admission::New => self.place(now, incoming).map(Appended::Placed),
        }
    }

    /// `incoming` has its base offset and its final max timestamp.
    fn place(&mut self, now: Now, incoming: BatchHeader) -> Result<Placement, Refusal> {
        let base_offset = incoming.base_offset;
        let last_offset = incoming.last_offset();
        let next_offset = last_offset.checked_add(1).ok_or(Refusal::OffsetsUsedUp)?;
        let log_append_time = match self.settings.message_timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(now.wall),
        };
        if self.must_roll(now, &incoming) {
            self.open_segment(now);
        }
        let placed = BatchHeader {
            leader_epoch: self.leader_epoch,
            ..incoming
        };
        let position = self.extend_active(&placed, next_offset);
        self.epochs.assign(self.leader_epoch, base_offset);
        self.producers.update(&placed, now.wall);
        self.log_end = next_offset;
        Ok(Placement {
            base_offset,
            last_offset,
            leader_epoch: self.leader_epoch,
            segment: self.active_base(),
            position,
            log_append_time,
            max_timestamp: placed.max_timestamp,
        })
    }

    fn active_base(&self) -> Offset {
        self.segments
            .last()
            .map_or(self.log_end, |segment| segment.base_offset)
    }

    fn must_roll(&self, now: Now, incoming: &BatchHeader) -> bool {
        let Some(active) = self.segments.last() else {
            return true;
        };
        let Some(indexes) = &active.building else {
            return true;
        };
        roll::should_roll(
            &ActiveSegment {
                base_offset: active.base_offset,
                size_bytes: active.size_bytes,
                created: active.created,
                first_batch_timestamp: active.first_timestamp,
                indexes_full: indexes.is_full(),
                jitter_ms: self.roll_jitter_ms,
            },
            &Incoming {
                size_bytes: incoming.size_bytes() as u64,
                max_timestamp: incoming.max_timestamp,
                last_offset: incoming.last_offset(),
            },
            &self.settings.roll(),
            now.wall,
        )
        .is_some()
    }

    fn open_segment(&mut self, now: Now) {
        marks::hit("roll");
        let base_offset = self.log_end;
        if let Some(rolled) = self.segments.last_mut()
            && let Some(indexes) = rolled.building.as_mut()
            && indexes.seal().is_err()
        {
            // A full time index: lookups stay right, the last timestamp is only less exact.
            debug_assert!(indexes.is_full());
        }
        self.segments.push(Segment {
            base_offset,
            next_offset: base_offset,
            size_bytes: 0,
            filled_bytes: 0,
            first_timestamp: None,
            largest: TimestampOffset::none(base_offset),
            created: now.wall,
            building: Some(Box::new(SegmentIndexes::new(
                base_offset,
                self.settings.indexes(),
            ))),
        });
    }

    fn extend_active(&mut self, placed: &BatchHeader, next_offset: Offset) -> u64 {
        let Some(active) = self.segments.last_mut() else {
            return 0;
        };
        let position = active.size_bytes;
        active.first_timestamp.get_or_insert(placed.max_timestamp);
        if let Some(indexes) = active.building.as_mut() {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            // A refusal leaves lookups right but coarser; a full index asks for a roll.
            let _ = indexes.appended(placed, position);
            active.largest = indexes.max_timestamp();
        }
        active.size_bytes = position.saturating_add(placed.size_bytes() as u64);
        active.next_offset = next_offset;
        position
    }

    /// The stamped batch is in memory: readers may have it once it is durable.
    pub fn remember(&mut self, batch: StoredBatch) {
        self.tail.push(batch);
    }

    /// Forgets producers that went quiet, in what is answered and in what is written down.
    pub fn expire_producers(&mut self, now: Now, expiration_ms: i64) {
        self.producers.expire(now.wall, expiration_ms);
        self.filled_producers.expire(now.wall, expiration_ms);
    }

    /// Everything below `offset` is flushed. Never moves back.
    pub fn durable_to(&mut self, offset: Offset) {
        debug_assert!(offset <= self.log_end, "durable beyond the log end");
        self.durable = self.durable.max(offset);
    }

    // ---- read ---------------------------------------------------------------------------------

    /// Plans a read of whole batches from `from` up to below `limit`, at most `bytes_max`; with
    /// `at_least_one` the first batch comes even when it is larger (KIP-74).
    pub fn plan_read(
        &self,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
        at_least_one: bool,
    ) -> ReadPlan {
        if from < self.log_start || from > self.log_end {
            return ReadPlan::OutOfRange;
        }
        if from >= limit {
            return ReadPlan::Nothing;
        }
        if self.tail.first_offset().is_some_and(|first| from >= first) {
            let mut batches = Vec::new();
            let mut bytes = 0usize;
            for batch in self.tail.from(from) {
                let len = batch.bytes.len();
                let fits = bytes.saturating_add(len) <= bytes_max;
                let first = batches.is_empty() && at_least_one;
                if batch.last_offset >= limit || !(fits || first) {
                    break;
                }
                bytes = bytes.saturating_add(len);
                batches.push(batch.bytes.clone());
            }
            return ReadPlan::Memory(batches);
        }
        match self.segment_holding(from) {
            Some(segment) => ReadPlan::Disk {
                segment: segment.base_offset,
                end_position: segment.filled_bytes,
            },
            None => ReadPlan::Nothing,
        }
    }

    /// The segment whose range holds `from`, or the next one after it.
    pub fn segment_holding(&self, from: Offset) -> Option<&Segment> {
        let at = self
            .segments
            .partition_point(|segment| segment.next_offset <= from);
        self.segments.get(at)
    }

    /// Bytes between `from` and `limit`, as far as positions tell: for `fetch.min.bytes`.
    /// Counts whole segments in between and the tail exactly; older data as "plenty".
    pub fn bytes_available(&self, from: Offset, limit: Offset, enough: usize) -> usize {
        if from >= limit {
            return 0;
        }
        if self.tail.first_offset().is_none_or(|first| from < first) {
            return enough;
        }
        let mut bytes = 0usize;
        for batch in self.tail.from(from) {
            if batch.last_offset >= limit || bytes >= enough {
                break;
            }
            bytes = bytes.saturating_add(batch.bytes.len());
        }
        bytes
    }

    // ---- fill ---------------------------------------------------------------------------------

    /// The next run to write into a segment: starts at the filled mark, stays inside one segment,
    /// takes batches below `limit`, at most `bytes_max` (one batch at least).
    pub fn plan_fill(&self, limit: Offset, bytes_max: usize) -> Option<FillPlan> {
        let segment = self.segments.iter().find(|segment| {
            segment.next_offset > self.filled || segment.filled_bytes < segment.size_bytes
        })?;
        let mut plan = FillPlan {
            segment: segment.base_offset,
            position: segment.filled_bytes,
            batches: Vec::new(),
            bytes: 0,
            next_offset: self.filled,
            completes_segment: false,
        };
        for batch in self.tail.from(self.filled) {
            let len = batch.bytes.len();
            let room = plan.batches.is_empty() || plan.bytes.saturating_add(len) <= bytes_max;
            if batch.segment != segment.base_offset || batch.last_offset >= limit || !room {
                break;
            }
            plan.batches.push(batch.bytes.clone());
            plan.bytes = plan.bytes.saturating_add(len);
            plan.next_offset = Offset(batch.last_offset.0.saturating_add(1));
        }
        if plan.batches.is_empty() {
            return None;
        }
        let last = segment.base_offset == self.active_base();
        plan.completes_segment = !last && plan.next_offset >= segment.next_offset;
        Some(plan)
    }

    /// What must go in front of a run that bypasses the journal: everything in memory that is not
    /// yet in the segment, durable or not. May be no batches at all.
    pub fn plan_bypass(&self) -> Option<FillPlan> {
        let segment = self.segment(self.first_unfilled_segment()?)?;
        let mut plan = FillPlan {
            segment: segment.base_offset,
            position: segment.filled_bytes,
            batches: Vec::new(),
            bytes: 0,
            next_offset: self.filled,
            completes_segment: false,
        };
        for batch in self.tail.from(self.filled) {
            plan.batches.push(batch.bytes.clone());
            plan.bytes = plan.bytes.saturating_add(batch.bytes.len());
            plan.next_offset = Offset(batch.last_offset.0.saturating_add(1));
        }
        Some(plan)
    }

    /// The segment in which the filled mark lies: the one that the next fill writes.
    pub fn first_unfilled_segment(&self) -> Option<Offset> {
        self.segments
            .iter()
            .find(|segment| {
                segment.filled_bytes < segment.size_bytes
                    || segment.base_offset == self.active_base()
            })
            .map(|segment| segment.base_offset)
    }

    /// A rolled segment is filled to its end and not sealed yet.
    pub fn segment_complete(&self, base: Offset) -> bool {
        base != self.active_base()
            && self.segment(base).is_some_and(|segment| {
                segment.building.is_some() && segment.filled_bytes >= segment.size_bytes
            })
    }

    /// The segment's indexes are in their files.
    pub fn sealed(&mut self, base: Offset) {
        if let Some(segment) = self.segment_mut(base) {
            segment.building = None;
        }
    }

    /// A planned fill is written and flushed.
    pub fn fill_done(&mut self, now: Now, segment: Offset, end_position: u64, next_offset: Offset) {
        for batch in self.tail.from(self.filled) {
            if batch.last_offset >= next_offset {
                break;
            }
            self.bytes_since_mark = self
                .bytes_since_mark
                .saturating_add(batch.bytes.len() as u64);
            if let Ok(header) = BatchHeader::parse(&batch.bytes) {
                self.filled_producers.update(&header, now.wall);
            }
        }
        self.filled = self.filled.max(next_offset);
        if let Some(segment) = self.segment_mut(segment) {
            segment.filled_bytes = segment.filled_bytes.max(end_position);
        }
    }

    pub fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self
            .segments
            .binary_search_by_key(&base, |segment| segment.base_offset)
            .ok()?;
        self.segments.get_mut(at)
    }

    pub fn segment(&self, base: Offset) -> Option<&Segment> {
        let at = self
            .segments
            .binary_search_by_key(&base, |segment| segment.base_offset)
            .ok()?;
        self.segments.get(at)
    }

    /// New settings of the topic; the active segment keeps its shape but for index bounds.
    pub fn set_settings(&mut self, settings: Arc<LogSettings>) {
        self.settings = settings;
        let indexes = self.settings.indexes();
        if let Some(building) = self
            .segments
            .last_mut()
            .and_then(|active| active.building.as_mut())
        {
            building.reconfigure(indexes);
        }
    }

    /// A rolled segment that is filled but not sealed: it comes before the next fill.
    pub fn segment_to_seal(&self) -> Option<Offset> {
        self.segments
            .iter()
            .map(|segment| segment.base_offset)
            .find(|base| self.segment_complete(*base))
    }

    /// The active segment ends here although it is not full (retention of an idle partition).
    pub fn roll(&mut self, now: Now) {
        if self
            .segments
            .last()
            .is_some_and(|active| active.size_bytes > 0)
        {
            self.open_segment(now);
        }
    }

    /// Moves the log start; never back, never above the high watermark.
    pub fn move_log_start(&mut self, to: Offset) {
        self.log_start = self.log_start.max(to.min(self.durable));
        self.epochs.truncate_from_start(self.log_start);
    }

    /// Gives up whole segments below the log start; returns their base offsets. The active segment
    /// always stays, and so does what is not filled yet.
    pub fn release_segments(&mut self) -> Vec<Offset> {
        let gone = self
            .segments
            .iter()
            .rev()
            .skip(1)
            .filter(|segment| segment.next_offset <= self.log_start.min(self.filled))
            .count();
        let mut bases: Vec<Offset> = Vec::with_capacity(gone);
        for segment in self.segments.drain(..gone) {
            bases.push(segment.base_offset);
        }
        bases
    }

    /// Producer state where the filled part ends.
    pub fn filled_snapshot(&self) -> (Offset, Vec<SnapshotEntry>) {
        (self.filled, self.filled_producers.snapshot())
    }

    /// Bytes filled since the last mark: what recovery would read again.
    pub fn bytes_since_mark(&self) -> u64 {
        self.bytes_since_mark
    }

    /// The last mark that was handed out, with the log start of today. Before the first one there
    /// is something to tell only when the log start moved.
    pub fn last_mark(&self) -> Option<PartitionMark> {
        let log_start = self.log_start;
        let moved = |origin: &PartitionMark| log_start > origin.log_start;
        let mark = self.marked.or(self.origin.filter(moved))?;
        Some(PartitionMark { log_start, ..mark })
    }

    /// The log starts behind the last mark: the mark helps nobody any more.
    pub fn mark_is_overtaken(&self) -> bool {
        let log_start = self.log_start;
        self.last_mark()
            .is_some_and(|mark| mark.end_offset < log_start)
    }

    /// A new mark at the filled end. What it counts must be made durable before it is written.
    pub fn take_mark(&mut self) -> Option<PartitionMark> {
        self.marked = self.mark();
        self.bytes_since_mark = 0;
        self.marked
    }

    /// The state of the filled part, for the shard's checkpoint; `None` for an empty log.
    fn mark(&self) -> Option<PartitionMark> {
        let segment = self.segment(self.first_unfilled_segment()?)?;
        let indexes = segment.building.as_ref()?;
        let offsets = indexes.offset_index().view();
        let filled_offsets = entries_before(offsets.len(), |at| {
            offsets
                .entry(at)
                .is_some_and(|entry| u64::from(entry.position) < segment.filled_bytes)
        });
        let times = indexes.time_index().view();
        let filled_times = entries_before(times.len(), |at| {
            times
                .entry(at)
                .is_some_and(|entry| entry.offset < self.filled)
        });
        let last_entry = (filled_offsets as usize)
            .checked_sub(1)
            .and_then(|at| offsets.entry(at))
            .map_or(0, |entry| u64::from(entry.position));
        let since_entry = segment.filled_bytes.saturating_sub(last_entry);
        Some(PartitionMark {
            id: self.topic_partition,
            log_start: self.log_start,
            end_offset: self.filled,
            active_base: segment.base_offset,
            active_bytes: segment.filled_bytes,
            // May speak for batches that are durable but not filled yet: too large is harmless.
            max_timestamp: indexes.max_timestamp().timestamp,
            max_timestamp_offset: indexes.max_timestamp().offset,
            offset_index_entries: filled_offsets,
            time_index_entries: filled_times,
            bytes_since_index_entry: u32::try_from(since_entry).unwrap_or(u32::MAX),
            leader_epoch: self
                .epochs
                .epoch_at(Offset(self.filled.0.saturating_sub(1)))
                .unwrap_or(LeaderEpoch(-1)),
            first_batch_timestamp: segment.first_timestamp.unwrap_or(TimestampMs(-1)),
        })
    }

    // ---- retention ----------------------------------------------------------------------------

    /// What retention says now (Kafka `UnifiedLog.deleteOldSegments`).
    pub fn judge_retention(&self, now: Now) -> RetentionVerdict {
        let facts: Vec<SegmentFacts> = self
            .segments
            .iter()
            .map(|segment| SegmentFacts {
                base_offset: segment.base_offset,
                size_bytes: segment.size_bytes,
                largest_timestamp: (segment.largest.timestamp.0 >= 0)
                    .then_some(segment.largest.timestamp),
                modified: segment.created,
            })
            .collect();
        retention::judge(
            &facts,
            &LogFacts {
                log_start: self.log_start,
                high_watermark: self.durable,
                log_end: self.log_end,
            },
            &self.settings.retention(),
            now.wall,
        )
    }
}

/// How many of the first `len` entries satisfy `inside`, which holds for a prefix of them.
fn entries_before(len: usize, inside: impl Fn(usize) -> bool) -> u32 {
    let (mut low, mut high) = (0usize, len);
    while low < high {
        let middle = low.midpoint(high);
        if inside(middle) {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    u32::try_from(low).unwrap_or(u32::MAX)
}
