//! A client's connection: frames in, answers out in the order of the requests.
//!
//! Kafka answers one connection strictly in order and works on one request at a time
//! (`SocketServer` mutes the channel). Produce requests may run behind each other here, because
//! their answers wait for a flush; every other request waits until the ones before are answered.
//! What a client may have under way is bounded; beyond that the socket is not read.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::devices::ConnectionId;
use crate::wire::frame::FrameCutter;
use crate::words::Now;
use crate::words::limits::UNFINISHED_BYTES_FREE;

/// Number of a request on its connection, from 0.
pub type RequestNumber = u64;

/// Where a request came from, and the form its answer takes.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub connection: ConnectionId,
    pub request: RequestNumber,
    pub version: i16,
    pub correlation_id: i32,
}

/// What became of one request.
pub enum Slot {
    /// Somebody owes the answer.
    Owed,
    /// The answer, ready to go: size, header and body.
    Ready(Vec<Bytes>),
    /// A request without an answer (`acks=0`) is done.
    Silent,
}

/// One client.
pub struct Connection {
    pub id: ConnectionId,
    pub peer: SocketAddr,
    pub cutter: FrameCutter,
    /// Answers in request order; the front is the next to go out.
    answers: VecDeque<Slot>,
    /// Number of the request at the front of `answers`.
    first: RequestNumber,
    /// How many of the open requests are not Produce.
    barriers: usize,
    /// A frame that was cut but must wait for its turn.
    pub held: Option<Bytes>,
    pub paused: bool,
    /// Bytes queued on the socket and not yet taken by the kernel.
    pub unsent_bytes: usize,
    /// Bytes of requests between decoding and answer, for the shard's budget.
    request_bytes: usize,
    /// Bytes received and not yet in a request, as the shard's budget knows them.
    unstarted_bytes: usize,
    pub last_active: Now,
    /// Nothing more is read; close when the answers are out.
    pub closing: bool,
    /// Software name and version from ApiVersions v3, for the log.
    pub software: Option<(String, String)>,
    /// Sizes of open requests, front first.
    sizes: VecDeque<(usize, bool)>,
}

impl Connection {
    pub fn new(id: ConnectionId, peer: SocketAddr, frame_bytes_max: usize, now: Now) -> Connection {
        Connection {
            id,
            peer,
            cutter: FrameCutter::new(frame_bytes_max),
            answers: VecDeque::new(),
            first: 0,
            barriers: 0,
            held: None,
            paused: false,
            unsent_bytes: 0,
            request_bytes: 0,
            unstarted_bytes: 0,
            last_active: now,
            closing: false,
            software: None,
            sizes: VecDeque::new(),
        }
    }

    /// The peer's address as limits know it: without the form in which IPv6 wraps IPv4.
    pub fn ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// Whether a request may start now; `pipelined` is the API's lane, `pipeline_max` the
    /// broker's `ottla.connection.pipeline.max`.
    pub fn may_start(&self, pipelined: bool, pipeline_max: usize) -> bool {
        if self.answers.is_empty() {
            return true;
        }
        pipelined && self.barriers == 0 && self.answers.len() < pipeline_max
    }

    /// Opens the next request's place in the order of answers.
    pub fn start(&mut self, bytes: usize, pipelined: bool) -> RequestNumber {
        let number = self.first.wrapping_add(self.answers.len() as u64);
        self.answers.push_back(Slot::Owed);
        self.sizes.push_back((bytes, pipelined));
        self.request_bytes = self.request_bytes.saturating_add(bytes);
        self.barriers += usize::from(!pipelined);
        number
    }

    /// Fills the place of request `number`. Answers twice are a mistake of ours.
    pub fn answer(&mut self, number: RequestNumber, slot: Slot) {
        let Ok(at) = usize::try_from(number.wrapping_sub(self.first)) else {
            return;
        };
        if let Some(place) = self.answers.get_mut(at) {
            debug_assert!(matches!(place, Slot::Owed), "a request is answered once");
            *place = slot;
        }
    }

    /// Takes the answers that may go out now; true when a request is over.
    pub fn take_ready(&mut self) -> (Vec<Bytes>, bool) {
        let mut parts = Vec::new();
        let before = self.answers.len();
        while let Some(front) = self.answers.front() {
            if matches!(front, Slot::Owed) {
                break;
            }
            if let Some(Slot::Ready(answer)) = self.answers.pop_front() {
                parts.extend(answer);
            }
            self.first = self.first.wrapping_add(1);
            if let Some((bytes, pipelined)) = self.sizes.pop_front() {
                self.request_bytes = self.request_bytes.saturating_sub(bytes);
                self.barriers -= usize::from(!pipelined);
            }
        }
        (parts, self.answers.len() < before)
    }

    /// Bytes of this connection that count against the shard's budget.
    pub fn counted_bytes(&self) -> usize {
        self.request_bytes.saturating_add(self.unstarted_bytes)
    }

    /// Takes a new look at what is received and not yet started.
    pub fn count_unstarted(&mut self) {
        let held = self.held.as_ref().map_or(0, Bytes::len);
        self.unstarted_bytes = self.cutter.buffered().saturating_add(held);
    }

    /// In the middle of a request so large that it may have to wait for memory.
    pub fn is_unfinished(&self) -> bool {
        self.cutter.buffered() > UNFINISHED_BYTES_FREE
    }

    /// Requests that are not answered yet.
    pub fn open_requests(&self) -> usize {
        self.answers.len()
    }
}

/// Connections that are not read, because their peers are ahead of us, in the order in which they
/// were stopped.
#[derive(Default)]
pub struct HeldBack {
    pub waiting: Vec<ConnectionId>,
    /// While memory for requests is short: the one connection with an unfinished large request
    /// that is read all the same, so that requests are finished one after the other.
    pub let_through: Option<ConnectionId>,
}
