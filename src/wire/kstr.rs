//! `KStr`: text of the wire as a slice of the frame it came in.
//!
//! Owns one reference to the frame and the promise that its bytes are UTF-8. Never copies what is
//! valid; never grows. A `KStr` keeps its whole frame alive: what outlives the request is
//! [`KStr::detach`]ed first.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// A string of the protocol. Compares, orders and hashes as the `str` it derefs to, so a map
/// keyed by `KStr` can be asked with a `&str`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KStr(Bytes);

impl KStr {
    /// Takes bytes of a peer as text. What is not UTF-8 becomes U+FFFD, as Java's decoder does it
    /// for Kafka, instead of failing the request: the name then fails validation as Kafka's would.
    pub fn from_wire(bytes: Bytes) -> KStr {
        match std::str::from_utf8(&bytes) {
            Ok(_) => KStr(bytes),
            Err(_) => KStr(Bytes::from(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    pub const fn from_static(text: &'static str) -> KStr {
        KStr(Bytes::from_static(text.as_bytes()))
    }

    pub fn as_str(&self) -> &str {
        // Checked at every construction; checked again here because the alternative is unsafe
        // code, and names are short.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A copy that does not hold the frame.
    pub fn detach(&self) -> KStr {
        KStr(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for KStr {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for KStr {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for KStr {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for KStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Must be the hash of `str` for `Borrow<str>` to hold.
        self.as_str().hash(state);
    }
}

impl From<&str> for KStr {
    fn from(text: &str) -> KStr {
        KStr(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for KStr {
    fn from(text: String) -> KStr {
        KStr(Bytes::from(text))
    }
}

impl PartialEq<str> for KStr {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for KStr {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for KStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for KStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn valid_text_is_not_copied() {
        let bytes = Bytes::from("Zürich".to_owned());
        let text = KStr::from_wire(bytes.clone());
        assert_eq!(text, "Zürich");
        assert_eq!(text.into_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        let text = KStr::from_wire(Bytes::from_static(b"\xff\xfe"));
        assert_eq!(text, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_map_keyed_by_it_is_asked_with_a_str() {
        let map = HashMap::from([(KStr::from("a"), 1)]);
        assert_eq!(map.get("a"), Some(&1));
    }
}
