//! Claims about recovery, on a disk in memory that loses power at every point.

mod damage;
mod rolls;
mod world;

use self::world::*;
use super::*;
use crate::devices::Open;
use crate::devices::memory_disk::MemoryDisk;
use crate::log::names::{SegmentFileKind, segment_file_name};
use crate::wire::record::{BatchHeader, BatchWalk};

fn path(parts: &[&str]) -> PathBuf {
    parts
        .iter()
        .fold(PathBuf::from(DATA), |path, part| path.join(part))
}

/// What the segment files of a partition hold, batch by batch.
fn stored(disk: &MemoryDisk, partition: &RecoveredPartition) -> Vec<(BatchHeader, Vec<u8>)> {
    let mut all = Vec::new();
    for segment in &partition.segments {
        let name = segment_file_name(segment.base_offset, SegmentFileKind::Log);
        let bytes = disk
            .read(&partition.directory.join(name))
            .expect("a segment");
        assert_eq!(
            bytes.len() as u64,
            segment.size_bytes,
            "trimmed to its true length"
        );
        let mut walked = 0;
        for (position, header) in BatchWalk::new(&bytes) {
            let batch = &bytes[position..position + header.size_bytes()];
            assert_eq!(position, walked);
            walked += batch.len();
            all.push((header, batch.to_vec()));
        }
        assert_eq!(walked, bytes.len(), "nothing but whole batches");
    }
    all
}

/// The promise: everything acknowledged is there, nothing is there that nobody sent.
fn check(disk: &MemoryDisk, recovered: &Recovered, oracle: &Oracle, what: &str) {
    assert_eq!(recovered.offline, vec![], "{what}");
    for (topic, index) in PARTITIONS {
        let id = id(topic, index);
        let acknowledged = oracle.acknowledged.get(&id).copied().unwrap_or(0);
        let Some(partition) = recovered.partitions.get(&id) else {
            assert_eq!(acknowledged, 0, "{what}: {id} is gone");
            continue;
        };
        let end = partition.next_offset.0;
        assert!(
            end >= acknowledged,
            "{what}: {id} ends at {end}, acknowledged {acknowledged}"
        );
        let batches = stored(disk, partition);
        let mut next = 0;
        for (header, bytes) in &batches {
            assert_eq!(header.base_offset.0, next, "{what}: {id}");
            let sent = oracle.submitted[&id]
                .get(&next)
                .expect("sent at this offset");
            assert!(sent.contains(bytes), "{what}: {id} at {next}");
            next = header.next_offset().0;
        }
        assert_eq!(next, end, "{what}");
        check_state(disk, partition, &batches, what);
    }
}

/// Epochs, producers and indexes are what the batches say.
fn check_state(
    disk: &MemoryDisk,
    partition: &RecoveredPartition,
    batches: &[(BatchHeader, Vec<u8>)],
    what: &str,
) {
    let mut epochs = LeaderEpochs::new();
    let mut producers = Producers::new(100, Offset(0));
    for (header, _) in batches {
        epochs.assign(header.leader_epoch, header.base_offset);
        producers.update(header, header.max_timestamp);
    }
    assert_eq!(partition.epochs, epochs, "{what}");
    assert_eq!(
        partition.producers.snapshot(),
        producers.snapshot(),
        "{what}"
    );
    for segment in &partition.segments {
        let base = segment.base_offset;
        let settings = active::index_settings(&topics()[&TopicId([1; 16])].settings);
        let mut indexes = SegmentIndexes::new(base, settings);
        let name = segment_file_name(base, SegmentFileKind::Log);
        let bytes = disk
            .read(&partition.directory.join(name))
            .expect("a segment");
        for (position, header) in BatchWalk::new(&bytes) {
            indexes.appended(&header, position as u32).expect("room");
        }
        let active = base == partition.indexes_base();
        if active {
            assert_eq!(partition.indexes.mark(), indexes.mark(), "{what}");
        } else {
            indexes.seal().expect("room");
        }
        assert_eq!(segment.max_timestamp, indexes.max_timestamp(), "{what}");
        let read = |kind| {
            let path = partition.directory.join(segment_file_name(base, kind));
            disk.read(&path)
                .unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let offset_index = read(SegmentFileKind::OffsetIndex);
        assert_eq!(offset_index, indexes.offset_index().bytes(), "{what}");
        assert_eq!(
            read(SegmentFileKind::TimeIndex),
            indexes.time_index().bytes(),
            "{what}"
        );
    }
}

impl RecoveredPartition {
    fn indexes_base(&self) -> Offset {
        self.segments.last().expect("never empty").base_offset
    }
}

/// Recovers through any number of deaths, loses power, and recovers once more: that must change
/// nothing.
fn recover_through_cuts(disk: &MemoryDisk, dice: &mut Dice, what: &str) -> Recovered {
    loop {
        let cut = dice.roll(4) != 0;
        if cut {
            disk.cut_power_after(dice.roll(60));
        }
        match recover_on(disk) {
            Ok(_) => break,
            Err(error) => {
                assert!(cut, "{what}: {error}");
                assert!(error.to_string().contains("power cut"), "{what}: {error}");
                die(disk, dice);
            }
        }
    }
    // What recovery has finished is durable, whatever it found only in the page cache.
    disk.crash(dice.roll(u64::MAX));
    let before = disk.snapshot();
    let again = recover_on(disk).expect("an ordinary start");
    assert_eq!(
        again.summary.batches_replayed, 0,
        "{what}: journals are empty"
    );
    let mut after = disk.snapshot();
    let mut before = before;
    before.remove(&path(&[CHECKPOINT]));
    after.remove(&path(&[CHECKPOINT]));
    let changed: Vec<&PathBuf> = before
        .keys()
        .chain(after.keys())
        .filter(|file| before.get(*file) != after.get(*file))
        .collect();
    assert!(
        changed.is_empty(),
        "{what}: a second recovery changed {changed:?}"
    );
    again
}

/// A life ends with the power, or only the process does.
fn die(disk: &MemoryDisk, dice: &mut Dice) {
    if dice.roll(3) == 0 {
        disk.restart();
    } else {
        disk.crash(dice.roll(u64::MAX));
    }
}

/// Several lives on one disk, each ended by a power cut at a random place.
fn lives(seed: u64, lives: usize, steps: usize) {
    let what = format!("seed {seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let disk = MemoryDisk::new();
    let mut oracle = Oracle::default();
    let mut recovered = recover_on(&disk).expect("a first start");
    for _ in 0..lives {
        let cut = dice.roll(250);
        disk.cut_power_after(cut);
        let lived = MiniShard::start(&disk, recovered)
            .and_then(|mut shard| shard.live(&mut oracle, &mut dice, steps));
        if let Err(error) = &lived {
            assert!(error.to_string().contains("power cut"), "{what}: {error}");
        }
        die(&disk, &mut dice);
        recovered = recover_through_cuts(&disk, &mut dice, &what);
        check(&disk, &recovered, &oracle, &what);
        oracle.settle(&recovered);
    }
}

#[test]
fn what_was_acknowledged_survives_power_cuts_anywhere() {
    for seed in 1..=150 {
        lives(seed, 4, 40);
    }
}

#[test]
fn one_history_survives_a_cut_at_every_single_change() {
    for after in 0..160 {
        for crash in 0..2 {
            let what = format!("cut after {after}, crash {crash}");
            let mut dice = Dice(77);
            let disk = MemoryDisk::new();
            let mut oracle = Oracle::default();
            let recovered = recover_on(&disk).expect("a first start");
            disk.cut_power_after(after);
            let _power_cut = MiniShard::start(&disk, recovered)
                .and_then(|mut shard| shard.live(&mut oracle, &mut dice, 25));
            disk.crash(after * 31 + crash);
            let recovered = recover_on(&disk).expect("recovery");
            check(&disk, &recovered, &oracle, &what);
        }
    }
}

/// A killed process leaves names in the page cache that only look durable: the next start takes the
/// journal file as it is, acknowledges what it flushes there, and then the power goes.
#[test]
fn a_journal_file_that_a_killed_process_made_survives_the_power_cut_after_the_next_start() {
    use crate::log::journal_ring::JournalFile;
    use crate::shard::jobs::create_journal_file;
    let directory = path(&["journal.0"]);
    let made = |disk: &MemoryDisk| create_journal_file(disk, &directory, JournalFile(0), 8192);
    for after in 0..10 {
        for crash in 0..8 {
            let disk = MemoryDisk::new();
            disk.create_dir_all(Path::new(DATA)).expect("made");
            disk.cut_power_after(after);
            let _killed = made(&disk);
            disk.restart();
            // As recovery does before the journals are opened.
            disk.sync_dir(Path::new(DATA)).expect("synced");
            let file = made(&disk).expect("a second start");
            disk.write_at(&file, 4096, b"acknowledged")
                .expect("written");
            disk.sync(&file).expect("flushed");
            disk.crash(crash);
            let journal = disk.read(&directory.join("0.journal"));
            let what = format!("cut after {after}, crash {crash}");
            let journal = journal.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(journal[4096..].starts_with(b"acknowledged"), "{what}");
        }
    }
}
