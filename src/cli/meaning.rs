//! What the words mean: single words as values, and the rules that join several.
//!
//! Pure: the environment comes in as an argument. What is refused here is a usage error.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::failure::Failure;
use super::typed::{AcksWord, Broker, CodecWord, Consume, FormatWord, Produce};
use crate::client::{Acks, Address, ClientOptions, OffsetSpec, ProducerOptions};
use crate::wire::record::Codec;
use crate::words::{Offset, TimestampMs};

const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";

/// `KEY=VALUE`; the value may be empty and may hold `=`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Pair, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Pair {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("write KEY=VALUE".to_owned()),
        }
    }
}

/// Where to begin reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    Beginning,
    End,
    Offset(Offset),
    Time(TimestampMs),
}

impl From {
    /// The question to ask the broker; `None` when the offset is known.
    pub fn spec(self) -> Option<OffsetSpec> {
        match self {
            From::Beginning => Some(OffsetSpec::Earliest),
            From::End => Some(OffsetSpec::Latest),
            From::Time(timestamp) => Some(OffsetSpec::At(timestamp)),
            From::Offset(_) => None,
        }
    }
}

impl FromStr for From {
    type Err = String;

    /// A number alone is an offset; a time in milliseconds has an `@` in front, so that neither
    /// is guessed by its size.
    fn from_str(text: &str) -> Result<From, String> {
        let natural = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        match text {
            "beginning" | "earliest" => return Ok(From::Beginning),
            "end" | "latest" => return Ok(From::End),
            _ => {}
        }
        if let Some(offset) = natural(text) {
            return Ok(From::Offset(Offset(offset)));
        }
        let time = match text.strip_prefix('@') {
            Some(millis) => natural(millis),
            None => {
                let time = text.parse::<jiff::Timestamp>().ok();
                time.map(|time| time.as_millisecond()).filter(|ms| *ms >= 0)
            }
        };
        time.map(|ms| From::Time(TimestampMs(ms))).ok_or_else(|| {
            "write beginning, end, an offset, a time as 2026-01-31T08:00:00Z, or milliseconds as @1700000000000".to_owned()
        })
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            From::Beginning => f.write_str("beginning"),
            From::End => f.write_str("end"),
            From::Offset(offset) => offset.fmt(f),
            From::Time(timestamp) => write!(f, "@{timestamp}"),
        }
    }
}

/// Whom to ask and how long: what was typed, else the environment's, else the default.
pub fn client_options(
    broker: &Broker,
    variable: Option<&str>,
    client_id: &str,
) -> Result<ClientOptions, Failure> {
    let variable = variable.filter(|text| !text.is_empty());
    let text = broker.bootstrap.as_deref().or(variable);
    let text = text.unwrap_or(BOOTSTRAP_DEFAULT);
    let mut bootstrap = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let address = part.parse::<Address>();
        bootstrap.push(address.map_err(|fault| {
            Failure::Usage(format!("`{part}` is no broker's address: {fault}"))
        })?);
    }
    let timeout = Duration::from_millis(broker.timeout_ms);
    Ok(ClientOptions {
        bootstrap,
        client_id: client_id.to_owned(),
        timeout,
        retry_for: timeout,
    })
}

/// How to write. `first_turn` is where records without a key begin.
pub fn producer_options(typed: &Produce, first_turn: u32) -> Result<ProducerOptions, Failure> {
    let acks = match typed.acks {
        AcksWord::All => Acks::All,
        AcksWord::Leader => Acks::Leader,
        AcksWord::None => Acks::None,
    };
    if typed.idempotent && acks != Acks::All {
        let rule =
            "--idempotent needs --acks all: a record that is not waited for cannot be sent again";
        return Err(Failure::Usage(rule.to_owned()));
    }
    let codec = match typed.codec {
        CodecWord::None => Codec::NONE,
        CodecWord::Gzip => Codec::GZIP,
        CodecWord::Snappy => Codec::SNAPPY,
        CodecWord::Lz4 => Codec::LZ4,
        CodecWord::Zstd => Codec::ZSTD,
    };
    Ok(ProducerOptions {
        acks,
        codec,
        level: None,
        idempotent: typed.idempotent,
        batch_bytes: usize::try_from(typed.batch_bytes).unwrap_or(usize::MAX),
        first_turn,
    })
}

/// How to print: `--json` stands for `--format json`.
pub fn format(typed: &Consume) -> Result<FormatWord, Failure> {
    let format = match (typed.broker.json, typed.format) {
        (true, FormatWord::Raw) => {
            let rule = "--json and --format raw contradict each other";
            return Err(Failure::Usage(rule.to_owned()));
        }
        (true, _) => FormatWord::Json,
        (false, format) => format,
    };
    if format != FormatWord::Text && !typed.print.is_empty() {
        let rule = "--print is for --format text: json shows everything, raw only values";
        return Err(Failure::Usage(rule.to_owned()));
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::typed::{Command, Typed};
    use clap::Parser;

    fn broker(bootstrap: Option<&str>) -> Broker {
        Broker {
            bootstrap: bootstrap.map(str::to_owned),
            timeout_ms: 5,
            json: false,
        }
    }

    #[test]
    fn brokers_are_those_typed_then_the_environments_then_the_default() {
        let asked = |typed, variable| {
            let options = client_options(&broker(typed), variable, "c").unwrap();
            let texts = options.bootstrap.iter().map(Address::to_string);
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked(Some("a:1, [::1]:2"), Some("b:1")), "a:1 [::1]:2");
        assert_eq!(asked(None, Some("b:1")), "b:1");
        assert_eq!(asked(None, Some("")), "127.0.0.1:9092");
        assert_eq!(asked(None, None), "127.0.0.1:9092");
        let failure = client_options(&broker(Some("a:1,")), None, "c").unwrap_err();
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn a_number_is_an_offset_and_a_time_is_marked() {
        let from = |text: &str| text.parse::<From>();
        assert_eq!(from("beginning"), Ok(From::Beginning));
        assert_eq!(from("latest"), Ok(From::End));
        assert_eq!(from("17"), Ok(From::Offset(Offset(17))));
        let time = Ok(From::Time(TimestampMs(1_700_000_000_123)));
        assert_eq!(from("@1700000000123"), time);
        assert_eq!(from("2023-11-14T22:13:20.123Z"), time);
        assert_eq!(from("2023-11-14T23:13:20.123+01:00"), time);
        for text in ["", "-1", "@", "@-1", "1960-01-01T00:00:00Z", "2023-11-14"] {
            assert!(from(text).is_err(), "{text}");
        }
        for text in ["beginning", "end", "17", "@1700000000123"] {
            assert_eq!(from(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        let pair = "a=b=c".parse::<Pair>().unwrap();
        assert_eq!((pair.key.as_str(), pair.value.as_str()), ("a", "b=c"));
        assert_eq!("a=".parse::<Pair>().unwrap().value, "");
        assert!("=b".parse::<Pair>().is_err());
        assert!("ab".parse::<Pair>().is_err());
    }

    fn usage_error(line: &str) -> bool {
        let words = std::iter::once("ottla").chain(line.split_whitespace());
        let failure = match Typed::try_parse_from(words).unwrap().command {
            Command::Produce(typed) => producer_options(&typed, 0).err(),
            Command::Consume(typed) => format(&typed).err(),
            _ => None,
        };
        failure.is_some_and(|failure| failure.exit_code() == 2)
    }

    #[test]
    fn words_that_contradict_each_other_are_usage_errors() {
        assert!(usage_error("produce t --idempotent --acks 1"));
        assert!(!usage_error("produce t --idempotent"));
        assert!(usage_error("consume t --json --format raw"));
        assert!(!usage_error("consume t --json --format text"));
        assert!(usage_error("consume t --json --print key"));
        assert!(usage_error("consume t --format raw --print key"));
        assert!(!usage_error("consume t --print key"));
    }
}
