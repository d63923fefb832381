//! One client program on librdkafka: checks a broker, sends a text, makes load.
//!
//! Knows the broker only by its address; never starts or stops one.
//!
//! - `check`: one line for each check, `ok NAME` or `FAIL NAME: why`; BOOTSTRAP is the broker.
//! - `text TOPIC`: stdin is `key<TAB>line`; sends all, idempotent, through restarts of the broker.
//! - `load TOPIC RECORDS SIZE [key=value ...]`: sends as fast as it goes, or `rate=N` a second, and
//!   prints one JSON line with throughput and latency; other pairs are librdkafka settings.

mod check;
mod load;
mod text;

use std::process::ExitCode;

use rdkafka::ClientConfig;

/// The settings of every client here.
pub fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    let broker = std::env::var("BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    config.set("bootstrap.servers", broker);
    config.set("broker.address.family", "v4");
    config
}

/// What goes wrong ends the program with this text.
pub type Outcome<T> = Result<T, String>;

fn run() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => check::all(),
        ["text", topic] => text::send(topic),
        ["load", topic, records, size, pairs @ ..] => load::run(topic, records, size, pairs),
        _ => Err("see the head of src/main.rs for the forms".to_owned()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
