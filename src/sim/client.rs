//! A scripted Kafka client for the simulated world: requests in, decoded answers out.
//!
//! Owns one connection at a time, its correlation ids, and the promise that the broker has to
//! keep on it: answers come in the order of the requests, each once, and nothing else comes.

use std::collections::VecDeque;

use crate::devices::world::{ClientEnd, ClientState};
use crate::wire::{ApiKey, FrameCutter, Message, Reader, Request, RequestFrame, ResponseHeader};
use bytes::Bytes;

use super::broker::Broker;

/// What a client notes beside a request, to know its answer by.
pub struct Client<T> {
    pub shard: u16,
    end: ClientEnd,
    cutter: FrameCutter,
    next_correlation: i32,
    waiting: VecDeque<Waiting<T>>,
    /// It was closed from here.
    closed: bool,
}

struct Waiting<T> {
    correlation_id: i32,
    version: i16,
    key: ApiKey,
    note: T,
}

/// An answer, not decoded yet.
pub struct Answer<T> {
    pub key: ApiKey,
    pub version: i16,
    pub note: T,
    body: Bytes,
}

impl<T> Answer<T> {
    /// Decodes the body; a body that does not decode to its last byte is a fault.
    pub fn decode<M: Message>(&self) -> Result<M, String> {
        debug_assert_eq!(M::API.key, self.key, "what was asked for is decoded");
        let mut reader = Reader::new(&self.body);
        let message = M::read(&mut reader, self.version)
            .map_err(|fault| format!("{} v{}: {fault}", M::NAME, self.version))?;
        match reader.remaining() {
            0 => Ok(message),
            left => Err(format!("{left} bytes after {} v{}", M::NAME, self.version)),
        }
    }
}

impl<T> Client<T> {
    pub fn connect(broker: &mut Broker, shard: u16) -> Client<T> {
        Client {
            shard,
            end: broker.connect(shard),
            cutter: FrameCutter::new(256 << 20),
            next_correlation: 1,
            waiting: VecDeque::new(),
            closed: false,
        }
    }

    /// Sends a request whose answer is to come back with `note`.
    pub fn ask<R: Request>(&mut self, broker: &mut Broker, version: i16, body: &R, note: T) {
        let correlation_id = self.send(broker, version, body);
        self.waiting.push_back(Waiting {
            correlation_id,
            version,
            key: R::API.key,
            note,
        });
    }

    /// Sends a request that is not answered (`acks=0`).
    pub fn tell<R: Request>(&mut self, broker: &mut Broker, version: i16, body: &R) {
        self.send(broker, version, body);
    }

    fn send<R: Request>(&mut self, broker: &mut Broker, version: i16, body: &R) -> i32 {
        let correlation_id = self.next_correlation;
        self.next_correlation += 1;
        for part in RequestFrame::of(version, correlation_id, Some("sim"), body) {
            broker.world.send(self.end, &part);
        }
        correlation_id
    }

    /// Sends the beginning of a request, `share` of 256, and hangs up: the request never was.
    pub fn begin_and_leave<R: Request>(
        &mut self,
        broker: &mut Broker,
        version: i16,
        body: &R,
        (share, reset): (u64, bool),
    ) {
        let parts = RequestFrame::of(version, self.next_correlation, Some("sim"), body);
        let whole: usize = parts.iter().map(Bytes::len).sum();
        let share = usize::try_from(share % 256).unwrap_or(0);
        let mut left = whole.saturating_mul(share) / 256;
        for part in parts {
            let some = part.get(..left.min(part.len())).unwrap_or_default();
            broker.world.send(self.end, some);
            left = left.saturating_sub(some.len());
        }
        self.leave(broker, reset);
    }

    /// Requests without an answer.
    pub fn open(&self) -> usize {
        self.waiting.len()
    }

    /// The answers that came since the last call.
    pub fn answers(&mut self, broker: &mut Broker) -> Result<Vec<Answer<T>>, String> {
        let data = broker.world.take_received(self.end);
        if !data.is_empty() {
            self.cutter.feed(data);
        }
        let mut answers = Vec::new();
        while let Some(frame) = self
            .cutter
            .next_frame()
            .map_err(|fault| fault.to_string())?
        {
            let waiting = self
                .waiting
                .pop_front()
                .ok_or("an answer that nobody asked for")?;
            let api = waiting.key.row().ok_or("an api without a row")?;
            let mut reader = Reader::new(&frame);
            let header = ResponseHeader::read(&mut reader, api, waiting.version)
                .map_err(|fault| fault.to_string())?;
            if header.correlation_id != waiting.correlation_id {
                return Err(format!(
                    "answer {} where {} is due",
                    header.correlation_id, waiting.correlation_id
                ));
            }
            let body = frame.slice(frame.len() - reader.remaining()..);
            answers.push(Answer {
                key: waiting.key,
                version: waiting.version,
                note: waiting.note,
                body,
            });
        }
        Ok(answers)
    }

    /// The broker closed, or the connection broke.
    pub fn is_gone(&self, broker: &Broker) -> bool {
        self.closed || broker.world.client_state(self.end) != ClientState::Open
    }

    /// Stops or goes on reading.
    pub fn hold_reading(&self, broker: &mut Broker, hold: bool) {
        broker.world.hold_reading(self.end, hold);
    }

    /// Leaves in order, or breaks off.
    pub fn leave(&mut self, broker: &mut Broker, reset: bool) {
        self.closed = true;
        match reset {
            true => broker.world.reset(self.end),
            false => broker.world.close(self.end),
        }
    }

    /// What was asked and will never be answered: the connection is gone.
    pub fn abandoned(&mut self) -> Vec<T> {
        self.waiting.drain(..).map(|waiting| waiting.note).collect()
    }
}
