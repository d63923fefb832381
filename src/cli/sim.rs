//! `ottla sim`: plays seeds of the simulator and tells what they did, met and found.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::output::Out;
use super::typed::Sim;
use crate::sim::{self, EXPECTED, Options, Outcome, Tally};

/// What all seeds did together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    digest: u64,
    tally: Tally,
    marks: BTreeMap<&'static str, u64>,
    failures: Vec<sim::Failure>,
}

pub fn run(typed: &Sim, out: &mut Out) -> Result<(), Failure> {
    let began = Instant::now();
    let sum = play_all(typed, began);
    report(typed, &sum, began.elapsed(), out)?;
    let mut wrong: Vec<Failure> = Vec::new();
    for failure in &sum.failures {
        out.line(&failure.to_string())?;
        let seed = failure.options.seed;
        wrong.push(Failure::Local(format!("seed {seed}: {}", failure.why)));
    }
    let never = never(&sum);
    let judged = typed.coverage_after.is_some_and(|least| sum.seeds >= least);
    if judged && !never.is_empty() {
        let text = format!(
            "never happened in {} seeds: {}",
            sum.seeds,
            never.join(", ")
        );
        wrong.push(Failure::Local(text));
    }
    out.flush()?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::Several(wrong)),
    }
}

fn play_all(typed: &Sim, began: Instant) -> Sum {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = typed.threads.map_or(cores, usize::from);
    let next = AtomicU64::new(typed.seed);
    let end = typed.seed.saturating_add(typed.seeds);
    let failed = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(usize::try_from(typed.seeds).unwrap_or(usize::MAX)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = typed
                        .seconds
                        .is_some_and(|most| began.elapsed() >= Duration::from_secs(most));
                    if seed >= end || over || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let options = Options {
                        seed,
                        ticks: typed.ticks,
                    };
                    let played = sim::play(options, typed.trace);
                    if let Ok(mut sum) = sum.lock() {
                        match played {
                            Ok(outcome) => sum.add(&outcome),
                            Err(failure) => {
                                failed.store(true, Ordering::Relaxed);
                                sum.failures.push(*failure);
                            }
                        }
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_default()
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        // In whatever order seeds end.
        self.digest ^= outcome.digest;
        self.tally.add(&outcome.tally);
        for (name, count) in &outcome.marks {
            *self.marks.entry(name).or_default() += count;
        }
    }
}

fn never(sum: &Sum) -> Vec<&'static str> {
    let hit = |name: &&'static str| !sum.marks.contains_key(name);
    EXPECTED.into_iter().filter(hit).collect()
}

fn report(typed: &Sim, sum: &Sum, took: Duration, out: &mut Out) -> Result<(), Failure> {
    let seconds = took.as_secs_f64();
    let a_minute = 60.0 * sum.seeds as f64 / seconds.max(0.001);
    let (seed, ticks) = (typed.seed, typed.ticks);
    let mut lines = vec![
        format!(
            "seeds {} from {seed}, {ticks} ticks each, {} failed, {seconds:.1} s, {a_minute:.0} seeds a minute, digest {:016x}",
            sum.seeds,
            sum.failures.len(),
            sum.digest,
        ),
        sum.tally.to_string(),
    ];
    let marks: Vec<String> = sum
        .marks
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    lines.push(format!("met: {}", marks.join(", ")));
    lines.push(format!("not met: {}", never(sum).join(", ")));
    for line in lines {
        out.line(&line)?;
    }
    Ok(())
}
