//! Who wants to look again when something happens to a key: a fetch parked on many partitions.
//!
//! One per shard. Owns which ticket watches which keys, both ways round; never decides whether a
//! ticket is satisfied. The caller looks at the tickets of a key, judges each, and calls
//! [`Watchers::unwatch`] for those it answers.

use std::collections::HashMap;
use std::hash::Hash;

use crate::wait::Full;
use crate::wait::slab::{NONE, Slab};

/// One ticket at one key: a member of the key's list (both directions) and of the ticket's.
struct Link<K, T> {
    key: K,
    ticket: T,
    before: u32,
    after: u32,
    /// Next link of the same ticket.
    sibling: u32,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

/// Tickets by key, in the order in which they came. Adding and taking away one ticket at one key
/// costs the same however many others are there.
pub struct Watchers<K, T> {
    links: Slab<Link<K, T>>,
    /// A key without tickets has no entry.
    keys: HashMap<K, Ends>,
    /// First link of each ticket.
    tickets: HashMap<T, u32>,
}

impl<K: Copy + Eq + Hash, T: Copy + Eq + Hash> Watchers<K, T> {
    /// At most `links_max` pairs of a ticket and a key.
    pub fn new(links_max: usize) -> Watchers<K, T> {
        Watchers {
            links: Slab::new(links_max),
            keys: HashMap::new(),
            tickets: HashMap::new(),
        }
    }

    /// Lets `ticket` watch `keys`, and no longer what it watched before. A key named twice counts
    /// once. Refused when the pairs might not fit; then the ticket watches what it did before.
    pub fn watch(&mut self, ticket: T, keys: &[K]) -> Result<(), Full> {
        let freed = self.links_of(ticket);
        if keys.len() > self.links.room().saturating_add(freed) {
            return Err(Full);
        }
        self.unwatch(ticket);
        for key in keys {
            self.link(*key, ticket).ok_or(Full)?;
        }
        Ok(())
    }

    /// Takes `ticket` away from all its keys; false when it watches none.
    pub fn unwatch(&mut self, ticket: T) -> bool {
        let Some(mut at) = self.tickets.remove(&ticket) else {
            return false;
        };
        while let Some(link) = self.links.remove(at) {
            self.unlink(&link);
            at = link.sibling;
        }
        true
    }

    /// The tickets that watch `key`, first come first.
    pub fn tickets(&self, key: K) -> impl Iterator<Item = T> + '_ {
        let mut at = self.keys.get(&key).map_or(NONE, |ends| ends.first);
        std::iter::from_fn(move || {
            let link = self.links.get(at)?;
            at = link.after;
            Some(link.ticket)
        })
    }

    /// Whether anybody watches `key`.
    pub fn is_watched(&self, key: K) -> bool {
        self.keys.contains_key(&key)
    }

    /// Tickets that watch something.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Pairs of a ticket and a key.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    fn links_of(&self, ticket: T) -> usize {
        let mut at = self.tickets.get(&ticket).copied().unwrap_or(NONE);
        let mut count = 0;
        while let Some(link) = self.links.get(at) {
            count += 1;
            at = link.sibling;
        }
        count
    }

    fn link(&mut self, key: K, ticket: T) -> Option<()> {
        let before = self.keys.get(&key).map_or(NONE, |ends| ends.last);
        // Nobody else links in the middle of `watch`: a key named twice has the ticket last.
        if self
            .links
            .get(before)
            .is_some_and(|last| last.ticket == ticket)
        {
            return Some(());
        }
        let sibling = self.tickets.get(&ticket).copied().unwrap_or(NONE);
        let at = self.links.insert(Link {
            key,
            ticket,
            before,
            after: NONE,
            sibling,
        })?;
        self.tickets.insert(ticket, at);
        if let Some(last) = self.links.get_mut(before) {
            last.after = at;
        }
        self.keys
            .entry(key)
            .and_modify(|ends| ends.last = at)
            .or_insert(Ends {
                first: at,
                last: at,
            });
        Some(())
    }

    fn unlink(&mut self, link: &Link<K, T>) {
        if let Some(before) = self.links.get_mut(link.before) {
            before.after = link.after;
        }
        if let Some(after) = self.links.get_mut(link.after) {
            after.before = link.before;
        }
        if link.before == NONE && link.after == NONE {
            self.keys.remove(&link.key);
        } else if let Some(ends) = self.keys.get_mut(&link.key) {
            if link.before == NONE {
                ends.first = link.after;
            }
            if link.after == NONE {
                ends.last = link.before;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn on(watchers: &Watchers<u8, u32>, key: u8) -> Vec<u32> {
        watchers.tickets(key).collect()
    }

    #[test]
    fn a_ticket_leaves_all_its_keys_at_once_and_the_others_keep_their_order() {
        let mut watchers = Watchers::new(100);
        watchers.watch(1, &[10, 11]).unwrap();
        watchers.watch(2, &[11, 10]).unwrap();
        watchers.watch(3, &[11]).unwrap();
        assert_eq!(on(&watchers, 11), [1, 2, 3]);
        assert!(watchers.unwatch(2));
        assert!(!watchers.unwatch(2));
        assert_eq!(
            (on(&watchers, 10), on(&watchers, 11)),
            (vec![1], vec![1, 3])
        );
    }

    #[test]
    fn a_key_named_twice_counts_once() {
        let mut watchers = Watchers::new(3);
        watchers.watch(1, &[5, 6, 5]).unwrap();
        assert_eq!((on(&watchers, 5), watchers.links()), (vec![1], 2));
    }

    #[test]
    fn the_bound_refuses_whole_and_leaves_the_ticket_as_it_was() {
        let mut watchers = Watchers::new(3);
        watchers.watch(1, &[5, 6]).unwrap();
        assert_eq!(watchers.watch(2, &[5, 6]), Err(Full));
        assert_eq!(watchers.watch(1, &[5, 6, 7, 8]), Err(Full));
        assert_eq!((on(&watchers, 5), on(&watchers, 8)), (vec![1], vec![]));
        // Its own pairs make room for its new ones.
        watchers.watch(1, &[6, 7, 8]).unwrap();
        assert_eq!((on(&watchers, 5), on(&watchers, 8)), (vec![], vec![1]));
    }

    #[test]
    fn nothing_is_kept_for_keys_that_nobody_watches() {
        let mut watchers = Watchers::new(1000);
        for key in 0u8..200 {
            watchers.watch(1, &[key, key.wrapping_add(1)]).unwrap();
        }
        watchers.unwatch(1);
        assert!(watchers.keys.is_empty() && watchers.tickets.is_empty());
        assert_eq!(watchers.links(), 0);
    }

    proptest! {
        /// Against a map of lists; each step watches (keys) or unwatches (no keys) one of a few tickets.
        #[test]
        fn agrees_with_a_map_of_lists(
            steps in prop::collection::vec((0u32..8, prop::collection::vec(0u8..6, 0..6)), 0..200)
        ) {
            let mut watchers = Watchers::new(24);
            let mut oracle: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            for (ticket, keys) in steps {
                if keys.is_empty() {
                    let had = oracle.values().any(|list| list.contains(&ticket));
                    prop_assert_eq!(watchers.unwatch(ticket), had);
                    oracle.values_mut().for_each(|list| list.retain(|other| *other != ticket));
                } else if watchers.watch(ticket, &keys).is_ok() {
                    oracle.values_mut().for_each(|list| list.retain(|other| *other != ticket));
                    for key in keys {
                        let list = oracle.entry(key).or_default();
                        if !list.contains(&ticket) {
                            list.push(ticket);
                        }
                    }
                } else {
                    let others: usize = oracle.values().flatten().filter(|t| **t != ticket).count();
                    prop_assert!(others + keys.len() > 24);
                }
                for key in 0u8..6 {
                    let list = oracle.get(&key).cloned().unwrap_or_default();
                    prop_assert_eq!(watchers.is_watched(key), !list.is_empty());
                    prop_assert_eq!(on(&watchers, key), list);
                }
                prop_assert_eq!(watchers.links(), oracle.values().flatten().count());
            }
        }
    }
}
