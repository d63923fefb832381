//! The bell of a machine: one eventfd that the ring and every other thread may ring.
//!
//! Owned by the machine's loop; others hold clones of a [`Waker`]. Ringing never blocks, and costs
//! a system call only when the machine sleeps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd with the knowledge whether anybody listens.
pub(super) struct Doorbell {
    fd: OwnedFd,
    /// True from just before the loop looks a last time for work until it is awake again.
    asleep: AtomicBool,
    /// Somebody outside the mesh asked for a look around.
    woken: AtomicBool,
}

impl Doorbell {
    pub(super) fn new() -> io::Result<Doorbell> {
        // Blocking on purpose: a read through a ring, or by a plain thread, waits for the bell.
        Ok(Doorbell {
            fd: eventfd(0, EventfdFlags::CLOEXEC)?,
            asleep: AtomicBool::new(false),
            woken: AtomicBool::new(false),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Called after work was put where the loop will find it.
    ///
    /// The ringer writes work, then reads `asleep`; the sleeper writes `asleep`, then reads work:
    /// with a full fence between the two on both sides at least one sees the other.
    pub(super) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // Only a counter near 2^64 could refuse, and each sleep takes one ring.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// From now on rings make the eventfd readable; look for work once more before waiting.
    pub(super) fn going_to_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Blocks this thread until the bell rings.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut count = [0u8; 8];
        match rustix::io::read(&self.fd, &mut count) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    pub(super) fn take_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed) && self.woken.swap(false, Ordering::SeqCst)
    }
}

/// Wakes one machine from any thread: it gets [`crate::devices::Event::Woken`] in its next turn.
/// Wakes that arrive before that turn are one.
#[derive(Clone)]
pub struct Waker(pub(super) Arc<Doorbell>);

impl Waker {
    pub fn wake(&self) {
        self.0.woken.store(true, Ordering::SeqCst);
        self.0.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_sleep_is_found_and_one_after_it_wakes() {
        let bell = Arc::new(Doorbell::new().unwrap());
        let waker = Waker(bell.clone());
        waker.wake();
        bell.going_to_sleep();
        assert!(bell.take_woken(), "found without the eventfd");
        assert!(!bell.take_woken());
        let ringer = std::thread::spawn(move || waker.wake());
        bell.wait().unwrap();
        assert!(bell.take_woken());
        ringer.join().unwrap();
    }
}
