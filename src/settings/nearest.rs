//! Which known name a mistyped one most likely meant.

/// Longest name that is compared; longer ones are nobody's typing mistake.
const NAME_BYTES_MAX: usize = 128;

/// The name of `known` with the fewest edits to `typed`, if few enough to be worth a hint.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if typed.len() > NAME_BYTES_MAX {
        return None;
    }
    let limit = (typed.len() / 3).max(2);
    known
        .map(|name| (edits(typed, name), name))
        .filter(|(count, _)| *count <= limit)
        .min_by_key(|(count, _)| *count)
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements from `a` to `b`, in bytes (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(from != to));
            diagonal = *cell;
            left = replaced
                .min(left.saturating_add(1))
                .min(diagonal.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("num.partition", "num.partitions", 1),
            ("same", "same", 0),
        ] {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = ["num.partitions", "log.dirs", "listeners"];
        assert_eq!(
            nearest("num.partition", known.into_iter()),
            Some("num.partitions")
        );
        assert_eq!(nearest("log.dir", known.into_iter()), Some("log.dirs"));
        assert_eq!(nearest("zookeeper.connect", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(500), known.into_iter()), None);
    }
}
