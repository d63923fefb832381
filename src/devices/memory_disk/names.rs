//! Names of the disk in memory: which path is which file, and which directories there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{NameChange, is_root, parent};

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, u64>,
    pub(super) dirs: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                self.files.remove(path);
            }
            NameChange::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            NameChange::RemoveTree(path) => {
                self.files.retain(|file, _| !file.starts_with(path));
                self.dirs.retain(|dir| !dir.starts_with(path));
            }
            NameChange::Rename(from, to) => self.rename(from, to),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(inode) = self.files.remove(from) {
            self.files.insert(to.to_owned(), inode);
            return;
        }
        let moved = |path: &Path| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path.to_owned(),
        };
        self.files = self
            .files
            .iter()
            .map(|(path, inode)| (moved(path), *inode))
            .collect();
        self.dirs = self.dirs.iter().map(|path| moved(path)).collect();
    }

    pub(super) fn has_dir(&self, path: &Path) -> bool {
        is_root(path) || path == Path::new("/") || self.dirs.contains(path)
    }

    pub(super) fn drop_orphans(&mut self) {
        loop {
            let dirs = self.dirs.clone();
            let there = |path: &Path| {
                let up = parent(path);
                is_root(&up) || up == Path::new("/") || dirs.contains(&up)
            };
            self.dirs.retain(|dir| there(dir));
            self.files.retain(|file, _| there(file));
            if self.dirs == dirs {
                return;
            }
        }
    }
}
