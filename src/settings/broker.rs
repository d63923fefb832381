//! What the broker settings mean: typed, checked against each other, ready to use.
//!
//! Owns the settings of one start; never the dynamic ones (see [`Layers`](super::Layers)).

use std::collections::BTreeMap;

use super::kinds::{BadValue, Reason, Value};
use super::listeners::{self, Listener};
use super::{broker_setting, kinds};
use crate::words::limits::SHARDS_PER_MACHINE_MAX;

/// What acknowledgement waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The flush to the drive: survives a power cut.
    Fsync,
    /// The write: survives a killed process only.
    Write,
}

/// How closely a produced batch is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProduceValidation {
    /// Every record, as Kafka.
    Strict,
    /// The batch's header and checksum.
    Relaxed,
}

/// The settings of one start.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerSettings {
    values: BTreeMap<&'static str, Value>,
    unknown: Vec<String>,
    /// `node.id`: the number of the machine; shard `k` is node `machine * 1000 + k`.
    pub machine: i32,
    pub rack: Option<String>,
    /// Where shard 0 listens; shard `k` adds `k` to the port. Never empty.
    pub listeners: Vec<Listener>,
    /// What clients are told, one for each of `listeners`, in that order.
    pub advertised: Vec<Listener>,
    /// Data directories as given, the first one first. Never empty.
    pub data_dirs: Vec<String>,
    /// Directory of the metadata log, when it is not the first data directory.
    pub metadata_dir: Option<String>,
    /// Shards asked for; `None` is one per core.
    pub shards: Option<u16>,
    /// Cores for the shards; empty lets the broker choose.
    pub shard_cores: Vec<usize>,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub num_partitions: i32,
    pub default_replication_factor: i16,
    pub socket_request_bytes_max: usize,
    /// -1 leaves it to the system.
    pub socket_send_buffer_bytes: i32,
    /// -1 leaves it to the system.
    pub socket_receive_buffer_bytes: i32,
    pub listen_backlog: i32,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    /// Limits of single addresses that differ from `connections_per_ip_max`.
    pub connections_per_ip_overrides: BTreeMap<String, usize>,
    pub connection_idle_ms_max: i64,
    pub connection_pipeline_max: usize,
    pub fetch_bytes_max: usize,
    pub fetch_sessions_max: usize,
    pub describe_partitions_max: usize,
    pub producer_id_expiration_ms: i64,
    pub retention_check_interval_ms: i64,
    pub cleaner_backoff_ms: i64,
    /// Growth of the metadata log after which it is written anew, in bytes.
    pub metadata_snapshot_bytes: u64,
    pub produce_validation: ProduceValidation,
    pub durability: Durability,
    pub journal_files_max: usize,
    pub tail_cache_bytes: usize,
    pub request_memory_bytes: usize,
}

impl BrokerSettings {
    /// The settings of a broker that was told nothing.
    pub fn defaults() -> BrokerSettings {
        BrokerSettings::from_values(BTreeMap::new(), Vec::new())
            .expect("the defaults in the table obey the rules between settings")
    }

    /// Gives the values meaning and checks them against each other.
    pub(super) fn from_values(
        mut values: BTreeMap<&'static str, Value>,
        unknown: Vec<String>,
    ) -> Result<BrokerSettings, Vec<BadValue>> {
        // Kafka shows broker.id as node.id when only that is given, and the other way round.
        for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let Some(value) = values.get(from).cloned() {
                values.entry(to).or_insert(value);
            }
        }
        let read = Reader { values: &values };
        let mut errors = read.rules();
        let mut checked = |result: Result<Vec<Listener>, BadValue>| {
            result.unwrap_or_else(|bad| {
                errors.push(bad);
                Vec::new()
            })
        };
        let listeners = checked(read.served_listeners());
        let advertised = checked(read.advertised(&listeners));
        let overrides = read.per_ip_overrides().unwrap_or_else(|bad| {
            errors.push(bad);
            BTreeMap::new()
        });
        let shard_cores = read.cores().unwrap_or_else(|bad| {
            errors.push(bad);
            Vec::new()
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        let settings = read.settled(listeners, advertised, overrides, shard_cores);
        Ok(BrokerSettings {
            values,
            unknown,
            ..settings
        })
    }

    /// The value that the file or the command line gave to a setting.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The number that a setting has, given or by default.
    pub fn number(&self, name: &str) -> Option<i64> {
        let values = &self.values;
        Reader { values }.value(name)?.as_number()
    }

    /// Keys that were given but that no setting has.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

/// Reads values by name, defaults included.
struct Reader<'a> {
    values: &'a BTreeMap<&'static str, Value>,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        self.values
            .get(name)
            .cloned()
            .or_else(|| broker_setting(name).and_then(kinds::Setting::default_value))
    }

    fn number(&self, name: &str) -> i64 {
        self.value(name).and_then(|v| v.as_number()).unwrap_or(0)
    }

    fn int(&self, name: &str) -> i32 {
        i32::try_from(self.number(name)).unwrap_or(i32::MAX)
    }

    fn count(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(0)
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(|v| v.as_bool()).unwrap_or(false)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name)
            .and_then(|v| v.as_text().map(str::to_owned))
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.value(name)
            .and_then(|v| v.as_list().map(<[String]>::to_vec))
            .unwrap_or_default()
    }

    fn bad(&self, name: &str, words: String) -> BadValue {
        BadValue {
            name: name.to_owned(),
            value: self.value(name).map(|v| v.to_string()).unwrap_or_default(),
            reason: Reason::Rule(words),
        }
    }

    /// Rules between settings.
    fn rules(&self) -> Vec<BadValue> {
        let mut errors = Vec::new();
        let node = self.number("node.id");
        if node != self.number("broker.id") && self.values.contains_key("broker.id") {
            let broker = self.number("broker.id");
            let words = format!(
                "Invalid value {broker} for configuration broker.id: node.id is {node} and the two must not differ; give only node.id"
            );
            errors.push(self.bad("broker.id", words));
        }
        let machines_max = i64::from(i32::MAX) / i64::from(SHARDS_PER_MACHINE_MAX) - 1;
        if !(0..=machines_max).contains(&node) {
            let words = format!(
                "Invalid value {node} for configuration node.id: must be from 0 to {machines_max}, because shard k is node node.id * {SHARDS_PER_MACHINE_MAX} + k"
            );
            errors.push(self.bad("node.id", words));
        }
        let factor = self.number("default.replication.factor");
        if factor != 1 {
            let words = format!(
                "Invalid value {factor} for configuration default.replication.factor: only 1 is possible, replication is not built yet"
            );
            errors.push(self.bad("default.replication.factor", words));
        }
        for name in [
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ] {
            if self.value(name).and_then(|v| v.as_number()) == Some(0) {
                let words = format!(
                    "Invalid value 0 for configuration {name}: must be -1 (no limit) or at least 1"
                );
                errors.push(self.bad(name, words));
            }
        }
        for name in ["log.dirs", "log.dir"] {
            if self.list(name).iter().any(String::is_empty) {
                let words = format!("Configuration '{name}' values must not be empty.");
                errors.push(self.bad(name, words));
            }
        }
        if self.number("ottla.shards") == 0 {
            let words = "Invalid value 0 for configuration ottla.shards: must be -1 (one per core) or at least 1".to_owned();
            errors.push(self.bad("ottla.shards", words));
        }
        errors
    }

    /// The listeners that shards serve: all but the controller's, and all in plain text.
    fn served_listeners(&self) -> Result<Vec<Listener>, BadValue> {
        let fault = |words: String| {
            self.bad(
                "listeners",
                format!(
                    "Invalid value {} for configuration listeners: {words}",
                    self.list("listeners").join(",")
                ),
            )
        };
        let all = listeners::parse(&self.list("listeners")).map_err(|f| fault(f.to_string()))?;
        let controllers = self.list("controller.listener.names");
        let served: Vec<Listener> = all
            .into_iter()
            .filter(|one| {
                !controllers
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(&one.name))
            })
            .collect();
        if served.is_empty() {
            return Err(fault(
                "at least one listener for clients is needed".to_owned(),
            ));
        }
        for one in &served {
            match self.protocol(&one.name).as_deref() {
                Some("PLAINTEXT") => {}
                Some(other) => {
                    let name = &one.name;
                    return Err(fault(format!(
                        "{name} speaks {other}; only PLAINTEXT is built yet"
                    )));
                }
                None => {
                    let name = &one.name;
                    return Err(fault(format!(
                        "{name} has no security protocol in listener.security.protocol.map"
                    )));
                }
            }
        }
        Ok(served)
    }

    /// The security protocol of a listener, by `listener.security.protocol.map`.
    fn protocol(&self, listener: &str) -> Option<String> {
        let map = self
            .text("listener.security.protocol.map")
            .unwrap_or_default();
        map.split(',').find_map(|pair| {
            let (name, protocol) = pair.split_once(':')?;
            let matches = name.trim().eq_ignore_ascii_case(listener);
            matches.then(|| protocol.trim().to_ascii_uppercase())
        })
    }

    fn advertised(&self, served: &[Listener]) -> Result<Vec<Listener>, BadValue> {
        let key = "advertised.listeners";
        let fault = |words: String| {
            self.bad(
                key,
                format!(
                    "Invalid value {} for configuration {key}: {words}",
                    self.list(key).join(",")
                ),
            )
        };
        let given = listeners::parse(&self.list(key)).map_err(|f| fault(f.to_string()))?;
        if given.is_empty() {
            return Ok(served.to_vec());
        }
        let mut told = Vec::new();
        for one in served {
            let found = given.iter().find(|other| other.name == one.name);
            let Some(other) = found else {
                return Err(fault(format!("listener {} is missing", one.name)));
            };
            if other.host.is_empty() || other.host == "0.0.0.0" || other.host == "::" {
                return Err(fault(format!(
                    "{} needs a host that clients can reach",
                    one.name
                )));
            }
            told.push(other.clone());
        }
        Ok(told)
    }

    fn per_ip_overrides(&self) -> Result<BTreeMap<String, usize>, BadValue> {
        let key = "max.connections.per.ip.overrides";
        let text = self.text(key).unwrap_or_default();
        let pairs = text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let parsed = pair.rsplit_once(':').and_then(|(host, limit)| {
                    Some((host.trim().to_owned(), limit.trim().parse().ok()?))
                });
                parsed.ok_or_else(|| {
                    let words = format!(
                        "Invalid value {pair} for configuration {key}: expected host:limit"
                    );
                    self.bad(key, words)
                })
            })
            .collect()
    }

    fn cores(&self) -> Result<Vec<usize>, BadValue> {
        let key = "ottla.shard.cores";
        let items = self.list(key);
        let parsed = items.iter().map(|item| {
            item.parse().map_err(|_| {
                let words = format!("Invalid value {item} for configuration {key}: expected core numbers separated by commas");
                self.bad(key, words)
            })
        });
        parsed.collect()
    }

    fn settled(
        &self,
        listeners: Vec<Listener>,
        advertised: Vec<Listener>,
        connections_per_ip_overrides: BTreeMap<String, usize>,
        shard_cores: Vec<usize>,
    ) -> BrokerSettings {
        let dirs = self.list("log.dirs");
        BrokerSettings {
            values: BTreeMap::new(),
            unknown: Vec::new(),
            machine: self.int("node.id"),
            rack: self.text("broker.rack").filter(|rack| !rack.is_empty()),
            listeners,
            advertised,
            data_dirs: if dirs.is_empty() {
                self.list("log.dir")
            } else {
                dirs
            },
            metadata_dir: self.text("metadata.log.dir"),
            shards: u16::try_from(self.number("ottla.shards")).ok(),
            shard_cores,
            auto_create_topics: self.flag("auto.create.topics.enable"),
            delete_topics: self.flag("delete.topic.enable"),
            num_partitions: self.int("num.partitions"),
            default_replication_factor: 1,
            socket_request_bytes_max: self.count("socket.request.max.bytes"),
            socket_send_buffer_bytes: self.int("socket.send.buffer.bytes"),
            socket_receive_buffer_bytes: self.int("socket.receive.buffer.bytes"),
            listen_backlog: self.int("socket.listen.backlog.size"),
            connections_max: self.count("max.connections"),
            connections_per_ip_max: self.count("max.connections.per.ip"),
            connections_per_ip_overrides,
            connection_idle_ms_max: self.number("connections.max.idle.ms"),
            connection_pipeline_max: self.count("ottla.connection.pipeline.max"),
            fetch_bytes_max: self.count("fetch.max.bytes"),
            fetch_sessions_max: self.count("max.incremental.fetch.session.cache.slots"),
            describe_partitions_max: self.count("max.request.partition.size.limit"),
            producer_id_expiration_ms: self.number("producer.id.expiration.ms"),
            retention_check_interval_ms: self.number("log.retention.check.interval.ms"),
            cleaner_backoff_ms: self.number("log.cleaner.backoff.ms"),
            metadata_snapshot_bytes: u64::try_from(
                self.number("metadata.log.max.record.bytes.between.snapshots"),
            )
            .unwrap_or(u64::MAX),
            produce_validation: match self.text("ottla.produce.validation").as_deref() {
                Some("relaxed") => ProduceValidation::Relaxed,
                _ => ProduceValidation::Strict,
            },
            durability: match self.text("ottla.durability").as_deref() {
                Some("write") => Durability::Write,
                _ => Durability::Fsync,
            },
            journal_files_max: self.count("ottla.journal.files.max"),
            tail_cache_bytes: self.count("ottla.tail.cache.bytes"),
            request_memory_bytes: self.count("ottla.request.memory.bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{from_file, load};
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let errors = load(&from_file(text).unwrap()).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_defaults_are_the_limits_of_the_house() {
        use crate::words::limits;
        let settings = BrokerSettings::defaults();
        assert_eq!(settings.journal_files_max, limits::JOURNAL_FILES_MAX);
        assert_eq!(settings.tail_cache_bytes, limits::TAIL_CACHE_BYTES_MAX);
        assert_eq!(settings.fetch_sessions_max, limits::FETCH_SESSIONS_MAX);
        assert_eq!(
            settings.connection_pipeline_max,
            limits::CONNECTION_PIPELINE_MAX
        );
        assert_eq!(settings.listeners[0].port, 9092);
        assert_eq!(settings.advertised, settings.listeners);
        assert!(settings.request_memory_bytes > settings.socket_request_bytes_max);
    }

    #[test]
    fn rules_between_settings_are_told() {
        for (text, part) in [
            ("node.id=1\nbroker.id=2", "differ"),
            ("node.id=3000000", "must be from 0"),
            ("default.replication.factor=2", "only 1 is possible"),
            ("log.retention.hours=0", "at least 1"),
            ("ottla.shards=0", "one per core"),
            ("listeners=SSL://:9093", "only PLAINTEXT"),
            ("listeners=SSL://:9093", "Invalid value SSL://:9093 for"),
            (
                "advertised.listeners=OTHER://h:1",
                "Invalid value OTHER://h:1 for",
            ),
            ("node.id=1\nbroker.id=2", "Invalid value 2 for"),
            ("listeners=FOO://:9093", "listener.security.protocol.map"),
            (
                "listeners=C://:1\ncontroller.listener.names=C",
                "at least one listener",
            ),
            ("advertised.listeners=OTHER://h:1", "PLAINTEXT is missing"),
            ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "can reach"),
            ("max.connections.per.ip.overrides=a", "host:limit"),
            ("ottla.shard.cores=0,x", "core numbers"),
            ("log.dirs=a,,b", "must not be empty"),
        ] {
            let all = told(text);
            assert!(
                all.iter().any(|line| line.contains(part)),
                "{text}: {all:?}"
            );
        }
    }

    #[test]
    fn given_values_are_typed() {
        let text = "broker.id=7\nlog.dirs=a, b\nottla.shards=4\nottla.shard.cores=1,3\n\
                    ottla.durability=write\nottla.produce.validation=relaxed\nbroker.rack=r\n\
                    max.connections.per.ip.overrides=10.0.0.1:5, ::1:6";
        let (settings, _) = load(&from_file(text).unwrap()).unwrap();
        assert_eq!(settings.machine, 7);
        assert_eq!(settings.data_dirs, ["a", "b"]);
        assert_eq!(
            (settings.shards, settings.shard_cores.as_slice()),
            (Some(4), &[1, 3][..])
        );
        assert_eq!(settings.durability, Durability::Write);
        assert_eq!(settings.produce_validation, ProduceValidation::Relaxed);
        assert_eq!(settings.rack.as_deref(), Some("r"));
        assert_eq!(settings.connections_per_ip_overrides.get("::1"), Some(&6));
    }
}
