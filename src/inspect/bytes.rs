//! Bytes from a file or from memory: values off the front, and a window over something large.
//!
//! Owns the bound on what is read at once: no buffer here is sized by what a file claims. Never
//! writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read at once where everything is looked at.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// Bytes read at once where most is passed over.
pub const GLANCE_BYTES: usize = 4096;
/// Bytes of a small file that are read whole, at most.
pub const SMALL_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Something with a length that can be read at any place.
pub trait Source {
    fn size(&self) -> u64;
    /// Reads what is there, up to the length of `out`; fewer bytes only at the end.
    ///
    /// # Errors
    /// Those of the device.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize>;
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(len)
    }
}

/// A file as long as it was when it was opened.
pub struct DiskFile {
    file: File,
    len: u64,
}

impl DiskFile {
    /// # Errors
    /// Those of the device, and that of a thing that is no file.
    pub fn open(path: &Path) -> io::Result<DiskFile> {
        let file = File::open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let len = facts.len();
        Ok(DiskFile { file, len })
    }

    /// All of a small file.
    ///
    /// # Errors
    /// Those of the device; that of a file above [`SMALL_FILE_BYTES_MAX`].
    pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
        let file = DiskFile::open(path)?;
        if file.len > SMALL_FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "{} bytes: such a file is never that large",
                file.len
            )));
        }
        let mut all = vec![0; usize::try_from(file.len).unwrap_or(0)];
        let read = file.read_at(0, &mut all)?;
        all.truncate(read);
        Ok(all)
    }
}

impl Source for DiskFile {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = left.min(out.len());
        let mut have = 0;
        while let Some(room) = out.get_mut(have..wanted).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, at.saturating_add(have as u64)) {
                Ok(0) => break,
                Ok(read) => have = have.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }
}

/// A piece of a source in memory, moved along as it is asked for.
pub struct Window<'a, S: Source + ?Sized> {
    source: &'a S,
    size: usize,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a, S: Source + ?Sized> Window<'a, S> {
    /// `size` is what one read asks for at most.
    pub fn new(source: &'a S, size: usize) -> Window<'a, S> {
        Window {
            source,
            size,
            buffer: Vec::new(),
            start: 0,
        }
    }

    pub fn source_size(&self) -> u64 {
        self.source.size()
    }

    /// The `wanted` bytes at `at`; fewer at the end, and never more than the window holds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn look(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = wanted.min(self.size);
        if !self.holds(at, wanted) {
            let left = usize::try_from(self.source_size().saturating_sub(at)).unwrap_or(usize::MAX);
            self.buffer.resize(self.size.min(left), 0);
            self.start = at;
            let read = self.source.read_at(at, &mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.buffer.get(from..).unwrap_or_default();
        Ok(rest.get(..wanted).unwrap_or(rest))
    }

    fn holds(&self, at: u64, wanted: usize) -> bool {
        let end = self.start.saturating_add(self.buffer.len() as u64);
        at >= self.start && at.saturating_add(wanted as u64) <= end
    }

    /// Shows `len` bytes from `at` on in pieces; returns how many there were.
    ///
    /// # Errors
    /// Those of the device.
    pub fn pieces(&mut self, at: u64, len: u64, mut see: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut seen = 0;
        while seen < len {
            let left = usize::try_from(len.saturating_sub(seen)).unwrap_or(usize::MAX);
            let piece = self.look(at.saturating_add(seen), left)?;
            if piece.is_empty() {
                break;
            }
            see(piece);
            seen = seen.saturating_add(piece.len() as u64);
        }
        Ok(seen)
    }

    /// Bytes from `at` to the end if all of them are zero.
    ///
    /// # Errors
    /// Those of the device.
    pub fn zeros_from(&mut self, at: u64) -> io::Result<Option<u64>> {
        let mut seen = 0u64;
        loop {
            let piece = self.look(at.saturating_add(seen), self.size)?;
            if piece.is_empty() {
                return Ok(Some(seen));
            }
            if piece.iter().any(|byte| *byte != 0) {
                return Ok(None);
            }
            seen = seen.saturating_add(piece.len() as u64);
        }
    }
}

/// Takes values off the front of bytes that may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a>(pub &'a [u8]);

macro_rules! big_endian {
    ($($name:ident)*) => {
        $(pub fn $name(&mut self) -> Option<$name> {
            self.take().map($name::from_be_bytes)
        })*
    };
}

impl<'a> Cut<'a> {
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (here, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*here)
    }

    pub fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (here, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(here)
    }

    big_endian! { u8 u16 u32 u64 i8 i16 i32 i64 }

    /// LEB128 of at most 64 bits.
    pub fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for place in 0..10u32 {
            let byte = self.u8()?;
            let digits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if place == 9 && digits > 1 {
                return None;
            }
            value |= digits.checked_shl(place.saturating_mul(7))?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The same over zigzag.
    pub fn varint(&mut self) -> Option<i64> {
        let raw = self.uvarint()?;
        let half = (raw >> 1).cast_signed();
        Some(if raw & 1 == 1 { !half } else { half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_the_books() {
        for (bytes, expected) in [
            (&[0x00u8][..], Some(0)),
            (&[0x01], Some(-1)),
            (&[0x02], Some(1)),
            (&[0xac, 0x02], Some(150)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                Some(i64::MIN),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                None,
            ),
            (&[0x80], None),
        ] {
            assert_eq!(Cut(bytes).varint(), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_window_shows_the_same_bytes_whatever_its_size() {
        let all: Vec<u8> = (0..=255u8).cycle().take(1000).collect();
        for size in [1, 7, 64, 5000] {
            let mut window = Window::new(all.as_slice(), size);
            let mut seen = Vec::new();
            let shown = window.pieces(3, 5000, |piece| seen.extend_from_slice(piece));
            assert_eq!((shown.unwrap(), seen.as_slice()), (997, &all[3..]));
            assert_eq!(window.look(990, 64).unwrap(), &all[990..][..10.min(size)]);
        }
        let mut zeros = vec![1u8; 10];
        zeros.resize(10_000, 0);
        let mut window = Window::new(zeros.as_slice(), 64);
        assert_eq!(window.zeros_from(10).unwrap(), Some(9990));
        assert_eq!(window.zeros_from(9).unwrap(), None);
    }
}
