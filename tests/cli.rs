//! Claims about the command line as a program: help, exit codes, what is said where.
//!
//! No broker is needed: nobody, somebody silent, somebody else, or a scripted one stands in for it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use ottla::wire::codec::Reader;
use ottla::wire::frame::{FrameCutter, ResponseFrame};
use ottla::wire::header::RequestHeader;
use ottla::wire::message::Message;
use ottla::wire::messages::k03_metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla::wire::messages::k18_api_versions::ApiVersion;
use ottla::wire::messages::k19_create_topics::CreatableTopicResult;
use ottla::wire::messages::{
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, MetadataResponse,
};
use ottla::wire::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use ottla::wire::{ApiKey, ErrorCode, KStr};
use ottla::words::{NodeId, Offset};

fn ottla(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("OTTLA_BOOTSTRAP");
    command
}

fn run(args: &[&str]) -> Output {
    ottla(args).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one JSON line of a stream.
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), Some(0));
    let help = stdout(&output);
    for word in [
        "serve",
        "topic",
        "produce",
        "consume",
        "cluster",
        "inspect",
        "completions",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}");
    }
    for args in [
        &["topic", "create", "-h"][..],
        &["produce", "-h"],
        &["consume", "-h"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(0));
        assert!(stdout(&output).contains("--bootstrap"));
        assert!(stdout(&output).contains("OTTLA_BOOTSTRAP"));
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), Some(0), "{shell}");
        assert!(stdout(&output).contains("until-end"), "{shell}");
    }
}

#[test]
fn what_is_not_understood_exits_2_and_says_so_on_standard_error() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["topic", "create"],
        &["consume", "t", "--from", "yesterday"],
        &["consume", "t", "--json", "--format", "raw"],
        &["produce", "t", "--idempotent", "--acks", "0"],
        &["cluster", "--bootstrap", "nowhere"],
        &["inspect", "verify"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_broker_every_command_exits_3_and_names_the_address() {
    for args in [
        &["topic", "list"][..],
        &["topic", "create", "t"],
        &["topic", "describe", "t"],
        &["topic", "delete", "t"],
        &["produce", "t"],
        &["consume", "t"],
        &["cluster"],
    ] {
        let output = run(&[args, &["--bootstrap", "127.0.0.1:1"]].concat());
        assert_eq!(code(&output), Some(3), "{args:?}");
        assert!(stderr(&output).contains("127.0.0.1:1"), "{args:?}");
        assert!(stderr(&output).contains("hint:"), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_environment_names_brokers_and_programs_get_a_failure_as_json() {
    let mut command = ottla(&["cluster", "--json"]);
    let output = command
        .env("OTTLA_BOOTSTRAP", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(3));
    let told = json(&stderr(&output));
    assert_eq!(told["error"], "UNREACHABLE");
    assert!(told["code"].is_null());
    assert!(told["message"].as_str().unwrap().contains("127.0.0.1:1"));
    assert!(told["hint"].is_string());
}

#[test]
fn somebody_silent_is_a_time_out() {
    // Connections are taken by the system; nobody ever reads them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = run(&[
        "topic",
        "list",
        "--timeout-ms",
        "100",
        "--bootstrap",
        &address,
    ]);
    assert_eq!(code(&output), Some(3));
    assert!(stderr(&output).contains("no answer to ApiVersions"));
}

#[test]
fn somebody_else_is_not_taken_for_a_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 16];
        stream.read_exact(&mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let output = run(&["topic", "list", "--bootstrap", &address]);
    server.join().unwrap();
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("does not speak Kafka"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = ottla(&["completions", "bash"]);
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (Some(0), String::new()));
}

/// A broker of one topic, `t`, with one partition; it knows four APIs.
struct Scripted {
    address: String,
    /// Records of every Produce request that came.
    produced: Arc<Mutex<Vec<Bytes>>>,
}

impl Scripted {
    /// Answers Produce requests with `outcomes`, one after the other, and then with success.
    fn start(outcomes: Vec<ErrorCode>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let produced = Arc::new(Mutex::new(Vec::new()));
        let outcomes = Arc::new(Mutex::new(outcomes.into_iter()));
        let kept = Arc::clone(&produced);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (produced, outcomes) = (Arc::clone(&kept), Arc::clone(&outcomes));
                thread::spawn(move || {
                    serve(stream.unwrap(), address.port(), |records| {
                        produced.lock().unwrap().push(records);
                        outcomes.lock().unwrap().next().unwrap_or(ErrorCode::NONE)
                    });
                });
            }
        });
        Scripted {
            address: address.to_string(),
            produced,
        }
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = ottla(&[args, &["--bootstrap", &self.address]].concat());
        command.stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    }
}

/// One connection, until it ends.
fn serve(mut stream: TcpStream, port: u16, mut produce: impl FnMut(Bytes) -> ErrorCode) {
    let mut cutter = FrameCutter::new(1024 * 1024);
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        cutter.feed(Bytes::copy_from_slice(&chunk[..read]));
        while let Some(frame) = cutter.next_frame().unwrap() {
            let mut reader = Reader::new(&frame);
            let header = RequestHeader::read(&mut reader).unwrap();
            let (version, id) = (header.version, header.correlation_id);
            let parts = match header.api.key {
                ApiKey::API_VERSIONS => ResponseFrame::of(version, id, &versions()),
                ApiKey::METADATA => ResponseFrame::of(version, id, &metadata(port)),
                ApiKey::CREATE_TOPICS => {
                    let request = CreateTopicsRequest::read(&mut reader, version).unwrap();
                    let name = request.topics[0].name.clone();
                    ResponseFrame::of(version, id, &exists_already(name))
                }
                ApiKey::PRODUCE => {
                    let request = ProduceRequest::read(&mut reader, version).unwrap();
                    let partition = &request.topic_data[0].partition_data[0];
                    let outcome = produce(partition.records.clone().unwrap());
                    ResponseFrame::of(version, id, &produce_response(outcome))
                }
                key => panic!("{key} is not in the script"),
            };
            // A client that has seen enough is gone.
            if stream.write_all(&parts.concat()).is_err() {
                return;
            }
        }
    }
}

fn versions() -> ApiVersionsResponse {
    let keys = [
        ApiKey::PRODUCE,
        ApiKey::METADATA,
        ApiKey::API_VERSIONS,
        ApiKey::CREATE_TOPICS,
    ];
    let api = |key: ApiKey| {
        let row = key.row().unwrap();
        ApiVersion {
            api_key: key.0,
            min_version: row.advertised_min,
            max_version: row.version_max,
        }
    };
    ApiVersionsResponse {
        api_keys: keys.into_iter().map(api).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn metadata(port: u16) -> MetadataResponse {
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NodeId(7),
            host: KStr::from("127.0.0.1"),
            port: i32::from(port),
            rack: None,
        }],
        controller_id: NodeId(7),
        topics: vec![MetadataResponseTopic {
            name: Some(KStr::from("t")),
            partitions: vec![MetadataResponsePartition {
                leader_id: NodeId(7),
                replica_nodes: vec![NodeId(7)],
                ..MetadataResponsePartition::default()
            }],
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    }
}

fn exists_already(name: KStr) -> CreateTopicsResponse {
    CreateTopicsResponse {
        topics: vec![CreatableTopicResult {
            name,
            error_code: ErrorCode::TOPIC_ALREADY_EXISTS,
            error_message: Some(KStr::from("Topic 't' already exists.")),
            ..CreatableTopicResult::default()
        }],
        ..CreateTopicsResponse::default()
    }
}

fn produce_response(error_code: ErrorCode) -> ProduceResponse {
    let mut answer = ProduceResponse::default();
    let mut topic = TopicProduceResponse {
        name: KStr::from("t"),
        ..TopicProduceResponse::default()
    };
    topic.partition_responses.push(PartitionProduceResponse {
        error_code,
        base_offset: Offset(0),
        ..PartitionProduceResponse::default()
    });
    answer.responses.push(topic);
    answer
}

#[test]
fn a_refusal_exits_1_with_kafkas_name_the_brokers_words_and_a_hint() {
    let broker = Scripted::start(Vec::new());
    let output = broker.run(&["topic", "create", "t"], "");
    assert_eq!(code(&output), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("TOPIC_ALREADY_EXISTS: Topic 't' already exists."),
        "{told}"
    );
    assert!(told.contains("--if-not-exists"), "{told}");
    let output = broker.run(&["topic", "create", "t", "--if-not-exists", "--json"], "");
    assert_eq!(code(&output), Some(0));
    assert_eq!(json(&stdout(&output))["created"], false);
}

#[test]
fn a_list_is_a_table_for_people_and_a_line_a_topic_for_programs() {
    let broker = Scripted::start(Vec::new());
    let output = broker.run(&["topic", "list"], "");
    let expected = "TOPIC  PARTITIONS  REPLICATION\nt               1            1\n";
    assert_eq!(stdout(&output), expected);
    let line = json(&stdout(&broker.run(&["topic", "list", "--json"], "")));
    assert_eq!(
        (&line["topic"], &line["partitions"]),
        (&"t".into(), &1.into())
    );
}

#[test]
fn a_batch_is_sent_again_as_it_was_when_the_leader_had_moved() {
    let moved = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    let broker = Scripted::start(vec![moved, moved]);
    let output = broker.run(&["produce", "t", "--json"], "a");
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let summary = json(&stdout(&output));
    assert_eq!(
        (&summary["records"], &summary["retries"]),
        (&1.into(), &2.into())
    );
    let produced = broker.produced.lock().unwrap();
    assert_eq!(produced.len(), 3);
    assert!(produced.iter().all(|records| *records == produced[0]));
}

#[test]
fn a_batch_that_is_refused_for_good_is_not_sent_again() {
    let broker = Scripted::start(vec![ErrorCode::MESSAGE_TOO_LARGE]);
    let output = broker.run(&["produce", "t"], "a\n");
    assert_eq!(code(&output), Some(1));
    assert!(stderr(&output).contains("partition t-0: MESSAGE_TOO_LARGE"));
    assert!(stderr(&output).contains("0 records"));
    assert_eq!(broker.produced.lock().unwrap().len(), 1);
}
