//! Changing settings: the answers of Apache Kafka 4.3.1, as tables.

use super::super::image::tests::{config_of, id, image, registered, topic_of};
use super::resource_type::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::*;

/// Node 1000 is asked; topic `t` has a setting, topic `u` none.
fn base() -> MetadataImage {
    image(&[
        registered(&[1000, 1001]),
        config_of(Resource::BrokerDefault, "min.insync.replicas", Some("1")),
        topic_of(1, "t"),
        config_of(Resource::Topic(id(1)), "retention.ms", Some("1000")),
        topic_of(2, "u"),
    ])
}

fn edit(key: &str, operation: i8, value: Option<&str>) -> Edit {
    Edit {
        key: key.into(),
        operation,
        value: value.map(str::to_owned),
    }
}

fn edits(resource_type: i8, name: &str, edits: &[Edit]) -> Alteration {
    Alteration {
        resource_type,
        name: name.into(),
        changes: Changes::Edit(edits.to_vec()),
    }
}

fn replace(resource_type: i8, name: &str, configs: &[(&str, Option<&str>)]) -> Alteration {
    let all = configs
        .iter()
        .map(|(key, value)| ((*key).into(), value.map(str::to_owned)));
    Alteration {
        resource_type,
        name: name.into(),
        changes: Changes::Replace(all.collect()),
    }
}

/// `ok` or the refusal of each resource, then `key=value` of each record.
fn told_on(image: &MetadataImage, resources: &[Alteration]) -> Vec<String> {
    let settings = BrokerSettings::defaults();
    let decision = alter_configs(image, NodeId(1000), resources, &settings);
    let mut after = image.clone();
    after.apply_all(&decision.records).unwrap();
    let answers = decision.answer.iter().map(|one| match &one.result {
        Ok(()) => "ok".to_owned(),
        Err(why) => why.to_string(),
    });
    let records = decision.records.iter().map(|record| match record {
        Record::ConfigChanged { key, value, .. } => {
            format!("{key}={}", value.as_deref().unwrap_or("-"))
        }
        other => panic!("{other:?}"),
    });
    answers.chain(records).collect()
}

fn told(resources: &[Alteration]) -> Vec<String> {
    told_on(&base(), resources)
}

#[test]
fn one_key_of_a_topic_is_edited_and_the_others_stay() {
    let table: [(Edit, &[&str]); 15] = [
        (edit("segment.ms", SET, Some("5")), &["ok", "segment.ms=5"]),
        (edit("retention.ms", SET, Some("1000")), &["ok"]),
        (
            edit("retention.ms", DELETE, None),
            &["ok", "retention.ms=-"],
        ),
        (edit("segment.ms", DELETE, Some("ignored")), &["ok"]),
        (edit("no.such", DELETE, None), &["ok"]),
        (
            edit("cleanup.policy", APPEND, Some("delete")),
            &["ok", "cleanup.policy=delete"],
        ),
        (
            edit("cleanup.policy", APPEND, Some(" compact , delete ")),
            &["ok", "cleanup.policy=delete,compact"],
        ),
        (
            edit("cleanup.policy", SUBTRACT, Some("delete")),
            &["ok", "cleanup.policy="],
        ),
        (
            edit("cleanup.policy", APPEND, Some("")),
            &["Configuration 'cleanup.policy' values must not be empty."],
        ),
        (
            edit("retention.ms", APPEND, Some("1")),
            &["Can't APPEND to key retention.ms because its type is not LIST."],
        ),
        (
            edit("no.such", SUBTRACT, Some("1")),
            &["Can't SUBTRACT to key no.such because its type is not LIST."],
        ),
        (
            edit("no.such", SET, Some("1")),
            &["Unknown topic config name: no.such"],
        ),
        (
            edit("retention.ms", SET, Some("x")),
            &["Invalid value x for configuration retention.ms: Not a number of type LONG"],
        ),
        (
            edit("cleanup.policy", APPEND, None),
            &["Null value not supported for : cleanup.policy"],
        ),
        (
            edit("retention.ms", 9, Some("x")),
            &["Unknown config operation 9"],
        ),
    ];
    for (one, lines) in table {
        assert_eq!(
            told(&[edits(TOPIC, "t", std::slice::from_ref(&one))]),
            lines,
            "{one:?}"
        );
    }
}

#[test]
fn the_old_call_replaces_everything() {
    assert_eq!(
        told(&[replace(TOPIC, "t", &[("segment.ms", Some("5"))])]),
        ["ok", "retention.ms=-", "segment.ms=5"]
    );
    assert_eq!(told(&[replace(TOPIC, "t", &[])]), ["ok", "retention.ms=-"]);
    assert_eq!(
        told(&[replace(TOPIC, "t", &[("retention.ms", None)])]),
        ["Null value not supported for : retention.ms"]
    );
    // The cluster's default may not lose this one key.
    let cluster = replace(BROKER, "", &[("log.cleaner.threads", Some("2"))]);
    assert_eq!(
        told(&[cluster]),
        ["Cluster-level min.insync.replicas cannot be removed while ELR is enabled."]
    );
    assert_eq!(
        told(&[replace(BROKER_LOGGER, "1000", &[])]),
        ["Unknown resource type 8"]
    );
}

#[test]
fn what_a_request_names_twice_is_refused() {
    let set = |value| edit("retention.ms", SET, Some(value));
    assert_eq!(
        told(&[edits(TOPIC, "t", &[set("1"), set("2")])]),
        ["Error due to duplicate config keys"]
    );
    let twice = "Each resource must appear at most once.";
    let request = [
        edits(TOPIC, "t", &[set("1")]),
        edits(TOPIC, "u", &[set("7")]),
        edits(TOPIC, "t", &[edit("segment.ms", SET, Some("2"))]),
        edits(GROUP, "t", &[]),
    ];
    assert_eq!(told(&request), [twice, "ok", twice, "ok", "retention.ms=7"]);
}

#[test]
fn resources_are_named_as_kafka_wants_them() {
    let table = [
        (TOPIC, "", "A topic must be named."),
        (
            TOPIC,
            "a b",
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (TOPIC, "x", "The topic 'x' does not exist."),
        (BROKER, "1000", "ok"),
        (BROKER, "", "ok"),
        (
            BROKER,
            "1001",
            "Unexpected broker id, expected 1000, but received 1001",
        ),
        (BROKER, "abc", "Node id must be an integer, but it is: abc"),
        (BROKER_LOGGER, "1000", "ok"),
        (BROKER_LOGGER, "", "Node id must be an integer, but it is: "),
        (GROUP, "", "A group must be named."),
        (GROUP, "g", "ok"),
        (
            CLIENT_METRICS,
            "",
            "A client metrics subscription must be named.",
        ),
        (CLIENT_METRICS, "m", "ok"),
        (0, "x", "Unknown resource type 0"),
        (3, "x", "Unknown resource type 3"),
        (-1, "x", "Unknown resource type -1"),
    ];
    for (kind, name, line) in table {
        assert_eq!(told(&[edits(kind, name, &[])]), [line], "{kind} {name}");
    }
    // A bad value is told before the topic is looked for.
    let bad = edits(TOPIC, "x", &[edit("retention.ms", SET, Some("x"))]);
    assert!(told(&[bad])[0].starts_with("Invalid value x"));
}

#[test]
fn brokers_groups_and_subscriptions_have_their_settings_changed() {
    let table: [(i8, &str, Edit, &[&str]); 9] = [
        (
            BROKER,
            "1000",
            edit("log.cleaner.threads", SET, Some("2")),
            &["ok", "log.cleaner.threads=2"],
        ),
        (
            BROKER,
            "1000",
            edit("num.partitions", SET, Some("3")),
            &["Cannot update these configs dynamically: [num.partitions]"],
        ),
        (
            BROKER,
            "1000",
            edit("num.partitions", DELETE, None),
            &["ok"],
        ),
        (
            BROKER,
            "",
            edit("log.cleanup.policy", APPEND, Some("compact")),
            &["ok", "log.cleanup.policy=delete,compact"],
        ),
        (
            BROKER,
            "",
            edit("min.insync.replicas", DELETE, None),
            &["Cluster-level min.insync.replicas cannot be removed while ELR is enabled."],
        ),
        (
            GROUP,
            "g",
            edit("consumer.session.timeout.ms", SET, Some("50000")),
            &["ok", "consumer.session.timeout.ms=50000"],
        ),
        (
            GROUP,
            "g",
            edit("consumer.session.timeout.ms", APPEND, Some("1")),
            &["Can't APPEND to key consumer.session.timeout.ms because its type is not LIST."],
        ),
        (
            CLIENT_METRICS,
            "m",
            edit("metrics", SET, Some("a,b")),
            &["ok", "metrics=a,b"],
        ),
        (
            BROKER_LOGGER,
            "1000",
            edit("root", SET, Some("DEBUG")),
            &["Log levels are chosen at the start; the only logger is root, at INFO."],
        ),
    ];
    for (kind, name, one, lines) in table {
        assert_eq!(
            told(&[edits(kind, name, std::slice::from_ref(&one))]),
            lines,
            "{one:?}"
        );
    }
}
