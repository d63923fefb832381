//! One blocking connection to one broker.
//!
//! Owns the socket, its time-outs and the broker's versions. The only place of `client/` that
//! touches a socket. A connection that failed stays failed: drop it and open another.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::exchange::{Answer, Exchange, ExchangeFault};
use super::versions::Versions;
use super::{Address, ClientError, Refusal};
use crate::wire::messages::ApiVersionsRequest;
use crate::wire::messages::ApiVersionsResponse;
use crate::wire::{ApiKey, ErrorCode, KStr, Message, Request};

/// Bytes of one read from the socket.
const READ_BYTES: usize = 128 * 1024;
/// Parts of one vectored write; Linux takes 1024.
const WRITE_PARTS_MAX: usize = 64;

/// See the head of the file.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    stream: TcpStream,
    exchange: Exchange,
    versions: Versions,
    /// How long a call may take in all.
    timeout: Duration,
}

impl Connection {
    /// Connects, and asks the broker for its versions.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], or what the first question ran into.
    pub fn open(
        address: &Address,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Connection, ClientError> {
        let stream = connect(address, timeout).map_err(|cause| ClientError::Unreachable {
            addresses: vec![address.clone()],
            cause: words_of(&cause),
        })?;
        let mut connection = Connection {
            address: address.clone(),
            stream,
            exchange: Exchange::new(Some(client_id)),
            versions: Versions::default(),
            timeout,
        };
        // Answers are small and waited for: no delaying for more bytes to come.
        let no_delay = connection.stream.set_nodelay(true);
        no_delay.map_err(|cause| connection.closed("the connection", &cause))?;
        connection.negotiate()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: KStr::from_static("ottla"),
            client_software_version: KStr::from_static(env!("CARGO_PKG_VERSION")),
        };
        let mut answer = self.ask_versions(ApiVersionsRequest::API.version_max, &request)?;
        if answer.error_code == ErrorCode::UNSUPPORTED_VERSION {
            let version = Versions::of(&answer).choose(ApiVersionsRequest::API, i16::MAX);
            answer = self.ask_versions(version.unwrap_or(0), &request)?;
        }
        if !answer.error_code.is_none() {
            let refusal = Refusal::of(answer.error_code, "ApiVersions", None);
            return Err(ClientError::Refused(refusal));
        }
        self.versions = Versions::of(&answer);
        Ok(())
    }

    fn ask_versions(
        &mut self,
        version: i16,
        request: &ApiVersionsRequest,
    ) -> Result<ApiVersionsResponse, ClientError> {
        let sent = self.exchange.send(version, request);
        sent.map_err(|fault| self.protocol(fault))?;
        self.transmit()?;
        let answer = self.receive("ApiVersions", Instant::now() + self.timeout)?;
        let answer = answer.read_api_versions();
        answer.map_err(|fault| self.protocol(fault))
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The version for a request of type `Q`: the highest that both sides have, at most `cap`.
    pub fn version_of<Q: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        let chosen = self.versions.choose(Q::API, cap);
        chosen.ok_or_else(|| ClientError::NoVersion {
            address: self.address.clone(),
            api: Q::API.name,
        })
    }

    pub fn offers(&self, key: ApiKey) -> bool {
        key.row()
            .is_some_and(|api| self.versions.choose(api, i16::MAX).is_some())
    }

    /// Sends a request and waits for its answer. Not while others are in flight.
    pub fn call<Q: Request>(&mut self, body: &Q) -> Result<Q::Response, ClientError> {
        self.call_at(self.version_of::<Q>(i16::MAX)?, body)
    }

    /// As [`Connection::call`], in a version chosen before.
    pub fn call_at<Q: Request>(
        &mut self,
        version: i16,
        body: &Q,
    ) -> Result<Q::Response, ClientError> {
        debug_assert_eq!(self.exchange.in_flight(), 0);
        self.send(version, body)?;
        let deadline = Instant::now() + self.timeout;
        self.receive_as::<Q::Response>(deadline)
    }

    /// Sends a request without waiting.
    pub fn send<Q: Request>(&mut self, version: i16, body: &Q) -> Result<i32, ClientError> {
        let sent = self.exchange.send(version, body);
        let correlation_id = sent.map_err(|fault| self.protocol(fault))?;
        self.transmit()?;
        Ok(correlation_id)
    }

    /// Sends a request that is never answered: Produce with acks 0.
    pub fn send_unanswered<Q: Request>(
        &mut self,
        version: i16,
        body: &Q,
    ) -> Result<(), ClientError> {
        self.exchange.send_unanswered(version, body);
        self.transmit()
    }

    /// Waits for the oldest answer and decodes it.
    pub fn receive_as<R: Message>(&mut self, deadline: Instant) -> Result<R, ClientError> {
        let answer = self.receive(R::API.name, deadline)?;
        answer.read::<R>().map_err(|fault| self.protocol(fault))
    }

    /// Waits until `deadline` for the oldest answer.
    pub fn receive(
        &mut self,
        waiting_for: &'static str,
        deadline: Instant,
    ) -> Result<Answer, ClientError> {
        loop {
            if let Some(answer) = self.arrived()? {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out(waiting_for));
            }
            self.read_some(waiting_for, left)?;
        }
    }

    /// The oldest answer, if all of it has been read from the socket already.
    pub fn arrived(&mut self) -> Result<Option<Answer>, ClientError> {
        let answer = self.exchange.next_answer();
        answer.map_err(|fault| self.protocol(fault))
    }

    /// Reads once what the socket holds, waiting at most `wait` for the first byte.
    pub fn read_some(
        &mut self,
        waiting_for: &'static str,
        wait: Duration,
    ) -> Result<(), ClientError> {
        let mut chunk = BytesMut::zeroed(READ_BYTES);
        // Zero would be taken for "without end".
        let timeout = Some(wait.max(Duration::from_millis(1)));
        let set = self.stream.set_read_timeout(timeout);
        set.map_err(|cause| self.closed(waiting_for, &cause))?;
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(self.closed(waiting_for, &ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                chunk.truncate(read);
                self.exchange.feed(chunk.freeze());
                Ok(())
            }
            Err(cause) if is_timeout(&cause) => Err(self.timed_out(waiting_for)),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => Ok(()),
            Err(cause) => Err(self.closed(waiting_for, &cause)),
        }
    }

    /// Requests that wait for their answers.
    pub fn in_flight(&self) -> usize {
        self.exchange.in_flight()
    }

    /// Turns an answer that makes no sense into an error of this connection.
    pub fn protocol(&self, fault: ExchangeFault) -> ClientError {
        ClientError::Protocol {
            address: self.address.clone(),
            fault,
        }
    }

    fn transmit(&mut self) -> Result<(), ClientError> {
        let set = self.stream.set_write_timeout(Some(self.timeout));
        let parts = self.exchange.take_outgoing();
        set.and_then(|()| write_all(&mut self.stream, &parts))
            .map_err(|cause| {
                if is_timeout(&cause) {
                    self.timed_out("a request")
                } else {
                    self.closed("a request", &cause)
                }
            })
    }

    fn timed_out(&self, waiting_for: &'static str) -> ClientError {
        ClientError::TimedOut {
            address: self.address.clone(),
            waiting_for,
            after_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn closed(&self, waiting_for: &'static str, cause: &io::Error) -> ClientError {
        ClientError::Closed {
            address: self.address.clone(),
            waiting_for,
            cause: words_of(cause),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Tries every address that the host resolves to.
fn connect(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let deadline = Instant::now() + timeout;
    for socket_address in (address.host.as_str(), address.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&socket_address, left) {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

fn write_all(stream: &mut TcpStream, parts: &[Bytes]) -> io::Result<()> {
    for parts in parts.chunks(WRITE_PARTS_MAX) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match stream.write_vectored(slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(())
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The cause without the number of the system's error.
fn words_of(cause: &io::Error) -> String {
    match cause.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset => "connection reset".to_owned(),
        ErrorKind::BrokenPipe => "connection closed".to_owned(),
        ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "timed out".to_owned(),
        _ => cause.to_string(),
    }
}

/// Which of the connections have something to read, waiting for the first. All of them, if the
/// system will not say: then reading finds out.
pub fn wait_readable(connections: &[&Connection], wait: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| PollFd::new(*connection, PollFlags::IN))
        .collect();
    let timeout = Timespec::try_from(wait).ok();
    match event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(Errno::INTR) => vec![false; connections.len()],
        Err(_) => vec![true; connections.len()],
    }
}
