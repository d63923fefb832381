//! One connection's side of Kafka's protocol without the socket: requests in, bytes out; bytes in,
//! answers out.
//!
//! Owns correlation ids, what is waiting for an answer, and the bytes between the two. Never reads
//! a clock, never touches a socket, never retries. Kafka answers a connection in request order, so
//! an answer that is not the oldest one waited for ends the exchange.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use crate::wire::codec::{DecodeFault, Reader};
use crate::wire::frame::{FrameCutter, FrameFault, RequestFrame};
use crate::wire::header::ResponseHeader;
use crate::wire::messages::ApiVersionsResponse;
use crate::wire::{ApiRow, ErrorCode, Message, Request};

/// Largest answer that is taken, in bytes. Above any `fetch.max.bytes` this client asks for.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Requests of one connection that may wait for their answers.
pub const IN_FLIGHT_MAX: usize = 1024;

/// Why an exchange cannot go on: the connection has to be closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExchangeFault {
    /// The peer's bytes are no frames.
    Frame(FrameFault),
    /// The peer's frame is not the answer it should be.
    Decode(DecodeFault),
    /// An answer that nothing waits for.
    Unasked(i32),
    /// An answer to another request than the oldest one.
    OutOfOrder { expected: i32, came: i32 },
    /// The answer leaves out what was asked for, or tells of something else.
    Incomplete(&'static str),
    /// More than [`IN_FLIGHT_MAX`] requests: the caller sends faster than it listens.
    Full,
}

impl fmt::Display for ExchangeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeFault::Frame(fault) => fault.fmt(f),
            ExchangeFault::Decode(fault) => fault.fmt(f),
            ExchangeFault::Unasked(id) => write!(f, "an answer ({id}) that nothing asked for"),
            ExchangeFault::OutOfOrder { expected, came } => {
                write!(f, "answer {came} came where {expected} was due")
            }
            ExchangeFault::Incomplete(what) => write!(f, "the answer lacks {what}"),
            ExchangeFault::Full => f.write_str("too many requests wait for their answers"),
        }
    }
}

impl std::error::Error for ExchangeFault {}

/// An answer, not yet decoded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What [`Exchange::send`] returned for the request.
    pub correlation_id: i32,
    pub api: &'static ApiRow,
    /// Version of the request, and so of the answer.
    pub version: i16,
    frame: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    correlation_id: i32,
    api: &'static ApiRow,
    version: i16,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Exchange {
    client_id: Option<String>,
    next_correlation_id: i32,
    outgoing: Vec<Bytes>,
    pending: VecDeque<Pending>,
    cutter: FrameCutter,
}

impl Exchange {
    /// `client_id` is what the broker's logs, metrics and quotas know this client by.
    pub fn new(client_id: Option<&str>) -> Exchange {
        Exchange {
            client_id: client_id.map(str::to_owned),
            next_correlation_id: 0,
            outgoing: Vec::new(),
            pending: VecDeque::new(),
            cutter: FrameCutter::new(ANSWER_BYTES_MAX),
        }
    }

    /// Queues a request and returns the correlation id of its answer. `version` is one that both
    /// sides have (see `versions`). The body, records included, is below `i32::MAX` bytes.
    ///
    /// # Errors
    /// [`ExchangeFault::Full`].
    pub fn send<Q: Request>(&mut self, version: i16, body: &Q) -> Result<i32, ExchangeFault> {
        if self.pending.len() >= IN_FLIGHT_MAX {
            return Err(ExchangeFault::Full);
        }
        let correlation_id = self.send_unanswered(version, body);
        self.pending.push_back(Pending {
            correlation_id,
            api: Q::API,
            version,
        });
        Ok(correlation_id)
    }

    /// Queues a request that the broker never answers: Produce with acks 0.
    pub fn send_unanswered<Q: Request>(&mut self, version: i16, body: &Q) -> i32 {
        let correlation_id = self.next_correlation_id;
        // Never negative, as in Kafka's own client.
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        let frame = RequestFrame::of(version, correlation_id, self.client_id.as_deref(), body);
        self.outgoing.extend(frame);
        correlation_id
    }

    /// All bytes to send, in order; they count as sent.
    pub fn take_outgoing(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.outgoing)
    }

    /// Takes the next bytes from the broker.
    pub fn feed(&mut self, chunk: Bytes) {
        self.cutter.feed(chunk);
    }

    /// The answer to the oldest request, if all of it has arrived.
    ///
    /// # Errors
    /// Bytes that are no answer to it; the exchange is over then.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, ExchangeFault> {
        let Some(frame) = self.cutter.next_frame().map_err(ExchangeFault::Frame)? else {
            return Ok(None);
        };
        let came = Reader::new(&frame).i32().map_err(ExchangeFault::Decode)?;
        let Some(pending) = self.pending.pop_front() else {
            return Err(ExchangeFault::Unasked(came));
        };
        if came != pending.correlation_id {
            let expected = pending.correlation_id;
            return Err(ExchangeFault::OutOfOrder { expected, came });
        }
        Ok(Some(Answer {
            correlation_id: came,
            api: pending.api,
            version: pending.version,
            frame,
        }))
    }

    /// Requests that wait for their answers.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }
}

impl Answer {
    /// Decodes the body; `M` is the response of the request that was sent.
    pub fn read<M: Message>(&self) -> Result<M, ExchangeFault> {
        debug_assert_eq!(M::API.key, self.api.key, "{}", M::NAME);
        self.read_at(self.version)
    }

    /// Decodes the answer to ApiVersions, which comes in version 0 when the broker does not know
    /// the version asked for (KIP-511).
    pub fn read_api_versions(&self) -> Result<ApiVersionsResponse, ExchangeFault> {
        let mut reader = Reader::new(&self.frame);
        let error_code = reader.i32().and_then(|_| reader.i16());
        match error_code.map_err(ExchangeFault::Decode)? {
            code if code == ErrorCode::UNSUPPORTED_VERSION.0 => self.read_at(0),
            _ => self.read(),
        }
    }

    fn read_at<M: Message>(&self, version: i16) -> Result<M, ExchangeFault> {
        let mut reader = Reader::new(&self.frame);
        ResponseHeader::read(&mut reader, M::API, version).map_err(ExchangeFault::Decode)?;
        M::read(&mut reader, version).map_err(ExchangeFault::Decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ApiKey;
    use crate::wire::frame::ResponseFrame;
    use crate::wire::header::RequestHeader;
    use crate::wire::messages::{ApiVersionsRequest, MetadataRequest, MetadataResponse};

    fn answer<M: Message>(version: i16, correlation_id: i32, body: &M) -> Bytes {
        Bytes::from(ResponseFrame::of(version, correlation_id, body).concat())
    }

    #[test]
    fn requests_leave_in_order_with_the_client_id_and_rising_correlation_ids() {
        let mut exchange = Exchange::new(Some("me"));
        assert_eq!(exchange.send(12, &MetadataRequest::default()), Ok(0));
        assert_eq!(exchange.send(9, &MetadataRequest::default()), Ok(1));
        let mut cutter = FrameCutter::new(1024);
        for part in exchange.take_outgoing() {
            cutter.feed(part);
        }
        for (version, correlation_id) in [(12, 0), (9, 1)] {
            let frame = cutter.next_frame().unwrap().unwrap();
            let header = RequestHeader::read(&mut Reader::new(&frame)).unwrap();
            assert_eq!(header.api.key, ApiKey::METADATA);
            let said = (header.version, header.correlation_id);
            assert_eq!(said, (version, correlation_id));
            assert_eq!(header.client_id.as_deref(), Some("me"));
        }
        assert!(exchange.take_outgoing().is_empty());
        assert_eq!(exchange.in_flight(), 2);
    }

    #[test]
    fn answers_are_read_at_the_version_of_their_request_however_they_are_cut() {
        let mut exchange = Exchange::new(None);
        exchange.send(12, &MetadataRequest::default()).unwrap();
        exchange.send(8, &MetadataRequest::default()).unwrap();
        let sent = MetadataResponse::default();
        let bytes = [answer(12, 0, &sent), answer(8, 1, &sent)].concat();
        let mut read = Vec::new();
        for byte in bytes {
            exchange.feed(Bytes::copy_from_slice(&[byte]));
            if let Some(answer) = exchange.next_answer().unwrap() {
                assert_eq!(answer.read::<MetadataResponse>(), Ok(sent.clone()));
                read.push((answer.correlation_id, answer.version));
            }
        }
        assert_eq!(read, [(0, 12), (1, 8)]);
        assert_eq!(exchange.in_flight(), 0);
    }

    #[test]
    fn an_answer_that_is_not_the_oldest_ones_ends_the_exchange() {
        let mut exchange = Exchange::new(None);
        exchange.feed(answer(12, 5, &MetadataResponse::default()));
        assert_eq!(
            exchange.next_answer().unwrap_err(),
            ExchangeFault::Unasked(5)
        );
        let mut exchange = Exchange::new(None);
        exchange.send(12, &MetadataRequest::default()).unwrap();
        exchange.feed(answer(12, 1, &MetadataResponse::default()));
        let fault = ExchangeFault::OutOfOrder {
            expected: 0,
            came: 1,
        };
        assert_eq!(exchange.next_answer().unwrap_err(), fault);
    }

    #[test]
    fn a_broker_of_the_past_answers_api_versions_in_version_0() {
        let mut exchange = Exchange::new(None);
        exchange.send(4, &ApiVersionsRequest::default()).unwrap();
        let sent = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            ..ApiVersionsResponse::default()
        };
        exchange.feed(answer(0, 0, &sent));
        let answer = exchange.next_answer().unwrap().unwrap();
        assert_eq!(answer.read_api_versions(), Ok(sent));
    }

    #[test]
    fn a_request_without_an_answer_leaves_nothing_pending() {
        let mut exchange = Exchange::new(None);
        exchange.send_unanswered(12, &MetadataRequest::default());
        assert_eq!(exchange.in_flight(), 0);
        assert_eq!(exchange.send(12, &MetadataRequest::default()), Ok(1));
    }

    #[test]
    fn no_more_than_the_bound_is_in_flight() {
        let mut exchange = Exchange::new(None);
        for _ in 0..IN_FLIGHT_MAX {
            exchange.send(12, &MetadataRequest::default()).unwrap();
            exchange.take_outgoing();
        }
        let one_more = exchange.send(12, &MetadataRequest::default());
        assert_eq!(one_more, Err(ExchangeFault::Full));
    }
}
