//! From the command line to the ready line, and from a signal to the end.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Broker, free_ports, program, refused, serve, serve_on};
use crate::talk::{LONG_POLL, Peer, batch, from};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn overrides_win_over_flags_over_the_file_over_defaults() {
    let dir = dir();
    let file = dir.path().join("server.properties");
    let text = "ottla.shards=3\nnum.partitions=3\ndefault.replication.factor=1\nnode.id=7\n";
    fs::write(&file, text).unwrap();
    let data = dir.path().join("data");
    let mut command = serve_on(&data, &["--shards", "2", "-o", "node.id=5"]);
    command.arg("--config").arg(&file);
    let broker = Broker::run(command).unwrap();
    assert_eq!(broker.ready.shards, 2);
    assert_eq!(
        (broker.ready.first_node, broker.ready.last_node),
        (5000, 5001)
    );
    let mut peer = Peer::of(&broker);
    peer.create("t", -1, &[]);
    assert_eq!(peer.metadata(Some("t")).topics[0].partitions.len(), 3);
    broker.stop();

    let data = dir.path().join("other");
    let mut command = serve_on(&data, &["--shards", "2", "-o", "ottla.shards=1"]);
    command.arg("--config").arg(&file);
    let broker = Broker::run(command).unwrap();
    assert_eq!(broker.ready.shards, 1);
    assert_eq!(broker.ready.first_node, 7000);
    broker.stop();
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_nearest_known_one() {
    let dir = dir();
    let broker = Broker::start(dir.path(), &["-o", "num.partition=3"]);
    let told = broker.logged(&["num.partition;"]);
    assert!(
        told.contains("WARN") && told.contains("num.partitions"),
        "{told}"
    );
}

#[test]
fn a_bad_value_refuses_the_start_and_names_key_value_and_what_is_allowed() {
    let dir = dir();
    for (given, words) in [
        (
            "num.partitions=0",
            &["num.partitions", "0", "at least 1"][..],
        ),
        (
            "ottla.durability=maybe",
            &["ottla.durability", "maybe", "fsync"],
        ),
        ("ottla.shards=1001", &["ottla.shards", "1001", "1000"]),
        (
            "socket.request.max.bytes=x",
            &["socket.request.max.bytes", "x"],
        ),
    ] {
        let refused = refused(serve_on(dir.path(), &["-o", given]));
        assert_eq!(refused.code, Some(2), "{refused:?}");
        for word in words {
            assert!(refused.log.contains(word), "{word}: {}", refused.log);
        }
    }
    let mut command = serve_on(dir.path(), &[]);
    command
        .arg("--config")
        .arg(dir.path().join("missing.properties"));
    let refused = refused(command);
    assert!(
        refused.log.contains("missing.properties"),
        "{}",
        refused.log
    );
}

#[test]
fn a_port_given_as_a_flag_leaves_the_host_of_the_file() {
    let dir = dir();
    let file = dir.path().join("server.properties");
    fs::write(&file, "listeners=PLAINTEXT://127.0.0.1:1\n").unwrap();
    let mut command = serve(&["--port", "0", "--shards", "1"]);
    command.arg("--config").arg(&file);
    command.arg("--data").arg(dir.path().join("data"));
    let broker = Broker::run(command).unwrap();
    assert_eq!(broker.ready.host, "127.0.0.1");
}

#[test]
fn without_any_configuration_it_serves_one_shard_per_allowed_core_from_kafkas_port() {
    let dir = dir();
    // Somebody else may have Kafka's port: only the port is told then, nothing else.
    let ours = std::net::TcpListener::bind("0.0.0.0:9092").is_ok();
    let port = free_ports(1).to_string();
    let mut command = Command::new("taskset");
    command
        .arg("--cpu-list")
        .arg(first_core())
        .arg(program())
        .arg("serve");
    if !ours {
        command.args(["--port", &port]);
    }
    command.current_dir(dir.path());
    let broker = Broker::run(command).unwrap();
    let expected = if ours { 9092 } else { port.parse().unwrap() };
    assert_eq!(
        (broker.ready.first_port, broker.ready.last_port),
        (expected, expected)
    );
    assert_eq!(broker.ready.shards, 1);
    assert_eq!((broker.ready.first_node, broker.ready.last_node), (0, 0));
    assert_eq!(broker.ready.durability, "fsync");
    let data = fs::canonicalize(dir.path()).unwrap().join("ottla-data");
    assert_eq!(broker.ready.data, data);
    assert_eq!(broker.output().lines().count(), 1, "{}", broker.output());
    assert_eq!(shard_cores(&broker), [first_core()]);
    broker.stop();
}

/// The first core that this process may run on.
fn first_core() -> String {
    let allowed = core_list(Path::new("/proc/self/status"));
    let first = allowed.split([',', '-']).next().unwrap();
    first.to_owned()
}

fn core_list(status: &Path) -> String {
    let status = fs::read_to_string(status).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// Cores of the shard threads, in the order of the shards.
fn shard_cores(broker: &Broker) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", broker.pid())).unwrap();
    let mut cores: Vec<(String, String)> = tasks
        .map(|task| task.unwrap().path())
        .map(|task| {
            let name = fs::read_to_string(task.join("comm")).unwrap();
            (name, core_list(&task.join("status")))
        })
        .filter(|(name, _)| name.starts_with("shard-"))
        .collect();
    // The executor of a shard has a helper thread of the same name and place.
    cores.sort();
    cores.dedup();
    cores.into_iter().map(|(_, cores)| cores).collect()
}

#[test]
fn ports_and_node_ids_follow_each_other() {
    let dir = dir();
    let port = free_ports(3);
    let text = port.to_string();
    let mut command = serve(&["--host", "127.0.0.1", "--shards", "3", "--port", &text]);
    command
        .arg("--data")
        .arg(dir.path())
        .args(["-o", "node.id=2"]);
    let broker = Broker::run(command).unwrap();
    let ready = &broker.ready;
    assert_eq!((ready.first_port, ready.last_port), (port, port + 2));
    assert_eq!((ready.first_node, ready.last_node), (2000, 2002));
    let nodes = Peer::of(&broker).metadata(None).brokers;
    let told: Vec<(i32, i32)> = nodes
        .iter()
        .map(|node| (node.node_id.0, node.port))
        .collect();
    let expected = (0..3).map(|shard| (2000 + shard, i32::from(port) + shard));
    assert_eq!(told, expected.collect::<Vec<_>>());
    broker.stop();
}

#[test]
fn term_and_int_drain_and_exit_0_and_nothing_is_lost() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = dir();
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        peer.create("t", 1, &[]);
        peer.store("t", 0, &["a", "b"]);
        let mut ended = broker;
        ended.signal(signal);
        assert_eq!(ended.wait().code(), Some(0));
        // Nothing reserved is left at the end of the segment.
        let segment = ended.ready.data.join("t-0/00000000000000000000.log");
        assert_eq!(
            fs::metadata(segment).unwrap().len(),
            batch(&["a", "b"]).len() as u64
        );

        let broker = Broker::start(dir.path(), &[]);
        assert_eq!(Peer::of(&broker).read("t", 0, 0), ["a", "b"]);
        let log = broker.log();
        assert!(log.contains("batches_replayed=0"), "{log}");
        broker.stop();
    }
}

#[test]
fn a_long_poll_is_answered_when_the_broker_goes() {
    let dir = dir();
    let mut broker = Broker::start(dir.path(), &[]);
    let mut other = Peer::of(&broker);
    other.create("t", 1, &[]);
    let mut poll = Peer::of(&broker);
    poll.ask("t", 0, LONG_POLL);
    // Its answer tells that the shard has seen what was sent before.
    other.metadata(None);
    broker.signal(Signal::TERM);
    assert_eq!(poll.heard().records.map_or(0, |records| records.len()), 0);
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = dir();
    let mut broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    // A client that does not take its answer keeps the broker from draining for a while.
    let value = "x".repeat(500_000);
    for _ in 0..20 {
        peer.store("t", 0, &[&value]);
    }
    let mut deaf = Peer::of(&broker);
    deaf.ask("t", 0, from(0).up_to(50 << 20));
    peer.store("t", 0, &["seen"]);
    broker.signal(Signal::TERM);
    broker.logged(&["draining"]);
    assert!(!broker.has_ended());
    broker.signal(Signal::INT);
    assert_eq!(broker.wait().code(), Some(130));
    let mut broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 20), ["seen"]);
    broker.signal(Signal::TERM);
    assert_eq!(broker.wait().code(), Some(0));
}

#[test]
fn a_directory_in_use_is_refused_with_the_process_that_has_it() {
    let dir = dir();
    let broker = Broker::start(dir.path(), &[]);
    let refused = refused(serve_on(dir.path(), &[]));
    assert_eq!(refused.code, Some(1));
    let holder = format!("in use by process {}", broker.pid());
    for words in [holder.as_str(), "needed:", "To mend it:"] {
        assert!(refused.log.contains(words), "{words}: {}", refused.log);
    }
    // The one that was there first is unharmed.
    Peer::of(&broker).metadata(None);
}

#[test]
fn a_port_in_use_is_refused_with_the_way_to_find_out_who_has_it() {
    let dir = dir();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let mut command = serve(&["--host", "127.0.0.1", "--shards", "1", "--port", &port]);
    command.arg("--data").arg(dir.path());
    let refused = refused(command);
    assert_eq!(refused.code, Some(1));
    for words in [port.as_str(), "ss -ltnp", "--port"] {
        assert!(refused.log.contains(words), "{words}: {}", refused.log);
    }
}

#[test]
fn too_little_lockable_memory_is_refused_with_the_command_that_raises_it() {
    let dir = dir();
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536:65536").arg(program());
    command.args([
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--shards",
        "1",
    ]);
    command.arg("--data").arg(dir.path());
    let refused = refused(command);
    assert_eq!(refused.code, Some(1));
    for words in ["64 KiB", "RLIMIT_MEMLOCK", "ulimit -l"] {
        assert!(refused.log.contains(words), "{words}: {}", refused.log);
    }
}

/// The soft limit of open files of a process.
fn soft_descriptors(broker: &Broker) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .unwrap()
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_and_only_a_hard_one_that_is_too_small_is_told() {
    let start = |limits: &str, settings: &[&str]| {
        let dir = dir();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limits}")).arg(program());
        command.args(["serve", "--host", "127.0.0.1", "--port", "0"]);
        command.args(["--shards", "1", "--data"]).arg(dir.path());
        for setting in settings {
            command.args(["-o", setting]);
        }
        (Broker::run(command).unwrap(), dir)
    };
    // What 500 connections need is there, behind a soft limit that hides it.
    let (broker, _dir) = start("64:4000", &["max.connections=500"]);
    assert_eq!(soft_descriptors(&broker), 4000);
    assert!(!broker.stop().contains("RLIMIT_NOFILE"));
    let (broker, _dir) = start("64:4000", &["max.connections=5000"]);
    let told = broker.logged(&["WARN", "RLIMIT_NOFILE"]);
    assert!(
        told.contains("4000") && told.contains("max.connections"),
        "{told}"
    );
    let (broker, _dir) = start("64:4000", &[]);
    let told = broker.logged(&["WARN", "RLIMIT_NOFILE"]);
    assert!(told.contains("100000"), "{told}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_its_name() {
    let dir = dir();
    let in_a_file = dir.path().join("file/data");
    fs::write(dir.path().join("file"), "").unwrap();
    let refused_there = refused(serve_on(&in_a_file, &[]));
    assert_eq!(refused_there.code, Some(1));
    let place = in_a_file.display().to_string();
    for words in [place.as_str(), "needed:", "To mend it:"] {
        let log = &refused_there.log;
        assert!(log.contains(words), "{words}: {log}");
    }

    // Root may write anywhere, so root goes as nobody.
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(&closed, mode(0o555)).unwrap();
    fs::set_permissions(dir.path(), mode(0o755)).unwrap();
    let mut command = serve_on(&closed, &["--shards", "1"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let refused = refused(command);
    assert_eq!(refused.code, Some(1));
    let place = closed.display().to_string();
    for words in [place.as_str(), "needed:", "chown"] {
        assert!(refused.log.contains(words), "{words}: {}", refused.log);
    }
}

#[test]
fn a_file_system_in_memory_is_served_through_the_page_cache_with_a_warning() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let broker = Broker::start(dir.path(), &[]);
    broker.logged(&["WARN", "without direct I/O"]);
    assert_eq!(broker.ready.durability, "fsync");
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    peer.store("t", 0, &["a"]);
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), ["a"]);
    broker.stop();
}
