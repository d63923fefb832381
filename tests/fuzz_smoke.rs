//! Every fuzz target over its seeds, and over seeded changes of them: nothing panics, every claim of
//! the target holds, and no run holds more memory than its input pays for.
//!
//! Method: a few hundred inputs a target, the same in every run. `OTTLA_FUZZ_SECONDS=n` goes on with
//! ever new inputs for `n` seconds a target, prints what was run, and keeps in mind no coverage;
//! `OTTLA_FUZZ_TARGET=name` picks one. For coverage see `tests/fuzz/run`, for which
//! `OTTLA_FUZZ_SEEDS=dir` writes the seeds out. A failure leaves its input in the message, in hex.

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use targets::{TARGETS, Target};

/// Changed inputs of one target in an ordinary run.
const ROUNDS: u64 = 400;
/// Inputs grow no longer than this by changes.
const INPUT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Counts for each thread by itself: the tests run side by side.
struct Counting;

fn took(bytes: usize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: the caller's promise is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Small generator of repeatable noise (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() >> 33).expect("31 bits") % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.roll().to_be_bytes()[0]
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// Numbers at which lengths, counts and offsets go wrong.
const EXTREMES: [i64; 12] = [
    0,
    1,
    -1,
    -2,
    0x7f,
    0x80,
    0x7fff,
    0xffff,
    i32::MAX as i64,
    i32::MIN as i64,
    i64::MAX,
    i64::MIN,
];

/// One change of `input`, which may become anything but endless.
fn change(dice: &mut Dice, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = dice.below(input.len() + 1);
    let len = 1 + dice.below(16);
    let end = (at + len).min(input.len());
    match dice.below(10) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            let piece: Vec<u8> = (0..len).map(|_| dice.byte()).collect();
            input.splice(at..at, piece);
        }
        3 => {
            let piece = input[at..end].to_vec();
            let to = dice.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        4 => {
            if let Some(other) = dice.pick(others) {
                let from = dice.below(other.len() + 1);
                let tail = other[from..].to_vec();
                input.truncate(at);
                input.extend(tail);
            }
        }
        5 | 6 => {
            let number = EXTREMES[dice.below(EXTREMES.len())].to_be_bytes();
            let width = [1, 2, 4, 8][dice.below(4)];
            let piece = number[8 - width..].iter().copied();
            for (to, from) in input[at..].iter_mut().zip(piece) {
                *to = from;
            }
        }
        7 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
        _ => {
            let byte = dice.byte();
            if let Some(place) = input.get_mut(at) {
                *place = byte;
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Runs one input under both watches; says what went wrong.
fn judge(target: &Target, input: &[u8]) -> Result<usize, String> {
    let before = HELD.get();
    PEAK.set(before);
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let peak = PEAK.get().saturating_sub(before);
    let bound = target.heap_base + target.heap_per_byte * input.len();
    match run {
        Err(_) => Err(format!("{} panics on {}", target.name, hex(input))),
        Ok(()) if peak > bound => Err(format!(
            "{} holds {peak} bytes, {bound} at most, on {}",
            target.name,
            hex(input)
        )),
        Ok(()) => Ok(peak),
    }
}

/// Seeds first, then changed seeds until `more` says no. Returns the runs and the worst peak.
fn drive(target: &Target, mut more: impl FnMut(u64) -> bool) -> (u64, usize) {
    let seeds = seeds::seeds(target.name);
    let mut worst = 0;
    let run = |input: &[u8]| judge(target, input).unwrap_or_else(|wrong| panic!("{wrong}"));
    for seed in seeds.iter().chain([&Vec::new()]) {
        worst = worst.max(run(seed));
    }
    let mut round = 0;
    while more(round) {
        let mut dice = Dice::new(round + 1);
        let mut input = dice.pick(&seeds).cloned().unwrap_or_default();
        for _ in 0..=dice.below(6) {
            change(&mut dice, &mut input, &seeds);
        }
        worst = worst.max(run(&input));
        round += 1;
    }
    (round + seeds.len() as u64 + 1, worst)
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn survives(name: &str) {
    let target = targets::target(name);
    let seconds: Option<u64> = setting("OTTLA_FUZZ_SECONDS").and_then(|text| text.parse().ok());
    let Some(seconds) = seconds else {
        drive(target, |round| round < ROUNDS);
        return;
    };
    if setting("OTTLA_FUZZ_TARGET").is_some_and(|only| only != name) {
        return;
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (runs, worst) = drive(target, |_| Instant::now() < end);
    println!("{name}: {runs} runs in {seconds} s, at most {worst} bytes held");
}

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            survives(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_here() {
            let here = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here.as_slice(), all);
        }
    };
}

smoke! {
    frames request_header messages produce_request cold_request single_batch batch_walk records
    gzip snappy lz4 zstd segment_scan journal_entry offset_index time_index producer_snapshot
    shard_checkpoint offset_checkpoint epoch_checkpoint metadata_frame metadata_log log_names
    property_files server_properties topic_configs inspect_segment inspect_journal inspect_papers
    inspect_metadata
}

/// Good bytes that are refused would make the rest of the run worth nothing.
#[test]
fn seeds_reach_behind_the_first_check() {
    use ottla::wire::record::split_single_batch;
    let batches = seeds::seeds("single_batch");
    let good = batches
        .iter()
        .filter(|batch| split_single_batch(&bytes::Bytes::copy_from_slice(batch)).is_ok());
    // All but the control batch, which clients may not write.
    assert_eq!(good.count(), batches.len() - 1);
    for seed in seeds::seeds("metadata_log") {
        assert!(matches!(
            ottla::metadata::codec::read_at(&seed, 0),
            ottla::metadata::codec::Verdict::Frame(_)
        ));
    }
    for seed in seeds::seeds("producer_snapshot") {
        assert!(ottla::log::producer_snapshot::parse(&seed).is_ok());
    }
}

/// For coverage-guided runs: writes each target's seeds below a directory, when asked to.
#[test]
fn seeds_are_written_out_when_asked_for() {
    let Some(dir) = setting("OTTLA_FUZZ_SEEDS") else {
        return;
    };
    for target in TARGETS {
        let dir = std::path::Path::new(&dir).join(target.name);
        std::fs::create_dir_all(&dir).expect("room for seeds");
        for (number, seed) in seeds::seeds(target.name).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number:03}")), seed).expect("room for seeds");
        }
    }
}
