//! The data directory before and beside the shards: is it ours, and what is left to tidy up.
//!
//! Runs on the main thread; looks at names only. Never opens a segment, never decides what recovery
//! decides.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{StartFailure, because};
use crate::control::log::FILE_NAME as METADATA_LOG;
use crate::devices::Disk;
use crate::log::names;
use crate::settings::BrokerSettings;

/// Where Apache Kafka keeps its metadata in a data directory.
const KAFKA_METADATA_DIR: &str = "__cluster_metadata-0";

/// Refuses a directory with partitions but without our metadata: its topics would be unknown, and
/// the first topic made under one of their names would take its directory over.
pub(super) fn ours_or_empty(
    settings: &BrokerSettings,
    data_dir: &Path,
) -> Result<(), StartFailure> {
    let metadata_dir = settings.metadata_dir.as_ref().map_or(data_dir, Path::new);
    if metadata_dir.join(METADATA_LOG).exists() {
        return Ok(());
    }
    let found = log_dirs(data_dir)?;
    let mut partitions: Vec<&str> = found
        .iter()
        .filter(|(_, dir)| dir.kind == names::LogDirKind::Live)
        .map(|(name, _)| name.as_str())
        .collect();
    let of_kafka = partitions.contains(&KAFKA_METADATA_DIR);
    partitions.retain(|name| *name != KAFKA_METADATA_DIR);
    partitions.sort_unstable();
    let whose = match (of_kafka, partitions.first()) {
        (false, None) => return Ok(()),
        (true, first) => format!(
            "was written by Apache Kafka ({KAFKA_METADATA_DIR}) and holds {} partitions{}, which \
             only Kafka's metadata knows",
            partitions.len(),
            first.map_or_else(String::new, |first| format!(" ({first}, ...)")),
        ),
        (false, Some(first)) => format!(
            "holds {} partitions ({first}, ...) but no {METADATA_LOG}, which says what they are",
            partitions.len(),
        ),
    };
    Err(StartFailure(format!(
        "{} {whose}. Nothing was changed; needed: an empty directory, or one that Ottla wrote. To \
         mend it: choose another with --data and {}",
        data_dir.display(),
        match of_kafka {
            true => "copy the topics over while Kafka serves them".to_owned(),
            false => format!("copy the topics over, or bring {METADATA_LOG} back"),
        },
    )))
}

/// Directories in a data directory that have the name of a partition, whatever became of it.
fn log_dirs(data_dir: &Path) -> Result<Vec<(String, names::LogDir)>, StartFailure> {
    let entries = std::fs::read_dir(data_dir).map_err(because(data_dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(because(data_dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(dir) = names::LogDir::parse(&name).filter(|_| entry.path().is_dir()) {
            found.push((name, dir));
        }
    }
    Ok(found)
}

/// Removes, beside everything else, what was being deleted when the last broker here ended.
pub(super) fn remove_deleted(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<(), StartFailure> {
    let mut deleted = log_dirs(data_dir)?;
    deleted.retain(|(_, dir)| dir.kind == names::LogDirKind::Delete);
    if deleted.is_empty() {
        return Ok(());
    }
    let (disk, data_dir) = (Arc::clone(disk), data_dir.to_owned());
    std::thread::spawn(move || {
        for (name, _) in deleted {
            let path = data_dir.join(name);
            match disk.remove_dir_all(&path) {
                Ok(()) => tracing::info!("removed {}, which was deleted before", path.display()),
                // A shard that deleted the same partition a moment ago was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "{} cannot be removed", path.display()),
            }
        }
    });
    Ok(())
}

/// Says at a start that a partition's directory is nobody's whom metadata knows.
pub(super) fn tell_of_stray(directory: &Path) {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let live = names::LogDir::parse(&name).is_some_and(|dir| dir.kind == names::LogDirKind::Live);
    let what_comes = match live {
        true => "until a topic is made under its name: then it is renamed to a stray",
        false => "and nothing here will ever remove it: that is for you to do",
    };
    tracing::warn!(
        "{} is not served: metadata does not know its topic, which was deleted or never was this \
         broker's. It is left as it is, {what_comes}",
        directory.display()
    );
}
