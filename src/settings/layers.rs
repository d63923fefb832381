//! Where a broker setting's value comes from: this node's dynamic value, the cluster's dynamic
//! default, the file and command line, the default.
//!
//! Owns the order of the layers and Kafka's fallbacks between settings; never changes a layer.

use std::collections::BTreeMap;

use super::kinds::Value;
use super::{BrokerSettings, broker_setting};

/// The layers under which a setting is looked up, the strongest first.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// Dynamic settings of this node.
    pub node: &'a BTreeMap<String, String>,
    /// Dynamic settings of all brokers.
    pub cluster: &'a BTreeMap<String, String>,
    /// What the process was started with.
    pub fixed: &'a BrokerSettings,
}

/// A setting that stands in for another that is not set, and the factor to its unit.
struct Fallback {
    name: &'static str,
    then: &'static [(&'static str, i64)],
}

/// Kafka `DynamicBrokerConfig.brokerConfigSynonyms` and `LogConfig`'s time settings.
const FALLBACKS: &[Fallback] = &[
    Fallback {
        name: "log.flush.interval.ms",
        then: &[("log.flush.scheduler.interval.ms", 1)],
    },
    Fallback {
        name: "log.retention.minutes",
        then: &[("log.retention.hours", 60)],
    },
    Fallback {
        name: "log.retention.ms",
        then: &[
            ("log.retention.minutes", 60_000),
            ("log.retention.hours", 3_600_000),
        ],
    },
    Fallback {
        name: "log.roll.jitter.ms",
        then: &[("log.roll.jitter.hours", 3_600_000)],
    },
    Fallback {
        name: "log.roll.ms",
        then: &[("log.roll.hours", 3_600_000)],
    },
];

fn fallbacks(name: &str) -> &'static [(&'static str, i64)] {
    FALLBACKS
        .iter()
        .find(|fallback| fallback.name == name)
        .map_or(&[], |fallback| fallback.then)
}

/// The names under which a value of `name` may be given, itself first.
pub(super) fn synonyms_of(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(fallbacks(name).iter().map(|(other, _)| *other))
}

impl Layers<'_> {
    /// The value of exactly this setting: the strongest layer that has one, or the default.
    pub fn value(&self, name: &str) -> Option<Value> {
        let setting = broker_setting(name)?;
        // A dynamic value was checked when it was accepted; one that no longer parses is
        // passed over, as Kafka does.
        let dynamic = [self.node, self.cluster]
            .into_iter()
            .find_map(|layer| layer.get(name).and_then(|text| setting.parse(text).ok()));
        dynamic
            .or_else(|| self.fixed.given(name).cloned())
            .or_else(|| setting.default_value())
    }

    /// The value that `name` has in effect, fallbacks included and in the unit of `name`.
    pub fn effective(&self, name: &str) -> Option<Value> {
        self.value(name).or_else(|| {
            fallbacks(name).iter().find_map(|(other, factor)| {
                let number = self.value(other)?.as_number()?;
                // A negative time means "never" in every unit.
                Some(Value::Number(if number < 0 {
                    -1
                } else {
                    number.saturating_mul(*factor)
                }))
            })
        })
    }
}
