//! Lines of files and standard input, read on a thread of their own.
//!
//! Owns the reading and the cutting at line ends, so that whoever sends records can also notice
//! that no line has come for a while. Memory is bounded by the longest line that is taken.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of one read.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks read ahead.
const BLOCKS_AHEAD: usize = 4;
/// Longest line that is taken for a line.
pub const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What the reading thread says.
#[derive(Debug)]
pub enum Input {
    Block(Vec<u8>),
    /// The end of one file: it ends a line, too.
    EndOfFile,
    Failed(String),
}

/// Begins to read `files` in order; none is standard input, and so is `-`.
pub fn read(files: Vec<PathBuf>) -> Receiver<Input> {
    let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
    thread::spawn(move || {
        let files = if files.is_empty() {
            vec![PathBuf::from("-")]
        } else {
            files
        };
        for file in files {
            // Whoever listened is gone, or the failure is told already.
            if read_file(&file, &sender).is_none() {
                return;
            }
        }
    });
    receiver
}

/// Bytes of all files, if each is a regular file.
pub fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    if files.is_empty() {
        return None;
    }
    files.iter().try_fold(0u64, |total, file| {
        let facts = std::fs::metadata(file)
            .ok()
            .filter(|facts| facts.is_file())?;
        total.checked_add(facts.len())
    })
}

fn read_file(file: &Path, sender: &SyncSender<Input>) -> Option<()> {
    let mut from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        match File::open(file) {
            Ok(file) => Box::new(file),
            Err(cause) => return fail(file, &cause, sender),
        }
    };
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        match from.read(&mut block) {
            Ok(0) => return sender.send(Input::EndOfFile).ok(),
            Ok(read) => {
                block.truncate(read);
                sender.send(Input::Block(block)).ok()?;
            }
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return fail(file, &cause, sender),
        }
    }
}

fn fail(file: &Path, cause: &io::Error, sender: &SyncSender<Input>) -> Option<()> {
    let told = format!("cannot read {}: {cause}", file.display());
    // Nothing is read after a failure, told or not.
    let _ = sender.send(Input::Failed(told));
    None
}

/// Cuts blocks into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come.
    pending: Vec<u8>,
}

impl Lines {
    /// Gives every line that ends in `block` to `sink`, without its line feed.
    ///
    /// # Errors
    /// Those of `sink`; that of `too_long` for a line above [`LINE_BYTES_MAX`].
    pub fn cut<E>(
        &mut self,
        block: &[u8],
        too_long: impl FnOnce() -> E,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = block;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if self.pending.is_empty() {
                sink(line)?;
            } else {
                self.pending.extend_from_slice(line);
                sink(&self.pending)?;
                self.pending.clear();
            }
        }
        if self.pending.len().saturating_add(rest.len()) > LINE_BYTES_MAX {
            return Err(too_long());
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Gives the last line of a file that does not end in a line feed.
    pub fn end<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.pending);
        sink(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(blocks: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut sink = |line: &[u8]| {
            seen.push(String::from_utf8(line.to_vec()).unwrap());
            Ok::<(), ()>(())
        };
        let mut lines = Lines::default();
        for block in blocks {
            lines.cut(block.as_bytes(), || (), &mut sink).unwrap();
        }
        lines.end(&mut sink).unwrap();
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_blocks_fall() {
        let expected = ["a", "", "bc\r", "d"];
        assert_eq!(lines(&["a\n\nbc\r\nd"]), expected);
        assert_eq!(lines(&["a", "\n\nb", "c", "\r\n", "d"]), expected);
        assert_eq!(lines(&["a\n\nbc\r\nd\n"]), expected);
        assert!(lines(&[""]).is_empty());
    }

    #[test]
    fn files_follow_each_other_and_a_missing_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x\ny").unwrap();
        let files = vec![path.clone(), path, dir.path().join("none")];
        assert_eq!(total_bytes(&files), None);
        assert_eq!(total_bytes(&files[..2]), Some(6));
        let told: Vec<Input> = read(files).into_iter().collect();
        assert!(matches!(
            told.as_slice(),
            [
                Input::Block(_),
                Input::EndOfFile,
                Input::Block(_),
                Input::EndOfFile,
                Input::Failed(_)
            ]
        ));
    }
}
