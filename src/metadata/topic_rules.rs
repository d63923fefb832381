//! Which names a topic may have.
//!
//! Owns Kafka's rules (`Topic.validate`, `Topic.hasCollision`); never knows which topics exist.

use std::fmt;

use crate::words::limits::TOPIC_NAME_BYTES_MAX;

/// Kafka's own topics; clients see them marked as internal.
const INTERNAL: [&str; 3] = [
    "__consumer_offsets",
    "__share_group_state",
    "__transaction_state",
];
/// Name of Kafka's metadata log; no topic may take it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a name is no topic's; all are Kafka's INVALID_TOPIC_EXCEPTION (17).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadName {
    Empty,
    /// `.` or `..`.
    Dots(String),
    TooLong(String),
    BadCharacter(String),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic name is invalid: ")?;
        match self {
            BadName::Empty => f.write_str("the empty string is not allowed"),
            BadName::Dots(name) => write!(f, "'{name}' is not allowed"),
            BadName::TooLong(name) => write!(
                f,
                "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
            ),
            BadName::BadCharacter(name) => write!(
                f,
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            ),
        }
    }
}

/// Checks a name.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err(BadName::Empty)
    } else if name == "." || name == ".." {
        Err(BadName::Dots(name.to_owned()))
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        Err(BadName::TooLong(name.to_owned()))
    } else if !name.bytes().all(good) {
        Err(BadName::BadCharacter(name.to_owned()))
    } else {
        Ok(())
    }
}

/// What a name with `.` or `_` looks like in a metric's name, where the two are one; `None` for a
/// name that has neither and so cannot collide.
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// Whether Kafka keeps its own state in a topic of this name.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_judges_them() {
        let long = "y".repeat(249);
        for name in ["a", "A.b_c-9", "...", "__consumer_offsets", long.as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = "y".repeat(250);
        for (name, message) in [
            ("", "Topic name is invalid: the empty string is not allowed"),
            (".", "Topic name is invalid: '.' is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a b",
                "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
            (
                "ä",
                "Topic name is invalid: 'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ] {
            assert_eq!(check_name(name).unwrap_err().to_string(), message);
        }
        for name in ["a/b", " a", "a*", "a\0", "a\u{fffd}", too_long.as_str()] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn dot_and_underscore_are_one_in_metrics() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a.c"));
        assert_eq!(collision_key("ab"), None);
    }
}
