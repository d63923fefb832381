//! A world on virtual time: the second implementation of the device seam.
//!
//! One thread drives any number of [`Machine`]s over a [`MemoryDisk`] and pipes in memory; one
//! seed decides the order of completions, every delay and every cut of a stream, and time moves
//! only when nothing else is to happen. It can fail what it is told to, kill the process and cut
//! the power. It keeps the contract of `devices/mod.rs` to the letter and no further: what the
//! kernel may reorder, it reorders. Never touches the kernel, never knows a topic or a request.
//!
//! A mistake of a machine (a misaligned write, a message to nobody, an endless loop of ticks) is
//! a panic: this is a place for tests.

mod agenda;
pub mod dice;
mod files;
mod pipes;
mod settings;
mod trace;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::devices::memory_disk::MemoryDisk;
use crate::devices::{ConnectionId, Effect, Event, FilePlace, Machine, Output, PeerId};
use crate::words::{Deadline, Now, TimestampMs};

use agenda::Agenda;
use dice::{Dice, Digest};
use files::FileOperation;
use pipes::Pipe;

pub use pipes::{ClientEnd, ClientState};
pub use settings::{Faults, Judge, Operation, OperationKind, Pace, Trouble, WorldSettings};
pub use trace::Trace;

/// Turns of one machine, in a row, in which nothing but ticks came and nothing was done: more
/// are an endless loop.
const IDLE_TICKS_MAX: u32 = 10_000;
/// Virtual time at the beginning of a world.
const START_NS: u64 = 1_000_000_000;

/// The world.
pub struct World<M> {
    settings: WorldSettings,
    agenda: Agenda<Happening>,
    dice: Dice,
    digest: Digest,
    disk: MemoryDisk,
    hosts: Vec<Host<M>>,
    posts: BTreeMap<(PeerId, PeerId), VecDeque<M>>,
    operations: BTreeMap<u64, FileOperation>,
    pipes: BTreeMap<ConnectionId, Pipe>,
    bell: Bell,
    judge: Option<Judge>,
    trace: Option<Trace>,
    /// Something reached a client, or a connection ended.
    news: bool,
    /// Memory for one line.
    line: String,
    /// Names of operations and connections, never used again.
    serial: u64,
    turns: u64,
}

/// One machine and what is on its way to it.
struct Host<M> {
    /// `None` once it stopped.
    machine: Option<Box<dyn Machine<M>>>,
    inbox: Vec<Event<M>>,
    /// A turn is on the agenda.
    turn_set: bool,
    /// It works on its last turn until then.
    busy_until_ns: u64,
    deadline: Option<Deadline>,
    /// Earliest timer on the agenda.
    timer_set: Option<Deadline>,
    accepting: bool,
    idle_ticks: u32,
}

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Happening {
    Turn(PeerId),
    Timer(PeerId, Deadline),
    Woken(PeerId),
    Post {
        from: PeerId,
        to: PeerId,
    },
    /// The next step of an operation.
    File(u64),
    ToMachine(ConnectionId),
    ToClient(ConnectionId),
    LingerOver(ConnectionId),
}

/// Wakes machines from anywhere; clones ring the same bell.
#[derive(Clone, Default)]
pub struct Bell {
    rung: Arc<Mutex<Vec<PeerId>>>,
}

impl Bell {
    /// `peer` hears [`Event::Woken`] soon.
    pub fn wake(&self, peer: PeerId) {
        self.rung().push(peer);
    }

    fn rung(&self) -> MutexGuard<'_, Vec<PeerId>> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: fmt::Debug + 'static> World<M> {
    /// A world without machines on `disk`.
    pub fn new(settings: WorldSettings, disk: MemoryDisk) -> World<M> {
        let dice = Dice::new(settings.seed);
        World {
            settings,
            agenda: Agenda::new(START_NS),
            dice,
            digest: Digest::default(),
            disk,
            hosts: Vec::new(),
            posts: BTreeMap::new(),
            operations: BTreeMap::new(),
            pipes: BTreeMap::new(),
            bell: Bell::default(),
            judge: None,
            trace: None,
            news: false,
            line: String::new(),
            serial: 0,
            turns: 0,
        }
    }

    /// Adds a machine, which gets its first turn soon. Peers are numbered in the order of adding,
    /// from 0, and from 0 again after a [`World::kill`].
    pub fn add(&mut self, machine: Box<dyn Machine<M>>) -> PeerId {
        let peer = PeerId(u16::try_from(self.hosts.len()).unwrap_or(u16::MAX));
        self.hosts.push(Host {
            machine: Some(machine),
            inbox: Vec::new(),
            turn_set: false,
            busy_until_ns: 0,
            deadline: None,
            timer_set: None,
            accepting: true,
            idle_ticks: 0,
        });
        self.set_turn(peer);
        peer
    }

    /// The clocks as a machine would read them.
    pub fn now(&self) -> Now {
        let mono_ns = self.agenda.now_ns();
        let ms = i64::try_from((mono_ns - START_NS) / 1_000_000).unwrap_or(i64::MAX);
        Now {
            mono_ns,
            wall: TimestampMs(self.settings.wall.0.saturating_add(ms)),
        }
    }

    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    pub fn settings(&mut self) -> &mut WorldSettings {
        &mut self.settings
    }

    /// Chance, for whoever drives the world.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Asked before every operation.
    pub fn judge(&mut self, judge: Option<Judge>) {
        self.judge = judge;
    }

    /// From now on every event and effect leaves a line in `trace`.
    pub fn trace(&mut self, trace: Option<Trace>) {
        self.trace = trace;
    }

    /// Whether anything has reached a client since the last call.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// A client wants to be looked at.
    pub fn note_news(&mut self) {
        self.news = true;
    }

    /// The wall clock is set: `ms` later or earlier than it was.
    pub fn step_wall(&mut self, ms: i64) {
        self.settings.wall.0 = self.settings.wall.0.saturating_add(ms);
    }

    /// Operations that a machine asked for and that have not ended, and messages on their way.
    pub fn in_flight(&self) -> usize {
        let posts: usize = self.posts.values().map(VecDeque::len).sum();
        self.operations.len() + posts
    }

    /// Most bytes that wait for one client.
    pub fn unsent_bytes_max(&self) -> usize {
        let unsent = self.pipes.values().map(Pipe::unsent_bytes);
        unsent.max().unwrap_or(0)
    }

    /// Digest of every event, effect and client's byte so far.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Turns of all machines so far.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Machines that have not stopped.
    pub fn running(&self) -> usize {
        let running = |host: &&Host<M>| host.machine.is_some();
        self.hosts.iter().filter(running).count()
    }

    pub fn is_running(&self, peer: PeerId) -> bool {
        self.host(peer).is_some_and(|host| host.machine.is_some())
    }

    /// Lets the next thing happen. `false`: there is none, or the power is off.
    pub fn step(&mut self) -> bool {
        self.hear_bell();
        if self.disk.is_off() {
            return false;
        }
        let Some(what) = self.agenda.take() else {
            return false;
        };
        self.disk.set_wall(self.now().wall);
        match what {
            Happening::Turn(peer) => self.turn(peer),
            Happening::Timer(peer, at) => self.timer(peer, at),
            Happening::Woken(peer) => self.deliver(peer, Event::Woken),
            Happening::Post { from, to } => {
                let message = self
                    .posts
                    .get_mut(&(from, to))
                    .and_then(VecDeque::pop_front);
                if let Some(message) = message {
                    self.deliver(to, Event::Message { from, message });
                }
            }
            Happening::File(operation) => self.file_step(operation),
            Happening::ToMachine(connection) => self.arrive_at_machine(connection),
            Happening::ToClient(connection) => self.arrive_at_client(connection),
            Happening::LingerOver(connection) => self.end_of_connection(connection),
        }
        true
    }

    /// Runs for `ms` milliseconds of virtual time; `false` when the power went off meanwhile.
    pub fn run_for_ms(&mut self, ms: i64) -> bool {
        self.run_to(self.now().after_ms(ms))
    }

    /// Runs to a moment.
    pub fn run_to(&mut self, moment: Deadline) -> bool {
        self.hear_bell();
        while self.agenda.next_ns().is_some_and(|at| at <= moment.0) {
            if !self.step() {
                return false;
            }
        }
        self.agenda.pass_to(moment.0);
        true
    }

    /// Runs until `done`, for `ms` milliseconds of virtual time at most; says whether it came.
    pub fn run_until(&mut self, ms: i64, mut done: impl FnMut(&mut World<M>) -> bool) -> bool {
        let end = self.now().after_ms(ms);
        loop {
            if done(self) {
                return true;
            }
            self.hear_bell();
            let soon = self.agenda.next_ns().is_some_and(|at| at <= end.0);
            if !soon || !self.step() {
                return done(self);
            }
        }
    }

    /// Nothing but timers is to come.
    pub fn is_quiet(&self) -> bool {
        let waits = |what| matches!(what, &Happening::Timer(..) | &Happening::LingerOver(_));
        self.agenda.values().all(waits) && self.bell.rung().is_empty()
    }

    /// The process dies at once. The page cache lives on, so everything written is there; what
    /// was still on its way to it is not. Clients see a reset.
    pub fn kill(&mut self) {
        self.end_of_process();
        self.disk.forgive_failed_syncs();
        self.disk.drop_nameless();
    }

    /// The power goes: all machines are gone, and of what was not flushed the disk keeps and
    /// tears what `seed` says.
    pub fn crash(&mut self, seed: u64) {
        self.end_of_process();
        self.disk.crash(seed);
        self.disk.drop_nameless();
        self.digest.number(seed);
    }

    fn end_of_process(&mut self) {
        self.hosts.clear();
        self.posts.clear();
        self.operations.clear();
        self.agenda.clear();
        self.bell.rung().clear();
        for pipe in self.pipes.values_mut() {
            pipe.break_off();
        }
        self.news = true;
        self.digest.number(0xdead);
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn host(&self, peer: PeerId) -> Option<&Host<M>> {
        self.hosts.get(usize::from(peer.0))
    }

    fn host_mut(&mut self, peer: PeerId) -> Option<&mut Host<M>> {
        self.hosts.get_mut(usize::from(peer.0))
    }

    /// Puts `what` on the agenda; chance decides its place among what happens at that moment.
    fn plan(&mut self, at_ns: u64, what: Happening) {
        let tie = self.dice.any();
        self.agenda.add(at_ns, tie, what);
    }

    /// A delay out of `range`, now and then a long one.
    fn delay(&mut self, range: &std::ops::Range<u64>) -> u64 {
        let delay = self.dice.within(range);
        if self.dice.once_in(self.settings.pace.slow_once_in) {
            delay.saturating_mul(self.settings.pace.slow_factor)
        } else {
            delay
        }
    }

    fn hear_bell(&mut self) {
        let rung = std::mem::take(&mut *self.bell.rung());
        for peer in rung {
            let delay = self.delay(&self.settings.pace.post_ns.clone());
            self.plan(
                self.agenda.now_ns().saturating_add(delay),
                Happening::Woken(peer),
            );
        }
    }

    /// Gives a machine an event with its next turn. One that stopped hears nothing.
    fn deliver(&mut self, peer: PeerId, event: Event<M>) {
        if let Some(host) = self.host_mut(peer).filter(|host| host.machine.is_some()) {
            host.inbox.push(event);
            self.set_turn(peer);
        }
    }

    fn set_turn(&mut self, peer: PeerId) {
        let now = self.agenda.now_ns();
        let Some(host) = self.host_mut(peer) else {
            return;
        };
        if !std::mem::replace(&mut host.turn_set, true) {
            let at = host.busy_until_ns.max(now);
            self.plan(at, Happening::Turn(peer));
        }
    }

    fn timer(&mut self, peer: PeerId, at: Deadline) {
        let now = self.now();
        let Some(host) = self.host_mut(peer) else {
            return;
        };
        if host.timer_set == Some(at) {
            host.timer_set = None;
        }
        match host.deadline {
            Some(deadline) if now.reached(deadline) => self.set_turn(peer),
            Some(deadline) => self.set_timer(peer, deadline),
            None => {}
        }
    }

    fn set_timer(&mut self, peer: PeerId, deadline: Deadline) {
        let Some(host) = self.host_mut(peer) else {
            return;
        };
        if host.timer_set.is_none_or(|set| deadline < set) {
            host.timer_set = Some(deadline);
            self.plan(deadline.0, Happening::Timer(peer, deadline));
        }
    }

    fn turn(&mut self, peer: PeerId) {
        let now = self.now();
        let works_for = self.dice.within(&self.settings.pace.turn_ns);
        let Some(host) = self.hosts.get_mut(usize::from(peer.0)) else {
            return;
        };
        host.turn_set = false;
        let Some(machine) = &mut host.machine else {
            return;
        };
        let mut events = std::mem::take(&mut host.inbox);
        let ticks_only = events.is_empty();
        if host.deadline.is_some_and(|deadline| now.reached(deadline)) {
            host.deadline = None;
            events.push(Event::Tick);
        }
        self.turns += 1;
        self.digest.number(now.mono_ns);
        self.digest.number(u64::from(peer.0));
        let mut effects = Vec::new();
        for event in events {
            note_event(&mut self.digest, &mut self.line, &event);
            if let Some(trace) = &self.trace {
                trace.line(now.mono_ns, format_args!("{} < {}", peer.0, self.line));
            }
            machine.handle(now, event, &mut effects);
        }
        machine.end_turn(now, &mut effects);
        host.deadline = machine.next_deadline();
        host.busy_until_ns = now.mono_ns.saturating_add(works_for);
        host.idle_ticks = match ticks_only && effects.is_empty() {
            true => host.idle_ticks + 1,
            false => 0,
        };
        assert!(
            host.idle_ticks < IDLE_TICKS_MAX,
            "machine {peer:?} ticks without end at {now:?}, deadline {:?}",
            host.deadline
        );
        // A deadline that is over already is looked at when this turn has ended.
        let next = host
            .deadline
            .map(|deadline| deadline.max(Deadline(host.busy_until_ns)));
        if let Some(next) = next {
            self.set_timer(peer, next);
        }
        for effect in effects {
            note_effect(&mut self.digest, &mut self.line, &effect);
            if let Some(trace) = &self.trace {
                trace.line(now.mono_ns, format_args!("{} > {}", peer.0, self.line));
            }
            self.carry_out(peer, effect);
        }
    }

    fn carry_out(&mut self, peer: PeerId, effect: Effect<M>) {
        match effect {
            Effect::Send { connection, parts } => self.send_parts(connection, parts),
            Effect::CloseAfterSend { connection } => self.close_after_send(connection),
            Effect::Close { connection } => self.close_by_machine(connection),
            Effect::PauseReceive { connection } => self.pause(connection, true),
            Effect::ResumeReceive { connection } => self.pause(connection, false),
            Effect::StopAccepting => {
                if let Some(host) = self.host_mut(peer) {
                    host.accepting = false;
                }
            }
            Effect::Write {
                op,
                file,
                position,
                parts,
                flush,
            } => self.start_write(peer, op, FilePlace { file, position }, parts, flush),
            Effect::Flush { op, file } => self.start_flush(peer, op, file),
            Effect::Read {
                op,
                file,
                position,
                len,
            } => self.start_read(peer, op, file, position, len),
            Effect::Job { op, job } => self.start_job(peer, op, job, OperationKind::Job),
            Effect::Compute { op, job } => self.start_job(peer, op, job, OperationKind::Compute),
            Effect::Post { to, message } => self.post(peer, to, message),
            Effect::Stop => self.stop(peer),
        }
    }

    fn post(&mut self, from: PeerId, to: PeerId, message: M) {
        assert!(
            usize::from(to.0) < self.hosts.len(),
            "a message to {to:?}, which is not in the mesh"
        );
        // Whichever delivery comes first takes the oldest message, so the order is kept.
        self.posts.entry((from, to)).or_default().push_back(message);
        let delay = self.delay(&self.settings.pace.post_ns.clone());
        let at = self.agenda.now_ns().saturating_add(delay);
        self.plan(at, Happening::Post { from, to });
    }

    /// The machine leaves its loop: what it queued and did not send is lost, its sockets close.
    /// Writes that it asked for still happen.
    fn stop(&mut self, peer: PeerId) {
        if let Some(host) = self.host_mut(peer) {
            host.machine = None;
            host.inbox.clear();
            host.deadline = None;
            host.accepting = false;
        }
        for pipe in self.pipes.values_mut().filter(|pipe| pipe.is_of(peer)) {
            pipe.break_off();
        }
        self.news = true;
    }
}

fn note_event<M: fmt::Debug>(digest: &mut Digest, line: &mut String, event: &Event<M>) {
    match event {
        Event::Received { data, .. } => digest.bytes(data),
        Event::Done {
            result: Ok(Output::Read(data)),
            ..
        } => digest.bytes(data),
        _ => {}
    }
    line.clear();
    // Into memory: cannot fail.
    let _ = write!(line, "{}", EventLine(event));
    digest.bytes(line.as_bytes());
}

fn note_effect<M: fmt::Debug>(digest: &mut Digest, line: &mut String, effect: &Effect<M>) {
    if let Effect::Send { parts, .. } | Effect::Write { parts, .. } = effect {
        parts.iter().for_each(|part| digest.bytes(part));
    }
    line.clear();
    let _ = write!(line, "{}", EffectLine(effect));
    digest.bytes(line.as_bytes());
}

/// One line for a log; bytes by their number only.
struct EventLine<'a, M>(&'a Event<M>);

impl<M: fmt::Debug> fmt::Display for EventLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Accepted { connection, .. } => write!(f, "accepted {}", connection.0),
            Event::Received { connection, data } => {
                write!(f, "received {} {} bytes", connection.0, data.len())
            }
            Event::Sent { connection, bytes } => write!(f, "sent {} {bytes} bytes", connection.0),
            Event::Closed { connection } => write!(f, "closed {}", connection.0),
            Event::Done { op, result } => match result {
                Ok(Output::Nothing) => write!(f, "done {}", op.0),
                Ok(Output::Read(data)) => write!(f, "done {} {} bytes", op.0, data.len()),
                Ok(Output::Job(_)) => write!(f, "job done {}", op.0),
                Err(fault) => write!(f, "failed {} {:?} {}", op.0, fault.kind, fault.error),
            },
            Event::Message { from, message } => write!(f, "message {} {message:?}", from.0),
            Event::Woken => f.write_str("woken"),
            Event::Tick => f.write_str("tick"),
        }
    }
}

struct EffectLine<'a, M>(&'a Effect<M>);

impl<M: fmt::Debug> fmt::Display for EffectLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |parts: &[bytes::Bytes]| parts.iter().map(bytes::Bytes::len).sum::<usize>();
        match self.0 {
            Effect::Send { connection, parts } => {
                write!(f, "send {} {} bytes", connection.0, bytes(parts))
            }
            Effect::CloseAfterSend { connection } => write!(f, "close after {}", connection.0),
            Effect::Close { connection } => write!(f, "close {}", connection.0),
            Effect::PauseReceive { connection } => write!(f, "pause {}", connection.0),
            Effect::ResumeReceive { connection } => write!(f, "resume {}", connection.0),
            Effect::StopAccepting => f.write_str("stop accepting"),
            Effect::Write {
                op,
                file,
                position,
                parts,
                flush,
            } => {
                let len = bytes(parts);
                write!(f, "write {} {file:?} {position}+{len} flush {flush}", op.0)
            }
            Effect::Flush { op, file } => write!(f, "flush {} {file:?}", op.0),
            Effect::Read {
                op,
                file,
                position,
                len,
            } => write!(f, "read {} {file:?} {position}+{len}", op.0),
            Effect::Job { op, .. } => write!(f, "job {}", op.0),
            Effect::Compute { op, .. } => write!(f, "compute {}", op.0),
            Effect::Post { to, message } => write!(f, "post {} {message:?}", to.0),
            Effect::Stop => f.write_str("stop"),
        }
    }
}

#[cfg(test)]
mod tests;
