//! Decisions about changing dynamic settings: image and request in, records and answers out.
//!
//! Owns Kafka's rules and their order (`ConfigAdminManager.preprocess`,
//! `ConfigurationControlManager`). Which values a setting takes is decided in
//! [`settings`](crate::settings). Pure; writes only what differs from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::decide::Decision;
use super::image::MetadataImage;
use super::records::{Record, Resource};
use super::topic_rules::{self, BadName};
use crate::settings::dynamic::{self, BrokerScope, Configs, DynamicRefusal};
use crate::settings::{BrokerSettings, ConfigRefusal, Kind, Layers, Setting};
use crate::settings::{broker_setting, topic, topic_setting};
use crate::words::NodeId;

/// Kafka's numbers of resources (`ConfigResource.Type`).
pub mod resource_type {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
}

/// Kafka's numbers of operations (`AlterConfigOp.OpType`).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The one logger there is, and its level.
const ROOT_LOGGER: (&str, &str) = ("root", "INFO");

/// A resource whose settings are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alteration {
    /// Any number may come.
    pub resource_type: i8,
    pub name: String,
    pub changes: Changes,
}

/// How the settings of a resource are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changes {
    /// These take the place of all there are (AlterConfigs).
    Replace(Vec<(String, Option<String>)>),
    /// Key by key (IncrementalAlterConfigs, KIP-339).
    Edit(Vec<Edit>),
}

/// A change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    pub key: String,
    /// 0 set, 1 delete, 2 append, 3 subtract; any number may come.
    pub operation: i8,
    pub value: Option<String>,
}

/// What became of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Altered {
    pub resource_type: i8,
    pub name: String,
    pub result: Result<(), AlterRefusal>,
}

/// Why settings were not changed; [`fmt::Display`] is what the client reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlterRefusal {
    ResourceTwice,
    KeyTwice,
    /// Keys that are to be set to nothing.
    Null(Vec<String>),
    UnknownOperation(i8),
    UnknownType(i8),
    /// A resource that needs a name has none.
    Nameless(&'static str),
    NotAnId(String),
    /// Only the node itself changes its settings.
    OtherNode {
        node: NodeId,
        asked: i32,
    },
    /// Log levels stay as they are.
    LogLevel,
    BadName(BadName),
    UnknownTopic(String),
    /// Something is to be added to or taken from what is no list.
    NotAList {
        key: String,
        append: bool,
    },
    Topic(ConfigRefusal),
    Dynamic(DynamicRefusal),
    /// More than one append of the metadata log holds; nothing was changed.
    TooLarge,
    /// The metadata log could not be written; nothing was changed.
    Storage,
}

impl fmt::Display for AlterRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlterRefusal::ResourceTwice => f.write_str("Each resource must appear at most once."),
            AlterRefusal::KeyTwice => f.write_str("Error due to duplicate config keys"),
            AlterRefusal::Null(keys) => {
                write!(f, "Null value not supported for : {}", keys.join(","))
            }
            AlterRefusal::UnknownOperation(number) => {
                write!(f, "Unknown config operation {number}")
            }
            AlterRefusal::UnknownType(number) => write!(f, "Unknown resource type {number}"),
            AlterRefusal::Nameless(what) => write!(f, "A {what} must be named."),
            AlterRefusal::NotAnId(name) => {
                write!(f, "Node id must be an integer, but it is: {name}")
            }
            AlterRefusal::OtherNode { node, asked } => {
                write!(
                    f,
                    "Unexpected broker id, expected {node}, but received {asked}"
                )
            }
            AlterRefusal::LogLevel => {
                f.write_str("Log levels are chosen at the start; the only logger is root, at INFO.")
            }
            AlterRefusal::BadName(bad) => bad.fmt(f),
            AlterRefusal::UnknownTopic(name) => write!(f, "The topic '{name}' does not exist."),
            AlterRefusal::NotAList { key, append } => {
                let operation = if *append { "APPEND" } else { "SUBTRACT" };
                write!(
                    f,
                    "Can't {operation} to key {key} because its type is not LIST."
                )
            }
            AlterRefusal::Topic(refusal) => refusal.fmt(f),
            AlterRefusal::Dynamic(refusal) => refusal.fmt(f),
            AlterRefusal::TooLarge => f.write_str("The request is too large for one change."),
            AlterRefusal::Storage => f.write_str("The metadata log could not be written."),
        }
    }
}

impl std::error::Error for AlterRefusal {}

/// Decides AlterConfigs and IncrementalAlterConfigs, each resource on its own. Of the records none
/// are to be written when the request only validates. `node` is the one that was asked.
pub fn alter_configs(
    image: &MetadataImage,
    node: NodeId,
    resources: &[Alteration],
    settings: &BrokerSettings,
) -> Decision<Vec<Altered>> {
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for one in resources {
        let times = times.entry((one.resource_type, &one.name)).or_default();
        *times = times.saturating_add(1);
    }
    let altering = Altering {
        image,
        node,
        settings,
    };
    let mut records = Vec::new();
    let mut answer = Vec::new();
    for one in resources {
        let twice = times
            .get(&(one.resource_type, one.name.as_str()))
            .is_some_and(|times| *times > 1);
        let result = match twice {
            true => Err(AlterRefusal::ResourceTwice),
            false => altering.alter(one),
        };
        answer.push(Altered {
            resource_type: one.resource_type,
            name: one.name.clone(),
            result: result.map(|mut made| records.append(&mut made)),
        });
    }
    Decision { records, answer }
}

/// What a decision about one resource looks at.
struct Altering<'a> {
    image: &'a MetadataImage,
    node: NodeId,
    settings: &'a BrokerSettings,
}

/// What a request calls a resource.
#[derive(Clone, Copy)]
enum Target<'a> {
    Topic(&'a str),
    Broker,
    BrokerDefault,
    Logger,
    Group(&'a str),
    ClientMetrics(&'a str),
}

impl Altering<'_> {
    fn alter(&self, one: &Alteration) -> Result<Vec<Record>, AlterRefusal> {
        check_keys(&one.changes)?;
        let target = self.target(one)?;
        if let Target::Logger = target {
            return check_log_levels(&one.changes);
        }
        let resource = self.resource(target);
        let none = Configs::new();
        let before = resource
            .as_ref()
            .map_or(&none, |known| self.image.configs(known));
        let after = self.after(target, before, &one.changes)?;
        self.check(target, before, &after)?;
        match (resource, target) {
            (Some(resource), _) => Ok(changed(&resource, before, &after)),
            (None, Target::Topic(name)) => Err(AlterRefusal::UnknownTopic(name.to_owned())),
            (None, _) => Ok(Vec::new()),
        }
    }

    fn target<'n>(&self, one: &'n Alteration) -> Result<Target<'n>, AlterRefusal> {
        let name = one.name.as_str();
        let incremental = matches!(one.changes, Changes::Edit(_));
        match one.resource_type {
            resource_type::TOPIC if name.is_empty() => Err(AlterRefusal::Nameless("topic")),
            resource_type::TOPIC => {
                topic_rules::check_name(name).map_err(AlterRefusal::BadName)?;
                Ok(Target::Topic(name))
            }
            resource_type::BROKER if name.is_empty() => Ok(Target::BrokerDefault),
            resource_type::BROKER => self.check_node(name).map(|()| Target::Broker),
            resource_type::BROKER_LOGGER if incremental => {
                self.check_node(name).map(|()| Target::Logger)
            }
            resource_type::CLIENT_METRICS if name.is_empty() => {
                Err(AlterRefusal::Nameless("client metrics subscription"))
            }
            resource_type::CLIENT_METRICS => Ok(Target::ClientMetrics(name)),
            resource_type::GROUP if name.is_empty() => Err(AlterRefusal::Nameless("group")),
            resource_type::GROUP => Ok(Target::Group(name)),
            other => Err(AlterRefusal::UnknownType(other)),
        }
    }

    fn check_node(&self, name: &str) -> Result<(), AlterRefusal> {
        match name.parse::<i32>() {
            Err(_) => Err(AlterRefusal::NotAnId(name.to_owned())),
            Ok(asked) if asked != self.node.0 => {
                let node = self.node;
                Err(AlterRefusal::OtherNode { node, asked })
            }
            Ok(_) => Ok(()),
        }
    }

    /// `None`: there is no such topic.
    fn resource(&self, target: Target<'_>) -> Option<Resource> {
        Some(match target {
            Target::Topic(name) => Resource::Topic(self.image.topic(name)?.id),
            Target::Broker | Target::Logger => Resource::Broker(self.node),
            Target::BrokerDefault => Resource::BrokerDefault,
            Target::Group(name) => Resource::Group(name.to_owned()),
            Target::ClientMetrics(name) => Resource::ClientMetrics(name.to_owned()),
        })
    }

    /// The settings as they will be.
    fn after(
        &self,
        target: Target<'_>,
        before: &Configs,
        changes: &Changes,
    ) -> Result<Configs, AlterRefusal> {
        let edits = match changes {
            Changes::Replace(all) => {
                let given = all.iter();
                let given = given.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
                return Ok(given.collect());
            }
            Changes::Edit(edits) => edits,
        };
        let mut after = before.clone();
        for edit in edits {
            let given = edit.value.as_deref().unwrap_or("");
            let value = match edit.operation {
                SET => given.to_owned(),
                APPEND | SUBTRACT => {
                    let append = edit.operation == APPEND;
                    let Some(list) = self.list(target, before, &edit.key) else {
                        let key = edit.key.clone();
                        return Err(AlterRefusal::NotAList { key, append });
                    };
                    edited(&list, given, append)
                }
                _ => {
                    after.remove(&edit.key);
                    continue;
                }
            };
            after.insert(edit.key.clone(), value);
        }
        Ok(after)
    }

    /// The text of a list in effect; `None` when the key is no list's.
    fn list(&self, target: Target<'_>, before: &Configs, key: &str) -> Option<String> {
        let is_list = |setting: &&Setting| setting.kind == Kind::List;
        let layers = Layers {
            node: match target {
                Target::BrokerDefault => self.image.configs(&Resource::BrokerDefault),
                _ => self.image.configs(&Resource::Broker(self.node)),
            },
            cluster: self.image.configs(&Resource::BrokerDefault),
            fixed: self.settings,
        };
        let value = match target {
            Target::Topic(_) => {
                let setting = topic_setting(key).filter(is_list)?;
                topic::effective(setting, &Configs::new(), &layers)
            }
            Target::Broker | Target::BrokerDefault => {
                broker_setting(key).filter(is_list)?;
                layers.effective(key)
            }
            // Kafka's controller does not know that a subscription's settings are lists.
            Target::Group(_) | Target::ClientMetrics(_) | Target::Logger => return None,
        };
        let own = before.get(key).cloned();
        own.or_else(|| value.map(|value| value.to_string()))
            .or_else(|| Some(String::new()))
    }

    fn check(
        &self,
        target: Target<'_>,
        before: &Configs,
        after: &Configs,
    ) -> Result<(), AlterRefusal> {
        match target {
            Target::Topic(_) => {
                let all = after
                    .iter()
                    .map(|(key, value)| (key.as_str(), Some(value.as_str())));
                return topic::validate(all).map(drop).map_err(AlterRefusal::Topic);
            }
            Target::Broker => dynamic::validate_broker(before, after, BrokerScope::Node),
            Target::BrokerDefault => dynamic::validate_broker(before, after, BrokerScope::Cluster),
            Target::Group(_) => dynamic::validate_group(after, self.settings),
            Target::ClientMetrics(_) => dynamic::validate_client_metrics(after),
            Target::Logger => Ok(()),
        }
        .map_err(AlterRefusal::Dynamic)
    }
}

/// Keys given twice, then keys without a value, then operations nobody knows.
fn check_keys(changes: &Changes) -> Result<(), AlterRefusal> {
    let keys: Vec<(&str, bool)> = match changes {
        Changes::Replace(all) => all
            .iter()
            .map(|(key, value)| (key.as_str(), value.is_none()))
            .collect(),
        Changes::Edit(edits) => edits
            .iter()
            .map(|edit| {
                let empty = edit.value.is_none() && edit.operation != DELETE;
                (edit.key.as_str(), empty)
            })
            .collect(),
    };
    let mut seen = BTreeSet::new();
    if !keys.iter().all(|(key, _)| seen.insert(*key)) {
        return Err(AlterRefusal::KeyTwice);
    }
    let nulls = keys.iter().filter(|(_, null)| *null);
    let nulls: Vec<String> = nulls.map(|(key, _)| (*key).to_owned()).collect();
    if !nulls.is_empty() {
        return Err(AlterRefusal::Null(nulls));
    }
    let edits = match changes {
        Changes::Edit(edits) => edits.as_slice(),
        Changes::Replace(_) => &[],
    };
    let known = |edit: &&Edit| !(SET..=SUBTRACT).contains(&edit.operation);
    match edits.iter().find(known) {
        Some(edit) => Err(AlterRefusal::UnknownOperation(edit.operation)),
        None => Ok(()),
    }
}

/// A level that is in effect already may be set; nothing else.
fn check_log_levels(changes: &Changes) -> Result<Vec<Record>, AlterRefusal> {
    let (name, level) = ROOT_LOGGER;
    let kept = |edit: &Edit| {
        edit.operation == SET && edit.key == name && edit.value.as_deref() == Some(level)
    };
    match changes {
        Changes::Edit(edits) if edits.iter().all(kept) => Ok(Vec::new()),
        Changes::Edit(_) | Changes::Replace(_) => Err(AlterRefusal::LogLevel),
    }
}

/// `list` with the elements of `given` added where they are missing, or taken away.
fn edited(list: &str, given: &str, append: bool) -> String {
    let given: Vec<&str> = given.split(',').map(str::trim).collect();
    let mut parts: Vec<&str> = match list.trim() {
        "" => Vec::new(),
        list => list.split(',').map(str::trim).collect(),
    };
    if append {
        for part in given {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
    } else {
        parts.retain(|part| !given.contains(part));
    }
    parts.join(",")
}

/// The records that lead from `before` to `after`.
fn changed(resource: &Resource, before: &Configs, after: &Configs) -> Vec<Record> {
    let record = |key: &String, value: Option<&String>| Record::ConfigChanged {
        resource: resource.clone(),
        key: key.clone(),
        value: value.cloned(),
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value));
    gone.map(|key| record(key, None))
        .chain(set.map(|(key, value)| record(key, Some(value))))
        .collect()
}

#[cfg(test)]
#[path = "alter_tests.rs"]
mod tests;
