//! Manners of the sources: lengths as ratchets, banned calls each with what to use instead, and a
//! head comment in every file. Reads sources only; never builds or runs anything.

mod source;

use source::{Source, item_end, line_of, sources, words};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Tests are read one at a time and may list their rows.
const TEST_FUNCTION_LINES_MAX: usize = 100;

/// Files and functions allowed above the limits: path or `path function`, lines of today, reason.
/// An entry may only shrink, and goes when it is no longer needed.
const LONG: [(&str, usize, &str); 0] = [];

/// `expect` in modules that read foreign bytes: path, how many, and why none of them can be reached
/// by such bytes. A number may only shrink.
const EXPECTS: [(&str, usize, &str); 4] = [
    (
        "src/wire/codec.rs",
        2,
        "the writer: lengths of our own answers",
    ),
    (
        "src/wire/frame.rs",
        1,
        "the writer: the size of our own frame",
    ),
    (
        "src/log/checkpoints.rs",
        1,
        "the writer: partitions of a shard",
    ),
    (
        "src/log/producer_snapshot.rs",
        1,
        "the writer: producers of a partition, which are bounded",
    ),
];

/// Where a ban holds.
#[derive(Clone, Copy)]
enum Where {
    /// All code, tests included.
    Everywhere,
    /// All code, tests included, outside the modules named.
    EverywhereExcept(&'static [&'static str]),
    /// Product code outside the modules named.
    ProductExcept(&'static [&'static str]),
    /// Product code of the modules named.
    ProductOf(&'static [&'static str]),
}

/// Modules that read the bytes of peers or of disks.
const HOSTILE: &[&str] = &["wire", "log", "api", "inspect"];
/// Modules that talk to a person.
const DOORS: &[&str] = &["main.rs", "cli", "bench", "client", "inspect", "serve"];
/// Programs that own their thread, which may wait.
const CLIENTS: &[&str] = &["client", "cli", "bench"];

/// What is banned, where, and what to write instead.
const BANS: [(&str, Where, &str); 16] = [
    ("todo!", Where::Everywhere, "finish it, or leave it out"),
    (
        "unimplemented!",
        Where::Everywhere,
        "finish it, or leave it out",
    ),
    ("dbg!", Where::Everywhere, "tracing::debug!"),
    ("#[ignore", Where::Everywhere, "a test that runs, or none"),
    (
        "thread::sleep",
        Where::EverywhereExcept(CLIENTS),
        "a deadline, a channel, or a completion",
    ),
    (
        "mem::forget",
        Where::EverywhereExcept(&["devices"]),
        "an owner",
    ),
    (
        "transmute",
        Where::Everywhere,
        "from_ne_bytes, or a cast that the compiler checks",
    ),
    (
        ".unwrap()",
        Where::ProductOf(HOSTILE),
        "a refusal through `?`",
    ),
    ("get_unchecked", Where::ProductOf(HOSTILE), "get"),
    ("println!", Where::ProductExcept(DOORS), "tracing"),
    ("print!", Where::ProductExcept(DOORS), "tracing"),
    ("eprintln!", Where::ProductExcept(DOORS), "tracing"),
    ("eprint!", Where::ProductExcept(DOORS), "tracing"),
    (
        "process::exit",
        Where::ProductExcept(&["main.rs", "cli", "serve"]),
        "an error that main turns into a code",
    ),
    (
        "unsafe",
        Where::ProductExcept(&["devices"]),
        "something safe, or move it into devices",
    ),
    ("static mut", Where::Everywhere, "state that a machine owns"),
];

fn report(title: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{title}:\n  {}", wrong.join("\n  "));
}

/// Functions: name, lines, and whether it is test code.
fn functions(source: &Source) -> Vec<(String, usize, bool)> {
    let mut out = Vec::new();
    for at in words(&source.code, "fn") {
        let rest = source.code[at + 2..].trim_start();
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        // A function pointer type has no name; a declaration without body ends at its `;`.
        if name.is_empty() {
            continue;
        }
        let first = line_of(&source.code, at);
        let last = line_of(&source.code, item_end(&source.code, at).saturating_sub(1));
        let test = !source.product[at..].starts_with("fn");
        out.push((name, last - first + 1, test));
    }
    out
}

/// Compares a length with its limit and with the table of exceptions.
fn judge(key: &str, lines: usize, max: usize) -> Option<String> {
    match LONG.iter().find(|(name, ..)| *name == key) {
        Some(_) if lines <= max => Some(format!("{key}: {lines} lines now, take it out of LONG")),
        Some((_, most, _)) if lines <= *most => None,
        Some((_, most, _)) => Some(format!(
            "{key}: {lines} lines, was {most}: it may only shrink"
        )),
        None if lines <= max => None,
        None => Some(format!("{key}: {lines} lines, {max} at most")),
    }
}

fn broken_bans(source: &Source) -> Vec<String> {
    let mut out = Vec::new();
    for (call, place, instead) in BANS {
        let code = match place {
            Where::Everywhere => &source.code,
            Where::EverywhereExcept(modules) if !modules.contains(&source.module()) => &source.code,
            Where::ProductExcept(modules) if !modules.contains(&source.module()) => &source.product,
            Where::ProductOf(modules) if modules.contains(&source.module()) => &source.product,
            _ => continue,
        };
        let hits: Vec<usize> = if call.starts_with(['.', '#']) {
            code.match_indices(call).map(|(at, _)| at).collect()
        } else {
            words(code, call).collect()
        };
        for at in hits {
            out.push(format!(
                "{}:{}: {call}: {instead}",
                source.path,
                line_of(code, at)
            ));
        }
    }
    out
}

#[test]
fn files_stay_below_their_limit() {
    let long = |s: &Source| judge(&s.path, s.text.lines().count(), FILE_LINES_MAX);
    let all = ["src", "tests"].into_iter().flat_map(sources);
    report(
        "long files",
        &all.filter_map(|s| long(&s)).collect::<Vec<_>>(),
    );
}

#[test]
fn functions_stay_below_their_limit() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        for (name, lines, test) in functions(&source) {
            let max = if test {
                TEST_FUNCTION_LINES_MAX
            } else {
                FUNCTION_LINES_MAX
            };
            wrong.extend(judge(&format!("{} {name}", source.path), lines, max));
        }
    }
    report("long functions", &wrong);
}

#[test]
fn every_exception_names_something_that_exists() {
    let sources = sources("src");
    let exists = |key: &str| match key.split_once(' ') {
        None => sources.iter().any(|s| s.path == key),
        Some((path, name)) => sources
            .iter()
            .any(|s| s.path == path && functions(s).iter().any(|(n, ..)| n == name)),
    };
    let gone = |(key, ..): &(&str, usize, &str)| (!exists(key)).then(|| (*key).to_owned());
    report(
        "exceptions for nothing",
        &LONG.iter().filter_map(gone).collect::<Vec<_>>(),
    );
    let bare = LONG.iter().filter(|(.., reason)| reason.is_empty());
    report(
        "exceptions without reason",
        &bare.map(|(k, ..)| (*k).to_owned()).collect::<Vec<_>>(),
    );
}

#[test]
fn banned_calls_are_not_made() {
    report(
        "banned calls",
        &sources("src")
            .iter()
            .flat_map(broken_bans)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn modules_that_read_foreign_bytes_expect_nothing_of_them() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        if !HOSTILE.contains(&source.module()) {
            continue;
        }
        let found = source.product.matches(".expect(").count();
        let row = EXPECTS.iter().find(|(path, ..)| *path == source.path);
        let allowed = row.map_or(0, |(_, count, _)| *count);
        if found != allowed {
            wrong.push(format!(
                "{}: {found} expects, {allowed} in EXPECTS",
                source.path
            ));
        }
    }
    report(
        "make it a refusal through `?`, or argue it in EXPECTS",
        &wrong,
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let bare = |s: &Source| (!s.text.starts_with("//!")).then(|| s.path.clone());
    let all: Vec<Source> = ["src", "tests"].into_iter().flat_map(sources).collect();
    report(
        "files that do not begin with //!",
        &all.iter().filter_map(bare).collect::<Vec<_>>(),
    );
}

#[test]
fn the_checker_sees_a_banned_call_in_code_and_nowhere_else() {
    let broken = |path: &str, text: &str| broken_bans(&Source::new(path, text)).len();
    assert_eq!(broken("src/wire/a.rs", "fn f() { x.unwrap(); }"), 1);
    assert_eq!(broken("src/shard/a.rs", "fn f() { x.unwrap(); }"), 0);
    assert_eq!(
        broken(
            "src/wire/a.rs",
            "// x.unwrap()\nconst A: &str = \".unwrap()\";"
        ),
        0
    );
    assert_eq!(
        broken(
            "src/wire/a.rs",
            "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }"
        ),
        0
    );
    assert_eq!(broken("src/wire/tests.rs", "fn f() { x.unwrap(); }"), 0);
    assert_eq!(broken("src/wire/tests.rs", "fn f() { todo!() }"), 1);
    assert_eq!(broken("src/log/a.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(broken("src/devices/a.rs", "fn f() { unsafe { g() } }"), 0);
    assert_eq!(broken("src/log/a.rs", "#![forbid(unsafe_code)]"), 0);
    assert_eq!(
        broken(
            "src/log/a.rs",
            "const A: &str = r#\"todo!()\"#; const B: char = '\"';"
        ),
        0
    );
}

#[test]
fn the_checker_counts_lines_of_functions_with_braces_in_literals() {
    let text = "fn a() {\n  let b = \"}\";\n  let c = '{';\n}\ntrait T {\n  fn d(&self);\n}\n";
    let found = functions(&Source::new("src/log/a.rs", text));
    assert_eq!(
        found,
        [("a".to_owned(), 4, false), ("d".to_owned(), 1, false)]
    );
}
