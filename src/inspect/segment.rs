//! Walk over a segment file, batch by batch, and how it ends.
//!
//! Reads through a window: memory does not grow with batch or file. A batch whose checksum fails
//! is shown like any other, and the walk goes on behind it; bytes that are no batch end it.

use std::io;

use super::batch::{Batch, CRC_FROM, HEADER_BYTES, NoHeader};
use super::bytes::{Source, Window};

/// A batch of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Bytes from the start of the file.
    pub position: u64,
    pub batch: Batch,
    /// Whether the checksum holds; true, too, when the walk does not look.
    pub intact: bool,
}

/// Where a segment ends, and what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Bytes before it are batches.
    pub position: u64,
    pub why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The file ends behind a batch, or is empty.
    Clean,
    /// Nothing but so many zeros.
    Zeros(u64),
    /// A batch of so many bytes begins, and only so many are there.
    Short { claimed: u64, there: u64 },
    /// No batch.
    Alien(NoHeader),
}

/// One step of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Batch(Found),
    End(End),
}

/// See the head of the file.
pub struct Walk<'a, S: Source + ?Sized> {
    window: Window<'a, S>,
    at: u64,
    checksums: bool,
}

impl<'a, S: Source + ?Sized> Walk<'a, S> {
    /// From the start of `source`; `checksums` reads every byte, without only headers are read.
    pub fn new(source: &'a S, checksums: bool) -> Walk<'a, S> {
        let size = match checksums {
            true => super::bytes::WINDOW_BYTES,
            false => super::bytes::GLANCE_BYTES,
        };
        Walk {
            window: Window::new(source, size),
            at: 0,
            checksums,
        }
    }

    /// Where the next step looks.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next batch, or the end; every step behind the end says the same.
    ///
    /// # Errors
    /// Those of the device, about the bytes from [`Walk::position`] on.
    pub fn step(&mut self) -> io::Result<Step> {
        let at = self.at;
        let left = self.window.source_size().saturating_sub(at);
        let end = |why| Ok(Step::End(End { position: at, why }));
        let head = self.window.look(at, HEADER_BYTES)?;
        if head.is_empty() {
            return end(Why::Clean);
        }
        let zeros = head.iter().all(|byte| *byte == 0);
        let whole: Option<[u8; HEADER_BYTES]> = head.first_chunk().copied();
        if zeros && let Some(zeros) = self.window.zeros_from(at)? {
            return end(Why::Zeros(zeros));
        }
        let Some(bytes) = whole else {
            let claimed = HEADER_BYTES as u64;
            return end(Why::Short {
                claimed,
                there: left,
            });
        };
        let batch = match Batch::parse(&bytes) {
            Ok(batch) => batch,
            Err(fault) => return end(Why::Alien(fault)),
        };
        if batch.size() > left {
            return end(Why::Short {
                claimed: batch.size(),
                there: left,
            });
        }
        let intact = !self.checksums || self.sum(at, &batch)? == batch.crc;
        self.at = at.saturating_add(batch.size());
        Ok(Step::Batch(Found {
            position: at,
            batch,
            intact,
        }))
    }

    fn sum(&mut self, at: u64, batch: &Batch) -> io::Result<u32> {
        let from = CRC_FROM as u64;
        let len = batch.size().saturating_sub(from);
        let mut sum = 0;
        self.window.pieces(at.saturating_add(from), len, |piece| {
            sum = crc32c::crc32c_append(sum, piece);
        })?;
        Ok(sum)
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Clean => f.write_str("ends behind a batch"),
            Why::Zeros(zeros) => write!(f, "{zeros} zeros"),
            Why::Short { claimed, there } => {
                write!(f, "a batch of {claimed} bytes is cut short after {there}")
            }
            Why::Alien(fault) => fault.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record `o` at offset 7, made by Kafka's rules with pencil and paper: FORMAT.md.
    const BATCH: [u8; 69] = [
        0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 57, 0, 0, 0, 2, 2, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 14, 0, 0, 0, 1, 2, 0x6f, 0,
    ];

    fn sound(base: u8) -> Vec<u8> {
        let mut bytes = BATCH.to_vec();
        bytes[7] = base;
        let sum = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn walk(bytes: &[u8]) -> (Vec<(u64, bool)>, End) {
        let mut walk = Walk::new(bytes, true);
        let mut found = Vec::new();
        loop {
            match walk.step().unwrap() {
                Step::Batch(batch) => found.push((batch.position, batch.intact)),
                Step::End(end) => return (found, end),
            }
        }
    }

    #[test]
    fn the_walk_goes_on_behind_a_bad_checksum_and_stops_at_what_is_no_batch() {
        let mut bytes = [sound(0), sound(1), sound(2)].concat();
        bytes[69 + 66] ^= 1;
        let (found, end) = walk(&bytes);
        assert_eq!(found, [(0, true), (69, false), (138, true)]);
        let clean = End {
            position: 207,
            why: Why::Clean,
        };
        assert_eq!(end, clean);
        bytes[69 + 16] = 9;
        let (found, end) = walk(&bytes);
        assert_eq!(found, [(0, true)]);
        assert_eq!(
            (end.position, end.why),
            (69, Why::Alien(NoHeader::Magic(9)))
        );
    }

    #[test]
    fn an_end_in_zeros_is_told_from_a_batch_cut_short() {
        let mut bytes = sound(0);
        bytes.extend_from_slice(&[0; 5000]);
        assert_eq!(walk(&bytes).1.why, Why::Zeros(5000));
        bytes.push(1);
        assert!(matches!(walk(&bytes).1.why, Why::Alien(_)));
        bytes.truncate(100);
        assert_eq!(walk(&bytes).1.why, Why::Zeros(31));
        let bytes = [sound(0), sound(1)[..60].to_vec()].concat();
        let short = Why::Short {
            claimed: 61,
            there: 60,
        };
        assert_eq!(walk(&bytes).1.why, short);
        let bytes = [sound(0), sound(1)[..62].to_vec()].concat();
        let short = Why::Short {
            claimed: 69,
            there: 62,
        };
        assert_eq!(walk(&bytes).1.why, short);
    }

    /// A drive that gives an error for everything from a byte on.
    struct Failing(Vec<u8>, u64);

    impl Source for Failing {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
            let end = at.saturating_add(out.len() as u64);
            match end.min(self.size()) > self.1 {
                true => Err(io::Error::from_raw_os_error(5)),
                false => self.0.as_slice().read_at(at, out),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_a_batch() {
        let all = [sound(0), vec![0; 300_000]].concat();
        let readable = all.len() as u64 - 1;
        let failing = Failing(all, readable);
        let mut walk = Walk::new(&failing, true);
        assert!(matches!(walk.step(), Ok(Step::Batch(found)) if found.intact));
        let error = walk.step().unwrap_err();
        assert_eq!((walk.position(), error.raw_os_error()), (69, Some(5)));
        let mut walk = Walk::new(&failing, false);
        assert!(matches!(walk.step(), Ok(Step::Batch(_))));
        assert!(walk.step().is_err());
    }
}
