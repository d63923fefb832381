//! Claims about the ring: space is never handed out while somebody needs what lies there.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::words::{PartitionIndex, TopicId};

const BLOCK: usize = BLOCK_BYTES;

fn partition(index: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicId([1; 16]),
        partition: PartitionIndex(index),
    }
}

fn ring(files: u32, files_max: usize, blocks: usize) -> JournalRing {
    let files: Vec<JournalFile> = (0..files).map(JournalFile).collect();
    let limits = RingLimits {
        file_bytes: (blocks * BLOCK) as u64,
        files_max,
    };
    JournalRing::new(limits, 7, &files)
}

fn place(ring: &mut JournalRing, blocks: usize, index: i32, last: i64) -> Result<Place, NoPlace> {
    ring.place(blocks * BLOCK, [(partition(index), Offset(last))])
}

#[test]
fn entries_follow_each_other_and_never_span_files() {
    let mut ring = ring(2, 2, 4);
    let first = place(&mut ring, 3, 0, 9).unwrap();
    let second = place(&mut ring, 2, 0, 19).unwrap();
    let third = place(&mut ring, 2, 0, 29).unwrap();
    assert_eq!(
        (first.file, first.position, first.stamp.sequence),
        (JournalFile(0), 0, 1)
    );
    assert_eq!(
        (second.file, second.position, second.stamp.sequence),
        (JournalFile(1), 0, 2)
    );
    assert_eq!(
        (third.file, third.position),
        (JournalFile(1), 2 * BLOCK as u64)
    );
    assert_eq!(place(&mut ring, 1, 0, 39), Err(NoPlace::Full));
}

#[test]
fn a_file_is_freed_only_when_filled_completed_and_checkpointed() {
    for missing in ["filled", "completed", "checkpointed", "nothing"] {
        let mut ring = ring(2, 2, 1);
        place(&mut ring, 1, 0, 9).unwrap();
        place(&mut ring, 1, 1, 9).unwrap();
        if missing != "completed" {
            ring.completed(2);
        }
        if missing != "filled" {
            ring.filled(partition(0), Offset(9));
        }
        if missing != "checkpointed" {
            ring.checkpointed(ring.checkpoint_through());
        }
        let free = place(&mut ring, 1, 0, 10).is_ok();
        assert_eq!(free, missing == "nothing", "without {missing}");
    }
}

#[test]
fn a_fill_that_stops_short_keeps_the_file() {
    let mut ring = ring(2, 2, 1);
    place(&mut ring, 1, 0, 9).unwrap();
    place(&mut ring, 1, 0, 19).unwrap();
    ring.completed(2);
    ring.filled(partition(0), Offset(8));
    assert_eq!(ring.checkpoint_through(), 0);
    assert_eq!(
        ring.holding_oldest().collect::<Vec<_>>(),
        vec![(partition(0), Offset(9))]
    );
    ring.filled(partition(0), Offset(9));
    assert!(ring.checkpoint_frees());
    assert_eq!(ring.checkpoint_through(), 1);
    assert_eq!(
        ring.holding_oldest().collect::<Vec<_>>(),
        vec![(partition(0), Offset(19))]
    );
}

#[test]
fn files_are_freed_in_the_order_they_were_used() {
    let mut ring = ring(3, 3, 1);
    place(&mut ring, 1, 0, 9).unwrap();
    place(&mut ring, 1, 1, 9).unwrap();
    place(&mut ring, 1, 2, 9).unwrap();
    ring.completed(3);
    ring.filled(partition(1), Offset(9));
    assert_eq!(
        ring.checkpoint_through(),
        0,
        "an older file still holds partition 0"
    );
    ring.filled(partition(0), Offset(9));
    assert_eq!(ring.checkpoint_through(), 2);
}

#[test]
fn a_deleted_partition_holds_nothing() {
    let mut ring = ring(1, 1, 1);
    place(&mut ring, 1, 0, 9).unwrap();
    ring.completed(1);
    ring.forget(partition(0));
    assert_eq!(ring.checkpoint_through(), 1);
    assert_eq!(ring.holding_oldest().count(), 0);
}

#[test]
fn an_idle_ring_with_everything_filled_claims_its_last_entry() {
    let mut ring = ring(2, 2, 4);
    place(&mut ring, 1, 0, 9).unwrap();
    place(&mut ring, 1, 1, 9).unwrap();
    ring.completed(2);
    ring.filled(partition(0), Offset(9));
    ring.filled(partition(1), Offset(9));
    assert!(!ring.checkpoint_frees());
    ring.checkpointed(ring.checkpoint_through());
    let next = place(&mut ring, 1, 0, 10).unwrap();
    assert_eq!(
        (next.stamp.filled_through, next.stamp.completed_through),
        (2, 2)
    );
}

#[test]
fn the_ring_grows_only_when_reuse_lags_and_never_past_its_bound() {
    let mut ring = ring(2, 4, 1);
    assert_eq!(ring.grow(), None, "free files are left");
    place(&mut ring, 1, 0, 1).unwrap();
    place(&mut ring, 1, 0, 2).unwrap();
    assert_eq!(ring.grow(), Some(JournalFile(2)));
    assert_eq!(ring.grow(), None, "one at a time");
    ring.add_failed();
    assert_eq!(ring.grow(), Some(JournalFile(2)));
    ring.added(JournalFile(2));
    place(&mut ring, 1, 0, 3).unwrap();
    assert_eq!(ring.grow(), Some(JournalFile(3)));
    ring.added(JournalFile(3));
    place(&mut ring, 1, 0, 4).unwrap();
    assert_eq!(ring.grow(), None, "the bound");
    assert_eq!(place(&mut ring, 1, 0, 5), Err(NoPlace::Full));
}

#[test]
fn misshapen_entries_are_refused() {
    let mut ring = ring(2, 2, 2);
    for len in [0, 1, BLOCK - 1, 3 * BLOCK] {
        assert_eq!(ring.place(len, []), Err(NoPlace::Misshapen));
    }
    assert_eq!(ring.last_placed(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Place { blocks: usize, partitions: Vec<i32> },
    Complete(u64),
    Fill { partition: i32, short: i64 },
    Forget(i32),
    CheckpointBegins,
    CheckpointEnds,
    Grow,
    Added,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1usize..4, prop::collection::vec(0i32..4, 0..4))
            .prop_map(|(blocks, partitions)| Op::Place { blocks, partitions }),
        3 => (0u64..3).prop_map(Op::Complete),
        4 => (0i32..4, 0i64..3).prop_map(|(partition, short)| Op::Fill { partition, short }),
        1 => (0i32..4).prop_map(Op::Forget),
        2 => Just(Op::CheckpointBegins),
        2 => Just(Op::CheckpointEnds),
        1 => Just(Op::Grow),
        1 => Just(Op::Added),
    ]
}

/// File, first block, blocks, sequence, partitions with last offsets.
type Placed = (JournalFile, u64, u64, u64, Vec<(i32, i64)>);

/// The naive oracle: every entry ever placed, with what it needs.
#[derive(Default)]
struct Model {
    entries: Vec<Placed>,
    filled: HashMap<i32, i64>,
    /// What was filled when the durable checkpoint was begun.
    checkpoint: HashMap<i32, i64>,
    ends: HashMap<i32, i64>,
    completed: u64,
}

impl Model {
    fn needed(&self, entry: &Placed) -> bool {
        entry.3 > self.completed
            || entry.4.iter().any(|(partition, last)| {
                self.checkpoint
                    .get(partition)
                    .is_none_or(|filled| filled < last)
            })
    }

    fn check_place(&mut self, place: Place, blocks: usize, partitions: Vec<(i32, i64)>) {
        let (from, len) = (place.position / BLOCK as u64, blocks as u64);
        for entry in &self.entries {
            let overlaps =
                entry.0 == place.file && from < entry.1 + entry.2 && entry.1 < from + len;
            assert!(
                !(overlaps && self.needed(entry)),
                "{place:?} lies over {entry:?}"
            );
        }
        self.entries
            .retain(|e| !(e.0 == place.file && from < e.1 + e.2 && e.1 < from + len));
        self.entries
            .push((place.file, from, len, place.stamp.sequence, partitions));
        for entry in &self.entries {
            if entry.3 <= place.stamp.filled_through {
                assert!(!self.needed(entry), "filled_through claims {entry:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn space_that_somebody_needs_is_never_handed_out(ops in prop::collection::vec(op(), 1..200)) {
        let mut ring = ring(2, 4, 4);
        let mut model = Model::default();
        let mut checkpoint: Option<(u64, HashMap<i32, i64>)> = None;
        let mut adding = None;
        for op in ops {
            match op {
                Op::Place { blocks, partitions } => {
                    let partitions: Vec<(i32, i64)> = partitions.into_iter().map(|p| {
                        (p, model.ends.get(&p).copied().unwrap_or(-1) + 1)
                    }).collect();
                    let wanted = partitions.iter().map(|(p, o)| (partition(*p), Offset(*o)));
                    if let Ok(place) = ring.place(blocks * BLOCK, wanted) {
                        model.ends.extend(partitions.iter().copied());
                        model.check_place(place, blocks, partitions);
                    }
                }
                Op::Complete(more) => {
                    model.completed = (model.completed + more).min(ring.last_placed());
                    ring.completed(model.completed);
                }
                Op::Fill { partition: index, short } => {
                    if let Some(end) = model.ends.get(&index) {
                        let last = (end - short).max(-1);
                        ring.filled(partition(index), Offset(last));
                        let mark = model.filled.entry(index).or_insert(last);
                        *mark = last.max(*mark);
                    }
                }
                Op::Forget(index) => {
                    ring.forget(partition(index));
                    let end = model.ends.get(&index).copied().unwrap_or(-1);
                    // Nobody needs it any more: as good as filled and checkpointed.
                    model.filled.insert(index, end);
                    model.checkpoint.insert(index, end);
                    if let Some((_, filled)) = &mut checkpoint {
                        filled.insert(index, end);
                    }
                }
                Op::CheckpointBegins => checkpoint = Some((ring.checkpoint_through(), model.filled.clone())),
                Op::CheckpointEnds => {
                    if let Some((through, filled)) = checkpoint.take() {
                        model.checkpoint = filled;
                        ring.checkpointed(through);
                    }
                }
                Op::Grow => adding = ring.grow().or(adding),
                Op::Added => if let Some(file) = adding.take() { ring.added(file) },
            }
            let usage = ring.usage();
            prop_assert!(usage.files <= usage.files_max);
            prop_assert!(usage.bytes_held <= usage.bytes);
        }
    }

    /// Liveness: once everything is filled, completed and checkpointed, there is room again.
    #[test]
    fn a_drained_ring_always_has_room(blocks in prop::collection::vec(1usize..4, 1..60)) {
        let mut ring = ring(2, 2, 4);
        for (offset, blocks) in (0i64..).zip(blocks) {
            prop_assert!(place(&mut ring, blocks, 0, offset).is_ok());
            ring.completed(ring.last_placed());
            ring.filled(partition(0), Offset(offset));
            ring.checkpointed(ring.checkpoint_through());
        }
    }
}
