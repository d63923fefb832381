//! The text of a `server.properties` file, as `java.util.Properties` reads it.
//!
//! Owns comments, continued lines, separators and escapes; never knows a setting.

use std::fmt;

/// One entry of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    pub value: String,
    /// Line, from 1, on which the entry begins.
    pub line: usize,
}

/// A `\u` escape without four hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadEscape {
    /// Line, from 1, on which the entry begins.
    pub line: usize,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: \\u needs four hexadecimal digits", self.line)
    }
}

impl std::error::Error for BadEscape {}

/// Entries in the order of the file; a key may come twice (the last one counts).
pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    let mut entries = Vec::new();
    let normal = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = normal.split('\n').zip(1usize..);
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(BLANK);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while is_continued(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANK));
        }
        let (key, value) = split(&logical);
        let (Some(key), Some(value)) = (unescape(key), unescape(value)) else {
            return Err(BadEscape { line });
        };
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

/// What may stand around keys: blank, tab, form feed.
const BLANK: [char; 3] = [' ', '\t', '\x0c'];

/// An odd number of backslashes at the end carries the line on.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value, still escaped: cut at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || BLANK.contains(&c) {
            let (key, rest) = line.split_at_checked(at).unwrap_or((line, ""));
            let rest = rest.trim_start_matches(BLANK);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (key, rest.trim_start_matches(BLANK));
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush(&mut units, &mut out);
            out.push(c);
            continue;
        }
        let plain = match chars.next() {
            Some('u') => {
                let mut unit = 0u16;
                for _ in 0..4 {
                    let digit = chars.next()?.to_digit(16)?;
                    unit = (unit << 4) | u16::try_from(digit).ok()?;
                }
                // Surrogate halves come as two escapes: gather them before decoding.
                units.push(unit);
                continue;
            }
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('f') => '\x0c',
            Some(other) => other,
            None => break,
        };
        flush(&mut units, &mut out);
        out.push(plain);
    }
    flush(&mut units, &mut out);
    Some(out)
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if !units.is_empty() {
        out.push_str(&String::from_utf16_lossy(units));
        units.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let entries = parse(text).unwrap();
        entries.into_iter().map(|e| (e.key, e.value)).collect()
    }

    #[test]
    fn lines_are_read_as_java_reads_them() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("a=b", &[("a", "b")]),
            ("a = b ", &[("a", "b ")]),
            ("a:b", &[("a", "b")]),
            ("a b", &[("a", "b")]),
            ("a = = b", &[("a", "= b")]),
            ("  a\t=\tb", &[("a", "b")]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("# c\n! d\n\n \na=b", &[("a", "b")]),
            ("a=b\\\n   c", &[("a", "bc")]),
            ("a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
            ("a=b\\", &[("a", "b")]),
            ("a=1\\\n# not a comment", &[("a", "1# not a comment")]),
            ("a\\ b\\=c = d", &[("a b=c", "d")]),
            ("a=\\t\\n\\x\\u00e4\\uD83D\\uDE00", &[("a", "\t\nxä😀")]),
            ("a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
            ("a=1\na=2", &[("a", "1"), ("a", "2")]),
            (
                "listeners=PLAINTEXT://:9092",
                &[("listeners", "PLAINTEXT://:9092")],
            ),
            ("=b", &[("", "b")]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_broken_unicode_escape_names_its_line() {
        for text in ["x=1\na=\\u12", "x=1\na=\\u12g4"] {
            assert_eq!(parse(text), Err(BadEscape { line: 2 }));
        }
    }
}
