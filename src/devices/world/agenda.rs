//! What is going to happen in a simulated world, by time; chance decides among equals.
//!
//! Owns virtual time, which only moves forward and only to the next thing that happens.

use std::collections::BTreeMap;

/// Things to come.
pub(super) struct Agenda<T> {
    now_ns: u64,
    entries: BTreeMap<(u64, u64, u64), T>,
    serial: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new(now_ns: u64) -> Agenda<T> {
        Agenda {
            now_ns,
            entries: BTreeMap::new(),
            serial: 0,
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// `what` happens at `at_ns`, or now when that is over; among equals the lower `tie` is first.
    pub(super) fn add(&mut self, at_ns: u64, tie: u64, what: T) {
        self.serial += 1;
        let key = (at_ns.max(self.now_ns), tie, self.serial);
        self.entries.insert(key, what);
    }

    /// When the next thing happens.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.entries.keys().next().map(|(at, ..)| *at)
    }

    /// Takes the next thing and moves time to it.
    pub(super) fn take(&mut self) -> Option<T> {
        let ((at, ..), what) = self.entries.pop_first()?;
        self.now_ns = at;
        Some(what)
    }

    /// Moves time to `at_ns`, if nothing is to happen before.
    pub(super) fn pass_to(&mut self, at_ns: u64) {
        let bound = self.next_ns().unwrap_or(u64::MAX);
        self.now_ns = self.now_ns.max(at_ns.min(bound));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
