//! Connections of a simulated world: byte pipes in memory between clients and machines.
//!
//! Owns both directions of every connection. Bytes keep their order and are cut anywhere; each
//! connection that a machine was told of ends in one `Closed`, after which it hears nothing of it.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};

use super::{Happening, World};
use crate::devices::{ConnectionId, Event, PeerId};
use crate::words::limits::LINGER_MS;

/// A client's end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientEnd(pub(super) ConnectionId);

/// What a client sees of its connection, apart from bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientState {
    Open,
    /// The machine closed in order: everything it queued has arrived.
    Ended,
    /// Broken off; bytes may be lost.
    Reset,
}

pub(super) struct Pipe {
    machine: PeerId,
    /// The machine was told.
    accepted: bool,
    /// `Closed` was told, or nobody is there to hear it.
    over: bool,
    inbound: BytesMut,
    /// The client has said everything.
    finished: bool,
    paused: bool,
    /// A step in that direction is on the agenda.
    inbound_set: bool,
    outbound: VecDeque<Bytes>,
    outbound_set: bool,
    close_after_send: bool,
    pub(super) received: BytesMut,
    state: ClientState,
    /// The client does not read: its side takes a socket's worth and no more.
    holding: bool,
}

impl Pipe {
    pub(super) fn is_of(&self, machine: PeerId) -> bool {
        self.machine == machine
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.outbound.iter().map(Bytes::len).sum()
    }

    /// The machine's side is gone.
    pub(super) fn break_off(&mut self) {
        self.over = true;
        self.outbound.clear();
        self.inbound.clear();
        if self.state == ClientState::Open {
            self.state = ClientState::Reset;
        }
    }

    /// Takes up to `count` bytes from the front of what is queued for the client.
    fn take_outbound(&mut self, count: usize) -> usize {
        let mut left = count;
        while left > 0
            && let Some(front) = self.outbound.front_mut()
        {
            let part = front.split_to(front.len().min(left));
            left -= part.len();
            self.received.extend_from_slice(&part);
            if !front.has_remaining() {
                self.outbound.pop_front();
            }
        }
        count - left
    }
}

impl<M: fmt::Debug + 'static> World<M> {
    /// Connects a client to a machine. A machine that does not accept resets it.
    pub fn connect(&mut self, machine: PeerId) -> ClientEnd {
        let id = ConnectionId(self.serial());
        self.pipes.insert(
            id,
            Pipe {
                machine,
                accepted: false,
                over: false,
                inbound: BytesMut::new(),
                finished: false,
                paused: false,
                inbound_set: false,
                outbound: VecDeque::new(),
                outbound_set: false,
                close_after_send: false,
                received: BytesMut::new(),
                state: ClientState::Open,
                holding: false,
            },
        );
        self.set_inbound(id);
        ClientEnd(id)
    }

    /// Sends bytes to the machine; into nowhere when the connection is over.
    pub fn send(&mut self, end: ClientEnd, data: &[u8]) {
        self.digest.bytes(data);
        if let Some(pipe) = self.pipes.get_mut(&end.0)
            && !pipe.over
            && !pipe.finished
        {
            pipe.inbound.extend_from_slice(data);
            self.set_inbound(end.0);
        }
    }

    /// What has arrived from the machine since the last call.
    pub fn take_received(&mut self, end: ClientEnd) -> Bytes {
        let Some(pipe) = self.pipes.get_mut(&end.0) else {
            return Bytes::new();
        };
        let data = pipe.received.split().freeze();
        if !data.is_empty() {
            self.set_outbound(end.0);
        }
        data
    }

    /// Clients forget connections that are over.
    pub fn forget_closed(&mut self) {
        self.pipes.retain(|_, pipe| !pipe.over);
    }

    pub fn client_state(&self, end: ClientEnd) -> ClientState {
        let pipe = self.pipes.get(&end.0);
        pipe.map_or(ClientState::Reset, |pipe| pipe.state)
    }

    /// The client has nothing more to say and listens no more; what it sent arrives.
    pub fn close(&mut self, end: ClientEnd) {
        if let Some(pipe) = self.pipes.get_mut(&end.0) {
            pipe.finished = true;
            if pipe.state == ClientState::Open {
                pipe.state = ClientState::Ended;
            }
            self.set_inbound(end.0);
        }
    }

    /// The client breaks off: what it sent and has not arrived is lost.
    pub fn reset(&mut self, end: ClientEnd) {
        if let Some(pipe) = self.pipes.get_mut(&end.0) {
            pipe.finished = true;
            pipe.paused = false;
            pipe.inbound.clear();
            pipe.outbound.clear();
            pipe.state = ClientState::Reset;
            self.set_inbound(end.0);
        }
    }

    /// With `hold` the client does not read: the machine can send a socket's worth and no more.
    pub fn hold_reading(&mut self, end: ClientEnd, hold: bool) {
        if let Some(pipe) = self.pipes.get_mut(&end.0) {
            pipe.holding = hold;
            self.set_outbound(end.0);
        }
    }

    fn set_inbound(&mut self, id: ConnectionId) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        if !pipe.over && !std::mem::replace(&mut pipe.inbound_set, true) {
            let delay = self.delay(&self.settings.pace.network_ns.clone());
            let at = self.agenda.now_ns().saturating_add(delay);
            self.plan(at, Happening::ToMachine(id));
        }
    }

    fn set_outbound(&mut self, id: ConnectionId) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        let waits = !pipe.outbound.is_empty() || pipe.close_after_send;
        if waits && !pipe.over && !std::mem::replace(&mut pipe.outbound_set, true) {
            let delay = self.delay(&self.settings.pace.network_ns.clone());
            let at = self.agenda.now_ns().saturating_add(delay);
            self.plan(at, Happening::ToClient(id));
        }
    }

    /// The machine accepts, or receives the next piece, or learns of the end.
    pub(super) fn arrive_at_machine(&mut self, id: ConnectionId) {
        let longest = self.settings.pace.chunk_bytes;
        let crumbs = self.dice.once_in(self.settings.pace.crumbs_once_in);
        let cut = self.dice.roll(if crumbs { 16 } else { longest });
        let accepting = |machine: PeerId, world: &World<M>| {
            world
                .host(machine)
                .is_some_and(|host| host.accepting && host.machine.is_some())
        };
        let Some(machine) = self.pipes.get(&id).map(|pipe| pipe.machine) else {
            return;
        };
        let accepts = accepting(machine, self);
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        pipe.inbound_set = false;
        if pipe.over {
            return;
        }
        if !pipe.accepted {
            if !accepts {
                pipe.break_off();
                self.news = true;
                return;
            }
            pipe.accepted = true;
            let port = u16::try_from(id.0 % 50_000)
                .unwrap_or(0)
                .saturating_add(1024);
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            self.deliver(
                machine,
                Event::Accepted {
                    connection: id,
                    peer,
                },
            );
            self.set_inbound(id);
            return;
        }
        if pipe.paused {
            return;
        }
        if pipe.close_after_send {
            pipe.inbound.clear();
        }
        if pipe.inbound.is_empty() {
            if pipe.finished {
                self.end_of_connection(id);
            }
            return;
        }
        let len = usize::try_from(cut).unwrap_or(0).saturating_add(1);
        let data = pipe.inbound.split_to(len.min(pipe.inbound.len())).freeze();
        self.deliver(
            machine,
            Event::Received {
                connection: id,
                data,
            },
        );
        self.set_inbound(id);
    }

    /// Some of what the machine queued reaches the client.
    pub(super) fn arrive_at_client(&mut self, id: ConnectionId) {
        let room_max = self.settings.pace.socket_bytes;
        let cut = self.dice.roll(2 * room_max as u64);
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        pipe.outbound_set = false;
        if pipe.over {
            return;
        }
        if pipe.outbound.is_empty() {
            if pipe.close_after_send && pipe.state == ClientState::Open {
                pipe.state = ClientState::Ended;
                self.news = true;
                let patience = u64::try_from(LINGER_MS).unwrap_or(0) * 1_000_000;
                let at = self.agenda.now_ns().saturating_add(patience);
                self.plan(at, Happening::LingerOver(id));
            }
            return;
        }
        if pipe.finished {
            // Sending to a client that has hung up.
            self.end_of_connection(id);
            return;
        }
        let room = match pipe.holding {
            true => room_max.saturating_sub(pipe.received.len()),
            false => usize::MAX,
        };
        let len = usize::try_from(cut)
            .unwrap_or(0)
            .saturating_add(1)
            .min(room);
        let bytes = pipe.take_outbound(len);
        if bytes > 0 {
            self.news = true;
            let machine = pipe.machine;
            self.deliver(
                machine,
                Event::Sent {
                    connection: id,
                    bytes,
                },
            );
            self.set_outbound(id);
        }
    }

    /// Tells the machine, once, that a connection is over.
    pub(super) fn end_of_connection(&mut self, id: ConnectionId) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        if pipe.over {
            return;
        }
        pipe.break_off();
        self.news = true;
        let machine = pipe.machine;
        self.deliver(machine, Event::Closed { connection: id });
    }

    /// The machine's connection, unless its end is on its way to it.
    fn open_pipe(&mut self, id: ConnectionId) -> Option<&mut Pipe> {
        self.pipes.get_mut(&id).filter(|pipe| !pipe.over)
    }

    pub(super) fn send_parts(&mut self, id: ConnectionId, parts: Vec<Bytes>) {
        if let Some(pipe) = self.open_pipe(id)
            && !pipe.close_after_send
        {
            pipe.outbound
                .extend(parts.into_iter().filter(|part| !part.is_empty()));
            self.set_outbound(id);
        }
    }

    pub(super) fn close_after_send(&mut self, id: ConnectionId) {
        if let Some(pipe) = self.open_pipe(id) {
            pipe.close_after_send = true;
            // Whatever the client still says is thrown away, until it hangs up.
            pipe.paused = false;
            self.set_outbound(id);
            self.set_inbound(id);
        }
    }

    pub(super) fn close_by_machine(&mut self, id: ConnectionId) {
        self.end_of_connection(id);
    }

    pub(super) fn pause(&mut self, id: ConnectionId, pause: bool) {
        if let Some(pipe) = self.open_pipe(id) {
            pipe.paused = pause && !pipe.close_after_send;
            if !pause {
                self.set_inbound(id);
            }
        }
    }
}
