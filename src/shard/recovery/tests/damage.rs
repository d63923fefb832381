//! Claims about what no crash does: rot, lost files, edited directories, other hands.

use super::*;

/// A disk after a life of acknowledged appends; nothing filled, nothing in flight.
fn journaled(seed: u64) -> (MemoryDisk, Oracle) {
    let (disk, oracle, _) = lived(seed, |_, _, _| Ok(()));
    (disk, oracle)
}

fn lived(
    seed: u64,
    end: impl FnOnce(&mut MiniShard, &mut Oracle, &mut Dice) -> io::Result<()>,
) -> (MemoryDisk, Oracle, Dice) {
    let mut dice = Dice(seed);
    let disk = MemoryDisk::new();
    let mut oracle = Oracle::default();
    let recovered = recover_on(&disk).expect("a first start");
    let mut shard = MiniShard::start(&disk, recovered).expect("a start");
    for _ in 0..3 {
        shard
            .append(&mut oracle, &mut dice, true)
            .expect("an append");
    }
    end(&mut shard, &mut oracle, &mut dice).expect("the rest of the life");
    disk.settle();
    (disk, oracle, dice)
}

fn letters(recovered: &Recovered) -> Vec<(TopicPartition, &'static str)> {
    let offline = recovered.offline.iter();
    offline
        .map(|offline| (offline.partition, offline.letter))
        .collect()
}

fn exists(disk: &MemoryDisk, parts: &[&str]) -> bool {
    disk.read(&path(parts)).is_ok()
}

fn aside(disk: &MemoryDisk) -> Vec<String> {
    let listed = disk
        .list(Path::new(DATA))
        .expect("the data directory")
        .into_iter();
    listed
        .map(|entry| entry.name)
        .filter(|name| name.contains(".quarantine."))
        .collect()
}

/// Cuts a file at `keep(its length)` and makes that durable.
fn shorten(disk: &MemoryDisk, file: &Path, keep: impl Fn(u64) -> u64) {
    let handle = disk.open(file, Open::Buffered).expect("the file");
    let len = disk.len(&handle).expect("its length");
    disk.set_len(&handle, keep(len)).expect("shortened");
    disk.settle();
}

#[test]
fn a_first_start_gives_nothing_and_leaves_a_checkpoint() {
    let disk = MemoryDisk::new();
    let recovered = recover_on(&disk).expect("a first start");
    assert!(recovered.partitions.is_empty() && recovered.notes.is_empty());
    assert_eq!(recovered.incarnation, (1 << 32) | 0x5eed);
    assert_eq!(recover_on(&disk).expect("a second").incarnation >> 32, 2);
}

#[test]
fn an_acknowledged_entry_that_rotted_takes_its_partitions_offline_and_no_others() {
    let (disk, oracle) = journaled(5);
    assert!(disk.rot(&path(&["journal.0", "0.journal"]), 700, 1));
    let recovered = recover_on(&disk).expect("others live");
    let offline = letters(&recovered);
    assert!(
        !offline.is_empty() && offline.len() < PARTITIONS.len(),
        "{offline:?}"
    );
    for (id, letter) in &offline {
        assert!(["B7", "T2"].contains(letter), "{letter}");
        assert!(!recovered.partitions.contains_key(id));
    }
    assert!(recovered.notes.iter().any(|note| note.letter == "E4"));
    for (id, partition) in &recovered.partitions {
        assert_eq!(partition.next_offset.0, oracle.acknowledged[id]);
    }
    assert_eq!(aside(&disk).len(), 1, "the journal is evidence");
    let again = recover_on(&disk).expect("a second start");
    assert!(again.offline.iter().all(|offline| offline.letter == "D7"));
    assert_eq!(again.offline.len(), offline.len(), "the quarantine lasts");
}

#[test]
fn an_operator_ends_a_quarantine_by_removing_its_file() {
    let (disk, _) = journaled(5);
    disk.rot(&path(&["journal.0", "0.journal"]), 700, 1);
    let recovered = recover_on(&disk).expect("others live");
    let first = &recovered.offline[0];
    let text = disk
        .read(&first.directory.join(QUARANTINE))
        .expect("written down");
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains(first.letter) && text.contains("remove this file"),
        "{text}"
    );
    disk.remove_file(&first.directory.join(QUARANTINE))
        .expect("removed");
    let again = recover_on(&disk).expect("a start");
    assert!(again.partitions.contains_key(&first.partition));
}

#[test]
fn an_acknowledged_entry_without_a_trace_takes_its_journals_partitions_offline() {
    let (disk, oracle) = journaled(5);
    assert!(disk.rot(&path(&["journal.0", "0.journal"]), 0, 1));
    let recovered = recover_on(&disk).expect("a start");
    assert_eq!(recovered.offline.len(), oracle.submitted.len());
    assert!(
        recovered
            .offline
            .iter()
            .all(|offline| offline.letter == "E5")
    );
    assert_eq!(aside(&disk).len(), 1);
}

#[test]
fn an_unacknowledged_entry_that_is_damaged_is_the_end_of_the_journal_and_nothing_more() {
    let (disk, oracle, _) = lived(5, |shard, oracle, dice| shard.append(oracle, dice, false));
    let journal = disk
        .read(&path(&["journal.0", "0.journal"]))
        .expect("the journal");
    let magic = journal
        .windows(8)
        .rposition(|bytes| bytes == b"ottlajnl")
        .expect("an entry");
    disk.rot(&path(&["journal.0", "0.journal"]), magic, 1);
    let recovered = recover_on(&disk).expect("a start");
    check(&disk, &recovered, &oracle, "torn end");
}

/// Fills one partition and checkpoints it, while the others keep the journal from being reused.
fn filled_one(shard: &mut MiniShard) -> io::Result<()> {
    shard.fill(id(1, 0), true)?;
    shard.checkpoint()
}

fn active_log(recovered_from: &MemoryDisk, directory: &str) -> PathBuf {
    let listed = recovered_from
        .list(&path(&[directory]))
        .expect("a partition");
    let mut logs = listed.iter().filter(|entry| entry.name.ends_with(".log"));
    path(&[directory, &logs.next_back().expect("a segment").name])
}

#[test]
fn a_segment_shorter_than_its_checkpoint_is_restored_while_the_journal_has_it() {
    let (disk, oracle, _) = lived(5, |shard, _, _| filled_one(shard));
    shorten(&disk, &active_log(&disk, "alpha-0"), |_| 100);
    let recovered = recover_on(&disk).expect("a start");
    check(&disk, &recovered, &oracle, "restored");
    assert!(
        recovered.notes.iter().any(|note| note.letter == "T1"),
        "{:?}",
        recovered.notes
    );
}

#[test]
fn a_segment_shorter_than_its_checkpoint_goes_offline_untouched_when_nobody_else_has_it() {
    let (disk, oracle, _) = lived(5, |shard, _, _| {
        for (topic, index) in PARTITIONS {
            shard.fill(id(topic, index), true)?;
        }
        shard.checkpoint()
    });
    let log = active_log(&disk, "alpha-0");
    shorten(&disk, &log, |_| 100);
    let before = disk.read(&log).expect("the segment");
    let recovered = recover_on(&disk).expect("others live");
    assert_eq!(letters(&recovered), vec![(id(1, 0), "T2")]);
    assert_eq!(disk.read(&log).expect("the segment"), before);
    let other = &recovered.partitions[&id(2, 0)];
    assert_eq!(other.next_offset.0, oracle.acknowledged[&id(2, 0)]);
    let offline = &recovered.offline[0];
    assert_eq!((&offline.path, offline.position), (&log, Some(0)));
    assert!(
        offline.message.contains("the checkpoint"),
        "{}",
        offline.message
    );
}

#[test]
fn rot_in_a_bypassed_run_that_a_mark_vouches_for_goes_offline() {
    let (disk, _, _) = lived(11, |shard, oracle, dice| {
        shard.bypass(oracle, dice)?;
        shard.append(oracle, dice, true)
    });
    // Without fills only the bypassed partition has bytes in its segments.
    let directory = ["alpha-0", "alpha-1", "beta-0"]
        .into_iter()
        .find(|directory| {
            let listed = disk.list(&path(&[directory])).expect("a partition");
            listed
                .iter()
                .any(|entry| entry.name.ends_with(".log") && entry.len > 0)
        });
    let directory = directory.expect("somebody bypassed");
    let log = active_log(&disk, directory);
    let len = disk.read(&log).expect("the segment").len();
    for byte in 0..len {
        disk.rot(&log, byte, 0xff);
    }
    let recovered = recover_on(&disk).expect("others live");
    let letters: Vec<&str> = letters(&recovered)
        .iter()
        .map(|(_, letter)| *letter)
        .collect();
    assert_eq!(letters, vec!["T2"], "{:?}", recovered.offline);
}

#[test]
fn deleted_topics_are_forgotten_and_their_directories_reported() {
    let (disk, oracle, _) = lived(5, |shard, _, _| shard.fill(id(2, 0), true));
    let mut topics = topics();
    topics.remove(&TopicId([2; 16]));
    let recovered = recover_topics(&disk, &topics).expect("a start");
    assert_eq!(recovered.strays, vec![path(&["beta-0"])]);
    assert!(
        recovered
            .partitions
            .keys()
            .all(|id| id.topic == TopicId([1; 16]))
    );
    for (id, partition) in &recovered.partitions {
        assert_eq!(partition.next_offset.0, oracle.acknowledged[id]);
    }
}

#[test]
fn a_topic_made_again_under_its_old_name_does_not_inherit_records() {
    let (disk, _, _) = lived(5, |shard, _, _| shard.fill(id(2, 0), true));
    let mut topics = topics();
    let beta = topics.remove(&TopicId([2; 16])).expect("beta");
    topics.insert(TopicId([9; 16]), beta);
    let recovered = recover_topics(&disk, &topics).expect("a start");
    assert!(!recovered.partitions.contains_key(&id(9, 0)));
    assert!(disk.list(&path(&["beta-0"])).is_err(), "the name is free");
    let moved = recovered.strays[0].display().to_string();
    assert!(
        moved.contains("beta-0.") && moved.ends_with("-stray"),
        "{moved}"
    );
}

#[test]
fn segments_that_no_topic_was_named_for_are_set_aside_and_not_served() {
    let (disk, oracle) = journaled(5);
    let mut topics = topics();
    let gamma = topics[&TopicId([2; 16])].clone();
    let name = "gamma".to_owned();
    topics.insert(TopicId([7; 16]), LiveTopic { name, ..gamma });
    let segment = ["gamma-0", "00000000000000000000.log"];
    disk.create_dir_all(&path(&segment[..1])).expect("made");
    disk.write_atomic(&path(&segment), b"records of others")
        .expect("written");
    let recovered = recover_topics(&disk, &topics).expect("a start");
    assert!(!recovered.partitions.contains_key(&id(7, 0)));
    assert!(recovered.offline.is_empty(), "{:?}", recovered.offline);
    let stray = recovered.strays[0].clone();
    assert!(stray.display().to_string().ends_with("-stray"), "{stray:?}");
    assert_eq!(
        disk.read(&stray.join(segment[1])).expect("untouched"),
        b"records of others"
    );
    for (id, partition) in &recovered.partitions {
        assert_eq!(partition.next_offset.0, oracle.acknowledged[id]);
    }
    // And it is told of at every start.
    let again = recover_topics(&disk, &topics).expect("a start");
    assert_eq!(again.strays, vec![stray]);
}

#[test]
fn a_directory_that_cannot_be_known_goes_offline_and_the_others_live() {
    for (file, letter) in [
        (PARTITION_METADATA, "D3"),
        ("00000000000000000000.log.swap", "D4"),
    ] {
        let (disk, _, _) = lived(5, |shard, _, _| shard.fill(id(1, 0), true));
        disk.write_atomic(&path(&["alpha-0", file]), b"?")
            .expect("written");
        let recovered = recover_on(&disk).expect("others live");
        assert_eq!(letters(&recovered), vec![(id(1, 0), letter)]);
        assert_eq!(aside(&disk).len(), 1, "its journaled batches are kept");
    }
}

#[test]
fn formats_of_the_future_are_refused_before_anything_is_changed() {
    let (disk, _) = journaled(5);
    disk.rot(&path(&["journal.0", "0.journal"]), 11, 3);
    let before = disk.snapshot();
    assert!(matches!(
        recover_on(&disk),
        Err(RecoveryError::Newer { version: 2, .. })
    ));
    assert!(before == disk.snapshot());
}

#[test]
fn an_unreadable_file_ends_recovery_with_its_name_and_loses_nothing() {
    let (disk, oracle, _) = lived(5, |shard, _, _| shard.fill(id(1, 0), true));
    let broken = disk.clone();
    let log = active_log(&disk, "alpha-0");
    broken.make_unreadable(&log);
    let error = recover_on(&broken).expect_err("unreadable is no verdict");
    assert!(
        error.to_string().contains(&log.display().to_string()),
        "{error}"
    );
    disk.make_readable();
    check(
        &disk,
        &recover_on(&disk).expect("a start"),
        &oracle,
        "mended",
    );
}

#[test]
fn a_full_disk_ends_recovery_and_loses_nothing() {
    let (disk, oracle) = journaled(5);
    for room in [0, 200, 1500, 4000, 6000] {
        disk.limit_room(Some(room));
        if recover_on(&disk).is_err() {
            disk.crash(room);
        }
        disk.limit_room(None);
        check(
            &disk,
            &recover_on(&disk).expect("room again"),
            &oracle,
            "room again",
        );
    }
}

/// The journals that a disk has, those that are being removed included.
fn journals_on(disk: &MemoryDisk) -> Vec<String> {
    let listed = disk.list(Path::new(DATA)).expect("the data directory");
    let names = listed.into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with("journal.")).collect()
}

#[test]
fn journals_of_shards_that_no_longer_exist_are_replayed_and_removed() {
    for (shards, left) in [(18, &["journal.17"][..]), (17, &[]), (1, &[])] {
        let (disk, oracle) = journaled(5);
        disk.rename(&path(&["journal.0"]), &path(&["journal.17"]))
            .expect("renamed");
        disk.settle();
        let recovered = recover_for(&disk, shards).expect("a start");
        check(&disk, &recovered, &oracle, "another shard");
        assert_eq!(journals_on(&disk), left, "{shards} shards");
    }
}

#[test]
fn a_journal_is_removed_only_when_nothing_in_it_counts_wherever_a_start_dies() {
    for after in 0..90 {
        let what = format!("cut after {after}");
        let (disk, oracle) = journaled(5);
        // Three shards, of which the last wrote; then one, which dies while it starts; then two.
        disk.rename(&path(&["journal.0"]), &path(&["journal.2"]))
            .expect("renamed");
        disk.settle();
        disk.cut_power_after(after);
        let one = recover_for(&disk, 1);
        if let Err(error) = &one {
            assert!(error.to_string().contains("power cut"), "{what}: {error}");
        }
        match after % 2 {
            0 => disk.restart(),
            _ => disk.crash(after * 31),
        }
        let recovered = recover_for(&disk, 2).expect("a start");
        check(&disk, &recovered, &oracle, &what);
        assert_eq!(journals_on(&disk), [""; 0], "{what}");
        if one.is_ok() {
            assert_eq!(recovered.summary.batches_replayed, 0, "{what}");
        }
    }
}

#[test]
fn rotten_checkpoints_cost_time_and_not_data() {
    for file in [&[CHECKPOINT][..], &["journal.0", CHECKPOINT][..]] {
        let (disk, oracle, _) = lived(5, |shard, _, _| filled_one(shard));
        assert!(disk.rot(&path(file), 20, 1));
        let recovered = recover_on(&disk).expect("a start");
        check(&disk, &recovered, &oracle, "rotten checkpoint");
        assert!(
            recovered
                .notes
                .iter()
                .any(|note| note.text.contains("not used"))
        );
    }
}

#[test]
fn missing_and_rotten_side_files_are_made_again() {
    for suffix in [".index", ".timeindex", ".snapshot", LEADER_EPOCHS] {
        let (disk, oracle, _) = lived(5, |shard, oracle, dice| {
            for _ in 0..12 {
                shard.append(oracle, dice, true)?;
                shard.fill(id(1, 0), true)?;
            }
            filled_one(shard)
        });
        for (file, content) in disk.snapshot() {
            let name = file.display().to_string();
            if name.contains("alpha-0") && name.ends_with(suffix) {
                if content.len() % 2 == 0 {
                    disk.remove_file(&file).expect("removed");
                } else {
                    disk.rot(&file, content.len() / 2, 0xff);
                }
            }
        }
        disk.settle();
        check(&disk, &recover_on(&disk).expect("a start"), &oracle, suffix);
    }
}

const LEADER_EPOCHS: &str = crate::log::names::LEADER_EPOCH_CHECKPOINT;

/// A directory as Kafka leaves it: no journal, no checkpoint of ours, its own files instead.
fn kafkas(clean: bool) -> (MemoryDisk, Oracle) {
    let (disk, oracle, _) = lived(5, |shard, oracle, dice| {
        for _ in 0..12 {
            shard.append(oracle, dice, true)?;
            for (topic, index) in PARTITIONS {
                shard.fill(id(topic, index), true)?;
            }
        }
        shard.checkpoint()
    });
    let recovered = recover_on(&disk).expect("trimmed as Kafka trims");
    disk.remove_dir_all(&path(&["journal.0"]))
        .expect("no journal");
    disk.remove_file(&path(&[CHECKPOINT]))
        .expect("no checkpoint");
    let mut points = format!("0\n{}\n", PARTITIONS.len());
    for (topic, index) in PARTITIONS {
        let name = &topics()[&TopicId([topic; 16])].name;
        let end = recovered.partitions[&id(topic, index)].next_offset;
        points.push_str(&format!("{name} {index} {end}\n"));
    }
    disk.write_atomic(&path(&[RECOVERY_POINT_CHECKPOINT]), points.as_bytes())
        .expect("written");
    if clean {
        disk.write_atomic(&path(&[CLEAN_SHUTDOWN]), b"{}")
            .expect("written");
    }
    disk.settle();
    (disk, oracle)
}

#[test]
fn a_directory_that_kafka_left_is_served() {
    for clean in [true, false] {
        let (disk, oracle) = kafkas(clean);
        let recovered = recover_on(&disk).expect("a start");
        check(&disk, &recovered, &oracle, "from Kafka");
        assert!(!exists(&disk, &[CLEAN_SHUTDOWN]));
        assert!(exists(&disk, &[CHECKPOINT]));
    }
}

#[test]
fn what_kafkas_recovery_point_vouches_for_is_not_cut() {
    let (disk, _) = kafkas(true);
    let log = active_log(&disk, "alpha-0");
    shorten(&disk, &log, |len| len - 1);
    let recovered = recover_on(&disk).expect("others live");
    assert_eq!(letters(&recovered), vec![(id(1, 0), "T2")]);
    assert!(
        recovered.offline[0]
            .message
            .contains("Kafka's recovery point")
    );
}

#[test]
fn an_old_kafka_checkpoint_says_nothing_once_ottla_has_its_own() {
    let (disk, oracle) = kafkas(true);
    recover_on(&disk).expect("adopted");
    let points = b"0\n1\nalpha 0 999999\n";
    disk.write_atomic(&path(&[RECOVERY_POINT_CHECKPOINT]), points)
        .expect("written");
    check(
        &disk,
        &recover_on(&disk).expect("a start"),
        &oracle,
        "ours counts",
    );
}
