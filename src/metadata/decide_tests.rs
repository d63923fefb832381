//! Creating topics: the answers of Apache Kafka 4.3.1, as tables.

use super::super::image::tests::{image, partition_of, registered, topic_of};
use super::*;
use crate::metadata::admin::Assignment;
use crate::words::LeaderEpoch;

fn base() -> MetadataImage {
    image(&[
        registered(&[0, 1, 2]),
        topic_of(101, "old"),
        partition_of(101, 0, 0, 0),
        topic_of(102, "dot.name"),
    ])
}

fn defaults() -> TopicDefaults {
    TopicDefaults::of(&BrokerSettings::defaults())
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        name: name.into(),
        partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> NewTopic {
    let assignments = partitions.iter().map(|(partition, replicas)| Assignment {
        partition: PartitionIndex(*partition),
        replicas: replicas.iter().map(|node| NodeId(*node)).collect(),
    });
    NewTopic {
        assignments: assignments.collect(),
        ..topic(name, -1, -1)
    }
}

fn with(mut topic: NewTopic, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let pairs = configs
        .iter()
        .map(|(key, value)| ((*key).into(), value.map(str::to_owned)));
    topic.configs = pairs.collect();
    topic
}

fn decided(topics: &[NewTopic]) -> Decision<Vec<TopicOutcome>> {
    let mut number = 0u8;
    let mut new_id = || {
        number += 1;
        TopicId([number; 16])
    };
    create_topics(&base(), topics, &defaults(), &mut new_id)
}

/// `name partitions` or `name refusal` of each answer.
fn told(topics: &[NewTopic]) -> Vec<String> {
    let lines = decided(topics)
        .answer
        .into_iter()
        .map(|one| match one.result {
            Ok(made) => format!("{} {}", one.name, made.partitions),
            Err(why) => format!("{} {why:?}", one.name),
        });
    lines.collect()
}

#[test]
fn counts_are_judged_in_kafkas_order() {
    for (partitions, factor, line) in [
        (2, 1, "t 2"),
        (-1, -1, "t 1"),
        (0, 1, "t BadPartitions"),
        (-2, 1, "t BadPartitions"),
        (1, 0, "t BadFactor"),
        (1, -2, "t BadFactor"),
        (0, 0, "t BadFactor"),
        (1, 77, "t TooFewNodes { asked: 77, nodes: 3 }"),
        (1, i16::MAX, "t TooFewNodes { asked: 32767, nodes: 3 }"),
        (1, 2, "t NoReplication { asked: 2 }"),
        (10_000, 1, "t 10000"),
        (10_001, 1, "t TooManyPartitions"),
        (i32::MAX, 1, "t TooManyPartitions"),
    ] {
        assert_eq!(
            told(&[topic("t", partitions, factor)]),
            [line],
            "{partitions} {factor}"
        );
    }
}

#[test]
fn names_are_judged_before_settings_and_settings_before_counts() {
    let bad = [("no.such", Some("1"))];
    for (topic, part) in [
        (with(topic("old", 0, 0), &bad), "Exists"),
        (with(topic("a b", 0, 0), &bad), "BadName"),
        (with(topic("t", 0, 0), &bad), "Unknown(\"no.such\")"),
        (with(topic("t", 1, 1), &[("retention.ms", None)]), "Null"),
        (topic("dot_name", 1, 1), "Collides"),
        (topic("__cluster_metadata", 1, 1), "ClusterMetadata"),
        (topic("", 1, 1), "Empty"),
    ] {
        let lines = told(&[topic]);
        assert!(lines[0].contains(part), "{lines:?}");
    }
}

#[test]
fn a_name_given_twice_is_refused_once_and_the_others_are_made() {
    let topics = [
        topic("twice", 1, 1),
        topic("once", 1, 1),
        topic("twice", 2, 1),
    ];
    assert_eq!(told(&topics), ["twice DuplicateName", "once 1"]);
    assert_eq!(
        told(&[topic("n.a", 1, 1), topic("n_a", 1, 1)])[1]
            .split(' ')
            .nth(1),
        Some("Collides")
    );
    assert_eq!(
        told(&[topic("h1", 6000, 1), topic("h2", 6000, 1)]),
        ["h1 TooManyPartitions", "h2 TooManyPartitions"]
    );
    assert_eq!(told(&[]), Vec::<String>::new());
}

#[test]
fn assignments_are_judged_as_kafka_judges_them() {
    let beside = |partitions, factor| NewTopic {
        partitions,
        replication_factor: factor,
        ..assigned("t", &[(0, &[1])])
    };
    for (topic, line) in [
        (assigned("t", &[(1, &[2]), (0, &[1])]), "t 2"),
        (beside(2, 1), "t FactorBesideAssignment"),
        (beside(-1, 1), "t FactorBesideAssignment"),
        (beside(1, -1), "t PartitionsBesideAssignment"),
        (assigned("t", &[(0, &[1]), (2, &[1])]), "t AssignmentGap"),
        (assigned("t", &[(1, &[1])]), "t AssignmentGap"),
        (assigned("t", &[(-1, &[1])]), "t AssignmentGap"),
        (
            assigned("t", &[(0, &[1]), (0, &[1])]),
            "t AssignmentTwice(PartitionIndex(0))",
        ),
        (
            assigned("t", &[(0, &[4711])]),
            "t AssignmentUnknownNode(NodeId(4711))",
        ),
        (
            assigned("t", &[(0, &[1, 1])]),
            "t AssignmentNodeTwice(NodeId(1))",
        ),
        (assigned("t", &[(0, &[])]), "t AssignmentEmpty"),
        (
            assigned("t", &[(0, &[1]), (1, &[1, 2])]),
            "t AssignmentUneven { replicas: 2, before: 1 }",
        ),
        (
            assigned("t", &[(0, &[1, 2])]),
            "t NoReplication { asked: 2 }",
        ),
    ] {
        assert_eq!(told(&[topic]), [line]);
    }
}

#[test]
fn the_records_of_a_topic_make_it_whole() {
    let wanted = with(
        topic("t", 4, -1),
        &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
    );
    let decision = decided(&[wanted]);
    let mut image = base();
    image.apply_all(&decision.records).unwrap();
    let made = image.topic("t").unwrap();
    let leaders: Vec<i32> = made.partitions.iter().map(|p| p.leader.0).collect();
    // Node 0 leads "old" already.
    assert_eq!(leaders, [1, 2, 0, 1]);
    assert!(
        made.partitions
            .iter()
            .all(|p| p.leader_epoch == LeaderEpoch(0))
    );
    assert_eq!(
        made.configs.get("retention.ms").map(String::as_str),
        Some("2")
    );
    let answer = decision.answer[0].result.as_ref().unwrap();
    assert_eq!(
        (answer.id, answer.partitions, answer.replication_factor),
        (made.id, 4, 1)
    );
    assert_eq!(answer.configs, made.configs);
}

#[test]
fn a_refused_topic_leaves_no_record() {
    let refused = [topic("a b", 1, 1), topic("old", 1, 1), topic("t", 1, 2)];
    assert!(decided(&refused).records.is_empty());
}

#[test]
fn a_cluster_holds_so_many_partitions_and_no_more() {
    let mut image = image(&[registered(&[0])]);
    let mut number = 0u128;
    let mut new_id = || {
        number += 1;
        TopicId(number.to_be_bytes())
    };
    let mut made = 0;
    loop {
        let one = topic(&format!("t{made}"), 9_999, 1);
        let decision = create_topics(&image, &[one], &defaults(), &mut new_id);
        if decision.answer[0].result.is_err() {
            assert_eq!(decision.answer[0].result, Err(TopicRefusal::ClusterFull));
            break;
        }
        image.apply_all(&decision.records).unwrap();
        made += 1;
    }
    assert_eq!(made, CLUSTER_PARTITIONS_MAX / 9_999);
}

#[test]
fn topics_asked_for_by_name_get_the_defaults_or_kafkas_own() {
    let names = [
        "n",
        "n",
        "old",
        "bad name",
        "dot_name",
        "__consumer_offsets",
    ];
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut new_id = {
        let mut number = 0u8;
        move || {
            number += 1;
            TopicId([number; 16])
        }
    };
    let decision = auto_create(&base(), &names, &defaults(), &mut new_id);
    let lines: Vec<String> = decision
        .answer
        .iter()
        .map(|one| match &one.result {
            Ok(made) => format!("{} {}", one.name, made.partitions),
            Err(_) => format!("{} refused", one.name),
        })
        .collect();
    assert_eq!(
        lines,
        [
            "n 1",
            "old refused",
            "bad name refused",
            "dot_name refused",
            "__consumer_offsets 50"
        ]
    );
    let offsets = decision.answer[4].result.as_ref().unwrap();
    assert_eq!(
        offsets.configs.get("cleanup.policy").map(String::as_str),
        Some("compact")
    );
    assert_eq!(
        offsets.configs.get("segment.bytes").map(String::as_str),
        Some("104857600")
    );
}

#[test]
fn producer_ids_come_in_blocks_and_end() {
    let mut image = base();
    for first in [0, 1000] {
        let decision = allocate_producer_ids(&image);
        let block = decision.answer.unwrap();
        assert_eq!((block.first, block.count), (ProducerId(first), 1000));
        image.apply_all(&decision.records).unwrap();
    }
    let last = Record::ProducerIdsAllocated {
        next: i64::MAX - 10,
    };
    image.apply(&last).unwrap();
    assert_eq!(
        allocate_producer_ids(&image).answer,
        Err(TopicRefusal::NoProducerIds)
    );
}
