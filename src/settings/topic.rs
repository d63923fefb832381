//! What a topic's settings mean to its logs, and which ones a topic may be given.
//!
//! Owns validation (Kafka `LogConfig.validate`, `ControllerConfigurationValidator`) and the
//! resolved [`TopicSettings`]; never stores them.

use std::collections::BTreeMap;
use std::fmt;

use super::broker::Durability;
use super::kinds::{BadValue, Reason, Setting, Value};
use super::layers::Layers;
use super::{TOPIC, topic_setting};

/// In what codec batches are stored (`compression.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicCompression {
    /// As the producer sent them.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Who sets the timestamps of a topic's records (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicTimestamp {
    CreateTime,
    LogAppendTime,
}

/// The settings of one topic in effect.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicSettings {
    /// Old segments go by age and size.
    pub cleanup_delete: bool,
    /// Older records of a key go.
    pub cleanup_compact: bool,
    pub compression: TopicCompression,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub timestamp_after_ms_max: i64,
    pub timestamp_before_ms_max: i64,
    pub timestamp: TopicTimestamp,
    /// Share of uncompacted bytes from which the log is worth compacting, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    /// Negative is no limit.
    pub retention_bytes: i64,
    /// Negative is no limit.
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub durability: Durability,
}

/// Why a topic is not given these settings; all are Kafka's INVALID_CONFIG (40).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigRefusal {
    /// Keys without a value.
    Null(Vec<String>),
    Unknown(String),
    Bad(BadValue),
}

impl fmt::Display for ConfigRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigRefusal::Null(keys) => {
                write!(
                    f,
                    "Null value not supported for topic configs: {}",
                    keys.join(",")
                )
            }
            ConfigRefusal::Unknown(key) => write!(f, "Unknown topic config name: {key}"),
            ConfigRefusal::Bad(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for ConfigRefusal {}

/// Checks the settings that a new topic is to have. Of a key given twice the last value counts.
/// Returned as given: Kafka echoes a topic's settings in the creator's spelling.
pub fn validate<'a>(
    configs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<BTreeMap<String, String>, ConfigRefusal> {
    let last: BTreeMap<&str, Option<&str>> = configs.into_iter().collect();
    let nulls: Vec<String> = last
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| (*key).to_owned())
        .collect();
    if !nulls.is_empty() {
        return Err(ConfigRefusal::Null(nulls));
    }
    // Kafka looks at all the names before any value.
    if let Some(key) = last.keys().find(|key| topic_setting(key).is_none()) {
        return Err(ConfigRefusal::Unknown((*key).to_owned()));
    }
    let mut checked = BTreeMap::new();
    for (key, value) in last {
        let (Some(setting), Some(text)) = (topic_setting(key), value) else {
            continue;
        };
        setting.parse(text).map_err(ConfigRefusal::Bad)?;
        checked.insert(key.to_owned(), text.to_owned());
    }
    match conflict(&checked) {
        Some(bad) => Err(ConfigRefusal::Bad(bad)),
        None => Ok(checked),
    }
}

/// Rules between the settings of one topic.
fn conflict(configs: &BTreeMap<String, String>) -> Option<BadValue> {
    let value = |name: &str| {
        let setting = topic_setting(name)?;
        configs
            .get(name)
            .and_then(|text| setting.parse(text).ok())
            .or_else(|| setting.default_value())
    };
    let number = |name: &str| value(name).and_then(|v| v.as_number()).unwrap_or(0);
    let bad = |name: &str, words: String| BadValue {
        name: name.to_owned(),
        value: configs.get(name).cloned().unwrap_or_default(),
        reason: Reason::Rule(words),
    };
    let (least, most) = (
        number("min.compaction.lag.ms"),
        number("max.compaction.lag.ms"),
    );
    if least > most {
        let words = format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        );
        return Some(bad("min.compaction.lag.ms", words));
    }
    if value("remote.storage.enable").and_then(|v| v.as_bool()) == Some(true) {
        let words = "Remote storage is not built: a topic cannot be configured with it.".to_owned();
        return Some(bad("remote.storage.enable", words));
    }
    None
}

/// The value of a topic setting in effect: the topic's own, the broker's, or the default.
pub fn effective(
    setting: &Setting,
    configs: &BTreeMap<String, String>,
    layers: &Layers<'_>,
) -> Option<Value> {
    configs
        .get(setting.name)
        .and_then(|text| setting.parse(text).ok())
        .or_else(|| setting.follows.and_then(|broker| layers.effective(broker)))
        .or_else(|| setting.default_value())
}

impl TopicSettings {
    /// What `configs` (the topic's own, as stored) come to under the broker's `layers`.
    pub fn resolve(configs: &BTreeMap<String, String>, layers: &Layers<'_>) -> TopicSettings {
        let all: BTreeMap<&str, Value> = TOPIC
            .iter()
            .filter_map(|row| Some((row.name, effective(row, configs, layers)?)))
            .collect();
        let number = |name: &str| all.get(name).and_then(Value::as_number).unwrap_or(0);
        let int = |name: &str| i32::try_from(number(name)).unwrap_or(i32::MAX);
        let text = |name: &str| all.get(name).and_then(Value::as_text).unwrap_or("");
        let policies = all
            .get("cleanup.policy")
            .and_then(Value::as_list)
            .unwrap_or(&[]);
        let has = |policy: &str| policies.iter().any(|item| item == policy);
        TopicSettings {
            cleanup_delete: has("delete"),
            cleanup_compact: has("compact"),
            compression: compression(text("compression.type")),
            compression_gzip_level: int("compression.gzip.level"),
            compression_lz4_level: int("compression.lz4.level"),
            compression_zstd_level: int("compression.zstd.level"),
            delete_retention_ms: number("delete.retention.ms"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            flush_messages: number("flush.messages"),
            // Kafka: an interval that no one gave is as long as there is.
            flush_ms: all
                .get("flush.ms")
                .and_then(Value::as_number)
                .unwrap_or(i64::MAX),
            index_interval_bytes: int("index.interval.bytes"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
            timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
            timestamp: match text("message.timestamp.type") {
                "LogAppendTime" => TopicTimestamp::LogAppendTime,
                _ => TopicTimestamp::CreateTime,
            },
            min_cleanable_dirty_ratio: all
                .get("min.cleanable.dirty.ratio")
                .and_then(Value::as_double)
                .unwrap_or(0.5),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: all
                .get("preallocate")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            retention_bytes: number("retention.bytes"),
            retention_ms: number("retention.ms"),
            segment_bytes: all
                .get("internal.segment.bytes")
                .and_then(Value::as_number)
                .and_then(|bytes| i32::try_from(bytes).ok())
                .unwrap_or_else(|| int("segment.bytes")),
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: number("segment.jitter.ms"),
            segment_ms: number("segment.ms"),
            durability: match text("ottla.durability") {
                "write" => Durability::Write,
                _ => Durability::Fsync,
            },
        }
    }
}

fn compression(name: &str) -> TopicCompression {
    match name {
        "uncompressed" => TopicCompression::Uncompressed,
        "gzip" => TopicCompression::Gzip,
        "snappy" => TopicCompression::Snappy,
        "lz4" => TopicCompression::Lz4,
        "zstd" => TopicCompression::Zstd,
        _ => TopicCompression::Producer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::BrokerSettings;
    use super::super::load::{from_file, load};
    use super::*;

    fn refusal(configs: &[(&str, Option<&str>)]) -> String {
        validate(configs.iter().copied()).unwrap_err().to_string()
    }

    fn resolved(broker: &str, configs: &[(&str, &str)]) -> TopicSettings {
        let (fixed, _) = load(&from_file(broker).unwrap()).unwrap();
        let own = configs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let none = BTreeMap::new();
        let layers = Layers {
            node: &none,
            cluster: &none,
            fixed: &fixed,
        };
        TopicSettings::resolve(&own, &layers)
    }

    #[test]
    fn nulls_come_before_unknown_names_and_those_before_bad_values() {
        let bad = ("retention.ms", Some("x"));
        let unknown = ("no.such", Some("1"));
        let null = ("retention.bytes", None);
        assert_eq!(
            refusal(&[bad, unknown, null]),
            "Null value not supported for topic configs: retention.bytes"
        );
        assert_eq!(
            refusal(&[bad, unknown]),
            "Unknown topic config name: no.such"
        );
        assert!(refusal(&[bad]).contains("Not a number of type LONG"));
    }

    #[test]
    fn settings_of_a_topic_may_not_contradict_each_other() {
        assert_eq!(
            refusal(&[
                ("min.compaction.lag.ms", Some("10")),
                ("max.compaction.lag.ms", Some("5"))
            ]),
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
        );
        assert!(refusal(&[("remote.storage.enable", Some("true"))]).contains("not built"));
    }

    #[test]
    fn the_last_of_two_values_counts_and_spelling_is_kept() {
        let kept = validate([
            ("retention.ms", Some("1000")),
            ("retention.ms", Some(" 2000 ")),
            ("cleanup.policy", Some("")),
            ("cleanup.policy", Some("compact,compact")),
        ]);
        let kept = kept.unwrap();
        assert_eq!(kept.get("retention.ms").map(String::as_str), Some(" 2000 "));
        assert_eq!(
            kept.get("cleanup.policy").map(String::as_str),
            Some("compact,compact")
        );
    }

    #[test]
    fn a_topic_takes_its_own_value_then_the_brokers() {
        let plain = resolved("", &[]);
        assert_eq!(plain.retention_ms, 604_800_000);
        assert_eq!(plain.segment_ms, 604_800_000);
        assert_eq!(plain.flush_ms, i64::MAX);
        assert_eq!(plain.max_message_bytes, 1_048_588);
        assert!(plain.cleanup_delete && !plain.cleanup_compact);
        assert_eq!(plain.durability, Durability::Fsync);

        let broker = "log.retention.hours=24\nmessage.max.bytes=7\nottla.durability=write\n\
                      log.cleanup.policy=compact,delete\nlog.flush.interval.ms=9\ncompression.type=zstd";
        let led = resolved(broker, &[]);
        assert_eq!(led.retention_ms, 86_400_000);
        assert_eq!(led.max_message_bytes, 7);
        assert_eq!(led.flush_ms, 9);
        assert!(led.cleanup_delete && led.cleanup_compact);
        assert_eq!(led.compression, TopicCompression::Zstd);
        assert_eq!(led.durability, Durability::Write);

        let own = resolved(
            broker,
            &[
                ("retention.ms", "-1"),
                ("cleanup.policy", ""),
                ("ottla.durability", "fsync"),
                ("internal.segment.bytes", "100"),
                ("message.timestamp.type", "LogAppendTime"),
            ],
        );
        assert_eq!(own.retention_ms, -1);
        assert!(!own.cleanup_delete && !own.cleanup_compact);
        assert_eq!(own.durability, Durability::Fsync);
        assert_eq!(own.segment_bytes, 100);
        assert_eq!(own.timestamp, TopicTimestamp::LogAppendTime);
    }

    #[test]
    fn a_dynamic_value_of_the_cluster_reaches_the_topic() {
        let fixed = BrokerSettings::defaults();
        let none = BTreeMap::new();
        let cluster = BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
        let layers = Layers {
            node: &none,
            cluster: &cluster,
            fixed: &fixed,
        };
        assert_eq!(
            TopicSettings::resolve(&none, &layers).min_insync_replicas,
            2
        );
    }
}
