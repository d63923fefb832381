//! What a partition's settings allow to be appended, as far as the batch's header and size tell
//! (Kafka `LogConfig`; `UnifiedLog.append`, `LogValidator.validateBatch`).
//!
//! Facts in, verdict out. Never reads records, never checks the CRC, never looks at producer
//! state; who calls keeps Kafka's order, which decides what a client with two faults is told:
//!
//! | step | refuses with | done by |
//! |---|---|---|
//! | exactly one batch, magic 2 | INVALID_RECORD 87 | `wire/record` |
//! | base offset 0 | INVALID_RECORD 87 | [`judge_arrival`] |
//! | `max.message.bytes` | MESSAGE_TOO_LARGE 10 | [`judge_arrival`] |
//! | CRC | CORRUPT_MESSAGE 2 | `wire/record` |
//! | count, control, sequence, codec | INVALID_RECORD 87, UNSUPPORTED_COMPRESSION_TYPE 76 | [`judge_header`] |
//! | records: count, offsets, keys, timestamps | 87, INVALID_TIMESTAMP 32 | `wire/record`, [`LogSettings::accepts_timestamp`] |
//! | `max.message.bytes` again when re-encoded | MESSAGE_TOO_LARGE 10 | [`judge_stored`] |
//! | `segment.bytes` | RECORD_LIST_TOO_LARGE 18 | [`judge_stored`] |
//! | epoch and sequence of the producer | 45, 47, 48 | `producers.rs` |

use crate::log::flush_debt::FlushPolicy;
use crate::log::retention::RetentionSettings;
use crate::log::roll::RollSettings;
use crate::log::segment_indexes::IndexSettings;
use crate::wire::record::{BatchHeader, Codec, TimestampType};
use crate::words::TimestampMs;

/// Topic settings that a log obeys, under Kafka's names, with Kafka 4.3's defaults.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSettings {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: bound of a stored batch.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `compression.type`; `None` is `producer`: stored as it came.
    pub compression_type: Option<Codec>,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    /// `retention.ms`; negative is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative is without bound.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `delete.retention.ms`: how long tombstones and markers stay in a compacted log.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// When answers leave: `flush.messages` and `flush.ms`, where somebody gave them.
    pub flush: FlushPolicy,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `producer.id.expiration.ms`, a setting of the broker.
    pub producer_id_expiration_ms: i64,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 60 * 60 * 1000,
            compression_type: None,
            cleanup_delete: true,
            cleanup_compact: false,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            flush: FlushPolicy::Always,
            min_insync_replicas: 1,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}

impl LogSettings {
    /// For `roll.rs`. A compacted log rolls early enough for `max.compaction.lag.ms`.
    pub fn roll(&self) -> RollSettings {
        let compact = self.cleanup_compact.then_some(self.max_compaction_lag_ms);
        RollSettings {
            segment_bytes: u64::from(self.segment_bytes),
            segment_ms: self.segment_ms.min(compact.unwrap_or(i64::MAX)),
        }
    }

    /// For `retention.rs`.
    pub fn retention(&self) -> RetentionSettings {
        RetentionSettings {
            delete: self.cleanup_delete,
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
        }
    }

    /// For `segment_indexes.rs`.
    pub fn indexes(&self) -> IndexSettings {
        IndexSettings {
            segment_index_bytes: self.segment_index_bytes,
            index_interval_bytes: self.index_interval_bytes,
        }
    }

    /// The codec in which a batch that came in `source` is stored.
    pub fn target_codec(&self, source: Codec) -> Codec {
        self.compression_type.unwrap_or(source)
    }

    /// Whether a record may carry `timestamp` at `now` (else INVALID_TIMESTAMP 32). To be asked
    /// for each record: the header's largest timestamp is the client's claim, which Kafka does
    /// not believe. No timestamp (-1) passes any bound, and log append time replaces all.
    pub fn accepts_timestamp(&self, timestamp: TimestampMs, now: TimestampMs) -> bool {
        if self.message_timestamp_type == TimestampType::LogAppendTime || timestamp.0 == -1 {
            return true;
        }
        let age_ms = i128::from(now.0).saturating_sub(i128::from(timestamp.0));
        age_ms <= i128::from(self.message_timestamp_before_max_ms)
            && age_ms.saturating_neg() <= i128::from(self.message_timestamp_after_max_ms)
    }
}

/// Why a batch may not be appended, for what its header and size tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRefusal {
    /// A client's batch begins at offset 0: INVALID_RECORD (87).
    BaseOffset(i64),
    /// Above `max.message.bytes`: MESSAGE_TOO_LARGE (10).
    MessageTooLarge { size_bytes: u64, max_bytes: u32 },
    /// Count of records and last offset delta do not agree, or there are none:
    /// INVALID_RECORD (87).
    RecordsCount { count: i32, last_offset_delta: i32 },
    /// Clients may not write control batches: INVALID_RECORD (87).
    ControlBatch,
    /// A producer id without a sequence: INVALID_RECORD (87).
    MissingSequence,
    /// A codec that does not exist: UNSUPPORTED_COMPRESSION_TYPE (76). (Kafka says
    /// UNKNOWN_SERVER_ERROR, an accident.)
    UnknownCodec(Codec),
    /// More than a whole segment: RECORD_LIST_TOO_LARGE (18).
    RecordListTooLarge { size_bytes: u64, segment_bytes: u32 },
}

impl AppendRefusal {
    /// Whether Kafka fills in the log start offset beside this error in a Produce answer: for
    /// INVALID_RECORD it does, for sizes and codecs it says -1.
    pub fn tells_log_start(&self) -> bool {
        match self {
            AppendRefusal::MessageTooLarge { .. }
            | AppendRefusal::RecordListTooLarge { .. }
            | AppendRefusal::UnknownCodec(_) => false,
            AppendRefusal::BaseOffset(_)
            | AppendRefusal::RecordsCount { .. }
            | AppendRefusal::ControlBatch
            | AppendRefusal::MissingSequence => true,
        }
    }
}

/// All that can be said of a client's batch before its CRC and records are read; for a caller to
/// whom the order among several faults does not matter. `size_bytes` is the batch's true size.
pub fn judge(
    batch: &BatchHeader,
    size_bytes: u64,
    settings: &LogSettings,
) -> Result<(), AppendRefusal> {
    judge_arrival(batch, size_bytes, settings)?;
    judge_header(batch)?;
    judge_stored(size_bytes, settings)
}

/// Before the CRC is computed.
pub fn judge_arrival(
    batch: &BatchHeader,
    size_bytes: u64,
    settings: &LogSettings,
) -> Result<(), AppendRefusal> {
    if batch.base_offset.0 != 0 {
        return Err(AppendRefusal::BaseOffset(batch.base_offset.0));
    }
    judge_size(size_bytes, settings)
}

/// After the CRC, before the records are read.
pub fn judge_header(batch: &BatchHeader) -> Result<(), AppendRefusal> {
    let (count, last_offset_delta) = (batch.records_count, batch.last_offset_delta);
    if count < 1 || last_offset_delta.checked_add(1) != Some(count) {
        return Err(AppendRefusal::RecordsCount {
            count,
            last_offset_delta,
        });
    }
    if batch.is_control() {
        return Err(AppendRefusal::ControlBatch);
    }
    if batch.has_producer_id() && batch.base_sequence.0 < 0 {
        return Err(AppendRefusal::MissingSequence);
    }
    if batch.codec().0 > Codec::ZSTD.0 {
        return Err(AppendRefusal::UnknownCodec(batch.codec()));
    }
    Ok(())
}

/// After the records have been read and perhaps encoded anew: the size in which it is stored.
pub fn judge_stored(size_bytes: u64, settings: &LogSettings) -> Result<(), AppendRefusal> {
    judge_size(size_bytes, settings)?;
    if size_bytes > u64::from(settings.segment_bytes) {
        return Err(AppendRefusal::RecordListTooLarge {
            size_bytes,
            segment_bytes: settings.segment_bytes,
        });
    }
    Ok(())
}

fn judge_size(size_bytes: u64, settings: &LogSettings) -> Result<(), AppendRefusal> {
    let max_bytes = settings.max_message_bytes;
    if size_bytes > u64::from(max_bytes) {
        return Err(AppendRefusal::MessageTooLarge {
            size_bytes,
            max_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

    fn batch() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0),
            batch_length: 88,
            leader_epoch: LeaderEpoch(-1),
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 1,
            base_timestamp: TimestampMs(0),
            max_timestamp: TimestampMs(0),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            records_count: 2,
        }
    }

    fn settings() -> LogSettings {
        LogSettings {
            max_message_bytes: 100,
            segment_bytes: 90,
            ..LogSettings::default()
        }
    }

    #[test]
    fn each_fault_has_its_refusal() {
        type Change = fn(&mut BatchHeader);
        let count = |count, last_offset_delta| AppendRefusal::RecordsCount {
            count,
            last_offset_delta,
        };
        let cases: &[(&str, Change, Option<AppendRefusal>)] = &[
            ("good", |_| {}, None),
            (
                "base",
                |b| b.base_offset.0 = 5,
                Some(AppendRefusal::BaseOffset(5)),
            ),
            ("count 0", |b| b.records_count = 0, Some(count(0, 1))),
            ("count 3", |b| b.records_count = 3, Some(count(3, 1))),
            ("count -1", |b| b.records_count = -1, Some(count(-1, 1))),
            ("delta 5", |b| b.last_offset_delta = 5, Some(count(2, 5))),
            (
                "delta max",
                |b| b.last_offset_delta = i32::MAX,
                Some(count(2, i32::MAX)),
            ),
            (
                "empty",
                |b| {
                    b.last_offset_delta = -1;
                    b.records_count = 0;
                },
                Some(count(0, -1)),
            ),
            (
                "control",
                |b| b.attributes = 0x20,
                Some(AppendRefusal::ControlBatch),
            ),
            (
                "no sequence",
                |b| b.producer_id.0 = 1,
                Some(AppendRefusal::MissingSequence),
            ),
            ("sequence without id", |b| b.base_sequence.0 = 5, None),
            (
                "codec 5",
                |b| b.attributes = 5,
                Some(AppendRefusal::UnknownCodec(Codec(5))),
            ),
            ("zstd", |b| b.attributes = 4, None),
            ("append time claimed", |b| b.attributes = 8, None),
            ("unused bits", |b| b.attributes = 0x80 | i16::MIN, None),
            ("delete horizon", |b| b.attributes = 0x40, None),
        ];
        for (name, change, expected) in cases {
            let mut batch = batch();
            change(&mut batch);
            assert_eq!(judge(&batch, 80, &settings()).err(), *expected, "{name}");
        }
    }

    #[test]
    fn sizes_are_refused_by_the_first_bound_they_pass() {
        let too_large = |size_bytes| AppendRefusal::MessageTooLarge {
            size_bytes,
            max_bytes: 100,
        };
        let list_too_large = |size_bytes| AppendRefusal::RecordListTooLarge {
            size_bytes,
            segment_bytes: 90,
        };
        for (size, expected) in [
            (90, None),
            (91, Some(list_too_large(91))),
            (100, Some(list_too_large(100))),
            (101, Some(too_large(101))),
            (u64::MAX, Some(too_large(u64::MAX))),
        ] {
            assert_eq!(judge(&batch(), size, &settings()).err(), expected, "{size}");
        }
    }

    #[test]
    fn of_several_faults_the_one_is_told_that_kafka_tells() {
        let mut batch = batch();
        batch.records_count = 9;
        // Too large before count; count before too large for the segment; base before all.
        let refusal = judge(&batch, 101, &settings()).unwrap_err();
        assert!(matches!(refusal, AppendRefusal::MessageTooLarge { .. }));
        assert!(!refusal.tells_log_start());
        let refusal = judge(&batch, 95, &settings()).unwrap_err();
        assert!(matches!(refusal, AppendRefusal::RecordsCount { .. }));
        batch.base_offset.0 = 1;
        let refusal = judge(&batch, 101, &settings()).unwrap_err();
        assert_eq!(refusal, AppendRefusal::BaseOffset(1));
        assert!(refusal.tells_log_start());
    }

    #[test]
    fn timestamps_are_bounded_on_both_sides() {
        let mut settings = LogSettings {
            message_timestamp_before_max_ms: 100,
            message_timestamp_after_max_ms: 50,
            ..LogSettings::default()
        };
        let now = TimestampMs(1000);
        for (timestamp, accepted) in [
            (900, true),
            (899, false),
            (1050, true),
            (1051, false),
            (-1, true),
            (-2, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let answer = settings.accepts_timestamp(TimestampMs(timestamp), now);
            assert_eq!(answer, accepted, "{timestamp}");
        }
        settings.message_timestamp_type = TimestampType::LogAppendTime;
        assert!(settings.accepts_timestamp(TimestampMs(i64::MAX), now));
        let defaults = LogSettings::default();
        assert!(defaults.accepts_timestamp(TimestampMs(0), TimestampMs(1 << 50)));
        assert!(!defaults.accepts_timestamp(TimestampMs(3_601_001), now));
    }

    #[test]
    fn a_compacted_log_rolls_in_time_to_be_compacted() {
        let mut settings = LogSettings {
            max_compaction_lag_ms: 1000,
            ..LogSettings::default()
        };
        assert_eq!(settings.roll().segment_ms, 604_800_000);
        settings.cleanup_compact = true;
        assert_eq!(settings.roll().segment_ms, 1000);
    }
}
