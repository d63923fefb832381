//! One machine, several shards: each is a Kafka node with its own partitions and its own door.

use std::collections::BTreeMap;

use ottla::wire::ErrorCode;
use ottla::wire::produce::ProduceRequest;
use ottla::words::{LeaderEpoch, NodeId};

use crate::process::Broker;
use crate::talk::{Cluster, Peer, batch, fetch_request, from, produce_request};

/// How many of the partitions each node leads.
fn spread(leaders: &[i32]) -> BTreeMap<i32, usize> {
    let mut of_node = BTreeMap::new();
    for leader in leaders {
        *of_node.entry(*leader).or_default() += 1;
    }
    of_node
}

#[test]
fn the_wrong_door_names_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_shards(2, dir.path(), &["-o", "node.id=4"]);
    let mut cluster = Cluster::of(&broker);
    let id = cluster.any().create("t", 2, &[]);
    let leader = cluster.leaders("t")[0];
    let wrong = if leader == 4000 { 4001 } else { 4000 };
    let right_port = i32::from(cluster.peers[&leader].connection.address().port);
    let metadata = cluster.any().metadata(Some("t"));
    let epoch = metadata.topics[0].partitions[0].leader_epoch;
    let peer = cluster.peers.get_mut(&wrong).unwrap();

    let by_name = produce_request("t", 0, batch(&["a"]), -1);
    let mut by_id: ProduceRequest = by_name.clone();
    by_id.topic_data[0].topic_id = id;
    for (version, request) in [
        (3, &by_name),
        (9, &by_name),
        (10, &by_name),
        (12, &by_name),
        (13, &by_id),
    ] {
        let answer = peer.call_at(version, request);
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(
            partition.error_code,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            "{version}"
        );
        if version < 10 {
            continue;
        }
        assert_eq!(partition.current_leader.leader_id.0, leader, "{version}");
        assert_eq!(partition.current_leader.leader_epoch, epoch, "{version}");
        let told: Vec<_> = answer
            .node_endpoints
            .iter()
            .map(|node| (node.node_id.0, node.port))
            .collect();
        assert_eq!(told, [(leader, right_port)], "{version}");
        assert_eq!(answer.node_endpoints[0].host, "127.0.0.1");
    }
    let by_name = fetch_request("t", 0, from(0));
    let mut by_id = by_name.clone();
    by_id.topics[0].topic_id = id;
    for (version, request) in [
        (4, &by_name),
        (12, &by_name),
        (15, &by_id),
        (16, &by_id),
        (18, &by_id),
    ] {
        let answer = peer.call_at(version, request);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(
            partition.error_code,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            "{version}"
        );
        if version < 16 {
            continue;
        }
        assert_eq!(partition.current_leader.leader_id.0, leader, "{version}");
        assert_eq!(partition.current_leader.leader_epoch, epoch, "{version}");
        let told: Vec<_> = answer
            .node_endpoints
            .iter()
            .map(|node| (node.node_id.0, node.port))
            .collect();
        assert_eq!(told, [(leader, right_port)], "{version}");
    }
    assert_eq!(
        peer.offset("t", 0, -1),
        Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    );
    // Nothing was stored at the wrong door, and the right one takes it.
    assert_eq!(cluster.leader("t", 0).store("t", 0, &["a"]), 0);
}

#[test]
fn partitions_spread_evenly_over_the_shards() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_shards(3, dir.path(), &[]);
    let mut cluster = Cluster::of(&broker);
    cluster.any().create("wide", 9, &[]);
    let wide = cluster.leaders("wide");
    assert_eq!(spread(&wide), BTreeMap::from([(0, 3), (1, 3), (2, 3)]));
    // Topics of one partition do not all end at the first shard.
    let mut narrow = Vec::new();
    for number in 0..9 {
        let name = format!("narrow-{number}");
        cluster.any().create(&name, 1, &[]);
        narrow.extend(cluster.leaders(&name));
    }
    let of_node = spread(&narrow);
    assert!(
        of_node.values().all(|count| (2..=4).contains(count)),
        "{of_node:?}"
    );
    assert_eq!(of_node.len(), 3);
}

#[test]
fn every_door_knows_every_topic_as_soon_as_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_shards(3, dir.path(), &[]);
    let mut cluster = Cluster::of(&broker);
    for number in 0..10 {
        let name = format!("t{number}");
        cluster.any().create(&name, 3, &[]);
        for partition in 0..3 {
            assert_eq!(
                cluster
                    .leader(&name, partition)
                    .store(&name, partition, &["a"]),
                0
            );
        }
        for peer in cluster.peers.values_mut() {
            let topics = peer.metadata(Some(&name)).topics;
            assert_eq!(topics[0].error_code, ErrorCode::NONE);
            assert_eq!(topics[0].partitions.len(), 3);
        }
    }
}

#[test]
fn the_number_of_shards_may_change_between_starts_even_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); 6];
    let ends = [
        (1, true),
        (3, true),
        (2, false),
        (1, false),
        (3, true),
        (2, true),
    ];
    for (round, (shards, killed)) in ends.into_iter().enumerate() {
        let broker = Broker::start_shards(shards, dir.path(), &[]);
        let mut cluster = Cluster::of(&broker);
        assert_eq!(cluster.peers.len(), usize::from(shards));
        if round == 0 {
            cluster.any().create("t", 6, &[]);
        }
        let leaders = cluster.leaders("t");
        let even = 6 / usize::from(shards);
        let nodes = 0..i32::from(shards);
        assert_eq!(
            spread(&leaders),
            nodes.map(|node| (node, even)).collect(),
            "{leaders:?}"
        );
        for (partition, values) in (0..).zip(&mut expected) {
            let peer = cluster.leader("t", partition);
            assert_eq!(peer.read("t", partition, 0), *values, "round {round}");
            for number in 0..3 {
                let value = format!("{round}-{partition}-{number}");
                assert_eq!(peer.store("t", partition, &[&value]), values.len() as i64);
                values.push(value);
            }
        }
        match killed {
            true => broker.kill(),
            false => drop(broker.stop()),
        }
    }
    // The journals of shards that are gone are no burden.
    let broker = Broker::start_shards(1, dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    for (partition, values) in (0..).zip(&expected) {
        assert_eq!(peer.read("t", partition, 0), *values);
    }
}

#[test]
fn a_follower_of_no_replica_set_is_sent_away_and_told_who_leads() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &["-o", "node.id=4"]);
    let mut peer = Peer::of(&broker);
    let id = peer.create("t", 1, &[]);
    peer.store("t", 0, &["a"]);
    for replica in [0, 7, 4000] {
        let mut by_name = fetch_request("t", 0, from(0));
        by_name.replica_id = NodeId(replica);
        let mut by_id = fetch_request("t", 0, from(0));
        by_id.topics[0].topic_id = id;
        by_id.replica_state.replica_id = NodeId(replica);
        for (version, request) in [(4, &by_name), (12, &by_name), (15, &by_id), (18, &by_id)] {
            let answer = peer.call_at(version, request);
            let partition = &answer.responses[0].partitions[0];
            let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
            assert_eq!(partition.error_code, code, "{replica} {version}");
            assert_eq!(partition.high_watermark.0, -1, "{replica} {version}");
            let leader = if version < 16 { -1 } else { 4000 };
            assert_eq!(partition.current_leader.leader_id.0, leader, "{version}");
            assert_eq!(answer.node_endpoints.len(), 0, "{version}");
        }
        let believed = &mut by_name.topics[0].partitions[0].current_leader_epoch;
        *believed = LeaderEpoch(0);
        let answer = peer.call_at(12, &by_name);
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_LEADER_EPOCH, "{replica}");
    }
    assert_eq!(peer.read("t", 0, 0), ["a"]);
    broker.stop();
}
