//! The log as a whole against a naive oracle.
//!
//! Claim: whatever is asked in whatever order, on however many shards, and however the broker
//! ends: what was acknowledged or ever shown is there afterwards, in its place, once, contiguous;
//! answers come in the order of their requests, each once. Method: real shards, the real metadata
//! writer and real recovery in a simulated world, random operations, and a list of batches for
//! every partition. One seed is one history: `OTTLA_SEED=n` plays that one, `OTTLA_SEEDS=n` that
//! many of each kind.

#[path = "model/broker.rs"]
mod broker;
#[path = "model/client.rs"]
mod client;
#[path = "model/deletion.rs"]
mod deletion;
#[path = "model/looks.rs"]
mod looks;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/run.rs"]
mod run;
#[path = "model/scene.rs"]
mod scene;
#[path = "model/storage.rs"]
mod storage;
#[path = "model/verify.rs"]
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ottla::devices::world::Faults;
use run::{Claim, Run};
use scene::Kind;

/// Small caches and journals, so that old data is read from disk and journals fill up.
const SMALL: &str = "ottla.tail.cache.bytes=1048576\n\
                     ottla.journal.files.max=2\n\
                     log.retention.check.interval.ms=7000\n";
/// As an operator has it.
const ORDINARY: &str = "log.retention.check.interval.ms=7000\n";

/// Answers do not wait for the flush: a killed process loses nothing, a power cut may.
const RELAXED: &str = "ottla.durability=write\n\
                       ottla.journal.files.max=2\n\
                       log.retention.check.interval.ms=7000\n";

/// How a broker's life may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Stop,
    Kill,
    Crash,
    /// The power goes at a chosen change of the disk.
    Cut,
}

/// Plays the seeds of one test, or the one that was asked for.
fn play(first: u64, count: u64, history: impl Fn(u64) -> Claim<u64>) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("OTTLA_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("OTTLA_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| history(seed)));
        match outcome {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => panic!("seed {seed}: {why}"),
            Err(panic) => {
                eprintln!("seed {seed} panicked");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// One history; gives its digest.
fn history(seed: u64, overrides: &str, ends: &[End]) -> Claim<u64> {
    let mut run = Run::new(seed, overrides)?;
    let lives = 2 + run.dice.roll(2);
    for _ in 0..lives {
        let steps = 30 + run.dice.roll(60);
        for _ in 0..steps {
            step(&mut run)?;
        }
        if run.dice.once_in(2) {
            run.settle()?;
            verify::everything(&mut run)?;
        }
        let end = *run.dice.pick(ends).unwrap_or(&End::Stop);
        restart(&mut run, end)?;
        if run.dice.once_in(2) {
            // Before anything is sent again.
            verify::everything(&mut run)?;
        }
        run.broker_started();
    }
    run.settle()?;
    verify::everything(&mut run)?;
    Ok(run.broker.world.digest().0)
}

fn step(run: &mut Run) -> Claim {
    match run.dice.roll(100) {
        0..30 => run.produce(),
        30..45 => run.produce_idempotent(),
        45..50 => run.repeat_stored(),
        50..72 => run.fetch(),
        72..74 => run.break_connection()?,
        74..76 => run.hold(true),
        76..80 => run.hold(false),
        80..82 => run.settle()?,
        82..83 => recreate(run)?,
        83..85 => {
            // Long enough for idle fills, checkpoints and retention.
            run.broker.world.run_for_ms(6_000);
        }
        85..92 => {
            let ms = run.dice.roll(20) as i64;
            run.broker.world.run_for_ms(ms);
        }
        _ => {
            for _ in 0..run.dice.roll(60) {
                run.broker.world.step();
            }
        }
    }
    run.poll()
}

/// Deletes the fleeting topic under load and makes its namesake.
fn recreate(run: &mut Run) -> Claim {
    let Some((at, _)) = run
        .live_keys(|kind| kind == Kind::Fleeting)
        .first()
        .copied()
    else {
        return Ok(());
    };
    run.delete(at)?;
    if run.dice.once_in(2) {
        run.broker.world.run_for_ms(100);
    }
    run.create(Kind::Fleeting)
}

fn restart(run: &mut Run, end: End) -> Claim {
    let seed = run.dice.any();
    match end {
        End::Stop => {
            if !run.broker.stop(120_000) {
                return Err("the broker does not stop".to_owned());
            }
        }
        End::Kill => run.broker.kill(),
        End::Crash => run.broker.crash(seed),
        End::Cut => {
            let changes = run.dice.roll(30);
            run.broker.world.disk().cut_power_after(changes);
            run.broker.world.run_for_ms(10_000);
            run.broker.crash(seed);
        }
    }
    run.broker_ended()?;
    let shards = 1 + run.dice.roll(3) as u16;
    if end == End::Cut && run.dice.once_in(2) {
        // Recovery itself is cut, and begins anew.
        let changes = run.dice.roll(40);
        run.broker.world.disk().cut_power_after(changes);
        let _ = run.broker.start(shards);
        run.broker.crash(seed ^ 1);
    }
    run.broker.start(shards)?;
    run.connect_all();
    Ok(())
}

#[test]
fn nothing_is_lost_while_the_broker_runs_and_stops_in_order() {
    play(1_000, 8, |seed| history(seed, SMALL, &[End::Stop]));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    play(2_000, 8, |seed| {
        history(seed, SMALL, &[End::Kill, End::Stop])
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    play(3_000, 10, |seed| {
        history(seed, SMALL, &[End::Crash, End::Cut])
    });
}

#[test]
fn nothing_is_lost_with_ordinary_settings_however_it_ends() {
    play(4_000, 8, |seed| {
        history(
            seed,
            ORDINARY,
            &[End::Stop, End::Kill, End::Crash, End::Cut],
        )
    });
}

#[test]
fn a_killed_process_loses_nothing_without_flushes_either() {
    play(7_000, 6, |seed| {
        history(seed, RELAXED, &[End::Kill, End::Stop])
    });
}

/// A history in which writes, flushes and reads fail now and then. A partition whose storage
/// failed may say so until the next start; after it, every partition is back and whole.
fn failing(seed: u64) -> Claim<u64> {
    let mut run = Run::new(seed, SMALL)?;
    for _ in 0..3 {
        run.faulty = true;
        let faults = &mut run.broker.world.settings().faults;
        faults.write_once_in = 150;
        faults.flush_once_in = 150;
        faults.read_once_in = 40;
        faults.full = seed.is_multiple_of(3);
        for _ in 0..60 {
            match run.dice.roll(10) {
                0..5 => run.produce(),
                5..8 => run.fetch(),
                _ => {
                    let ms = run.dice.roll(10) as i64;
                    run.broker.world.run_for_ms(ms);
                }
            }
            run.poll()?;
        }
        if run.dice.once_in(2) {
            run.settle()?;
        }
        let end = *run
            .dice
            .pick(&[End::Kill, End::Crash])
            .unwrap_or(&End::Kill);
        run.broker.world.settings().faults = Faults::default();
        restart(&mut run, end)?;
        run.faulty = false;
        verify::everything(&mut run)?;
        run.broker_started();
    }
    Ok(run.broker.world.digest().0)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_disk_fails_now_and_then() {
    play(6_000, 6, failing);
}

#[test]
fn one_seed_is_one_history() {
    for seed in 5_000..5_004 {
        let once = history(seed, SMALL, &[End::Kill, End::Crash]);
        let again = history(seed, SMALL, &[End::Kill, End::Crash]);
        assert_eq!(once, again, "seed {seed}");
    }
}
