//! Which settings of brokers, groups and metrics subscriptions may change while the broker runs,
//! and to what.
//!
//! Owns Kafka's rules (`DynamicBrokerConfig.validate`, `GroupConfig.validate`,
//! `ClientMetricsConfigs.validate`) and which of its two error classes each has; those of topics
//! are in [`topic`](super::topic). Never stores a setting.

use std::collections::BTreeMap;
use std::fmt;

use super::kinds::{Setting, Update};
use super::{BrokerSettings, CLIENT_METRICS, GROUP, broker_setting, find};

/// The settings of a resource after a change, by name.
pub type Configs = BTreeMap<String, String>;

/// Why settings are refused, in the words for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DynamicRefusal {
    /// Kafka's INVALID_REQUEST (42).
    Request(String),
    /// Kafka's INVALID_CONFIG (40).
    Config(String),
}

impl fmt::Display for DynamicRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DynamicRefusal::Request(words) | DynamicRefusal::Config(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for DynamicRefusal {}

/// Whose settings they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokerScope {
    /// One node's.
    Node,
    /// The default of all nodes.
    Cluster,
}

/// Prefix of a setting of one listener.
const LISTENER_PREFIX: &str = "listener.name.";
/// Dynamic in Kafka; here sockets are opened once, at the start.
const BOUND_AT_START: [&str; 2] = ["listener.security.protocol.map", "listeners"];

fn request(words: String) -> Result<(), DynamicRefusal> {
    Err(DynamicRefusal::Request(words))
}

fn config(words: String) -> Result<(), DynamicRefusal> {
    Err(DynamicRefusal::Config(words))
}

/// Checks the dynamic settings that a broker, or all of them, is to have. Keys that no setting has
/// are taken, as Kafka takes them: somebody's plug-in may know them.
pub fn validate_broker(
    before: &Configs,
    after: &Configs,
    scope: BrokerScope,
) -> Result<(), DynamicRefusal> {
    let names = |wrong: &dyn Fn(&str) -> bool| -> String {
        let all: Vec<&str> = after.keys().map(String::as_str).collect();
        let wrong: Vec<&str> = all.into_iter().filter(|name| wrong(name)).collect();
        wrong.join(", ")
    };
    let fixed = names(&|name| is_fixed(name));
    if !fixed.is_empty() {
        return request(format!(
            "Cannot update these configs dynamically: [{fixed}]"
        ));
    }
    let security = names(&|name| name.starts_with("ssl.") && broker_setting(name).is_some());
    if !security.is_empty() {
        return request(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{security}]"
        ));
    }
    let of_one = names(&|name| name.starts_with(LISTENER_PREFIX));
    if scope == BrokerScope::Cluster && !of_one.is_empty() {
        return request(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{of_one}]"
        ));
    }
    for (name, text) in after {
        let Some(setting) = broker_setting(name) else {
            continue;
        };
        let value = match setting.parse(text) {
            Ok(value) => value,
            Err(bad) => return request(bad.to_string()),
        };
        if name == "log.retention.ms" && value.as_number() == Some(0) {
            return request(format!(
                "{name} must be unlimited (-1) or, greater than or equal to 1"
            ));
        }
    }
    min_insync_replicas(before, after, scope)
}

fn is_fixed(name: &str) -> bool {
    BOUND_AT_START.contains(&name)
        || broker_setting(name).is_some_and(|setting| setting.update != Update::Dynamic)
}

/// The leaders-eligible-for-election feature (KIP-966), which a new cluster has, keeps this one
/// setting in the cluster's default.
fn min_insync_replicas(
    before: &Configs,
    after: &Configs,
    scope: BrokerScope,
) -> Result<(), DynamicRefusal> {
    const KEY: &str = "min.insync.replicas";
    let changed = before.get(KEY) != after.get(KEY);
    match scope {
        BrokerScope::Node if changed => config(format!(
            "Broker-level {KEY} cannot be altered while ELR is enabled."
        )),
        BrokerScope::Cluster if changed && !after.contains_key(KEY) => config(format!(
            "Cluster-level {KEY} cannot be removed while ELR is enabled."
        )),
        BrokerScope::Node | BrokerScope::Cluster => Ok(()),
    }
}

/// A group setting and the broker settings that bound it; without a name there is no bound.
struct Bound {
    name: &'static str,
    least: &'static str,
    most: &'static str,
}

const fn bound(name: &'static str, least: &'static str, most: &'static str) -> Bound {
    Bound { name, least, most }
}

#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    bound("consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    bound("consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    bound("consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    bound("share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    bound("share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    bound("share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    bound("share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    bound("share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    bound("share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    bound("streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    bound("streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    bound("streams.num.standby.replicas", "", "group.streams.max.standby.replicas"),
    bound("streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
];

/// Checks the settings that a group is to have, against the broker's bounds.
pub fn validate_group(after: &Configs, broker: &BrokerSettings) -> Result<(), DynamicRefusal> {
    if let Some(name) = after.keys().find(|name| find(GROUP, name).is_none()) {
        return config(format!("Unknown group config name: {name}"));
    }
    for (name, text) in after {
        if let Some(Err(bad)) = find(GROUP, name).map(|setting| setting.parse(text)) {
            return config(bad.to_string());
        }
    }
    let own = |name: &str| -> Option<i64> {
        let text = after.get(name)?;
        find(GROUP, name)?.parse(text).ok()?.as_number()
    };
    for Bound { name, least, most } in BOUNDS {
        let Some(value) = own(name) else { continue };
        if broker.number(least).is_some_and(|least| value < least) {
            return config(format!("{name} must be greater than or equal to {least}"));
        }
        if broker.number(most).is_some_and(|most| value > most) {
            return config(format!("{name} must be less than or equal to {most}"));
        }
    }
    let in_effect = |name: &str| {
        let follows = find(GROUP, name).and_then(|setting| setting.follows);
        own(name).or_else(|| broker.number(follows?)).unwrap_or(0)
    };
    for kind in ["consumer", "share", "streams"] {
        let session = format!("{kind}.session.timeout.ms");
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        let given = after.contains_key(&session) || after.contains_key(&heartbeat);
        if given && in_effect(&session) <= in_effect(&heartbeat) {
            return config(format!("{session} must be greater than {heartbeat}"));
        }
    }
    match after.get("share.auto.offset.reset") {
        Some(text) if !is_offset_reset(text) => config(format!(
            "Invalid value {text} for configuration share.auto.offset.reset: it must be earliest, latest or by_duration:<PnDTnHnMn.nS>"
        )),
        _ => Ok(()),
    }
}

fn is_offset_reset(text: &str) -> bool {
    let duration = |text: &str| {
        let rest = text.strip_prefix('P').unwrap_or("");
        let known = |byte: u8| byte.is_ascii_digit() || b"DTHMS.".contains(&byte);
        rest.bytes().any(|byte| byte.is_ascii_digit())
            && rest.bytes().all(known)
            && rest.ends_with(['D', 'H', 'M', 'S'])
    };
    match text.trim() {
        "earliest" | "latest" => true,
        other => other.strip_prefix("by_duration:").is_some_and(duration),
    }
}

/// What a metrics subscription can tell clients apart by (KIP-714).
const MATCHERS: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Checks the settings that a client metrics subscription is to have.
pub fn validate_client_metrics(after: &Configs) -> Result<(), DynamicRefusal> {
    for (name, text) in after {
        let Some(setting) = find(CLIENT_METRICS, name) else {
            return request(format!("Unknown client metrics configuration: {name}"));
        };
        if let Err(bad) = setting.parse(text) {
            return request(bad.to_string());
        }
    }
    let patterns = after.get("match").map_or("", String::as_str).split(',');
    for pattern in patterns.map(str::trim).filter(|one| !one.is_empty()) {
        let known = pattern
            .split_once('=')
            .is_some_and(|(name, _)| MATCHERS.contains(&name.trim()));
        if !known {
            return config(format!("Illegal client matching pattern: {pattern}"));
        }
    }
    Ok(())
}

/// The row of a group setting.
pub fn group_setting(name: &str) -> Option<&'static Setting> {
    find(GROUP, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    /// `ok`, or the class and the first words of a refusal.
    fn told(result: Result<(), DynamicRefusal>) -> String {
        match result {
            Ok(()) => "ok".into(),
            Err(DynamicRefusal::Request(words)) => format!("42 {words}"),
            Err(DynamicRefusal::Config(words)) => format!("40 {words}"),
        }
    }

    #[test]
    fn a_brokers_settings_are_judged_as_kafka_judges_them() {
        use BrokerScope::{Cluster, Node};
        let table = [
            (Node, "log.cleaner.threads", "2", "ok"),
            (Node, "no.such.key", "1", "ok"),
            (Cluster, "no.such.key", "1", "ok"),
            (Node, "listener.name.x.ssl.keystore.location", "/x", "ok"),
            (
                Node,
                "log.cleaner.threads",
                "x",
                "42 Invalid value x for configuration log.cleaner.threads",
            ),
            (Node, "max.connections", "-1", "42 Invalid value -1"),
            (
                Node,
                "num.partitions",
                "3",
                "42 Cannot update these configs dynamically: [num.partitions]",
            ),
            (Node, "node.id", "5", "42 Cannot update"),
            (
                Cluster,
                "advertised.listeners",
                "PLAINTEXT://h:1",
                "42 Cannot update",
            ),
            (Node, "listeners", "PLAINTEXT://h:1", "42 Cannot update"),
            (
                Cluster,
                "listener.name.x.ssl.keystore.location",
                "/x",
                "42 Cannot update these configs at default",
            ),
            (
                Node,
                "ssl.keystore.location",
                "/x",
                "42 These security configs",
            ),
            (
                Cluster,
                "log.retention.ms",
                "0",
                "42 log.retention.ms must be",
            ),
            (Node, "min.insync.replicas", "2", "40 Broker-level"),
            (Cluster, "min.insync.replicas", "2", "ok"),
        ];
        for (scope, name, value, expected) in table {
            let result = validate_broker(&Configs::new(), &configs(&[(name, value)]), scope);
            assert!(
                told(result.clone()).starts_with(expected),
                "{name}: {result:?}"
            );
        }
        let before = configs(&[("min.insync.replicas", "1")]);
        let removed = validate_broker(&before, &Configs::new(), Cluster);
        assert!(told(removed).starts_with("40 Cluster-level"));
    }

    #[test]
    fn a_groups_settings_stay_within_the_brokers_bounds() {
        let broker = BrokerSettings::defaults();
        let table = [
            ("consumer.session.timeout.ms", "50000", "ok"),
            (
                "consumer.session.timeout.ms",
                "1",
                "40 consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "consumer.session.timeout.ms",
                "70000",
                "40 consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            ("consumer.heartbeat.interval.ms", "x", "40 Invalid value x"),
            ("consumer.heartbeat.interval.ms", "15000", "ok"),
            (
                "consumer.assignment.interval.ms",
                "60000",
                "40 consumer.assignment",
            ),
            ("streams.num.standby.replicas", "9", "40 streams.num"),
            ("streams.initial.rebalance.delay.ms", "99999999", "ok"),
            ("share.auto.offset.reset", "x", "40 Invalid value x"),
            ("share.auto.offset.reset", "by_duration:PT1H", "ok"),
            ("share.auto.offset.reset", "by_duration:P", "40"),
            ("share.isolation.level", "x", "40 Invalid value x"),
            ("share.delivery.count.limit", "50", "40 share.delivery"),
            (
                "retention.ms",
                "1",
                "40 Unknown group config name: retention.ms",
            ),
        ];
        for (name, value, expected) in table {
            let result = validate_group(&configs(&[(name, value)]), &broker);
            assert!(
                told(result.clone()).starts_with(expected),
                "{name}: {result:?}"
            );
        }
    }

    #[test]
    fn a_metrics_subscription_names_known_clients_and_times() {
        let table = [
            ("interval.ms", "1000", "ok"),
            ("interval.ms", "1", "42"),
            ("match", "client_id=a,client_source_port=1", "ok"),
            ("match", "", "ok"),
            ("match", "nope", "40"),
            ("match", "foo=a", "40"),
            ("no.such", "1", "42"),
        ];
        for (name, value, expected) in table {
            let result = validate_client_metrics(&configs(&[(name, value)]));
            assert!(
                told(result.clone()).starts_with(expected),
                "{name}: {result:?}"
            );
        }
    }
}
