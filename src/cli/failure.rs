//! How a command ends when it does not end well.
//!
//! Owns the exit codes and how a failure is told, to people and to programs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::output::clean;
use crate::client::ClientError;

/// See the head of the file.
#[derive(Debug)]
pub enum Failure {
    /// The words contradict each other.
    Usage(String),
    Client(ClientError),
    /// Something on this machine: a file that cannot be read, a line that is too long.
    Local(String),
    /// Whoever read the output went away: nobody is left to tell.
    PipeClosed,
    /// All of these, one for each thing that was to be done.
    Several(Vec<Failure>),
}

/// A failure for programs. Field names are stable.
#[derive(Serialize)]
struct Told<'a> {
    /// Kafka's name of the error, `UNREACHABLE`, `USAGE` or `FAILED`.
    error: &'a str,
    /// Kafka's error code, if a broker sent one.
    code: Option<i16>,
    message: String,
    hint: Option<&'a str>,
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::PipeClosed => 0,
            Failure::Usage(_) => 2,
            Failure::Client(error) if error.is_absence() => 3,
            Failure::Client(_) | Failure::Local(_) => 1,
            Failure::Several(failures) => {
                failures.iter().map(Failure::exit_code).max().unwrap_or(1)
            }
        }
    }

    /// Tells it on standard error.
    pub fn report(&self, json: bool) {
        let mut text = Vec::new();
        self.tell(json, &mut text);
        // With standard error gone there is nobody to tell.
        let _ = io::stderr().write_all(&text);
    }

    fn tell(&self, json: bool, to: &mut Vec<u8>) {
        let told = match self {
            Failure::PipeClosed => return,
            Failure::Several(failures) => {
                failures.iter().for_each(|failure| failure.tell(json, to));
                return;
            }
            Failure::Usage(message) => Told {
                error: "USAGE",
                code: None,
                message: message.clone(),
                hint: Some("`--help` shows what there is."),
            },
            Failure::Local(message) => Told {
                error: "FAILED",
                code: None,
                message: message.clone(),
                hint: None,
            },
            Failure::Client(error) => Told {
                error: name_of(error),
                code: error.code().map(|code| code.0),
                message: error.to_string(),
                hint: error.hint(),
            },
        };
        if json {
            // Cannot fail: strings and numbers only, into memory.
            let _ = serde_json::to_writer(&mut *to, &told);
            to.push(b'\n');
            return;
        }
        let mut text = format!("error: {}\n", clean(&told.message));
        if let Some(hint) = told.hint {
            text.push_str(&format!(" hint: {hint}\n"));
        }
        to.extend_from_slice(text.as_bytes());
    }
}

fn name_of(error: &ClientError) -> &'static str {
    match error.code() {
        Some(code) => code.name(),
        None if error.is_absence() => "UNREACHABLE",
        None => "FAILED",
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

/// Of writing output.
impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Failure {
        match cause.kind() {
            ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Local(format!("cannot write the output: {cause}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Refusal;
    use crate::wire::ErrorCode;

    fn refused() -> Failure {
        let code = ErrorCode::TOPIC_ALREADY_EXISTS;
        let refusal = Refusal::of(code, "topic t", Some("no \u{1b}[31m"));
        Failure::Client(ClientError::Refused(refusal))
    }

    fn told(failure: &Failure, json: bool) -> String {
        let mut text = Vec::new();
        failure.tell(json, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_refusal_is_told_with_kafkas_name_and_a_hint_and_without_escapes() {
        let text = told(&refused(), false);
        assert!(text.starts_with("error: topic t: TOPIC_ALREADY_EXISTS: no "));
        assert!(text.contains("\n hint: "));
        assert!(!text.contains('\u{1b}'));
        let line: serde_json::Value = serde_json::from_str(&told(&refused(), true)).unwrap();
        assert_eq!(line["error"], "TOPIC_ALREADY_EXISTS");
        assert_eq!(line["code"], 36);
        assert!(line["hint"].is_string());
    }

    #[test]
    fn exit_codes_tell_usage_absence_and_refusal_apart() {
        let absent = || {
            Failure::Client(ClientError::Unreachable {
                addresses: Vec::new(),
                cause: String::new(),
            })
        };
        assert_eq!(refused().exit_code(), 1);
        assert_eq!(absent().exit_code(), 3);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        let closed = Failure::from(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!((closed.exit_code(), told(&closed, false).len()), (0, 0));
        assert_eq!(Failure::Several(vec![refused(), absent()]).exit_code(), 3);
    }
}
