//! The log as a whole against naive oracles, in a simulated world.
//!
//! Claim: whatever is asked in whatever order, on however many shards, however the broker ends and
//! whatever the disk and the network do: what was acknowledged or ever shown is there afterwards,
//! in its place, once, contiguous; answers come in the order of their requests, each once; and when
//! the faults stop, everything goes on. Method: `ottla::sim`, of which one seed is one history.
//! This is a slice; `scripts/torture` plays many seeds of full length.
//! `OTTLA_SEED=n` plays that one, `OTTLA_SEEDS=n` that many, `OTTLA_TICKS=n` so long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla::sim::{self, Options, Outcome, TRACE_LINES};

/// Ticks of a seed in the slice, and how many seeds.
const TICKS: u64 = 5_000;
const SEEDS: u64 = 40;
const FIRST: u64 = 1_000_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays runs on two threads; the first that fails is told.
fn play_all(runs: &[Options]) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(options) = usize::try_from(at).ok().and_then(|at| runs.get(at)) else {
                        return;
                    };
                    match sim::play(*options, TRACE_LINES) {
                        Ok(outcome) => outcomes.lock().expect("nobody panics").push(outcome),
                        Err(failure) => panic!("{failure}"),
                    }
                }
            });
        }
    });
    outcomes.into_inner().expect("nobody panics")
}

fn kept() -> Vec<Options> {
    let lines = include_str!("sim/seeds.txt").lines();
    let numbers = |line: &str| -> Option<Options> {
        let mut words = line.split_whitespace().map(str::parse);
        let (Some(Ok(seed)), Some(Ok(ticks))) = (words.next(), words.next()) else {
            return None;
        };
        Some(Options { seed, ticks })
    };
    let told = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    told.map(|line| numbers(line).expect("seed, ticks, story"))
        .collect()
}

#[test]
fn seeds_that_once_failed_hold() {
    play_all(&kept());
}

#[test]
fn every_claim_holds_in_a_slice_of_the_search() {
    let ticks = number("OTTLA_TICKS").unwrap_or(TICKS);
    let seeds = match number("OTTLA_SEED") {
        Some(seed) => seed..seed + 1,
        None => FIRST..FIRST + number("OTTLA_SEEDS").unwrap_or(SEEDS),
    };
    let runs: Vec<Options> = seeds.map(|seed| Options { seed, ticks }).collect();
    let mut sum = sim::Tally::default();
    for outcome in play_all(&runs) {
        sum.add(&outcome.tally);
    }
    assert_eq!(
        sum.ticks,
        ticks * runs.len() as u64,
        "every tick was played"
    );
    if runs.len() as u64 >= SEEDS {
        let met = [
            sum.acknowledged,
            sum.batches_read,
            sum.power_cuts,
            sum.kills,
            sum.stops,
        ];
        assert!(
            met.iter().all(|count| *count > 10),
            "too little happened: {sum}"
        );
    }
}

#[test]
fn one_seed_is_one_history_to_the_bit() {
    let digest = |seed| {
        let options = Options { seed, ticks: 3_000 };
        let outcome = sim::play(options, TRACE_LINES).unwrap_or_else(|failure| panic!("{failure}"));
        (outcome.digest, outcome.marks)
    };
    for seed in 2_000_000..2_000_004 {
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
    assert_ne!(digest(2_000_000).0, digest(2_000_001).0);
}
