//! The metadata log on a disk that loses power, fills up and rots.

use super::*;
use crate::devices::memory_disk::MemoryDisk;
use crate::words::TopicId;

const DIR: &str = "data";

fn path() -> PathBuf {
    Path::new(DIR).join(FILE_NAME)
}

fn load(disk: &MemoryDisk, snapshot_bytes: u64) -> Result<(FileLog, MetadataImage), LoadFault> {
    FileLog::load(Arc::new(disk.clone()), Path::new(DIR), snapshot_bytes)
}

fn topic(number: u8) -> Record {
    Record::TopicCreated {
        id: TopicId([number; 16]),
        name: format!("topic-{number}"),
    }
}

/// Appends as the writer does: durable first, then applied.
fn append(
    log: &mut FileLog,
    image: &mut MetadataImage,
    records: &[Record],
) -> Result<(), LogFault> {
    log.append(image.version(), records)?;
    image.apply_all(records).unwrap();
    log.applied(image);
    Ok(())
}

#[test]
fn what_was_appended_is_there_after_a_power_cut() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, u64::MAX).unwrap();
    for number in 1..=20 {
        append(&mut log, &mut image, &[topic(number)]).unwrap();
    }
    disk.crash(1);
    let (_, again) = load(&disk, u64::MAX).unwrap();
    assert_eq!(again, image);
}

/// Cuts the power in every changing call of a history with snapshots, many times over: what was
/// acknowledged is there, what was refused may be there only whole, and the log goes on.
#[test]
fn no_cut_loses_what_was_acknowledged_or_leaves_half_a_change() {
    for cut in 0..60 {
        for seed in 0..8 {
            let disk = MemoryDisk::new();
            let (mut log, mut image) = load(&disk, 200).unwrap();
            disk.cut_power_after(cut);
            let mut acknowledged = image.clone();
            for number in 1..=15 {
                let records = [
                    topic(number),
                    Record::ProducerIdsAllocated {
                        next: number.into(),
                    },
                ];
                if append(&mut log, &mut image, &records).is_err() {
                    image.apply_all(&records).unwrap();
                    break;
                }
                acknowledged = image.clone();
            }
            disk.crash(seed);
            let (mut log, mut again) = load(&disk, 200).unwrap();
            let either = again == acknowledged || again == image;
            assert!(either, "cut {cut} seed {seed}: version {}", again.version());
            append(&mut log, &mut again, &[topic(99)]).unwrap();
            let (_, last) = load(&disk, 200).unwrap();
            assert_eq!(last, again, "cut {cut} seed {seed}");
        }
    }
}

#[test]
fn the_file_is_written_anew_when_it_has_grown_and_keeps_its_version() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, 1000).unwrap();
    append(&mut log, &mut image, &[topic(1)]).unwrap();
    let mut longest = 0;
    for next in 1..=1000 {
        append(
            &mut log,
            &mut image,
            &[Record::ProducerIdsAllocated { next }],
        )
        .unwrap();
        longest = longest.max(log.end);
    }
    assert!(longest < 2000, "{longest}");
    assert_eq!(image.version(), 1001);
    disk.crash(3);
    assert_eq!(load(&disk, 1000).unwrap().1, image);
}

#[test]
fn damage_in_front_of_acknowledged_changes_is_refused_and_at_the_end_is_cut() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, u64::MAX).unwrap();
    append(&mut log, &mut image, &[topic(1)]).unwrap();
    let first = log.end;
    append(&mut log, &mut image, &[topic(2)]).unwrap();
    let whole = log.end;
    drop(log);

    assert!(disk.rot(&path(), 20, 4));
    assert!(matches!(load(&disk, u64::MAX), Err(LoadFault::Rotten(0))));
    assert!(disk.rot(&path(), 20, 4));

    // Half of a third frame, as a cut leaves it.
    let file = disk.open(&path(), Open::Buffered).unwrap();
    disk.write_at(&file, whole, b"OTM1\x40\x00\x00\x00abc")
        .unwrap();
    let (log, again) = load(&disk, u64::MAX).unwrap();
    assert_eq!((log.end, again), (whole, image));
    assert_eq!(disk.len(&file).unwrap(), whole);
    assert!(first < whole);
}

#[test]
fn a_full_disk_refuses_changes_until_there_is_room() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, u64::MAX).unwrap();
    append(&mut log, &mut image, &[topic(1)]).unwrap();
    disk.limit_room(Some(0));
    let refused = append(&mut log, &mut image, &[topic(2)]);
    assert!(matches!(refused, Err(LogFault::Full(_))), "{refused:?}");
    disk.limit_room(None);
    append(&mut log, &mut image, &[topic(3)]).unwrap();
    disk.crash(5);
    let (_, again) = load(&disk, u64::MAX).unwrap();
    assert_eq!(again, image);
    assert!(again.topic("topic-2").is_none());
}

#[test]
fn a_change_too_large_for_a_frame_is_refused_and_the_log_goes_on() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, u64::MAX).unwrap();
    let huge = Record::TopicCreated {
        id: TopicId([1; 16]),
        name: "x".repeat(codec::FRAME_BODY_BYTES_MAX),
    };
    assert!(matches!(log.append(0, &[huge]), Err(LogFault::TooLarge)));
    append(&mut log, &mut image, &[topic(2)]).unwrap();
}

#[test]
fn an_unreadable_log_is_no_empty_log() {
    let disk = MemoryDisk::new();
    let (mut log, mut image) = load(&disk, u64::MAX).unwrap();
    append(&mut log, &mut image, &[topic(1)]).unwrap();
    disk.make_unreadable(&path());
    assert!(matches!(
        load(&disk, u64::MAX),
        Err(LoadFault::Unreadable(_))
    ));
}
