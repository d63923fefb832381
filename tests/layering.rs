//! The direction of the imports, as the table in `src/README.md` has it, and the purity of the
//! cores. Reads sources only; never builds or runs anything.

#[expect(dead_code, reason = "tidy.rs uses the rest")]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, line_of, sources, words};

/// Crates that know the kernel: inside `src/devices` and nowhere else.
const KERNEL_CRATES: [&str; 4] = ["glommio", "io_uring", "memmap2", "core_affinity"];

/// What a machine or a core gets as an argument or an effect instead of fetching it.
const IMPURE: [(&str, &str); 16] = [
    ("std::fs", "an Effect, or a Job over devices::Disk"),
    ("fs::File", "an Effect, or a Job over devices::Disk"),
    ("TcpListener", "Event::Accepted"),
    ("TcpStream", "Event::Received and Effect::Send"),
    ("UdpSocket", "nothing: no machine opens sockets"),
    ("ToSocketAddrs", "an address that the caller resolved"),
    ("Instant::now", "the `now` argument"),
    ("SystemTime", "the `now` argument"),
    ("jiff::Timestamp::now", "the `now` argument"),
    ("Zoned::now", "the `now` argument"),
    ("new_v4", "an id that the caller made up"),
    ("rand", "a value that the caller drew"),
    ("getrandom", "a value that the caller drew"),
    ("thread::spawn", "Effect::Job"),
    ("thread::current", "the shard id it was given"),
    ("std::env", "settings"),
];

/// Modules that only ever see values: the layers that are compiled into the simulated world too,
/// and what drives it.
const PURE_BESIDE_CORES: [&str; 7] = ["words", "wire", "api", "shard", "control", "metrics", "sim"];

struct Layer {
    level: u32,
    row: usize,
    may: String,
}

/// The table of `src/README.md`, by module.
fn layers(readme: &str) -> BTreeMap<String, Layer> {
    let mut out = BTreeMap::new();
    let rows = readme.lines().filter(|l| l.starts_with("| L"));
    for (row, line) in rows.enumerate() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [level, modules, _, may] = cells[..] else {
            panic!("a layer row has four cells: {line}");
        };
        let level = level[1..].parse().expect("a layer is L and a number");
        for module in modules.split('`').skip(1).step_by(2) {
            let name = module.trim_end_matches('/').to_owned();
            let may = only(readme, &name).unwrap_or_else(|| may.to_owned());
            out.insert(name, Layer { level, row, may });
        }
    }
    assert!(out.len() > 8, "the layer table was found");
    out
}

/// The exception of one module, written as "`client/` imports only words and wire."
fn only(readme: &str, module: &str) -> Option<String> {
    let start = format!("`{module}/` imports only ");
    let sentence = readme.lines().find_map(|l| l.strip_prefix(&start))?;
    Some(sentence.trim_end_matches('.').replace(" and ", ", "))
}

/// Whether the table lets `from` import `to`. Modules of one row are one layer.
fn may_import(layers: &BTreeMap<String, Layer>, from: &str, to: &str) -> bool {
    let (Some(a), Some(b)) = (layers.get(from), layers.get(to)) else {
        return false;
    };
    let listed = a.may.split(", ").any(|word| match word {
        "all below" => b.level < a.level,
        "cores" => b.level == 2,
        name => name.trim_matches('`').trim_end_matches('/') == to,
    });
    let neighbours = a.row == b.row && a.may == "all below";
    from == to || listed || neighbours
}

/// Top modules that a file names, with the line: through `crate::`, `ottla::` and `super::`.
fn imports(source: &Source) -> BTreeSet<(String, usize)> {
    let mut out = BTreeSet::new();
    for root in ["crate::", "ottla::"] {
        for at in words(&source.product, root) {
            let line = line_of(&source.product, at);
            for name in heads(&source.product[at + root.len()..]) {
                out.insert((name, line));
            }
        }
    }
    let up = "super::".repeat(depth(&source.path));
    for at in words(&source.product, &up) {
        let line = line_of(&source.product, at);
        let module = source.product[..at].ends_with("super::");
        for name in heads(&source.product[at + up.len()..]) {
            if !module && !up.is_empty() && name != "super" && name != "self" {
                out.insert((name, line));
            }
        }
    }
    out
}

/// How many `super::` lead from a file's module to the root of the crate.
fn depth(path: &str) -> usize {
    let parts = path.matches('/').count();
    if path.ends_with("/mod.rs") || path == "src/main.rs" || path == "src/lib.rs" {
        parts - 1
    } else {
        parts
    }
}

/// First names after a root: one, or those of a `{a::b, c}` group.
fn heads(rest: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        let word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(word).collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![ident(rest)];
    };
    let mut names = vec![ident(group)];
    let mut depth = 1_usize;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(ident(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

fn readme_layers() -> BTreeMap<String, Layer> {
    let path = source::root().join("src/README.md");
    layers(&std::fs::read_to_string(path).expect("src/README.md is there"))
}

fn report(title: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{title}:\n  {}", wrong.join("\n  "));
}

#[test]
fn imports_point_downward_only() {
    let layers = readme_layers();
    let mut wrong = Vec::new();
    for source in sources("src") {
        if source.path == "src/lib.rs" {
            continue;
        }
        for (to, line) in imports(&source) {
            // A lower-case head that is no module is a macro or a re-export of the root.
            let known = layers.contains_key(&to);
            if known && !may_import(&layers, source.module(), &to) {
                wrong.push(format!(
                    "{}:{line}: {} may not import {to}",
                    source.path,
                    source.module()
                ));
            }
        }
    }
    report("imports against the table of src/README.md", &wrong);
}

#[test]
fn every_module_has_its_row_in_the_table() {
    let layers = readme_layers();
    let modules: BTreeSet<String> = sources("src")
        .iter()
        .map(|s| s.module().to_owned())
        .collect();
    let missing: Vec<String> = modules
        .into_iter()
        .filter(|m| m != "lib.rs" && !layers.contains_key(m))
        .collect();
    report("modules without a row in src/README.md", &missing);
}

#[test]
fn only_devices_knows_the_kernel() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        if source.module() == "devices" {
            continue;
        }
        for name in KERNEL_CRATES {
            for at in words(&source.code, name) {
                let line = line_of(&source.code, at);
                wrong.push(format!(
                    "{}:{line}: {name} belongs into src/devices",
                    source.path
                ));
            }
        }
    }
    report("the kernel outside devices", &wrong);
}

#[test]
fn cores_and_machines_have_no_clock_no_files_no_chance() {
    let layers = readme_layers();
    let mut wrong = Vec::new();
    for source in sources("src") {
        let core = layers.get(source.module()).is_some_and(|l| l.level == 2);
        if !core && !PURE_BESIDE_CORES.contains(&source.module()) {
            continue;
        }
        for (name, instead) in IMPURE {
            for at in words(&source.product, name) {
                // `rand` is meant as a crate; a word of that name alone is somebody's variable.
                if name == "rand" && !source.product[at..].starts_with("rand::") {
                    continue;
                }
                let line = line_of(&source.product, at);
                wrong.push(format!("{}:{line}: {name}: take {instead}", source.path));
            }
        }
    }
    report("impure cores or machines", &wrong);
}

#[test]
fn the_checker_sees_an_upward_import_in_every_spelling() {
    let layers = readme_layers();
    let seen = |text: &str, path: &str| -> Vec<String> {
        imports(&Source::new(path, text))
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(
        seen("use crate::devices::Disk;", "src/log/a.rs"),
        ["devices"]
    );
    assert_eq!(
        seen("use crate::{words::Offset, api::{a, b}};", "src/log/a.rs"),
        ["api", "words"]
    );
    assert_eq!(
        seen("fn f() { crate::shard::go() }", "src/log/a.rs"),
        ["shard"]
    );
    assert_eq!(
        seen("use super::super::shard::X;", "src/log/a.rs"),
        ["shard"]
    );
    assert_eq!(seen("use super::shard::X;", "src/log/mod.rs"), ["shard"]);
    assert_eq!(seen("use super::sibling::X;", "src/log/a.rs"), [""; 0]);
    assert_eq!(
        seen("// crate::api\nlet a = \"crate::api\";", "src/log/a.rs"),
        [""; 0]
    );
    assert_eq!(
        seen(
            "#[cfg(test)]\nmod tests { use crate::api::x; }",
            "src/log/a.rs"
        ),
        [""; 0]
    );
    assert!(!may_import(&layers, "log", "devices"));
    assert!(may_import(&layers, "api", "log") && !may_import(&layers, "api", "devices"));
    assert!(may_import(&layers, "client", "wire") && !may_import(&layers, "client", "api"));
}
