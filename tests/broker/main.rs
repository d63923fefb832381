//! The whole process on real files: what `ottla serve` promises to those who start, stop, kill,
//! crowd or feed it rubbish.
//!
//! Every test has its own data directory and ports of its own. Nothing sleeps to wait for something:
//! tests wait for the ready line, for a line of the log, for an answer, or for the end of the
//! process. `OTTLA_BIN` names another binary to test.

#![allow(
    clippy::too_many_lines,
    reason = "a test may tell a longer story; tests/tidy.rs bounds it"
)]

mod asked;
mod bombs;
mod hostile;
mod inspect;
mod limits;
mod process;
mod recovery;
mod refusals;
mod shards;
mod start;
mod talk;
mod topics;
