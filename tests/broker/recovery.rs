//! What survives a kill, and what a start makes of what it finds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ottla::wire::ErrorCode;
use ottla::wire::KStr;
use ottla::wire::messages::k21_delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla::wire::messages::k23_offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::messages::{DeleteRecordsRequest, OffsetForLeaderEpochRequest};
use ottla::wire::record::builder::BatchBuilder;
use ottla::wire::record::header::Codec;
use ottla::words::{LeaderEpoch, Offset, PartitionIndex};

use crate::process::{Broker, refused, serve_on};
use crate::talk::{Cluster, Peer, batch, batch_at, fill, now_ms};

#[test]
fn what_was_acknowledged_is_there_after_a_kill_right_behind_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let large = "x".repeat(400_000);
    let mut expected = Vec::new();
    for round in 0..5 {
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        if round == 0 {
            peer.create("t", 1, &[]);
        }
        assert_eq!(peer.read("t", 0, 0), expected, "round {round}");
        // Small ones, and one that goes past the journal; the kill follows another one each time.
        for number in 0..=round {
            let value = match number {
                2 => large.clone(),
                _ => format!("{round}-{number}"),
            };
            assert_eq!(peer.store("t", 0, &[&value]), expected.len() as i64);
            expected.push(value);
        }
        broker.kill();
    }
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), expected);
}

#[test]
fn compressed_batches_survive_a_kill_and_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    for codec in [Codec::GZIP, Codec::SNAPPY, Codec::LZ4, Codec::ZSTD] {
        let records = fill(BatchBuilder::new(codec), now_ms(), &["a", "b"]);
        assert_eq!(peer.produce("t", 0, records).error_code, ErrorCode::NONE);
        expected.extend(["a", "b"]);
    }
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), expected);
    broker.stop();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), expected);
}

#[test]
fn an_idempotent_producers_duplicates_are_known_after_a_restart() {
    for killed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        peer.create("t", 1, &[]);
        let producer = peer.producer();
        for (sequence, value) in [(0, "a"), (1, "b"), (2, "c")] {
            let answer = peer.produce("t", 0, producer.batch(sequence, &[value]));
            assert_eq!(
                (answer.error_code, answer.base_offset.0),
                (ErrorCode::NONE, i64::from(sequence))
            );
        }
        match killed {
            true => broker.kill(),
            false => drop(broker.stop()),
        }
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        // At a clean stop Kafka's snapshot keeps the last batch of each producer, no more.
        let known: &[i32] = if killed { &[2, 0, 1] } else { &[2] };
        for sequence in known.iter().copied() {
            let answer = peer.produce("t", 0, producer.batch(sequence, &["again"]));
            assert_eq!(
                (answer.error_code, answer.base_offset.0),
                (ErrorCode::NONE, i64::from(sequence))
            );
        }
        let gap = peer.produce("t", 0, producer.batch(5, &["gap"]));
        assert_eq!(gap.error_code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        let next = peer.produce("t", 0, producer.batch(3, &["d"]));
        assert_eq!((next.error_code, next.base_offset.0), (ErrorCode::NONE, 3));
        assert_eq!(peer.read("t", 0, 0), ["a", "b", "c", "d"]);
        // Nobody gets an identity twice.
        assert_ne!(peer.producer().id, producer.id);
    }
}

fn epoch_end(peer: &mut Peer, epoch: i32) -> EpochEndOffset {
    let answer = peer.call(&OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: KStr::from("t"),
            partitions: vec![OffsetForLeaderPartition {
                partition: PartitionIndex(0),
                current_leader_epoch: LeaderEpoch(-1),
                leader_epoch: LeaderEpoch(epoch),
            }],
        }],
        ..OffsetForLeaderEpochRequest::default()
    });
    answer.topics[0].partitions[0].clone()
}

#[test]
fn leader_epochs_never_go_back_and_their_ends_are_known_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    let mut last_epoch = -1;
    for round in 0..4i64 {
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        if round == 0 {
            peer.create("t", 1, &[]);
        }
        let epoch = peer.metadata(Some("t")).topics[0].partitions[0]
            .leader_epoch
            .0;
        assert!(epoch >= last_epoch, "{epoch} after {last_epoch}");
        peer.store("t", 0, &["a", "b"]);
        if epoch == last_epoch {
            ends.pop();
        }
        last_epoch = epoch;
        ends.push((epoch, round * 2 + 2));
        for (epoch, end) in &ends {
            let told = epoch_end(&mut peer, *epoch);
            assert_eq!(
                (told.leader_epoch.0, told.end_offset.0),
                (*epoch, *end),
                "round {round}"
            );
        }
        match round % 2 {
            0 => broker.kill(),
            _ => drop(broker.stop()),
        }
    }
}

#[test]
fn the_start_of_a_log_that_retention_moved_stays_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["-o", "log.retention.check.interval.ms=50"];
    let broker = Broker::start(dir.path(), &args);
    let mut peer = Peer::of(&broker);
    peer.create(
        "t",
        1,
        &[("segment.bytes", "1048576"), ("retention.ms", "-1")],
    );
    let value = "x".repeat(300_000);
    // Two segments of yesterday, one of today.
    for _ in 0..7 {
        let old = batch_at(now_ms() - 86_400_000, &[&value]);
        assert_eq!(peer.produce("t", 0, old).error_code, ErrorCode::NONE);
    }
    peer.store("t", 0, &["today"]);
    peer.alter("t", "retention.ms", "3600000");
    assert_eq!(peer.wait_for_start("t", 0, 6), 6);
    let first_file = dir.path().join("t-0/00000000000000000000.log");
    let until = std::time::Instant::now() + crate::process::PATIENCE;
    while first_file.exists() {
        assert!(std::time::Instant::now() < until);
        peer.metadata(None);
    }
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    // The files of the segment after it may have been about to go.
    assert!([3, 6].contains(&peer.offset("t", 0, -2).unwrap()));
    assert_eq!(peer.read("t", 0, 7), ["today"]);
    assert_eq!(peer.store("t", 0, &["next"]), 8);
    broker.stop();
}

/// Base offsets of the segments in a partition's directory.
fn segments(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".log"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_log_that_rolled_by_age_has_the_same_segments_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[("segment.ms", "500")]);
    let now = now_ms();
    for (age, value) in [(2100, "a"), (1400, "b"), (700, "c")] {
        let stored = peer.produce("t", 0, batch_at(now - age, &[value]));
        assert_eq!(stored.error_code, ErrorCode::NONE);
    }
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), ["a", "b", "c"]);
    let expected = [0, 1, 2].map(|base| format!("{base:020}.log"));
    assert_eq!(segments(&dir.path().join("t-0")), expected);
    broker.stop();
    assert_eq!(segments(&dir.path().join("t-0")), expected);
}

#[test]
fn journals_of_shards_that_are_no_more_go_and_nothing_that_was_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (round, shards) in [3u16, 1, 2, 1].into_iter().enumerate() {
        let broker = Broker::start_shards(shards, dir.path(), &[]);
        let journals = (0..9).filter(|k| dir.path().join(format!("journal.{k}")).exists());
        assert_eq!(journals.count(), usize::from(shards), "round {round}");
        let mut cluster = Cluster::of(&broker);
        if round == 0 {
            cluster.any().create("t", 6, &[]);
        }
        for partition in 0..6 {
            let peer = cluster.leader("t", partition);
            assert_eq!(peer.read("t", partition, 0), expected, "round {round}");
            peer.store("t", partition, &[&round.to_string()]);
        }
        expected.push(round.to_string());
        broker.kill();
    }
}

#[test]
fn the_start_of_a_log_that_a_client_moved_stays_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    peer.store("t", 0, &["a", "b", "c"]);
    let answer = peer.call(&DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: KStr::from("t"),
            partitions: vec![DeleteRecordsPartition {
                partition_index: PartitionIndex(0),
                offset: Offset(2),
            }],
        }],
        timeout_ms: 30_000,
    });
    let partition = &answer.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.low_watermark.0),
        (ErrorCode::NONE, 2)
    );
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    assert_eq!(peer.offset("t", 0, -2), Ok(2));
    assert_eq!(peer.read("t", 0, 2), ["c"]);
    broker.stop();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).offset("t", 0, -2), Ok(2));
}

#[test]
fn a_journal_cut_short_by_a_kill_does_not_stop_the_start() {
    // Kills in the middle of writing: whatever was acknowledged is there, the rest may be.
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    Peer::of(&broker).create("t", 1, &[]);
    broker.kill();
    let mut acknowledged = 0;
    for round in 0..4 {
        let broker = Broker::start(dir.path(), &[]);
        let mut peer = Peer::of(&broker);
        assert!(
            peer.offset("t", 0, -1).unwrap() >= acknowledged,
            "round {round}"
        );
        for number in 0..200 {
            let value = format!("{round}-{number}").repeat(20);
            let request = crate::talk::produce_request("t", 0, batch(&[&value]), -1);
            peer.connection
                .send(crate::talk::PRODUCE, &request)
                .unwrap();
        }
        let deadline = std::time::Instant::now() + crate::process::PATIENCE;
        for _ in 0..50 {
            let answer: ottla::wire::produce::ProduceResponse =
                peer.connection.receive_as(deadline).unwrap();
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, ErrorCode::NONE);
            acknowledged = acknowledged.max(partition.base_offset.0 + 1);
        }
        broker.kill();
    }
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    let stored = peer.read("t", 0, 0);
    assert!(stored.len() as i64 >= acknowledged);
}

/// What is in a directory: files by path, with their bytes.
fn content(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.append(&mut content(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

/// As [`content`], by name in the directory.
fn files(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let by_name =
        |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(at).unwrap().to_owned(), bytes);
    content(at).into_iter().map(by_name).collect()
}

#[test]
fn a_directory_that_kafka_wrote_is_refused_by_name_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let partition = dir.path().join("theirs-0");
    fs::create_dir(&partition).unwrap();
    fs::create_dir(dir.path().join("__cluster_metadata-0")).unwrap();
    fs::write(
        partition.join("00000000000000000000.log"),
        batch(&["theirs"]),
    )
    .unwrap();
    let metadata = "version: 0\ntopic_id: xCNhFMnoQ7mFjZWxCNhFMg";
    fs::write(partition.join("partition.metadata"), metadata).unwrap();
    let meta = "version=1\ncluster.id=Kp2yPvW1TgqhTdKW1cVZbg\nnode.id=0\n";
    fs::write(dir.path().join("meta.properties"), meta).unwrap();
    let before = content(dir.path());
    let refused = refused(serve_on(dir.path(), &[]));
    assert_eq!(refused.code, Some(1));
    let place = dir.path().display().to_string();
    for words in [
        place.as_str(),
        "theirs-0",
        "Apache Kafka",
        "needed:",
        "--data",
    ] {
        assert!(refused.log.contains(words), "{words}: {}", refused.log);
    }
    let mut after = content(dir.path());
    after.remove(&dir.path().join(".lock"));
    assert_eq!(after, before);
}

#[test]
fn a_lost_metadata_log_is_not_taken_for_an_empty_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    peer.store("t", 0, &["a"]);
    broker.stop();
    let log = dir.path().join("metadata.log");
    fs::rename(&log, dir.path().join("elsewhere")).unwrap();
    assert!(
        refused(serve_on(dir.path(), &[]))
            .log
            .contains("metadata.log")
    );
    fs::rename(dir.path().join("elsewhere"), &log).unwrap();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).read("t", 0, 0), ["a"]);
}

#[test]
fn a_partition_that_metadata_does_not_know_is_named_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    Peer::of(&broker).create("t", 1, &[]);
    broker.stop();
    let stray = dir.path().join("stray-3");
    fs::create_dir(&stray).unwrap();
    fs::write(stray.join("00000000000000000000.log"), batch(&["a"])).unwrap();
    let half_deleted = dir
        .path()
        .join("gone-0.0123456789abcdef0123456789abcdef-delete");
    fs::create_dir(&half_deleted).unwrap();
    fs::write(half_deleted.join("00000000000000000000.log"), batch(&["a"])).unwrap();
    let before = content(&stray);
    let broker = Broker::start(dir.path(), &[]);
    let told = broker.logged(&["WARN", "stray-3"]);
    assert!(told.contains("not served"), "{told}");
    // What was being deleted when the broker ended goes now.
    broker.logged(&["removed", "gone-0"]);
    assert!(!half_deleted.exists());
    assert_eq!(Peer::of(&broker).metadata(None).topics.len(), 1);
    broker.stop();
    assert_eq!(content(&stray), before);
}

#[test]
fn a_stray_partition_makes_way_for_a_topic_of_its_name_and_is_never_served_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("named", 1, &[]);
    peer.store("named", 0, &["old"]);
    broker.stop();
    // One with the id of another topic, one with no id at all.
    let named = dir.path().join("named-0");
    let kept = files(&named);
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(Peer::of(&broker).delete("named"), ErrorCode::NONE);
    broker.stop();
    assert!(!named.exists());
    fs::create_dir(&named).unwrap();
    for (name, bytes) in &kept {
        fs::write(named.join(name), bytes).unwrap();
    }
    let nameless = dir.path().join("nameless-0");
    fs::create_dir(&nameless).unwrap();
    fs::write(nameless.join("00000000000000000000.log"), batch(&["x"])).unwrap();
    let before = [kept, files(&nameless)];

    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    for topic in ["named", "nameless"] {
        peer.create(topic, 1, &[]);
        assert_eq!(peer.store(topic, 0, &["new"]), 0);
    }
    broker.stop();
    let strays = || -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("-stray"))
            .collect();
        found.sort();
        found
    };
    let found = strays();
    assert_eq!(found.len(), 2, "{found:?}");
    let is_of = |path: &PathBuf, topic: &str| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("{topic}-0.")) && name.len() == topic.len() + 3 + 32 + 6
    };
    assert!(
        is_of(&found[0], "named") && is_of(&found[1], "nameless"),
        "{found:?}"
    );

    let broker = Broker::start(dir.path(), &[]);
    for path in &found {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        broker.logged(&["WARN", "not served", &name]);
    }
    let mut peer = Peer::of(&broker);
    for topic in ["named", "nameless"] {
        assert_eq!(peer.read(topic, 0, 0), ["new"]);
    }
    broker.stop();
    assert_eq!(strays(), found);
    assert_eq!([files(&found[0]), files(&found[1])], before);
}
