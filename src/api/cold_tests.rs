//! Cold requests from frame to frame, against a writer that decides on the spot.

use super::*;
use crate::api::k22_init_producer_id::ProducerIds;
use crate::metadata::alter::alter_configs;
use crate::metadata::decide::{self, TopicDefaults};
use crate::metadata::delete::delete_topics;
use crate::metadata::grow::create_partitions;
use crate::metadata::{ClusterId, MetadataImage, Node, Record};
use crate::settings::BrokerSettings;
use crate::wire::messages::k02_list_offsets::ListOffsetsRequest;
use crate::wire::messages::k03_metadata::{
    MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use crate::wire::messages::k18_api_versions::ApiVersionsResponse;
use crate::wire::messages::k19_create_topics::CreatableTopic;
use crate::wire::messages::k20_delete_topics::DeleteTopicState;
use crate::wire::messages::k32_describe_configs::DescribeConfigsResource;
use crate::wire::messages::k37_create_partitions::CreatePartitionsTopic;
use crate::wire::messages::{k33_alter_configs as k33, k44_incremental_alter_configs as k44};
use crate::wire::{ErrorCode, KStr, Request, RequestFrame, ResponseHeader};
use crate::words::{NodeId, TopicId};

struct World {
    image: MetadataImage,
    settings: BrokerSettings,
    ids: ProducerIds,
    made: u8,
}

fn world() -> World {
    let node = |id: i32, port| Node {
        id: NodeId(id),
        host: "h".into(),
        port,
        rack: None,
    };
    let mut image = MetadataImage::empty();
    let id = ClusterId([1; 16]);
    let nodes = vec![node(1000, 9092), node(1001, 9093)];
    let records = [
        Record::ClusterCreated { id },
        Record::NodesRegistered { start: 1, nodes },
    ];
    image.apply_all(&records).unwrap();
    World {
        image,
        settings: BrokerSettings::defaults(),
        ids: ProducerIds::default(),
        made: 0,
    }
}

impl World {
    /// What the metadata writer does with a request.
    fn write(&mut self, request: &AdminRequest) -> AdminReply {
        let defaults = TopicDefaults::of(&self.settings);
        let mut new_id = || {
            self.made += 1;
            TopicId([self.made; 16])
        };
        let (records, reply) = match request {
            AdminRequest::CreateTopics { topics, .. } => {
                let made = decide::create_topics(&self.image, topics, &defaults, &mut new_id);
                (made.records, AdminReply::Created(made.answer))
            }
            AdminRequest::AutoCreate { names } => {
                let made = decide::auto_create(&self.image, names, &defaults, &mut new_id);
                (made.records, AdminReply::AutoCreated(made.answer))
            }
            AdminRequest::DeleteTopics { topics } => {
                let gone = delete_topics(&self.image, topics);
                (gone.records, AdminReply::Deleted(gone.answer))
            }
            AdminRequest::AllocateProducerIds => {
                let block = decide::allocate_producer_ids(&self.image);
                (block.records, AdminReply::ProducerIds(block.answer))
            }
            AdminRequest::CreatePartitions { topics, .. } => {
                let grown = create_partitions(&self.image, topics);
                (grown.records, AdminReply::Grown(grown.answer))
            }
            AdminRequest::AlterConfigs {
                node, resources, ..
            } => {
                let altered = alter_configs(&self.image, *node, resources, &self.settings);
                (altered.records, AdminReply::Altered(altered.answer))
            }
        };
        self.image.apply_all(&records).unwrap();
        reply
    }

    fn ports(&mut self) -> Ports<'_> {
        Ports {
            image: &self.image,
            node: NodeId(1000),
            settings: &self.settings,
            producer_ids: &mut self.ids,
        }
    }

    fn begin(&mut self, frame: &[Bytes]) -> Result<Begun, DecodeFault> {
        let frame = Bytes::from(frame.concat()).slice(4..);
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader)?;
        begin(&header, &mut reader, &mut self.ports())
    }

    /// Sends a request and reads its answer, asking the writer in between if need be.
    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let frame = RequestFrame::of(version, 7, Some("test"), request);
        let parts = match self.begin(&frame).unwrap() {
            Begun::Reply(parts) => parts,
            Begun::ReplyAndTell { reply, request } => {
                self.write(&request);
                reply
            }
            Begun::Ask { request, pending } => {
                let reply = self.write(&request);
                finish(pending, reply, &mut self.ports())
            }
            Begun::NotCold => panic!("not cold"),
        };
        read(&parts, version)
    }
}

fn read<M: Message>(parts: &[Bytes], version: i16) -> M {
    let frame = Bytes::from(parts.concat()).slice(4..);
    let mut reader = Reader::new(&frame);
    let header = ResponseHeader::read(&mut reader, M::API, version).unwrap();
    assert_eq!(header.correlation_id, 7);
    let body = M::read(&mut reader, version).unwrap();
    assert_eq!(reader.remaining(), 0);
    body
}

fn metadata(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some((*name).into()),
        ..MetadataRequestTopic::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        ..MetadataRequest::default()
    }
}

fn create(name: &str, partitions: i32) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    }
}

fn codes(response: &MetadataResponse) -> Vec<i16> {
    response
        .topics
        .iter()
        .map(|topic| topic.error_code.0)
        .collect()
}

#[test]
fn a_topic_is_created_seen_and_deleted_in_every_version() {
    for version in 2..=7 {
        let mut world = world();
        let made = world.ask(version, &create("t", 3)).topics.remove(0);
        assert_eq!(
            (made.error_code, made.error_message),
            (ErrorCode::NONE, None)
        );
        if version >= 5 {
            assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
            assert_eq!(made.configs.map(|configs| configs.len()), Some(33));
        }
        let again = world.ask(version, &create("t", 3)).topics.remove(0);
        assert_eq!(again.error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
        assert_eq!(again.num_partitions, -1);
    }
    for version in 1..=6 {
        let mut world = world();
        world.ask(7, &create("t", 1));
        let state = DeleteTopicState {
            name: Some("t".into()),
            ..DeleteTopicState::default()
        };
        let request = DeleteTopicsRequest {
            topics: vec![state],
            topic_names: vec!["t".into()],
            timeout_ms: 1,
        };
        for code in [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION] {
            assert_eq!(world.ask(version, &request).responses[0].error_code, code);
        }
    }
}

#[test]
fn metadata_tells_the_cluster_in_every_version() {
    let mut world = world();
    world.ask(7, &create("t", 3));
    for version in 0..=13 {
        let response = world.ask(version, &metadata(&["t", "t"]));
        assert_eq!(response.brokers.len(), 2);
        let [topic] = response.topics.as_slice() else {
            panic!("a topic named twice is answered once")
        };
        let leaders: Vec<i32> = topic.partitions.iter().map(|p| p.leader_id.0).collect();
        assert_eq!(
            (topic.error_code, leaders),
            (ErrorCode::NONE, vec![1000, 1001, 1000])
        );
        if version >= 2 {
            assert_eq!(
                response.cluster_id,
                Some(KStr::from("AQEBAQEBAQEBAQEBAQEBAQ"))
            );
            assert_eq!(response.controller_id, NodeId(1000));
        }
        let none = world.ask(version, &metadata(&[])).topics.len();
        assert_eq!(
            none,
            usize::from(version == 0),
            "an empty list is all topics in version 0"
        );
        if version > 0 {
            let all = MetadataRequest::default();
            let all = MetadataRequest {
                topics: None,
                ..all
            };
            assert_eq!(world.ask(version, &all).topics.len(), 1);
        }
    }
}

#[test]
fn an_unknown_topic_is_answered_with_3_and_then_it_exists() {
    for version in 0..=13 {
        let mut world = world();
        assert_eq!(
            codes(&world.ask(version, &metadata(&["new", "a b", "", "new"]))),
            [3, 17, 17]
        );
        assert_eq!(codes(&world.ask(version, &metadata(&["new"]))), [0]);
        // A name that collides stays unknown.
        world.ask(7, &create("a.b", 1));
        for _ in 0..2 {
            assert_eq!(codes(&world.ask(version, &metadata(&["a_b"]))), [3]);
        }
        let mut asked = metadata(&["other"]);
        asked.allow_auto_topic_creation = false;
        world.ask(version, &asked);
        // Versions before 4 cannot forbid it.
        assert_eq!(world.image.topic("other").is_some(), version < 4);
    }
    let mut world = world();
    world.settings.auto_create_topics = false;
    world.ask(9, &metadata(&["new"]));
    assert!(world.image.topic("new").is_none());
}

#[test]
fn topics_are_asked_for_by_id_from_version_12() {
    let mut world = world();
    world.ask(7, &create("t", 1));
    let id = world.image.topic("t").unwrap().id;
    let by = |name: Option<&str>, topic_id| MetadataRequestTopic {
        name: name.map(KStr::from),
        topic_id,
    };
    let ask = |topics| MetadataRequest {
        topics: Some(topics),
        ..MetadataRequest::default()
    };
    let told = |topic: &MetadataResponseTopic| {
        let name = topic.name.as_ref().map(ToString::to_string);
        (topic.error_code.0, name.unwrap_or_else(|| "-".into()))
    };
    let stranger = TopicId([9; 16]);
    let mixed = ask(vec![
        by(Some("x"), id),
        by(None, stranger),
        by(Some("y"), TopicId::ZERO),
    ]);
    for version in [12, 13] {
        let response = world.ask(version, &mixed);
        let lines: Vec<_> = response.topics.iter().map(told).collect();
        assert_eq!(lines, [(0, "t".to_owned()), (100, "-".to_owned())]);
    }
    for (version, request) in [
        (10, ask(vec![by(Some("t"), id)])),
        (11, ask(vec![by(Some("t"), id)])),
        (11, ask(vec![by(None, TopicId::ZERO)])),
        (12, ask(vec![by(None, TopicId::ZERO)])),
    ] {
        let response = world.ask(version, &request);
        assert_eq!(codes(&response), [42], "version {version}");
        assert_eq!(
            (response.controller_id, response.brokers.len()),
            (NodeId(-1), 0)
        );
    }
}

#[test]
fn operations_are_told_when_asked_for_even_of_unknown_topics() {
    let mut world = world();
    let mut request = metadata(&["unknown"]);
    request.include_topic_authorized_operations = true;
    request.include_cluster_authorized_operations = true;
    let response = world.ask(10, &request);
    assert_eq!(response.topics[0].topic_authorized_operations, 3576);
    assert_eq!(response.cluster_authorized_operations, 8096);
    let response = world.ask(10, &metadata(&["unknown"]));
    assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
    assert_eq!(response.cluster_authorized_operations, i32::MIN);
}

#[test]
fn api_versions_answers_any_version_and_tells_only_what_is_served() {
    let mut world = world();
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    };
    for version in 0..=4 {
        let response = world.ask(version, &request);
        let keys: Vec<i16> = response.api_keys.iter().map(|one| one.api_key).collect();
        let served: Vec<i16> = ApiKey::all_served().map(|row| row.key.0).collect();
        assert_eq!((response.error_code, keys), (ErrorCode::NONE, served));
        assert_eq!(response.api_keys[0].min_version, 0);
        let features = usize::from(version >= 3);
        assert_eq!(response.finalized_features.len(), features);
    }
    // Versions nobody knows: the body is not even read.
    for version in ["0005", "7fff", "ffff"] {
        let tags = if version == "ffff" { "" } else { "00" };
        let hex = format!("00000000 0012 {version} 00000007 ffff {tags}").replace(' ', "");
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let Begun::Reply(parts) = world.begin(&[Bytes::from(bytes)]).unwrap() else {
            panic!("no reply")
        };
        let response: ApiVersionsResponse = read(&parts, 0);
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(response.api_keys.len(), 1);
    }
}

#[test]
fn a_timeout_of_nothing_changes_nothing() {
    let mut world = world();
    let mut request = create("t", 1);
    request.timeout_ms = 0;
    let response = world.ask(7, &request);
    assert_eq!(response.topics[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(response.topics[0].error_message, None);
    assert!(world.image.topic("t").is_none());
}

#[test]
fn settings_are_described_by_resource() {
    let mut world = world();
    world.ask(7, &create("t", 1));
    let ask = |kind: i8, name: &str| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    for (kind, name, code, configs) in [
        (2, "t", 0, 33),
        (2, "other", 3, 0),
        (2, "a b", 17, 0),
        (4, "", 0, 0),
        (4, "1001", 42, 0),
        (4, "x", 42, 0),
        (8, "1000", 0, 1),
        (8, "", 42, 0),
        (16, "m", 0, 3),
        (32, "g", 0, 17),
        (32, "", 42, 0),
        (3, "x", 42, 0),
    ] {
        for version in 1..=4 {
            let result = world.ask(version, &ask(kind, name)).results.remove(0);
            let told = (result.error_code.0, result.configs.len());
            assert_eq!(told, (code, configs), "{kind} {name}");
            let documented = result.configs.iter().any(|one| {
                one.documentation
                    .as_deref()
                    .is_some_and(|text| !text.is_empty())
            });
            assert!(!documented, "documentation was not asked for");
        }
    }
    let broker = world.ask(4, &ask(4, "1000")).results.remove(0);
    assert!(broker.configs.len() > 340);
}

#[test]
fn topics_grow_and_settings_change_in_every_version() {
    for version in 0..=3 {
        let mut world = world();
        world.ask(7, &create("t", 1));
        let to = |name: &str, count| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            }],
            timeout_ms: 1,
            validate_only: false,
        };
        for (name, count, code, words) in [
            ("t", 3, 0, false),
            ("t", 3, 37, true),
            ("other", 3, 3, false),
        ] {
            let result = world.ask(version, &to(name, count)).results.remove(0);
            assert_eq!(result.error_code.0, code);
            assert_eq!(result.error_message.is_some(), words, "{name} {count}");
        }
        assert_eq!(world.image.topic("t").unwrap().partitions.len(), 3);
        let mut late = to("t", 9);
        late.timeout_ms = 0;
        let result = world.ask(version, &late).results.remove(0);
        assert_eq!(result.error_code, ErrorCode::REQUEST_TIMED_OUT);
    }
    let mut world = world();
    world.ask(7, &create("t", 1));
    for version in 0..=2 {
        let value = version.to_string();
        let request = AlterConfigsRequest {
            resources: vec![k33::AlterConfigsResource {
                resource_type: 2,
                resource_name: "t".into(),
                configs: vec![k33::AlterableConfig {
                    name: "retention.ms".into(),
                    value: Some(value.as_str().into()),
                }],
            }],
            validate_only: false,
        };
        let response = world.ask(version, &request).responses.remove(0);
        assert_eq!((response.error_code.0, response.error_message), (0, None));
        let configs = &world.image.topic("t").unwrap().configs;
        assert_eq!(configs.get("retention.ms"), Some(&value));
    }
    for version in 0..=1 {
        for (kind, name, code) in [(2, "t", 0), (2, "x", 3), (2, "a b", 17), (4, "1001", 42)] {
            let request = IncrementalAlterConfigsRequest {
                resources: vec![k44::AlterConfigsResource {
                    resource_type: kind,
                    resource_name: name.into(),
                    configs: Vec::new(),
                }],
                validate_only: false,
            };
            let response = world.ask(version, &request).responses.remove(0);
            assert_eq!(response.error_code.0, code, "{kind} {name}");
            assert_eq!(response.error_message.is_some(), code != 0);
        }
    }
}

#[test]
fn the_cluster_is_described_to_brokers_clients_only() {
    let mut world = world();
    for version in 0..=2 {
        let response = world.ask(version, &DescribeClusterRequest::default());
        assert_eq!(
            (response.error_code, response.brokers.len()),
            (ErrorCode::NONE, 2)
        );
    }
    for (endpoint_type, code) in [(2, 114), (0, 115), (3, 115), (-1, 115)] {
        let request = DescribeClusterRequest {
            endpoint_type,
            ..DescribeClusterRequest::default()
        };
        let response = world.ask(1, &request);
        let told = (
            response.error_code.0,
            response.endpoint_type,
            response.brokers.len(),
        );
        assert_eq!(told, (code, 1, 0));
    }
}

#[test]
fn other_requests_are_not_cold_and_bad_bodies_are_faults() {
    let mut world = world();
    let frame = RequestFrame::of(5, 7, None, &ListOffsetsRequest::default());
    assert!(matches!(world.begin(&frame), Ok(Begun::NotCold)));
    // CreateTopics that claims a million topics in no bytes.
    let claimed = b"\0\0\0\0\0\x13\0\x02\0\0\0\x07\xff\xff\0\x0f\x42\x40";
    assert!(world.begin(&[Bytes::from_static(claimed)]).is_err());
}
