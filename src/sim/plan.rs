//! What one seed draws before anything happens: the machine, its settings, the load, the faults.
//!
//! Owns the numbers only. A run is its plan and the dice; nothing else decides.

use crate::devices::world::dice::Dice;
use crate::devices::world::{Pace, WorldSettings};
use crate::log::journal_ring::RingLimits;
use crate::words::limits::{BLOCK_BYTES, FILL_IDLE_MS, JOURNAL_ENTRY_BYTES_MAX};

/// How large batches are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// A few records of a few bytes: many groups, many rolls of tiny segments.
    Tiny,
    /// Mostly tiny, some large.
    Mixed,
    /// Often past the journal, longer than an extent now and then.
    Large,
}

/// How often something begins: once in so many ticks; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// The end of the broker's life, however it comes.
    pub end: u64,
    /// A spell of failing writes, flushes, reads and jobs.
    pub trouble: u64,
    /// A spell with a full disk.
    pub full: u64,
    /// The wall clock is set.
    pub clock: u64,
    /// Somebody's connection breaks.
    pub cut: u64,
    /// A client stops reading, or goes on.
    pub hold: u64,
    /// Bits of sealed data rot, or a write meant for elsewhere lands in it.
    pub rot: u64,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub world: WorldSettings,
    /// Lines of `server.properties`.
    pub server: String,
    pub journal: RingLimits,
    pub fill_idle_ms: i64,
    pub tail_cache_bytes: usize,
    pub segment_bytes: u64,
    /// Answers do not wait for the flush: a power cut may lose what was acknowledged, so there is
    /// none.
    pub relaxed: bool,
    pub shards_max: u64,
    pub topics: u64,
    pub sizes: Sizes,
    /// A client does something once in so many ticks.
    pub act_once_in: u64,
    /// All clients rest for a while, once in so many ticks.
    pub rest_once_in: u64,
    pub rates: Rates,
}

impl Plan {
    pub fn draw(seed: u64) -> Plan {
        let mut dice = Dice::new(seed ^ 0x01a7);
        let dice = &mut dice;
        let sizes = *dice
            .pick(&[
                Sizes::Tiny,
                Sizes::Tiny,
                Sizes::Mixed,
                Sizes::Mixed,
                Sizes::Large,
            ])
            .unwrap_or(&Sizes::Mixed);
        let segment_bytes = match sizes {
            Sizes::Tiny => *dice.pick(&[4_096, 20_000, 100_000]).unwrap_or(&4_096),
            Sizes::Mixed => *dice.pick(&[300_000, 1_048_576]).unwrap_or(&1_048_576),
            Sizes::Large => *dice.pick(&[1_048_576, 6_000_000]).unwrap_or(&1_048_576),
        };
        let tail_cache_bytes = *dice.pick(&[0, 65_536, 1 << 20]).unwrap_or(&0);
        let mut world = WorldSettings::new(seed);
        world.pace = pace(dice);
        let relaxed = dice.once_in(8);
        let durability = if relaxed { "write" } else { "fsync" };
        let files_max = 2 + dice.roll(4);
        let pipeline = *dice.pick(&[1, 3, 1024]).unwrap_or(&1);
        let server = format!(
            "ottla.durability={durability}\nottla.journal.files.max={files_max}\n\
             ottla.connection.pipeline.max={pipeline}\n\
             log.retention.check.interval.ms={}\n",
            1_000 + dice.roll(9_000),
        );
        Plan {
            world,
            server,
            journal: RingLimits {
                file_bytes: file_bytes(dice),
                files_max: usize::try_from(files_max).unwrap_or(2),
            },
            fill_idle_ms: *dice.pick(&[20, 500, FILL_IDLE_MS]).unwrap_or(&FILL_IDLE_MS),
            tail_cache_bytes,
            segment_bytes,
            relaxed,
            shards_max: 1 + dice.roll(4),
            topics: 2 + dice.roll(4),
            sizes,
            act_once_in: 2 + dice.roll(10),
            rest_once_in: 200 + dice.roll(1_500),
            rates: rates(dice),
        }
    }
}

fn pace(dice: &mut Dice) -> Pace {
    let mut pace = Pace::default();
    pace.slow_once_in = *dice.pick(&[0, 16, 64]).unwrap_or(&64);
    pace.slow_factor = *dice.pick(&[10, 50, 2_000]).unwrap_or(&50);
    pace.crumbs_once_in = *dice.pick(&[2, 12, 100]).unwrap_or(&12);
    pace.chunk_bytes = *dice.pick(&[512, 16 * 1024, 128 * 1024]).unwrap_or(&512);
    // A chunk a tick: large requests in tiny pieces would be all that happens.
    pace.chunk_bytes = pace.chunk_bytes.max(8 * 1024);
    if dice.once_in(4) {
        // Everything at once: only chance orders what happens.
        pace.write_ns = 0..1;
        pace.flush_ns = 0..1;
        pace.read_ns = 0..1;
        pace.network_ns = 0..1;
        pace.post_ns = 0..1;
        pace.turn_ns = 0..1;
    }
    pace
}

/// Small files make the ring turn often.
fn file_bytes(dice: &mut Dice) -> u64 {
    let least = (JOURNAL_ENTRY_BYTES_MAX + 4 * BLOCK_BYTES) as u64;
    *dice.pick(&[least, least, 2 << 20]).unwrap_or(&least)
}

fn rates(dice: &mut Dice) -> Rates {
    // Each fault is absent in some seeds, so that none hides another for ever.
    let mut rate = |absent: u64, once_in: u64| match dice.roll(absent) {
        0 => 0,
        _ => once_in / 2 + dice.roll(once_in),
    };
    Rates {
        end: rate(12, 4_000).max(1_000),
        trouble: rate(2, 6_000),
        full: rate(2, 8_000),
        clock: rate(2, 3_000),
        cut: rate(4, 400),
        hold: rate(3, 600),
        rot: match rate(2, 6_000) {
            once_in if once_in % 4 == 0 => once_in,
            _ => 0,
        },
    }
}
