//! Where a broker listens: a host and a port.
//!
//! Owns how people write it. Never resolves a name.

use std::fmt;
use std::str::FromStr;

/// A host name or IP address, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// Why text is no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFault {
    NoPort,
    Port,
    NoHost,
    /// An IPv6 address without brackets: where its port begins is a guess.
    Brackets,
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressFault::NoPort => "there is no port: write HOST:PORT",
            AddressFault::Port => "the port is not a number from 1 to 65535",
            AddressFault::NoHost => "there is no host: write HOST:PORT",
            AddressFault::Brackets => "an IPv6 address needs brackets: [::1]:9092",
        })
    }
}

impl std::error::Error for AddressFault {}

impl FromStr for Address {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Address, AddressFault> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressFault::NoPort)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(AddressFault::Brackets);
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(AddressFault::NoHost);
        }
        match port.parse() {
            Ok(0) | Err(_) => Err(AddressFault::Port),
            Ok(port) => Ok(Address {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_was_written() {
        for text in ["localhost:9092", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        let fault = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(fault("localhost"), AddressFault::NoPort);
        assert_eq!(fault(":9092"), AddressFault::NoHost);
        assert_eq!(fault("[]:9092"), AddressFault::NoHost);
        assert_eq!(fault("::1:9092"), AddressFault::Brackets);
        for port in ["", "0", "-1", "65536", "http"] {
            assert_eq!(fault(&format!("a:{port}")), AddressFault::Port);
        }
    }
}
