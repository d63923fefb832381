//! Claims about where a replay ends one segment and begins the next: where the shard had.

use super::super::active::{Active, Building};
use super::*;
use crate::wire::record::{BatchBuilder, Codec, NewRecord};
use crate::words::LeaderEpoch;

/// One batch with one record at each offset and timestamp.
fn batch(offset: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::NONE)
        .base_offset(Offset(offset as i64))
        .leader_epoch(LeaderEpoch(0));
    builder
        .push(&NewRecord::of(TimestampMs(timestamp), None, Some(b"value")))
        .expect("fits");
    builder.build().expect("a batch").to_vec()
}

/// Base offsets after batches of these times were replayed; the first `held` of them stand in the
/// first segment already.
fn bases(settings: &LogSettings, timestamps: &[i64], held: usize) -> Vec<i64> {
    let disk = MemoryDisk::new();
    let directory = path(&["t-0"]);
    disk.create_dir_all(&directory).expect("a directory");
    let mut building = Building {
        disk: &disk,
        directory: &directory,
        settings,
        epochs: LeaderEpochs::new(),
        producers: Producers::new(100, Offset(0)),
        producers_from: Offset(0),
        segments: Vec::new(),
        active: Active::open(&disk, &directory, Offset(0), settings).expect("a segment"),
        next: Offset(0),
        snapshots: Vec::new(),
        batches_replayed: 0,
        bytes_replayed: 0,
        bytes_scanned: 0,
    };
    for (offset, timestamp) in timestamps.iter().enumerate() {
        let bytes = batch(offset, *timestamp);
        let header = BatchHeader::parse(&bytes).expect("a header");
        if offset < held {
            let position = building.active.file.len();
            building.active.file.append(&disk, &bytes).expect("written");
            let stands = crate::log::segment_scan::ScannedBatch { position, header };
            building.observe(&stands, None);
        } else {
            building.replay(&header, &bytes, None).expect("replayed");
        }
    }
    let sealed = building.segments.iter().map(|sealed| sealed.base_offset.0);
    sealed.chain([building.active.base.0]).collect()
}

/// Name, settings, times, how many are held, and the base offsets expected.
type Case<'a> = (&'a str, &'a LogSettings, &'a [i64], usize, &'a [i64]);

#[test]
fn a_replay_rolls_by_age_and_by_size_where_the_shard_did() {
    let one = batch(0, 0).len() as u32;
    let by_age = LogSettings {
        segment_ms: 500,
        ..LogSettings::default()
    };
    let by_size = LogSettings {
        segment_bytes: 2 * one,
        ..LogSettings::default()
    };
    let compacted = LogSettings {
        cleanup_compact: true,
        max_compaction_lag_ms: 500,
        ..LogSettings::default()
    };
    let cases: &[Case<'_>] = &[
        ("far apart", &by_age, &[1000, 1700, 2400], 0, &[0, 1, 2]),
        (
            "just in time",
            &by_age,
            &[1000, 1500, 1400, 1501],
            0,
            &[0, 3],
        ),
        (
            "behind what is held",
            &by_age,
            &[1000, 1700, 2400],
            1,
            &[0, 1, 2],
        ),
        (
            "what is held stays whole",
            &by_age,
            &[1000, 1700, 2400],
            2,
            &[0, 2],
        ),
        ("no time", &by_age, &[-1, -1, -1], 0, &[0]),
        ("compacted", &compacted, &[1000, 1700], 0, &[0, 1]),
        ("default", &LogSettings::default(), &[1000, 1700], 0, &[0]),
        ("size", &by_size, &[1000; 5], 0, &[0, 2, 4]),
        ("size, one held", &by_size, &[1000; 5], 1, &[0, 2, 4]),
    ];
    for (name, settings, timestamps, held, expected) in cases {
        assert_eq!(bases(settings, timestamps, *held), *expected, "{name}");
    }
}
