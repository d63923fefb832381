//! One io_uring of one machine: queues, flags, and the receive buffers lent to the kernel.
//!
//! Owns the ring and the provided buffers; knows nothing of connections or files beyond the tag in
//! an operation's user data. Every operation pushed comes back in one final completion, also past
//! a full submission or completion queue.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU16, Ordering, fence};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, types};

use super::buffer::Region;
use crate::words::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};

/// `IORING_ENTER_GETEVENTS` of the kernel's interface: run deferred work, flush an overflow.
const ENTER_GETEVENTS: u32 = 1;
/// Group id of the one set of receive buffers of a ring.
pub(super) const RECEIVE_GROUP: u16 = 0;

/// What a completion belongs to; the top byte of its user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    Accept,
    Receive,
    Send,
    Write,
    Sync,
    Read,
    Timer,
    /// Of an operation whose own result tells nothing (a cancellation, a timer moved).
    Nothing,
}

impl Tag {
    pub(super) fn with(self, slot: u32) -> u64 {
        ((self as u64) << 56) | u64::from(slot)
    }

    fn of(user_data: u64) -> Tag {
        const ALL: [Tag; 8] = [
            Tag::Accept,
            Tag::Receive,
            Tag::Send,
            Tag::Write,
            Tag::Sync,
            Tag::Read,
            Tag::Timer,
            Tag::Nothing,
        ];
        let index = usize::try_from(user_data >> 56).unwrap_or(usize::MAX);
        ALL.get(index).copied().unwrap_or(Tag::Nothing)
    }
}

/// One entry of the completion queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: Tag,
    pub(super) slot: u32,
    /// What the kernel returned: a count or descriptor, or a negative error number.
    pub(super) result: i32,
    /// More completions of the same operation will follow.
    pub(super) more: bool,
    /// Receive buffer that carries the data.
    pub(super) buffer: Option<u16>,
}

impl Completion {
    /// The count or descriptor, or the error.
    pub(super) fn outcome(&self) -> io::Result<u32> {
        u32::try_from(self.result)
            .map_err(|_| io::Error::from_raw_os_error(self.result.saturating_neg()))
    }
}

enum Request {
    One(Entry),
    /// Two operations of which the second starts when the first ended well.
    Linked([Entry; 2]),
}

pub(super) struct Ring {
    uring: IoUring,
    /// Requests that found the submission queue full, in order.
    backlog: VecDeque<Request>,
    /// Operations whose final completion has not been taken.
    in_flight: usize,
    receive: Option<ReceiveBuffers>,
}

impl Ring {
    /// A ring for the calling thread alone. `bell` becomes readable when there are completions to
    /// take while [`Ring::listen`] is on.
    pub(super) fn new(
        submissions: u32,
        completions: u32,
        bell: BorrowedFd<'_>,
    ) -> io::Result<Ring> {
        let uring = build(submissions, completions)?;
        uring.submitter().register_eventfd(bell.as_raw_fd())?;
        Ok(Ring {
            uring,
            backlog: VecDeque::new(),
            in_flight: 0,
            receive: None,
        })
    }

    /// Lends receive buffers to the kernel, for multishot receives.
    pub(super) fn lend_receive_buffers(&mut self) -> io::Result<()> {
        self.receive = Some(ReceiveBuffers::register(&self.uring)?);
        Ok(())
    }

    /// Queues one operation for the next [`Ring::submit`].
    ///
    /// # Safety
    /// Everything the entry points to must stay in place, and untouched where the kernel writes,
    /// until the operation's final completion was taken.
    pub(super) unsafe fn push(&mut self, entry: Entry) {
        self.in_flight += 1;
        self.queue(Request::One(entry));
    }

    /// Queues two operations: the second runs only after the first completed in full, otherwise
    /// it completes as cancelled.
    ///
    /// # Safety
    /// As for [`Ring::push`], for both.
    pub(super) unsafe fn push_linked(&mut self, first: Entry, second: Entry) {
        self.in_flight += 2;
        self.queue(Request::Linked([first.flags(Flags::IO_LINK), second]));
    }

    /// Queues the cancellation of the operation with this user data.
    pub(super) fn cancel(&mut self, user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data).build();
        // SAFETY: a cancellation points to no memory.
        unsafe { self.push(entry.user_data(Tag::Nothing.with(0))) }
    }

    /// Order is kept: nothing overtakes what already waits.
    fn queue(&mut self, request: Request) {
        if !self.backlog.is_empty() || !put(&mut self.uring, &request) {
            self.backlog.push_back(request);
        }
    }

    /// Hands everything queued to the kernel, and lets it post what has completed.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        loop {
            while let Some(request) = self.backlog.front() {
                if !put(&mut self.uring, request) {
                    break;
                }
                self.backlog.pop_front();
            }
            let queued = u32::try_from(self.uring.submission().len()).unwrap_or(u32::MAX);
            // SAFETY: no argument is passed; the entries obey the contract of `push`.
            let entered = unsafe {
                self.uring
                    .submitter()
                    .enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
            };
            match entered {
                Ok(0) if queued > 0 => return Ok(()),
                Ok(_) => {}
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            // What the kernel did not take (its own queue overflows) goes in the next turn,
            // after completions were taken.
            if self.backlog.is_empty() || self.uring.submission().is_full() {
                return Ok(());
            }
        }
    }

    /// Something queued was not taken by the kernel yet.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.backlog.is_empty() || !self.uring.submission().is_empty()
    }

    /// Switches the bell on or off. On: whatever completes after the next [`Ring::submit`] rings.
    pub(super) fn listen(&mut self, on: bool) {
        let queue = self.uring.completion();
        if on {
            queue.enable_eventfd();
            // The kernel queues work, then looks at the switch; we move the switch, then enter
            // and look at the work. A full fence keeps ours in this order.
            fence(Ordering::SeqCst);
        } else {
            queue.disable_eventfd();
        }
    }

    /// True when [`Ring::take`] has something, or the kernel keeps something aside for it.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().cq_overflow()
    }

    /// Appends every completion that has been posted.
    pub(super) fn take(&mut self, completions: &mut Vec<Completion>) {
        for entry in self.uring.completion() {
            let more = cqueue::more(entry.flags());
            if !more {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            completions.push(Completion {
                tag: Tag::of(entry.user_data()),
                slot: u32::try_from(entry.user_data() & 0xffff_ffff).unwrap_or(0),
                result: entry.result(),
                more,
                buffer: cqueue::buffer_select(entry.flags()),
            });
        }
    }

    /// The first `len` bytes of a receive buffer that a completion named.
    pub(super) fn received(&self, buffer: u16, len: u32) -> &[u8] {
        self.receive
            .as_ref()
            .map_or(&[], |lent| lent.data(buffer, len))
    }

    /// Lends a buffer again whose data has been used.
    pub(super) fn recycle(&mut self, buffer: u16) {
        if let Some(lent) = &mut self.receive {
            lent.lend(buffer);
        }
    }

    /// Lets the kernel see the buffers recycled so far.
    pub(super) fn publish_recycled(&mut self) {
        if let Some(lent) = &mut self.receive {
            lent.publish();
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Asks the kernel to give up whatever can be given up.
    pub(super) fn cancel_everything(&mut self) {
        let all = types::CancelBuilder::any();
        let entry = opcode::AsyncCancel2::new(all).build();
        // SAFETY: a cancellation points to no memory.
        unsafe { self.push(entry.user_data(Tag::Nothing.with(0))) }
    }

    /// Submits, and lets the kernel work off all it has deferred, or enough for a completion.
    ///
    /// [`Ring::submit`] alone is not enough before a sleep: one entry works off at most twenty
    /// deferred items (Linux 6.13 and later), possibly without a completion among them, and what
    /// is left does not ring again. Waiting for a completion, for no time, works off the rest.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.wait(Duration::ZERO)
    }

    /// Submits, and waits at most `limit` for a completion.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<()> {
        self.submit()?;
        let timespec = Timespec::from(limit);
        let args = SubmitArgs::new().timespec(&timespec);
        match self.uring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The memory the kernel may still write to outlives us when it would not let go in time.
    #[expect(
        clippy::mem_forget,
        reason = "freed, the memory would be written to by the kernel while others use it"
    )]
    pub(super) fn leak_receive_buffers(&mut self) {
        std::mem::forget(self.receive.take());
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.receive.is_some() {
            // Nothing is in flight (or the buffers were leaked), so the group is idle.
            let _ = self.uring.submitter().unregister_buf_ring(RECEIVE_GROUP);
        }
    }
}

/// The ring refuses new work until completions are taken, or a signal came: try in the next turn.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBUSY | libc::EAGAIN | libc::EINTR)
    )
}

/// False when the submission queue has no room for it.
fn put(uring: &mut IoUring, request: &Request) -> bool {
    let mut queue = uring.submission();
    let pushed = match request {
        // SAFETY: whoever queued the request vouched for what its entry points to.
        Request::One(entry) => unsafe { queue.push(entry) },
        // SAFETY: as above, for both entries.
        Request::Linked(pair) => unsafe { queue.push_multiple(pair) },
    };
    pushed.is_ok()
}

/// The best ring this kernel gives: completions are worked off only when we enter (6.1), or at
/// least without interrupting us (5.19).
fn build(submissions: u32, completions: u32) -> io::Result<IoUring> {
    let mut best = IoUring::builder();
    best.setup_cqsize(completions)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun();
    match best.build(submissions) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        built => return built,
    }
    IoUring::builder()
        .setup_cqsize(completions)
        .setup_submit_all()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(submissions)
}

/// Equal buffers in a ring shared with the kernel: it takes from the head, we add at the tail.
struct ReceiveBuffers {
    ring: Region,
    data: Region,
    tail: u16,
}

impl ReceiveBuffers {
    fn register(uring: &IoUring) -> io::Result<ReceiveBuffers> {
        let ring = Region::new(usize::from(RECEIVE_BUFFERS) * size_of::<BufRingEntry>());
        let data = Region::new(usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES as usize);
        let address = ring.start().as_ptr().expose_provenance() as u64;
        // SAFETY: the ring is block-aligned, zeroed, long enough for its entries, and lives until
        // it is unregistered or leaked (`Drop` of `Ring`).
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                address,
                RECEIVE_BUFFERS,
                RECEIVE_GROUP,
                0,
            )?;
        }
        let mut buffers = ReceiveBuffers {
            ring,
            data,
            tail: 0,
        };
        for buffer in 0..RECEIVE_BUFFERS {
            buffers.lend(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Start of a buffer, or `None` for a number that is not one of ours.
    fn start(&self, buffer: u16) -> Option<*mut u8> {
        if buffer >= RECEIVE_BUFFERS {
            return None;
        }
        let offset = usize::from(buffer) * RECEIVE_BUFFER_BYTES as usize;
        // SAFETY: the number was checked, so the offset lies inside the region.
        Some(unsafe { self.data.start().as_ptr().add(offset) })
    }

    fn data(&self, buffer: u16, len: u32) -> &[u8] {
        let len = len.min(RECEIVE_BUFFER_BYTES) as usize;
        match self.start(buffer) {
            // SAFETY: the bytes are initialised memory of our region. The kernel completed this
            // buffer and does not write to it before it is lent again, which needs `&mut self`.
            Some(start) => unsafe { std::slice::from_raw_parts(start, len) },
            None => &[],
        }
    }

    fn lend(&mut self, buffer: u16) {
        let Some(start) = self.start(buffer) else {
            return;
        };
        let index = usize::from(self.tail & (RECEIVE_BUFFERS - 1));
        let entries = self.ring.start().as_ptr().cast::<BufRingEntry>();
        // SAFETY: the index is below the number of entries.
        let entry = unsafe { entries.add(index) };
        // SAFETY: aligned and initialised memory of our region. Entries from the published tail
        // on are ours; at most RECEIVE_BUFFERS buffers exist, so the kernel's part is never
        // reached. The first entry's spare field is the shared tail, which the kernel only reads
        // and nobody touches while this borrow lives.
        let entry = unsafe { &mut *entry };
        // Only these three fields are written.
        entry.set_addr(start.expose_provenance() as u64);
        entry.set_len(RECEIVE_BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let entries = self.ring.start().as_ptr().cast::<BufRingEntry>();
        // SAFETY: `entries` is the start of the ring, whose first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: the tail is aligned for u16 and lives as long as the region; we are its only
        // writer, and the kernel reads it with acquire.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
