//! The clocks of the machine, read once a turn.
//!
//! The only place that reads time for a [`crate::devices::Machine`]; it never waits.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::words::{Now, TimestampMs};

/// Both clocks at this moment. `mono_ns` is `CLOCK_MONOTONIC`, the clock of the ring's timers.
pub fn now() -> Now {
    Now {
        mono_ns: mono_ns(),
        wall: wall(SystemTime::now()),
    }
}

/// Milliseconds since the epoch; a clock set before the epoch counts as the epoch.
pub(super) fn wall(at: SystemTime) -> TimestampMs {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn mono_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the duration of the call. The call cannot fail: the
    // clock exists on every Linux and the pointer is good.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = now();
        let second = now();
        assert!(second.mono_ns >= first.mono_ns);
        assert!(first.wall.0 > 1_600_000_000_000);
    }
}
