//! One run: the broker, its clients, its faults, tick by tick, from one seed.
//!
//! Owns what is under way and the order of a run: a time of trouble, then the faults stop and
//! progress is demanded, then everything is read back. A tick is one thing that happens in the
//! world, before which a client or a fault may act. What clients ask and how answers are judged is
//! in `produce`, `fetch` and `admin`; what is true of a partition is the oracle's.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;

use super::audit;
use super::broker::{Broker, DATA_DIR};
use super::client::{Answer, Client};
use super::fetch::{Consumer, FetchAsk};
use super::oracle::{BatchNumber, Known, PartitionOracle};
use super::plan::Plan;
use super::produce::Producer;
use super::tally::Tally;
use super::topics::{Kind, Topic, TopicState};
use crate::devices::memory_disk::MemoryDisk;
use crate::devices::world::dice::Dice;
use crate::devices::world::{Faults, Trace};
use crate::log::names;
use crate::words::{PartitionIndex, ProducerId, marks};

/// A partition of the run: place of its topic in [`Run::topics`], and its number.
pub type Key = (usize, i32);
pub type Claim<T = ()> = Result<T, String>;

/// Virtual milliseconds in which everything that was asked must be answered, without faults.
const PATIENCE_MS: i64 = 120_000;
/// Virtual milliseconds in which a broker that was told to stop has to end.
const STOP_MS: i64 = 300_000;
/// Things that may happen in such a time.
const PATIENCE_STEPS: u64 = 3_000_000;
const CLIENTS_PER_SHARD: usize = 2;
/// The wall clock stays so near to its beginning: records may not be an hour ahead.
const CLOCK_MS_MAX: i64 = 25 * 60_000;
/// Bounds are looked at once in so many ticks.
const BOUNDS_EVERY: u64 = 64;

/// What an answer is for.
pub enum Note {
    Produce {
        batches: Vec<(Key, BatchNumber)>,
        /// It was sent to a shard that does not lead them.
        wrong_door: bool,
    },
    Fetch {
        asks: Vec<FetchAsk>,
        bytes_max: usize,
    },
    Session {
        consumer: usize,
        asks: Vec<FetchAsk>,
        full: bool,
    },
    Offset {
        key: Key,
        asked: i64,
        known: Known,
    },
    Create(usize),
    Delete(usize),
    DeleteRecords {
        key: Key,
        offset: i64,
        known: Known,
    },
    Identity,
}

/// How a broker's life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// A signal: it drains while clients go on.
    Stop,
    Kill,
    Crash,
    /// The power goes at a chosen change of the disk.
    Cut,
}

/// Everything of one seed.
pub struct Run {
    pub broker: Broker,
    pub dice: Dice,
    pub plan: Plan,
    pub topics: Vec<Topic>,
    pub oracles: BTreeMap<Key, PartitionOracle>,
    pub clients: Vec<Client<Note>>,
    /// Which connection a client is on, for the order of sending.
    pub lanes: Vec<(u64, u64)>,
    pub next_lane: u64,
    pub producers: Vec<Producer>,
    pub identities: Vec<ProducerId>,
    pub consumers: Vec<Consumer>,
    pub positions: BTreeMap<Key, i64>,
    pub next_batch: u64,
    /// Starts of the broker so far.
    pub life: u32,
    pub tally: Tally,
    /// The disk failed in this life: partitions may answer that their storage is gone.
    pub faulty: bool,
    pub clock_ms: i64,
    /// Spells of faults end at these ticks.
    trouble_until: u64,
    full_until: u64,
    /// Clients rest until this tick.
    rest_until: u64,
    /// A signal was sent at this moment of virtual time.
    stopping: Option<u64>,
    /// A power cut was set: the broker may not live on for ever without it.
    cut_set: Option<u64>,
    faults_over: bool,
    pub trace: Option<Trace>,
    /// Topics of which a deletion was asked for and not answered before the last end.
    pub deletions_open: Vec<usize>,
}

impl Run {
    /// A started broker without topics.
    pub fn new(plan: Plan, trace: Option<Trace>) -> Claim<Run> {
        let mut dice = Dice::new(plan.world.seed ^ 0x0de1);
        let mut broker = Broker::new(&plan)?;
        broker.world.trace(trace.clone());
        let shards = 1 + dice.roll(plan.shards_max);
        let mut run = Run {
            broker,
            dice,
            plan,
            topics: Vec::new(),
            oracles: BTreeMap::new(),
            clients: Vec::new(),
            lanes: Vec::new(),
            next_lane: 0,
            producers: Vec::new(),
            identities: Vec::new(),
            consumers: Vec::new(),
            positions: BTreeMap::new(),
            next_batch: 1,
            life: 0,
            tally: Tally::default(),
            faulty: false,
            clock_ms: 0,
            trouble_until: 0,
            full_until: 0,
            rest_until: 0,
            stopping: None,
            cut_set: None,
            faults_over: false,
            trace,
            deletions_open: Vec::new(),
        };
        run.broker.start(u16::try_from(shards).unwrap_or(1))?;
        run.tally.starts = 1;
        run.connect_all();
        for _ in 0..run.plan.topics {
            run.create_topic()?;
        }
        for _ in 0..3 {
            run.ask_identity()?;
        }
        Ok(run)
    }

    /// A line for people.
    pub fn tell(&self, what: fmt::Arguments<'_>) {
        if let Some(trace) = &self.trace {
            trace.line(self.broker.world.now().mono_ns, what);
        }
    }

    /// The whole run: trouble for `ticks`, then peace, then the audit. Gives the digest.
    pub fn play(&mut self, ticks: u64) -> Claim<u64> {
        while self.tally.ticks < ticks {
            self.tick()?;
        }
        self.faults_over = true;
        self.heal()?;
        self.demand_progress()?;
        audit::everything(self)?;
        self.stop_in_order()?;
        self.start_again(End::Stop)?;
        audit::everything(self)?;
        Ok(self.broker.world.digest().0)
    }

    fn tick(&mut self) -> Claim {
        self.tally.ticks += 1;
        let now = self.tally.ticks;
        self.spells(now);
        if now >= self.rest_until {
            if self.dice.once_in(self.plan.act_once_in) {
                self.act()?;
            }
            if self.dice.once_in(self.plan.rest_once_in) {
                self.rest_until = now + 20 + self.dice.roll(400);
            }
        }
        self.step()?;
        if now.is_multiple_of(BOUNDS_EVERY) {
            self.bounds()?;
        }
        self.life_ends(now)
    }

    /// Lets one thing happen, and hears what reached the clients.
    fn step(&mut self) -> Claim {
        if !self.broker.world.step() && !self.broker.world.disk().is_off() {
            // Nothing is to come: time passes.
            self.broker.world.run_for_ms(1);
        }
        match self.broker.world.take_news() {
            true => self.poll(),
            false => Ok(()),
        }
    }

    /// Begins and ends spells of faults.
    fn spells(&mut self, now: u64) {
        let rates = self.plan.rates;
        if self.dice.once_in(rates.trouble) && self.trouble_until <= now {
            self.trouble_until = now + 20 + self.dice.roll(400);
            let some = |dice: &mut Dice| *dice.pick(&[0, 8, 40, 200]).unwrap_or(&0);
            self.broker.world.settings().faults = Faults {
                write_once_in: some(&mut self.dice),
                flush_once_in: some(&mut self.dice),
                read_once_in: some(&mut self.dice),
                job_once_in: some(&mut self.dice),
                full: self.dice.once_in(4),
            };
            self.disk_fails();
            self.tally.trouble_spells += 1;
            self.tell(format_args!("the disk fails now and then"));
        } else if self.trouble_until == now {
            self.broker.world.settings().faults = Faults::default();
            self.tell(format_args!("the disk is well again"));
        }
        if self.dice.once_in(rates.full) && self.full_until <= now {
            self.full_until = now + 50 + self.dice.roll(1_000);
            let room = self.dice.roll(200_000);
            self.broker.world.disk().limit_room(Some(room));
            self.disk_fails();
            self.tally.full_spells += 1;
            self.tell(format_args!("the disk has room for {room} bytes more"));
        } else if self.full_until == now {
            self.broker.world.disk().limit_room(None);
            self.tell(format_args!("the disk has room again"));
        }
        if self.dice.once_in(rates.clock) {
            let to = self.dice.within(&(0..2 * CLOCK_MS_MAX.unsigned_abs()));
            let to = i64::try_from(to).unwrap_or(0) - CLOCK_MS_MAX;
            self.broker.world.step_wall(to - self.clock_ms);
            self.clock_ms = to;
            self.tally.clock_steps += 1;
            self.tell(format_args!("the clock is set to {to} ms"));
        }
        if self.dice.once_in(rates.cut) {
            self.break_connection();
        }
        if self.dice.once_in(rates.hold) {
            let hold = self.dice.once_in(3);
            self.hold(hold);
        }
        if self.dice.once_in(rates.rot) {
            self.rot();
        }
    }

    fn disk_fails(&mut self) {
        self.faulty = true;
        let oracles = self.oracles.values_mut();
        oracles.for_each(|oracle| oracle.troubled = true);
    }

    fn act(&mut self) -> Claim {
        match self.dice.roll(100) {
            0..28 => self.produce(),
            28..46 => self.produce_idempotent(),
            46..50 => self.repeat_stored(),
            50..64 => self.fetch(),
            64..80 => self.consume(),
            80..85 => self.list_offset(),
            85..87 => self.delete_records(),
            87..89 => self.produce_partly(),
            89..90 => self.produce_at_wrong_door(),
            90..91 => self.create_topic(),
            91..92 => self.delete_topic(),
            92..93 => self.ask_identity(),
            _ => Ok(()),
        }
    }

    /// Draws the end of the broker's life, and sees to it.
    fn life_ends(&mut self, now: u64) -> Claim {
        if self.broker.world.disk().is_off() {
            self.end(End::Cut)?;
            return self.start_again(End::Cut);
        }
        if let Some(since) = self.stopping {
            let ms = (self.broker.world.now().mono_ns - since) / 1_000_000;
            if self.broker.shards_running() == 0 {
                self.end(End::Stop)?;
                return self.start_again(End::Stop);
            }
            if ms > STOP_MS.unsigned_abs() {
                return Err("the broker was told to stop and does not".to_owned());
            }
            return Ok(());
        }
        if self.broker.shards_running() < usize::from(self.broker.shards()) {
            return Err("a shard ended, and nobody asked it to".to_owned());
        }
        let overdue = self.cut_set.is_some_and(|at| now > at + 5_000);
        if !overdue && (self.cut_set.is_some() || !self.dice.once_in(self.plan.rates.end)) {
            return Ok(());
        }
        let ends: &[End] = match self.plan.relaxed {
            true => &[End::Stop, End::Kill],
            false => &[End::Stop, End::Kill, End::Crash, End::Cut, End::Cut],
        };
        match self.dice.pick(ends).copied().unwrap_or(End::Kill) {
            End::Stop => {
                self.tell(format_args!("SIGTERM"));
                self.broker.ask_to_stop();
                self.stopping = Some(self.broker.world.now().mono_ns);
                Ok(())
            }
            End::Cut if !overdue => {
                let changes = self.dice.roll(300);
                self.tell(format_args!("the power goes after {changes} changes"));
                self.broker.world.disk().cut_power_after(changes);
                self.cut_set = Some(now);
                Ok(())
            }
            end => {
                self.end(end)?;
                self.start_again(end)
            }
        }
    }

    /// The broker is gone: what had arrived counts, the rest is open.
    fn end(&mut self, end: End) -> Claim {
        self.tell(format_args!("the end: {end:?}"));
        match end {
            End::Stop => {
                self.tally.stops += 1;
                self.broker.kill();
            }
            End::Kill => {
                self.tally.kills += 1;
                self.broker.kill();
            }
            End::Crash | End::Cut => {
                self.tally.power_cuts += 1;
                if marks::count("seal begun") > marks::count("seal") {
                    marks::hit("roll during a power cut");
                }
                let seed = self.dice.any();
                self.broker.crash(seed);
            }
        }
        // A cut that was set and did not come is off.
        self.broker.world.disk().restart();
        for at in 0..self.clients.len() {
            for answer in self.clients[at].answers(&mut self.broker)? {
                self.take(&answer)?;
            }
            self.clients[at].abandoned();
        }
        self.broker.world.forget_closed();
        if end != End::Stop || self.faulty {
            self.oracles
                .values_mut()
                .for_each(PartitionOracle::ended_at_once);
        }
        self.stopping = None;
        self.cut_set = None;
        Ok(())
    }

    /// The next life, on any number of shards; its beginning may be cut too.
    fn start_again(&mut self, end: End) -> Claim {
        self.broker.world.settings().faults = Faults::default();
        self.trouble_until = 0;
        let shards_before = self.broker.shards();
        let full = self.full_until > self.tally.ticks;
        let cuts = match end {
            _ if self.faults_over => 0,
            End::Crash | End::Cut if self.dice.once_in(2) => 1 + self.dice.roll(2),
            End::Kill if self.dice.once_in(4) => 1,
            _ => 0,
        };
        let shards = 1 + u16::try_from(self.dice.roll(self.plan.shards_max)).unwrap_or(0);
        for _ in 0..cuts {
            self.cut_recovery(shards, end == End::Kill);
        }
        let replayed = marks::count("B5");
        self.tally.starts += 1;
        let mut started = self.broker.start(shards);
        if full && started.is_err() {
            // An operator makes room.
            marks::hit("no start on a full disk");
            self.broker.kill();
            self.broker.world.disk().limit_room(None);
            self.full_until = 0;
            started = self.broker.start(shards);
        }
        started.map_err(|why| format!("no start after {end:?}: {why}"))?;
        self.none_in_quarantine()?;
        if marks::count("B5") > replayed && shards != shards_before {
            marks::hit("shard count changed with dirty journals");
        }
        self.faulty = false;
        if self.full_until > self.tally.ticks {
            self.disk_fails();
        }
        self.settle_topics()?;
        self.connect_all();
        self.ask_open_deletions()?;
        if self.dice.once_in(6) && self.full_until == 0 {
            // Before anything is sent again.
            audit::everything(self)?;
        }
        self.retry_producers(|_| true)
    }

    /// Nothing goes offline for good unless its files rotted, or, for now, a run past the journal
    /// failed while a later group had already put more of its partition into the journal (row B7).
    fn none_in_quarantine(&mut self) -> Claim {
        let faulty = self.faulty;
        for (path, text) in self.broker.world.disk().snapshot_of("quarantine") {
            let text = String::from_utf8_lossy(&text).into_owned();
            let behind_a_bypass = faulty && text.contains("Row B7");
            for (key, oracle) in &mut self.oracles {
                let name = names::log_dir_name(&self.topics[key.0].name, PartitionIndex(key.1));
                if path == Path::new(DATA_DIR).join(name).join("quarantine") {
                    let known = oracle.rotten || behind_a_bypass;
                    if !known {
                        return Err(format!("{}: {text}", path.display()));
                    }
                    if !oracle.rotten {
                        marks::hit("quarantine behind a failed bypass");
                    }
                    oracle.rotten = true;
                }
            }
        }
        Ok(())
    }

    /// A start that does not come to its end: the power goes, or somebody kills it.
    fn cut_recovery(&mut self, shards: u16, kill: bool) {
        let changes = self.dice.roll(60);
        self.broker.world.disk().cut_power_after(changes);
        let outcome = self.broker.start(shards);
        self.tell(format_args!("a start is cut after {changes}: {outcome:?}"));
        if kill {
            self.broker.kill();
            self.broker.world.disk().restart();
        } else {
            let seed = self.dice.any();
            self.broker.crash(seed);
        }
        if outcome.is_err() {
            marks::hit("recovery after a recovery that was cut");
            self.tally.recoveries_cut += 1;
        }
    }

    /// Opens the connections of a start.
    pub fn connect_all(&mut self) {
        self.life += 1;
        self.clients.clear();
        self.lanes.clear();
        self.consumers.clear();
        for shard in 0..self.broker.shards() {
            for _ in 0..CLIENTS_PER_SHARD {
                self.clients.push(Client::connect(&mut self.broker, shard));
                self.next_lane += 1;
                self.lanes.push((self.next_lane, 0));
            }
            self.consumers.push(Consumer::new(shard));
        }
        for at in 0..self.producers.len() {
            self.seat_producer(at);
        }
    }

    pub fn live_keys(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Key> {
        let topics = self.topics.iter().enumerate();
        topics
            .filter(|(_, topic)| topic.state == TopicState::Alive && wanted(topic.kind))
            .flat_map(|(at, topic)| (0..topic.partitions).map(move |index| (at, index)))
            .collect()
    }

    pub fn is_alive(&self, key: Key) -> bool {
        self.topics[key.0].state == TopicState::Alive
    }

    pub fn leader(&self, key: Key) -> Option<u16> {
        self.broker.leader(&self.topics[key.0].name, key.1)
    }

    /// One of the connections to a shard.
    pub fn client_of(&mut self, shard: u16) -> usize {
        let of: Vec<usize> = (0..self.clients.len())
            .filter(|at| self.clients[*at].shard == shard)
            .collect();
        self.dice.pick(&of).copied().unwrap_or(0)
    }

    pub fn any_client(&mut self) -> usize {
        let some = self.dice.roll(self.clients.len() as u64);
        usize::try_from(some).unwrap_or(0)
    }

    /// Takes every answer that has come; reconnects what broke.
    pub fn poll(&mut self) -> Claim {
        for at in 0..self.clients.len() {
            for answer in self.clients[at].answers(&mut self.broker)? {
                self.take(&answer)?;
            }
            // Nobody listens any more while the broker drains.
            let listens = self.stopping.is_none() && !self.broker.world.disk().is_off();
            if listens && self.clients[at].is_gone(&self.broker) {
                self.reconnect(at)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, answer: &Answer<Note>) -> Claim {
        self.tally.answers += 1;
        match &answer.note {
            Note::Produce {
                batches,
                wrong_door,
            } => self.take_produced(batches, *wrong_door, &answer.decode()?),
            Note::Fetch { asks, bytes_max } => {
                self.take_fetched(asks, *bytes_max, &answer.decode()?)
            }
            Note::Session {
                consumer,
                asks,
                full,
            } => self.take_consumed(*consumer, asks, *full, &answer.decode()?),
            Note::Offset { key, asked, known } => {
                self.take_offset(*key, *asked, *known, &answer.decode()?)
            }
            Note::Create(at) => self.take_created(*at, &answer.decode()?),
            Note::Delete(at) => self.take_deleted(*at, &answer.decode()?),
            Note::DeleteRecords { key, offset, known } => {
                self.take_records_deleted(*key, *offset, *known, &answer.decode()?)
            }
            Note::Identity => self.take_identity(&answer.decode()?),
        }
    }

    /// A connection is gone: what was open on it may or may not have happened. A new one takes
    /// its place, and idempotent producers send again what was not answered.
    fn reconnect(&mut self, at: usize) -> Claim {
        let shard = self.clients[at].shard;
        for note in self.clients[at].abandoned() {
            if let Note::Session { consumer, .. } = note {
                self.consumers[consumer].lost();
            }
        }
        self.clients[at] = Client::connect(&mut self.broker, shard);
        self.next_lane += 1;
        self.lanes[at] = (self.next_lane, 0);
        self.retry_producers(|producer| producer.client == at)
    }

    /// A client hangs up in the middle of its work.
    fn break_connection(&mut self) {
        let at = self.any_client();
        let reset = self.dice.once_in(2);
        self.tally.cut_connections += 1;
        self.clients[at].leave(&mut self.broker, reset);
        // Whatever comes next finds it gone.
        self.broker.world.note_news();
    }

    /// A client stops reading for a while, or all go on.
    fn hold(&mut self, hold: bool) {
        for at in 0..self.clients.len() {
            if !hold || self.dice.once_in(4) {
                self.clients[at].hold_reading(&mut self.broker, hold);
            }
        }
    }

    /// A sector of a segment that is long sealed rots, or holds what was meant for elsewhere.
    fn rot(&mut self) {
        let keys = self.live_keys(|_| true);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return;
        };
        let disk = self.broker.world.disk().clone();
        let name = &self.topics[key.0].name;
        let directory = names::log_dir_name(name, PartitionIndex(key.1));
        let directory = Path::new(DATA_DIR).join(directory);
        let Some(sealed) = sealed_segment(&disk, &directory) else {
            return;
        };
        let Ok(bytes) = crate::devices::Disk::read(&disk, &sealed) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.roll(bytes.len() as u64)).unwrap_or(0);
        if self.dice.once_in(3) {
            let from = usize::try_from(self.dice.roll(bytes.len() as u64)).unwrap_or(0);
            disk.misdirect(&sealed, from, at);
            marks::hit("misdirected sector");
        } else {
            disk.rot(&sealed, at, 1 << self.dice.roll(8));
            marks::hit("rotten bit");
        }
        self.tally.rotten_sectors += 1;
        self.tell(format_args!("rot in {} at {at}", sealed.display()));
        if let Some(oracle) = self.oracles.get_mut(&key) {
            oracle.rotten = true;
        }
    }

    /// Queues and memory stay inside their bounds.
    fn bounds(&mut self) -> Claim {
        use crate::words::limits as l;
        let shards = usize::from(self.broker.shards()) + 1;
        let in_flight = self.broker.world.in_flight();
        let most = shards * (l::JOBS_IN_FLIGHT_MAX + l::READS_IN_FLIGHT_MAX + 64);
        if in_flight > most {
            return Err(format!(
                "{in_flight} operations in flight, {most} is the bound"
            ));
        }
        let unsent = self.broker.world.unsent_bytes_max();
        // One answer may be as large as a fetch may be.
        let most = l::CONNECTION_UNSENT_BYTES_MAX + (64 << 20);
        if unsent > most {
            return Err(format!(
                "{unsent} bytes wait for one client, {most} is the bound"
            ));
        }
        let ring = self.plan.journal.files_max as u64 * self.plan.journal.file_bytes;
        let ring = usize::try_from(ring).unwrap_or(usize::MAX);
        let most = self.plan.tail_cache_bytes + ring + l::READ_CACHE_BYTES_MAX + (64 << 20);
        let held = self.broker.buffer_bytes_max();
        if held > most {
            return Err(format!(
                "a shard holds {held} bytes of buffers, {most} is the bound"
            ));
        }
        Ok(())
    }

    /// The faults stop. What a fault took offline comes back with the next start.
    fn heal(&mut self) -> Claim {
        self.broker.world.settings().faults = Faults::default();
        self.broker.world.disk().limit_room(None);
        self.full_until = 0;
        self.trouble_until = 0;
        self.hold(false);
        if let Some(at) = self.cut_set {
            self.tell(format_args!("no cut came since tick {at}"));
            self.end(End::Crash)?;
            return self.start_again(End::Crash);
        }
        if self.stopping.is_some() {
            self.wait_for_stop()?;
            self.end(End::Stop)?;
            return self.start_again(End::Stop);
        }
        if self.faulty || self.dice.once_in(2) {
            self.end(End::Kill)?;
            self.start_again(End::Kill)?;
        }
        Ok(())
    }

    fn wait_for_stop(&mut self) -> Claim {
        let end = self.broker.world.now().after_ms(STOP_MS);
        for _ in 0..PATIENCE_STEPS {
            if self.broker.shards_running() == 0 {
                return Ok(());
            }
            if self.broker.world.now().reached(end) {
                break;
            }
            self.step()?;
        }
        Err("the broker was told to stop and does not".to_owned())
    }

    /// Liveness: everything that was asked is answered, every partition takes a record more, and
    /// consumers come to the end.
    fn demand_progress(&mut self) -> Claim {
        self.settle("what was under way")?;
        for key in self.live_keys(|_| true) {
            if !self.oracles[&key].rotten {
                self.produce_to(key, -1)?;
            }
        }
        self.settle("a record for every partition")?;
        self.all_were_stored()?;
        for round in 0..2_000 {
            self.consume_all()?;
            self.settle("reading")?;
            if self.not_at_the_end().is_empty() {
                return Ok(());
            }
            if round % 100 == 99 {
                // A long poll may answer with nothing.
                self.broker.world.run_for_ms(1_000);
            }
        }
        let behind = self.not_at_the_end();
        Err(format!("consumers do not come to the end: {behind:?}"))
    }

    /// Runs until everything that was asked is answered.
    fn settle(&mut self, what: &str) -> Claim {
        let end = self.broker.world.now().after_ms(PATIENCE_MS);
        for _ in 0..PATIENCE_STEPS {
            let open: usize = self.clients.iter().map(Client::open).sum();
            // Requests without an answer are under way until nothing is.
            if open == 0 && self.broker.world.is_quiet() {
                return self.poll();
            }
            if self.broker.world.now().reached(end) {
                return Err(format!(
                    "{what}: {open} requests without an answer, or no rest"
                ));
            }
            self.step()?;
        }
        Err(format!("{what}: too much happens"))
    }

    fn stop_in_order(&mut self) -> Claim {
        self.broker.ask_to_stop();
        self.stopping = Some(self.broker.world.now().mono_ns);
        self.wait_for_stop()?;
        self.end(End::Stop)
    }
}

/// A segment behind which there are two more.
fn sealed_segment(disk: &MemoryDisk, directory: &Path) -> Option<std::path::PathBuf> {
    let listed = crate::devices::Disk::list(disk, directory).ok()?;
    let mut logs: VecDeque<String> = listed
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.ends_with(".log"))
        .collect();
    let first = logs.pop_front()?;
    (logs.len() >= 2).then(|| directory.join(first))
}
