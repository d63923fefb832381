//! Answers owed when the mark of one partition reaches an offset.
//!
//! One queue per partition that somebody waits for. Owns the tickets in the order in which they
//! fall due; never knows which mark (durable, high watermark) the caller moves.

use std::collections::VecDeque;

use crate::wait::Full;
use crate::words::Offset;

/// Slots that an emptied queue may keep; more are given back, for partitions are many.
const KEPT_SLOTS_MAX: usize = 256;

/// Tickets by the offset they are owed at, first come first served at the same offset.
///
/// The offset is the one that the mark must *reach*: an answer for a batch whose last offset is
/// `n` is owed at `n + 1`, as a high watermark is the first offset that is not replicated.
pub struct OffsetQueue<T> {
    /// Sorted by offset; equal offsets in the order of their arrival.
    owed: VecDeque<(Offset, T)>,
    owed_max: usize,
}

impl<T: Copy + Eq> OffsetQueue<T> {
    /// A queue of at most `owed_max` tickets.
    pub fn new(owed_max: usize) -> OffsetQueue<T> {
        OffsetQueue {
            owed: VecDeque::new(),
            owed_max,
        }
    }

    /// Owes `ticket` until the mark reaches `offset`. An offset below the newest one is put in
    /// its place, at a cost that grows with the distance.
    pub fn owe(&mut self, offset: Offset, ticket: T) -> Result<(), Full> {
        if self.owed.len() >= self.owed_max {
            return Err(Full);
        }
        if self.owed.back().is_none_or(|(last, _)| *last <= offset) {
            self.owed.push_back((offset, ticket));
        } else {
            let place = self.owed.partition_point(|(other, _)| *other <= offset);
            self.owed.insert(place, (offset, ticket));
        }
        Ok(())
    }

    /// Hands out every ticket owed at `mark` or below, in the order of offsets.
    pub fn release_to(&mut self, mark: Offset, mut due: impl FnMut(T)) {
        while let Some((_, ticket)) = self.owed.pop_front_if(|(offset, _)| *offset <= mark) {
            due(ticket);
        }
        self.give_back();
    }

    /// Takes back one ticket owed at `offset` (its deadline came first). False when it is not
    /// there, which is the case once it was released.
    pub fn cancel(&mut self, offset: Offset, ticket: T) -> bool {
        let first = self.owed.partition_point(|(other, _)| *other < offset);
        let place = self
            .owed
            .range(first..)
            .take_while(|(other, _)| *other == offset)
            .position(|(_, other)| *other == ticket);
        let removed = place.is_some_and(|at| self.owed.remove(first + at).is_some());
        self.give_back();
        removed
    }

    /// Hands out everything, in the order of offsets: the mark will not move here any more.
    pub fn drain(&mut self, mut gone: impl FnMut(T)) {
        for (_, ticket) in self.owed.drain(..) {
            gone(ticket);
        }
        self.give_back();
    }

    /// The lowest offset that something is owed at.
    pub fn next_offset(&self) -> Option<Offset> {
        self.owed.front().map(|(offset, _)| *offset)
    }

    pub fn len(&self) -> usize {
        self.owed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    fn give_back(&mut self) {
        if self.owed.is_empty() && self.owed.capacity() > KEPT_SLOTS_MAX {
            self.owed = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn released(queue: &mut OffsetQueue<u32>, mark: i64) -> Vec<u32> {
        let mut out = Vec::new();
        queue.release_to(Offset(mark), |ticket| out.push(ticket));
        out
    }

    #[test]
    fn a_ticket_is_released_when_the_mark_reaches_its_offset_and_once() {
        let mut queue = OffsetQueue::new(10);
        queue.owe(Offset(5), 1).unwrap();
        queue.owe(Offset(7), 2).unwrap();
        assert_eq!(released(&mut queue, 4), [0; 0]);
        assert_eq!(released(&mut queue, 5), [1]);
        assert_eq!(queue.next_offset(), Some(Offset(7)));
        assert_eq!(released(&mut queue, 100), [2]);
        assert_eq!(released(&mut queue, 100), [0; 0]);
    }

    #[test]
    fn the_bound_refuses_and_changes_nothing() {
        let mut queue = OffsetQueue::new(1);
        queue.owe(Offset(5), 1).unwrap();
        assert_eq!(queue.owe(Offset(4), 2), Err(Full));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn an_emptied_queue_gives_back_what_a_burst_took() {
        let mut queue = OffsetQueue::new(10_000);
        for offset in 0..10_000 {
            queue.owe(Offset(offset), 0).unwrap();
        }
        queue.drain(|_| ());
        assert!(queue.owed.capacity() <= KEPT_SLOTS_MAX);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Owe(i64),
        Release(i64),
        Cancel(prop::sample::Index),
        Drain,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0i64..20).prop_map(Step::Owe),
            3 => (0i64..20).prop_map(Step::Release),
            3 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            1 => Just(Step::Drain),
        ]
    }

    proptest! {
        /// Against a map from (offset, arrival) to ticket.
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = OffsetQueue::new(50);
            let mut oracle: BTreeMap<(i64, u32), u32> = BTreeMap::new();
            for (ticket, step) in (0u32..).zip(steps) {
                match step {
                    Step::Owe(offset) => {
                        let fits = oracle.len() < 50;
                        prop_assert_eq!(queue.owe(Offset(offset), ticket).is_ok(), fits);
                        if fits {
                            oracle.insert((offset, ticket), ticket);
                        }
                    }
                    Step::Release(mark) => {
                        let rest = oracle.split_off(&(mark + 1, 0));
                        let due: Vec<u32> = oracle.into_values().collect();
                        oracle = rest;
                        prop_assert_eq!(released(&mut queue, mark), due);
                    }
                    Step::Cancel(which) if !oracle.is_empty() => {
                        let (offset, ticket) = *which.get(&oracle.keys().copied().collect::<Vec<_>>());
                        oracle.remove(&(offset, ticket));
                        prop_assert!(queue.cancel(Offset(offset), ticket));
                        prop_assert!(!queue.cancel(Offset(offset), ticket));
                    }
                    Step::Cancel(_) => prop_assert!(!queue.cancel(Offset(1), ticket)),
                    Step::Drain => {
                        let mut out = Vec::new();
                        queue.drain(|ticket| out.push(ticket));
                        prop_assert_eq!(out, std::mem::take(&mut oracle).into_values().collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(queue.len(), oracle.len());
                prop_assert_eq!(queue.next_offset().map(|o| o.0), oracle.keys().next().map(|k| k.0));
            }
        }
    }
}
