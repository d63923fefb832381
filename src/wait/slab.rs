//! Cells with stable numbers, reused through a free list: no allocation in the steady state.
//!
//! Owns the memory of one structure in `wait/`. Its numbers never come from a peer. Memory stays
//! at the largest number of cells that were in use at once, which is at most the bound.

/// "No cell", in links between cells.
pub(super) const NONE: u32 = u32::MAX;

struct Cell<E> {
    /// Rises whenever the cell is emptied, so that a late handle does not meet a new tenant.
    generation: u32,
    body: Body<E>,
}

enum Body<E> {
    /// Next free cell, or [`NONE`].
    Free(u32),
    Used(E),
}

pub(super) struct Slab<E> {
    cells: Vec<Cell<E>>,
    free: u32,
    used: usize,
    used_max: usize,
}

impl<E> Slab<E> {
    /// A slab of at most `used_max` cells (and never as many as there are numbers).
    pub fn new(used_max: usize) -> Slab<E> {
        Slab {
            cells: Vec::new(),
            free: NONE,
            used: 0,
            used_max: used_max.min(NONE as usize),
        }
    }

    pub fn len(&self) -> usize {
        self.used
    }

    /// Cells that can still be filled.
    pub fn room(&self) -> usize {
        self.used_max.saturating_sub(self.used)
    }

    /// Fills a cell; `None` when the bound is reached.
    pub fn insert(&mut self, element: E) -> Option<u32> {
        if self.room() == 0 {
            return None;
        }
        let at = self.free;
        if let Some(cell) = self.cells.get_mut(at as usize) {
            if let Body::Free(next) = cell.body {
                self.free = next;
            }
            cell.body = Body::Used(element);
            self.used += 1;
            return Some(at);
        }
        let at = u32::try_from(self.cells.len()).ok()?;
        self.cells.push(Cell {
            generation: 0,
            body: Body::Used(element),
        });
        self.used += 1;
        Some(at)
    }

    /// Empties a cell; `None` when it is empty already.
    pub fn remove(&mut self, at: u32) -> Option<E> {
        let cell = self.cells.get_mut(at as usize)?;
        if matches!(cell.body, Body::Free(_)) {
            return None;
        }
        cell.generation = cell.generation.wrapping_add(1);
        let body = std::mem::replace(&mut cell.body, Body::Free(self.free));
        self.free = at;
        self.used -= 1;
        match body {
            Body::Used(element) => Some(element),
            Body::Free(_) => None,
        }
    }

    pub fn get(&self, at: u32) -> Option<&E> {
        match &self.cells.get(at as usize)?.body {
            Body::Used(element) => Some(element),
            Body::Free(_) => None,
        }
    }

    pub fn get_mut(&mut self, at: u32) -> Option<&mut E> {
        match &mut self.cells.get_mut(at as usize)?.body {
            Body::Used(element) => Some(element),
            Body::Free(_) => None,
        }
    }

    /// How often the cell was emptied.
    pub fn generation(&self, at: u32) -> Option<u32> {
        Some(self.cells.get(at as usize)?.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_cells_are_reused_before_new_ones_are_made() {
        let mut slab = Slab::new(3);
        let cells = [slab.insert('a'), slab.insert('b'), slab.insert('c')];
        assert_eq!(cells, [Some(0), Some(1), Some(2)]);
        assert_eq!(slab.insert('d'), None);
        assert_eq!(slab.remove(1), Some('b'));
        assert_eq!(slab.remove(1), None);
        assert_eq!(slab.insert('e'), Some(1));
        assert_eq!(slab.generation(1), Some(1));
        assert_eq!(slab.get(1), Some(&'e'));
        assert_eq!((slab.len(), slab.cells.len()), (3, 3));
    }
}
