//! The last lines of what happened in a simulated world, for people.
//!
//! Owns a bounded ring of lines. Clones share it, so that it outlives a world that panics.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The ring.
#[derive(Clone)]
pub struct Trace {
    lines: Arc<Mutex<VecDeque<String>>>,
    lines_max: usize,
}

impl Trace {
    /// A ring of the last `lines_max` lines.
    pub fn new(lines_max: usize) -> Trace {
        Trace {
            lines: Arc::default(),
            lines_max,
        }
    }

    /// Adds a line; the oldest goes when there are too many.
    pub fn line(&self, at_ns: u64, what: fmt::Arguments<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= self.lines_max {
            lines.pop_front();
        }
        let (ms, ns) = (at_ns / 1_000_000, at_ns % 1_000_000);
        lines.push_back(format!("{ms}.{ns:06} {what}"));
    }

    /// All lines, oldest first.
    pub fn take(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more() {
        let trace = Trace::new(2);
        let same = trace.clone();
        for number in 0..5 {
            same.line(1_500_000, format_args!("line {number}"));
        }
        assert_eq!(trace.take(), ["1.500000 line 3", "1.500000 line 4"]);
        assert!(trace.take().is_empty());
    }
}
