//! Names of files and directories, and the small text files that say whose they are.
//!
//! Text in, facts out. A name that fits nothing here is somebody else's.

use crate::words::TopicId;

/// A file in a partition's directory that belongs to a segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    Snapshot,
}

const KINDS: [(&str, Kind); 5] = [
    ("log", Kind::Log),
    ("index", Kind::OffsetIndex),
    ("timeindex", Kind::TimeIndex),
    ("txnindex", Kind::TransactionIndex),
    ("snapshot", Kind::Snapshot),
];

/// Base offset and kind of a live file: 20 digits, a dot, the kind.
pub fn segment_file(name: &str) -> Option<(i64, Kind)> {
    let (digits, kind) = name.split_once('.')?;
    let (_, kind) = KINDS.iter().find(|(word, _)| *word == kind)?;
    let canonical = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then_some(())?;
    Some((digits.parse().ok()?, *kind))
}

pub fn segment_file_name(base: i64, kind: Kind) -> String {
    let word = KINDS.iter().find(|(_, known)| *known == kind);
    format!("{base:020}.{}", word.map_or("log", |(word, _)| word))
}

/// Topic and partition of a live partition's directory.
pub fn partition_dir(name: &str) -> Option<(&str, i32)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let named = (1..=249).contains(&topic.len()) && topic.bytes().all(legal);
    let number = natural(digits)?;
    (named && topic != "." && topic != "..").then_some((topic, i32::try_from(number).ok()?))
}

/// `<topic>-<partition>.<32 hex digits>-delete` and its like.
pub fn is_set_aside(name: &str) -> bool {
    let aside = ["-delete", "-future", "-stray"];
    let rest = aside.iter().find_map(|end| name.strip_suffix(end));
    rest.and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `journal.<k>`.
pub fn journal_dir(name: &str) -> Option<u32> {
    natural(name.strip_prefix("journal.")?)
}

/// `<n>.journal`.
pub fn journal_file(name: &str) -> Option<u32> {
    natural(name.strip_suffix(".journal")?)
}

/// A number written the one way that it is written.
fn natural(digits: &str) -> Option<u32> {
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Kafka's text of a UUID: 22 digits of URL-safe base64.
pub fn topic_id(text: &str) -> Option<TopicId> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0u128;
    for digit in text.chars().take(22) {
        let value = u128::try_from(DIGITS.find(digit)?).ok()?;
        // The last digit carries two bits in front of four zeros; they fall out at the top.
        bits = bits.checked_shl(6)? | value;
    }
    // 22 digits are 132 bits: the first went over the edge, so take them apart once more.
    let first = DIGITS.find(text.chars().next()?)?;
    let top = u128::try_from(first).ok()?.checked_shl(122)?;
    let id = TopicId((top | (bits >> 4) & (u128::MAX >> 6)).to_be_bytes());
    (id.to_string() == text).then_some(id)
}

/// `partition.metadata`: the id of the topic.
pub fn partition_metadata(bytes: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim_start().strip_prefix(':'))
            .map(str::trim)
    };
    (value("version")? == "0").then_some(())?;
    topic_id(value("topic_id")?)
}

/// What `meta.properties` says; Java's escapes are taken off.
pub fn meta_properties(bytes: &[u8]) -> Option<(String, i32)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value = |key: &str| {
        text.lines().rev().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().replace('\\', ""))
        })
    };
    (value("version")? == "1").then_some(())?;
    Some((value("cluster.id")?, value("node.id")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_printed() {
        for bytes in [[0; 16], [0xff; 16], *b"topic-id-16bytes", [0x81; 16]] {
            let id = TopicId(bytes);
            assert_eq!(topic_id(&id.to_string()), Some(id));
        }
        for bad in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert_eq!(topic_id(bad), None, "{bad}");
        }
        let text = b"version: 0\ntopic_id: YA9P2ObbQmyPzm6X5GREvA";
        let id = partition_metadata(text).unwrap();
        assert_eq!(id.to_string(), "YA9P2ObbQmyPzm6X5GREvA");
    }

    #[test]
    fn names_are_taken_literally() {
        let log = segment_file("00000000000000000042.log");
        assert_eq!(log, Some((42, Kind::Log)));
        assert_eq!(
            segment_file_name(42, Kind::TimeIndex),
            "00000000000000000042.timeindex"
        );
        for other in [
            "42.log",
            "00000000000000000042.log.deleted",
            "99999999999999999999.log",
        ] {
            assert_eq!(segment_file(other), None, "{other}");
        }
        assert_eq!(partition_dir("a-b-12"), Some(("a-b", 12)));
        for other in ["a", "a-01", "journal.0", "a/b-1", "..-1"] {
            assert_eq!(partition_dir(other), None, "{other}");
        }
        assert!(is_set_aside("a-1.0123456789abcdef0123456789abcdef-delete"));
        assert_eq!(
            (journal_dir("journal.7"), journal_file("07.journal")),
            (Some(7), None)
        );
    }
}
