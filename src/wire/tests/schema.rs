//! Our tables against Kafka's own schemas, field by field.
//!
//! Method: the variable `OTTLA_KAFKA_SCHEMAS` names a directory with the files of
//! `common/message/` from Kafka's clients jar; without it the test says so and passes.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{CATALOGUE, Probe};
use crate::wire::api_key::{ApiKey, NEVER_FLEXIBLE};
use crate::wire::testing::{RowShape, Shape};

#[test]
fn tables_agree_with_kafkas_schemas() {
    let Ok(directory) = std::env::var("OTTLA_KAFKA_SCHEMAS") else {
        println!("skipped: OTTLA_KAFKA_SCHEMAS names no directory with Kafka's schemas");
        return;
    };
    let mut faults = Vec::new();
    for probe in CATALOGUE {
        let schema = load(Path::new(&directory), probe.name);
        compare_message(probe, &schema, &mut faults);
    }
    for row in ApiKey::ALL {
        let schema = load(Path::new(&directory), &format!("{}Request", row.name));
        let (min, max) = range(text(&schema, "validVersions"));
        let unstable = schema["latestVersionUnstable"] == true;
        let flexible = match text(&schema, "flexibleVersions") {
            "none" => NEVER_FLEXIBLE,
            versions => range(versions).0,
        };
        let expected = (
            schema["apiKey"].as_i64(),
            min,
            max - i16::from(unstable),
            flexible,
        );
        let ours = (
            Some(i64::from(row.key.0)),
            row.version_min,
            row.version_max,
            row.flexible_min,
        );
        if ours != expected {
            faults.push(format!("{}: {ours:?}, not {expected:?}", row.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} messages compared", CATALOGUE.len());
}

fn load(directory: &Path, name: &str) -> Value {
    let path = directory.join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&without_comments(&text)).expect(name)
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            if c == '"' && before != '\\' {
                quoted = !quoted;
            }
            if !quoted && line[at..].starts_with("//") {
                break;
            }
            before = c;
            out.push(c);
        }
        out.push('\n');
    }
    out
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// `3`, `3-5` or `3+`, inclusive.
fn range(versions: &str) -> (i16, i16) {
    if let Some(from) = versions.strip_suffix('+') {
        return (from.parse().unwrap(), i16::MAX);
    }
    match versions.split_once('-') {
        Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
        None => (versions.parse().unwrap(), versions.parse().unwrap()),
    }
}

fn overlap(a: (i16, i16), b: (i16, i16)) -> Option<(i16, i16)> {
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(both)
}

struct Scope<'a> {
    served: (i16, i16),
    common: &'a Value,
}

fn compare_message(probe: &Probe, schema: &Value, faults: &mut Vec<String>) {
    let scope = Scope {
        served: (probe.api.version_min, probe.api.version_max),
        common: &schema["commonStructs"],
    };
    if text(schema, "name") != probe.name {
        faults.push(format!("{}: wrong name", probe.name));
    }
    let Shape::Structure(rows) = (probe.shape)() else {
        panic!("{} is a structure", probe.name);
    };
    compare_rows(probe.name, &rows, &schema["fields"], &scope, faults);
}

fn compare_rows(
    path: &str,
    rows: &[RowShape],
    fields: &Value,
    scope: &Scope<'_>,
    faults: &mut Vec<String>,
) {
    let fields = fields.as_array().expect("a list of fields");
    let known = |field: &&Value| overlap(range(text(field, "versions")), scope.served).is_some();
    let fields: Vec<&Value> = fields.iter().filter(known).collect();
    if rows.len() != fields.len() {
        faults.push(format!(
            "{path}: {} rows, {} fields",
            rows.len(),
            fields.len()
        ));
    }
    let mut last_tag = None;
    for (row, field) in rows.iter().zip(fields) {
        let path = format!("{path}.{}", row.name);
        compare_row(&path, row, field, scope, faults);
        compare_type(&path, &row.shape, text(field, "type"), field, scope, faults);
        if row.tag.is_some() && row.tag <= last_tag {
            faults.push(format!("{path}: tags do not rise"));
        }
        last_tag = row.tag.or(last_tag);
    }
}

fn compare_row(
    path: &str,
    row: &RowShape,
    field: &Value,
    scope: &Scope<'_>,
    faults: &mut Vec<String>,
) {
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            faults.push(format!("{path}: {what} {ours}, not {theirs}"));
        }
    };
    let versions = range(text(field, "versions"));
    check(
        "name",
        row.name.replace('_', ""),
        text(field, "name").to_lowercase(),
    );
    check(
        "versions",
        format!("{:?}", row.versions),
        format!("{versions:?}"),
    );
    let visible = overlap(versions, scope.served).expect("filtered before");
    let null = field["nullableVersions"].as_str().map(range);
    let null = null.and_then(|null| overlap(null, visible));
    let ours = row.null.and_then(|null| overlap(null, visible));
    check("null", format!("{ours:?}"), format!("{null:?}"));
    let tag = row.tag.map(i64::from);
    check(
        "tag",
        format!("{tag:?}"),
        format!("{:?}", field["tag"].as_i64()),
    );
    if row.tag.is_some() {
        let tagged = range(text(field, "taggedVersions"));
        check("tagged", format!("{versions:?}"), format!("{tagged:?}"));
    }
    if let Some(default) = default(field) {
        check("default", plain_default(&row.default), default);
    }
}

/// The default that a schema names, where it is a number, a truth value or null.
fn default(field: &Value) -> Option<String> {
    let kind = text(field, "type");
    let named = match &field["default"] {
        Value::Null => None,
        Value::String(text) => Some(text.to_lowercase()),
        other => Some(other.to_string()),
    };
    match (named, kind) {
        (Some(null), _) if null == "null" => Some(null),
        (named, "bool") => Some(named.unwrap_or("false".into())),
        (named, kind) if kind.starts_with("int") || kind.starts_with("uint") => {
            let named = named.unwrap_or("0".into());
            match named.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok().map(|n| n.to_string()),
                None => Some(named),
            }
        }
        _ => None,
    }
}

/// The number inside a newtype's debug form, or the form itself.
fn plain_default(debug: &str) -> String {
    match debug {
        "None" => "null".into(),
        "NONE(0)" => "0".into(),
        _ => match debug.split_once('(') {
            Some((_, inner)) => inner.trim_end_matches(')').into(),
            None => debug.into(),
        },
    }
}

fn compare_type(
    path: &str,
    shape: &Shape,
    kind: &str,
    field: &Value,
    scope: &Scope<'_>,
    faults: &mut Vec<String>,
) {
    match (shape, kind.strip_prefix("[]")) {
        (Shape::Array(element), Some(kind)) => {
            compare_type(path, element, kind, field, scope, faults);
        }
        (Shape::Plain(ours), None) => {
            let theirs = if kind == "records" { "bytes" } else { kind };
            if *ours != theirs {
                faults.push(format!("{path}: type {ours}, not {theirs}"));
            }
        }
        (Shape::Structure(rows), None) => {
            let fields = match &field["fields"] {
                Value::Null => common(scope.common, kind),
                fields => fields,
            };
            compare_rows(path, rows, fields, scope, faults);
        }
        _ => faults.push(format!("{path}: type is not {kind}")),
    }
}

fn common<'a>(structs: &'a Value, name: &str) -> &'a Value {
    let structs = structs.as_array().expect("common structures");
    let found = structs.iter().find(|one| text(one, "name") == name);
    &found.expect(name)["fields"]
}
