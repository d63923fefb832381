//! Time as values: cores receive it, only devices read it.

use crate::words::TimestampMs;

/// One reading of the clocks, taken by the device at the start of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Nanoseconds on the monotonic clock; comparable only within one process.
    pub mono_ns: u64,
    /// Wall clock; may step in either direction.
    pub wall: TimestampMs,
}

/// A moment on the monotonic clock, in its nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Deadline(pub u64);

impl Now {
    /// The deadline `ms` milliseconds from now; a negative wait is over at once.
    pub fn after_ms(self, ms: i64) -> Deadline {
        let ns = u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
        Deadline(self.mono_ns.saturating_add(ns))
    }

    pub fn reached(self, deadline: Deadline) -> bool {
        self.mono_ns >= deadline.0
    }
}
