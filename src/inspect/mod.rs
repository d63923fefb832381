//! `ottla inspect`: what stands in a data directory, told by somebody other than who wrote it.
//!
//! Nothing here shares a line with the code that writes and recovers: the parsers were written
//! from FORMAT.md and from Kafka's formats, so that a mistake there is not repeated here. Only
//! reads; works beside a running broker and on Apache Kafka's log directories. Every byte is
//! hostile: nothing panics, and no memory is taken because a file claims a length.

pub mod batch;
pub mod bytes;
mod chain;
pub mod directory;
pub mod index;
pub mod journal;
pub mod metadata;
pub mod names;
pub mod papers;
mod partition;
pub mod segment;
pub mod survey;
pub mod unpack;
pub mod verify;

use std::fmt;
use std::path::{Path, PathBuf};

/// What became of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// A write that was never confirmed did not finish.
    Torn,
    /// Bytes that were confirmed are not what was written.
    Rotten,
    /// The device gave an error; nobody knows what stands there.
    Unreadable,
    /// A file that has to be there is not.
    Missing,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Torn => "torn",
            Verdict::Rotten => "rotten",
            Verdict::Unreadable => "unreadable",
            Verdict::Missing => "missing",
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub path: PathBuf,
    /// Bytes from the start of the file.
    pub position: Option<u64>,
    pub verdict: Verdict,
    /// Not the ordinary remains of a broker that was killed or still runs.
    pub wrong: bool,
    pub what: String,
}

/// Findings that are kept; more are counted.
const FINDINGS_MAX: usize = 10_000;

/// What was found so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    pub list: Vec<Finding>,
    /// Found besides, when the list was full.
    pub more: u64,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn rotten(&mut self, path: &Path, position: impl Into<Option<u64>>, what: impl Into<String>) {
        self.add(Finding {
            path: path.to_owned(),
            position: position.into(),
            verdict: Verdict::Rotten,
            wrong: true,
            what: what.into(),
        });
    }

    fn torn(&mut self, path: &Path, position: u64, wrong: bool, what: impl Into<String>) {
        self.add(Finding {
            path: path.to_owned(),
            position: Some(position),
            verdict: Verdict::Torn,
            wrong,
            what: what.into(),
        });
    }

    fn missing(&mut self, path: &Path, wrong: bool, what: impl Into<String>) {
        self.add(Finding {
            path: path.to_owned(),
            position: None,
            verdict: Verdict::Missing,
            wrong,
            what: what.into(),
        });
    }

    fn unreadable(&mut self, path: &Path, position: Option<u64>, error: &std::io::Error) {
        self.add(Finding {
            path: path.to_owned(),
            position,
            verdict: Verdict::Unreadable,
            wrong: true,
            what: error.to_string(),
        });
    }

    /// How many are not ordinary remains.
    pub fn wrong(&self) -> u64 {
        let listed = self.list.iter().filter(|finding| finding.wrong).count();
        self.more.saturating_add(listed as u64)
    }
}
