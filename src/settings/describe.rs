//! What DescribeConfigs and CreateTopics tell of settings: value, source, synonyms, type, words.
//!
//! Owns Kafka's view of the layers (`ConfigHelper`, KIP-226, KIP-569); never the wire's shape.

use std::collections::BTreeMap;

use super::kinds::{Setting, Update};
use super::layers::{Layers, synonyms_of};
use super::topic::effective;
use super::{BROKER, CLIENT_METRICS, GROUP, TOPIC, broker_setting};

/// Where a value comes from, with Kafka's number (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl Source {
    /// Kafka's number of the source on the wire.
    pub fn wire(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
            Source::BrokerLogger => 6,
            Source::ClientMetrics => 7,
            Source::Group => 8,
        }
    }
}

/// One value that a setting has or had under another name or layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    pub name: String,
    /// `None` is null: no value, or one that is not shown.
    pub value: Option<String>,
    pub source: Source,
}

/// One setting as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    pub name: String,
    /// `None` is null: no value, or one that is not shown.
    pub value: Option<String>,
    pub read_only: bool,
    pub source: Source,
    pub sensitive: bool,
    /// The strongest first; a caller that was not asked for them leaves them out.
    pub synonyms: Vec<Synonym>,
    /// Kafka's number of the type; 0 is unknown.
    pub kind: i8,
    /// A caller that was not asked for it leaves it out.
    pub documentation: Option<&'static str>,
}

/// Which settings are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    All,
    /// Only these; names that do not exist are passed over.
    These(&'a [&'a str]),
}

impl Keys<'_> {
    fn names(&self, name: &str) -> bool {
        match self {
            Keys::All => false,
            Keys::These(keys) => keys.contains(&name),
        }
    }

    /// Whether a setting is told: asked for by name, or all are and it is no internal one
    /// (unless somebody set it).
    fn want(&self, setting: &Setting, set: bool) -> bool {
        match self {
            Keys::All => set || setting.update != Update::Internal,
            Keys::These(_) => self.names(setting.name),
        }
    }
}

/// The settings of a topic whose own are `configs`. An own value is told as it was given.
pub fn topic(
    configs: &BTreeMap<String, String>,
    layers: &Layers<'_>,
    keys: Keys<'_>,
) -> Vec<Described> {
    let rows = TOPIC
        .iter()
        .filter(|row| keys.want(row, configs.contains_key(row.name)));
    rows.map(|row| follower(row, configs, Source::Topic, layers))
        .collect()
}

/// The settings of a group whose own are `configs`.
pub fn group(
    configs: &BTreeMap<String, String>,
    layers: &Layers<'_>,
    keys: Keys<'_>,
) -> Vec<Described> {
    let rows = GROUP
        .iter()
        .filter(|row| keys.want(row, configs.contains_key(row.name)));
    rows.map(|row| follower(row, configs, Source::Group, layers))
        .collect()
}

/// The settings of a client metrics subscription (KIP-714) whose own are `configs`.
pub fn client_metrics(configs: &BTreeMap<String, String>, keys: Keys<'_>) -> Vec<Described> {
    let rows = CLIENT_METRICS.iter().filter(|row| keys.want(row, false));
    rows.map(|row| {
        let own = configs.get(row.name).cloned();
        let source = if own.is_some() {
            Source::ClientMetrics
        } else {
            Source::Default
        };
        let value = own.or_else(|| row.default.map(str::to_owned));
        described(row, value, source, Vec::new())
    })
    .collect()
}

/// The broker's loggers: the root, which is the only one.
pub fn loggers(keys: Keys<'_>) -> Vec<Described> {
    const ROOT: &str = "root";
    let wanted = matches!(keys, Keys::All) || keys.names(ROOT);
    let root = wanted.then(|| Described {
        name: ROOT.to_owned(),
        value: Some("INFO".to_owned()),
        read_only: false,
        source: Source::BrokerLogger,
        sensitive: false,
        synonyms: Vec::new(),
        kind: 0,
        documentation: Some(""),
    });
    root.into_iter().collect()
}

/// The settings of the broker that answers.
pub fn broker(layers: &Layers<'_>, keys: Keys<'_>) -> Vec<Described> {
    let set = |name: &str| layers.fixed.given(name).is_some();
    let rows = BROKER.iter().filter(|row| keys.want(row, set(row.name)));
    let mut all: Vec<Described> = rows.map(|row| broker_row(row, layers)).collect();
    // Kafka cannot tell what an unknown setting means, so it hides the value.
    let unknown = layers.fixed.unknown().iter();
    all.extend(
        unknown
            .filter(|name| matches!(keys, Keys::All) || keys.names(name))
            .map(|name| Described {
                name: name.clone(),
                value: None,
                read_only: true,
                source: Source::StaticBroker,
                sensitive: true,
                synonyms: vec![Synonym {
                    name: name.clone(),
                    value: None,
                    source: Source::StaticBroker,
                }],
                kind: 0,
                documentation: None,
            }),
    );
    all
}

/// The dynamic settings of all brokers (the broker without a name).
pub fn broker_default(layers: &Layers<'_>, keys: Keys<'_>) -> Vec<Described> {
    let set = layers
        .cluster
        .iter()
        .filter(|(name, _)| matches!(keys, Keys::All) || keys.names(name));
    set.filter_map(|(name, text)| {
        let row = broker_setting(name)?;
        let source = Source::DynamicDefaultBroker;
        let value = Some(text.clone()).filter(|_| !row.is_sensitive());
        let synonym = Synonym {
            name: name.clone(),
            value: value.clone(),
            source,
        };
        Some(described(row, value, source, vec![synonym]))
    })
    .collect()
}

fn broker_row(row: &'static Setting, layers: &Layers<'_>) -> Described {
    let synonyms = broker_synonyms(row.name, layers);
    let source = synonyms
        .first()
        .map_or(Source::Default, |first| first.source);
    let value = layers.value(row.name).map(|value| value.to_string());
    described(row, value.filter(|_| !row.is_sensitive()), source, synonyms)
}

/// A topic's or group's setting: its own value before the broker's.
fn follower(
    row: &'static Setting,
    configs: &BTreeMap<String, String>,
    own_source: Source,
    layers: &Layers<'_>,
) -> Described {
    let own = configs.get(row.name);
    let mut synonyms: Vec<Synonym> = own
        .map(|text| Synonym {
            name: row.name.to_owned(),
            value: Some(text.clone()),
            source: own_source,
        })
        .into_iter()
        .collect();
    match row.follows {
        // Group settings without a broker's counterpart are their own synonym.
        Some(name) if broker_setting(name).is_none() => synonyms.push(Synonym {
            name: name.to_owned(),
            value: row.default.map(str::to_owned),
            source: Source::Default,
        }),
        Some(name) => synonyms.extend(broker_synonyms(name, layers)),
        None => {}
    }
    let source = synonyms
        .first()
        .map_or(Source::Default, |first| first.source);
    let value = match own {
        Some(text) => Some(text.clone()),
        None if row.name == "flush.ms" => {
            // Null in the broker's table, yet a topic shows the number it stands for.
            let value = effective(row, configs, layers);
            Some(value.map_or_else(|| i64::MAX.to_string(), |v| v.to_string()))
        }
        None => effective(row, configs, layers).map(|value| value.to_string()),
    };
    described(row, value, source, synonyms)
}

/// Every value that `name` is given, layer by layer, with the names that stand in for it; what
/// stands in front of `name` itself is dropped, as Kafka does.
fn broker_synonyms(name: &str, layers: &Layers<'_>) -> Vec<Synonym> {
    let names: Vec<&str> = synonyms_of(name).collect();
    let value = |layer: Source, name: &str| -> Option<String> {
        match layer {
            Source::DynamicBroker => layers.node.get(name).cloned(),
            Source::DynamicDefaultBroker => layers.cluster.get(name).cloned(),
            Source::StaticBroker => layers.fixed.given(name).map(|value| value.to_string()),
            _ => broker_setting(name)?.default.map(str::to_owned),
        }
    };
    let mut all = Vec::new();
    for source in [
        Source::DynamicBroker,
        Source::DynamicDefaultBroker,
        Source::StaticBroker,
        Source::Default,
    ] {
        for name in &names {
            let Some(text) = value(source, name) else {
                continue;
            };
            let hidden = broker_setting(name).is_some_and(Setting::is_sensitive);
            all.push(Synonym {
                name: (*name).to_owned(),
                value: Some(text).filter(|_| !hidden),
                source,
            });
        }
    }
    all.into_iter()
        .skip_while(|synonym| synonym.name != name)
        .collect()
}

fn described(
    row: &'static Setting,
    value: Option<String>,
    source: Source,
    synonyms: Vec<Synonym>,
) -> Described {
    Described {
        name: row.name.to_owned(),
        value,
        read_only: row.is_read_only(),
        source,
        sensitive: row.is_sensitive(),
        synonyms,
        kind: row.kind.wire(),
        documentation: Some(row.documentation),
    }
}

#[cfg(test)]
mod tests {
    use super::super::BrokerSettings;
    use super::super::load::{from_file, load};
    use super::*;

    /// One setting as `value source [name=value/source ...]`.
    fn line(one: &Described) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".into());
        let synonyms: Vec<String> = one
            .synonyms
            .iter()
            .map(|s| format!("{}={}/{}", s.name, text(&s.value), s.source.wire()))
            .collect();
        format!(
            "{} {} [{}]",
            text(&one.value),
            one.source.wire(),
            synonyms.join(" ")
        )
    }

    fn fixed(text: &str) -> BrokerSettings {
        load(&from_file(text).unwrap()).unwrap().0
    }

    fn check(broker_text: &str, own: &[(&str, &str)], table: &[(&str, &str, &str)]) {
        let fixed = fixed(broker_text);
        let none = BTreeMap::new();
        let cluster = BTreeMap::from([("min.insync.replicas".to_owned(), "1".to_owned())]);
        let layers = Layers {
            node: &none,
            cluster: &cluster,
            fixed: &fixed,
        };
        let own = own
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        for (resource, name, expected) in table {
            let told = match *resource {
                "topic" => topic(&own, &layers, Keys::These(&[name])),
                "group" => group(&own, &layers, Keys::These(&[name])),
                _ => broker(&layers, Keys::These(&[name])),
            };
            assert_eq!(told.len(), 1, "{name}");
            assert_eq!(line(&told[0]), *expected, "{resource} {name}");
        }
    }

    #[test]
    fn sources_and_synonyms_of_a_plain_broker_are_kafkas() {
        check(
            "",
            &[
                ("retention.ms", "7200000"),
                ("cleanup.policy", "delete,compact"),
            ],
            &[
                (
                    "topic",
                    "compression.type",
                    "producer 5 [compression.type=producer/5]",
                ),
                (
                    "topic",
                    "retention.ms",
                    "7200000 1 [retention.ms=7200000/1]",
                ),
                (
                    "topic",
                    "cleanup.policy",
                    "delete,compact 1 [cleanup.policy=delete,compact/1 log.cleanup.policy=delete/5]",
                ),
                (
                    "topic",
                    "min.insync.replicas",
                    "1 3 [min.insync.replicas=1/3 min.insync.replicas=1/5]",
                ),
                ("topic", "flush.ms", "9223372036854775807 5 []"),
                ("topic", "segment.ms", "604800000 5 []"),
                ("topic", "segment.jitter.ms", "0 5 []"),
                ("topic", "remote.storage.enable", "false 5 []"),
                (
                    "topic",
                    "max.message.bytes",
                    "1048588 5 [message.max.bytes=1048588/5]",
                ),
                (
                    "broker",
                    "log.retention.hours",
                    "168 5 [log.retention.hours=168/5]",
                ),
                ("broker", "log.retention.ms", "null 5 []"),
                ("broker", "ssl.keystore.password", "null 5 []"),
                (
                    "group",
                    "consumer.session.timeout.ms",
                    "45000 5 [group.consumer.session.timeout.ms=45000/5]",
                ),
                (
                    "group",
                    "share.isolation.level",
                    "read_uncommitted 5 [share.isolation.level=read_uncommitted/5]",
                ),
            ],
        );
    }

    #[test]
    fn sources_and_synonyms_of_a_configured_broker_are_kafkas() {
        let text = "log.retention.hours=24\nlog.roll.ms=3600000\nlog.roll.hours=3\n\
                    log.flush.interval.ms=1000\nlog.flush.scheduler.interval.ms=9999\n\
                    log.cleanup.policy=compact,delete\nsome.unknown.key=7\nssl.key.password=s3";
        check(
            text,
            &[],
            &[
                (
                    "topic",
                    "cleanup.policy",
                    "compact,delete 4 [log.cleanup.policy=compact,delete/4 log.cleanup.policy=delete/5]",
                ),
                (
                    "topic",
                    "flush.ms",
                    "1000 4 [log.flush.interval.ms=1000/4 log.flush.scheduler.interval.ms=9999/4 log.flush.scheduler.interval.ms=9223372036854775807/5]",
                ),
                ("topic", "retention.ms", "86400000 5 []"),
                (
                    "topic",
                    "segment.ms",
                    "3600000 4 [log.roll.ms=3600000/4 log.roll.hours=3/4 log.roll.hours=168/5]",
                ),
                (
                    "broker",
                    "log.retention.hours",
                    "24 4 [log.retention.hours=24/4 log.retention.hours=168/5]",
                ),
                ("broker", "log.retention.minutes", "null 5 []"),
                ("broker", "log.retention.ms", "null 5 []"),
                (
                    "broker",
                    "some.unknown.key",
                    "null 4 [some.unknown.key=null/4]",
                ),
                (
                    "broker",
                    "ssl.key.password",
                    "null 4 [ssl.key.password=null/4]",
                ),
            ],
        );
    }

    #[test]
    fn as_many_settings_are_listed_as_kafka_lists() {
        let fixed = fixed("");
        let none = BTreeMap::new();
        let layers = Layers {
            node: &none,
            cluster: &none,
            fixed: &fixed,
        };
        assert_eq!(topic(&none, &layers, Keys::All).len(), 33);
        assert_eq!(group(&none, &layers, Keys::All).len(), 17);
        assert_eq!(client_metrics(&none, Keys::All).len(), 3);
        let all = broker(&layers, Keys::All);
        let ours = all
            .iter()
            .filter(|one| one.name.starts_with("ottla."))
            .count();
        assert_eq!(all.len() - ours, 340);
        assert!(broker_default(&layers, Keys::All).is_empty());
    }

    #[test]
    fn an_internal_setting_is_told_once_it_is_set() {
        let fixed = fixed("");
        let none = BTreeMap::new();
        let layers = Layers {
            node: &none,
            cluster: &none,
            fixed: &fixed,
        };
        let own = BTreeMap::from([("ottla.durability".to_owned(), "write".to_owned())]);
        let told = topic(&own, &layers, Keys::All);
        assert_eq!(told.len(), 34);
        assert!(told.iter().any(|one| one.value.as_deref() == Some("write")));
    }
}
