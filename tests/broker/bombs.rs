//! Batches that expand a thousandfold: they cost their senders time, and nobody else any.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::wire::ErrorCode;
use ottla::wire::produce::{PartitionProduceResponse, ProduceResponse};
use ottla::wire::record::builder::{BatchBuilder, NewRecord};
use ottla::wire::record::crc;
use ottla::wire::record::header::Codec;
use ottla::words::TimestampMs;

use crate::process::{Broker, PATIENCE};
use crate::talk::{PRODUCE, Peer, batch, now_ms, produce_request};

const CODECS: [Codec; 4] = [Codec::GZIP, Codec::SNAPPY, Codec::LZ4, Codec::ZSTD];
const BOMB_BYTES: usize = 128 << 20;

/// A record of zeros, and a second one a second later.
fn bomb(codec: Codec, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    let value = vec![0; BOMB_BYTES];
    for (at, value) in [(timestamp, &value[..]), (timestamp + 1000, b"last")] {
        let record = NewRecord::of(TimestampMs(at), None, Some(value));
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// The same with one record more in its header than there is.
fn rotten(bomb: &Bytes) -> Bytes {
    let mut bytes = bomb.to_vec();
    bytes[57..61].copy_from_slice(&3i32.to_be_bytes());
    bytes[23..27].copy_from_slice(&2i32.to_be_bytes());
    let sum = crc::whole_batch_crc(&bytes).unwrap();
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    bytes.into()
}

/// Time that the first shard's thread was kept from running by other threads.
fn waited_for_a_core_ms(pid: i32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let named = |task: &std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).unwrap();
        name.trim() == "shard-0"
    };
    let shard = tasks.into_iter().find(named).unwrap();
    let figures = std::fs::read_to_string(shard.join("schedstat")).unwrap();
    let waited = figures.split_whitespace().nth(1).unwrap();
    waited.parse::<u64>().unwrap() / 1_000_000
}

fn answer(peer: &mut Peer) -> PartitionProduceResponse {
    let answer = peer.connection.receive_as(Instant::now() + PATIENCE);
    let mut answer: ProduceResponse = answer.unwrap();
    let mut topic = answer.responses.remove(0);
    topic.partition_responses.remove(0)
}

#[test]
fn a_bomb_in_any_codec_is_answered_like_any_batch_while_others_are_served() {
    for codec in CODECS {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), &[]);
        let mut good = Peer::of(&broker);
        good.create("bombed", 1, &[("max.message.bytes", "16777216")]);
        good.create("t", 1, &[]);
        let timestamp = now_ms() - 10_000;
        let whole = bomb(codec, timestamp);
        let mut bomber = Peer::of(&broker);
        let begun = Instant::now();
        for records in [whole.clone(), batch(&["a"]), rotten(&whole), batch(&["b"])] {
            let request = produce_request("bombed", 0, records, -1);
            bomber.connection.send(PRODUCE, &request).unwrap();
        }
        let mut served = 0;
        let first = loop {
            assert_eq!(good.store("t", 0, &["small"]), served);
            served += 1;
            // Silence is an error here.
            let _ = bomber
                .connection
                .read_some("an answer", Duration::from_millis(1));
            if let Some(first) = bomber.connection.arrived().unwrap() {
                break first.read::<ProduceResponse>().unwrap();
            }
            assert!(begun.elapsed() < PATIENCE);
        };
        let first = &first.responses[0].partition_responses[0];
        assert_eq!(
            (first.error_code, first.base_offset.0),
            (ErrorCode::NONE, 0)
        );
        let told: Vec<_> = (0..3).map(|_| answer(&mut bomber)).collect();
        let codes: Vec<i16> = told.iter().map(|one| one.error_code.0).collect();
        assert_eq!(codes, [0, ErrorCode::INVALID_RECORD.0, 0], "{codec:?}");
        assert_eq!((told[0].base_offset.0, told[2].base_offset.0), (2, 3));
        assert_eq!(good.offset("bombed", 0, timestamp), Ok(0));
        assert_eq!(good.offset("bombed", 0, timestamp + 1), Ok(1));
        let waited = waited_for_a_core_ms(broker.pid());
        let log = broker.stop();
        // For whoever measures: with a release build in OTTLA_BIN.
        let measured = log.lines().filter(|line| line.contains("longest_turn"));
        let sent = whole.len();
        println!("{codec:?}: {sent} bytes, {served} requests of another client meanwhile");
        println!("  the shard was ready to run and had no core for {waited} ms in all");
        measured.for_each(|line| println!("  {line}"));
    }
}
