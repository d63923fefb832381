//! Which leading segments of a log go: by log start offset, size and time (Kafka
//! `UnifiedLog.deleteOldSegments`, `deletableSegments`).
//!
//! Facts in, verdict out: never deletes anything, never asks a clock. Compaction is not here.

use crate::words::{Offset, TimestampMs};

/// One segment. `next_offset` is the base of the next one, or the log end offset for the active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    pub base_offset: Offset,
    pub size_bytes: u64,
    /// Largest record timestamp; `None` (or negative) when no record has one.
    pub largest_timestamp: Option<TimestampMs>,
    /// Last modification of the file: its age when there is no record time.
    pub modified: TimestampMs,
}

/// The log around its segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogFacts {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

/// What the topic's settings say about keeping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionSettings {
    /// `cleanup.policy` contains `delete`; without it only the log start offset deletes.
    pub delete: bool,
    /// `retention.ms`; negative keeps for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative keeps any size.
    pub retention_bytes: i64,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RetentionVerdict {
    /// Leading segments to delete, by reason; their sum is how many.
    pub by_log_start: usize,
    pub by_size: usize,
    pub by_time: usize,
    /// All segments go, the active one too: first roll, so that an empty one at the log end stays.
    pub roll_first: bool,
    /// Log start offset afterwards; publish it before the files go.
    pub log_start: Offset,
}

impl RetentionVerdict {
    /// How many leading segments to delete.
    pub fn delete(&self) -> usize {
        self.by_log_start
            .saturating_add(self.by_size)
            .saturating_add(self.by_time)
    }
}

/// Judges `segments`, oldest first, the active one last. Three passes in Kafka's order (start
/// offset, size, time), each over what the one before left. No segment goes that ends above the
/// high watermark, and an empty active segment always stays.
pub fn judge(
    segments: &[SegmentFacts],
    log: &LogFacts,
    settings: &RetentionSettings,
    now: TimestampMs,
) -> RetentionVerdict {
    let mut left = Remaining { segments, log };
    let passed = |next: &SegmentFacts| next.base_offset <= log.log_start;
    let mut verdict = RetentionVerdict {
        by_log_start: left.delete_while(|_, next| next.is_some_and(passed)),
        ..RetentionVerdict::default()
    };
    if settings.delete {
        let mut excess = left.excess_over(settings.retention_bytes);
        verdict.by_size = left.delete_while(|segment, _| {
            let fits = excess.and_then(|excess| excess.checked_sub(segment.size_bytes));
            if fits.is_some() {
                excess = fits;
            }
            fits.is_some()
        });
        verdict.by_time = left.delete_while(|segment, _| {
            settings.retention_ms >= 0
                && now.0.saturating_sub(age_from(segment).0) > settings.retention_ms
        });
    }
    verdict.roll_first = left.segments.is_empty() && !segments.is_empty();
    let first_left = left.segments.first().map(|segment| segment.base_offset);
    verdict.log_start = match first_left {
        // What stays may begin below a log start that DeleteRecords has moved inside it.
        Some(base) => log.log_start.max(base),
        None if verdict.roll_first => log.log_start.max(log.log_end),
        None => log.log_start,
    };
    verdict
}

/// The moment from which a segment's age counts (Kafka `LogSegment.largestTimestamp`). A record
/// dated in the future keeps its segment until then.
fn age_from(segment: &SegmentFacts) -> TimestampMs {
    segment
        .largest_timestamp
        .filter(|timestamp| timestamp.0 >= 0)
        .unwrap_or(segment.modified)
}

struct Remaining<'a> {
    segments: &'a [SegmentFacts],
    log: &'a LogFacts,
}

impl Remaining<'_> {
    /// Drops leading segments as long as `goes` says so of one and its successor.
    fn delete_while(
        &mut self,
        mut goes: impl FnMut(&SegmentFacts, Option<&SegmentFacts>) -> bool,
    ) -> usize {
        let mut deleted = 0usize;
        while let Some((segment, rest)) = self.segments.split_first() {
            let next = rest.first();
            let end = next.map_or(self.log.log_end, |next| next.base_offset);
            let empty_active = next.is_none() && segment.size_bytes == 0;
            if end > self.log.high_watermark || empty_active || !goes(segment, next) {
                break;
            }
            self.segments = rest;
            deleted = deleted.saturating_add(1);
        }
        deleted
    }

    /// Bytes above `retention_bytes`; `None` when there are none or the setting is off.
    fn excess_over(&self, retention_bytes: i64) -> Option<u64> {
        let keep = u64::try_from(retention_bytes).ok()?;
        let sum = |sum: u64, segment: &SegmentFacts| sum.saturating_add(segment.size_bytes);
        self.segments.iter().fold(0, sum).checked_sub(keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: RetentionSettings = RetentionSettings {
        delete: true,
        retention_ms: -1,
        retention_bytes: -1,
    };

    /// Segments of ten records and 100 bytes each, written at 1000, 2000, ...; the last is active.
    fn segments(count: i64) -> Vec<SegmentFacts> {
        let segment = |at: i64| SegmentFacts {
            base_offset: Offset(at * 10),
            size_bytes: 100,
            largest_timestamp: Some(TimestampMs((at + 1) * 1000)),
            modified: TimestampMs(77),
        };
        (0..count).map(segment).collect()
    }

    fn log(start: i64, high_watermark: i64, end: i64) -> LogFacts {
        LogFacts {
            log_start: Offset(start),
            high_watermark: Offset(high_watermark),
            log_end: Offset(end),
        }
    }

    /// (by log start, by size, by time, roll first, log start)
    fn outcome(verdict: RetentionVerdict) -> (usize, usize, usize, bool, i64) {
        let RetentionVerdict {
            by_log_start,
            by_size,
            by_time,
            roll_first,
            log_start,
        } = verdict;
        (by_log_start, by_size, by_time, roll_first, log_start.0)
    }

    #[test]
    fn size_keeps_at_least_what_it_promises() {
        // 400 bytes in four segments, all committed.
        for (keep, size, roll, start) in [
            (-1, 0, false, 0),
            (0, 4, true, 40),
            (1, 3, false, 30),
            (100, 3, false, 30),
            (101, 2, false, 20),
            (300, 1, false, 10),
            (301, 0, false, 0),
            (400, 0, false, 0),
            (i64::MAX, 0, false, 0),
        ] {
            let settings = RetentionSettings {
                retention_bytes: keep,
                ..KEEP
            };
            let verdict = judge(&segments(4), &log(0, 40, 40), &settings, TimestampMs(0));
            assert_eq!(outcome(verdict), (0, size, 0, roll, start), "{keep}");
        }
    }

    #[test]
    fn time_counts_from_the_largest_record_timestamp() {
        // Segments end at 1000, 2000, 3000, 4000; retention is 500 ms.
        let settings = RetentionSettings {
            retention_ms: 500,
            ..KEEP
        };
        for (now, time, roll, start) in [
            (1500, 0, false, 0),
            (1501, 1, false, 10),
            (3500, 2, false, 20),
            (9999, 4, true, 40),
            (i64::MIN, 0, false, 0),
        ] {
            let verdict = judge(&segments(4), &log(0, 40, 40), &settings, TimestampMs(now));
            assert_eq!(outcome(verdict), (0, 0, time, roll, start), "{now}");
        }
    }

    #[test]
    fn a_future_record_pins_its_segment_and_all_after_it() {
        let settings = RetentionSettings {
            retention_ms: 0,
            ..KEEP
        };
        let mut segments = segments(4);
        segments[1].largest_timestamp = Some(TimestampMs(i64::MAX));
        let verdict = judge(&segments, &log(0, 40, 40), &settings, TimestampMs(99_999));
        assert_eq!(outcome(verdict), (0, 0, 1, false, 10));
    }

    #[test]
    fn without_record_time_the_file_s_age_counts() {
        let settings = RetentionSettings {
            retention_ms: 100,
            ..KEEP
        };
        for none in [None, Some(TimestampMs(-1))] {
            let mut segments = segments(2);
            segments[0].largest_timestamp = none;
            for (now, time) in [(177, 0), (178, 1)] {
                let verdict = judge(&segments, &log(0, 20, 20), &settings, TimestampMs(now));
                assert_eq!(verdict.by_time, time, "{now}");
            }
        }
    }

    #[test]
    fn nothing_above_the_high_watermark_goes() {
        let settings = RetentionSettings {
            retention_bytes: 0,
            ..KEEP
        };
        for (high_watermark, deleted, roll) in
            [(9, 0, false), (10, 1, false), (39, 3, false), (40, 4, true)]
        {
            let facts = log(0, high_watermark, 40);
            let verdict = judge(&segments(4), &facts, &settings, TimestampMs(0));
            assert_eq!((verdict.delete(), verdict.roll_first), (deleted, roll));
        }
    }

    #[test]
    fn the_log_start_offset_deletes_on_every_policy() {
        let compacted = RetentionSettings {
            delete: false,
            retention_ms: 0,
            retention_bytes: 0,
        };
        for (start, deleted) in [(0, 0), (9, 0), (10, 1), (25, 2), (40, 3)] {
            let facts = log(start, 40, 40);
            let verdict = judge(&segments(4), &facts, &compacted, TimestampMs(99_999));
            // The active segment has no successor, so it stays even when all of it is deleted.
            assert_eq!(outcome(verdict), (deleted, 0, 0, false, start), "{start}");
        }
    }

    #[test]
    fn an_empty_active_segment_stays() {
        let settings = RetentionSettings {
            retention_bytes: 0,
            retention_ms: 0,
            ..KEEP
        };
        let mut segments = segments(2);
        segments[1].size_bytes = 0;
        let verdict = judge(&segments, &log(0, 10, 10), &settings, TimestampMs(99_999));
        assert_eq!(outcome(verdict), (0, 1, 0, false, 10));
        let verdict = judge(
            &segments[1..],
            &log(10, 10, 10),
            &settings,
            TimestampMs(99_999),
        );
        assert_eq!(outcome(verdict), (0, 0, 0, false, 10));
        let verdict = judge(&[], &log(7, 10, 10), &settings, TimestampMs(0));
        assert_eq!(outcome(verdict), (0, 0, 0, false, 7));
    }

    #[test]
    fn each_pass_sees_what_the_one_before_left() {
        let settings = RetentionSettings {
            retention_bytes: 200,
            retention_ms: 500,
            ..KEEP
        };
        // Five segments: the start offset takes one, size then two, time one of the last two.
        let verdict = judge(&segments(5), &log(15, 50, 50), &settings, TimestampMs(4600));
        assert_eq!(outcome(verdict), (1, 2, 1, false, 40));
    }
}
