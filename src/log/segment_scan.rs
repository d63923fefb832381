//! Incremental walk over the bytes of a segment: which batches are whole, and where and how the
//! good part ends.
//!
//! Owns the checks of shape, checksum and order of offsets. Never does I/O, never holds more than
//! a header, never decides what the end means: that is `verdict.rs`.
//!
//! The driver reads the file from a known-good position in pieces of any size and calls
//! [`SegmentScan::step`] until the piece is used up, then [`SegmentScan::finish`] at the end of
//! the file.

use crate::wire::record::crc::Crc32c;
use crate::wire::record::header::CRC_COVERS_FROM;
use crate::wire::record::{BATCH_HEADER_BYTES, BatchHeader, HeaderFault};
use crate::words::Offset;

/// A whole batch, its checksum and place in the order of offsets proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScannedBatch {
    /// Bytes from the start of the segment file.
    pub position: u64,
    pub header: BatchHeader,
}

/// How the good part of a segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The file ends behind a whole batch (or is empty).
    Clean,
    /// Zeros where a batch would begin: preallocated or padded space.
    Zeros,
    /// The file ends inside a batch.
    Short,
    /// Bytes that are no batch.
    Bad(BadBatch),
}

/// What is wrong with a batch that is all there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadBatch {
    Header(HeaderFault),
    Crc,
    /// Its base offset cannot follow the batch before it.
    Order {
        expected: Offset,
        found: Offset,
    },
    /// It ends before it begins.
    LastOffset {
        base: Offset,
        last: Offset,
    },
}

/// The end of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanEnd {
    /// Bytes up to which everything is whole.
    pub good_bytes: u64,
    /// Offset that follows the last whole batch.
    pub next_offset: Offset,
    pub reason: EndReason,
    /// Where the next batch would begin if the bad one's length can be believed; a second scan
    /// from there tells whether something good follows.
    pub resume_at: Option<u64>,
}

/// What one step found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The piece is used up: feed the next, or [`SegmentScan::finish`].
    More,
    Batch(ScannedBatch),
    /// The good part is over; every further step says the same.
    End(ScanEnd),
}

/// How base offsets follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Each batch begins where the one before ended: a segment that was never compacted.
    Contiguous,
    /// Gaps are normal (compaction); only going back is wrong.
    Ascending,
}

#[expect(clippy::large_enum_variant, reason = "one of them exists per scan")]
enum State {
    Head {
        bytes: [u8; BATCH_HEADER_BYTES],
        have: usize,
    },
    Body {
        header: BatchHeader,
        crc: Crc32c,
        left: u64,
    },
    Ended(ScanEnd),
}

/// A scan in progress.
pub struct SegmentScan {
    order: Order,
    position: u64,
    next_offset: Offset,
    state: State,
}

const EMPTY_HEAD: State = State::Head {
    bytes: [0; BATCH_HEADER_BYTES],
    have: 0,
};

impl SegmentScan {
    /// Starts at `position`, where a batch with base offset `next_offset` or later is expected.
    pub fn new(position: u64, next_offset: Offset, order: Order) -> SegmentScan {
        SegmentScan {
            order,
            position,
            next_offset,
            state: EMPTY_HEAD,
        }
    }

    /// Takes bytes off the front of `piece` until a batch is complete, the good part ends, or the
    /// piece is used up.
    pub fn step(&mut self, piece: &mut &[u8]) -> Step {
        loop {
            match &mut self.state {
                State::Ended(end) => return Step::End(*end),
                State::Head { bytes, have } => {
                    let room = bytes.get_mut(*have..).unwrap_or_default();
                    *have = have.saturating_add(take_into(room, piece));
                    if *have < BATCH_HEADER_BYTES {
                        return Step::More;
                    }
                    let bytes = *bytes;
                    self.state = match Self::begin(&bytes) {
                        Ok(state) => state,
                        Err((reason, resume_at)) => return Step::End(self.end(reason, resume_at)),
                    };
                }
                State::Body { header, crc, left } => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (here, rest) = piece.split_at(wanted.min(piece.len()));
                    crc.update(here);
                    *left = left.saturating_sub(here.len() as u64);
                    *piece = rest;
                    if *left > 0 {
                        return Step::More;
                    }
                    let header = *header;
                    let whole = crc.finish() == header.crc;
                    return self.close(header, whole);
                }
            }
        }
    }

    /// There are no more bytes.
    pub fn finish(mut self) -> ScanEnd {
        let reason = match &self.state {
            State::Ended(end) => return *end,
            State::Head { have: 0, .. } => EndReason::Clean,
            State::Head { bytes, .. } if bytes.iter().all(|byte| *byte == 0) => EndReason::Zeros,
            State::Head { .. } | State::Body { .. } => EndReason::Short,
        };
        self.end(reason, None)
    }

    /// Bytes proven whole so far.
    pub fn good_bytes(&self) -> u64 {
        self.position
    }

    fn begin(bytes: &[u8; BATCH_HEADER_BYTES]) -> Result<State, (EndReason, Option<u64>)> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err((EndReason::Zeros, None));
        }
        let header = BatchHeader::parse(bytes)
            .map_err(|fault| (EndReason::Bad(BadBatch::Header(fault)), None))?;
        let left = (header.size_bytes() as u64).saturating_sub(BATCH_HEADER_BYTES as u64);
        let mut crc = Crc32c::new();
        crc.update(bytes.get(CRC_COVERS_FROM..).unwrap_or_default());
        Ok(State::Body { header, crc, left })
    }

    /// The batch is all there: judges checksum first, then order (fields of a batch that fails
    /// its checksum mean nothing; base offset and epoch are outside of it and are judged last).
    fn close(&mut self, header: BatchHeader, whole: bool) -> Step {
        let after = self.position.saturating_add(header.size_bytes() as u64);
        let (base, last) = (header.base_offset, header.last_offset());
        let bad = if !whole {
            Some(BadBatch::Crc)
        } else if last < base || last.0 == i64::MAX || base.0 < 0 {
            Some(BadBatch::LastOffset { base, last })
        } else if base < self.next_offset
            || (self.order == Order::Contiguous && base != self.next_offset)
        {
            Some(BadBatch::Order {
                expected: self.next_offset,
                found: base,
            })
        } else {
            None
        };
        if let Some(bad) = bad {
            return Step::End(self.end(EndReason::Bad(bad), Some(after)));
        }
        let batch = ScannedBatch {
            position: self.position,
            header,
        };
        self.position = after;
        self.next_offset = header.next_offset();
        self.state = EMPTY_HEAD;
        Step::Batch(batch)
    }

    fn end(&mut self, reason: EndReason, resume_at: Option<u64>) -> ScanEnd {
        let end = ScanEnd {
            good_bytes: self.position,
            next_offset: self.next_offset,
            reason,
            resume_at,
        };
        self.state = State::Ended(end);
        end
    }
}

/// Moves as many bytes as fit; returns how many.
fn take_into(room: &mut [u8], piece: &mut &[u8]) -> usize {
    let len = room.len().min(piece.len());
    let (here, rest) = piece.split_at(len);
    if let Some(room) = room.get_mut(..len) {
        room.copy_from_slice(here);
    }
    *piece = rest;
    len
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::words::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, TimestampMs};

    /// A batch with a true checksum over an opaque body.
    pub(crate) fn batch(base: i64, records: i32, body: &[u8]) -> Vec<u8> {
        let mut header = BatchHeader {
            base_offset: Offset(base),
            batch_length: 49 + body.len() as i32,
            leader_epoch: LeaderEpoch(0),
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: TimestampMs(base.saturating_add(1000)),
            max_timestamp: TimestampMs(base.saturating_add(1000)),
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            records_count: records,
        };
        let bytes = header.encode();
        header.crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[21..]), body);
        let mut out = header.encode().to_vec();
        out.extend_from_slice(body);
        out
    }

    fn scan(bytes: &[u8], piece: usize, order: Order) -> (Vec<ScannedBatch>, ScanEnd) {
        let mut scan = SegmentScan::new(0, Offset(0), order);
        let mut found = Vec::new();
        for mut piece in bytes.chunks(piece.max(1)) {
            loop {
                match scan.step(&mut piece) {
                    Step::More => break,
                    Step::Batch(batch) => found.push(batch),
                    Step::End(end) => return (found, end),
                }
            }
        }
        (found, scan.finish())
    }

    fn three() -> Vec<u8> {
        [
            batch(0, 2, b"aaaa"),
            batch(2, 1, b""),
            batch(3, 5, &[9; 300]),
        ]
        .concat()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_batches() {
        let bytes = three();
        let (whole, end) = scan(&bytes, bytes.len(), Order::Contiguous);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2].position, 65 + 61);
        assert_eq!(end.reason, EndReason::Clean);
        assert_eq!(
            (end.good_bytes, end.next_offset),
            (bytes.len() as u64, Offset(8))
        );
        for piece in 1..bytes.len() {
            assert_eq!(scan(&bytes, piece, Order::Contiguous), (whole.clone(), end));
        }
    }

    #[test]
    fn every_cut_is_clean_or_short_and_keeps_the_whole_batches() {
        let bytes = three();
        let ends = [0, 65, 126, bytes.len()];
        for cut in 0..=bytes.len() {
            let (found, end) = scan(&bytes[..cut], 50, Order::Contiguous);
            let whole = ends.iter().filter(|at| **at <= cut).count() - 1;
            assert_eq!(found.len(), whole, "cut at {cut}");
            assert_eq!(end.good_bytes, ends[whole] as u64);
            // The first seven bytes of an offset are zeros: no difference can be seen.
            let clean = ends.contains(&cut);
            assert_eq!(
                end.reason == EndReason::Clean,
                clean,
                "cut at {cut}: {end:?}"
            );
        }
    }

    #[test]
    fn preallocated_zeros_end_the_good_part() {
        for zeros in [1, 60, 61, 4096] {
            let mut bytes = three();
            let good = bytes.len() as u64;
            bytes.resize(bytes.len() + zeros, 0);
            let (found, end) = scan(&bytes, 100, Order::Contiguous);
            assert_eq!((found.len(), end.good_bytes), (3, good));
            assert_eq!(end.reason, EndReason::Zeros);
        }
    }

    #[test]
    fn a_flipped_bit_is_bad_and_says_where_to_look_for_more() {
        let mut bytes = three();
        bytes[70] ^= 1;
        let (found, end) = scan(&bytes, 4096, Order::Contiguous);
        assert_eq!((found.len(), end.good_bytes), (1, 65));
        // Byte 70 is inside the second batch's base offset, which no checksum covers.
        assert!(
            matches!(end.reason, EndReason::Bad(BadBatch::Order { .. })),
            "{end:?}"
        );
        let mut bytes = three();
        bytes[65 + 61 + 100] ^= 1;
        let (_, end) = scan(&bytes, 4096, Order::Contiguous);
        assert_eq!(end.reason, EndReason::Bad(BadBatch::Crc));
        assert_eq!(end.resume_at, Some(bytes.len() as u64));
    }

    #[test]
    fn offsets_may_have_gaps_only_when_the_caller_says_so() {
        let bytes = [batch(0, 2, b"a"), batch(7, 1, b"b")].concat();
        let (found, end) = scan(&bytes, 4096, Order::Ascending);
        assert_eq!((found.len(), end.next_offset), (2, Offset(8)));
        let (found, end) = scan(&bytes, 4096, Order::Contiguous);
        let order = BadBatch::Order {
            expected: Offset(2),
            found: Offset(7),
        };
        assert_eq!((found.len(), end.reason), (1, EndReason::Bad(order)));
        let back = [batch(0, 2, b"a"), batch(1, 1, b"b")].concat();
        assert_eq!(scan(&back, 4096, Order::Ascending).0.len(), 1);
    }

    #[test]
    fn a_batch_that_ends_before_it_begins_is_bad_despite_its_checksum() {
        let (found, end) = scan(&batch(0, -3, b"a"), 4096, Order::Ascending);
        assert_eq!(found.len(), 0);
        assert!(matches!(
            end.reason,
            EndReason::Bad(BadBatch::LastOffset { .. })
        ));
        let (found, _) = scan(&batch(i64::MAX - 1, 9, b"a"), 4096, Order::Ascending);
        assert_eq!(found.len(), 0);
    }

    #[test]
    fn a_length_beyond_the_file_is_short_and_costs_no_memory() {
        let mut bytes = batch(0, 1, b"abc");
        bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        let (_, end) = scan(&bytes, 4096, Order::Contiguous);
        assert_eq!(end.reason, EndReason::Short);
    }

    #[test]
    fn old_magic_and_impossible_lengths_are_bad_headers() {
        let mut bytes = batch(0, 1, b"abc");
        bytes[16] = 1;
        let (_, end) = scan(&bytes, 4096, Order::Contiguous);
        assert_eq!(
            end.reason,
            EndReason::Bad(BadBatch::Header(HeaderFault::Magic(1)))
        );
        let mut bytes = batch(0, 1, b"abc");
        bytes[8..12].copy_from_slice(&48i32.to_be_bytes());
        let (_, end) = scan(&bytes, 4096, Order::Contiguous);
        let fault = HeaderFault::LengthTooSmall(48);
        assert_eq!(end.reason, EndReason::Bad(BadBatch::Header(fault)));
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics_and_never_goes_back(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let (_, end) = scan(&bytes, 17, Order::Ascending);
            assert!(end.good_bytes <= bytes.len() as u64);
        }
    }
}
