//! Topic settings in effect, and topics that come and go.

use std::fs;
use std::path::Path;

use ottla::wire::ErrorCode;
use ottla::wire::record::builder::BatchBuilder;
use ottla::wire::record::header::{BatchHeader, Codec, TimestampType};

use crate::process::Broker;
use crate::talk::{Peer, batch, batch_at, fill, from, now_ms};

const CHECKED_OFTEN: [&str; 2] = ["-o", "log.retention.check.interval.ms=50"];

/// Names of the segments of a partition.
fn segments(broker: &Broker, partition: &str) -> Vec<String> {
    let entries = fs::read_dir(broker.ready.data.join(partition)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".log"))
        .collect();
    names.sort();
    names
}

#[test]
fn segments_roll_at_segment_bytes_and_hold_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[("segment.bytes", "1048576")]);
    let value = "x".repeat(400_000);
    for _ in 0..7 {
        peer.store("t", 0, &[&value]);
    }
    let read = peer.read("t", 0, 0);
    assert_eq!(read.len(), 7);
    let mut broker = broker;
    broker.signal(rustix::process::Signal::TERM);
    assert_eq!(broker.wait().code(), Some(0));
    // Two fit below a MiB, a third does not.
    let expected: Vec<String> = [0, 2, 4, 6]
        .iter()
        .map(|base| format!("{base:020}.log"))
        .collect();
    assert_eq!(segments(&broker, "t-0"), expected);
    for name in expected {
        let size = fs::metadata(broker.ready.data.join("t-0").join(name))
            .unwrap()
            .len();
        assert!(size <= 1_048_576, "{size}");
    }
}

#[test]
fn retention_ms_takes_old_segments_and_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &CHECKED_OFTEN);
    let mut peer = Peer::of(&broker);
    let configs = [
        ("segment.bytes", "1048576"),
        ("retention.ms", "-1"),
        ("file.delete.delay.ms", "0"),
    ];
    peer.create("t", 1, &configs);
    let value = "x".repeat(400_000);
    for _ in 0..4 {
        let old = batch_at(now_ms() - 86_400_000, &[&value]);
        assert_eq!(peer.produce("t", 0, old).error_code, ErrorCode::NONE);
    }
    let today = "y".repeat(400_000);
    peer.store("t", 0, &[&today]);
    peer.alter("t", "retention.ms", "3600000");
    assert_eq!(peer.wait_for_start("t", 0, 4), 4);
    assert_eq!(peer.read("t", 0, 4), [today]);
    let until = std::time::Instant::now() + crate::process::PATIENCE;
    let kept = [format!("{:020}.log", 4)];
    while segments(&broker, "t-0") != kept {
        assert!(
            std::time::Instant::now() < until,
            "{:?}",
            segments(&broker, "t-0")
        );
        peer.metadata(None);
    }
    let data = peer.fetch("t", 0, from(0));
    assert_eq!(data.error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
}

#[test]
fn retention_bytes_keeps_no_more_whole_segments_than_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &CHECKED_OFTEN);
    let mut peer = Peer::of(&broker);
    peer.create(
        "t",
        1,
        &[("segment.bytes", "1048576"), ("retention.bytes", "1500000")],
    );
    let value = "x".repeat(400_000);
    for _ in 0..9 {
        peer.store("t", 0, &[&value]);
    }
    // 3.6 MB in segments of two: Kafka takes segments while what is left is still 1.5 MB or more.
    assert_eq!(peer.wait_for_start("t", 0, 4), 4);
    assert_eq!(peer.read("t", 0, 4).len(), 5);
}

#[test]
fn retention_takes_the_active_segment_too_when_all_of_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &CHECKED_OFTEN);
    let mut peer = Peer::of(&broker);
    peer.create(
        "t",
        1,
        &[("segment.bytes", "1048576"), ("retention.ms", "3600000")],
    );
    let value = "x".repeat(400_000);
    for _ in 0..5 {
        let old = batch_at(now_ms() - 86_400_000, &[&value]);
        assert_eq!(peer.produce("t", 0, old).error_code, ErrorCode::NONE);
    }
    // All of it is old: Kafka rolls the active segment and takes that, too.
    assert_eq!(peer.wait_for_start("t", 0, 5), 5);
    assert_eq!(peer.store("t", 0, &["new"]), 5);
}

#[test]
fn altered_settings_are_in_effect_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &CHECKED_OFTEN);
    let mut peer = Peer::of(&broker);
    peer.create(
        "t",
        1,
        &[("segment.bytes", "1048576"), ("retention.ms", "-1")],
    );
    let value = "x".repeat(400_000);
    for _ in 0..5 {
        let old = batch_at(now_ms() - 86_400_000, &[&value]);
        assert_eq!(peer.produce("t", 0, old).error_code, ErrorCode::NONE);
    }
    assert_eq!(peer.offset("t", 0, -2), Ok(0));
    peer.alter("t", "max.message.bytes", "100");
    let answer = peer.produce("t", 0, batch(&[&value]));
    assert_eq!(answer.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    peer.alter("t", "retention.ms", "3600000");
    assert_eq!(peer.wait_for_start("t", 0, 5), 5);
    assert_eq!(peer.store("t", 0, &["new"]), 5);
}

#[test]
fn log_append_time_is_the_brokers() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    let answer = peer.produce("t", 0, batch_at(1, &["a", "b"]));
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let stamped = answer.log_append_time_ms.0;
    assert!((before..=now_ms()).contains(&stamped), "{stamped}");
    let header = first_batch(&mut peer);
    assert_eq!(header.max_timestamp.0, stamped);
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    assert_eq!(first_batch(&mut Peer::of(&broker)).max_timestamp.0, stamped);
}

fn first_batch(peer: &mut Peer) -> BatchHeader {
    let records = peer.fetch("t", 0, from(0)).records.unwrap().into_bytes();
    BatchHeader::parse(&records).unwrap()
}

#[test]
fn max_message_bytes_bounds_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    let exact = batch(&["x".repeat(1000).as_str()]).len();
    peer.create("t", 1, &[("max.message.bytes", &exact.to_string())]);
    peer.store("t", 0, &["x".repeat(1000).as_str()]);
    let answer = peer.produce("t", 0, batch(&["x".repeat(1001).as_str()]));
    assert_eq!(answer.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(peer.store("t", 0, &["small"]), 1);
}

#[test]
fn compression_type_decides_how_batches_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    for (setting, sent, stored) in [
        ("producer", Codec::LZ4, Codec::LZ4),
        ("producer", Codec::NONE, Codec::NONE),
        ("gzip", Codec::NONE, Codec::GZIP),
        ("zstd", Codec::SNAPPY, Codec::ZSTD),
        ("uncompressed", Codec::GZIP, Codec::NONE),
        ("lz4", Codec::LZ4, Codec::LZ4),
    ] {
        peer.create("t", 1, &[("compression.type", setting)]);
        let records = fill(BatchBuilder::new(sent), now_ms(), &["a", "b", "c"]);
        assert_eq!(peer.produce("t", 0, records).error_code, ErrorCode::NONE);
        assert_eq!(first_batch(&mut peer).codec(), stored, "{setting}");
        assert_eq!(peer.read("t", 0, 0), ["a", "b", "c"], "{setting}");
        assert_eq!(peer.delete("t"), ErrorCode::NONE);
    }
}

#[test]
fn a_deleted_topics_files_go_and_nothing_of_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &["-o", "log.segment.delete.delay.ms=0"]);
    let mut peer = Peer::of(&broker);
    peer.create("kept", 1, &[]);
    peer.create("t", 3, &[]);
    peer.store("kept", 0, &["kept"]);
    for partition in 0..3 {
        peer.store("t", partition, &["gone"]);
    }
    assert_eq!(peer.delete("t"), ErrorCode::NONE);
    assert_eq!(peer.delete("t"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let answer = peer.produce("t", 0, batch(&["late"]));
    assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    wait_until_gone(&mut peer, dir.path());
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    assert_eq!(peer.metadata(None).topics.len(), 1);
    assert_eq!(directories_of_t(dir.path()), Vec::<String>::new());
    assert_eq!(peer.read("kept", 0, 0), ["kept"]);
    broker.stop();
}

fn directories_of_t(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("t-")).collect()
}

/// Files go behind the answer: asks the broker something else until they have.
fn wait_until_gone(peer: &mut Peer, data: &Path) {
    let until = std::time::Instant::now() + crate::process::PATIENCE;
    while !directories_of_t(data).is_empty() {
        assert!(
            std::time::Instant::now() < until,
            "{:?}",
            directories_of_t(data)
        );
        peer.metadata(None);
    }
}

#[test]
fn a_name_may_be_used_again_at_once_and_old_records_never_show() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    let mut ids = Vec::new();
    for round in 0..8 {
        ids.push(peer.create("t", 2, &[]));
        for partition in 0..2 {
            assert_eq!(
                peer.read("t", partition, 0),
                Vec::<String>::new(),
                "round {round}"
            );
            let value = format!("{round}-{partition}");
            assert_eq!(peer.store("t", partition, &[&value, "more"]), 0);
            assert_eq!(peer.read("t", partition, 0), [value.as_str(), "more"]);
        }
        assert_eq!(peer.delete("t"), ErrorCode::NONE);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
    // Deleted, made again and killed at once: the journal holds records of both.
    peer.create("t", 2, &[]);
    peer.store("t", 0, &["old", "older"]);
    assert_eq!(peer.delete("t"), ErrorCode::NONE);
    peer.create("t", 2, &[]);
    peer.store("t", 0, &["new"]);
    broker.kill();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    assert_eq!(peer.read("t", 0, 0), ["new"]);
    assert_eq!(peer.read("t", 1, 0), Vec::<String>::new());
    broker.stop();
}
