//! What a setting is: its row in the table, its type, its bounds, and how text becomes a value.
//!
//! Owns the parsing and bounds of single values (Kafka `ConfigDef`); never knows a setting's
//! meaning, nor where a value came from.

use std::fmt;

/// One row of a table of settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// The default as text, canonical; `None` is Kafka's null.
    pub default: Option<&'static str>,
    pub allowed: Allowed,
    pub importance: Importance,
    pub update: Update,
    pub effect: Effect,
    pub documentation: &'static str,
    /// Broker setting from which a topic or group setting takes its default.
    pub follows: Option<&'static str>,
}

/// A setting's type, with Kafka's number for it (`DescribeConfigsResponse.ConfigType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bool,
    Text,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// Which values of its type a setting takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Allowed {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// A double from 0 to this.
    Ratio(f64),
    /// 1 to 9, or -1 (Kafka `GzipCompression.LevelValidator`).
    GzipLevel,
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these, possibly empty.
    EachOf(&'static [&'static str]),
    NonEmpty,
    /// `*` or partition:node pairs (Kafka `ThrottledReplicaListValidator`).
    ThrottledReplicas,
}

/// How much an operator should care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether a running broker takes a new value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    ReadOnly,
    Dynamic,
    /// Settable, but listed by DescribeConfigs only when it is set.
    Internal,
}

/// Whether a value changes anything in Ottla.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Served,
    /// Accepted for compatibility, without effect.
    Accepted,
}

/// A value as understood.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Bool(bool),
    /// Every whole number, within the bounds of its kind.
    Number(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// Why a text is no value of a setting; [`fmt::Display`] gives Kafka's wording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadValue {
    pub name: String,
    /// The value as given; a password is not repeated.
    pub value: String,
    pub reason: Reason,
}

/// What is wrong with a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    NotBoolean,
    NotNumber(Kind),
    Below(String),
    Above(String),
    NotGzipLevel,
    NotOneOf(&'static [&'static str], bool),
    EmptyElement,
    Empty,
    NotReplicaList,
    /// A rule between settings, in its own words.
    Rule(String),
}

/// A row without a broker setting to follow.
#[allow(clippy::too_many_arguments, reason = "a row has that many columns")]
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    allowed: Allowed,
    importance: Importance,
    update: Update,
    effect: Effect,
    documentation: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        allowed,
        importance,
        update,
        effect,
        documentation,
        follows: None,
    }
}

impl Setting {
    pub(super) const fn follows(mut self, broker: &'static str) -> Setting {
        self.follows = Some(broker);
        self
    }

    /// Whether the value is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    pub fn is_read_only(&self) -> bool {
        self.update == Update::ReadOnly
    }

    /// The value that `text` stands for, checked against the bounds.
    pub fn parse(&self, text: &str) -> Result<Value, BadValue> {
        parse(self.kind, text)
            .and_then(|value| check(self.allowed, &value).map(|()| value))
            .map_err(|reason| BadValue {
                name: self.name.to_owned(),
                value: if self.is_sensitive() {
                    "[hidden]".to_owned()
                } else if matches!(reason, Reason::NotReplicaList) {
                    format!("[{}]", text.trim())
                } else {
                    text.to_owned()
                },
                reason,
            })
    }

    /// The row's default, parsed.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|text| parse(self.kind, text).ok())
    }
}

impl Kind {
    /// Kafka's number of the type on the wire.
    pub fn wire(self) -> i8 {
        match self {
            Kind::Bool => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Bool => "BOOLEAN",
            Kind::Text => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

impl Setting {
    /// Which numbers the setting takes, in words; nothing for what is no number.
    pub fn numbers_allowed(&self) -> String {
        let (low, high) = match self.kind {
            Kind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Short => (i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Long => (i64::MIN, i64::MAX),
            Kind::Double => {
                return match self.allowed {
                    Allowed::Ratio(high) => format!("a number from 0 to {high}"),
                    _ => "a number".to_owned(),
                };
            }
            _ => return String::new(),
        };
        match self.allowed {
            Allowed::AtLeast(low) => format!("a whole number from {low} to {high}"),
            Allowed::Between(low, high) => format!("a whole number from {low} to {high}"),
            Allowed::GzipLevel => "-1, or a whole number from 1 to 9".to_owned(),
            _ => format!("a whole number from {low} to {high}"),
        }
    }
}

fn parse(kind: Kind, text: &str) -> Result<Value, Reason> {
    let trimmed = text.trim();
    let number = |parsed: Option<i64>| parsed.map(Value::Number).ok_or(Reason::NotNumber(kind));
    match kind {
        Kind::Bool if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Kind::Bool if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Kind::Bool => Err(Reason::NotBoolean),
        Kind::Text | Kind::Class | Kind::Password => Ok(Value::Text(trimmed.to_owned())),
        Kind::Int => number(trimmed.parse::<i32>().ok().map(i64::from)),
        Kind::Short => number(trimmed.parse::<i16>().ok().map(i64::from)),
        Kind::Long => number(trimmed.parse::<i64>().ok()),
        Kind::Double => parse_double(trimmed)
            .map(Value::Double)
            .ok_or(Reason::NotNumber(kind)),
        Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(
            trimmed
                .split(',')
                .map(|item| item.trim().to_owned())
                .collect(),
        )),
    }
}

/// As Java's `Double.parseDouble` for finite numbers: a type letter at the end is allowed.
fn parse_double(text: &str) -> Option<f64> {
    let bare = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    bare.parse::<f64>().ok().filter(|value| value.is_finite())
}

fn check(allowed: Allowed, value: &Value) -> Result<(), Reason> {
    match (allowed, value) {
        (Allowed::AtLeast(low) | Allowed::Between(low, _), Value::Number(n)) if *n < low => {
            Err(Reason::Below(low.to_string()))
        }
        (Allowed::Between(_, high), Value::Number(n)) if *n > high => {
            Err(Reason::Above(high.to_string()))
        }
        (Allowed::Ratio(_), Value::Double(n)) if *n < 0.0 => Err(Reason::Below("0".to_owned())),
        (Allowed::Ratio(high), Value::Double(n)) if *n > high => {
            Err(Reason::Above(high.to_string()))
        }
        (Allowed::GzipLevel, Value::Number(n)) if *n != -1 && !(1..=9).contains(n) => {
            Err(Reason::NotGzipLevel)
        }
        (Allowed::OneOf(names), Value::Text(text)) if !names.contains(&text.as_str()) => {
            Err(Reason::NotOneOf(names, false))
        }
        (Allowed::OneOfAnyCase(names), Value::Text(text))
            if !names.iter().any(|name| name.eq_ignore_ascii_case(text)) =>
        {
            Err(Reason::NotOneOf(names, true))
        }
        (Allowed::EachOf(_), Value::List(items)) if items.iter().any(String::is_empty) => {
            Err(Reason::EmptyElement)
        }
        (Allowed::EachOf(names), Value::List(items))
            if !items.iter().all(|item| names.contains(&item.as_str())) =>
        {
            Err(Reason::NotOneOf(names, false))
        }
        (Allowed::NonEmpty, Value::Text(text)) if text.is_empty() => Err(Reason::Empty),
        (Allowed::ThrottledReplicas, Value::List(items)) if !are_replicas(items) => {
            Err(Reason::NotReplicaList)
        }
        _ => Ok(()),
    }
}

fn are_replicas(items: &[String]) -> bool {
    let all = matches!(items, [only] if only == "*");
    all || items.iter().all(|item| {
        item.split_once(':').is_some_and(|(partition, node)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits(partition) && digits(node)
        })
    })
}

impl Value {
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<i64> {
        match self {
            Value::Number(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_double(&self) -> Option<f64> {
        match self {
            Value::Double(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[String]> {
        match self {
            Value::List(value) => Some(value),
            _ => None,
        }
    }
}

/// The canonical text, as DescribeConfigs shows it (Kafka `ConfigDef.convertToString`).
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Double(value) => write_double(f, *value),
            Value::Text(value) => f.write_str(value),
            Value::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// As Java prints a double: with a point always, in powers of ten outside [10^-3, 10^7).
fn write_double(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return write!(f, "{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, power)) if !digits.contains('.') => write!(f, "{digits}.0E{power}"),
        _ => f.write_str(&text),
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadValue {
            name,
            value,
            reason,
        } = self;
        match reason {
            Reason::EmptyElement => write!(f, "Configuration '{name}' values must not be empty."),
            Reason::Rule(words) => f.write_str(words),
            _ => write!(
                f,
                "Invalid value {value} for configuration {name}: {reason}"
            ),
        }
    }
}

impl std::error::Error for BadValue {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotBoolean => f.write_str("Expected value to be either true or false"),
            Reason::NotNumber(kind) => write!(f, "Not a number of type {}", kind.name()),
            Reason::Below(low) => write!(f, "Value must be at least {low}"),
            Reason::Above(high) => write!(f, "Value must be no more than {high}"),
            Reason::NotGzipLevel => f.write_str("Value must be between 1 and 9 or equal to -1"),
            Reason::NotOneOf(names, any_case) => {
                let case = if *any_case { " (case insensitive)" } else { "" };
                write!(f, "String must be one of{case}: {}", names.join(", "))
            }
            Reason::EmptyElement => f.write_str("Values must not be empty"),
            Reason::Empty => f.write_str("String must be non-empty"),
            Reason::NotReplicaList => f.write_str(
                "must be the literal '*' or a list of partition:node pairs separated by commas",
            ),
            Reason::Rule(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BROKER, CLIENT_METRICS, GROUP, TOPIC, broker_setting, topic_setting};
    use super::*;

    #[test]
    fn every_table_is_sorted_and_every_default_is_allowed() {
        for table in [BROKER, TOPIC, GROUP, CLIENT_METRICS] {
            for pair in table.windows(2) {
                assert!(pair[0].name < pair[1].name, "{}", pair[1].name);
            }
            for setting in table {
                let Some(text) = setting.default else {
                    continue;
                };
                let value = parse(setting.kind, text).unwrap();
                assert_eq!(value.to_string(), text, "{}", setting.name);
                // Kafka's own default of authorizer.class.name and the like is empty.
                assert_eq!(check(setting.allowed, &value), Ok(()), "{}", setting.name);
                assert!(!setting.documentation.is_empty());
            }
        }
    }

    #[test]
    fn every_followed_setting_exists_with_the_same_type() {
        for setting in TOPIC.iter().chain(GROUP) {
            let Some(broker) = setting.follows.and_then(broker_setting) else {
                continue;
            };
            assert_eq!(broker.kind, setting.kind, "{}", setting.name);
        }
        let followers = TOPIC.iter().filter(|row| row.follows.is_some());
        for setting in followers {
            assert!(broker_setting(setting.follows.unwrap()).is_some());
        }
    }

    #[test]
    fn a_bad_topic_value_is_told_in_kafkas_words() {
        let table = [
            (
                "retention.ms",
                "soon",
                "Invalid value soon for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "retention.ms",
                "",
                "Invalid value  for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "retention.ms",
                "-2",
                "Invalid value -2 for configuration retention.ms: Value must be at least -1",
            ),
            (
                "cleanup.policy",
                "shred",
                "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "cleanup.policy",
                "compact,",
                "Configuration 'cleanup.policy' values must not be empty.",
            ),
            (
                "segment.bytes",
                "13",
                "Invalid value 13 for configuration segment.bytes: Value must be at least 1048576",
            ),
            (
                "segment.bytes",
                "2147483648",
                "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT",
            ),
            (
                "preallocate",
                "yes",
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "message.timestamp.type",
                "createtime",
                "Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
            ),
        ];
        for (name, value, message) in table {
            let bad = topic_setting(name).unwrap().parse(value).unwrap_err();
            assert_eq!(bad.to_string(), message);
        }
    }

    #[test]
    fn good_values_come_back_as_understood() {
        let table = [
            ("retention.ms", " 1000 ", "1000"),
            ("retention.ms", "+5", "5"),
            ("preallocate", " TRUE", "true"),
            ("min.cleanable.dirty.ratio", ".25f", "0.25"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("cleanup.policy", " delete , compact ", "delete,compact"),
            ("cleanup.policy", "", ""),
            ("follower.replication.throttled.replicas", "*", "*"),
            (
                "follower.replication.throttled.replicas",
                "0:1,1:2",
                "0:1,1:2",
            ),
            ("retention.bytes", "-5", "-5"),
        ];
        for (name, value, understood) in table {
            let parsed = topic_setting(name).unwrap().parse(value).unwrap();
            assert_eq!(parsed.to_string(), understood);
        }
    }

    #[test]
    fn a_bad_password_is_not_repeated() {
        let bad = BadValue {
            name: "x".into(),
            value: "[hidden]".into(),
            reason: Reason::Empty,
        };
        assert!(bad.to_string().contains("[hidden]"));
        assert!(broker_setting("ssl.key.password").unwrap().is_sensitive());
    }
}
