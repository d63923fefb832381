//! Listeners as Kafka writes them: `NAME://host:port`, separated by commas.
//!
//! Owns the text form and its rules; never opens a socket.

use std::fmt;

/// One address to listen on, or to tell clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Name of the listener, in upper case.
    pub name: String,
    /// Host without brackets; empty means every address (when listening).
    pub host: String,
    /// Port of shard 0; 0 lets the system choose.
    pub port: u16,
}

/// Why a text is no list of listeners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenerFault {
    /// Not of the form `NAME://host:port`.
    Shape(String),
    /// A name that stands twice.
    NameTwice(String),
    /// A port other than 0 that stands twice with one host.
    PortTwice(u16),
}

impl fmt::Display for ListenerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerFault::Shape(text) => {
                write!(f, "'{text}' is not of the form NAME://host:port")
            }
            ListenerFault::NameTwice(name) => write!(f, "listener name {name} stands twice"),
            ListenerFault::PortTwice(port) => write!(f, "port {port} stands twice"),
        }
    }
}

/// Listeners in the order given.
pub fn parse(items: &[String]) -> Result<Vec<Listener>, ListenerFault> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in items {
        let listener = parse_one(item).ok_or_else(|| ListenerFault::Shape(item.clone()))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ListenerFault::NameTwice(listener.name));
        }
        let same_place = |other: &Listener| {
            other.port == listener.port && other.port != 0 && other.host == listener.host
        };
        if listeners.iter().any(same_place) {
            return Err(ListenerFault::PortTwice(listener.port));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn parse_one(text: &str) -> Option<Listener> {
    let (name, address) = text.trim().split_once("://")?;
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
    if name.is_empty() || !name.bytes().all(named) {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains([':', ']', '/']) => return None,
        None => host,
    };
    Some(Listener {
        name: name.to_ascii_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Listener>, ListenerFault> {
        let items: Vec<String> = text.split(',').map(str::to_owned).collect();
        parse(&items)
    }

    #[test]
    fn hosts_may_be_missing_names_or_addresses() {
        for (text, name, host, port) in [
            ("PLAINTEXT://:9092", "PLAINTEXT", "", 9092),
            ("plaintext://0.0.0.0:0", "PLAINTEXT", "0.0.0.0", 0),
            (" IN-1://[::1]:65535 ", "IN-1", "::1", 65535),
            ("A://kafka.example:1", "A", "kafka.example", 1),
        ] {
            let one = parsed(text).unwrap().remove(0);
            assert_eq!(
                (one.name.as_str(), one.host.as_str(), one.port),
                (name, host, port)
            );
        }
    }

    #[test]
    fn wrong_shapes_and_repetitions_are_refused() {
        for text in [
            "",
            "localhost:9092",
            "A://host",
            "A://h:65536",
            "A://h:-1",
            "://h:1",
            "A B://h:1",
            "A://[::1:1",
            "A://::1:1",
        ] {
            assert!(
                matches!(parsed(text), Err(ListenerFault::Shape(_))),
                "{text}"
            );
        }
        assert_eq!(
            parsed("A://h:1,a://h:2"),
            Err(ListenerFault::NameTwice("A".into()))
        );
        assert_eq!(parsed("A://h:1,B://h:1"), Err(ListenerFault::PortTwice(1)));
        assert!(parsed("A://h:0,B://h:0").is_ok());
    }
}
