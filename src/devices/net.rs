//! Connections of one shard: accepting, receiving, sending, closing.
//!
//! Owns the listener and every accepted socket. A connection is *accepted*, perhaps *lingering*
//! (all is sent, what the peer still says is thrown away), then *closing* (its socket is shut down
//! and its operations come home), then gone: its `Closed` is told only when the kernel holds
//! nothing of it any more. Memory on its way to the kernel stays here until then.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bytes::{Buf, Bytes};
use io_uring::{opcode, types};

use super::ring::{Completion, RECEIVE_GROUP, Ring, Tag};
use super::slots::Slots;
use super::{ConnectionId, Event};
use crate::words::limits::{ACCEPT_BACKLOG, CONNECTIONS_PER_SHARD_MAX, LINGER_MS, SEND_PARTS_MAX};
use crate::words::{Deadline, Now};

/// Low bits of a [`ConnectionId`]: the slot; above them a serial number that never repeats.
const SLOT_BITS: u32 = 20;
const _: () = assert!(CONNECTIONS_PER_SHARD_MAX < 1 << SLOT_BITS);

/// Opens a listener as [`Net`] wants it: address reusable at once after a restart, long backlog.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR; its backlog is short, listening again moves it.
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, ACCEPT_BACKLOG)?;
    Ok(listener)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Receive {
    Idle,
    Armed,
    /// Armed, and its cancellation is on its way.
    Ending,
}

/// What a vectored send points the kernel to; boxed, so that it stays where it is.
struct Gather {
    header: libc::msghdr,
    vectors: Vec<libc::iovec>,
}

struct Connection {
    id: ConnectionId,
    socket: OwnedFd,
    receive: Receive,
    /// Cleared by `PauseReceive`.
    wants_data: bool,
    /// Not yet taken by the kernel; while `sending`, the front parts are in its hands.
    queue: VecDeque<Bytes>,
    sending: bool,
    /// On the list of connections to look at before the next submission.
    listed: bool,
    close_after_send: bool,
    lingering: bool,
    closing: bool,
    gather: Box<Gather>,
}

pub(super) struct Net {
    listener: Option<TcpListener>,
    accepting: bool,
    stop_accepting: bool,
    /// Accepting failed for want of descriptors or memory: pause before the next attempt.
    accept_later: bool,
    connections: Slots<Connection>,
    serial: u64,
    /// Slots with something to start: a receive, a send, a close.
    attention: Vec<u32>,
    /// Connections that linger, in the order in which their patience ends.
    lingering: VecDeque<(Deadline, ConnectionId)>,
}

impl Net {
    pub(super) fn new(listener: Option<TcpListener>) -> Net {
        Net {
            listener,
            accepting: false,
            stop_accepting: false,
            accept_later: false,
            connections: Slots::new(),
            serial: 0,
            attention: Vec::new(),
            lingering: VecDeque::new(),
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// True when accepting waits for better times; [`Net::accept_again`] ends the wait.
    pub(super) fn accept_waits(&self) -> bool {
        self.accept_later && !self.stop_accepting
    }

    pub(super) fn accept_again(&mut self) {
        self.accept_later = false;
    }

    /// Queues on the ring whatever has become due since the last call.
    pub(super) fn start_due<M>(&mut self, now: Now, ring: &mut Ring, events: &mut Vec<Event<M>>) {
        self.arm_accept(ring);
        self.end_lingering(now);
        while let Some(slot) = self.attention.pop() {
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            connection.listed = false;
            if connection.start_due(slot, ring) {
                let patience = (now.after_ms(LINGER_MS), connection.id);
                self.lingering.push_back(patience);
            }
            if connection.is_over() {
                let id = connection.id;
                self.connections.remove(slot);
                events.push(Event::Closed { connection: id });
            }
        }
    }

    /// When the patience with the first lingering connection ends.
    pub(super) fn linger_deadline(&self) -> Option<Deadline> {
        self.lingering.front().map(|(deadline, _)| *deadline)
    }

    /// Closes what has lingered long enough. One that went before is not found any more.
    fn end_lingering(&mut self, now: Now) {
        while let Some((deadline, id)) = self.lingering.front().copied() {
            if !now.reached(deadline) {
                return;
            }
            self.lingering.pop_front();
            self.with(id, Connection::begin_close);
        }
    }

    fn arm_accept(&mut self, ring: &mut Ring) {
        let Some(listener) = &self.listener else {
            return;
        };
        if self.stop_accepting {
            if !self.accepting {
                self.listener = None;
            }
            return;
        }
        if self.accepting || self.accept_later {
            return;
        }
        let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(Tag::Accept.with(0));
        // SAFETY: the operation points to no memory; the listener stays open until it ended.
        unsafe { ring.push(entry) };
        self.accepting = true;
    }

    pub(super) fn stop_accepting(&mut self, ring: &mut Ring) {
        if !self.stop_accepting && self.accepting {
            ring.cancel(Tag::Accept.with(0));
        }
        self.stop_accepting = true;
    }

    pub(super) fn accepted<M>(&mut self, done: Completion, events: &mut Vec<Event<M>>) {
        if !done.more {
            self.accepting = false;
        }
        let error = match done.outcome() {
            Ok(_) => {
                // SAFETY: the kernel just made this descriptor for us; nobody else has it.
                let socket = unsafe { OwnedFd::from_raw_fd(done.result) };
                self.welcome(socket, events);
                return;
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::ECANCELED | libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) => {}
            _ => {
                // EMFILE, ENFILE, ENOBUFS, ENOMEM and the unforeseen: an attempt at once would
                // fail again; the kernel's backlog keeps the callers.
                tracing::warn!(%error, "cannot accept connections for the moment");
                self.accept_later = true;
            }
        }
    }

    fn welcome<M>(&mut self, socket: OwnedFd, events: &mut Vec<Event<M>>) {
        if self.stop_accepting || self.connections.len() >= CONNECTIONS_PER_SHARD_MAX {
            return;
        }
        // A peer that has gone again already has no name; dropping its socket is all it needs.
        let Some(peer) = peer_of(&socket) else {
            return;
        };
        if rustix::net::sockopt::set_tcp_nodelay(&socket, true).is_err() {
            return;
        }
        let Some(slot) = self.connections.next() else {
            return;
        };
        self.serial += 1;
        let id = ConnectionId((self.serial << SLOT_BITS) | u64::from(slot));
        let connection = Connection::new(id, socket);
        if self.connections.insert(connection).is_ok() {
            events.push(Event::Accepted {
                connection: id,
                peer,
            });
            self.attention.push(slot);
        }
    }

    pub(super) fn received<M>(
        &mut self,
        done: Completion,
        ring: &mut Ring,
        events: &mut Vec<Event<M>>,
    ) {
        let outcome = done.outcome();
        if let (Some(buffer), Ok(len)) = (done.buffer, &outcome) {
            let wanted = self.connections.get_mut(done.slot).filter(|c| c.listens());
            if let Some(connection) = wanted.filter(|_| *len > 0) {
                events.push(Event::Received {
                    connection: connection.id,
                    data: Bytes::copy_from_slice(ring.received(buffer, *len)),
                });
            }
        }
        if let Some(buffer) = done.buffer {
            ring.recycle(buffer);
        }
        let Some(connection) = self.connections.get_mut(done.slot) else {
            return;
        };
        if done.more {
            return;
        }
        connection.receive = Receive::Idle;
        match outcome {
            // The peer has nothing more to say: for Kafka that is the end of the connection.
            Ok(0) => connection.begin_close(),
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // Out of buffers: they are all back before the next submission.
                Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
                _ => connection.begin_close(),
            },
        }
        connection.attend(done.slot, &mut self.attention);
    }

    pub(super) fn sent<M>(&mut self, done: Completion, events: &mut Vec<Event<M>>) {
        let Some(connection) = self.connections.get_mut(done.slot) else {
            return;
        };
        connection.sending = false;
        match done.outcome() {
            Ok(count) => {
                let bytes = connection.advance(count as usize);
                if bytes > 0 && !connection.closing {
                    events.push(Event::Sent {
                        connection: connection.id,
                        bytes,
                    });
                }
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {}
                _ => connection.begin_close(),
            },
        }
        connection.attend(done.slot, &mut self.attention);
    }

    pub(super) fn send(&mut self, id: ConnectionId, parts: Vec<Bytes>) {
        self.with(id, |connection| {
            if !connection.close_after_send {
                connection
                    .queue
                    .extend(parts.into_iter().filter(|part| !part.is_empty()));
            }
        });
    }

    pub(super) fn close_after_send(&mut self, id: ConnectionId) {
        self.with(id, |connection| connection.close_after_send = true);
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        self.with(id, Connection::begin_close);
    }

    pub(super) fn pause(&mut self, id: ConnectionId, ring: &mut Ring) {
        let slot = slot_of(id);
        self.with(id, |connection| {
            connection.wants_data = false;
            if connection.receive == Receive::Armed {
                connection.receive = Receive::Ending;
                ring.cancel(Tag::Receive.with(slot));
            }
        });
    }

    pub(super) fn resume(&mut self, id: ConnectionId) {
        self.with(id, |connection| connection.wants_data = true);
    }

    /// A machine may speak of a connection whose `Closed` is still on its way to it: then nothing
    /// happens.
    fn with(&mut self, id: ConnectionId, action: impl FnOnce(&mut Connection)) {
        let slot = slot_of(id);
        let known = self
            .connections
            .get_mut(slot)
            .filter(|c| c.id == id && !c.closing);
        if let Some(connection) = known {
            action(connection);
            connection.attend(slot, &mut self.attention);
        }
    }
}

fn slot_of(id: ConnectionId) -> u32 {
    u32::try_from(id.0 & ((1 << SLOT_BITS) - 1)).unwrap_or(u32::MAX)
}

fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    let address = rustix::net::getpeername(socket).ok()??;
    SocketAddr::try_from(address).ok()
}

impl Connection {
    fn new(id: ConnectionId, socket: OwnedFd) -> Connection {
        // SAFETY: all zeros is a valid msghdr: null pointers with lengths of zero.
        let header: libc::msghdr = unsafe { std::mem::zeroed() };
        Connection {
            id,
            socket,
            receive: Receive::Idle,
            wants_data: true,
            queue: VecDeque::new(),
            sending: false,
            listed: true,
            close_after_send: false,
            lingering: false,
            closing: false,
            gather: Box::new(Gather {
                header,
                vectors: Vec::new(),
            }),
        }
    }

    /// Received bytes still interest the machine.
    fn listens(&self) -> bool {
        !self.closing && !self.close_after_send
    }

    fn is_over(&self) -> bool {
        self.closing && self.receive == Receive::Idle && !self.sending
    }

    fn attend(&mut self, slot: u32, attention: &mut Vec<u32>) {
        if !std::mem::replace(&mut self.listed, true) {
            attention.push(slot);
        }
    }

    /// After this the operations in flight end by themselves, and nothing new starts.
    fn begin_close(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            // Refused when the peer reset the connection; then the operations end as well.
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        }
    }

    /// Starts what is due; true when from now on the connection lingers.
    fn start_due(&mut self, slot: u32, ring: &mut Ring) -> bool {
        if self.closing {
            return false;
        }
        let all_sent = self.queue.is_empty() && !self.sending;
        let lingers = self.close_after_send && all_sent && !self.lingering;
        if lingers {
            self.lingering = true;
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        }
        if self.receive == Receive::Idle && (self.wants_data || self.close_after_send) {
            // A connection that says its last words reads on, into the void, until the peer has
            // heard them and hangs up: data that comes to a closed socket, or is unread at the
            // close, makes the kernel reset the connection, and the peer may lose those words.
            let fd = types::Fd(self.socket.as_raw_fd());
            let entry = opcode::RecvMulti::new(fd, RECEIVE_GROUP).build();
            // SAFETY: the kernel writes to buffers lent by the ring, which outlive the operation.
            unsafe { ring.push(entry.user_data(Tag::Receive.with(slot))) };
            self.receive = Receive::Armed;
        }
        if !self.sending && !self.queue.is_empty() {
            self.start_send(slot, ring);
        }
        lingers
    }

    fn start_send(&mut self, slot: u32, ring: &mut Ring) {
        let gather = &mut *self.gather;
        gather.vectors.clear();
        gather.vectors.extend(
            self.queue
                .iter()
                .take(SEND_PARTS_MAX)
                .map(|part| libc::iovec {
                    iov_base: part.as_ptr().cast_mut().cast(),
                    iov_len: part.len(),
                }),
        );
        gather.header.msg_iov = gather.vectors.as_mut_ptr();
        gather.header.msg_iovlen = gather.vectors.len();
        let fd = types::Fd(self.socket.as_raw_fd());
        let flags = libc::MSG_NOSIGNAL.unsigned_abs();
        let entry = opcode::SendMsg::new(fd, &gather.header)
            .flags(flags)
            .build();
        // SAFETY: header and vectors are boxed and not touched while `sending`; the parts stay in
        // `queue`, which only `advance` shortens, after the completion. A connection is removed
        // only when it does not send.
        unsafe { ring.push(entry.user_data(Tag::Send.with(slot))) };
        self.sending = true;
    }

    /// Takes `count` bytes off the queue; returns how many were there to take.
    fn advance(&mut self, count: usize) -> usize {
        let mut left = count;
        while left > 0 {
            let Some(front) = self.queue.front_mut() else {
                break;
            };
            if front.len() > left {
                front.advance(left);
                left = 0;
            } else {
                left -= front.len();
                self.queue.pop_front();
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > SEND_PARTS_MAX {
            // A burst is over: an idle connection should not keep its room.
            self.queue = VecDeque::new();
            self.gather.vectors = Vec::new();
        }
        count - left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_pauses_accepting_and_keeps_the_listener() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut net = Net::new(Some(listener));
        let failed = |errno: i32, more| Completion {
            tag: Tag::Accept,
            slot: 0,
            result: -errno,
            more,
            buffer: None,
        };
        let mut events: Vec<Event<()>> = Vec::new();
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            net.accepting = true;
            net.accepted(failed(errno, false), &mut events);
            assert!(net.accept_waits() && !net.accepting && net.listener.is_some());
            net.accept_again();
        }
        net.accepted(failed(libc::ECONNABORTED, false), &mut events);
        assert!(
            !net.accept_waits(),
            "a caller that hung up is no reason to pause"
        );
        assert!(events.is_empty());
    }

    #[test]
    fn an_id_tells_its_slot_and_a_stale_one_reaches_nobody() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut net = Net::new(None);
        let id = ConnectionId(5 << SLOT_BITS);
        assert!(
            net.connections
                .insert(Connection::new(id, ours.into()))
                .is_ok()
        );
        net.send(ConnectionId(4 << SLOT_BITS), vec![Bytes::from_static(b"x")]);
        net.send(
            ConnectionId((5 << SLOT_BITS) | 1),
            vec![Bytes::from_static(b"x")],
        );
        let connection = net.connections.get_mut(slot_of(id)).unwrap();
        assert!(connection.queue.is_empty());
        net.send(
            id,
            vec![
                Bytes::from_static(b"abc"),
                Bytes::new(),
                Bytes::from_static(b"de"),
            ],
        );
        let connection = net.connections.get_mut(slot_of(id)).unwrap();
        assert_eq!(
            connection.queue.len(),
            2,
            "an empty part is nothing to send"
        );
        assert_eq!(connection.advance(4), 4);
        assert_eq!(
            connection.queue.front().map(|part| &part[..]),
            Some(&b"e"[..])
        );
        assert_eq!(connection.advance(9), 1, "never more than was queued");
    }
}
