//! How many connections the whole process has, for `max.connections` and `max.connections.per.ip`:
//! Kafka's limits are the broker's, not a shard's.
//!
//! The one table that all shards write. A lock guards it, held for a look-up and never across
//! anything that waits; it is asked for when a connection comes and when one goes, never for a
//! request. Owns numbers only; whose connection it is, is each shard's business.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one more connection may not pass.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub all_max: usize,
    /// `max.connections.per.ip`, or what `max.connections.per.ip.overrides` says of the address.
    pub per_ip_max: usize,
}

/// Open connections of the process. Bounded by the connections there are: an address without one
/// has no entry.
#[derive(Default)]
pub struct ConnectionCounts {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    per_ip: HashMap<IpAddr, usize>,
}

impl ConnectionCounts {
    /// Counts one more, or names the setting that forbids it. What is counted is given back with
    /// [`Self::release`], once.
    pub fn admit(&self, ip: IpAddr, limits: ConnectionLimits) -> Result<(), &'static str> {
        let mut counts = self.counts();
        if counts.all >= limits.all_max {
            return Err("max.connections");
        }
        let here = counts.per_ip.get(&ip).copied().unwrap_or(0);
        if here >= limits.per_ip_max {
            return Err("max.connections.per.ip");
        }
        counts.all = counts.all.saturating_add(1);
        counts.per_ip.insert(ip, here.saturating_add(1));
        Ok(())
    }

    /// A counted connection is gone.
    pub fn release(&self, ip: IpAddr) {
        let mut counts = self.counts();
        counts.all = counts.all.saturating_sub(1);
        let left = counts.per_ip.get_mut(&ip).map(|here| {
            *here = here.saturating_sub(1);
            *here
        });
        debug_assert!(left.is_some(), "what goes was counted when it came");
        if left == Some(0) {
            counts.per_ip.remove(&ip);
        }
    }

    /// Connections of all shards.
    pub fn open(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        all_max: 3,
        per_ip_max: 2,
    };

    #[test]
    fn what_goes_makes_room_and_leaves_no_trace() {
        let counts = ConnectionCounts::default();
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert_eq!(counts.admit(a, LIMITS), Ok(()));
        assert_eq!(counts.admit(a, LIMITS), Ok(()));
        assert_eq!(counts.admit(a, LIMITS), Err("max.connections.per.ip"));
        assert_eq!(counts.admit(b, LIMITS), Ok(()));
        assert_eq!(counts.admit(b, LIMITS), Err("max.connections"));
        counts.release(a);
        assert_eq!(counts.admit(b, LIMITS), Ok(()));
        for ip in [a, b, b] {
            counts.release(ip);
        }
        assert_eq!(counts.open(), 0);
        assert!(counts.counts().per_ip.is_empty());
    }
}
