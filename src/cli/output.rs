//! Standard output: tables for people, JSON lines for programs, bytes as they are.
//!
//! Owns the buffer in front of it and the cleaning of foreign text. Never writes to standard error.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use rustix::event::{self, PollFd, PollFlags, Timespec};
use serde::Serialize;

use super::failure::Failure;

const BUFFER_BYTES: usize = 128 * 1024;

/// See the head of the file.
pub struct Out {
    to: BufWriter<Box<dyn Write>>,
    json: bool,
    terminal: bool,
}

impl Out {
    pub fn stdout(json: bool) -> Out {
        let stdout = io::stdout();
        Out {
            terminal: stdout.is_terminal(),
            to: BufWriter::with_capacity(BUFFER_BYTES, Box::new(stdout)),
            json,
        }
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person sees it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.to.write_all(bytes)?)
    }

    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.to, "{text}")?)
    }

    /// One object, on one line.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.to, value).map_err(io::Error::from)?;
        self.bytes(b"\n")
    }

    /// Columns under their titles; a column of numbers only stands to the right.
    pub fn table(&mut self, titles: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        self.line(&table(titles, rows))
    }

    /// Finds out whether whoever read a pipe has closed it, which writing alone would show only with
    /// the next record.
    ///
    /// # Errors
    /// [`Failure::PipeClosed`].
    pub fn check_reader() -> Result<(), Failure> {
        let stdout = io::stdout();
        // Nothing is asked for: an error is told in any case.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec::default();
        match event::poll(&mut polled, Some(&now)) {
            Ok(_)
                if polled
                    .iter()
                    .any(|fd| fd.revents().contains(PollFlags::ERR)) =>
            {
                Err(Failure::PipeClosed)
            }
            _ => Ok(()),
        }
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.to.flush()?)
    }
}

fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles);
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let mut cells = rows.iter().filter_map(|row| row.get(place));
        if cells.all(|cell| cell == "-" || cell.parse::<i64>().is_ok()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Alignment leaves spaces behind the last column.
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// Foreign text for a terminal: control characters, which could move the cursor or worse, are
/// written out. Tabs stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\t';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) {
            // Into memory: cannot fail.
            let _ = write!(cleaned, "{}", c.escape_default());
        } else {
            cleaned.push(c);
        }
    }
    Cow::Owned(cleaned)
}

/// Ids joined by commas; `-` for none.
pub fn joined<T: ToString>(ids: &[T]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    let ids: Vec<String> = ids.iter().map(T::to_string).collect();
    ids.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let rows = [
            vec!["a".to_owned(), "7".to_owned(), "x".to_owned()],
            vec!["long".to_owned(), "1234567".to_owned(), String::new()],
        ];
        let expected = "\
topic    count  rack
a            7  x
long   1234567";
        assert_eq!(table(&["topic", "count", "rack"], &rows), expected);
    }

    #[test]
    fn control_characters_are_written_out_and_other_text_is_not_copied() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\tc"), "a\\u{1b}[2Jb\\r\\n\tc");
        assert!(matches!(clean("Zürich\t1"), Cow::Borrowed(_)));
    }

    #[test]
    fn no_ids_are_a_dash() {
        assert_eq!(joined::<i32>(&[]), "-");
        assert_eq!(joined(&[3, 1]), "3,1");
    }
}
