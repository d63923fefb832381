//! `meta.properties`: whose a data directory is, in the form that Kafka's tools read.
//!
//! Owns the file's text (Kafka `MetaProperties`, version 1); never touches a disk itself.

use std::fmt;

use crate::metadata::ClusterId;
use crate::settings::properties;
use crate::words::TopicId;

/// Name of the file inside every data directory.
pub const FILE_NAME: &str = "meta.properties";

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    pub cluster: ClusterId,
    /// `node.id` of the machine.
    pub machine: i32,
    /// Identity of the directory (KIP-858), if the file has one.
    pub directory: Option<ClusterId>,
}

/// Why a file is not one that Ottla can go on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadMetaProperties(pub String);

impl fmt::Display for BadMetaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FILE_NAME}: {}", self.0)
    }
}

impl std::error::Error for BadMetaProperties {}

impl MetaProperties {
    pub fn parse(text: &str) -> Result<MetaProperties, BadMetaProperties> {
        let bad = |words: String| BadMetaProperties(words);
        let entries = properties::parse(text).map_err(|fault| bad(fault.to_string()))?;
        let value = |key: &str| {
            let found = entries.iter().rev().find(|entry| entry.key == key);
            found.map(|entry| entry.value.trim())
        };
        match value("version") {
            Some("1") => {}
            other => return Err(bad(format!("version {other:?} is not 1"))),
        }
        let machine = value("node.id")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| bad("node.id is missing or no number".to_owned()))?;
        let cluster = value("cluster.id")
            .and_then(ClusterId::parse)
            .ok_or_else(|| bad("cluster.id is missing or no id".to_owned()))?;
        Ok(MetaProperties {
            cluster,
            machine,
            directory: value("directory.id").and_then(ClusterId::parse),
        })
    }
}

impl fmt::Display for MetaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version=1")?;
        writeln!(f, "cluster.id={}", self.cluster)?;
        writeln!(f, "node.id={}", self.machine)?;
        if let Some(directory) = self.directory {
            writeln!(f, "directory.id={}", TopicId(directory.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_file_is_read_and_ours_is_read_back() {
        let kafka = "#\n#Sat Nov 21 07:10:44 UTC 2026\ncluster.id=BODD6yjFuHBlzwLxnX8awg\n\
                     directory.id=l7Y3GLqRSXGu9WE3dLk4lQ\nnode.id=1\nversion=1\n";
        let read = MetaProperties::parse(kafka).unwrap();
        assert_eq!(read.cluster.to_string(), "BODD6yjFuHBlzwLxnX8awg");
        assert_eq!((read.machine, read.directory.is_some()), (1, true));
        assert_eq!(MetaProperties::parse(&read.to_string()), Ok(read));
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        for (text, part) in [
            ("", "version"),
            ("version=0\nnode.id=1", "version"),
            ("version=1\nnode.id=x", "node.id"),
            ("version=1\nnode.id=1\ncluster.id=short", "cluster.id"),
        ] {
            let fault = MetaProperties::parse(text).unwrap_err().to_string();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
