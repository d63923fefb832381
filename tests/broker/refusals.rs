//! Starts that are refused: each says what was found, what is needed and what mends it, and all of it
//! before anything is recovered.

use std::process::Command;

use crate::process::{Broker, program, refused, serve, serve_on};
use crate::talk::Peer;

/// A start that must not come as far as recovery, and what its one sentence must hold.
fn refused_early(command: Command, words: &[&str]) {
    let refused = refused(command);
    assert!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    for word in words {
        assert!(refused.log.contains(word), "{word}: {}", refused.log);
    }
    assert!(!refused.log.contains("recovered"), "{}", refused.log);
}

#[test]
fn a_directory_of_another_node_is_refused_with_the_id_that_it_was_made_with() {
    let dir = tempfile::tempdir().unwrap();
    Broker::start(dir.path(), &["-o", "node.id=4"]).stop();
    let place = dir.path().display().to_string();
    let words = [
        place.as_str(),
        "meta.properties",
        "needed:",
        "To mend it:",
        "-o node.id=4",
    ];
    refused_early(serve_on(dir.path(), &["-o", "node.id=5"]), &words);
    Broker::start(dir.path(), &["-o", "node.id=4"]).stop();
}

#[test]
fn a_port_without_room_for_every_shard_is_refused_with_the_highest_that_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = serve(&["--host", "127.0.0.1", "--port", "65535", "--shards", "2"]);
    command.arg("--data").arg(dir.path());
    let words = [
        "listeners",
        "PLAINTEXT://127.0.0.1:65535",
        "needed:",
        "To mend it:",
        "--port 65534",
        "--shards",
    ];
    refused_early(command, &words);
}

#[test]
fn a_host_that_does_not_resolve_is_refused_with_its_name_and_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = serve(&["--host", "no.such.host.invalid", "--port", "0"]);
    command.arg("--data").arg(dir.path());
    let words = [
        "no.such.host.invalid",
        "listeners",
        "needed:",
        "To mend it:",
        "--host 127.0.0.1",
    ];
    refused_early(command, &words);
}

#[test]
fn a_core_that_is_not_there_is_refused_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let words = [
        "ottla.shard.cores",
        "0,60001",
        "core 60001",
        "needed: cores among",
        "To mend it:",
    ];
    let command = serve_on(dir.path(), &["-o", "ottla.shard.cores=0,60001"]);
    refused_early(command, &words);
}

#[test]
fn a_value_that_cannot_be_is_told_with_key_value_and_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for (given, words) in [
        (
            "num.partitions=abc",
            &["num.partitions", "abc", "from 1 to 2147483647"][..],
        ),
        (
            "listeners=SSL://127.0.0.1:9093",
            &["listeners", "SSL://127.0.0.1:9093", "only PLAINTEXT"],
        ),
    ] {
        let mut command = serve(&["--shards", "1", "-o", given]);
        command.arg("--data").arg(dir.path());
        refused_early(command, words);
    }
}

#[test]
fn blanks_around_an_override_are_no_part_of_it_and_a_removed_key_has_its_own_word() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "-o",
        " num.partitions = 4 ",
        "-o",
        "zookeeper.connect=here:2181",
    ];
    let broker = Broker::start(dir.path(), &args);
    let mut peer = Peer::of(&broker);
    peer.create("t", -1, &[]);
    assert_eq!(peer.metadata(Some("t")).topics[0].partitions.len(), 4);
    let told = broker.logged(&["zookeeper.connect"]);
    assert!(
        told.contains("WARN") && told.contains("no ZooKeeper"),
        "{told}"
    );
    broker.stop();
}

#[test]
fn on_port_0_the_ports_follow_each_other_as_the_ready_line_says() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_shards(3, dir.path(), &[]);
    let first = i32::from(broker.ready.first_port);
    assert_eq!(i32::from(broker.ready.last_port), first + 2);
    let nodes = Peer::of(&broker).metadata(None).brokers;
    let ports: Vec<i32> = nodes.iter().map(|node| node.port).collect();
    assert_eq!(ports, [first, first + 1, first + 2]);
    broker.stop();
}

#[test]
fn reading_from_behind_the_end_is_out_of_range_with_and_without_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    peer.store("t", 0, &["a", "b"]);
    let consume = |from: &str, more: &[&str]| {
        let mut command = Command::new(program());
        command.args(["consume", "t", "--from", from]).args(more);
        command.args(["--bootstrap", &broker.address()]);
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), told)
    };
    for more in [&["-e"][..], &[]] {
        let (code, told) = consume("99999", more);
        assert_eq!(code, Some(1), "{more:?}: {told}");
        for part in ["OFFSET_OUT_OF_RANGE", "offset 99999", "t-0"] {
            assert!(told.contains(part), "{more:?}: {part}: {told}");
        }
    }
    assert_eq!(consume("2", &["-e"]), (Some(0), String::new()));
    broker.stop();
}
