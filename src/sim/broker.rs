//! A whole broker in a simulated world: real recovery, real metadata writer, real shards.
//!
//! Owns the world and the order of a start and of each of its ends. The shards are peers 0 to
//! N - 1 of the mesh, the metadata writer is peer N.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::control::{self, ControlMessage};
use crate::devices::memory_disk::MemoryDisk;
use crate::devices::world::dice::Dice;
use crate::devices::world::{ClientEnd, World};
use crate::devices::{BufferPool, Disk, PeerId};
use crate::log::journal_ring::RingLimits;
use crate::metadata::{ImageCell, MetadataImage};
use crate::serve::{self, StartFacts};
use crate::settings::{BrokerSettings, load};
use crate::shard::{Shard, ShardNumbers, ShardStart, control_peer};
use crate::sim::plan::Plan;
use crate::words::{NodeId, PartitionIndex, ShardId};

/// Where everything is.
pub const DATA_DIR: &str = "/data";
/// Free buffers that a shard's pool keeps.
const POOL_BYTES: usize = 16 << 20;

/// The broker, running or not.
pub struct Broker {
    pub world: World<ControlMessage>,
    settings: Arc<BrokerSettings>,
    cell: Option<Arc<ImageCell>>,
    stop: Arc<AtomicBool>,
    shards: u16,
    journal: RingLimits,
    numbers: ShardNumbers,
    pools: Vec<Arc<BufferPool>>,
    /// Feeds ids, salts and seeds of shards, whatever the world's own dice do.
    dice: Dice,
}

impl Broker {
    /// A broker on an empty disk, not started.
    pub fn new(plan: &Plan) -> Result<Broker, String> {
        let dice = Dice::new(plan.world.seed ^ 0xb20c_e200);
        let text = format!(
            "log.dirs={DATA_DIR}\nlisteners=PLAINTEXT://localhost:9092\n{}",
            plan.server
        );
        let given = load::from_file(&text).map_err(|error| error.to_string())?;
        let (settings, _) = load::load(&given).map_err(|errors| format!("{errors:?}"))?;
        let disk = MemoryDisk::new();
        disk.create_dir_all(DATA_DIR.as_ref())
            .map_err(|error| error.to_string())?;
        let numbers = ShardNumbers {
            fill_idle_ms: plan.fill_idle_ms,
            tail_cache_bytes: plan.tail_cache_bytes,
            ..serve::numbers(&settings)
        };
        Ok(Broker {
            world: World::new(plan.world.clone(), disk),
            journal: plan.journal,
            numbers,
            pools: Vec::new(),
            settings: Arc::new(settings),
            cell: None,
            stop: Arc::default(),
            shards: 0,
            dice,
        })
    }

    /// Starts with so many shards: metadata, recovery, machines. The error is what an operator
    /// would read.
    pub fn start(&mut self, shards: u16) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(self.world.disk().clone());
        let bound: Vec<u16> = (0..shards).map(|shard| 9092 + shard).collect();
        let nodes = control::start::nodes(&self.settings, "localhost", &bound)
            .ok_or("ports leave their range")?;
        let node_ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
        let mut ids = self.dice.fork();
        let new_id: control::NewId = Box::new(move || {
            let both = (u128::from(ids.any()) << 64) | u128::from(ids.any());
            both.to_be_bytes()
        });
        let bell = self.world.bell();
        let wake = move || (0..shards).for_each(|shard| bell.wake(PeerId(shard)));
        let started = control::start(&disk, &self.settings, nodes, new_id, Box::new(wake))
            .map_err(|error| error.to_string())?;
        let image = started.cell.load();
        let data_dir = PathBuf::from(DATA_DIR);
        let salt = u32::try_from(self.dice.roll(1 << 32)).unwrap_or(0);
        let now = self.world.now().wall;
        // On this thread, so that one seed is one history.
        let start = StartFacts {
            salt,
            now,
            shards,
            threads: 1,
        };
        let ground = serve::recover(&disk, &data_dir, &image, &self.settings, start)
            .map_err(|failure| failure.to_string())?;
        self.stop = Arc::default();
        self.shards = shards;
        self.pools.clear();
        let connection_counts = Arc::default();
        for (shard, node) in (0u16..).zip(node_ids) {
            let journal = serve::open_journal(
                &*disk,
                &data_dir,
                ShardId(shard),
                ground.incarnation,
                self.journal,
            )
            .map_err(|error| error.to_string())?;
            let pool = BufferPool::new(POOL_BYTES);
            self.pools.push(Arc::clone(&pool));
            let machine = Shard::new(ShardStart {
                shard: ShardId(shard),
                node,
                control: control_peer(shards),
                numbers: self.numbers,
                settings: Arc::clone(&self.settings),
                image: Arc::clone(&started.cell),
                pool,
                journal,
                recovered: Arc::clone(&ground.logs),
                connection_counts: Arc::clone(&connection_counts),
                data_dir: data_dir.clone(),
                stop: Arc::clone(&self.stop),
                seed: self.dice.any(),
                now: self.world.now(),
            });
            self.world.add(Box::new(machine));
        }
        self.world.add(Box::new(started.control));
        self.cell = Some(started.cell);
        Ok(())
    }

    pub fn shards(&self) -> u16 {
        self.shards
    }

    pub fn image(&self) -> Arc<MetadataImage> {
        match &self.cell {
            Some(cell) => cell.load(),
            None => Arc::new(MetadataImage::empty()),
        }
    }

    /// The shard that leads a partition now.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<u16> {
        let image = self.image();
        let leader = image
            .topic(topic)?
            .partition(PartitionIndex(partition))?
            .leader;
        u16::try_from(leader.0).ok()
    }

    pub fn connect(&mut self, shard: u16) -> ClientEnd {
        self.world.connect(PeerId(shard))
    }

    /// A signal: the shards begin to drain.
    pub fn ask_to_stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let bell = self.world.bell();
        (0..self.shards).for_each(|shard| bell.wake(PeerId(shard)));
    }

    /// Shards that have not ended.
    pub fn shards_running(&self) -> usize {
        let running = |shard: &u16| self.world.is_running(PeerId(*shard));
        (0..self.shards).filter(running).count()
    }

    /// Most memory that one shard holds in buffers.
    pub fn buffer_bytes_max(&self) -> usize {
        self.pools
            .iter()
            .map(|pool| pool.in_use())
            .max()
            .unwrap_or(0)
    }

    /// The process dies; what it wrote is there.
    pub fn kill(&mut self) {
        self.world.kill();
        self.cell = None;
    }

    /// The power goes; what was not flushed is kept, dropped and torn by `seed`.
    pub fn crash(&mut self, seed: u64) {
        self.world.crash(seed);
        self.cell = None;
    }
}
