//! Claims about producer state: Kafka's answers one by one, then a naive oracle.

use super::*;
use crate::words::LeaderEpoch;
use proptest::prelude::*;

const NOW: TimestampMs = TimestampMs(5000);

fn batch(id: i64, epoch: i16, sequence: i32, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        batch_length: 100,
        leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: TimestampMs(1000),
        max_timestamp: TimestampMs(1000),
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(sequence),
        records_count: records,
    }
}

fn transactional(mut batch: BatchHeader) -> BatchHeader {
    batch.attributes |= 0x10;
    batch
}

fn marker_batch(id: i64, epoch: i16) -> BatchHeader {
    let mut batch = batch(id, epoch, -1, 1);
    batch.attributes |= 0x30;
    batch
}

fn commit(coordinator_epoch: i32) -> TransactionMarker {
    TransactionMarker {
        commit: true,
        coordinator_epoch,
    }
}

/// A partition that appends what is new.
struct Partition {
    producers: Producers,
    next: i64,
}

impl Partition {
    fn new() -> Partition {
        Partition {
            producers: Producers::new(PRODUCERS_PER_PARTITION_MAX, Offset(0)),
            next: 0,
        }
    }

    /// The base offset as an answer says it, or the error's number.
    fn produce(&mut self, batch: BatchHeader) -> Result<i64, i16> {
        match self.producers.check(&batch) {
            Ok(Admission::New) => Ok(self.store(batch)),
            Ok(Admission::Duplicate { base_offset, .. }) => Ok(base_offset.0),
            Err(ProducerRefusal::OutOfOrderSequence { .. }) => Err(45),
            Err(ProducerRefusal::InvalidProducerEpoch { .. }) => Err(47),
            Err(ProducerRefusal::TransactionOpen) => Err(48),
            Err(ProducerRefusal::CoordinatorFenced { .. }) => Err(52),
            Err(ProducerRefusal::TooManyProducers) => Err(-1),
        }
    }

    fn store(&mut self, mut batch: BatchHeader) -> i64 {
        batch.base_offset = Offset(self.next);
        self.next = batch.next_offset().0;
        self.producers.update(&batch, NOW);
        batch.base_offset.0
    }

    fn end(
        &mut self,
        id: i64,
        epoch: i16,
        marker: TransactionMarker,
    ) -> Option<CompletedTransaction> {
        let mut batch = marker_batch(id, epoch);
        batch.base_offset = Offset(self.next);
        self.next += 1;
        self.producers.update_marker(&batch, marker, NOW)
    }
}

#[test]
fn answers_are_those_of_kafka() {
    // (epoch, base sequence, records) -> base offset or error; one partition, in order.
    type Step = ((i16, i32, i32), Result<i64, i16>);
    let scripts: &[&[Step]] = &[
        // In order, repeated, a gap, a partial overlap, and on; then new and old epochs.
        &[
            ((0, 0, 2), Ok(0)),
            ((0, 2, 2), Ok(2)),
            ((0, 4, 2), Ok(4)),
            ((0, 4, 2), Ok(4)),
            ((0, 2, 2), Ok(2)),
            ((0, 0, 2), Ok(0)),
            ((0, 7, 1), Err(45)),
            ((0, 8, 1), Err(45)),
            ((0, 100, 1), Err(45)),
            ((0, 5, 2), Err(45)),
            ((0, 6, 1), Ok(6)),
            ((3, 0, 1), Ok(7)),
            ((4, 5, 1), Err(45)),
            ((0, 1, 1), Err(47)),
            ((2, 1, 1), Err(47)),
            ((0, 6, 1), Err(47)), // stored once, but of a past epoch
        ],
        // Six single records: five back is known, six back is not.
        &[
            ((0, 0, 1), Ok(0)),
            ((0, 1, 1), Ok(1)),
            ((0, 2, 1), Ok(2)),
            ((0, 3, 1), Ok(3)),
            ((0, 4, 1), Ok(4)),
            ((0, 5, 1), Ok(5)),
            ((0, 1, 1), Ok(1)),
            ((0, 0, 1), Err(45)),
        ],
        // Nothing known: any sequence may begin; from then on order counts.
        &[
            ((0, 17, 1), Ok(0)),
            ((0, 18, 1), Ok(1)),
            ((0, 20, 1), Err(45)),
        ],
        // Across the wrap.
        &[
            ((0, i32::MAX - 1, 3), Ok(0)),
            ((0, 1, 1), Ok(3)),
            ((0, 0, 1), Err(45)),
            ((0, 2, 1), Ok(4)),
            ((0, i32::MAX - 1, 3), Ok(0)),
        ],
        &[((0, i32::MAX, 1), Ok(0)), ((0, 0, 1), Ok(1))],
        // The same first sequence with another last one.
        &[((0, 0, 3), Ok(0)), ((0, 0, 2), Err(45))],
        // Epoch -1 keeps no order.
        &[((-2, 0, 1), Err(47)), ((0, 0, 1), Ok(0))],
        &[
            ((-1, 0, 1), Ok(0)),
            ((-1, 9, 1), Ok(1)),
            ((-1, 9, 1), Ok(1)),
            ((0, 5, 1), Ok(2)),
        ],
    ];
    for (number, script) in scripts.iter().enumerate() {
        let mut partition = Partition::new();
        for (step, ((epoch, sequence, records), expected)) in script.iter().enumerate() {
            let answer = partition.produce(batch(5, *epoch, *sequence, *records));
            assert_eq!(answer, *expected, "script {number}, step {step}");
        }
    }
}

#[test]
fn a_batch_without_producer_id_leaves_no_trace() {
    let mut partition = Partition::new();
    assert_eq!(partition.produce(batch(-1, -1, 5, 1)), Ok(0));
    assert_eq!(partition.produce(batch(-1, -1, 5, 1)), Ok(1));
    assert!(partition.producers.is_empty());
    assert_eq!(partition.producers.end_offset(), Offset(2));
}

#[test]
fn a_duplicate_is_answered_with_the_stored_timestamp() {
    let mut partition = Partition::new();
    partition.produce(batch(5, 0, 0, 3)).unwrap();
    let mut again = batch(5, 0, 0, 3);
    again.max_timestamp = TimestampMs(9999);
    let expected = Admission::Duplicate {
        base_offset: Offset(0),
        last_offset: Offset(2),
        timestamp: TimestampMs(1000),
    };
    assert_eq!(partition.producers.check(&again), Ok(expected));
}

#[test]
fn a_snapshot_keeps_the_last_batch_and_the_order() {
    let mut partition = Partition::new();
    partition.produce(batch(5, 0, 0, 2)).unwrap();
    partition.produce(batch(5, 0, 2, 3)).unwrap();
    partition.produce(transactional(batch(6, 1, 0, 1))).unwrap();
    let entries = partition.producers.snapshot();
    let end = partition.producers.end_offset();
    partition.producers =
        Producers::from_snapshot(PRODUCERS_PER_PARTITION_MAX, end, entries.clone());
    assert_eq!(partition.producers.snapshot(), entries);
    assert_eq!(partition.producers.first_unstable_offset(), Some(Offset(5)));
    assert_eq!(partition.produce(batch(5, 0, 2, 3)), Ok(2));
    assert_eq!(partition.produce(batch(5, 0, 0, 2)), Err(45));
    assert_eq!(partition.produce(batch(5, 0, 5, 1)), Ok(6));
}

#[test]
fn the_silent_expire_but_never_within_a_transaction() {
    let mut partition = Partition::new();
    partition.produce(batch(1, 0, 0, 1)).unwrap();
    partition.produce(transactional(batch(2, 0, 0, 1))).unwrap();
    let mut producers = partition.producers;
    assert_eq!(producers.expire(TimestampMs(NOW.0 + 99), 100), 0);
    assert_eq!(producers.expire(TimestampMs(i64::MIN), 100), 0);
    assert_eq!(producers.expire(TimestampMs(NOW.0 + 100), 100), 1);
    assert!(producers.get(ProducerId(1)).is_none());
    assert_eq!(producers.expire(TimestampMs(i64::MAX), 100), 0);
    assert!(producers.get(ProducerId(2)).is_some());
}

#[test]
fn a_transaction_holds_reads_back_until_its_marker_is_replicated() {
    let mut partition = Partition::new();
    partition.produce(batch(9, 0, 0, 1)).unwrap();
    assert_eq!(partition.producers.first_unstable_offset(), None);
    partition.produce(transactional(batch(1, 0, 0, 2))).unwrap(); // 1-2
    partition.produce(transactional(batch(2, 0, 0, 1))).unwrap(); // 3
    partition.produce(transactional(batch(1, 0, 2, 1))).unwrap(); // 4
    assert_eq!(partition.produce(batch(1, 0, 3, 1)), Err(48));
    assert_eq!(partition.producers.first_unstable_offset(), Some(Offset(1)));

    let ended = partition.end(1, 0, commit(7)).unwrap(); // marker at 5
    assert_eq!((ended.first_offset.0, ended.last_offset.0), (1, 5));
    assert!(!ended.aborted);
    assert_eq!(ended.last_stable_offset, Offset(3));
    partition.producers.settle_below(Offset(5));
    assert_eq!(partition.producers.first_unstable_offset(), Some(Offset(1)));
    partition.producers.settle_below(Offset(6));
    assert_eq!(partition.producers.first_unstable_offset(), Some(Offset(3)));

    let abort = TransactionMarker {
        commit: false,
        coordinator_epoch: 7,
    };
    let ended = partition.end(2, 0, abort).unwrap(); // marker at 6
    assert!(ended.aborted);
    assert_eq!(ended.last_stable_offset, Offset(7));
    assert_eq!(partition.end(2, 0, abort), None);
    // A marker of the same epoch leaves the sequences as they were.
    assert_eq!(partition.produce(transactional(batch(1, 0, 3, 1))), Ok(8));
}

#[test]
fn markers_are_judged_by_epoch_and_coordinator() {
    let mut partition = Partition::new();
    partition.produce(transactional(batch(1, 4, 0, 1))).unwrap();
    let stale = |got| {
        Err(ProducerRefusal::InvalidProducerEpoch {
            got: ProducerEpoch(got),
            current: ProducerEpoch(4),
        })
    };
    // (marker's epoch, transaction version) while a transaction is open
    for (epoch, version, expected) in [
        (3, 1, stale(3)),
        (4, 1, Ok(())),
        (5, 1, Ok(())),
        (4, 2, stale(4)),
        (5, 2, Ok(())),
    ] {
        let answer = partition
            .producers
            .check_marker(&marker_batch(1, epoch), commit(7), version);
        assert_eq!(answer, expected, "epoch {epoch}, version {version}");
    }
    partition.end(1, 5, commit(7)).unwrap();
    let check = |epoch, coordinator| {
        partition
            .producers
            .check_marker(&marker_batch(1, epoch), commit(coordinator), 2)
    };
    assert_eq!(check(5, 7), Ok(()), "repeated when nothing is open");
    let fenced = ProducerRefusal::CoordinatorFenced { got: 6, current: 7 };
    assert_eq!(check(6, 6), Err(fenced));
    // The raised epoch begins at sequence 0.
    assert_eq!(partition.produce(transactional(batch(1, 5, 1, 1))), Err(45));
    assert_eq!(partition.produce(transactional(batch(1, 5, 0, 1))), Ok(2));
}

#[test]
fn a_coordinators_batch_has_an_epoch_but_no_sequence() {
    let mut partition = Partition::new();
    for _ in 0..3 {
        assert!(partition.produce(transactional(batch(1, 2, -1, 1))).is_ok());
    }
    assert_eq!(partition.next, 3);
    assert_eq!(
        partition.produce(transactional(batch(1, 1, -1, 1))),
        Err(47)
    );
}

#[test]
fn the_longest_silent_make_room_and_open_transactions_stay() {
    let mut producers = Producers::new(16, Offset(0));
    for id in 0..16 {
        let mut stored = batch(id, 0, 0, 1);
        if id == 0 {
            stored = transactional(stored);
        }
        producers.update(&stored, TimestampMs(id));
    }
    producers.update(&batch(99, 0, 0, 1), TimestampMs(99));
    assert_eq!(producers.len(), 16);
    assert!(producers.get(ProducerId(0)).is_some(), "open transaction");
    assert!(producers.get(ProducerId(1)).is_none(), "longest silent");

    let mut stuck = Producers::new(2, Offset(0));
    for id in 0..2 {
        let mut stored = transactional(batch(id, 0, 0, 1));
        stored.base_offset = Offset(id);
        stuck.update(&stored, NOW);
    }
    assert_eq!(
        stuck.check(&batch(2, 0, 0, 1)),
        Err(ProducerRefusal::TooManyProducers)
    );
    assert_eq!(
        stuck.check(&transactional(batch(1, 0, 1, 1))),
        Ok(Admission::New)
    );
}

/// Every batch ever stored, judged by its definition: no window, no wrapping arithmetic but one.
#[derive(Default)]
struct Oracle {
    stored: Vec<(BatchHeader, i64)>,
}

impl Oracle {
    fn produce(&mut self, batch: BatchHeader) -> Result<i64, i16> {
        let mine: Vec<&(BatchHeader, i64)> = self
            .stored
            .iter()
            .filter(|(b, _)| b.producer_id == batch.producer_id)
            .collect();
        let epoch = mine.last().map(|(b, _)| b.producer_epoch);
        let of_epoch: Vec<_> = mine
            .iter()
            .filter(|(b, _)| Some(b.producer_epoch) == epoch)
            .collect();
        if epoch == Some(batch.producer_epoch) {
            let known = of_epoch.iter().rev().take(5).find(|(b, _)| {
                (b.base_sequence, b.last_offset_delta)
                    == (batch.base_sequence, batch.last_offset_delta)
            });
            if let Some((_, offset)) = known {
                return Ok(*offset);
            }
        }
        match epoch {
            Some(epoch) if batch.producer_epoch < epoch => return Err(47),
            Some(epoch) if batch.producer_epoch > epoch && batch.base_sequence.0 != 0 => {
                return Err(45);
            }
            Some(epoch) if batch.producer_epoch == epoch => {
                let last = of_epoch.last().unwrap().0.last_sequence().0;
                if batch.base_sequence.0 != last.checked_add(1).unwrap_or(0) {
                    return Err(45);
                }
            }
            _ => {}
        }
        let next = self
            .stored
            .last()
            .map_or(0, |(b, at)| at + i64::from(b.last_offset_delta) + 1);
        self.stored.push((batch, next));
        Ok(next)
    }
}

fn sequences() -> impl Strategy<Value = i32> {
    prop_oneof![0i32..12, (i32::MAX - 6)..=i32::MAX]
}

proptest! {
    #[test]
    fn answers_agree_with_an_oracle_that_forgets_nothing(
        steps in proptest::collection::vec((0i64..3, 0i16..3, sequences(), 1i32..4, 0u8..8), 1..80),
    ) {
        let mut partition = Partition::new();
        let mut oracle = Oracle::default();
        for (id, epoch, sequence, records, kind) in steps {
            // Mostly go on where the producer is, or nothing but refusals would be tried.
            let known = partition.producers.get(ProducerId(id)).cloned();
            let next = match &known {
                Some(entry) if kind < 5 => {
                    let sequence = entry.last_sequence().0.checked_add(1).unwrap_or(0);
                    batch(id, entry.epoch.0, sequence, records)
                }
                Some(entry) if kind == 5 && !entry.batches.is_empty() => {
                    let again = entry.batches[usize::try_from(sequence).unwrap() % entry.batches.len()];
                    batch(id, entry.epoch.0, again.first_sequence().0, again.offset_delta + 1)
                }
                _ => batch(id, epoch, sequence, records),
            };
            prop_assert_eq!(partition.produce(next), oracle.produce(next), "{:?}", next);
        }
        // Replay from any point on a snapshot taken there makes the same next answers.
        let mut replayed = Producers::new(PRODUCERS_PER_PARTITION_MAX, Offset(0));
        for (stored, offset) in &oracle.stored {
            let mut stored = *stored;
            stored.base_offset = Offset(*offset);
            replayed.update(&stored, stored.max_timestamp);
        }
        prop_assert_eq!(replayed.snapshot(), partition.producers.snapshot());
    }

    #[test]
    fn hostile_headers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 61..62), wall in any::<i64>()) {
        let mut bytes = bytes;
        bytes[16] = 2;
        if let Ok(header) = BatchHeader::parse(&bytes) {
            let mut producers = Producers::new(4, Offset(0));
            for _ in 0..2 {
                let _ = producers.check(&header);
                producers.update(&header, TimestampMs(wall));
                let _ = producers.check_marker(&header, commit(1), 2);
                producers.update_marker(&header, commit(1), TimestampMs(wall));
            }
            producers.expire(TimestampMs(wall), i64::MIN);
            producers.snapshot();
        }
    }
}
