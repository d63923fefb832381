//! From what was typed to what it means: `-o` over flags over file over defaults.
//!
//! Owns precedence, warnings and refusals; never opens the file, never prints.

use std::collections::BTreeMap;
use std::fmt;

use super::kinds::{BadValue, Effect, Reason, Value};
use super::nearest::nearest;
use super::removed::removed;
use super::{BROKER, BrokerSettings, broker_setting, properties};

/// One setting as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

/// Who gave a setting; later ones win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// `server.properties`.
    File,
    /// A flag of its own, such as `--data`.
    Flag,
    /// `-o key=value`.
    Override,
}

/// Something to tell the operator that does not keep the broker from starting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// No such setting; kept, so that DescribeConfigs can show that it was given.
    Unknown {
        key: String,
        nearest: Option<&'static str>,
    },
    /// A setting that Kafka has no more; kept like an unknown one.
    Removed { key: String, instead: &'static str },
    /// A setting that Ottla knows but that changes nothing.
    NoEffect { key: String },
    /// The same setting twice in one place; the last one counts.
    Repeated { key: String },
}

/// Why the broker cannot start with these settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingError {
    Value(BadValue),
    /// The file itself cannot be read as properties.
    File(properties::BadEscape),
    /// `-o` without `=`.
    NoValue(String),
}

/// The settings in a file's text.
pub fn from_file(text: &str) -> Result<Vec<Given>, SettingError> {
    let entries = properties::parse(text).map_err(SettingError::File)?;
    Ok(entries
        .into_iter()
        .map(|entry| Given {
            key: entry.key,
            value: entry.value,
            origin: Origin::File,
        })
        .collect())
}

/// The setting in `key=value`, as it follows `-o`.
pub fn from_override(text: &str) -> Result<Given, SettingError> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| SettingError::NoValue(text.to_owned()))?;
    Ok(Given {
        key: key.trim().to_owned(),
        value: value.trim().to_owned(),
        origin: Origin::Override,
    })
}

/// Settles everything that was given, in any order. Errors are all that were found.
pub fn load(given: &[Given]) -> Result<(BrokerSettings, Vec<Warning>), Vec<SettingError>> {
    let mut warnings = Vec::new();
    let mut chosen: BTreeMap<&str, &Given> = BTreeMap::new();
    for one in given {
        match chosen.get(one.key.as_str()) {
            Some(earlier) if earlier.origin > one.origin => {}
            earlier => {
                if earlier.is_some_and(|earlier| earlier.origin == one.origin) {
                    let key = one.key.clone();
                    warnings.push(Warning::Repeated { key });
                }
                chosen.insert(&one.key, one);
            }
        }
    }
    let mut errors = Vec::new();
    let mut values = BTreeMap::new();
    let mut unknown = Vec::new();
    for (key, one) in chosen {
        match broker_setting(key).map(|setting| (setting, setting.parse(&one.value))) {
            None => {
                warnings.push(unknown_key(key));
                unknown.push(key.to_owned());
            }
            Some((setting, Ok(value))) => {
                if is_idle(setting.effect, setting.default_value().as_ref(), &value) {
                    let key = key.to_owned();
                    warnings.push(Warning::NoEffect { key });
                }
                values.insert(setting.name, value);
            }
            Some((_, Err(bad))) => errors.push(SettingError::Value(bad)),
        }
    }
    match BrokerSettings::from_values(values, unknown) {
        Ok(settings) if errors.is_empty() => Ok((settings, warnings)),
        Ok(_) => Err(errors),
        Err(rules) => {
            errors.extend(rules.into_iter().map(SettingError::Value));
            Err(errors)
        }
    }
}

fn unknown_key(key: &str) -> Warning {
    let key = key.to_owned();
    if let Some(instead) = removed(&key) {
        return Warning::Removed { key, instead };
    }
    let names = BROKER.iter().map(|setting| setting.name);
    let nearest = nearest(&key, names);
    Warning::Unknown { key, nearest }
}

/// A value that differs from the default of a setting without effect deserves a word.
fn is_idle(effect: Effect, default: Option<&Value>, value: &Value) -> bool {
    effect == Effect::Accepted && default != Some(value)
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Unknown { key, nearest: None } => write!(f, "unknown setting {key}"),
            Warning::Unknown {
                key,
                nearest: Some(name),
            } => write!(f, "unknown setting {key}; did you mean {name}?"),
            Warning::Removed { key, instead } => write!(
                f,
                "setting {key} was Kafka's and is no more; it has no effect: {instead}"
            ),
            Warning::NoEffect { key } => write!(f, "setting {key} has no effect in Ottla"),
            Warning::Repeated { key } => write!(f, "setting {key} is given twice; the last counts"),
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Value(bad) => {
                bad.fmt(f)?;
                match (&bad.reason, broker_setting(&bad.name)) {
                    (Reason::NotNumber(_), Some(row)) => {
                        write!(f, "; allowed: {}", row.numbers_allowed())
                    }
                    _ => Ok(()),
                }
            }
            SettingError::File(bad) => bad.fmt(f),
            SettingError::NoValue(text) => write!(f, "'{text}' is not of the form key=value"),
        }
    }
}

impl std::error::Error for SettingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Durability, Layers};

    fn given(key: &str, value: &str, origin: Origin) -> Given {
        Given {
            key: key.into(),
            value: value.into(),
            origin,
        }
    }

    #[test]
    fn the_stronger_origin_wins_in_any_order() {
        let file = given("num.partitions", "2", Origin::File);
        let flag = given("num.partitions", "3", Origin::Flag);
        let over = given("num.partitions", "4", Origin::Override);
        for (all, partitions) in [
            (vec![file.clone()], 2),
            (vec![flag.clone(), file.clone()], 3),
            (vec![over.clone(), flag.clone(), file.clone()], 4),
            (vec![file.clone(), over, flag], 4),
            (vec![file, given("num.partitions", "7", Origin::File)], 7),
            (vec![], 1),
        ] {
            assert_eq!(load(&all).unwrap().0.num_partitions, partitions);
        }
    }

    #[test]
    fn unknown_repeated_and_idle_settings_are_told() {
        let text = "num.partition=3\nnum.network.threads=9\nnum.io.threads=8\nzookeeper.connect=z\nlog.dirs=a\nlog.dirs=b";
        let (settings, warnings) = load(&from_file(text).unwrap()).unwrap();
        let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "setting log.dirs is given twice; the last counts",
                "setting num.network.threads has no effect in Ottla",
                "unknown setting num.partition; did you mean num.partitions?",
                "setting zookeeper.connect was Kafka's and is no more; it has no effect: metadata is kept by the broker itself, there is no ZooKeeper: leave it out",
            ]
        );
        assert_eq!(settings.data_dirs, ["b"]);
    }

    #[test]
    fn every_bad_value_is_named_with_what_is_allowed() {
        let text = "num.partitions=0\ncompression.type=rar\nlisteners=localhost:9092\n\
                    default.replication.factor=3\nlog.retention.ms=0";
        let errors = load(&from_file(text).unwrap()).unwrap_err();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(
            told[0].contains("rar") && told[0].contains("zstd"),
            "{told:#?}"
        );
        assert!(told[1].contains("num.partitions") && told[1].contains("at least 1"));
        assert!(told.iter().any(|line| line.contains("NAME://host:port")));
        assert!(
            told.iter()
                .any(|line| line.contains("default.replication.factor"))
        );
    }

    #[test]
    fn what_is_no_number_is_told_with_its_bounds() {
        for (text, told) in [
            (
                "num.partitions=abc",
                "Invalid value abc for configuration num.partitions: Not a number of type INT; allowed: a whole number from 1 to 2147483647",
            ),
            (
                "log.cleaner.min.cleanable.ratio=x",
                "Invalid value x for configuration log.cleaner.min.cleanable.ratio: Not a number of type DOUBLE; allowed: a number from 0 to 1",
            ),
            (
                "log.retention.ms=1d",
                "Invalid value 1d for configuration log.retention.ms: Not a number of type LONG; allowed: a whole number from -9223372036854775808 to 9223372036854775807",
            ),
        ] {
            let errors = load(&from_file(text).unwrap()).unwrap_err();
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|line| line == told), "{all:#?}");
        }
    }

    #[test]
    fn kafkas_sample_file_loads() {
        let text = "process.roles=broker,controller\nnode.id=1\n\
            controller.quorum.bootstrap.servers=localhost:9093\n\
            listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
            inter.broker.listener.name=PLAINTEXT\n\
            advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
            controller.listener.names=CONTROLLER\n\
            listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
            num.network.threads=3\nsocket.send.buffer.bytes=102400\n\
            log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\n\
            offsets.topic.replication.factor=1\nlog.retention.hours=168\n\
            log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\n";
        let (settings, _) = load(&from_file(text).unwrap()).unwrap();
        assert_eq!(settings.machine, 1);
        assert_eq!(settings.listeners.len(), 1);
        assert_eq!(settings.listeners[0].port, 9092);
        assert_eq!(settings.advertised[0].host, "localhost");
        assert_eq!(settings.durability, Durability::Fsync);
        assert_eq!(settings.shards, None);
    }

    #[test]
    fn times_fall_back_to_coarser_units() {
        let none = BTreeMap::new();
        for (text, name, effective) in [
            ("", "log.retention.ms", Some(604_800_000)),
            (
                "log.retention.hours=24",
                "log.retention.ms",
                Some(86_400_000),
            ),
            (
                "log.retention.hours=24\nlog.retention.minutes=1",
                "log.retention.ms",
                Some(60_000),
            ),
            ("log.retention.hours=-1", "log.retention.ms", Some(-1)),
            ("log.roll.ms=5", "log.roll.ms", Some(5)),
            ("log.roll.hours=3", "log.roll.ms", Some(10_800_000)),
            (
                "log.flush.scheduler.interval.ms=9",
                "log.flush.interval.ms",
                Some(9),
            ),
        ] {
            let (fixed, _) = load(&from_file(text).unwrap()).unwrap();
            let layers = Layers {
                node: &none,
                cluster: &none,
                fixed: &fixed,
            };
            let value = layers.effective(name).and_then(|value| value.as_number());
            assert_eq!(value, effective, "{text}");
        }
    }

    #[test]
    fn an_override_needs_an_equals_sign() {
        assert!(from_override("num.partitions").is_err());
        let one = from_override("num.partitions = 3").unwrap();
        assert_eq!(
            (one.key.as_str(), one.value.as_str()),
            ("num.partitions", "3")
        );
    }
}
