//! The image: what each record does to it, what it refuses, and that a snapshot gives it back.

use proptest::prelude::*;

use super::*;
use crate::metadata::records::Replicas;

pub(crate) fn id(number: u8) -> TopicId {
    TopicId([number; 16])
}

pub(crate) fn registered(nodes: &[i32]) -> Record {
    Record::NodesRegistered {
        start: 1,
        nodes: nodes
            .iter()
            .map(|node| Node {
                id: NodeId(*node),
                host: "h".into(),
                port: 9092,
                rack: None,
            })
            .collect(),
    }
}

pub(crate) fn topic_of(number: u8, name: &str) -> Record {
    Record::TopicCreated {
        id: id(number),
        name: name.into(),
    }
}

pub(crate) fn partition_of(topic: u8, index: i32, leader: i32, epoch: i32) -> Record {
    Record::PartitionChanged {
        topic: id(topic),
        partition: PartitionIndex(index),
        state: PartitionState {
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: epoch,
            replicas: Replicas::from_slice(&[NodeId(leader)]),
            isr: Replicas::from_slice(&[NodeId(leader)]),
        },
    }
}

pub(crate) fn config_of(resource: Resource, key: &str, value: Option<&str>) -> Record {
    Record::ConfigChanged {
        resource,
        key: key.into(),
        value: value.map(str::to_owned),
    }
}

pub(crate) fn image(records: &[Record]) -> MetadataImage {
    let mut image = MetadataImage::empty();
    image.apply_all(records).unwrap();
    image
}

#[test]
fn topics_are_found_by_name_and_by_id_until_they_are_deleted() {
    let mut image = image(&[
        topic_of(1, "a.b"),
        partition_of(1, 0, 0, 0),
        topic_of(2, "c"),
    ]);
    assert_eq!(image.topic("a.b"), image.topic_by_id(id(1)));
    assert_eq!(image.topic("a.b").unwrap().partitions.len(), 1);
    assert_eq!(image.collides("a_b"), Some("a.b"));
    assert_eq!(image.collides("a.b"), None);
    assert_eq!(image.version(), 3);

    image.apply(&Record::TopicDeleted { id: id(1) }).unwrap();
    assert_eq!(image.topic("a.b"), None);
    assert_eq!(image.topic_by_id(id(1)), None);
    assert_eq!(image.collides("a_b"), None);
    assert_eq!(image.topics().len(), 1);
}

#[test]
fn a_published_image_does_not_change_and_shares_what_did_not() {
    let before = image(&[topic_of(1, "a"), partition_of(1, 0, 0, 0), topic_of(2, "b")]);
    let mut after = before.clone();
    after.apply(&partition_of(1, 0, 1, 1)).unwrap();
    assert_eq!(before.topic("a").unwrap().partitions[0].leader, NodeId(0));
    assert_eq!(after.topic("a").unwrap().partitions[0].leader, NodeId(1));
    assert!(Arc::ptr_eq(
        before.topic("b").unwrap(),
        after.topic("b").unwrap()
    ));
    assert!(Arc::ptr_eq(
        after.topic("a").unwrap(),
        after.topic_by_id(id(1)).unwrap()
    ));
}

#[test]
fn records_that_contradict_the_image_are_misfits() {
    let base = image(&[
        Record::ClusterCreated {
            id: ClusterId([1; 16]),
        },
        registered(&[0]),
        topic_of(1, "a"),
        partition_of(1, 0, 0, 5),
        Record::ProducerIdsAllocated { next: 10 },
    ]);
    for record in [
        Record::ClusterCreated {
            id: ClusterId([2; 16]),
        },
        Record::NodesRegistered {
            start: 0,
            nodes: vec![],
        },
        topic_of(1, "b"),
        topic_of(2, "a"),
        topic_of(0, "z"),
        partition_of(1, 0, 0, 4),
        partition_of(1, 2, 0, 0),
        partition_of(1, -1, 0, 0),
        partition_of(9, 0, 0, 0),
        Record::TopicDeleted { id: id(9) },
        Record::ProducerIdsAllocated { next: 9 },
        config_of(Resource::Topic(id(9)), "k", Some("v")),
    ] {
        let mut image = base.clone();
        assert!(image.apply(&record).is_err(), "{record:?}");
        assert_eq!(image, base, "{record:?}");
    }
}

#[test]
fn settings_are_kept_by_resource_and_go_with_their_topic() {
    let mut image = image(&[
        topic_of(1, "a"),
        config_of(Resource::Topic(id(1)), "k", Some("v")),
        config_of(Resource::BrokerDefault, "k", Some("w")),
    ]);
    assert_eq!(
        image.configs(&Resource::Topic(id(1))).get("k").unwrap(),
        "v"
    );
    assert_eq!(
        image.configs(&Resource::BrokerDefault).get("k").unwrap(),
        "w"
    );
    assert!(image.configs(&Resource::Broker(NodeId(1))).is_empty());
    image
        .apply(&config_of(Resource::BrokerDefault, "k", None))
        .unwrap();
    assert!(image.configs(&Resource::BrokerDefault).is_empty());
    image.apply(&Record::TopicDeleted { id: id(1) }).unwrap();
    assert!(image.configs(&Resource::Topic(id(1))).is_empty());
}

#[test]
fn a_node_finds_what_it_leads() {
    let image = image(&[
        topic_of(1, "b"),
        partition_of(1, 0, 0, 0),
        partition_of(1, 1, 1, 3),
        topic_of(2, "a"),
        partition_of(2, 0, 1, 0),
    ]);
    let led: Vec<(String, i32, i32)> = image
        .led_by(NodeId(1))
        .map(|(topic, index, epoch)| (topic.name.to_string(), index.0, epoch.0))
        .collect();
    assert_eq!(led, [("a".to_owned(), 0, 0), ("b".to_owned(), 1, 3)]);
}

/// Any record over few topics, names and keys, so that records meet each other.
fn any_record() -> impl Strategy<Value = Record> {
    let resource = prop_oneof![
        (1u8..5).prop_map(|number| Resource::Topic(id(number))),
        (0i32..3).prop_map(|node| Resource::Broker(NodeId(node))),
        Just(Resource::BrokerDefault),
        "[ab]".prop_map(Resource::Group),
    ];
    prop_oneof![
        Just(Record::ClusterCreated {
            id: ClusterId([1; 16])
        }),
        (0u64..9, 0i32..4).prop_map(|(start, count)| {
            let nodes: Vec<i32> = (0..count).collect();
            match registered(&nodes) {
                Record::NodesRegistered { nodes, .. } => Record::NodesRegistered { start, nodes },
                other => other,
            }
        }),
        (1u8..5, "[ab][._]?[ab]").prop_map(|(number, name)| topic_of(number, &name)),
        (1u8..5, 0i32..4, 0i32..3, 0i32..5)
            .prop_map(|(topic, index, leader, epoch)| partition_of(topic, index, leader, epoch)),
        (1u8..5).prop_map(|number| Record::TopicDeleted { id: id(number) }),
        (resource, "[kl]", prop::option::of("[vw]")).prop_map(|(resource, key, value)| config_of(
            resource,
            &key,
            value.as_deref()
        )),
        (0i64..100).prop_map(|next| Record::ProducerIdsAllocated { next }),
    ]
}

proptest! {
    /// Whatever happened, the snapshot's records fold to the same image, and names, ids and
    /// collisions agree with each other.
    #[test]
    fn an_image_is_the_fold_of_its_records(records in prop::collection::vec(any_record(), 0..80)) {
        let mut image = MetadataImage::empty();
        let mut accepted = Vec::new();
        for record in records {
            let before = image.clone();
            match image.apply(&record) {
                Ok(()) => accepted.push(record),
                Err(_) => prop_assert_eq!(&image, &before),
            }
        }
        let mut again = MetadataImage::empty();
        again.apply_all(&accepted).unwrap();
        prop_assert_eq!(&again, &image);

        let mut snapshot = MetadataImage::empty();
        snapshot.apply_all(&image.to_records()).unwrap();
        let mut expected = image.clone();
        // Colliding names cannot be made through a decision; of two, the map knows the last.
        expected.collisions = Arc::clone(&snapshot.collisions);
        // A start of 0 is no start.
        if expected.start == 0 {
            expected.nodes = Arc::clone(&snapshot.nodes);
        }
        prop_assert_eq!(snapshot.at_version(image.version()), expected);

        prop_assert_eq!(image.by_id.len(), image.by_name.len());
        for topic in image.topics() {
            prop_assert!(Arc::ptr_eq(topic, image.topic_by_id(topic.id).unwrap()));
        }
    }
}
