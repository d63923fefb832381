//! Bytes that no client should send: they cost their sender its connection, and nobody else anything.

use std::time::Instant;

use ottla::wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use ottla::wire::produce::ProduceResponse;
use ottla::wire::{ErrorCode, KStr};

use crate::process::{Broker, PATIENCE};
use crate::talk::{PRODUCE, Peer, Raw, batch, frame_of, produce_request};

/// A frame around a header (no client id) and a body.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    inner.extend(key.to_be_bytes());
    inner.extend(version.to_be_bytes());
    inner.extend(7i32.to_be_bytes());
    inner.extend((-1i16).to_be_bytes());
    inner.extend(body);
    sized(&inner)
}

fn sized(inner: &[u8]) -> Vec<u8> {
    let mut frame = i32::try_from(inner.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(inner);
    frame
}

/// Small deterministic numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll().to_be_bytes()[3]).collect()
    }
}

/// Rubbish by name.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let giant = i32::MAX.to_be_bytes();
    vec![
        ("a size of zero", 0i32.to_be_bytes().to_vec()),
        ("a size of -1", (-1i32).to_be_bytes().to_vec()),
        ("the smallest size", i32::MIN.to_be_bytes().to_vec()),
        ("the largest size", giant.to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: example\r\n\r\n".to_vec()),
        (
            "a TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("a header cut short", sized(&[0, 3, 0])),
        ("an unknown key", frame(999, 0, &[])),
        ("a negative key", frame(-1, 0, &[])),
        ("an unknown version", frame(3, 99, &[])),
        ("a negative version", frame(3, -1, &[])),
        ("Produce below its first version", frame(0, 2, &[0; 40])),
        ("a body cut short", frame(3, 1, &[0, 0])),
        ("an array of 2^31-1 topics", frame(3, 1, &giant)),
        (
            "a string longer than its frame",
            frame(3, 1, &[0, 0, 0, 1, 0x7f, 0xff]),
        ),
        (
            "a negative string where there is no null",
            frame(3, 1, &[0, 0, 0, 1, 0xff, 0xff]),
        ),
        (
            "a compact array without end",
            frame(3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        (
            "a varint that never ends",
            frame(3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "tagged fields without end",
            frame(18, 3, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        ("records longer than their frame", {
            let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b't'];
            body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
            frame(0, 3, &body)
        }),
    ]
}

#[test]
fn rubbish_closes_its_connection_with_one_line_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path(), &[]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    let before = broker.memory_kib("VmRSS");
    for (number, (name, bytes)) in rubbish().into_iter().enumerate() {
        let mut bad = Raw::to(&broker.address());
        bad.say(&bytes);
        assert_eq!(bad.hear_out(), b"", "{name}");
        let peer = bad.stream.local_addr().unwrap().to_string();
        let line = broker.logged(&["closing a connection", &peer]);
        assert!(line.contains("INFO"), "{name}: {line}");
        let lines = broker.log().matches(&peer).count();
        assert_eq!(lines, 1, "{name}: {}", broker.log());
        assert_eq!(good.store("t", 0, &[name]), number as i64);
    }
    let grown = broker.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    assert!(!broker.has_ended());
    broker.stop();
}

#[test]
fn random_bytes_and_broken_requests_harm_nobody() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path(), &["-o", "auto.create.topics.enable=false"]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    let address = broker.address();
    let whole = frame_of(
        PRODUCE,
        &produce_request("t", 0, batch(&["a", "b", "c"]), -1),
    );
    let mut before = 0;
    for round in 0..400u64 {
        let mut bad = Raw::to(&address);
        match round % 4 {
            // A frame of any bytes, of any key and version.
            0 => {
                let len = dice.roll() as usize % 300;
                bad.say(&sized(&dice.bytes(1 + len)));
            }
            // A served key and version with any body.
            1 => {
                let key = i16::try_from(dice.roll() % 76).unwrap();
                let version = i16::try_from(dice.roll() % 14).unwrap();
                let len = dice.roll() as usize % 200;
                bad.say(&frame(key, version, &dice.bytes(len)));
            }
            // A good request with a byte changed after its header.
            2 => {
                let mut bytes = whole.clone();
                let at = 14 + dice.roll() as usize % (bytes.len() - 14);
                bytes[at] ^= 1 << (dice.roll() % 8);
                bad.say(&bytes);
            }
            // Half of a good request.
            _ => bad.say(&whole[..dice.roll() as usize % whole.len()]),
        }
        drop(bad);
        if round == 100 {
            before = broker.memory_kib("VmRSS");
        }
        if round % 20 == 0 {
            good.store("t", 0, &["good"]);
        }
    }
    let stored = good.read("t", 0, 0);
    assert_eq!(stored.iter().filter(|value| *value == "good").count(), 20);
    let grown = broker.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    assert!(!broker.has_ended());
    broker.stop();
}

#[test]
fn a_batch_with_a_bad_checksum_is_refused_and_the_connection_stays() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut peer = Peer::of(&broker);
    peer.create("t", 1, &[]);
    let mut bytes = batch(&["rotten"]).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let answer = peer.produce("t", 0, bytes.into());
    assert_eq!(answer.error_code, ErrorCode::CORRUPT_MESSAGE);
    assert_eq!(peer.store("t", 0, &["sound"]), 0);
    assert_eq!(peer.read("t", 0, 0), ["sound"]);
    let answer = peer.produce("t", 0, bytes::Bytes::new());
    assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD);
    assert_eq!(peer.store("t", 0, &["sound"]), 1);
}

#[test]
fn api_versions_of_a_version_nobody_knows_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut raw = Raw::to(&broker.address());
    raw.say(&frame(18, 99, &[0]));
    let answer = raw.hear_frame();
    // Correlation id, then error 35 and one row for key 18, in the form of version 0.
    assert_eq!(answer[..6], [0, 0, 0, 7, 0, 35]);
    assert_eq!(answer[6..12], [0, 0, 0, 1, 0, 18]);
    // The connection is good for more.
    let request = ApiVersionsRequest {
        client_software_name: KStr::from("test"),
        client_software_version: KStr::from("1"),
    };
    raw.say(&frame_of(3, &request));
    let again: ApiVersionsResponse = raw.hear(3);
    assert!(again.error_code.is_none() && again.api_keys.len() > 10);
}

#[test]
fn requests_before_the_rubbish_are_answered_before_the_connection_closes() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    for rubbish in [frame(999, 0, &[]), 0i32.to_be_bytes().to_vec()] {
        let produce = frame_of(PRODUCE, &produce_request("t", 0, batch(&["a"]), -1));
        let mut raw = Raw::to(&broker.address());
        raw.say(&[produce.clone(), produce, rubbish].concat());
        for _ in 0..2 {
            let answer: ProduceResponse = raw.hear(PRODUCE);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, ErrorCode::NONE);
        }
        assert_eq!(raw.hear_out(), b"");
    }
    assert_eq!(good.read("t", 0, 0).len(), 4);
}

#[test]
fn a_client_that_goes_in_the_middle_of_everything_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut good = Peer::of(&broker);
    good.create("t", 1, &[]);
    let descriptors = || {
        let path = format!("/proc/{}/fd", broker.pid());
        std::fs::read_dir(path).unwrap().count()
    };
    good.store("t", 0, &["x"]);
    let before = descriptors();
    let metadata = frame_of(1, &MetadataRequest::default());
    for _ in 0..200 {
        let mut poll = Peer::of(&broker);
        poll.ask("t", 0, crate::talk::LONG_POLL.at(1_000_000));
        poll.ask("t", 0, crate::talk::LONG_POLL.at(1));
        let mut raw = Raw::to(&broker.address());
        raw.say(&metadata);
        raw.say(&metadata[..9]);
    }
    // Their sockets close with the turns that follow: ask until all are gone.
    let until = Instant::now() + PATIENCE;
    while descriptors() > before + 2 && Instant::now() < until {
        good.metadata(None);
    }
    assert!(descriptors() <= before + 2, "{} of {before}", descriptors());
}
