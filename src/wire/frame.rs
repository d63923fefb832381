//! Frames: four bytes of size, then that many bytes.
//!
//! Owns the bytes of one connection between the socket and the decoder, and the making of whole
//! outgoing frames. Memory grows with the bytes that arrive, never with a size that a peer claims;
//! a frame that arrives inside one chunk is split off it, not copied.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::wire::api_key::ApiRow;
use crate::wire::codec::Writer;
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::message::{Message, Request};

/// Bytes of the size in front of a frame.
pub const SIZE_BYTES: usize = 4;

/// Why a connection's bytes can be cut no further: it has to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameFault {
    /// A size of zero: no header fits.
    Empty,
    Negative(i32),
    /// Above `socket.request.max.bytes`.
    TooLarge(i32),
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameFault::Empty => f.write_str("a frame of size 0"),
            FrameFault::Negative(size) => write!(f, "a frame of size {size}"),
            FrameFault::TooLarge(size) => write!(f, "a frame of {size} bytes is too large"),
        }
    }
}

impl std::error::Error for FrameFault {}

/// Cuts what a connection receives into frames.
#[derive(Debug)]
pub struct FrameCutter {
    frame_bytes_max: usize,
    /// Chunks as received, from the first byte not yet in a frame or in `partial`.
    chunks: VecDeque<Bytes>,
    /// The beginning of a frame (its size included) that continues in later chunks.
    partial: BytesMut,
    /// Bytes in `chunks`.
    chunked: usize,
    fault: Option<FrameFault>,
}

impl FrameCutter {
    /// `frame_bytes_max` is Kafka's `socket.request.max.bytes`: what a size may say at most.
    pub fn new(frame_bytes_max: usize) -> FrameCutter {
        FrameCutter {
            frame_bytes_max,
            chunks: VecDeque::new(),
            partial: BytesMut::new(),
            chunked: 0,
            fault: None,
        }
    }

    /// Takes the next bytes of the connection.
    pub fn feed(&mut self, chunk: Bytes) {
        if !chunk.is_empty() && self.fault.is_none() {
            self.chunked = self.chunked.saturating_add(chunk.len());
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes fed and not yet handed out in frames.
    pub fn buffered(&self) -> usize {
        self.partial.len().saturating_add(self.chunked)
    }

    /// The next frame without its size, if all of it has arrived. Call until there is none:
    /// that is also what lets go of the chunks.
    ///
    /// # Errors
    /// A size that cannot be; from then on always, and what is fed is dropped.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        match self.cut() {
            Err(fault) => {
                self.fault = Some(fault);
                self.chunks.clear();
                self.chunked = 0;
                self.partial = BytesMut::new();
                Err(fault)
            }
            frame => frame,
        }
    }

    fn cut(&mut self) -> Result<Option<Bytes>, FrameFault> {
        if self.partial.is_empty()
            && let Some(frame) = self.cut_first_chunk()?
        {
            return Ok(Some(frame));
        }
        if !self.collect(SIZE_BYTES) {
            return Ok(None);
        }
        let size = match size_at_start(&self.partial) {
            Some(size) => self.judge(size)?,
            None => return Ok(None),
        };
        let whole = size.saturating_add(SIZE_BYTES);
        if !self.collect(whole) {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.partial).freeze();
        Ok(Some(frame.slice(SIZE_BYTES..)))
    }

    /// A frame that lies inside the first chunk.
    fn cut_first_chunk(&mut self) -> Result<Option<Bytes>, FrameFault> {
        let Some(size) = self.chunks.front().and_then(|chunk| size_at_start(chunk)) else {
            return Ok(None);
        };
        let whole = self.judge(size)?.saturating_add(SIZE_BYTES);
        let Some(chunk) = self.chunks.front_mut() else {
            return Ok(None);
        };
        if chunk.len() < whole {
            return Ok(None);
        }
        let frame = chunk.split_to(whole);
        self.chunked = self.chunked.saturating_sub(whole);
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        Ok(Some(frame.slice(SIZE_BYTES..)))
    }

    /// Moves bytes from the chunks until `partial` has `len` of them; says whether it has.
    fn collect(&mut self, len: usize) -> bool {
        while self.partial.len() < len {
            let Some(chunk) = self.chunks.front_mut() else {
                return false;
            };
            let missing = len.saturating_sub(self.partial.len());
            let moved = chunk.split_to(missing.min(chunk.len()));
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            self.chunked = self.chunked.saturating_sub(moved.len());
            self.make_room(moved.len(), len);
            self.partial.extend_from_slice(&moved);
        }
        true
    }

    /// Room in `partial` for `more` bytes: twice of what is there, but no more than the frame's
    /// `whole`, which has been judged by then or is the size field alone.
    fn make_room(&mut self, more: usize, whole: usize) {
        let len = self.partial.len();
        let needed = len.saturating_add(more);
        if self.partial.capacity() < needed {
            let capacity = needed.saturating_mul(2).min(whole.max(needed));
            self.partial.reserve(capacity.saturating_sub(len));
        }
    }

    fn judge(&self, size: i32) -> Result<usize, FrameFault> {
        match usize::try_from(size) {
            Err(_) => Err(FrameFault::Negative(size)),
            Ok(0) => Err(FrameFault::Empty),
            Ok(bytes) if bytes > self.frame_bytes_max => Err(FrameFault::TooLarge(size)),
            Ok(bytes) => Ok(bytes),
        }
    }
}

fn size_at_start(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().copied().map(i32::from_be_bytes)
}

/// Makes the frame of a response: size, header, body.
pub struct ResponseFrame;

impl ResponseFrame {
    /// The whole frame, ready to be sent in order; bytes that the body shares (records) are parts
    /// of their own, not copied.
    ///
    /// For a request of unknown version the API says what to answer in (ApiVersions: version 0).
    pub fn of<M: Message>(version: i16, correlation_id: i32, body: &M) -> Vec<Bytes> {
        sized(|writer| {
            ResponseHeader { correlation_id }.write(writer, M::API, version);
            body.write(writer, version);
        })
    }
}

/// Makes the frame of a request: size, header, body.
pub struct RequestFrame;

impl RequestFrame {
    /// The whole frame, ready to be sent in order.
    pub fn of<M: Request>(
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
        body: &M,
    ) -> Vec<Bytes> {
        let api: &'static ApiRow = M::API;
        let header = RequestHeader {
            api,
            version,
            correlation_id,
            client_id: client_id.map(Cow::from),
        };
        sized(|writer| {
            header.write(writer);
            body.write(writer, version);
        })
    }
}

/// Bytes that most frames stay below, so that they are made without growing.
const FRAME_BYTES_USUAL: usize = 256;

fn sized(content: impl FnOnce(&mut Writer)) -> Vec<Bytes> {
    let mut writer = Writer::with_capacity(FRAME_BYTES_USUAL);
    writer.i32(0);
    content(&mut writer);
    let size = writer.len().saturating_sub(SIZE_BYTES);
    let size = i32::try_from(size).expect("no frame of ours has 2^31 bytes");
    writer.patch_i32(0, size);
    writer.into_parts()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Reader;
    use crate::wire::messages::{MetadataRequest, MetadataResponse};
    use crate::wire::testing::Dice;

    fn frame(len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = (len as i32).to_be_bytes().to_vec();
        bytes.resize(len + SIZE_BYTES, fill);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let lens = [1usize, 5, 100, 2, 3000, 7, 70_000, 1, 1];
        let stream: Vec<u8> = (1u8..)
            .zip(lens)
            .flat_map(|(fill, len)| frame(len, fill))
            .collect();
        for seed in 0..300 {
            let mut dice = Dice::new(seed);
            let largest = [1, 3, 8, 100, 5000, 200_000][dice.below(6)];
            let mut cutter = FrameCutter::new(70_000);
            let mut out = Vec::new();
            let mut at = 0;
            while at < stream.len() {
                let len = (1 + dice.below(largest)).min(stream.len() - at);
                cutter.feed(Bytes::copy_from_slice(&stream[at..at + len]));
                at += len;
                if dice.below(3) > 0 {
                    while let Some(frame) = cutter.next_frame().unwrap() {
                        out.push(frame);
                    }
                }
            }
            while let Some(frame) = cutter.next_frame().unwrap() {
                out.push(frame);
            }
            assert_eq!(cutter.buffered(), 0);
            assert_eq!(out.len(), lens.len(), "seed {seed}");
            for ((fill, len), frame) in (1u8..).zip(lens).zip(&out) {
                assert!(frame.len() == len && frame.iter().all(|byte| *byte == fill));
            }
        }
    }

    #[test]
    fn frames_inside_a_chunk_are_not_copied() {
        let chunk = Bytes::from([frame(10, 1), frame(20, 2)].concat());
        let mut cutter = FrameCutter::new(100);
        cutter.feed(chunk.clone());
        let first = cutter.next_frame().unwrap().unwrap();
        let second = cutter.next_frame().unwrap().unwrap();
        assert_eq!(first.as_ptr(), chunk[4..].as_ptr());
        assert_eq!(second.as_ptr(), chunk[18..].as_ptr());
        assert_eq!(cutter.next_frame(), Ok(None));
    }

    #[test]
    fn memory_follows_the_bytes_that_arrive_not_the_size_claimed() {
        let mut cutter = FrameCutter::new(100 << 20);
        cutter.feed(Bytes::copy_from_slice(&(100i32 << 20).to_be_bytes()));
        let mut arrived = 4;
        for _ in 0..1000 {
            cutter.feed(Bytes::from_static(&[0; 10]));
            arrived += 10;
            assert_eq!(cutter.next_frame(), Ok(None));
            assert!(cutter.partial.capacity() <= 3 * arrived.max(64));
            assert!(cutter.chunks.is_empty());
            assert_eq!(cutter.buffered(), arrived);
        }
    }

    #[test]
    fn a_partial_frame_never_takes_more_than_the_frame() {
        let stream = frame(1000, 1);
        let mut cutter = FrameCutter::new(1000);
        for piece in stream.chunks(300) {
            assert_eq!(cutter.next_frame(), Ok(None));
            cutter.feed(Bytes::copy_from_slice(piece));
        }
        assert_eq!(cutter.next_frame().unwrap().map(|f| f.len()), Some(1000));
    }

    #[test]
    fn impossible_sizes_end_the_connection_for_good() {
        for (size, fault) in [
            (0, FrameFault::Empty),
            (-1, FrameFault::Negative(-1)),
            (i32::MIN, FrameFault::Negative(i32::MIN)),
            (101, FrameFault::TooLarge(101)),
            (i32::MAX, FrameFault::TooLarge(i32::MAX)),
        ] {
            for piece in [1, 4] {
                let mut cutter = FrameCutter::new(100);
                for bytes in size.to_be_bytes().chunks(piece) {
                    assert_eq!(cutter.next_frame(), Ok(None));
                    cutter.feed(Bytes::copy_from_slice(bytes));
                }
                assert_eq!(cutter.next_frame(), Err(fault));
                cutter.feed(Bytes::from(frame(5, 1)));
                assert_eq!(cutter.next_frame(), Err(fault));
                assert_eq!(cutter.buffered(), 0);
            }
        }
    }

    #[test]
    fn outgoing_frames_say_their_size_and_carry_header_and_body() {
        for version in 0..=13 {
            let request = MetadataRequest::default();
            let parts = RequestFrame::of(version, 5, Some("me"), &request);
            let mut cutter = FrameCutter::new(1000);
            parts.into_iter().for_each(|part| cutter.feed(part));
            let frame = cutter.next_frame().unwrap().unwrap();
            assert_eq!(cutter.buffered(), 0);
            let mut reader = Reader::new(&frame);
            let header = RequestHeader::read(&mut reader).unwrap();
            assert_eq!((header.version, header.correlation_id), (version, 5));
            assert_eq!(MetadataRequest::read(&mut reader, version), Ok(request));
            assert_eq!(reader.remaining(), 0);

            let answer = MetadataResponse::default();
            let parts = ResponseFrame::of(version, 6, &answer);
            parts.into_iter().for_each(|part| cutter.feed(part));
            let frame = cutter.next_frame().unwrap().unwrap();
            let mut reader = Reader::new(&frame);
            let header = ResponseHeader::read(&mut reader, header.api, version);
            assert_eq!(header, Ok(ResponseHeader { correlation_id: 6 }));
            assert_eq!(MetadataResponse::read(&mut reader, version), Ok(answer));
        }
    }
}
