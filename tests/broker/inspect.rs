//! `ottla inspect` on directories that real brokers wrote: quiet on what is well, and every kind of
//! damage named with its file, its place and what it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use ottla::inspect::verify::{Report, verify};
use ottla::inspect::{Finding, Verdict};

use crate::process::{Broker, program};
use crate::talk::{Cluster, Peer, batch};

/// Batches of the first partition: with 20,000 bytes each they make three segments.
const BATCHES: usize = 120;

fn report(dir: &Path) -> Report {
    verify(dir, None, &mut |_, _| {}).unwrap()
}

/// Verification finds nothing wrong.
fn is_well(dir: &Path) -> Report {
    let report = report(dir);
    assert_eq!(report.findings.wrong(), 0, "{:#?}", report.findings.list);
    report
}

fn store(peer: &mut Peer) {
    peer.create(
        "t",
        2,
        &[("segment.bytes", "1048576"), ("retention.ms", "-1")],
    );
    let producer = peer.producer();
    let value = "x".repeat(20_000);
    for sequence in 0..i32::try_from(BATCHES).unwrap() {
        let answer = peer.produce("t", 0, producer.batch(sequence, &[&value]));
        assert!(answer.error_code.is_none());
        if sequence % 8 == 0 {
            peer.store("t", 1, &["small", "and", "smaller"]);
        }
    }
}

/// A directory with three segments, ended in order.
fn closed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    store(&mut Peer::of(&broker));
    broker.stop();
    dir
}

/// The same, killed while the journal holds what the segments lack.
fn killed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    store(&mut Peer::of(&broker));
    broker.kill();
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Files of a partition with this ending, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    found
}

/// Where batches begin: each says how long it is.
fn batches(segment: &Path) -> Vec<u64> {
    let bytes = fs::read(segment).unwrap();
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(head) = bytes.get(at..at + 12) {
        let length = i32::from_be_bytes(head[8..].try_into().unwrap());
        if length == 0 {
            break;
        }
        found.push(at as u64);
        at += 12 + usize::try_from(length).unwrap();
    }
    found
}

/// Entries of a journal directory by sequence: file and position.
fn entries(journal: &Path) -> Vec<(u64, PathBuf, u64)> {
    let mut found = Vec::new();
    for file in files(journal, ".journal") {
        let bytes = fs::read(&file).unwrap();
        let mut at = 0;
        while let Some(head) = bytes
            .get(at..at + 64)
            .filter(|head| head.starts_with(b"ottlajnl"))
        {
            let sequence = u64::from_be_bytes(head[24..32].try_into().unwrap());
            found.push((sequence, file.clone(), at as u64));
            at += usize::try_from(u32::from_be_bytes(head[52..56].try_into().unwrap())).unwrap();
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn resize(path: &Path, len: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// A finding that must be there: file, place, verdict, and whether it is wrong.
type Expected = (PathBuf, Option<u64>, Verdict, bool);

/// Does `damage` to a copy; what it returns must be found there, and nothing else in other files.
fn case(whole: &Path, name: &str, damage: impl FnOnce(&Path) -> Vec<Expected>) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    copy(whole, &dir);
    let expected = damage(&dir);
    let found = report(&dir).findings.list;
    for (path, position, verdict, wrong) in &expected {
        let named = |f: &&Finding| {
            (&f.path, f.position, f.verdict, f.wrong) == (path, *position, *verdict, *wrong)
        };
        assert!(
            found.iter().any(|finding| named(&finding)),
            "{name}: no {verdict} at {position:?} of {} in {found:#?}",
            path.display()
        );
    }
    // A segment that is damaged may make its index files look wrong, and no others.
    let related = |a: &Path, b: &Path| a.with_extension("") == b.with_extension("");
    let strange = found.iter().find(|finding| {
        let known = |(path, ..): &Expected| related(path, &finding.path);
        finding.wrong && !expected.iter().any(known)
    });
    assert!(strange.is_none(), "{name}: {strange:#?}");
}

fn rotten(path: &Path, position: u64) -> Vec<Expected> {
    vec![(path.to_owned(), Some(position), Verdict::Rotten, true)]
}

#[test]
fn what_a_broker_writes_is_well_while_it_runs_when_it_is_killed_and_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_shards(2, dir.path(), &[]);
    let mut cluster = Cluster::of(&broker);
    cluster
        .any()
        .create("t", 4, &[("segment.bytes", "1048576")]);
    let leaders = cluster.leaders("t");
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (small, large) = ("y".repeat(3000), "z".repeat(300_000));
    let broker = thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..100_000 {
                rounds.store(round, Ordering::Relaxed);
                for (partition, leader) in leaders.iter().enumerate() {
                    let value = if round % 16 == 15 { &large } else { &small };
                    let peer = cluster.peers.get_mut(leader).unwrap();
                    let request = crate::talk::produce_request(
                        "t",
                        i32::try_from(partition).unwrap(),
                        batch(&[value]),
                        -1,
                    );
                    let stored = peer.connection.call_at(crate::talk::PRODUCE, &request);
                    if stored.is_err() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        // Three segments of each partition are under way.
        while rounds.load(Ordering::Relaxed) < 150 {
            let report = is_well(dir.path());
            assert_eq!(report.in_use_by, Some(u32::try_from(broker.pid()).unwrap()));
        }
        broker.kill();
        stop.store(true, Ordering::Relaxed);
        is_well(dir.path())
    });
    assert_eq!((broker.in_use_by, broker.is_closed), (None, false));
    assert!(broker.journal_entries > 0);
    let broker = Broker::start_shards(3, dir.path(), &[]);
    let recovered = is_well(dir.path());
    assert!(recovered.verified.batches > 0);
    broker.stop();
    let ended = is_well(dir.path());
    assert!(ended.is_closed, "{ended:?}");
    assert!(ended.verified.segments > 4, "{:?}", ended.verified);
    assert!(ended.findings.list.is_empty(), "{:#?}", ended.findings.list);
}

#[test]
fn damage_to_batches_is_named_with_file_place_and_verdict() {
    let dir = closed();
    let whole = is_well(dir.path());
    assert!(whole.is_closed && whole.findings.list.is_empty());
    let segments = |dir: &Path| files(&dir.join("t-0"), ".log");
    assert!(segments(dir.path()).len() >= 3);
    case(dir.path(), "a byte of a batch in a sealed segment", |dir| {
        let path = &segments(dir)[0];
        let at = batches(path)[5];
        flip(path, at + 500);
        rotten(path, at)
    });
    case(
        dir.path(),
        "a base offset, which no checksum covers",
        |dir| {
            let path = &segments(dir)[1];
            let at = batches(path)[3];
            flip(path, at + 7);
            rotten(path, at)
        },
    );
    case(
        dir.path(),
        "a leader epoch, which no checksum covers",
        |dir| {
            let path = &segments(dir)[1];
            let at = batches(path)[3];
            flip(path, at + 15);
            rotten(path, at)
        },
    );
    case(dir.path(), "a byte of a batch in the last segment", |dir| {
        let path = &segments(dir)[2];
        let at = *batches(path).last().unwrap();
        flip(path, at + 100);
        rotten(path, at)
    });
    case(dir.path(), "the last segment cut short", |dir| {
        let path = &segments(dir)[2];
        let at = *batches(path).last().unwrap();
        resize(path, len(path) - 10);
        rotten(path, at)
    });
    case(dir.path(), "the last segment cut behind a batch", |dir| {
        let path = &segments(dir)[2];
        let at = *batches(path).last().unwrap();
        resize(path, at);
        rotten(path, at)
    });
    case(dir.path(), "a sealed segment cut short", |dir| {
        let path = &segments(dir)[0];
        let at = *batches(path).last().unwrap();
        resize(path, len(path) - 10);
        rotten(path, at)
    });
    for place in [0, 2] {
        case(dir.path(), "a segment extended with zeros", |dir| {
            let path = &segments(dir)[place];
            let end = len(path);
            resize(path, end + 10_000);
            vec![(path.clone(), Some(end), Verdict::Torn, true)]
        });
    }
    case(dir.path(), "two segments swapped", |dir| {
        let (a, b) = (&segments(dir)[0], &segments(dir)[1]);
        let aside = a.with_extension("aside");
        fs::rename(a, &aside).unwrap();
        fs::rename(b, a).unwrap();
        fs::rename(&aside, b).unwrap();
        [rotten(a, 0), rotten(b, 0)].concat()
    });
    case(dir.path(), "the last segment gone", |dir| {
        let gone = segments(dir).pop().unwrap();
        fs::remove_file(&gone).unwrap();
        let before = segments(dir).pop().unwrap();
        let end = len(&before);
        rotten(&before, end)
    });
    case(dir.path(), "a partition gone", |dir| {
        fs::remove_dir_all(dir.join("t-1")).unwrap();
        vec![(dir.join("t-1"), None, Verdict::Missing, true)]
    });
}

#[test]
fn damage_to_indexes_and_small_files_is_named_with_file_place_and_verdict() {
    let dir = closed();
    let partition = |dir: &Path| dir.join("t-0");
    for (ending, entry) in [(".index", 8), (".timeindex", 12)] {
        for place in [0, 2] {
            case(dir.path(), "an index entry", |dir| {
                let path = &files(&partition(dir), ending)[place];
                let at = len(path) / entry / 2 * entry;
                flip(path, at + entry - 1);
                rotten(path, at)
            });
        }
        case(dir.path(), "an index cut short", |dir| {
            let path = &files(&partition(dir), ending)[0];
            let at = len(path) - entry;
            resize(path, at + 3);
            rotten(path, at)
        });
        case(dir.path(), "an index of zeros behind its entries", |dir| {
            let path = &files(&partition(dir), ending)[0];
            let at = len(path);
            resize(path, at + 1200);
            rotten(path, at)
        });
        case(dir.path(), "an index deleted", |dir| {
            let path = files(&partition(dir), ending).remove(0);
            fs::remove_file(&path).unwrap();
            vec![(path, None, Verdict::Missing, true)]
        });
    }
    case(dir.path(), "a producer snapshot", |dir| {
        let path = files(&partition(dir), ".snapshot").pop().unwrap();
        flip(&path, 20);
        rotten(&path, 2)
    });
    case(dir.path(), "a producer's sequence in a snapshot", |dir| {
        let path = files(&partition(dir), ".snapshot").pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[23] ^= 1;
        let sum = ottla::wire::record::crc::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&sum.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        rotten(&path, 10)
    });
    case(dir.path(), "the epochs", |dir| {
        let path = partition(dir).join("leader-epoch-checkpoint");
        fs::write(&path, "0\n2\n0 0\n").unwrap();
        rotten(&path, 2)
    });
    case(dir.path(), "a checkpoint", |dir| {
        let path = dir.join("journal.0/checkpoint");
        flip(&path, 30);
        rotten(&path, 8)
    });
    case(dir.path(), "metadata in front of whole frames", |dir| {
        let path = dir.join("metadata.log");
        flip(&path, 30);
        rotten(&path, 0)
    });
    case(dir.path(), "the end of the metadata", |dir| {
        let path = dir.join("metadata.log");
        let end = len(&path);
        fs::write(
            &path,
            [fs::read(&path).unwrap(), b"OTM1\x20\0\0\0".to_vec()].concat(),
        )
        .unwrap();
        vec![(path, Some(end), Verdict::Torn, true)]
    });
    case(dir.path(), "something that is no file", |dir| {
        let path = partition(dir).join("leader-epoch-checkpoint");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        vec![(path, None, Verdict::Unreadable, true)]
    });
}

#[test]
fn damage_to_a_journal_is_torn_at_its_end_and_rotten_before_it() {
    let dir = killed();
    is_well(dir.path());
    let journal = |dir: &Path| entries(&dir.join("journal.0"));
    let count = journal(dir.path()).len();
    assert!(count > 20, "{count}");
    case(dir.path(), "an entry in the middle", |dir| {
        let (_, path, at) = &journal(dir)[count / 2];
        flip(path, at + 300);
        rotten(path, *at)
    });
    case(
        dir.path(),
        "the first byte of an entry in the middle",
        |dir| {
            let (_, path, at) = &journal(dir)[count - 5];
            flip(path, *at);
            rotten(path, *at)
        },
    );
    case(dir.path(), "the last entry", |dir| {
        let (_, path, at) = &journal(dir)[count - 1];
        flip(path, at + 100);
        vec![(path.clone(), Some(*at), Verdict::Torn, false)]
    });
    let dir = closed();
    case(
        dir.path(),
        "the last entry of a broker that ended in order",
        |dir| {
            let entries = journal(dir);
            let (_, path, at) = entries.last().unwrap();
            flip(path, at + 100);
            rotten(path, *at)
        },
    );
}

fn inspect(args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("inspect").args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_command_exits_1_when_something_is_wrong_and_programs_can_read_what() {
    let dir = closed();
    let data = dir.path().to_str().unwrap();
    let segment = files(&dir.path().join("t-0"), ".log").remove(0);
    let journal = dir.path().join("journal.0");
    let (file, journal) = (segment.to_str().unwrap(), journal.to_str().unwrap());
    let shown: [(&[&str], &str); 5] = [
        (&["data", data], "t-0"),
        (&["segment", file], "ends behind a batch"),
        (&["segment", file, "--records"], "value \"xxx"),
        (&["journal", journal], "whole"),
        (&["verify", data], "0 wrong"),
    ];
    for (args, word) in shown {
        let output = inspect(args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert!(text.contains(word), "{args:?}: {text}");
        let json = inspect(&[args, &["--json"]].concat());
        assert!(lines(&json).iter().all(|line| line["kind"].is_string()));
    }
    let data_lines = lines(&inspect(&["data", data, "--json"]));
    let first = data_lines
        .iter()
        .find(|line| line["kind"] == "partition")
        .unwrap();
    assert_eq!(
        (first["topic"].as_str(), first["next_offset"].as_u64()),
        (Some("t"), Some(BATCHES as u64))
    );
    assert_eq!(
        (first["producers"].as_u64(), first["segments"].as_u64()),
        (Some(1), Some(3))
    );
    let at = batches(&segment)[4];
    flip(&segment, at + 200);
    for args in [
        &["verify", data, "--json"][..],
        &["segment", file, "--json"],
    ] {
        let output = inspect(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let named = lines(&output).into_iter().any(|line| {
            let rotten = line["verdict"] == "rotten" || line["crc_ok"] == false;
            rotten && line["position"] == at
        });
        assert!(named, "{args:?}");
    }
    assert_eq!(
        inspect(&["verify", "/nowhere/at/all"]).status.code(),
        Some(1)
    );
}

/// What Kafka keeps in a log directory is enough: its names, no journal, no metadata of ours.
#[test]
fn a_plain_log_directory_is_read_without_ottlas_files() {
    let dir = closed();
    let plain = tempfile::tempdir().unwrap();
    copy(&dir.path().join("t-0"), &plain.path().join("t-0"));
    fs::write(plain.path().join(".kafka_cleanshutdown"), "{\"version\":0}").unwrap();
    let points = plain.path().join("recovery-point-offset-checkpoint");
    fs::write(&points, "0\n1\nt 0 120\n").unwrap();
    let report = is_well(plain.path());
    assert!(!report.is_ottla && report.is_closed && report.verified.segments >= 3);
    fs::write(&points, "0\n2\nt 0 120\n").unwrap();
    let path = &files(&plain.path().join("t-0"), ".log")[1];
    let at = batches(path)[1];
    flip(path, at + 90);
    case(plain.path(), "Kafka's", |dir| {
        let segment = dir.join("t-0").join(path.file_name().unwrap());
        let points = dir.join("recovery-point-offset-checkpoint");
        [rotten(&segment, at), rotten(&points, 2)].concat()
    });
}
