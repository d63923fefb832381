//! Produce (key 0), versions 3 to 13: append one batch to each partition named.
//!
//! v3 format v2 and transactional id; v5 log start offset; v7 zstd; v8 record errors (KIP-467);
//! v9 flexible; v10 leader hints (KIP-951); v11-12 transactions (KIP-890); v13 topic ids (KIP-516).
//! Versions 0-2 are advertised (librdkafka looks for them) and close the connection, as in Kafka.
//!
//! Not done: transactions (InitProducerId hands out no transactional producer yet).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::log::append_rules::{self, AppendRefusal, LogSettings};
use crate::log::partition::Refusal;
use crate::log::producers::ProducerRefusal;
use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    TopicProduceData,
};
use crate::wire::record::builder::recode;
use crate::wire::record::check::RecordsRefusalKind;
use crate::wire::record::check::{self, BatchFault, CheckedBatch, RecordRules, RecordsRefusal};
use crate::wire::record::compression::CompressionFault;
use crate::wire::record::{Allowance, BATCH_HEADER_BYTES, BatchHeader, Codec};
use crate::words::{Now, Offset, PartitionIndex, TimestampMs, TopicId};

/// First version that may carry zstd (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;
/// First version whose answer names the records at fault (KIP-467).
const RECORD_ERRORS_VERSION_MIN: i16 = 8;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

pub fn names_topics_by_id(version: i16) -> bool {
    version >= TOPIC_IDS_FROM
}

/// Whether `acks` is one of -1, 0, 1 (`ReplicaManager.isValidRequiredAcks`).
pub fn acks_are_valid(acks: i16) -> bool {
    (-1..=1).contains(&acks)
}

/// A refused partition, as the client will see it.
#[derive(Clone, PartialEq, Debug)]
pub struct Refused {
    pub code: ErrorCode,
    /// The answer carries the partition's real log start offset.
    pub tells_log_start: bool,
    pub message: Option<String>,
    /// Index in the batch, and why.
    pub records: Vec<(i32, String)>,
}

impl Refused {
    pub fn plain(code: ErrorCode) -> Refused {
        Refused {
            code,
            tells_log_start: false,
            message: None,
            records: Vec::new(),
        }
    }

    fn with_log_start(code: ErrorCode) -> Refused {
        Refused {
            tells_log_start: true,
            ..Refused::plain(code)
        }
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub batch: CheckedBatch,
    /// Largest timestamp as the stored header has to say it.
    pub max_timestamp: TimestampMs,
}

/// Why a batch that arrived is not admitted.
#[derive(Debug)]
pub enum NotAdmitted {
    Refused(Refused),
    /// Looking at it costs more than what was allowed.
    TooLarge,
}

/// The first half of what does not depend on the state of a partition's log, in Kafka's order of
/// faults (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`): all that can
/// be said without a look at the records. Time and memory are bounded by the request's own bytes.
pub fn arrive(
    records: Option<&Bytes>,
    version: i16,
    settings: &LogSettings,
) -> Result<CheckedBatch, Refused> {
    let empty = Bytes::new();
    let records = records.unwrap_or(&empty);
    let batch =
        check::split_single_batch(records).map_err(|fault| of_batch(fault, records, settings))?;
    if batch.header.codec() == Codec::ZSTD && version < ZSTD_VERSION_MIN {
        return Err(Refused::plain(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    append_rules::judge_arrival(&batch.header, batch.bytes.len() as u64, settings)
        .and_then(|()| append_rules::judge_header(&batch.header))
        .map_err(of_rules)?;
    Ok(batch)
}

/// The second half (`LogValidator`): with `strict` every record is walked, and a batch whose codec
/// is not the topic's is packed anew. What that costs is taken from `allowance`.
pub fn admit(
    batch: &CheckedBatch,
    settings: &LogSettings,
    now: Now,
    strict: bool,
    allowance: &mut Allowance,
) -> Result<Admitted, NotAdmitted> {
    let header = &batch.header;
    let target = settings.target_codec(header.codec());
    let as_it_came = target == header.codec();
    let claimed = match strict {
        true => None,
        false => Some(header_timestamp(header, settings, now).map_err(NotAdmitted::Refused)?),
    };
    let unpacked = match strict || !as_it_came {
        true => Some(
            allowance
                .unpack(header, batch.body())
                .map_err(of_compression)?,
        ),
        false => None,
    };
    let max_timestamp = match (claimed, &unpacked) {
        (None, Some(records)) => {
            check::validate_records(header, records, &record_rules(settings, now))
                .map(|facts| facts.max_timestamp)
                .map_err(|refusal| NotAdmitted::Refused(of_records(&refusal)))?
        }
        (claimed, _) => claimed.unwrap_or(header.max_timestamp),
    };
    let batch = match unpacked {
        Some(records) if !as_it_came => in_codec(target, header, &records, settings, allowance)?,
        _ => batch.clone(),
    };
    Ok(Admitted {
        batch,
        max_timestamp,
    })
}

/// The refusal of a batch that is too large for any allowance.
pub fn expands_too_far() -> Refused {
    Refused::with_log_start(ErrorCode::MESSAGE_TOO_LARGE)
}

/// Packs a batch anew in the codec that the topic stores (`compression.type`).
fn in_codec(
    target: Codec,
    header: &BatchHeader,
    records: &[u8],
    settings: &LogSettings,
    allowance: &mut Allowance,
) -> Result<CheckedBatch, NotAdmitted> {
    let fits = |bytes: usize| bytes <= settings.max_message_bytes as usize;
    let refused = |refused| Err(NotAdmitted::Refused(refused));
    let too_large = || Refused::plain(ErrorCode::MESSAGE_TOO_LARGE);
    if target == Codec::NONE && !fits(records.len().saturating_add(BATCH_HEADER_BYTES)) {
        return refused(too_large());
    }
    allowance
        .pay_for_packing(target, records.len())
        .map_err(of_compression)?;
    match recode(header, records, target, None) {
        Ok(recoded) if fits(recoded.bytes.len()) => Ok(recoded),
        Ok(_) => refused(too_large()),
        Err(_) => refused(Refused::with_log_start(ErrorCode::INVALID_RECORD)),
    }
}

fn record_rules(settings: &LogSettings, now: Now) -> RecordRules {
    RecordRules {
        timestamp_type: settings.message_timestamp_type,
        timestamp_before_max_ms: settings.message_timestamp_before_max_ms,
        timestamp_after_max_ms: settings.message_timestamp_after_max_ms,
        now: now.wall,
        compacted: settings.cleanup_compact,
    }
}

/// Without a walk the header's largest timestamp stands for all.
fn header_timestamp(
    header: &BatchHeader,
    settings: &LogSettings,
    now: Now,
) -> Result<TimestampMs, Refused> {
    use crate::wire::record::TimestampType::LogAppendTime;
    if settings.message_timestamp_type == LogAppendTime {
        return Ok(now.wall);
    }
    match settings.accepts_timestamp(header.max_timestamp, now.wall) {
        true => Ok(header.max_timestamp),
        false => Err(Refused::with_log_start(ErrorCode::INVALID_TIMESTAMP)),
    }
}

/// The error of each fault: see the comments at [`BatchFault`] for what Kafka was seen to answer.
fn of_batch(fault: BatchFault, records: &Bytes, settings: &LogSettings) -> Refused {
    match fault {
        BatchFault::NoBatch
        | BatchFault::Short { .. }
        | BatchFault::OldMagic(_)
        | BatchFault::SecondBatch => Refused::plain(ErrorCode::INVALID_RECORD),
        BatchFault::Crc { .. } if records.len() > settings.max_message_bytes as usize => {
            // Kafka looks at the size before it computes the checksum.
            Refused::plain(ErrorCode::MESSAGE_TOO_LARGE)
        }
        BatchFault::TrailingGarbage | BatchFault::Crc { .. } => {
            Refused::plain(ErrorCode::CORRUPT_MESSAGE)
        }
        BatchFault::LengthTooSmall(length) if length >= 14 => {
            Refused::plain(ErrorCode::CORRUPT_MESSAGE)
        }
        BatchFault::LengthTooSmall(_) | BatchFault::UnknownMagic(_) => Refused {
            message: Some(fault.to_string()),
            ..Refused::plain(ErrorCode::CORRUPT_MESSAGE)
        },
        BatchFault::UnknownCodec(_) => {
            Refused::with_log_start(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)
        }
        BatchFault::BaseOffset(_)
        | BatchFault::LastOffsetDelta(_)
        | BatchFault::RecordsCount(_)
        | BatchFault::CountMismatch { .. }
        | BatchFault::Control
        | BatchFault::NegativeSequence(_) => Refused::with_log_start(ErrorCode::INVALID_RECORD),
    }
}

fn of_rules(refusal: AppendRefusal) -> Refused {
    let code = match refusal {
        AppendRefusal::BaseOffset(_)
        | AppendRefusal::RecordsCount { .. }
        | AppendRefusal::ControlBatch
        | AppendRefusal::MissingSequence => ErrorCode::INVALID_RECORD,
        AppendRefusal::MessageTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        AppendRefusal::UnknownCodec(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        AppendRefusal::RecordListTooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
    };
    Refused {
        tells_log_start: refusal.tells_log_start(),
        ..Refused::plain(code)
    }
}

fn of_records(refusal: &RecordsRefusal) -> Refused {
    let (code, named) = match refusal.kind {
        RecordsRefusalKind::InvalidRecord => (ErrorCode::INVALID_RECORD, true),
        RecordsRefusalKind::InvalidTimestamp => (ErrorCode::INVALID_TIMESTAMP, true),
        RecordsRefusalKind::Malformed(_) => (ErrorCode::INVALID_RECORD, false),
    };
    Refused {
        message: named.then(|| refusal.to_string()),
        records: refusal
            .record_errors
            .iter()
            .map(|error| (error.batch_index, error.complaint.to_string()))
            .collect(),
        ..Refused::with_log_start(code)
    }
}

fn of_compression(fault: CompressionFault) -> NotAdmitted {
    let code = match fault {
        CompressionFault::Corrupt => ErrorCode::INVALID_RECORD,
        CompressionFault::Unsupported(_) => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        CompressionFault::TooLarge => return NotAdmitted::TooLarge,
    };
    NotAdmitted::Refused(Refused::with_log_start(code))
}

/// What the log itself refused.
pub fn of_log(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Rules(rules) => of_rules(rules),
        Refusal::Producer(producer) => of_producer(producer),
        Refusal::OffsetsUsedUp => Refused::plain(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

fn of_producer(refusal: ProducerRefusal) -> Refused {
    Refused::with_log_start(match refusal {
        ProducerRefusal::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ProducerRefusal::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    })
}

/// A stored (or already stored) batch, as answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    pub base_offset: Offset,
    /// -1 with create time; for a duplicate the batch's own timestamp (semantics 62).
    pub log_append_time: TimestampMs,
    pub log_start: Offset,
}

/// The answer for one stored partition.
pub fn stored_response(index: PartitionIndex, stored: &Stored) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: ErrorCode::NONE,
        base_offset: stored.base_offset,
        log_append_time_ms: stored.log_append_time,
        log_start_offset: stored.log_start,
        ..PartitionProduceResponse::default()
    }
}

/// The answer for one refused partition; `log_start` is the partition's, if it is known.
pub fn refused_response(
    index: PartitionIndex,
    refused: Refused,
    log_start: Option<Offset>,
    version: i16,
) -> PartitionProduceResponse {
    let records = if version >= RECORD_ERRORS_VERSION_MIN {
        refused.records
    } else {
        Vec::new()
    };
    PartitionProduceResponse {
        index,
        error_code: refused.code,
        base_offset: Offset::NONE,
        log_append_time_ms: TimestampMs(-1),
        log_start_offset: log_start
            .filter(|_| refused.tells_log_start)
            .unwrap_or(Offset::NONE),
        record_errors: records
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(message.into()),
            })
            .collect(),
        error_message: refused.message.map(Into::into),
        ..PartitionProduceResponse::default()
    }
}

/// What refuses a whole request before any partition is looked at.
pub fn refuse_request(request: &ProduceRequest) -> Option<Refused> {
    // A transactional batch needs a transactional id that may be used; none can be had yet. A
    // transactional id without transactional batches is no error.
    let transactional = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data)
        .filter_map(|partition| partition.records.as_deref())
        .any(|records| BatchHeader::parse(records).is_ok_and(|header| header.is_transactional()));
    if transactional {
        return Some(Refused::plain(
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ));
    }
    (!acks_are_valid(request.acks)).then(|| Refused::plain(ErrorCode::INVALID_REQUIRED_ACKS))
}
/// A topic that is named twice is one topic: its partitions together, in the place of the first.
pub fn each_topic_once(
    topics: smallvec::SmallVec<[TopicProduceData; 1]>,
) -> smallvec::SmallVec<[TopicProduceData; 1]> {
    if topics.len() < 2 {
        return topics;
    }
    let mut kept: smallvec::SmallVec<[TopicProduceData; 1]> = smallvec::SmallVec::new();
    let mut places: BTreeMap<(KStr, TopicId), usize> = BTreeMap::new();
    for topic in topics {
        let who = (topic.name.clone(), topic.topic_id);
        match places.get(&who).and_then(|at| kept.get_mut(*at)) {
            Some(earlier) => earlier.partition_data.extend(topic.partition_data),
            None => {
                places.insert(who, kept.len());
                kept.push(topic);
            }
        }
    }
    kept
}

/// A partition named twice in one topic is written once, with what came last (semantics 64).
pub fn last_of_each(
    partitions: smallvec::SmallVec<[PartitionProduceData; 1]>,
) -> smallvec::SmallVec<[PartitionProduceData; 1]> {
    if partitions.len() < 2 {
        return partitions;
    }
    let mut kept: smallvec::SmallVec<[PartitionProduceData; 1]> = smallvec::SmallVec::new();
    let mut places: std::collections::HashMap<PartitionIndex, usize> =
        std::collections::HashMap::with_capacity(partitions.len());
    for partition in partitions {
        match places
            .get(&partition.index)
            .and_then(|at| kept.get_mut(*at))
        {
            Some(earlier) => *earlier = partition,
            None => {
                places.insert(partition.index, kept.len());
                kept.push(partition);
            }
        }
    }
    kept
}
