//! The simulator: a whole broker and its clients on virtual time, driven by one seed.
//!
//! Real shards, handlers, cores, journal, recovery and metadata writer of one machine run on the
//! simulated devices (`devices/world`); clients, faults and the oracles live here. The same seed and
//! ticks are the same history to the bit. It is part of the library because `ottla sim` and the
//! tests play the same thing; it is a layer above the shell, and nothing of the product knows it.
//!
//! Pure, as machines are: no clock, no files, no threads. Owns the order of a run (`run`), what it
//! draws (`plan`), what clients do and how answers are judged (`produce`, `fetch`, `admin`,
//! `audit`), and what must be true (`oracle`, which reads stored batches with its own eyes, `batch`).

mod admin;
mod audit;
mod batch;
mod broker;
mod client;
mod fetch;
mod oracle;
mod plan;
mod produce;
mod run;
mod tally;
mod topics;

#[cfg(test)]
mod deletion_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use plan::Plan;
pub use tally::Tally;

use crate::devices::world::Trace;
use crate::words::marks;

/// Ticks of a run when nobody says otherwise.
pub const TICKS: u64 = 20_000;
/// Lines of a failing run that are kept.
pub const TRACE_LINES: usize = 400;

/// Rare things that a search of many seeds must have met: the marks of the product and the run.
/// Letters are rows of the recovery table (`log/verdict.rs`).
pub const EXPECTED: [&str; 36] = [
    "B3",
    "B5",
    "B8",
    "D2",
    "D5",
    "D6",
    "E3",
    "I1",
    "I2",
    "I3",
    "T4",
    "T5",
    "T6",
    "T7",
    "batch longer than its extent",
    "bypass",
    "duplicate batch",
    "entry of an earlier start",
    "journal file free again",
    "journal full",
    "journal grown",
    "producer forgot an older batch",
    "producer snapshot newer than the log",
    "records deleted",
    "recovery after a recovery that was cut",
    "roll",
    "roll during a power cut",
    "scan began at a checkpoint",
    "seal",
    "segment sealed by recovery",
    "segments removed",
    "shard checkpoint",
    "shard count changed with dirty journals",
    "stale lap entry",
    "topic deleted",
    "torn journal entry",
];

/// One run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    pub seed: u64,
    pub ticks: u64,
}

/// A run in which every claim held.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of every event, effect and byte: the same for the same options.
    pub digest: u64,
    pub tally: Tally,
    pub marks: BTreeMap<&'static str, u64>,
}

/// A run in which a claim did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub options: Options,
    pub why: String,
    /// The last events, oldest first.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Options { seed, ticks } = self.options;
        writeln!(f, "seed {seed}: {}", self.why)?;
        write!(f, "to replay it: ottla sim --seed {seed} --ticks {ticks}")
    }
}

/// Plays one run; one that fails is played again for its trace.
pub fn play(options: Options, trace_lines: usize) -> Result<Outcome, Box<Failure>> {
    match play_once(options, None) {
        Ok(outcome) => Ok(outcome),
        Err(why) => {
            let trace = Trace::new(trace_lines);
            let again = play_once(options, Some(trace.clone()));
            let why = match again {
                Err(same) if same == why => why,
                other => format!("{why}; played again it is different: {:?}", other.err()),
            };
            Err(Box::new(Failure {
                options,
                why,
                trace: trace.take(),
            }))
        }
    }
}

fn play_once(options: Options, trace: Option<Trace>) -> Result<Outcome, String> {
    marks::listen();
    let plan = Plan::draw(options.seed);
    if let Some(trace) = &trace {
        trace.line(0, format_args!("{plan:?}"));
    }
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut run = run::Run::new(plan, trace)?;
        let digest = run.play(options.ticks)?;
        Ok((digest, run.tally))
    }));
    let marks = marks::take();
    match played {
        Ok(Ok((digest, tally))) => Ok(Outcome {
            digest,
            tally,
            marks,
        }),
        Ok(Err(why)) => Err(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}
