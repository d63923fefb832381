//! Which shard runs on which core.
//!
//! Reads the cores this process may use and which of them share a physical core; decides nothing
//! else. Pinning is done where the thread starts ([`super::run_shard`]).

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

/// The cores that shards are placed on, best first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Cores by the kernel's number: one of each physical core, then their siblings.
    pub cores: Vec<usize>,
    /// Shards to start unless somebody says otherwise: one for each core, or fewer where a
    /// control group grants less time than the cores have.
    pub shards: usize,
}

impl Placement {
    /// What this process may use: its affinity mask (which the cpuset bounds) and its quota.
    /// Never empty: a machine that does not say has one core of unknown number, so no core is
    /// named and one shard is proposed.
    pub fn detect() -> Placement {
        let allowed: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        let granted = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shards = granted.min(allowed.len()).max(1);
        let cores = spread(allowed, siblings_of);
        Placement { cores, shards }
    }

    /// The core of a shard. With more shards than cores nothing is pinned: two pinned to one core
    /// while another idles would be worse than what the kernel does.
    pub fn core_of(&self, shard: usize, shards: usize) -> Option<usize> {
        if shards > self.cores.len() {
            return None;
        }
        self.cores.get(shard).copied()
    }
}

/// Orders cores so that the first of every physical core come first, each group in its order.
fn spread(allowed: Vec<usize>, siblings: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for core in allowed {
        if taken.contains(&core) {
            later.push(core);
        } else {
            first.push(core);
            taken.extend(siblings(core));
        }
    }
    first.append(&mut later);
    first
}

fn siblings_of(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let list = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
    parse_list(&list)
}

/// Reads the kernel's form of a list of cores, such as `0,4-6`. What is no number is left out.
fn parse_list(list: &str) -> Vec<usize> {
    /// More than any machine has; bounds what a strange file makes us store.
    const CORES_MAX: usize = 65536;
    let mut cores = Vec::new();
    for piece in list.trim().split(',') {
        let (from, to) = piece.split_once('-').unwrap_or((piece, piece));
        if let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) {
            cores.extend((from..=to.min(CORES_MAX)).take(CORES_MAX));
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_come_last() {
        // Two threads a core, numbered side by side, and numbered in two halves.
        let pairs = |core: usize| vec![core & !1, core | 1];
        assert_eq!(spread((0..6).collect(), pairs), [0, 2, 4, 1, 3, 5]);
        let halves = |core: usize| vec![core % 4, core % 4 + 4];
        assert_eq!(spread(vec![1, 2, 3, 5, 6], halves), [1, 2, 3, 5, 6]);
        assert_eq!(spread(vec![4, 0, 1], |_| Vec::new()), [4, 0, 1]);
    }

    #[test]
    fn lists_of_cores_are_read_and_rubbish_is_not() {
        assert_eq!(parse_list("0,4-6\n"), [0, 4, 5, 6]);
        assert_eq!(parse_list("7"), [7]);
        assert!(parse_list("").is_empty());
        assert!(parse_list("x,3-,9-2").is_empty());
        assert_eq!(parse_list("65536-99999999999").len(), 1);
    }

    #[test]
    fn this_process_gets_a_core_of_its_own_for_each_shard() {
        let found = Placement::detect();
        assert!(found.shards >= 1 && found.shards <= found.cores.len().max(1));
        let used: BTreeSet<_> = (0..found.shards)
            .filter_map(|shard| found.core_of(shard, found.shards))
            .collect();
        assert_eq!(used.len(), found.shards.min(found.cores.len()));
        assert_eq!(found.core_of(0, found.cores.len() + 1), None);
    }
}
