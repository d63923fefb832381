//! Reads the crate's own sources for the tests that judge their shape: files, code without comments
//! and literals, and which part of a file is test code. Never judges anything itself.

use std::path::{Path, PathBuf};

/// One source file.
pub struct Source {
    /// Path below the repository root, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments, strings and character literals blanked, line by line as before.
    pub code: String,
    /// The same with test code blanked too.
    pub product: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank_literals(text);
        let product = if is_test_file(path) {
            blank(&code)
        } else {
            blank_tests(&code)
        };
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            product,
        }
    }

    /// The top module: `log` of `src/log/segment.rs`, `main.rs` of `src/main.rs`.
    pub fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        match below.split_once('/') {
            Some((module, _)) => module,
            None if below == "main.rs" || below == "lib.rs" => below,
            None => below.trim_end_matches(".rs"),
        }
    }
}

/// Every Rust file below `folder`, in the order of the paths.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root.join(folder), &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).expect("a source file is readable text");
        let below = path
            .strip_prefix(&root)
            .expect("the walk began at the root");
        Source::new(&below.to_string_lossy(), &text)
    };
    let mut all: Vec<Source> = paths.iter().map(read).collect();
    let test_files: Vec<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        let own = source.path.trim_end_matches(".rs");
        let inside = |file: &String| own == file || own.starts_with(&format!("{file}/"));
        if test_files.iter().any(inside) {
            source.product = blank(&source.code);
        }
    }
    all
}

/// Places, without `.rs`, of the modules that a file declares as `#[cfg(test)] mod name;`.
fn test_modules(source: &Source) -> Vec<String> {
    let own = source.path.trim_end_matches(".rs");
    let root_of_folder = ["/mod", "/lib", "/main"].iter();
    let folder = root_of_folder
        .filter_map(|end| own.strip_suffix(end))
        .next()
        .unwrap_or(own);
    let mut out = Vec::new();
    for (at, attribute) in source.code.match_indices("#[cfg(test)]") {
        let rest = source.code[at + attribute.len()..].trim_start();
        let rest = rest.strip_prefix("pub(crate) ").unwrap_or(rest);
        let declared = rest.strip_prefix("mod ").and_then(|r| r.split_once(';'));
        if let Some((name, _)) = declared
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        {
            out.push(format!("{folder}/{name}"));
        }
    }
    out
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("an entry is readable").path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

fn blank(code: &str) -> String {
    let keep = |c: char| if c == '\n' { '\n' } else { ' ' };
    code.chars().map(keep).collect()
}

/// Whether `text` at `at` begins a word on its own, not the middle of an identifier.
pub fn starts_word(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|t| t.chars().next_back());
    !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Places where `word` stands in `text` with no identifier character around it.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let whole = move |at: &usize| {
        let after = text.get(at + word.len()..).and_then(|t| t.chars().next());
        let open = word.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        starts_word(text, *at) && !(open && after.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    };
    text.match_indices(word).map(|(at, _)| at).filter(whole)
}

pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Replaces what is no code by spaces, so that positions and lines stay.
fn blank_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let skip = literal_len(&chars, at);
        if skip == 0 {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        for c in &chars[at..at + skip] {
            out.push(if *c == '\n' { '\n' } else { ' ' });
        }
        at += skip;
    }
    out
}

/// Length of the comment or literal that begins at `at`, or 0.
fn literal_len(chars: &[char], at: usize) -> usize {
    let here = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let until = |mut n: usize, end: fn(char) -> bool| {
        while at + n < chars.len() && !end(chars[at + n]) {
            n += if chars[at + n] == '\\' { 2 } else { 1 };
        }
        (n + 1).min(chars.len() - at)
    };
    let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match here(0) {
        '/' if here(1) == '/' => chars[at..].iter().take_while(|c| **c != '\n').count(),
        '/' if here(1) == '*' => block_comment_len(&chars[at..]),
        '"' => until(1, |c| c == '"'),
        'b' | 'c' if here(1) == '"' && !inside_word => until(2, |c| c == '"'),
        'r' if !inside_word => raw_string_len(&chars[at..], 1),
        'b' | 'c' if here(1) == 'r' && !inside_word => raw_string_len(&chars[at..], 2),
        '\'' if here(1) == '\\' => until(3, |c| c == '\''),
        '\'' if here(2) == '\'' => 3,
        _ => 0,
    }
}

fn block_comment_len(chars: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn raw_string_len(chars: &[char], prefix: usize) -> usize {
    let hashes = chars[prefix..].iter().take_while(|c| **c == '#').count();
    if chars.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let close = |at: &usize| {
        chars[*at] == '"'
            && chars[*at + 1..].len() >= hashes
            && chars[*at + 1..*at + 1 + hashes].iter().all(|c| *c == '#')
    };
    let body = prefix + hashes + 1;
    match (body..chars.len()).find(close) {
        Some(at) => at + 1 + hashes,
        None => chars.len(),
    }
}

/// Blanks every item under `#[cfg(test)]` and every `#[test]` function.
fn blank_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test", "#[test]"] {
        let places: Vec<usize> = out.match_indices(attribute).map(|(at, _)| at).collect();
        for at in places {
            let end = item_end(&out, at);
            let empty = blank(&out[at..end]);
            out.replace_range(at..end, &empty);
        }
    }
    out
}

/// Where the item that begins at `at` (with its attributes) ends: its closing brace, or its `;`.
pub fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let closes = c == ';' || c == '}';
        if depth == 0 && closes {
            return at + offset + 1;
        }
    }
    code.len()
}
