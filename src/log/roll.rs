//! When the active segment gives way to a new one (Kafka `LogSegment.shouldRoll`, `RollParams`).
//!
//! Facts in, verdict out: never creates a segment. The new segment's base offset is the base
//! offset of the batch that did not fit.

use crate::log::offset_index::relative_offset;
use crate::words::{Offset, TimestampMs};

/// What is known of the active segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveSegment {
    pub base_offset: Offset,
    pub size_bytes: u64,
    /// Wall clock when the segment was created (or opened at start).
    pub created: TimestampMs,
    /// Max timestamp of its first batch; `None` while it is empty. `-1` when the batch has none.
    pub first_batch_timestamp: Option<TimestampMs>,
    /// The offset or the time index takes no further entry.
    pub indexes_full: bool,
    /// Drawn once for the segment, see [`jitter_ms`].
    pub jitter_ms: i64,
}

/// What is to be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming {
    pub size_bytes: u64,
    pub max_timestamp: TimestampMs,
    pub last_offset: Offset,
}

/// What the topic's settings say about rolling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollSettings {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`, and not more than `max.compaction.lag.ms` on a compacted topic.
    pub segment_ms: i64,
}

/// Why the segment gives way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RollReason {
    /// The batch would take it above `segment.bytes`.
    Size,
    /// More than `segment.ms`, less the jitter, has passed in record time.
    Age,
    IndexFull,
    /// The last offset is too far from the base for a 31-bit relative offset.
    OffsetOverflow,
}

/// Whether to roll before `incoming` is appended. Age is record time: from the first batch's
/// timestamp to the incoming batch's; only when the first batch has none it is the wall clock
/// since creation. An empty segment never ages. When several reasons hold the first is named.
pub fn should_roll(
    active: &ActiveSegment,
    incoming: &Incoming,
    settings: &RollSettings,
    now: TimestampMs,
) -> Option<RollReason> {
    if active.size_bytes.saturating_add(incoming.size_bytes) > settings.segment_bytes {
        // Also true of an empty segment: such a batch is refused before anybody asks.
        return Some(RollReason::Size);
    }
    let waited_ms = match active.first_batch_timestamp {
        Some(first) if first.0 >= 0 => incoming.max_timestamp.0.saturating_sub(first.0),
        _ => now.0.saturating_sub(active.created.0),
    };
    let allowed_ms = settings.segment_ms.saturating_sub(active.jitter_ms);
    if active.size_bytes > 0 && waited_ms > allowed_ms {
        return Some(RollReason::Age);
    }
    if active.indexes_full {
        return Some(RollReason::IndexFull);
    }
    if relative_offset(active.base_offset, incoming.last_offset).is_none() {
        return Some(RollReason::OffsetOverflow);
    }
    None
}

/// Milliseconds by which a new segment rolls earlier, so that partitions do not roll together:
/// `random` taken modulo the smaller of `segment.jitter.ms` and `segment.ms` (Kafka
/// `LogConfig.randomSegmentJitter`).
pub fn jitter_ms(segment_jitter_ms: i64, segment_ms: i64, random: u64) -> i64 {
    let bound = u64::try_from(segment_jitter_ms.min(segment_ms)).unwrap_or(0);
    let jitter = random.checked_rem(bound).unwrap_or(0);
    i64::try_from(jitter).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RollSettings = RollSettings {
        segment_bytes: 1000,
        segment_ms: 500,
    };

    fn active() -> ActiveSegment {
        ActiveSegment {
            base_offset: Offset(100),
            size_bytes: 900,
            created: TimestampMs(0),
            first_batch_timestamp: Some(TimestampMs(10_000)),
            indexes_full: false,
            jitter_ms: 0,
        }
    }

    fn incoming() -> Incoming {
        Incoming {
            size_bytes: 100,
            max_timestamp: TimestampMs(10_500),
            last_offset: Offset(200),
        }
    }

    fn verdict(active: ActiveSegment, incoming: Incoming, now: i64) -> Option<RollReason> {
        should_roll(&active, &incoming, &SETTINGS, TimestampMs(now))
    }

    /// What a case changes about a segment and a batch that still fit.
    type Change = fn(&mut ActiveSegment, &mut Incoming);

    #[test]
    fn a_segment_rolls_when_kafka_rolls_it() {
        use RollReason::*;
        let late = 1_000_000; // the wall clock, which counts only without record times
        let cases: &[(&str, Change, i64, Option<RollReason>)] = &[
            ("exactly full, exactly old", |_, _| {}, late, None),
            ("one byte more", |_, i| i.size_bytes += 1, late, Some(Size)),
            ("one ms later", |_, i| i.max_timestamp.0 += 1, 0, Some(Age)),
            ("jitter", |a, _| a.jitter_ms = 1, 0, Some(Age)),
            (
                "older records never age it",
                |_, i| i.max_timestamp.0 = 0,
                late,
                None,
            ),
            (
                "no record time, wall clock",
                |a, _| a.first_batch_timestamp = Some(TimestampMs(-1)),
                500,
                None,
            ),
            (
                "no record time, later",
                |a, _| a.first_batch_timestamp = Some(TimestampMs(-1)),
                501,
                Some(Age),
            ),
            (
                "an empty segment does not age",
                |a, _| {
                    a.size_bytes = 0;
                    a.first_batch_timestamp = None;
                },
                late,
                None,
            ),
            (
                "full index",
                |a, _| a.indexes_full = true,
                0,
                Some(IndexFull),
            ),
            (
                "last offset that fits",
                |_, i| i.last_offset.0 = 100 + i64::from(i32::MAX),
                0,
                None,
            ),
            (
                "one further",
                |_, i| i.last_offset.0 = 101 + i64::from(i32::MAX),
                0,
                Some(OffsetOverflow),
            ),
            (
                "below the base",
                |_, i| i.last_offset.0 = 99,
                0,
                Some(OffsetOverflow),
            ),
            (
                "extremes do not overflow",
                |_, i| i.max_timestamp.0 = i64::MIN,
                i64::MIN,
                None,
            ),
        ];
        for (name, change, now, expected) in cases {
            let (mut active, mut incoming) = (active(), incoming());
            change(&mut active, &mut incoming);
            assert_eq!(verdict(active, incoming, *now), *expected, "{name}");
        }
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        assert_eq!(jitter_ms(0, 500, 77), 0);
        assert_eq!(jitter_ms(100, 500, 250), 50);
        assert_eq!(jitter_ms(i64::MAX, 500, 501), 1);
        assert_eq!(jitter_ms(-5, 500, 501), 0);
    }
}
