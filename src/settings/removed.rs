//! Settings that Apache Kafka once had and 4.3 has no more, each with what does its work now.
//!
//! Owns that list; whoever gives one is told, and the broker starts.

/// Name, or beginning of a name where it ends in a dot, and what to do instead.
const REMOVED: [(&str, &str); 18] = [
    ("advertised.host.name", "advertised.listeners does its work"),
    ("advertised.port", "advertised.listeners does its work"),
    (
        "broker.id.generation.enable",
        "nobody gives out ids any more: set node.id",
    ),
    (
        "control.plane.listener.name",
        "it was for the controllers of ZooKeeper's time: leave it out",
    ),
    (
        "delegation.token.master.key",
        "delegation.token.secret.key does its work",
    ),
    ("host.name", "listeners does its work"),
    (
        "inter.broker.protocol.version",
        "versions are agreed upon without it: leave it out",
    ),
    (
        "log.message.format.version",
        "there is one format, version 2: leave it out",
    ),
    (
        "log.message.timestamp.difference.max.ms",
        "log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms do its work",
    ),
    (
        "offsets.commit.required.acks",
        "every replica in sync is waited for: leave it out",
    ),
    (
        "password.encoder.",
        "no password is kept in ZooKeeper any more: leave it out",
    ),
    ("port", "listeners does its work"),
    (
        "quota.consumer.default",
        "quotas are set for clients while the broker runs: leave it out",
    ),
    (
        "quota.producer.default",
        "quotas are set for clients while the broker runs: leave it out",
    ),
    (
        "replica.lag.max.messages",
        "replica.lag.time.max.ms does its work",
    ),
    (
        "reserved.broker.max.id",
        "nobody gives out ids any more: set node.id",
    ),
    (
        "offsets.storage",
        "offsets are kept in the cluster: leave it out",
    ),
    (
        "zookeeper.",
        "metadata is kept by the broker itself, there is no ZooKeeper: leave it out",
    ),
];

/// What to do instead of a setting that Kafka has no more.
pub fn removed(key: &str) -> Option<&'static str> {
    let is = |name: &str| match name.ends_with('.') {
        true => key.starts_with(name),
        false => key == name,
    };
    let row = REMOVED.iter().find(|(name, _)| is(name));
    row.map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::super::BROKER;
    use super::*;

    #[test]
    fn what_is_removed_is_no_setting_and_names_its_successor() {
        for row in BROKER {
            assert_eq!(removed(row.name), None, "{}", row.name);
        }
        for (key, part) in [
            ("port", "listeners"),
            ("host.name", "listeners"),
            ("zookeeper.connect", "no ZooKeeper"),
            ("zookeeper.ssl.client.enable", "no ZooKeeper"),
        ] {
            assert!(removed(key).unwrap().contains(part), "{key}");
        }
        for key in ["", "ports", "zookeeper", "password.encoder"] {
            assert_eq!(removed(key), None, "{key}");
        }
    }
}
