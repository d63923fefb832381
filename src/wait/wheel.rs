//! Timers of one shard: a hierarchical timing wheel in steps of one millisecond.
//!
//! Owns deadlines and the tickets behind them; never reads a clock, never fires by itself: the
//! shard asks for [`Wheel::next_deadline`] and calls [`Wheel::advance`].
//!
//! Eight levels of 64 slots. Time is cut into digits of 6 bits; a timer lies at the level of the
//! highest digit in which it differs from the present, in the slot of its own digit there. When
//! the present enters a slot of a higher level, its timers move down to where they now belong.
//! Eight digits hold every [`Deadline`], so nothing is ever beyond the horizon. Timers of one
//! slot keep their order when they move down, and they move before anything can be put directly
//! below: equal deadlines fire in the order of their insertion.

use crate::wait::Full;
use crate::wait::slab::{NONE, Slab};
use crate::words::{Deadline, Now};

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 8;
const TICK_NS: u64 = 1_000_000;
/// The list of timers that were due when they came; one more than the wheel's own lists.
const OVERDUE: usize = LEVELS * SLOTS;

// Every deadline, in ticks, has at most LEVELS digits.
const _: () = assert!(u64::MAX / TICK_NS < 1 << (DIGIT_BITS as usize * LEVELS));

/// Name of one timer, good until it fires or is cancelled; later it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerHandle {
    cell: u32,
    generation: u32,
}

struct Timer<T> {
    ticket: T,
    /// First tick at which the deadline is reached.
    tick: u64,
    list: usize,
    before: u32,
    after: u32,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

const EMPTY: Ends = Ends {
    first: NONE,
    last: NONE,
};

/// Tickets by deadline. A timer costs no allocation once the wheel has held as many before.
pub struct Wheel<T> {
    timers: Slab<Timer<T>>,
    /// Level by level, slot by slot, then [`OVERDUE`].
    lists: Box<[Ends]>,
    /// Bit `s` of a level: its slot `s` is not empty.
    filled: [u64; LEVELS],
    /// Everything up to this tick has fired.
    elapsed: u64,
}

impl<T: Copy> Wheel<T> {
    /// A wheel of at most `timers_max` timers that starts at `now`.
    pub fn new(timers_max: usize, now: Now) -> Wheel<T> {
        Wheel {
            timers: Slab::new(timers_max),
            lists: vec![EMPTY; OVERDUE + 1].into_boxed_slice(),
            filled: [0; LEVELS],
            elapsed: now.mono_ns / TICK_NS,
        }
    }

    /// Arms a timer; one whose deadline is past fires at the next [`Wheel::advance`].
    pub fn insert(&mut self, deadline: Deadline, ticket: T) -> Result<TimerHandle, Full> {
        let timer = Timer {
            ticket,
            // Rounded up: never before the deadline.
            tick: deadline.0.div_ceil(TICK_NS),
            list: OVERDUE,
            before: NONE,
            after: NONE,
        };
        let tick = timer.tick;
        let cell = self.timers.insert(timer).ok_or(Full)?;
        let generation = self.timers.generation(cell).ok_or(Full)?;
        self.append(self.list_for(tick), cell);
        Ok(TimerHandle { cell, generation })
    }

    /// Disarms a timer and frees its place; `None` when it fired or was cancelled before.
    pub fn cancel(&mut self, handle: TimerHandle) -> Option<T> {
        if self.timers.generation(handle.cell)? != handle.generation {
            return None;
        }
        let list = self.timers.get(handle.cell)?.list;
        self.detach(list, handle.cell);
        Some(self.timers.remove(handle.cell)?.ticket)
    }

    /// Fires what is due, in the order of deadlines (to the millisecond), at equal ones in the
    /// order of insertion; what was due at its insertion comes first. A `now` before the last one
    /// fires only the latter.
    pub fn advance(&mut self, now: Now, mut expired: impl FnMut(T)) {
        self.fire(OVERDUE, &mut expired);
        let present = now.mono_ns / TICK_NS;
        while let Some((level, slot, start)) = self.next_slot() {
            if start > present {
                break;
            }
            self.elapsed = start;
            if level == 0 {
                self.fire(slot, &mut expired);
            } else {
                self.move_down(level * SLOTS + slot);
            }
        }
        self.elapsed = self.elapsed.max(present);
    }

    /// When to call [`Wheel::advance`] next: never later than the earliest timer (rounded up to
    /// the millisecond), but maybe earlier, when that one is far off; each such call brings the
    /// answer nearer, and there are at most seven for one timer.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self
            .lists
            .get(OVERDUE)
            .is_some_and(|list| list.first != NONE)
        {
            return Some(Deadline(self.elapsed.saturating_mul(TICK_NS)));
        }
        let (_, _, start) = self.next_slot()?;
        Some(Deadline(start.saturating_mul(TICK_NS)))
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timers.len() == 0
    }

    /// The earliest slot that is not empty: level, slot, its first tick. The lowest level comes
    /// first, because what lies in it shares all higher digits with the present.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, filled) = (0..).zip(&self.filled).find(|(_, filled)| **filled != 0)?;
        let slot = filled.trailing_zeros();
        let shift = DIGIT_BITS * level;
        let above = shift + DIGIT_BITS;
        let start = (self.elapsed >> above << above) | (u64::from(slot) << shift);
        Some((level as usize, slot as usize, start))
    }

    fn list_for(&self, tick: u64) -> usize {
        if tick <= self.elapsed {
            return OVERDUE;
        }
        let level = (tick ^ self.elapsed).ilog2() / DIGIT_BITS;
        let slot = (tick >> (DIGIT_BITS * level)) as usize % SLOTS;
        level as usize * SLOTS + slot
    }

    /// Empties a list of level 0, or the overdue one.
    fn fire(&mut self, list: usize, expired: &mut impl FnMut(T)) {
        let mut at = self.take(list);
        while let Some(timer) = self.timers.remove(at) {
            at = timer.after;
            expired(timer.ticket);
        }
    }

    /// Spreads a list that the present has just entered over the levels below.
    fn move_down(&mut self, list: usize) {
        let mut at = self.take(list);
        while let Some(timer) = self.timers.get(at) {
            let (tick, after) = (timer.tick, timer.after);
            // A timer at the very first tick of the slot is due in this pass: put where the next
            // round of `advance` finds it, which is level 0, not the overdue list.
            let to = if tick == self.elapsed {
                tick as usize % SLOTS
            } else {
                self.list_for(tick)
            };
            self.append(to, at);
            at = after;
        }
    }

    /// Detaches a whole list; its timers still hang together. Returns the first.
    fn take(&mut self, list: usize) -> u32 {
        self.mark(list, false);
        match self.lists.get_mut(list) {
            Some(ends) => std::mem::replace(ends, EMPTY).first,
            None => NONE,
        }
    }

    fn append(&mut self, list: usize, cell: u32) {
        let Some(ends) = self.lists.get_mut(list) else {
            return;
        };
        let last = std::mem::replace(&mut ends.last, cell);
        if ends.first == NONE {
            ends.first = cell;
        }
        if let Some(timer) = self.timers.get_mut(last) {
            timer.after = cell;
        }
        if let Some(timer) = self.timers.get_mut(cell) {
            timer.list = list;
            timer.before = last;
            timer.after = NONE;
        }
        self.mark(list, true);
    }

    fn detach(&mut self, list: usize, cell: u32) {
        let Some((before, after)) = self.timers.get(cell).map(|t| (t.before, t.after)) else {
            return;
        };
        if let Some(timer) = self.timers.get_mut(before) {
            timer.after = after;
        }
        if let Some(timer) = self.timers.get_mut(after) {
            timer.before = before;
        }
        let mut emptied = false;
        if let Some(ends) = self.lists.get_mut(list) {
            if ends.first == cell {
                ends.first = after;
            }
            if ends.last == cell {
                ends.last = before;
            }
            emptied = ends.first == NONE;
        }
        if emptied {
            self.mark(list, false);
        }
    }

    /// Notes whether a list is filled; the overdue one has no bit.
    fn mark(&mut self, list: usize, filled: bool) {
        if let Some(bits) = self.filled.get_mut(list / SLOTS) {
            let bit = 1u64 << (list % SLOTS);
            *bits = if filled { *bits | bit } else { *bits & !bit };
        }
    }
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
