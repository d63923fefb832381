//! How the metadata writer starts: load, say whose the directory is, register, re-spread, publish.
//!
//! Owns that order; never starts a thread.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::{FileLog, LoadFault, LogFault, MetadataLog};
use super::meta_properties::{self, BadMetaProperties, MetaProperties};
use super::{Control, ControlStart, NewId, Wake};
use crate::devices::Disk;
use crate::metadata::decide::TopicDefaults;
use crate::metadata::records::Resource;
use crate::metadata::{ClusterId, ImageCell, MetadataImage, Node, Record, placement};
use crate::settings::BrokerSettings;
use crate::words::NodeId;
use crate::words::limits::SHARDS_PER_MACHINE_MAX;

/// A writer that is ready, and what it published.
pub struct Started {
    pub control: Control<FileLog>,
    pub cell: Arc<ImageCell>,
}

/// Why the metadata writer cannot start.
#[derive(Debug)]
pub enum StartError {
    Load(LoadFault),
    /// The first append of this start failed.
    Append(LogFault),
    /// A directory cannot be read or written.
    Disk {
        dir: PathBuf,
        error: io::Error,
    },
    Properties {
        dir: PathBuf,
        fault: BadMetaProperties,
    },
    /// A directory of another machine of the cluster.
    OtherNode {
        dir: PathBuf,
        theirs: i32,
        ours: i32,
    },
    /// A directory of another cluster.
    OtherCluster {
        dir: PathBuf,
        theirs: ClusterId,
        ours: ClusterId,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Load(fault) => fault.fmt(f),
            StartError::Append(fault) => write!(f, "metadata cannot be written: {fault:?}"),
            StartError::Disk { dir, error } => write!(f, "{}: {error}", dir.display()),
            StartError::Properties { dir, fault } => write!(f, "{}: {fault}", dir.display()),
            StartError::OtherNode { dir, theirs, ours } => write!(
                f,
                "{} belongs to node.id {theirs} ({} says so), this broker has node.id {ours}; needed: the \
                 node.id that the directory was made with. To mend it: -o node.id={theirs}, or choose \
                 another directory with --data",
                dir.display(),
                meta_properties::FILE_NAME
            ),
            StartError::OtherCluster { dir, theirs, ours } => write!(
                f,
                "{} belongs to cluster {theirs} ({} says so), the metadata to {ours}; needed: directories \
                 of one cluster. To mend it: set log.dirs and metadata.log.dir to those that belong \
                 together, or choose another directory with --data",
                dir.display(),
                meta_properties::FILE_NAME
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// The nodes of a machine, one for each shard, as clients are to reach them. `bound` are the
/// ports on which the shards listen, in the order of the shards; `host` stands in when no listener
/// names one. `None` when an advertised port would lie above 65535, or a node id too high.
pub fn nodes(settings: &BrokerSettings, host: &str, bound: &[u16]) -> Option<Vec<Node>> {
    let advertised = settings.advertised.first()?;
    let listener = settings.listeners.first()?;
    let base = settings
        .machine
        .checked_mul(i32::from(SHARDS_PER_MACHINE_MAX))?;
    let everywhere = ["", "0.0.0.0", "::"].contains(&advertised.host.as_str());
    let as_bound = advertised.port == listener.port || advertised.port == 0;
    let all = (0u16..SHARDS_PER_MACHINE_MAX)
        .zip(bound)
        .map(|(shard, port)| {
            Some(Node {
                id: NodeId(base.checked_add(i32::from(shard))?),
                host: if everywhere { host } else { &advertised.host }.to_owned(),
                port: if as_bound {
                    *port
                } else {
                    advertised.port.checked_add(shard)?
                },
                rack: settings.rack.clone(),
            })
        });
    all.collect()
}

/// Loads the metadata, registers `nodes` as those of this start, re-spreads the partitions when
/// they are not the nodes of the last one, and publishes. Everything is durable on return.
pub fn start(
    disk: &Arc<dyn Disk>,
    settings: &BrokerSettings,
    nodes: Vec<Node>,
    mut new_id: NewId,
    wake: Wake,
) -> Result<Started, StartError> {
    let dirs: Vec<PathBuf> = settings.data_dirs.iter().map(PathBuf::from).collect();
    let home = settings.metadata_dir.as_ref().map(PathBuf::from);
    let home = home.or_else(|| dirs.first().cloned()).unwrap_or_default();
    let (mut log, mut image) =
        FileLog::load(Arc::clone(disk), &home, settings.metadata_snapshot_bytes)
            .map_err(StartError::Load)?;

    let mut all: BTreeSet<PathBuf> = dirs.into_iter().collect();
    all.insert(home);
    let found = read_properties(&**disk, &all, settings.machine)?;
    // A directory that Kafka or an earlier Ottla formatted names the cluster already.
    let known = found.iter().find_map(|(_, properties)| properties.as_ref());
    let cluster = image
        .cluster()
        .or_else(|| known.map(|properties| properties.cluster))
        .unwrap_or_else(|| ClusterId(new_id()));
    check_cluster(&found, cluster)?;

    let records = first_records(&image, cluster, nodes, settings);
    log.append(image.version(), &records)
        .map_err(StartError::Append)?;
    image
        .apply_all(&records)
        .map_err(|misfit| StartError::Load(LoadFault::Misfit(misfit)))?;
    log.applied(&image);
    write_properties(&**disk, &found, cluster, settings.machine, &mut new_id)?;

    let image = Arc::new(image);
    let cell = Arc::new(ImageCell::new(Arc::clone(&image)));
    let with = ControlStart {
        cell: Arc::clone(&cell),
        defaults: TopicDefaults::of(settings),
        delete_topics: settings.delete_topics,
        settings: settings.clone(),
        new_id,
        wake,
    };
    let control = Control::new(log, image, with);
    Ok(Started { control, cell })
}

/// What a start writes before anything else.
fn first_records(
    image: &MetadataImage,
    cluster: ClusterId,
    nodes: Vec<Node>,
    settings: &BrokerSettings,
) -> Vec<Record> {
    let mut records = Vec::new();
    if image.cluster().is_none() {
        records.push(Record::ClusterCreated { id: cluster });
        // Kafka keeps this one setting cluster-wide from the beginning (KIP-966), so clients see
        // it as a dynamic default.
        let value = settings.number("min.insync.replicas").unwrap_or(1);
        records.push(Record::ConfigChanged {
            resource: Resource::BrokerDefault,
            key: "min.insync.replicas".to_owned(),
            value: Some(value.to_string()),
        });
    }
    let before: BTreeSet<NodeId> = image.nodes().map(|node| node.id).collect();
    let after: BTreeSet<NodeId> = nodes.iter().map(|node| node.id).collect();
    records.push(Record::NodesRegistered {
        start: image.start().saturating_add(1),
        nodes,
    });
    if before != after {
        let mut registered = image.clone();
        // Cannot contradict: the start is the next one, the rest is new.
        if registered.apply_all(&records).is_ok() {
            records.extend(placement::respread(&registered));
        }
    }
    records
}

fn read_properties(
    disk: &dyn Disk,
    dirs: &BTreeSet<PathBuf>,
    machine: i32,
) -> Result<Vec<(PathBuf, Option<MetaProperties>)>, StartError> {
    dirs.iter()
        .map(|dir| {
            let found = read_one(disk, dir)?;
            match found {
                Some(ref properties) if properties.machine != machine => {
                    Err(StartError::OtherNode {
                        dir: dir.clone(),
                        theirs: properties.machine,
                        ours: machine,
                    })
                }
                found => Ok((dir.clone(), found)),
            }
        })
        .collect()
}

fn read_one(disk: &dyn Disk, dir: &Path) -> Result<Option<MetaProperties>, StartError> {
    let text = match disk.read(&dir.join(meta_properties::FILE_NAME)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let dir = dir.to_path_buf();
            return Err(StartError::Disk { dir, error });
        }
    };
    MetaProperties::parse(&text)
        .map(Some)
        .map_err(|fault| StartError::Properties {
            dir: dir.to_path_buf(),
            fault,
        })
}

fn check_cluster(
    found: &[(PathBuf, Option<MetaProperties>)],
    ours: ClusterId,
) -> Result<(), StartError> {
    for (dir, properties) in found {
        let theirs = properties
            .as_ref()
            .map_or(ours, |properties| properties.cluster);
        if theirs != ours {
            let dir = dir.clone();
            return Err(StartError::OtherCluster { dir, theirs, ours });
        }
    }
    Ok(())
}

/// Formats the directories that say nothing yet.
fn write_properties(
    disk: &dyn Disk,
    found: &[(PathBuf, Option<MetaProperties>)],
    cluster: ClusterId,
    machine: i32,
    new_id: &mut NewId,
) -> Result<(), StartError> {
    for (dir, properties) in found {
        if properties.is_some() {
            continue;
        }
        let text = MetaProperties {
            cluster,
            machine,
            directory: Some(ClusterId(new_id())),
        }
        .to_string();
        let path = dir.join(meta_properties::FILE_NAME);
        disk.create_dir_all(dir)
            .and_then(|()| disk.write_atomic(&path, text.as_bytes()))
            .map_err(|error| StartError::Disk {
                dir: dir.clone(),
                error,
            })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
