//! The device loop: drives one [`Machine`] on one thread.
//!
//! Owns the turn: take everything that is ready, let the machine handle it, carry out its effects
//! with one submission, sleep when nothing is left. A shard's loop is the single task of a pinned
//! glommio executor and sleeps in it; the control writer's loop is a plain thread. The loop never
//! blocks anywhere else, and an idle one costs nothing.

use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::io::BufferedFile;
use glommio::{LocalExecutorBuilder, Placement};
use io_uring::opcode;
use io_uring::types::{TimeoutFlags, Timespec};

use super::doorbell::Doorbell;
use super::files::Files;
use super::net::Net;
use super::offload::{Lane, Offload, Trade};
use super::ring::{Completion, Ring, Tag};
use super::{
    BufferPool, Disk, Effect, Effects, Endpoint, Event, Fault, FilePlace, Machine, PeerId, Waker,
    clock,
};
use crate::words::limits::{
    ACCEPT_RETRY_MS, BUFFER_TRIM_MS, RING_COMPLETIONS, RING_SUBMISSIONS, STALL_MS,
};
use crate::words::{Deadline, Now};

/// What a machine runs on.
pub struct MachineDevices<M> {
    /// Of the thread, for `top` and logs.
    pub name: String,
    /// The core to be pinned to; `None` leaves the thread free.
    pub core: Option<usize>,
    /// The door, if the machine has one; see [`super::net::listen`].
    pub listener: Option<TcpListener>,
    pub endpoint: Endpoint<M>,
    pub disk: Arc<dyn Disk>,
    pub offload: Offload,
    /// Budget of the machine's [`BufferPool`], in bytes.
    pub buffer_bytes: usize,
}

/// What a machine may hold of its devices.
pub struct ShardHandle {
    pub id: PeerId,
    /// The clocks just before the first turn.
    pub now: Now,
    pub buffers: Arc<BufferPool>,
    pub disk: Arc<dyn Disk>,
    /// Wakes this machine.
    pub waker: Waker,
    pub counters: Arc<Counters>,
}

/// What a loop counts; read from any thread.
#[derive(Default)]
pub struct Counters {
    pub turns: AtomicU64,
    /// Times the loop went to sleep.
    pub sleeps: AtomicU64,
    /// Turns longer than [`STALL_MS`].
    pub stalls: AtomicU64,
    /// Longest turn so far, in nanoseconds.
    pub turn_ns_max: AtomicU64,
    /// Connections open now.
    pub connections: AtomicU64,
}

/// Starts `machine` (made by `build` on its own thread) under a pinned executor.
///
/// Returns once the ring exists; an error tells why it cannot. The thread ends when the machine
/// emits [`Effect::Stop`], with an error when the kernel refuses the ring's service.
pub fn run_shard<M, T>(
    devices: MachineDevices<M>,
    build: impl FnOnce(&ShardHandle) -> T + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>>
where
    M: Send + 'static,
    T: Machine<M>,
{
    start(devices, |devices, started| {
        let executor = executor(devices.core)?;
        executor.run(async move {
            let mut driver = Driver::new(devices, RING_SUBMISSIONS)?;
            let bell = glommio_bell(&driver.bell)?;
            let mut machine = build(&driver.handle());
            let _ = started.send(Ok(()));
            driver.turn(&mut machine)?;
            while !driver.stopped {
                if driver.may_sleep()? {
                    let rung = bell.read_at(0, 8).await;
                    driver.awake();
                    rung.map_err(|error| glommio_error(&error))?;
                }
                driver.turn_if_due(&mut machine)?;
            }
            let _ = bell.close().await;
            driver.finish()
        })
    })
}

/// As [`run_shard`], on a plain thread: for a machine that has little to do and no connections.
pub fn run_control<M, T>(
    devices: MachineDevices<M>,
    build: impl FnOnce(&ShardHandle) -> T + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>>
where
    M: Send + 'static,
    T: Machine<M>,
{
    const SUBMISSIONS: u32 = 128;
    start(devices, |devices, started| {
        let mut driver = Driver::new(devices, SUBMISSIONS)?;
        let mut machine = build(&driver.handle());
        let _ = started.send(Ok(()));
        driver.turn(&mut machine)?;
        while !driver.stopped {
            if driver.may_sleep()? {
                let rung = driver.bell.wait();
                driver.awake();
                rung?;
            }
            driver.turn_if_due(&mut machine)?;
        }
        driver.finish()
    })
}

type Started = mpsc::Sender<io::Result<()>>;

/// Runs `body` on a thread of its own and waits until it has told how its start went.
fn start<M: Send + 'static>(
    devices: MachineDevices<M>,
    body: impl FnOnce(MachineDevices<M>, Started) -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let (started, told) = mpsc::channel();
    let name = devices.name.clone();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let result = body(devices, started.clone());
        if let Err(error) = &result {
            // Only the first word counts: after a good start this goes nowhere.
            let _ = started.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
        result
    })?;
    match told.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the machine panicked while it was made")),
    }
}

/// An executor whose own rings carry one read of the bell and nothing else, so they stay small.
///
/// Its preempt timer must never run off. When it does between glommio's poll for I/O and its look
/// at the task queues (a thread that loses its core for a moment is enough), glommio 0.9 takes the
/// interrupted look for "nothing to run" and goes to sleep beside a task that was just woken. With
/// one task there is nobody to make room for.
fn executor(core: Option<usize>) -> io::Result<glommio::LocalExecutor> {
    const NEVER: Duration = Duration::from_secs(24 * 3600);
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    LocalExecutorBuilder::new(placement)
        .io_memory(64 * 1024)
        .ring_depth(128)
        .preempt_timer(NEVER)
        .make()
        .map_err(|error| glommio_error(&error))
}

fn glommio_error(error: &glommio::GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
}

fn glommio_bell(bell: &Doorbell) -> io::Result<BufferedFile> {
    let fd = bell.fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is ours alone and handed over whole; the file closes it.
    Ok(unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) })
}

/// The one timer of a loop: armed in the kernel at most once.
struct Timer {
    /// Boxed: the kernel reads it when the operation is submitted.
    moment: Box<Timespec>,
    armed: Option<Deadline>,
}

struct Driver<M> {
    ring: Ring,
    /// Dropped by hand: the kernel may hold on to what is in here.
    net: ManuallyDrop<Net>,
    files: ManuallyDrop<Files>,
    lane: Lane,
    endpoint: Endpoint<M>,
    bell: Arc<Doorbell>,
    disk: Arc<dyn Disk>,
    buffers: Arc<BufferPool>,
    counters: Arc<Counters>,
    timer: Timer,
    /// When the machine wants a tick.
    deadline: Option<Deadline>,
    accept_at: Option<Deadline>,
    trim_at: Option<Deadline>,
    stall_told: Option<Instant>,
    completions: Vec<Completion>,
    events: Vec<Event<M>>,
    effects: Effects<M>,
    stopped: bool,
}

impl<M> Driver<M> {
    /// On the thread that will drive it: the ring serves only that one.
    fn new(devices: MachineDevices<M>, submissions: u32) -> io::Result<Driver<M>> {
        let bell = devices.endpoint.bell().clone();
        let completions = match devices.listener {
            Some(_) => RING_COMPLETIONS,
            None => submissions.saturating_mul(4),
        };
        let mut ring = Ring::new(submissions, completions, bell.fd())?;
        if devices.listener.is_some() {
            ring.lend_receive_buffers()?;
        }
        ring.listen(false);
        Ok(Driver {
            ring,
            net: ManuallyDrop::new(Net::new(devices.listener)),
            files: ManuallyDrop::new(Files::new()),
            lane: devices.offload.lane(devices.disk.clone(), bell.clone()),
            endpoint: devices.endpoint,
            bell,
            disk: devices.disk,
            buffers: BufferPool::new(devices.buffer_bytes),
            counters: Arc::new(Counters::default()),
            timer: Timer {
                moment: Box::new(Timespec::new()),
                armed: None,
            },
            deadline: None,
            accept_at: None,
            trim_at: None,
            stall_told: None,
            completions: Vec::new(),
            events: Vec::new(),
            effects: Vec::new(),
            stopped: false,
        })
    }

    fn handle(&self) -> ShardHandle {
        ShardHandle {
            id: self.endpoint.id(),
            now: clock::now(),
            buffers: self.buffers.clone(),
            disk: self.disk.clone(),
            waker: self.endpoint.waker(),
            counters: self.counters.clone(),
        }
    }

    /// Switches the bell on, then looks a last time whether there is anything to do. When there
    /// is not, whatever comes from now on rings.
    fn may_sleep(&mut self) -> io::Result<bool> {
        if self.has_work() {
            return Ok(false);
        }
        self.bell.going_to_sleep();
        self.ring.listen(true);
        self.ring.settle()?;
        if self.has_work() {
            self.awake();
            return Ok(false);
        }
        self.counters.sleeps.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn awake(&mut self) {
        self.bell.awake();
        self.ring.listen(false);
    }

    fn has_work(&mut self) -> bool {
        self.ring.has_completions()
            || self.ring.has_unsubmitted()
            || self.lane.has_done()
            || self.endpoint.has_work()
            || self.bell.is_woken()
            || !self.events.is_empty()
    }

    /// Takes what is ready; a turn follows only if that is anything for the machine.
    fn turn_if_due<T: Machine<M>>(&mut self, machine: &mut T) -> io::Result<()> {
        let now = self.collect()?;
        if self.events.is_empty() {
            self.start_due(now)?;
            return Ok(());
        }
        self.run(now, machine)
    }

    /// A turn whatever is ready.
    fn turn<T: Machine<M>>(&mut self, machine: &mut T) -> io::Result<()> {
        let now = self.collect()?;
        self.run(now, machine)
    }

    fn run<T: Machine<M>>(&mut self, now: Now, machine: &mut T) -> io::Result<()> {
        let begun = Instant::now();
        let mut events = std::mem::take(&mut self.events);
        let mut effects = std::mem::take(&mut self.effects);
        for event in events.drain(..) {
            machine.handle(now, event, &mut effects);
        }
        machine.end_turn(now, &mut effects);
        self.events = events;
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
        self.deadline = machine.next_deadline();
        self.endpoint.deliver();
        self.start_due(now)?;
        self.measure(begun);
        Ok(())
    }

    /// Fills `self.events`; what is already there (ends found while carrying out) comes first.
    fn collect(&mut self) -> io::Result<Now> {
        self.files.collect(&mut self.events);
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.take(&mut completions);
        for done in completions.drain(..) {
            self.completed(done);
        }
        self.completions = completions;
        self.ring.publish_recycled();
        self.files.collect(&mut self.events);
        self.lane.collect(&mut self.events);
        self.endpoint.receive(&mut self.events);
        self.endpoint.deliver();
        if self.bell.take_woken() {
            self.events.push(Event::Woken);
        }
        let now = clock::now();
        if self.deadline.is_some_and(|deadline| now.reached(deadline)) {
            // Asked anew after the turn that follows.
            self.deadline = None;
            self.events.push(Event::Tick);
        }
        Ok(now)
    }

    fn completed(&mut self, done: Completion) {
        match done.tag {
            Tag::Accept => self.net.accepted(done, &mut self.events),
            Tag::Receive => self.net.received(done, &mut self.ring, &mut self.events),
            Tag::Send => self.net.sent(done, &mut self.events),
            Tag::Write | Tag::Sync | Tag::Read => self.files.completed(done, &mut self.ring),
            Tag::Timer => self.timer.armed = None,
            Tag::Nothing => {}
        }
    }

    fn carry_out(&mut self, effect: Effect<M>) {
        let (net, files, ring) = (&mut *self.net, &mut *self.files, &mut self.ring);
        match effect {
            Effect::Send { connection, parts } => net.send(connection, parts),
            Effect::CloseAfterSend { connection } => net.close_after_send(connection),
            Effect::Close { connection } => net.close(connection),
            Effect::PauseReceive { connection } => net.pause(connection, ring),
            Effect::ResumeReceive { connection } => net.resume(connection),
            Effect::StopAccepting => net.stop_accepting(ring),
            Effect::Write {
                op,
                file,
                position,
                parts,
                flush,
            } => files.write(op, FilePlace { file, position }, parts, flush, ring),
            Effect::Flush { op, file } => files.flush(op, file, ring),
            Effect::Read {
                op,
                file,
                position,
                len,
            } => files.read(op, FilePlace { file, position }, len, &self.buffers, ring),
            Effect::Job { op, job } => self.lane.submit(op, job, Trade::Blocks),
            Effect::Compute { op, job } => self.lane.submit(op, job, Trade::Computes),
            Effect::Post { to, message } => {
                let known = self.endpoint.post(to, message);
                assert!(known, "a message to {to:?}, which is not in the mesh");
            }
            Effect::Stop => self.stopped = true,
        }
    }

    /// Queues what has become due, moves the timer, and submits: the one submission of a turn.
    fn start_due(&mut self, now: Now) -> io::Result<()> {
        self.upkeep(now);
        self.net.start_due(now, &mut self.ring, &mut self.events);
        self.files.collect(&mut self.events);
        let open = u64::try_from(self.net.connections()).unwrap_or(u64::MAX);
        self.counters.connections.store(open, Ordering::Relaxed);
        let linger = self.net.linger_deadline();
        let wanted = [self.deadline, self.accept_at, self.trim_at, linger];
        if let Some(earliest) = wanted.into_iter().flatten().min() {
            self.timer.arm(earliest, &mut self.ring);
        }
        self.ring.submit()
    }

    /// The loop's own deadlines.
    fn upkeep(&mut self, now: Now) {
        let due = |at: Option<Deadline>| at.is_some_and(|at| now.reached(at));
        if due(self.accept_at) {
            self.accept_at = None;
            self.net.accept_again();
        } else if self.accept_at.is_none() && self.net.accept_waits() {
            self.accept_at = Some(now.after_ms(ACCEPT_RETRY_MS));
        }
        if due(self.trim_at) {
            self.trim_at = None;
            self.buffers.trim();
        }
        if self.trim_at.is_none() && self.buffers.kept() > 0 {
            self.trim_at = Some(now.after_ms(BUFFER_TRIM_MS));
        }
    }

    fn measure(&mut self, begun: Instant) {
        const TOLD_EVERY: Duration = Duration::from_secs(1);
        let took = begun.elapsed();
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counters.turns.fetch_add(1, Ordering::Relaxed);
        self.counters
            .turn_ns_max
            .fetch_max(took_ns, Ordering::Relaxed);
        if took < Duration::from_millis(STALL_MS) {
            return;
        }
        let stalls = self.counters.stalls.fetch_add(1, Ordering::Relaxed) + 1;
        if self
            .stall_told
            .is_none_or(|told| told.elapsed() >= TOLD_EVERY)
        {
            self.stall_told = Some(Instant::now());
            tracing::warn!(
                machine = self.endpoint.id().0,
                ?took,
                stalls,
                "a turn took long"
            );
        }
    }

    /// Waits until the kernel holds nothing of ours: writes end, everything else is given up.
    /// False when it would not let go in time.
    fn release(&mut self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(30);
        const STEP: Duration = Duration::from_millis(100);
        let begun = Instant::now();
        let mut told = false;
        while self.ring.in_flight() > 0 {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            // Files first: a write that was asked for shall happen.
            if self.files.in_flight() == 0 && !std::mem::replace(&mut told, true) {
                self.ring.cancel_everything();
            }
            if self.ring.wait(STEP).is_err() {
                return false;
            }
            let mut completions = std::mem::take(&mut self.completions);
            self.ring.take(&mut completions);
            for done in completions.drain(..) {
                self.completed(done);
            }
            self.completions = completions;
            self.events.clear();
        }
        true
    }

    fn finish(mut self) -> io::Result<()> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        tracing::info!(
            machine = self.endpoint.id().0,
            turns = count(&self.counters.turns),
            stalls = count(&self.counters.stalls),
            longest_turn = ?Duration::from_nanos(count(&self.counters.turn_ns_max)),
            "the loop ended"
        );
        if self.release() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "operations did not end with their machine",
        ))
    }
}

impl<M> Drop for Driver<M> {
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 && !self.release() {
            // Better to lose memory than to let the kernel write to what others use by now.
            self.ring.leak_receive_buffers();
            return;
        }
        // SAFETY: dropped once, here, and not used afterwards; the kernel holds nothing of it.
        unsafe { ManuallyDrop::drop(&mut self.net) };
        // SAFETY: as above.
        unsafe { ManuallyDrop::drop(&mut self.files) };
    }
}

impl Timer {
    /// Makes sure that the kernel calls at `moment` or earlier; an early call moves the timer.
    fn arm(&mut self, moment: Deadline, ring: &mut Ring) {
        if self.armed.is_some_and(|armed| armed <= moment) {
            return;
        }
        let nanos = u32::try_from(moment.0 % 1_000_000_000).unwrap_or(0);
        *self.moment = Timespec::new().sec(moment.0 / 1_000_000_000).nsec(nanos);
        let user_data = Tag::Timer.with(0);
        let at: *const Timespec = &*self.moment;
        let entry = if self.armed.is_none() {
            opcode::Timeout::new(at)
                .flags(TimeoutFlags::ABS)
                .build()
                .user_data(user_data)
        } else {
            // When the timer has just run off, this finds nothing, and its completion, which is
            // on its way, has us arm it again.
            opcode::TimeoutUpdate::new(user_data, at)
                .flags(TimeoutFlags::ABS)
                .build()
                .user_data(Tag::Nothing.with(0))
        };
        // SAFETY: the moment is boxed and lives as long as the loop. It is read when the entry is
        // submitted; should it have moved on by then, the kernel gets the newer moment.
        unsafe { ring.push(entry) };
        self.armed = Some(moment);
    }
}

impl Fault {
    /// Classes an error of the operating system: no room, or not to be trusted any more.
    pub fn from_error(error: io::Error) -> Fault {
        let kind = match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => super::FaultKind::Full,
            _ => super::FaultKind::Dead,
        };
        Fault { kind, error }
    }
}

#[cfg(test)]
mod tests;
