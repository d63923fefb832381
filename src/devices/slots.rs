//! A table of things that the kernel knows by a small number.
//!
//! Owns its entries; a number is given out again only after its entry was removed.

/// Entries by number; the numbers stay dense.
pub(super) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    used: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots {
            entries: Vec::new(),
            free: Vec::new(),
            used: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The number that the next [`Slots::insert`] will use, or `None` when numbers are used up.
    pub(super) fn next(&self) -> Option<u32> {
        match self.free.last() {
            Some(slot) => Some(*slot),
            None => u32::try_from(self.entries.len()).ok(),
        }
    }

    /// Keeps `value` under the number that [`Slots::next`] told; gives it back when there is none.
    pub(super) fn insert(&mut self, value: T) -> Result<u32, T> {
        let Some(slot) = self.next() else {
            return Err(value);
        };
        if self.free.pop().is_none() {
            self.entries.push(Some(value));
        } else if let Some(entry) = self.entries.get_mut(slot as usize) {
            *entry = Some(value);
        }
        self.used += 1;
        Ok(slot)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.used -= 1;
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_reused_only_after_removal() {
        let mut slots = Slots::new();
        assert_eq!(slots.next(), Some(0));
        assert_eq!(slots.insert("a"), Ok(0));
        assert_eq!(slots.insert("b"), Ok(1));
        assert_eq!(slots.remove(0), Some("a"));
        assert_eq!(slots.remove(0), None);
        assert_eq!(slots.next(), Some(0));
        assert_eq!(slots.insert("c"), Ok(0));
        assert_eq!(slots.get_mut(0), Some(&mut "c"));
        assert_eq!((slots.len(), slots.iter().count()), (2, 2));
    }
}
