//! Bounds that settings draw: past one the broker pushes back, or closes that one connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::wire::fetch::FetchResponse;
use ottla::wire::messages::{MetadataRequest, MetadataResponse};
use ottla::wire::produce::ProduceResponse;
use ottla::wire::{ErrorCode, Message as _};

use crate::process::{Broker, PATIENCE};
use crate::talk::{
    FETCH, LONG_POLL, PRODUCE, Peer, Raw, batch, fetch_request, frame_of, from, produce_request,
};

fn start(settings: &[&str]) -> (tempfile::TempDir, Broker) {
    let dir = tempfile::tempdir().unwrap();
    let args: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["-o", *setting])
        .collect();
    let broker = Broker::start(dir.path(), &args);
    (dir, broker)
}

/// A Metadata request of version 1 whose frame says `size`.
fn metadata_of_size(size: i32) -> Vec<u8> {
    let mut frame = frame_of(1, &MetadataRequest::default());
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame.resize(4 + usize::try_from(size).unwrap(), 0);
    frame
}

#[test]
fn a_frame_above_socket_request_max_bytes_closes_its_connection() {
    let (_dir, broker) = start(&["socket.request.max.bytes=10000"]);
    let mut raw = Raw::to(&broker.address());
    raw.say(&metadata_of_size(10_000));
    let answer: MetadataResponse = raw.hear(1);
    assert_eq!(answer.brokers.len(), 1);
    raw.say(&metadata_of_size(10_001)[..4]);
    assert_eq!(raw.hear_out(), b"");
    broker.logged(&["closing a connection", "10001", "too large"]);
}

#[test]
fn connections_above_max_connections_are_closed_and_those_below_are_not() {
    let (_dir, broker) = start(&["max.connections=3"]);
    let mut open: Vec<Peer> = (0..3).map(|_| Peer::of(&broker)).collect();
    assert_eq!(Raw::to(&broker.address()).hear_out(), b"");
    for peer in &mut open {
        peer.metadata(None);
    }
    // One goes, another may come.
    drop(open.pop());
    comes_in(&broker.address());
    for peer in &mut open {
        peer.metadata(None);
    }
}

/// Connects until there is room: a connection that ended is gone a turn later.
fn comes_in(address: &str) -> Peer {
    let until = Instant::now() + PATIENCE;
    loop {
        match Peer::try_to(address) {
            Ok(peer) => return peer,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
}

#[test]
fn an_address_has_its_own_limit() {
    let (_dir, broker) = start(&[
        "max.connections.per.ip=1",
        "max.connections.per.ip.overrides=127.0.0.2:2,localhost:3",
    ]);
    // localhost is 127.0.0.1, from where these come.
    let open: Vec<Peer> = (0..3).map(|_| Peer::of(&broker)).collect();
    assert_eq!(Raw::to(&broker.address()).hear_out(), b"");
    broker.logged(&["connection refused", "127.0.0.1"]);
    drop(open);

    let from_elsewhere = |last: u8| Raw::between([127, 0, 0, last], &broker.address());
    let request = frame_of(1, &MetadataRequest::default());
    for (last, room) in [(2, 2), (3, 1)] {
        let mut open: Vec<Raw> = (0..room).map(|_| from_elsewhere(last)).collect();
        assert_eq!(from_elsewhere(last).hear_out(), b"");
        for raw in &mut open {
            raw.say(&request);
            let answer: MetadataResponse = raw.hear(1);
            assert_eq!(answer.brokers.len(), 1);
        }
    }
}

/// Two shards and a place to talk to each.
fn start_two(settings: &[&str]) -> (tempfile::TempDir, Broker, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let settings: Vec<&str> = settings.iter().flat_map(|s| ["-o", s]).collect();
    let broker = Broker::start_shards(2, dir.path(), &settings);
    let ports = [broker.ready.first_port, broker.ready.last_port];
    let places = ports.map(|port| format!("127.0.0.1:{port}"));
    (dir, broker, places)
}

#[test]
fn all_shards_count_connections_together() {
    for limit in ["max.connections=3", "max.connections.per.ip=3"] {
        let (_dir, broker, [one, other]) = start_two(&[limit]);
        let mut open = vec![Peer::to(&one), Peer::to(&one), Peer::to(&other)];
        for place in [&one, &other] {
            assert_eq!(Raw::to(place).hear_out(), b"", "{limit}");
        }
        broker.logged(&["connection refused", limit.split('=').next().unwrap()]);
        // One goes on one shard, another may come on the other.
        drop(open.remove(0));
        open.push(comes_in(&other));
        for peer in &mut open {
            peer.metadata(None);
        }
        assert_eq!(Raw::to(&one).hear_out(), b"", "{limit}");
    }
}

#[test]
fn a_quiet_connection_closes_and_one_that_waits_for_its_answer_does_not() {
    let (_dir, broker) = start(&["connections.max.idle.ms=400"]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let mut poll = Peer::of(&broker);
    poll.ask("t", 0, LONG_POLL);
    let mut quiet = Raw::to(&broker.address());
    let mut half = Raw::to(&broker.address());
    half.say(&metadata_of_size(100)[..50]);
    let begun = Instant::now();
    assert_eq!(quiet.hear_out(), b"");
    assert_eq!(half.hear_out(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let mut peer = Peer::of(&broker);
    peer.store("t", 0, &["a"]);
    assert_eq!(poll.heard().high_watermark.0, 1);
}

#[test]
fn a_shard_never_holds_much_more_of_requests_than_it_may() {
    let (_dir, broker) = start(&[
        "ottla.request.memory.bytes=4194304",
        // What the kernel holds already is received before a client is stopped.
        "socket.receive.buffer.bytes=102400",
    ]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    good.store("t", 0, &["a"]);
    let before = broker.memory_kib("VmRSS");
    // 120 clients each begin a request of 8 MB, more than any socket takes for them.
    let request = metadata_of_size(8_000_000);
    let address = broker.address();
    let (begun, begins) = std::sync::mpsc::channel();
    let clients: Vec<_> = (0..120)
        .map(|_| {
            let (request, address, begun) = (request.clone(), address.clone(), begun.clone());
            std::thread::spawn(move || {
                let mut raw = Raw::to(&address);
                raw.say(&request[..100_000]);
                begun.send(()).unwrap();
                raw.say(&request[100_000..]);
                let answer: MetadataResponse = raw.hear(1);
                assert_eq!(answer.brokers.len(), 1);
            })
        })
        .collect();
    for _ in 0..120 {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    // Somebody with a small request is served meanwhile, and everybody in the end.
    for _ in 0..50 {
        good.store("t", 0, &["b"]);
    }
    for client in clients {
        client.join().unwrap();
    }
    // All at once would be 960 MB; buffers that double as they grow, and an allocator that gives
    // back late, take a multiple of what is counted.
    let peak = broker.memory_kib("VmHWM").saturating_sub(before);
    assert!(peak < 400 * 1024, "{peak} KiB at most");
}

#[test]
fn clients_that_stall_in_the_middle_of_large_requests_do_not_stop_the_others() {
    let (_dir, broker) = start(&["ottla.request.memory.bytes=1048576"]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    let request = metadata_of_size(2_000_000);
    let mut stalled: Vec<Raw> = (0..3).map(|_| Raw::to(&broker.address())).collect();
    for raw in &mut stalled {
        raw.say(&request[..900_000]);
    }
    let value = "x".repeat(50_000);
    for _ in 0..20 {
        good.store("t", 0, &[&value]);
    }
    // A large request waits until the stalled ones have had their time, and is served then.
    let mut patient = Raw::to(&broker.address());
    patient.say(&request);
    let answer: MetadataResponse = patient.hear(1);
    assert_eq!(answer.brokers.len(), 1);
    broker.logged(&["closing a connection", "it stalls in a request"]);
}

#[test]
fn requests_that_wait_for_memory_go_on_when_others_are_done() {
    // Far more than the budget at once, from several clients, each far ahead of its answers.
    let (_dir, broker) = start(&["ottla.request.memory.bytes=1048576"]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let value = "x".repeat(200_000);
    let request = produce_request("t", 0, batch(&[&value]), -1);
    let address = broker.address();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (address, request) = (address.clone(), request.clone());
            std::thread::spawn(move || {
                let mut peer = Peer::to(&address);
                for _ in 0..20 {
                    peer.connection.send(PRODUCE, &request).unwrap();
                }
                for _ in 0..20 {
                    let deadline = Instant::now() + PATIENCE;
                    let answer: ProduceResponse = peer.connection.receive_as(deadline).unwrap();
                    let partition = &answer.responses[0].partition_responses[0];
                    assert_eq!(partition.error_code, ErrorCode::NONE);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(peer.offset("t", 0, -1), Ok(160));
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let (_dir, broker) = start(&["ottla.connection.pipeline.max=4"]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let deadline = || Instant::now() + PATIENCE;
    for round in 0..10 {
        for value in ["a", "b", "c", "d", "e", "f"] {
            let request = produce_request("t", 0, batch(&[value]), -1);
            peer.connection.send(PRODUCE, &request).unwrap();
        }
        peer.connection
            .send(FETCH, &fetch_request("t", 0, from(round * 6)))
            .unwrap();
        peer.connection
            .send(1, &MetadataRequest::default())
            .unwrap();
        for number in 0..6 {
            // An answer out of order is an error of this call.
            let answer: ProduceResponse = peer.connection.receive_as(deadline()).unwrap();
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(partition.base_offset.0, round * 6 + number);
        }
        let answer: FetchResponse = peer.connection.receive_as(deadline()).unwrap();
        // The fetch came after the six: it sees them all.
        assert_eq!(
            answer.responses[0].partitions[0].high_watermark.0,
            round * 6 + 6
        );
        let answer = peer
            .connection
            .receive(MetadataRequest::API.name, deadline())
            .unwrap();
        assert!(answer.read::<MetadataResponse>().is_ok());
    }
}

#[test]
fn a_long_poll_holds_its_own_connection_only() {
    let (_dir, broker) = start(&[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 2, &[]);
    let mut poll = Peer::of(&broker);
    poll.ask("t", 0, LONG_POLL);
    poll.connection
        .send(1, &MetadataRequest::default())
        .unwrap();
    for number in 0..20 {
        assert_eq!(peer.store("t", 1, &["other"]), number);
    }
    assert_eq!(poll.connection.in_flight(), 2);
    assert!(poll.connection.arrived().unwrap().is_none());
    peer.store("t", 0, &["it"]);
    assert_eq!(poll.heard().high_watermark.0, 1);
    let metadata: MetadataResponse = poll
        .connection
        .receive_as(Instant::now() + PATIENCE)
        .unwrap();
    assert_eq!(metadata.brokers.len(), 1);
}

#[test]
fn a_client_that_does_not_take_its_answers_is_not_read_and_loses_nothing() {
    let (_dir, broker) = start(&[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let value = "x".repeat(900_000);
    for _ in 0..4 {
        peer.store("t", 0, &[&value]);
    }
    let before = broker.memory_kib("VmRSS");
    let mut deaf = Peer::of(&broker);
    for _ in 0..200 {
        deaf.ask("t", 0, from(0).up_to(4 << 20));
    }
    for number in 4..40 {
        assert_eq!(peer.store("t", 0, &["small"]), number);
    }
    let grown = broker.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    for _ in 0..200 {
        assert!(deaf.heard().records.unwrap().len() > 3_600_000);
    }
}

#[test]
fn acks_0_is_never_answered_and_an_error_closes_the_connection() {
    let (_dir, broker) = start(&["auto.create.topics.enable=false"]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let silent = |topic: &str, records: Bytes| produce_request(topic, 0, records, 0);
    for _ in 0..3 {
        let request = silent("t", batch(&["a"]));
        peer.connection.send_unanswered(PRODUCE, &request).unwrap();
    }
    // The next thing on the wire is the answer to this.
    assert_eq!(peer.metadata(None).topics.len(), 1);
    assert_eq!(peer.read("t", 0, 0), ["a", "a", "a"]);

    let mut rotten = batch(&["b"]).to_vec();
    *rotten.last_mut().unwrap() ^= 1;
    for request in [silent("nobody", batch(&["b"])), silent("t", rotten.into())] {
        let mut raw = Raw::to(&broker.address());
        raw.say(&frame_of(PRODUCE, &silent("t", batch(&["kept"]))));
        raw.say(&frame_of(PRODUCE, &request));
        assert_eq!(raw.hear_out(), b"");
    }
    let kept = peer.read("t", 0, 3);
    assert_eq!(kept, ["kept", "kept"]);
    // A good one does not close anything.
    let mut raw = Raw::to(&broker.address());
    raw.say(&frame_of(PRODUCE, &silent("t", batch(&["c"]))));
    assert!(raw.is_silent(Duration::from_millis(100)));
}
