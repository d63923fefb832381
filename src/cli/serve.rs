//! What `ottla serve` was called with, in plain values. Judges none of them: settings do.

use std::path::PathBuf;

use super::typed::Serve;

/// Arguments of a broker's start. `None` leaves it to the configuration file, then the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServeArgs {
    /// Kafka's `server.properties`.
    pub config: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub host: Option<String>,
    /// Port of the first shard.
    pub port: Option<u16>,
    /// 1 to `SHARDS_PER_MACHINE_MAX`.
    pub shards: Option<u16>,
    /// Settings that override the file's, in the order typed: of a key named twice the last counts.
    pub overrides: Vec<(String, String)>,
}

impl From<Serve> for ServeArgs {
    fn from(typed: Serve) -> ServeArgs {
        let overrides = typed.overrides.into_iter();
        ServeArgs {
            config: typed.config,
            data: typed.data,
            host: typed.host,
            port: typed.port,
            shards: typed.shards,
            overrides: overrides
                .map(|pair| (pair.key.trim().to_owned(), pair.value.trim().to_owned()))
                .collect(),
        }
    }
}
