//! The edge of a shard: connections come and go, frames become requests, answers go out in order,
//! and bad input costs the peer its connection and nobody else anything.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::api::cold::{self, Begun};
use crate::api::ports::Ports;
use crate::control::{ControlMessage, Token};
use crate::devices::{ConnectionId, Effect, Effects};
use crate::metadata::AdminRequest;
use crate::session::{
    AskPartition, FINAL_EPOCH, FetchAsk, PartitionRef, TOPIC_IDS_SINCE_VERSION, TopicRef,
};
use crate::shard::connection::{self, Connection, HeldBack, Origin, RequestNumber};
use crate::shard::connection_counts::ConnectionLimits;
use crate::shard::delete_records::Asker;
use crate::shard::{Life, Message, Shard, Timer};
use crate::wire::api_key::{ApiKey, Lane};
use crate::wire::codec::{DecodeFault, Reader};
use crate::wire::fetch::FetchRequest;
use crate::wire::frame::ResponseFrame;
use crate::wire::header::RequestHeader;
use crate::wire::message::Message as _;
use crate::wire::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use crate::wire::produce::ProduceRequest;
use crate::words::Now;
use crate::words::limits::{
    CONNECTION_UNSENT_BYTES_MAX, IDLE_CHECK_MS, IDLE_CHECK_MS_MIN, UNFINISHED_STALL_MS,
};

/// A request that waits for the control writer.
struct Waiting {
    connection: ConnectionId,
    request: RequestNumber,
    pending: cold::Pending,
}

/// Everything asked of the control writer and not answered.
#[derive(Default)]
pub struct Asked {
    open: HashMap<Token, Waiting>,
    next: u64,
}

/// Why a connection is closed on its peer.
#[derive(Clone, Copy)]
enum Offence {
    Decode(DecodeFault),
    NotServed(ApiKey, i16),
}

impl Shard {
    pub(super) fn accepted(
        &mut self,
        now: Now,
        id: ConnectionId,
        peer: SocketAddr,
        effects: &mut Effects<Message>,
    ) {
        let connection = Connection::new(id, peer, self.config.frame_bytes_max, now);
        if let Err(limit) = self.admit(connection.ip()) {
            let (open, here) = (self.connection_counts.open(), self.connections.len());
            tracing::info!(%peer, open, here, limit, "connection refused");
            effects.push(Effect::Close { connection: id });
            return;
        }
        self.connections.insert(id, connection);
    }

    /// Counts one more connection from an address, or names the limit that it would pass. The
    /// limits are the process's, so all shards count together.
    fn admit(&self, ip: IpAddr) -> Result<(), &'static str> {
        if self.life != Life::Serving {
            return Err("the broker is going");
        }
        let overrides = &self.settings.connections_per_ip_overrides;
        let own = match overrides.is_empty() {
            true => None,
            false => overrides.get(&ip.to_string()),
        };
        let limits = ConnectionLimits {
            all_max: self.config.connections_max,
            per_ip_max: *own.unwrap_or(&self.config.connections_per_ip_max),
        };
        self.connection_counts.admit(ip, limits)
    }

    pub(super) fn received(
        &mut self,
        now: Now,
        id: ConnectionId,
        data: Bytes,
        effects: &mut Effects<Message>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.closing {
            return;
        }
        connection.last_active = now;
        connection.cutter.feed(data);
        self.advance(now, id, effects);
        self.push_back_if_short(id, effects);
    }

    pub(super) fn sent(&mut self, id: ConnectionId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unsent_bytes = connection.unsent_bytes.saturating_sub(bytes);
            if connection.held.is_some() || connection.paused {
                self.touched.push(id);
            }
        }
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        self.connection_counts.release(connection.ip());
        self.request_bytes = self
            .request_bytes
            .saturating_sub(connection.counted_bytes());
        self.forget_fetches_of(id);
        self.forget_lookups_of(id);
        self.abandon_line(id);
        self.deletions.forget(id);
        self.asked
            .open
            .retain(|_, waiting| waiting.connection != id);
    }

    /// Puts an answer in its place; it goes out at the end of the turn.
    pub(super) fn answer(
        &mut self,
        id: ConnectionId,
        request: RequestNumber,
        slot: connection::Slot,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.answer(request, slot);
            self.touched.push(id);
        }
    }

    /// Starts every request of a connection that may start now.
    fn advance(&mut self, now: Now, id: ConnectionId, effects: &mut Effects<Message>) {
        self.counting(id, |shard| shard.start_requests(now, id, effects));
    }

    /// Does something to a connection and brings the shard's budget up to date.
    fn counting(&mut self, id: ConnectionId, action: impl FnOnce(&mut Shard)) {
        let counted = |shard: &Shard| {
            shard
                .connections
                .get(&id)
                .map_or(0, Connection::counted_bytes)
        };
        let before = counted(self);
        action(self);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.count_unstarted();
        }
        let rest = self.request_bytes.saturating_sub(before);
        self.request_bytes = rest.saturating_add(counted(self));
    }

    fn start_requests(&mut self, now: Now, id: ConnectionId, effects: &mut Effects<Message>) {
        loop {
            // When memory is short nobody gets ahead of his answers.
            let pipeline_max = match self.is_short_of_memory() {
                true => 1,
                false => self.settings.connection_pipeline_max,
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            if connection.closing || connection.unsent_bytes > CONNECTION_UNSENT_BYTES_MAX {
                return self.hold_back(id, effects);
            }
            let frame = match connection.held.take() {
                Some(frame) => frame,
                None => match connection.cutter.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return,
                    Err(fault) => {
                        tracing::info!(peer = %connection.peer, %fault, "closing a connection");
                        connection.closing = true;
                        self.touched.push(id);
                        return;
                    }
                },
            };
            let key = frame
                .get(..2)
                .and_then(|bytes| <[u8; 2]>::try_from(bytes).ok())
                .map_or(ApiKey(-1), |bytes| ApiKey(i16::from_be_bytes(bytes)));
            let pipelined = key.row().is_some_and(|row| row.lane == Lane::Pipelined);
            if !connection.may_start(pipelined, pipeline_max) {
                connection.held = Some(frame);
                return self.hold_back(id, effects);
            }
            let number = connection.start(frame.len(), pipelined);
            if let Err(offence) = self.dispatch(now, id, number, &frame, effects) {
                self.offended(id, number, offence);
                return;
            }
        }
    }

    /// The peer is ahead of us: its socket is not read until there is room again.
    fn hold_back(&mut self, id: ConnectionId, effects: &mut Effects<Message>) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.paused
        {
            connection.paused = true;
            effects.push(Effect::PauseReceive { connection: id });
            self.held_back.waiting.push(id);
        }
    }

    fn is_short_of_memory(&self) -> bool {
        self.request_bytes > self.config.request_memory_bytes
    }

    /// `ottla.request.memory.bytes`: past it, large requests are received one at a time.
    fn push_back_if_short(&mut self, id: ConnectionId, effects: &mut Effects<Message>) {
        let unfinished = self
            .connections
            .get(&id)
            .is_some_and(Connection::is_unfinished);
        if unfinished && self.is_short_of_memory() && self.held_back.let_through != Some(id) {
            self.hold_back(id, effects);
        }
    }

    /// The requests before the bad one are answered, then the connection closes.
    fn offended(&mut self, id: ConnectionId, number: RequestNumber, offence: Offence) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match offence {
            Offence::Decode(fault) => {
                tracing::info!(peer = %connection.peer, %fault, "closing a connection: bad request");
            }
            Offence::NotServed(key, version) => {
                tracing::info!(peer = %connection.peer, %key, version, "closing a connection: not served");
            }
        }
        connection.closing = true;
        connection.answer(number, connection::Slot::Silent);
        self.touched.push(id);
    }

    /// Decodes one request and hands it to its room.
    fn dispatch(
        &mut self,
        now: Now,
        id: ConnectionId,
        number: RequestNumber,
        frame: &Bytes,
        effects: &mut Effects<Message>,
    ) -> Result<(), Offence> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::read(&mut reader).map_err(Offence::Decode)?;
        let (version, correlation_id) = (header.version, header.correlation_id);
        let origin = Origin {
            connection: id,
            request: number,
            version,
            correlation_id,
        };
        // ApiVersions of a version nobody knows is answered, not refused (KIP-511).
        if header.api.key != ApiKey::API_VERSIONS && !header.is_served() {
            return Err(Offence::NotServed(header.api.key, version));
        }
        match header.api.key {
            ApiKey::PRODUCE => {
                let body = ProduceRequest::read(&mut reader, version).map_err(Offence::Decode)?;
                self.produce(now, origin, body, effects);
            }
            ApiKey::FETCH => {
                let body = FetchRequest::read(&mut reader, version).map_err(Offence::Decode)?;
                self.fetch(now, origin, body, effects);
            }
            ApiKey::LIST_OFFSETS => {
                let body =
                    ListOffsetsRequest::read(&mut reader, version).map_err(Offence::Decode)?;
                self.list_offsets(origin, body, effects);
            }
            ApiKey::DELETE_RECORDS => {
                let body =
                    DeleteRecordsRequest::read(&mut reader, version).map_err(Offence::Decode)?;
                let asker = Asker {
                    connection: id,
                    request: number,
                    version,
                    correlation_id,
                };
                self.delete_records(now, asker, &body, effects);
            }
            ApiKey::OFFSET_FOR_LEADER_EPOCH => {
                let body = OffsetForLeaderEpochRequest::read(&mut reader, version)
                    .map_err(Offence::Decode)?;
                let response = self.offsets_for_leader_epochs(&body);
                let frame = ResponseFrame::of(version, correlation_id, &response);
                self.answer(id, number, connection::Slot::Ready(frame));
            }
            _ => self.cold(id, number, &header, reader, effects)?,
        }
        Ok(())
    }

    fn offsets_for_leader_epochs(
        &self,
        body: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        use crate::api::k23_offset_for_leader_epoch as handler;
        use crate::wire::messages::k23_offset_for_leader_epoch::OffsetForLeaderTopicResult;
        let mut response = OffsetForLeaderEpochResponse::default();
        for topic in &body.topics {
            let partitions = topic
                .partitions
                .iter()
                .map(|ask| {
                    match self.led_slot(&topic.topic, ask.partition, ask.current_leader_epoch) {
                        Err(code) => handler::refused(ask, code),
                        Ok(slot) => self.partitions.get(slot).map_or_else(
                            || {
                                handler::refused(
                                    ask,
                                    crate::wire::error_code::ErrorCode::NOT_LEADER_OR_FOLLOWER,
                                )
                            },
                            |partition| handler::answer(ask, &partition.log),
                        ),
                    }
                })
                .collect();
            response.topics.push(OffsetForLeaderTopicResult {
                topic: topic.topic.clone(),
                partitions,
            });
        }
        response
    }

    /// Sends what is ready, closes what is over, and lets waiting requests start: the end of a turn.
    pub(super) fn settle_connections(&mut self, now: Now, effects: &mut Effects<Message>) {
        // Every pass either finishes a request or stops, so this ends; requests in hand bound it.
        while let Some(id) = self.touched.pop() {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            let counted = connection.counted_bytes();
            let (parts, answered) = connection.take_ready();
            let freed = counted.saturating_sub(connection.counted_bytes());
            self.request_bytes = self.request_bytes.saturating_sub(freed);
            if !parts.is_empty() {
                connection.last_active = now;
                let bytes: usize = parts.iter().map(Bytes::len).sum();
                connection.unsent_bytes = connection.unsent_bytes.saturating_add(bytes);
                effects.push(Effect::Send {
                    connection: id,
                    parts,
                });
            }
            if connection.closing {
                if connection.open_requests() == 0 {
                    effects.push(Effect::CloseAfterSend { connection: id });
                }
                continue;
            }
            if answered || connection.paused {
                self.advance(now, id, effects);
            }
        }
        self.resume_held_back(effects);
    }

    /// Reads again from those that may go on.
    fn resume_held_back(&mut self, effects: &mut Effects<Message>) {
        let short = self.is_short_of_memory();
        let HeldBack {
            waiting,
            let_through,
        } = &mut self.held_back;
        let connections = &mut self.connections;
        // One that stopped for another reason, such as answers it does not take, makes room.
        let_through.take_if(|id| {
            let reads_on = connections
                .get(id)
                .is_some_and(|c| !c.closing && !c.paused && c.is_unfinished());
            !(short && reads_on)
        });
        waiting.retain(|id| {
            let Some(connection) = connections.get_mut(id) else {
                return false;
            };
            if connection.held.is_some() || connection.unsent_bytes > CONNECTION_UNSENT_BYTES_MAX {
                return true;
            }
            if short && connection.is_unfinished() {
                if let_through.is_some() {
                    return true;
                }
                *let_through = Some(*id);
            }
            connection.paused = false;
            effects.push(Effect::ResumeReceive { connection: *id });
            false
        });
    }

    /// How often idle connections are looked for.
    pub(super) fn idle_check_ms(&self) -> i64 {
        match self.config.connection_idle_ms {
            idle_ms if idle_ms < 0 => IDLE_CHECK_MS,
            idle_ms => idle_ms.clamp(IDLE_CHECK_MS_MIN, IDLE_CHECK_MS),
        }
    }

    /// `connections.max.idle.ms`: a connection on which nothing came or went for so long, and
    /// nothing is owed. And, when memory for requests is short, one whose client stopped in the
    /// middle of a large request while it was read.
    pub(super) fn close_idle_connections(&mut self, now: Now, effects: &mut Effects<Message>) {
        self.arm(now, self.idle_check_ms(), Timer::IdleConnections);
        let idle_ms = self.config.connection_idle_ms;
        let short = self.is_short_of_memory();
        let mut gone: Vec<ConnectionId> = Vec::new();
        for (id, connection) in &self.connections {
            let silent_for = |ms| now.reached(connection.last_active.after_ms(ms));
            if short
                && !connection.paused
                && connection.is_unfinished()
                && silent_for(UNFINISHED_STALL_MS)
            {
                let peer = connection.peer;
                tracing::info!(%peer, "closing a connection: it stalls in a request, memory is short");
                gone.push(*id);
            } else if idle_ms >= 0 && connection.open_requests() == 0 && silent_for(idle_ms) {
                gone.push(*id);
            }
        }
        close_in_order(gone, effects);
    }

    /// Nobody is waited for any longer.
    pub(super) fn close_all_connections(&mut self, effects: &mut Effects<Message>) {
        self.drop_abandoned_lines();
        close_in_order(self.connections.keys().copied().collect(), effects);
    }
}

/// In the order of their ids, so that a simulated run can be repeated.
fn close_in_order(mut connections: Vec<ConnectionId>, effects: &mut Effects<Message>) {
    connections.sort_unstable();
    let close = |connection| Effect::Close { connection };
    effects.extend(connections.into_iter().map(close));
}

/// First version with sessions (KIP-227).
const SESSIONS_FROM: i16 = 7;

/// The wire's Fetch request as the session core takes it.
pub(super) fn session_ask(version: i16, body: FetchRequest) -> FetchAsk {
    let is_follower = body.is_follower();
    let mut partitions = Vec::new();
    for topic in body.topics {
        let name = session_topic(version, &topic.topic, topic.topic_id);
        for partition in topic.partitions {
            partitions.push(AskPartition {
                partition: PartitionRef {
                    topic: name.clone(),
                    partition: partition.partition,
                },
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
            });
        }
    }
    let (session_id, epoch) = match version >= SESSIONS_FROM {
        true => (body.session_id, body.session_epoch),
        false => (0, FINAL_EPOCH),
    };
    FetchAsk {
        version,
        session_id,
        epoch,
        partitions,
        forgotten: body
            .forgotten_topics_data
            .into_iter()
            .map(|topic| {
                (
                    session_topic(version, &topic.topic, topic.topic_id),
                    topic.partitions,
                )
            })
            .collect(),
        is_follower,
    }
}

fn session_topic(
    version: i16,
    name: &crate::wire::kstr::KStr,
    id: crate::words::TopicId,
) -> TopicRef {
    if version >= TOPIC_IDS_SINCE_VERSION {
        TopicRef::Id(id)
    } else {
        TopicRef::Name(Arc::from(name.as_str()))
    }
}

impl Shard {
    /// A request off the hot path: answered at once, or asked of the metadata writer.
    fn cold(
        &mut self,
        id: ConnectionId,
        number: RequestNumber,
        header: &RequestHeader<'_>,
        mut reader: Reader<'_>,
        effects: &mut Effects<Message>,
    ) -> Result<(), Offence> {
        let begun = cold::begin(header, &mut reader, &mut self.ports()).map_err(Offence::Decode)?;
        match begun {
            Begun::Reply(frame) => self.answer(id, number, connection::Slot::Ready(frame)),
            Begun::ReplyAndTell { reply, request } => {
                self.ask_control(request, None, effects);
                self.answer(id, number, connection::Slot::Ready(reply));
            }
            Begun::Ask { request, pending } => {
                let waiting = Waiting {
                    connection: id,
                    request: number,
                    pending,
                };
                self.ask_control(request, Some(waiting), effects);
            }
            Begun::NotCold => return Err(Offence::NotServed(header.api.key, header.version)),
        }
        Ok(())
    }

    fn ports(&mut self) -> Ports<'_> {
        Ports {
            image: &self.image,
            node: self.node,
            settings: &self.settings,
            producer_ids: &mut self.producer_ids,
        }
    }

    fn ask_control(
        &mut self,
        request: AdminRequest,
        waiting: Option<Waiting>,
        effects: &mut Effects<Message>,
    ) {
        let token = Token(self.asked.next);
        self.asked.next = self.asked.next.wrapping_add(1);
        if let Some(waiting) = waiting {
            self.asked.open.insert(token, waiting);
        }
        effects.push(Effect::Post {
            to: self.control,
            message: ControlMessage::Ask { token, request },
        });
    }

    /// The metadata writer replied; what it changed is in the image by now.
    pub(super) fn control_answered(&mut self, message: ControlMessage) {
        let ControlMessage::Answer { token, reply } = message else {
            return;
        };
        if let Some(waiting) = self.asked.open.remove(&token) {
            let frame = cold::finish(waiting.pending, reply, &mut self.ports());
            self.answer(
                waiting.connection,
                waiting.request,
                connection::Slot::Ready(frame),
            );
        }
    }
}
