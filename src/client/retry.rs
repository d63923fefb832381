//! How long to wait between attempts, and until when.
//!
//! Owns numbers only: never sleeps, never reads a clock.

use std::time::Duration;

/// First wait (Kafka `retry.backoff.ms`).
const BACKOFF_MS_FIRST: u64 = 50;
/// Longest wait (Kafka `retry.backoff.max.ms`).
const BACKOFF_MS_MAX: u64 = 1000;
const _: () = assert!(BACKOFF_MS_FIRST <= BACKOFF_MS_MAX);

/// Waits that double until the longest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let factor = 1u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        self.attempts = self.attempts.saturating_add(1).min(16);
        Duration::from_millis(BACKOFF_MS_FIRST.saturating_mul(factor).min(BACKOFF_MS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_below_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        for _ in 0..100 {
            assert_eq!(backoff.next_wait().as_millis(), 1000);
        }
    }
}
