//! The command line: `ottla topic|produce|consume|cluster|inspect|sim|completions|serve`.
//!
//! Owns what people type (`typed`), what it means (`meaning`), and how answers look (`output`,
//! `format`). Speaks to brokers through `client/` only, reads data directories
//! through `inspect/` only; never starts a broker itself: `serve` hands
//! its arguments to whoever called.
//!
//! Exit codes: 0 done, 1 failed, 2 not understood, 3 no broker or no answer in time. A reader that
//! goes away (a closed pipe) is no failure.

mod cluster;
mod consume;
mod failure;
mod format;
mod input;
mod inspect;
mod meaning;
mod output;
mod produce;
mod serve;
mod sim;
mod topic;
mod typed;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::client::{Client, ClientError};
use failure::Failure;
use output::Out;
use typed::{Broker, Command, Typed};

pub use serve::ServeArgs;

/// Names the brokers when `--bootstrap` does not.
const BOOTSTRAP_VARIABLE: &str = "OTTLA_BOOTSTRAP";
/// What brokers' logs and metrics know us by.
const CLIENT_ID: &str = "ottla-cli";

/// Runs the process's command line; `serve` is what `ottla serve` does.
pub fn main(serve: fn(&ServeArgs) -> ExitCode) -> ExitCode {
    run(std::env::args_os(), serve)
}

/// Runs a command line, whose first word is the program's name.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    serve: fn(&ServeArgs) -> ExitCode,
) -> ExitCode {
    let typed = match Typed::try_parse_from(args) {
        Ok(typed) => typed,
        Err(told) => {
            // Help and version come this way too. Whoever closed the pipe wants neither.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    let command = match typed.command {
        Command::Serve(typed) => return serve(&typed.into()),
        command => command,
    };
    let json = command.is_json();
    match carry_out(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn carry_out(command: Command) -> Result<(), Failure> {
    let mut out = Out::stdout(command.is_json());
    match command {
        Command::Topic(typed) => topic::run(&typed, &mut out)?,
        Command::Produce(typed) => produce::run(&typed, &mut out)?,
        Command::Consume(typed) => consume::run(&typed, &mut out)?,
        Command::Cluster(typed) => cluster::run(&typed, &mut out)?,
        Command::Inspect(typed) => {
            let done = inspect::run(&typed, &mut out);
            // What was found is told even when it is a failure.
            out.flush()?;
            done?;
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Typed::command(), "ottla", &mut script);
            out.bytes(&script)?;
        }
        Command::Sim(typed) => sim::run(&typed, &mut out)?,
        // Handed over before.
        Command::Serve(_) => {}
    }
    out.flush()
}

/// A client for what was typed about brokers.
fn connect(broker: &Broker) -> Result<Client, Failure> {
    let variable = std::env::var(BOOTSTRAP_VARIABLE).ok();
    let options = meaning::client_options(broker, variable.as_deref(), CLIENT_ID)?;
    Client::connect(options).map_err(|error: ClientError| Failure::from(error))
}
