//! The bytes of a file as shared blocks: a copy costs nothing until it differs.

use std::sync::Arc;

/// What a drive writes whole or not at all.
pub const SECTOR: u64 = 512;
const BLOCK: usize = 4096;

#[derive(Clone, Default)]
pub struct Content {
    /// A block that is missing holds zeros.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
    len: u64,
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let end = self.len.min(at.saturating_add(len as u64));
        let mut out = Vec::with_capacity(end.saturating_sub(at) as usize);
        let mut at = at as usize;
        while (at as u64) < end {
            let (block, from) = (at / BLOCK, at % BLOCK);
            let count = (BLOCK - from).min(end as usize - at);
            match self.blocks.get(block) {
                Some(Some(bytes)) => out.extend_from_slice(&bytes[from..from + count]),
                _ => out.resize(out.len() + count, 0),
            }
            at += count;
        }
        out
    }

    pub fn write(&mut self, at: u64, data: &[u8]) {
        let (mut at, mut rest) = (at as usize, data);
        while !rest.is_empty() {
            let (block, from) = (at / BLOCK, at % BLOCK);
            let (part, after) = rest.split_at((BLOCK - from).min(rest.len()));
            self.block(block)[from..from + part.len()].copy_from_slice(part);
            at += part.len();
            rest = after;
        }
        self.len = self.len.max(at as u64);
    }

    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (block, from) = (len as usize / BLOCK, len as usize % BLOCK);
            self.blocks.truncate(block + usize::from(from > 0));
            if from > 0 && self.blocks.len() > block {
                self.block(block)[from..].fill(0);
            }
        }
        self.len = len;
    }

    fn block(&mut self, index: usize) -> &mut [u8; BLOCK] {
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, None);
        }
        let block = self.blocks[index].get_or_insert_with(|| Arc::new([0; BLOCK]));
        Arc::make_mut(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_holes_are_zeros() {
        let mut content = Content::default();
        content.write(5000, b"abc");
        assert_eq!(content.len(), 5003);
        assert_eq!(content.read(4999, 100), b"\0abc");
        let before = content.clone();
        content.set_len(5001);
        content.set_len(5003);
        assert_eq!(content.read(5000, 100), b"a\0\0");
        assert_eq!(before.read(5000, 100), b"abc");
        content.set_len(0);
        assert_eq!(content.read(0, 100), b"");
    }
}
