//! Settings: one table of configuration keys, and what follows from it.
//!
//! The tables ([`BROKER`], [`TOPIC`], [`GROUP`], [`CLIENT_METRICS`]) drive everything: reading
//! `server.properties`, layering ([`load`]), topic configs ([`topic`]), DescribeConfigs
//! ([`describe`]), help and completion. Owns names, types, bounds and defaults; never reads a
//! file or an environment, never keeps what changes at run time (that is in the metadata image).

pub mod broker;
mod broker_table;
pub mod describe;
pub mod dynamic;
pub mod kinds;
pub mod layers;
pub mod listeners;
pub mod load;
pub mod nearest;
pub mod properties;
pub mod removed;
pub mod topic;
mod topic_table;

pub use broker::{BrokerSettings, Durability, ProduceValidation};
pub use broker_table::BROKER;
pub use dynamic::DynamicRefusal;
pub use kinds::{BadValue, Effect, Kind, Setting, Value};
pub use layers::Layers;
pub use listeners::Listener;
pub use load::{Given, Origin, SettingError, Warning};
pub use topic::{ConfigRefusal, TopicSettings};
pub use topic_table::{CLIENT_METRICS, GROUP, TOPIC};

/// The row of a broker setting.
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    find(BROKER, name)
}

/// The row of a topic setting.
pub fn topic_setting(name: &str) -> Option<&'static Setting> {
    find(TOPIC, name)
}

fn find(table: &'static [Setting], name: &str) -> Option<&'static Setting> {
    let at = table.binary_search_by(|row| row.name.cmp(name)).ok()?;
    table.get(at)
}
