//! A whole broker in a simulated world: real recovery, real metadata writer, real shards.
//!
//! Owns the world and the order of a start and of each of its ends. The shards are peers 0 to
//! N - 1 of the mesh, the metadata writer is peer N.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla::control::{self, ControlMessage};
use ottla::devices::memory_disk::MemoryDisk;
use ottla::devices::world::dice::Dice;
use ottla::devices::world::{ClientEnd, World, WorldSettings};
use ottla::devices::{BufferPool, Disk, PeerId};
use ottla::log::journal_ring::RingLimits;
use ottla::metadata::{ImageCell, MetadataImage};
use ottla::serve::{self, StartFacts};
use ottla::settings::{BrokerSettings, load};
use ottla::shard::recovery::Summary;
use ottla::shard::{Shard, ShardStart, control_peer};
use ottla::words::{NodeId, PartitionIndex, ShardId};

const DATA_DIR: &str = "/data";

/// The broker, running or not.
pub struct Broker {
    pub world: World<ControlMessage>,
    settings: Arc<BrokerSettings>,
    cell: Option<Arc<ImageCell>>,
    stop: Arc<AtomicBool>,
    shards: u16,
    /// Bound of what recovery reads again, if not the broker's own.
    pub rescan_bytes_max: Option<u64>,
    /// What the last start had to do.
    pub recovered: Summary,
    /// Feeds ids, salts and seeds of shards, whatever the world's own dice do.
    dice: Dice,
}

impl Broker {
    /// A broker on an empty disk, not started. `overrides` are lines of `server.properties`.
    pub fn new(world: WorldSettings, overrides: &str) -> Broker {
        let dice = Dice::new(world.seed ^ 0xb20c_e200);
        Broker::on(MemoryDisk::new(), world, overrides, dice)
    }

    fn on(disk: MemoryDisk, world: WorldSettings, overrides: &str, dice: Dice) -> Broker {
        let text =
            format!("log.dirs={DATA_DIR}\nlisteners=PLAINTEXT://localhost:9092\n{overrides}");
        let given = load::from_file(&text).expect("the settings can be read");
        let (settings, _) = load::load(&given).expect("the settings are good");
        disk.create_dir_all(DATA_DIR.as_ref())
            .expect("an empty disk takes a directory");
        Broker {
            world: World::new(world, disk),
            settings: Arc::new(settings),
            cell: None,
            stop: Arc::default(),
            shards: 0,
            rescan_bytes_max: None,
            recovered: Summary::default(),
            dice,
        }
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
        let start = StartFacts {
            salt: u32::try_from(self.dice.roll(1 << 32)).unwrap_or(0),
            now: self.world.now().wall,
            shards,
            threads: 1,
        };
        let ground = serve::recover(&disk, &data_dir, &image, &self.settings, start)
            .map_err(|failure| failure.to_string())?;
        self.stop = Arc::default();
        only_journals_of(&*disk, &data_dir, shards);
        self.shards = shards;
        self.recovered = ground.summary;
        let mut numbers = serve::numbers(&self.settings);
        if let Some(bytes) = self.rescan_bytes_max {
            numbers.rescan_bytes_max = bytes;
        }
        let connection_counts = Arc::default();
        for (shard, node) in (0u16..).zip(node_ids) {
            let journal = serve::open_journal(
                &*disk,
                &data_dir,
                ShardId(shard),
                ground.incarnation,
                RingLimits {
                    files_max: self.settings.journal_files_max,
                    ..RingLimits::default()
                },
            )
            .map_err(|error| error.to_string())?;
            let machine = Shard::new(ShardStart {
                shard: ShardId(shard),
                node,
                control: control_peer(shards),
                numbers,
                settings: Arc::clone(&self.settings),
                image: Arc::clone(&started.cell),
                pool: BufferPool::new(64 << 20),
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

    /// A signal: drains and ends; false when the shards did not end in `ms` milliseconds.
    pub fn stop(&mut self, ms: i64) -> bool {
        self.stop.store(true, Ordering::Release);
        let bell = self.world.bell();
        (0..self.shards).for_each(|shard| bell.wake(PeerId(shard)));
        let shards = self.shards;
        let ended = self.world.run_until(ms, |world| {
            (0..shards).all(|shard| !world.is_running(PeerId(shard)))
        });
        // The metadata writer ends with the process.
        self.world.kill();
        self.cell = None;
        ended
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

/// No journal of a shard that is no more outlives a start.
fn only_journals_of(disk: &dyn Disk, data_dir: &Path, shards: u16) {
    for entry in disk.list(data_dir).expect("the data directory") {
        let Some(rest) = entry.name.strip_prefix("journal.") else {
            continue;
        };
        let shard = rest
            .split('.')
            .next()
            .and_then(|digits| digits.parse().ok());
        let aside = rest.contains(".quarantine.");
        let ours = shard.is_some_and(|shard: u16| shard < shards);
        assert!(aside || (ours && !rest.contains('.')), "{}", entry.name);
    }
}
