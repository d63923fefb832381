//! What was typed: the words, their help, nothing of what they mean together.
//!
//! A flat catalogue. Single words are parsed by the types of `meaning`; rules that join several
//! are there too.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::meaning::{From, Pair};
use crate::words::limits::SHARDS_PER_MACHINE_MAX;

/// Apache Kafka's job, one pinned thread per core.
#[derive(Parser, Debug)]
#[command(name = "ottla", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 not understood, 3 no broker or no answer in time."
)]
pub struct Typed {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a broker
    Serve(Serve),
    /// Make, list, describe and delete topics
    Topic(Topic),
    /// Write lines to a topic, from files or standard input
    Produce(Produce),
    /// Read records of a topic
    Consume(Consume),
    /// Show nodes, controller and cluster id
    Cluster(Cluster),
    /// Read data directories, segments and journals without a broker
    Inspect(Inspect),
    /// Play a whole broker on virtual time, with every fault there is, from one seed
    Sim(Sim),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// What was typed about brokers, if the command has to do with any.
    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Command::Topic(typed) => Some(&typed.broker),
            Command::Produce(typed) => Some(&typed.broker),
            Command::Consume(typed) => Some(&typed.broker),
            Command::Cluster(typed) => Some(&typed.broker),
            Command::Serve(_)
            | Command::Inspect(_)
            | Command::Sim(_)
            | Command::Completions { .. } => None,
        }
    }

    /// Whether programs read what the command prints.
    pub fn is_json(&self) -> bool {
        match self {
            Command::Inspect(typed) => typed.json,
            command => command.broker().is_some_and(|broker| broker.json),
        }
    }
}

#[derive(Args, Debug)]
pub struct Broker {
    /// Brokers to ask first [env: OTTLA_BOOTSTRAP] [default: 127.0.0.1:9092]
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT[,..]",
        help_heading = "Broker"
    )]
    pub bootstrap: Option<String>,
    /// How long to wait for an answer, and to try again
    #[arg(
        long,
        global = true,
        value_name = "MS",
        default_value_t = 30_000,
        help_heading = "Broker"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub timeout_ms: u64,
    /// Print for programs: one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// Kafka's server.properties
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the data is
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Host to listen on
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port of the first shard; shard k listens k above
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Cores to run on
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_PER_MACHINE_MAX)))]
    pub shards: Option<u16>,
    /// A setting that overrides the file's (repeatable)
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    pub overrides: Vec<Pair>,
}

#[derive(Args, Debug)]
pub struct Topic {
    #[command(subcommand)]
    pub deed: TopicDeed,
    #[command(flatten)]
    pub broker: Broker,
}

#[derive(Subcommand, Debug)]
pub enum TopicDeed {
    /// Make topics
    Create(TopicCreate),
    /// List topics
    List {
        /// Those that Kafka keeps for itself, too
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, leaders, offsets, and settings that are not the default
    Describe {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// All settings, those at their default too
        #[arg(long)]
        all_configs: bool,
    },
    /// Delete topics with all their records
    Delete {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// A topic that does not exist is deleted already
        #[arg(long)]
        if_exists: bool,
    },
}

#[derive(Args, Debug)]
pub struct TopicCreate {
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Partitions of each [default: the broker's num.partitions]
    #[arg(long, short = 'p', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's default.replication.factor]
    #[arg(long, short = 'r', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(i16).range(1..))]
    pub replication: Option<i16>,
    /// A topic setting, as retention.ms=86400000 (repeatable)
    #[arg(long, short = 'c', value_name = "KEY=VALUE")]
    pub config: Vec<Pair>,
    /// A topic that exists is made already, whatever it is like
    #[arg(long)]
    pub if_not_exists: bool,
    /// Only ask whether it could be made
    #[arg(long)]
    pub validate_only: bool,
}

#[derive(Args, Debug)]
pub struct Produce {
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Files to read lines from; `-` or none is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What stands between key and value on each line
    #[arg(long, short = 'k', value_name = "TEXT")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key_separator: Option<String>,
    /// A header for every record (repeatable)
    #[arg(long, short = 'H', value_name = "KEY=VALUE")]
    pub header: Vec<Pair>,
    /// Compression of the batches
    #[arg(long, value_enum, default_value_t = CodecWord::None)]
    pub codec: CodecWord,
    /// Who has to have a record before it counts as stored
    #[arg(long, value_enum, default_value_t = AcksWord::All, allow_hyphen_values = true)]
    pub acks: AcksWord,
    /// Write to this partition only [default: by key, or in turn]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Let the broker recognise a batch that is sent twice; needs --acks all
    #[arg(long)]
    pub idempotent: bool,
    /// Bytes of a batch, before compression
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_073_741_824))]
    pub batch_bytes: u32,
    #[command(flatten)]
    pub broker: Broker,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum CodecWord {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum AcksWord {
    /// All in-sync replicas
    #[value(alias = "-1")]
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
    /// Nobody: what fails is lost without a word
    #[value(name = "0")]
    None,
}

#[derive(Args, Debug)]
pub struct Consume {
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Where to begin: beginning, end, an offset, or a time (RFC 3339, or milliseconds as @1700000000000)
    #[arg(long, short = 'f', value_name = "WHERE", default_value = "end")]
    pub from: From,
    /// Read this partition only (repeatable) [default: all]
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Vec<i32>,
    /// Stop after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
    /// Stop at what was the end when reading began
    #[arg(long, short = 'e')]
    pub until_end: bool,
    /// text: a line a record; raw: values with nothing between; json: an object a line
    #[arg(long, value_enum, default_value_t = FormatWord::Text)]
    pub format: FormatWord,
    /// What text shows before the value, separated by tabs
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELD,..")]
    pub print: Vec<Column>,
    #[command(flatten)]
    pub broker: Broker,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum FormatWord {
    Text,
    Raw,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Column {
    Key,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

#[derive(Args, Debug)]
pub struct Sim {
    /// Decides everything
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// Things that happen before the faults stop
    #[arg(long, value_name = "M", default_value_t = crate::sim::TICKS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub ticks: u64,
    /// Play so many seeds from this one on
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Begin no further seed after so many seconds
    #[arg(long, value_name = "S")]
    pub seconds: Option<u64>,
    /// Threads that play seeds [default: the cores there are]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Show so many of the last events of a seed that fails
    #[arg(long, value_name = "LINES", default_value_t = crate::sim::TRACE_LINES)]
    pub trace: usize,
    /// Fail when something rare never happened in so many seeds or more
    #[arg(long, value_name = "SEEDS")]
    pub coverage_after: Option<u64>,
}

#[derive(Args, Debug)]
pub struct Cluster {
    #[command(flatten)]
    pub broker: Broker,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Only reads. Works beside a running broker and on Apache Kafka's log directories."
)]
pub struct Inspect {
    #[command(subcommand)]
    pub deed: InspectDeed,
    /// Print for programs: one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand, Debug)]
pub enum InspectDeed {
    /// Show what a data directory holds: topics, journals, partitions
    Data {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Where metadata.log is, when it is not in DIR
        #[arg(long, value_name = "DIR")]
        metadata: Option<PathBuf>,
    },
    /// Show a segment file (.log) batch by batch
    Segment {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The records, too: the beginning of each key and value
        #[arg(long)]
        records: bool,
    },
    /// Show the entries of a journal (a directory journal.N) in their order
    Journal {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Check everything in a data directory; exits 1 when something is wrong
    Verify {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Where metadata.log is, when it is not in DIR
        #[arg(long, value_name = "DIR")]
        metadata: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("ottla").chain(line.split_whitespace());
        Typed::try_parse_from(words).map(|typed| typed.command)
    }

    #[test]
    fn the_catalogue_contradicts_nowhere() {
        Typed::command().debug_assert();
    }

    #[test]
    fn brokers_are_named_before_or_behind_the_deed() {
        for line in ["topic --bootstrap a:1 list", "topic list --bootstrap a:1"] {
            let command = parse(line).unwrap();
            let broker = command.broker().unwrap();
            assert_eq!(broker.bootstrap.as_deref(), Some("a:1"));
        }
    }

    #[test]
    fn acks_are_words_or_kafkas_numbers() {
        let acks = |word| match parse(&format!("produce t --acks {word}")) {
            Ok(Command::Produce(typed)) => Some(typed.acks),
            _ => None,
        };
        assert_eq!(acks("all"), Some(AcksWord::All));
        assert_eq!(acks("-1"), Some(AcksWord::All));
        assert_eq!(acks("1"), Some(AcksWord::Leader));
        assert_eq!(acks("0"), Some(AcksWord::None));
        assert_eq!(acks("2"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_done() {
        for line in [
            "",
            "frobnicate",
            "topic",
            "topic create",
            "topic create t -p 0",
            "topic create t -c retention.ms",
            "topic describe",
            "produce",
            "produce t --partition -1",
            "produce t --codec rar",
            "produce t --batch-bytes 0",
            "consume t --from yesterday",
            "consume t --print colour",
            "consume t --format xml",
            "cluster --timeout-ms 0",
            "completions cmd",
            "inspect",
            "inspect data",
            "inspect segment",
            "inspect verify a b",
            "serve --shards 0",
            "serve -o port",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn columns_are_named_in_one_word_or_in_several() {
        let columns = |line| match parse(line) {
            Ok(Command::Consume(typed)) => typed.print,
            _ => Vec::new(),
        };
        let expected = [Column::Key, Column::Offset];
        assert_eq!(columns("consume t --print key,offset"), expected);
        assert_eq!(columns("consume t --print key --print offset"), expected);
    }
}
