//! Claims about the disk in memory: what a power cut leaves, and what it never does.

use super::*;

fn file(disk: &MemoryDisk, path: &str) -> FileHandle {
    disk.open(Path::new(path), Open::Buffered).unwrap()
}

#[test]
fn what_was_synced_with_its_name_survives_every_cut() {
    for seed in 0..50 {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/d/e")).unwrap();
        let handle = file(&disk, "/d/e/f");
        disk.write_at(&handle, 0, &[7; 2000]).unwrap();
        disk.sync(&handle).unwrap();
        disk.sync_dir(Path::new("/d/e")).unwrap();
        disk.write_at(&handle, 1000, &[8; 2000]).unwrap();
        disk.crash(seed);
        let content = disk.read(Path::new("/d/e/f")).unwrap();
        assert!(content.len() >= 2000 && content.len() <= 3000);
        assert_eq!(content[..512], [7; 512]);
        assert!(content.iter().all(|byte| [0, 7, 8].contains(byte)));
    }
}

#[test]
fn unsynced_sectors_are_kept_dropped_and_torn() {
    let outcomes: BTreeSet<Vec<u8>> = (0..100)
        .map(|seed| {
            let disk = MemoryDisk::new();
            let handle = file(&disk, "/f");
            disk.write_at(&handle, 0, &[1; 1024]).unwrap();
            disk.settle();
            disk.write_at(&handle, 0, &[2; 1024]).unwrap();
            disk.crash(seed);
            disk.read(Path::new("/f")).unwrap()
        })
        .collect();
    assert_eq!(outcomes.len(), 4, "two sectors, each old or new");
}

#[test]
fn a_name_is_not_durable_before_its_directory_is() {
    let lost = |seed| {
        let disk = MemoryDisk::new();
        let handle = file(&disk, "/f");
        disk.sync(&handle).unwrap();
        disk.crash(seed);
        disk.read(Path::new("/f")).is_err()
    };
    assert!((0..20).any(lost) && !(0..20).all(lost));
}

#[test]
fn an_atomic_write_is_old_or_new_and_never_between() {
    let disk = MemoryDisk::new();
    disk.write_atomic(Path::new("/f"), b"old").unwrap();
    disk.cut_power_after(0);
    assert!(disk.write_atomic(Path::new("/f"), b"new").is_err());
    assert!(disk.read(Path::new("/f")).is_err(), "the power is off");
    disk.crash(1);
    assert_eq!(disk.read(Path::new("/f")).unwrap(), b"old");
    disk.write_atomic(Path::new("/f"), b"new").unwrap();
    disk.crash(2);
    assert_eq!(disk.read(Path::new("/f")).unwrap(), b"new");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = || {
        let disk = MemoryDisk::new();
        for name in ["/a", "/b", "/c"] {
            let handle = file(&disk, name);
            disk.write_at(&handle, 100, &[5; 5000]).unwrap();
        }
        disk.crash(42);
        disk.snapshot()
    };
    assert!(run() == run());
}

#[test]
fn directories_move_with_what_is_in_them() {
    let disk = MemoryDisk::new();
    disk.create_dir_all(Path::new("/d/a")).unwrap();
    disk.write_atomic(Path::new("/d/a/f"), b"x").unwrap();
    disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
    assert_eq!(disk.read(Path::new("/d/b/f")).unwrap(), b"x");
    assert_eq!(disk.list(Path::new("/d")).unwrap().len(), 1);
    disk.remove_dir_all(Path::new("/d/b")).unwrap();
    assert!(disk.list(Path::new("/d")).unwrap().is_empty());
}

#[test]
fn a_sync_covers_what_was_written_when_it_began() {
    let outcomes: BTreeSet<(u8, u8)> = (0..60)
        .map(|seed| {
            let disk = MemoryDisk::new();
            let handle = file(&disk, "/f");
            disk.write_at(&handle, 0, &[0; 1024]).unwrap();
            disk.settle();
            disk.write_at(&handle, 0, &[1; 512]).unwrap();
            let sync = disk.begin_sync(&handle).unwrap();
            disk.write_at(&handle, 512, &[2; 512]).unwrap();
            disk.finish_sync(&sync).unwrap();
            disk.crash(seed);
            let content = disk.read(Path::new("/f")).unwrap();
            (content[0], content[512])
        })
        .collect();
    assert_eq!(outcomes, BTreeSet::from([(1, 0), (1, 2)]));
}

#[test]
fn a_sync_covers_what_one_that_never_ended_would_have() {
    for seed in 0..20 {
        let disk = MemoryDisk::new();
        let handle = file(&disk, "/f");
        disk.sync_dir(Path::new("/")).unwrap();
        disk.write_at(&handle, 0, &[7; 1024]).unwrap();
        let _never_ends = disk.begin_sync(&handle).unwrap();
        disk.restart();
        disk.sync(&handle).unwrap();
        disk.crash(seed);
        assert_eq!(
            disk.read(Path::new("/f")).unwrap(),
            [7; 1024],
            "seed {seed}"
        );
    }
}

#[test]
fn what_a_failed_sync_covered_may_be_lost_until_it_is_written_again() {
    let lost = |seed, again: bool| {
        let disk = MemoryDisk::new();
        let handle = file(&disk, "/f");
        disk.write_at(&handle, 0, &[0; 512]).unwrap();
        disk.settle();
        disk.write_at(&handle, 0, &[7; 512]).unwrap();
        let ticket = disk.begin_sync(&handle).unwrap();
        disk.fail_sync(&ticket);
        if again {
            disk.write_at(&handle, 0, &[7; 512]).unwrap();
        }
        disk.sync(&handle).unwrap();
        disk.crash(seed);
        disk.read(Path::new("/f")).unwrap() == [0; 512]
    };
    assert!((0..20).any(|seed| lost(seed, false)));
    assert!(!(0..20).any(|seed| lost(seed, true)));
}
