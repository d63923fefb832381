//! Starting: whose directory it is, which nodes there are, and what moves.

use super::*;
use crate::devices::memory_disk::MemoryDisk;
use crate::devices::{Effect, Event, Machine, PeerId};
use crate::metadata::admin::NewTopic;
use crate::metadata::{AdminReply, AdminRequest};
use crate::settings::load;
use crate::words::Now;

use super::super::{ControlMessage, Token};

fn settings(text: &str) -> BrokerSettings {
    load::load(&load::from_file(text).unwrap()).unwrap().0
}

/// A start with `shards` shards; ids are numbered from `seed`.
fn begin(disk: &MemoryDisk, text: &str, shards: u16, seed: u8) -> Result<Started, StartError> {
    let settings = settings(text);
    let bound: Vec<u16> = (0..shards).map(|shard| 9092 + shard).collect();
    let nodes = nodes(&settings, "localhost", &bound).unwrap();
    let mut number = u128::from(seed) << 64;
    let new_id: NewId = Box::new(move || {
        number += 1;
        number.to_be_bytes()
    });
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    start(&disk, &settings, nodes, new_id, Box::new(|| {}))
}

fn create(started: &mut Started, name: &str, partitions: i32) {
    let request = AdminRequest::CreateTopics {
        topics: vec![NewTopic {
            name: name.into(),
            partitions,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: vec![("retention.ms".into(), Some("5".into()))],
        }],
        validate_only: false,
    };
    let message = ControlMessage::Ask {
        token: Token(1),
        request,
    };
    let from = PeerId(0);
    let mut effects = Vec::new();
    started.control.handle(
        Now::default(),
        Event::Message { from, message },
        &mut effects,
    );
    started.control.end_turn(Now::default(), &mut effects);
    let [Effect::Post { message, .. }] = effects.as_slice() else {
        panic!("one answer")
    };
    let ControlMessage::Answer {
        reply: AdminReply::Created(all),
        ..
    } = message
    else {
        panic!("{message:?}")
    };
    assert!(all[0].result.is_ok(), "{all:?}");
}

fn leaders(started: &Started, topic: &str) -> Vec<(i32, i32)> {
    let image = started.cell.load();
    let partitions = &image.topic(topic).unwrap().partitions;
    partitions
        .iter()
        .map(|p| (p.leader.0, p.leader_epoch.0))
        .collect()
}

#[test]
fn everything_is_there_after_a_restart_and_a_power_cut() {
    let disk = MemoryDisk::new();
    let mut first = begin(&disk, "", 2, 1).unwrap();
    create(&mut first, "t", 4);
    assert_eq!(leaders(&first, "t"), [(0, 0), (1, 0), (0, 0), (1, 0)]);
    let before = first.cell.load();
    disk.crash(9);

    let again = begin(&disk, "", 2, 2).unwrap();
    let after = again.cell.load();
    assert_eq!(after.cluster(), before.cluster());
    assert_eq!((before.start(), after.start()), (1, 2));
    assert_eq!(after.topic("t"), before.topic("t"));
    assert_eq!(
        after.configs(&Resource::BrokerDefault),
        before.configs(&Resource::BrokerDefault)
    );
    let value = after
        .configs(&Resource::BrokerDefault)
        .get("min.insync.replicas");
    assert_eq!(value.map(String::as_str), Some("1"));
}

#[test]
fn partitions_follow_the_number_of_shards() {
    let disk = MemoryDisk::new();
    let mut one = begin(&disk, "node.id=3", 1, 1).unwrap();
    create(&mut one, "t", 4);
    assert_eq!(leaders(&one, "t"), [(3000, 0); 4]);
    let two = begin(&disk, "node.id=3", 2, 2).unwrap();
    let led = leaders(&two, "t");
    assert_eq!(
        led.iter()
            .filter(|(node, epoch)| (*node, *epoch) == (3001, 1))
            .count(),
        2
    );
    assert_eq!(
        led.iter()
            .filter(|(node, epoch)| (*node, *epoch) == (3000, 0))
            .count(),
        2
    );
    let same = begin(&disk, "node.id=3", 2, 3).unwrap();
    assert_eq!(leaders(&same, "t"), led);
    let back = begin(&disk, "node.id=3", 1, 4).unwrap();
    assert!(leaders(&back, "t").iter().all(|(node, _)| *node == 3000));
}

#[test]
fn nodes_are_numbered_and_advertised_by_shard() {
    let told = |text: &str, bound: &[u16]| {
        let nodes = nodes(&settings(text), "me", bound)?;
        let lines = nodes
            .iter()
            .map(|node| format!("{} {}:{}", node.id, node.host, node.port));
        Some(lines.collect::<Vec<_>>())
    };
    assert_eq!(told("", &[9092, 9093]).unwrap(), ["0 me:9092", "1 me:9093"]);
    assert_eq!(
        told("listeners=PLAINTEXT://:0", &[40001, 40007]).unwrap(),
        ["0 me:40001", "1 me:40007"]
    );
    assert_eq!(
        told(
            "node.id=2\nlisteners=PLAINTEXT://10.0.0.1:9092",
            &[9092, 9093]
        )
        .unwrap(),
        ["2000 10.0.0.1:9092", "2001 10.0.0.1:9093"]
    );
    let proxied = "advertised.listeners=PLAINTEXT://kafka.example:19092";
    assert_eq!(
        told(proxied, &[9092, 9093]).unwrap(),
        ["0 kafka.example:19092", "1 kafka.example:19093"]
    );
    assert_eq!(
        told("advertised.listeners=PLAINTEXT://h:65535", &[9092, 9093]),
        None
    );
}

#[test]
fn a_directory_says_whose_it_is() {
    let disk = MemoryDisk::new();
    let started = begin(&disk, "log.dirs=a,b", 1, 1).unwrap();
    let cluster = started.cell.load().cluster().unwrap();
    for dir in ["a", "b"] {
        let bytes = disk.read(&Path::new(dir).join("meta.properties")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let properties = MetaProperties::parse(&text).unwrap();
        assert_eq!((properties.cluster, properties.machine), (cluster, 0));
    }
    assert!(matches!(
        begin(&disk, "log.dirs=a,b\nnode.id=1", 1, 2),
        Err(StartError::OtherNode {
            theirs: 0,
            ours: 1,
            ..
        })
    ));
    begin(&disk, "log.dirs=c", 1, 3).unwrap();
    assert!(matches!(
        begin(&disk, "log.dirs=c,b", 1, 4),
        Err(StartError::OtherCluster { .. })
    ));
}

#[test]
fn a_formatted_directory_keeps_its_cluster_and_a_broken_one_is_refused() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(Path::new("k")).unwrap();
    let file = Path::new("k/meta.properties");
    let text = b"version=1\nnode.id=0\ncluster.id=BODD6yjFuHBlzwLxnX8awg\n";
    disk.write_atomic(file, text).unwrap();
    let started = begin(&disk, "log.dirs=k", 1, 1).unwrap();
    let cluster = started.cell.load().cluster().unwrap();
    assert_eq!(cluster.to_string(), "BODD6yjFuHBlzwLxnX8awg");
    disk.write_atomic(file, b"version=7").unwrap();
    assert!(matches!(
        begin(&disk, "log.dirs=k", 1, 2),
        Err(StartError::Properties { .. })
    ));
}

/// The first start, cut at every changing call: the next one works and is the first or second.
#[test]
fn a_start_can_be_cut_anywhere() {
    for cut in 0..20 {
        for seed in 0..4 {
            let disk = MemoryDisk::new();
            disk.cut_power_after(cut);
            let _ = begin(&disk, "", 2, 1);
            disk.crash(seed);
            let again = begin(&disk, "", 2, 2).unwrap_or_else(|why| panic!("{cut} {seed}: {why}"));
            let image = again.cell.load();
            assert!(image.start() <= 2);
            assert_eq!(image.nodes().len(), 2);
        }
    }
}
