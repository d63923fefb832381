//! Coverage marks: names of rare things, noted as they happen while somebody listens.
//!
//! The simulator listens, so that a run can prove that it met what it claims to search. Elsewhere
//! a mark is one look at a flag of its thread, and stands on cold paths only. Never decides anything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Names that one listener keeps; more are a mistake.
const NAMES_MAX: usize = 1024;

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static HITS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// The thing with this name happened on this thread.
#[inline]
pub fn hit(name: &'static str) {
    if LISTENING.get() {
        note(name);
    }
}

#[cold]
fn note(name: &'static str) {
    HITS.with_borrow_mut(|hits| {
        if hits.len() < NAMES_MAX || hits.contains_key(name) {
            *hits.entry(name).or_default() += 1;
        }
    });
}

/// From now on this thread keeps what happens, from nothing.
pub fn listen() {
    HITS.with_borrow_mut(BTreeMap::clear);
    LISTENING.set(true);
}

/// How often a thing happened since [`listen`].
pub fn count(name: &str) -> u64 {
    HITS.with_borrow(|hits| hits.get(name).copied().unwrap_or(0))
}

/// Ends listening: every name that was hit, and how often.
pub fn take() -> BTreeMap<&'static str, u64> {
    LISTENING.set(false);
    HITS.with_borrow_mut(std::mem::take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happens_while_somebody_listens_is_kept() {
        hit("before");
        listen();
        hit("a");
        hit("a");
        assert_eq!(count("a"), 2);
        let hits = take();
        hit("after");
        assert_eq!(hits.into_iter().collect::<Vec<_>>(), [("a", 2)]);
        assert_eq!(take().len(), 0);
    }
}
