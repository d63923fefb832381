//! Block-aligned memory, pooled by size class.
//!
//! Owns the memory of direct reads and writes. A buffer is filled by one owner, then frozen into
//! `Bytes` that any thread may hold; the last holder gives the memory back to its pool, without a
//! lock. A pool starts empty and gives back to the system what nobody needed for a while. Memory
//! is always initialised: what a buffer shows before it is written is zeros or older content.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;

use crate::words::limits::{BLOCK_BYTES, BUFFER_CLASS_BYTES_MAX, BUFFERS_KEPT_PER_CLASS_MAX};

/// Keeps the kernel from handing out memory in huge pages: zeroing one takes its thread away for
/// as long as a thousand small appends take, at a moment nobody chose.
pub fn refuse_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

/// Size classes with free lists, and a budget in bytes.
pub struct BufferPool {
    classes: Vec<Class>,
    budget: usize,
    in_use: AtomicUsize,
    kept: AtomicUsize,
}

struct Class {
    bytes: usize,
    free: ArrayQueue<Region>,
    /// Fewest free buffers since the last trim: those were not needed.
    spare: AtomicUsize,
}

/// A filled or fillable buffer. Its memory starts on a block boundary.
pub struct AlignedBuf {
    /// `Some` until the buffer is dropped or frozen.
    region: Option<Region>,
    len: usize,
    pool: Arc<BufferPool>,
}

/// Frozen memory on its way through `Bytes`.
struct Frozen(AlignedBuf);

impl BufferPool {
    /// A pool that hands out freely, keeps at most `budget` bytes of free memory, and refuses a
    /// [`BufferPool::try_take`] past `budget` bytes in use.
    pub fn new(budget: usize) -> Arc<BufferPool> {
        let classes = class_sizes()
            .into_iter()
            .map(|bytes| Class {
                bytes,
                free: ArrayQueue::new((budget / bytes).clamp(1, BUFFERS_KEPT_PER_CLASS_MAX)),
                spare: AtomicUsize::new(0),
            })
            .collect();
        Arc::new(BufferPool {
            classes,
            budget,
            in_use: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
        })
    }

    /// A buffer showing `len` bytes (of unspecified content), whatever the budget says.
    pub fn take(self: &Arc<Self>, len: usize) -> AlignedBuf {
        let region = self.take_region(len);
        AlignedBuf {
            region: Some(region),
            len,
            pool: self.clone(),
        }
    }

    /// As [`BufferPool::take`], or `None` when the budget would be exceeded.
    pub fn try_take(self: &Arc<Self>, len: usize) -> Option<AlignedBuf> {
        let after = self.in_use().checked_add(self.rounded(len))?;
        (after <= self.budget).then(|| self.take(len))
    }

    /// Bytes of buffers that somebody holds, filled or frozen.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Bytes of free buffers kept for the next taker.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Gives back to the system the free buffers that were not needed since the last call.
    pub fn trim(&self) {
        for class in &self.classes {
            for _ in 0..class.spare.load(Ordering::Relaxed) {
                if class.free.pop().is_none() {
                    break;
                }
                self.kept.fetch_sub(class.bytes, Ordering::Relaxed);
            }
            class.spare.store(class.free.len(), Ordering::Relaxed);
        }
    }

    fn class(&self, len: usize) -> Option<&Class> {
        let index = self.classes.partition_point(|class| class.bytes < len);
        self.classes.get(index)
    }

    /// Bytes that a buffer of `len` really takes.
    fn rounded(&self, len: usize) -> usize {
        match self.class(len) {
            Some(class) => class.bytes,
            None => len.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(len),
        }
    }

    fn take_region(&self, len: usize) -> Region {
        let bytes = self.rounded(len);
        self.in_use.fetch_add(bytes, Ordering::Relaxed);
        let Some(class) = self.class(len) else {
            return Region::new(bytes);
        };
        let reused = class.free.pop();
        class.spare.fetch_min(class.free.len(), Ordering::Relaxed);
        match reused {
            Some(region) => {
                self.kept.fetch_sub(bytes, Ordering::Relaxed);
                region
            }
            None => Region::new(bytes),
        }
    }

    fn give_back(&self, region: Region) {
        let bytes = region.bytes;
        self.in_use.fetch_sub(bytes, Ordering::Relaxed);
        let Some(class) = self.class(bytes).filter(|class| class.bytes == bytes) else {
            return;
        };
        if self.kept.fetch_add(bytes, Ordering::Relaxed) >= self.budget.saturating_sub(bytes)
            || class.free.push(region).is_err()
        {
            self.kept.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// 4, 8 and 12 KiB, then four steps to each doubling: at most a fifth of a buffer is waste.
fn class_sizes() -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..4).map(|blocks| blocks * BLOCK_BYTES).collect();
    let mut base = 4 * BLOCK_BYTES;
    while base < BUFFER_CLASS_BYTES_MAX {
        sizes.extend((4..8).map(|quarters| base / 4 * quarters));
        base *= 2;
    }
    sizes.push(BUFFER_CLASS_BYTES_MAX);
    sizes
}

impl AlignedBuf {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit without moving.
    pub fn capacity(&self) -> usize {
        self.region.as_ref().map_or(0, |region| region.bytes)
    }

    pub fn as_slice(&self) -> &[u8] {
        let whole = self.region.as_ref().map_or(&[][..], Region::as_slice);
        whole.get(..self.len).unwrap_or(&[])
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        let whole = self
            .region
            .as_mut()
            .map_or(&mut [][..], Region::as_mut_slice);
        whole.get_mut(..len).unwrap_or(&mut [])
    }

    /// Shows `len` bytes from now on; bytes not shown before are zero. Moves to a larger size
    /// class when needed.
    pub fn resize(&mut self, len: usize) {
        let shown = self.len;
        if len > self.capacity() {
            let mut larger = self.pool.take(len);
            if let Some(front) = larger.as_mut_slice().get_mut(..shown) {
                front.copy_from_slice(self.as_slice());
            }
            *self = larger;
        }
        self.len = len;
        if let Some(fresh) = self.as_mut_slice().get_mut(shown..) {
            fresh.fill(0);
        }
    }

    /// Appends `data`, growing by size class.
    pub fn extend_from_slice(&mut self, data: &[u8]) {
        let shown = self.len;
        let len = shown.saturating_add(data.len());
        if len > self.capacity() {
            // At least half as much again, so that many small appends copy little.
            let generous = len.max(shown.saturating_add(shown / 2));
            self.resize(generous);
        }
        self.len = len;
        if let Some(fresh) = self.as_mut_slice().get_mut(shown..) {
            fresh.copy_from_slice(data);
        }
    }

    /// The bytes in `range` (inside the shown ones, or this panics), for any thread to hold. The
    /// memory returns to the pool with the last `Bytes` cut from it.
    pub fn freeze(self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Frozen(self)).slice(range)
    }
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            self.pool.give_back(region);
        }
    }
}

/// Owned, block-aligned, initialised memory.
pub(super) struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a region owns its memory alone, as a `Vec<u8>` does; it has no interior mutability.
unsafe impl Send for Region {}
// SAFETY: as above; a shared region only reads.
unsafe impl Sync for Region {}

impl Region {
    /// `bytes` zeros, rounded up to whole blocks. Ends the process when there is no memory.
    pub(super) fn new(bytes: usize) -> Region {
        let layout = Region::layout(bytes);
        // SAFETY: the layout's size is at least one block, so not zero.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Region {
                start,
                bytes: layout.size(),
            },
            None => handle_alloc_error(layout),
        }
    }

    fn layout(bytes: usize) -> Layout {
        let rounded = bytes.max(1).checked_next_multiple_of(BLOCK_BYTES);
        // BLOCK_BYTES is a power of two; only a size near the end of the address space can fail,
        // and no memory of that size exists.
        Layout::from_size_align(rounded.unwrap_or(usize::MAX), BLOCK_BYTES)
            .unwrap_or_else(|_| panic!("no memory of {bytes} bytes exists"))
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` points to `bytes` initialised bytes that this region owns until drop;
        // the borrow of `self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `start` came from the allocator with the layout of these many bytes
        // (`layout` maps a multiple of the block to itself), and is released once, here.
        unsafe { dealloc(self.start.as_ptr(), Region::layout(self.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_rise_in_whole_blocks_and_waste_at_most_a_fifth() {
        let sizes = class_sizes();
        for pair in sizes.windows(2) {
            assert!(pair[0] < pair[1]);
            assert_eq!(pair[1] % BLOCK_BYTES, 0);
            assert!(pair[1] <= 16384 || pair[1] - pair[0] <= pair[1] / 5);
        }
        assert_eq!(sizes.last(), Some(&BUFFER_CLASS_BYTES_MAX));
    }

    #[test]
    fn memory_of_dropped_bytes_comes_back_from_another_thread() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(5000);
        buffer.as_mut_slice().fill(7);
        let address = buffer.as_slice().as_ptr().addr();
        assert_eq!(address % BLOCK_BYTES, 0);
        assert_eq!((pool.in_use(), pool.kept()), (8192, 0));
        let bytes = buffer.freeze(1000..5000);
        assert_eq!(bytes.len(), 4000);
        let part = bytes.slice(3000..);
        std::thread::spawn(move || drop(bytes)).join().unwrap();
        assert_eq!(
            (pool.in_use(), pool.kept()),
            (8192, 0),
            "a slice still lives"
        );
        assert!(part.iter().all(|byte| *byte == 7));
        drop(part);
        assert_eq!((pool.in_use(), pool.kept()), (0, 8192));
        assert_eq!(pool.take(8192).as_slice().as_ptr().addr(), address);
    }

    #[test]
    fn growth_keeps_content_and_shows_zeros() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take(4096);
        buffer.as_mut_slice().fill(1);
        buffer.resize(9000);
        assert!(buffer.as_slice()[..4096].iter().all(|byte| *byte == 1));
        assert!(buffer.as_slice()[4096..].iter().all(|byte| *byte == 0));
        buffer.resize(10);
        buffer.extend_from_slice(b"tail");
        assert_eq!(&buffer.as_slice()[9..], b"\x01tail");
        let mut small = pool.take(0);
        for n in 0..100_000u32 {
            small.extend_from_slice(&n.to_be_bytes());
        }
        assert_eq!(small.len(), 400_000);
        assert_eq!(&small.as_slice()[399_996..], 99_999u32.to_be_bytes());
    }

    #[test]
    fn the_budget_bounds_what_is_lent_politely_and_what_is_kept() {
        let pool = BufferPool::new(16384);
        let first = pool.try_take(12000).unwrap();
        assert!(pool.try_take(8192).is_none());
        let second = pool.take(8192);
        let third = pool.take(200 << 20);
        drop((first, second, third));
        assert_eq!(pool.in_use(), 0);
        assert!(pool.kept() <= 16384);
    }

    #[test]
    fn trimming_twice_in_silence_returns_everything() {
        let pool = BufferPool::new(1 << 20);
        drop((pool.take(4096), pool.take(4096), pool.take(65536)));
        assert_eq!(pool.kept(), 8192 + 65536);
        pool.trim();
        drop(pool.take(65536));
        pool.trim();
        assert_eq!(pool.kept(), 65536, "the one in use meanwhile stays");
        pool.trim();
        assert_eq!(pool.kept(), 0);
    }
}
