//! A shard: one pinned core, one Kafka node. It owns its connections, its partitions, its journal
//! and its memory budget, and is one synchronous machine on its hot path.
//!
//! This file joins the rooms: events are sent to the room they belong to, and at the end of a turn
//! the commit group closes, fills and checkpoints are scheduled and answers go out. It never waits
//! and never decides a rule of Kafka; those live in the cores (`log/`, `session/`, `wait/`).

pub mod commit;
pub mod connection;
pub mod connection_counts;
pub mod delete_records;
pub mod fetch;
pub mod fill;
pub mod held;
pub mod jobs;
pub mod journal;
pub mod lines;
pub mod looks;
pub mod lookup;
pub mod ops;
pub mod ownership;
pub mod partition;
pub mod partitions;
pub mod produce;
pub mod reads;
pub mod recovery;
pub mod requests;
pub mod trim;
pub mod upkeep;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::api::k22_init_producer_id::ProducerIds;
use crate::control::ControlMessage;
use crate::devices::{
    BufferPool, ConnectionId, Effect, Effects, Event, Fault, Machine, Output, PeerId,
};
use crate::log::partition::LogStart;
use crate::metadata::{ImageCell, MetadataImage};
use crate::session::{FetchSessionLimits, FetchSessions};
use crate::settings::BrokerSettings;
use crate::shard::commit::Commit;
use crate::shard::connection::{Connection, HeldBack};
use crate::shard::connection_counts::ConnectionCounts;
use crate::shard::delete_records::Deletions;
use crate::shard::fetch::Fetches;
use crate::shard::fill::Fills;
use crate::shard::journal::Journal;
use crate::shard::lines::Lines;
use crate::shard::looks::Looks;
use crate::shard::lookup::Lookups;
use crate::shard::ops::{Op, Ops};
use crate::shard::partitions::Partitions;
use crate::shard::produce::Produces;
use crate::shard::reads::{Reader, Reads, Stretch};
use crate::wait::{Watchers, Wheel};
use crate::wire::record::Allowance;
use crate::words::limits::{TIMERS_MAX, WATCHED_PARTITIONS_MAX};
use crate::words::{Deadline, NodeId, Now, ShardId, TopicPartition};

/// What travels on the mesh.
pub type Message = ControlMessage;

/// Place of the control writer in the mesh: after the shards.
pub fn control_peer(shards: u16) -> PeerId {
    PeerId(shards)
}

/// Numbers of the configuration that the hot path needs at hand.
#[derive(Clone, Copy, Debug)]
pub struct ShardNumbers {
    pub retention_check_ms: i64,
    pub producer_expiry_check_ms: i64,
    pub producer_expiration_ms: i64,
    pub fill_idle_ms: i64,
    pub disk_full_retry_ms: i64,
    /// Filled bytes that recovery may have to read again.
    pub rescan_bytes_max: u64,
    pub tail_cache_bytes: usize,
    pub frame_bytes_max: usize,
    pub request_memory_bytes: usize,
    pub connections_max: usize,
    pub connections_per_ip_max: usize,
    pub connection_idle_ms: i64,
    pub fetch_bytes_max: usize,
    pub fetch_sessions_max: usize,
    pub strict_validation: bool,
}

/// Everything a shard starts with.
pub struct ShardStart {
    pub shard: ShardId,
    pub node: NodeId,
    pub control: PeerId,
    pub numbers: ShardNumbers,
    pub settings: Arc<BrokerSettings>,
    pub image: Arc<ImageCell>,
    pub pool: Arc<BufferPool>,
    pub journal: Journal,
    /// What recovery found of partitions, by identity; taken when the image says they are led here.
    pub recovered: Recovered,
    /// Shared with all shards of the process.
    pub connection_counts: Arc<ConnectionCounts>,
    pub data_dir: PathBuf,
    /// Set from outside, with a wake: drain.
    pub stop: Arc<AtomicBool>,
    /// Seed of everything random on this shard (session ids, roll jitter).
    pub seed: u64,
    pub now: Now,
}

/// Recovered logs, handed to whichever shard leads them.
pub type Recovered = Arc<std::sync::Mutex<HashMap<TopicPartition, LogStart>>>;

/// How far a shard's life has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Serving,
    /// No new work; what is owed is answered, what is in memory goes to its segments.
    Draining,
    Stopped,
}

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Timer {
    Fetch(fetch::FetchKey),
    IdleConnections,
    /// The way out has waited long enough for clients.
    DrainPatience,
    Retention,
    Expiry,
}

/// The machine.
pub struct Shard {
    pub(crate) shard: ShardId,
    pub(crate) node: NodeId,
    pub(crate) control: PeerId,
    pub(crate) config: ShardNumbers,
    pub(crate) settings: Arc<BrokerSettings>,
    pub(crate) image_cell: Arc<ImageCell>,
    pub(crate) image: Arc<MetadataImage>,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) data_dir: PathBuf,
    pub(crate) recovered: Recovered,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) random: u64,

    pub(crate) partitions: Partitions,
    pub(crate) journal: Journal,
    pub(crate) commit: Commit,
    pub(crate) fills: Fills,
    pub(crate) reads: Reads,
    pub(crate) ops: Ops,
    /// Idle data was filled: write a checkpoint by then.
    pub(crate) checkpoint_due: Option<Deadline>,
    /// The last checkpoint failed: none before then.
    pub(crate) checkpoint_after: Option<Deadline>,

    pub(crate) connections: HashMap<ConnectionId, Connection>,
    /// Connections of all shards.
    pub(crate) connection_counts: Arc<ConnectionCounts>,
    /// Connections with something to do at the end of the turn.
    pub(crate) touched: Vec<ConnectionId>,
    /// Connections that are not read, because their peers are ahead of us.
    pub(crate) held_back: HeldBack,
    /// Bytes of requests in hand, whole or not, of all connections.
    pub(crate) request_bytes: usize,
    pub(crate) sessions: FetchSessions,
    pub(crate) produces: Produces,
    pub(crate) fetches: Fetches,
    pub(crate) lookups: Lookups,
    /// Produce requests that are not appended yet.
    pub(crate) lines: Lines,
    pub(crate) looks: Looks,
    pub(crate) deletions: Deletions,
    pub(crate) asked: requests::Asked,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) wheel: Wheel<Timer>,
    /// Parked fetches, by the partitions whose high watermark they wait for.
    pub(crate) watchers: Watchers<partition::Slot, fetch::FetchKey>,
    pub(crate) life: Life,
    /// The last checkpoint of the way out was started.
    pub(crate) drained_checkpoint: bool,
}

impl Shard {
    pub fn new(start: ShardStart) -> Shard {
        let image = start.image.load();
        let mut shard = Shard {
            shard: start.shard,
            node: start.node,
            control: start.control,
            config: start.numbers,
            settings: start.settings,
            image_cell: start.image,
            image: Arc::new(MetadataImage::default()),
            pool: start.pool,
            data_dir: start.data_dir,
            recovered: start.recovered,
            stop: start.stop,
            random: start.seed | 1,
            partitions: Partitions::default(),
            journal: start.journal,
            commit: Commit::default(),
            fills: Fills::default(),
            reads: Reads::default(),
            ops: Ops::default(),
            checkpoint_due: None,
            checkpoint_after: None,
            connections: HashMap::new(),
            connection_counts: start.connection_counts,
            touched: Vec::new(),
            held_back: HeldBack::default(),
            request_bytes: 0,
            sessions: FetchSessions::new(FetchSessionLimits {
                sessions_max: start.numbers.fetch_sessions_max,
                ..FetchSessionLimits::default()
            }),
            produces: Produces::default(),
            fetches: Fetches::default(),
            lookups: Lookups::default(),
            lines: Lines::default(),
            looks: Looks::default(),
            deletions: Deletions::default(),
            asked: requests::Asked::default(),
            producer_ids: ProducerIds::default(),
            wheel: Wheel::new(TIMERS_MAX, start.now),
            watchers: Watchers::new(WATCHED_PARTITIONS_MAX),
            life: Life::Serving,
            drained_checkpoint: false,
        };
        shard.start_timers(start.now);
        let mut effects = Effects::new();
        shard.take_image(start.now, &image, &mut effects);
        debug_assert!(effects.is_empty(), "nothing was led before");
        shard
    }

    /// A number nobody outside can foresee well enough to matter (xorshift).
    pub(crate) fn random(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x
    }

    fn operation_done(
        &mut self,
        now: Now,
        op: Op,
        result: Result<Output, Fault>,
        effects: &mut Effects<Message>,
    ) {
        match op {
            Op::Commit { group } => {
                self.commit_operation_done(now, group, result.map(drop), effects);
            }
            Op::Bypass { .. } | Op::Fill { .. } => {
                self.fill_operation_done(now, op, result, effects);
            }
            Op::GrowJournal { number } => self.journal_grown(number, result),
            Op::Checkpoint { through } => self.checkpointed(now, through, result),
            Op::JournalFlush => self.journal_flushed(now, &result, effects),
            Op::Sweep { what } => {
                if let Err(fault) = result {
                    tracing::warn!(error = %fault.error, what, "files could not be removed");
                }
            }
            Op::OpenSegment {
                slot,
                topic_partition,
                segment,
            } if self.partitions.same(slot, topic_partition) => {
                self.segment_opened(slot, segment, result, now, effects);
            }
            Op::SealSegment {
                slot,
                topic_partition,
                segment,
            } if self.partitions.same(slot, topic_partition) => {
                self.segment_sealed(slot, segment, result, now, effects);
            }
            Op::OpenForRead { slot, segment, .. } => {
                self.opened_for_read(slot, segment, result);
                self.wake_readers(now, slot, effects);
            }
            Op::ReadExtent {
                slot,
                segment,
                position,
                end_position,
                ..
            } => {
                let stretch = Stretch {
                    slot,
                    segment,
                    position,
                    end_position,
                };
                self.extent_read(stretch, result, effects);
                self.wake_readers(now, slot, effects);
            }
            Op::TrimSegment {
                slot,
                topic_partition,
            } => self.segment_trimmed(slot, topic_partition, &result),
            Op::LookForProduce { key } => self.looked_for_produce(now, key, result, effects),
            Op::LookForLookup { key, at } => self.looked_for_lookup(key, at, result, effects),
            // The partition went away meanwhile.
            Op::OpenSegment { .. } | Op::SealSegment { .. } => {}
        }
    }

    fn wake_readers(&mut self, now: Now, slot: partition::Slot, effects: &mut Effects<Message>) {
        for reader in self.reads.take_waiting(slot) {
            match reader {
                Reader::Fetch(key) => self.evaluate_fetch(now, key, effects),
                Reader::Lookup(key) => self.evaluate_lookup(key, effects),
            }
        }
    }

    fn timer_fired(&mut self, now: Now, timer: Timer, effects: &mut Effects<Message>) {
        match timer {
            Timer::Fetch(key) => self.fetch_deadline(now, key, effects),
            Timer::IdleConnections => self.close_idle_connections(now, effects),
            Timer::DrainPatience => self.close_all_connections(effects),
            Timer::Retention => self.apply_retention(now, effects),
            Timer::Expiry => self.expire_producers(now),
        }
    }
}

impl Machine<Message> for Shard {
    fn handle(&mut self, now: Now, event: Event<Message>, effects: &mut Effects<Message>) {
        // A topic that was made a moment ago is there before its first record is.
        if let Some(image) = self.image_cell.newer(&self.image) {
            self.take_image(now, &image, effects);
        }
        match event {
            Event::Accepted { connection, peer } => self.accepted(now, connection, peer, effects),
            Event::Received { connection, data } => self.received(now, connection, data, effects),
            Event::Sent { connection, bytes } => self.sent(connection, bytes),
            Event::Closed { connection } => self.closed(connection),
            Event::Done { op, result } => {
                if let Some(op) = self.ops.finish(op) {
                    self.operation_done(now, op, result, effects);
                }
            }
            Event::Message { message, .. } => self.control_answered(message),
            Event::Woken => {
                if self.stop.load(Ordering::Acquire) {
                    self.drain(now, effects);
                }
            }
            Event::Tick => {
                let mut fired = Vec::new();
                self.wheel.advance(now, |timer| fired.push(timer));
                for timer in fired {
                    self.timer_fired(now, timer, effects);
                }
            }
        }
    }

    fn end_turn(&mut self, now: Now, effects: &mut Effects<Message>) {
        self.close_commit_group(effects);
        self.schedule_flush(now, effects);
        self.schedule_fills(now, effects);
        self.schedule_checkpoint(now, effects);
        self.schedule_trims(now, effects);
        self.evict_tail();
        self.settle_connections(now, effects);
        self.drain_on(now, effects);
        self.looks.turn = Allowance::of_a_turn();
    }

    fn next_deadline(&self) -> Option<Deadline> {
        [
            self.wheel.next_deadline(),
            self.fill_deadline(),
            // While one is written the next cannot begin: its end is what wakes us.
            self.checkpoint_due
                .filter(|_| !self.journal.checkpointing)
                .map(|due| self.checkpoint_after.map_or(due, |after| due.max(after))),
            self.trim_deadline(),
            self.journal.debt.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Asks the loop to end after this turn.
fn stop(effects: &mut Effects<Message>) {
    effects.push(Effect::Stop);
}
