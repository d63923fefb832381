//! What clients read, with sessions and without, and how the answers are judged.

use super::oracle::Known;
use super::run::{Claim, Key, Note, Run};
use crate::wire::ErrorCode;
use crate::wire::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData,
};
use crate::wire::messages::k02_list_offsets as k02;
use crate::wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::words::{NodeId, Offset, PartitionIndex, TimestampMs, marks};

pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;
/// Names topics by their names.
const BY_NAME: i16 = 12;
/// Names topics by their ids.
const BY_ID: i16 = 16;

/// One partition of a fetch.
#[derive(Clone, Copy)]
pub struct FetchAsk {
    pub key: Key,
    pub offset: i64,
    pub bytes_max: usize,
    pub known: Known,
}

/// A consumer of everything that a shard leads, with a session of its own.
pub struct Consumer {
    shard: u16,
    session: i32,
    /// Of the next request; 0 begins a session.
    epoch: i32,
    /// What the broker's session remembers: partition and offset.
    remembered: Vec<(Key, i64)>,
    /// A request is on its way.
    waits: bool,
}

impl Consumer {
    pub fn new(shard: u16) -> Consumer {
        Consumer {
            shard,
            session: 0,
            epoch: 0,
            remembered: Vec::new(),
            waits: false,
        }
    }

    /// The connection of its request is gone.
    pub fn lost(&mut self) {
        *self = Consumer::new(self.shard);
    }
}

impl Run {
    pub fn oracle(&mut self, key: Key) -> Claim<&mut super::oracle::PartitionOracle> {
        self.oracles
            .get_mut(&key)
            .ok_or_else(|| format!("{key:?} has no oracle"))
    }

    /// Reads some partitions of one shard from anywhere.
    pub fn fetch(&mut self) -> Claim {
        let keys = self.live_keys(|_| true);
        let Some(first) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let Some(leader) = self.leader(first) else {
            return Ok(());
        };
        let mut chosen = vec![first];
        for key in keys {
            let same = self.leader(key) == Some(leader);
            if same && !chosen.contains(&key) && self.dice.once_in(3) {
                chosen.push(key);
            }
        }
        let bytes_max = self.some_bytes();
        let mut asks = Vec::new();
        for key in chosen {
            let known = self.oracle(key)?.known();
            let offset = self.some_offset(known);
            let bytes_max = self.some_bytes();
            asks.push(FetchAsk {
                key,
                offset,
                bytes_max,
                known,
            });
        }
        let client = self.client_of(leader);
        let version = if self.dice.once_in(3) { BY_NAME } else { BY_ID };
        let mut body = self.fetch_request(version, bytes_max, &asks);
        body.max_wait_ms = *self.dice.pick(&[0, 1, 20, 500]).unwrap_or(&0);
        body.min_bytes = *self.dice.pick(&[0, 1, 1, 100_000]).unwrap_or(&1);
        let note = Note::Fetch { asks, bytes_max };
        self.clients[client].ask(&mut self.broker, version, &body, note);
        Ok(())
    }

    fn fetch_request(&self, version: i16, bytes_max: usize, asks: &[FetchAsk]) -> FetchRequest {
        let mut body = FetchRequest {
            replica_id: NodeId::NONE,
            max_bytes: i32::try_from(bytes_max).unwrap_or(i32::MAX),
            session_epoch: -1,
            ..FetchRequest::default()
        };
        for ask in asks {
            let topic = &self.topics[ask.key.0];
            let partition = FetchPartition {
                partition: PartitionIndex(ask.key.1),
                fetch_offset: Offset(ask.offset),
                partition_max_bytes: i32::try_from(ask.bytes_max).unwrap_or(i32::MAX),
                ..FetchPartition::default()
            };
            // A topic may be named more than once.
            let (name, id) = (topic.name.as_str(), topic.id);
            body.topics.push(FetchTopic {
                topic: if version == BY_NAME { name } else { "" }.into(),
                topic_id: id,
                partitions: [partition].into_iter().collect(),
            });
        }
        body
    }

    fn some_bytes(&mut self) -> usize {
        let range = match self.dice.roll(4) {
            0 => 0..1,
            1 => 1..5_000,
            2 => 5_000..400_000,
            _ => 400_000..3_000_000,
        };
        usize::try_from(self.dice.within(&range)).unwrap_or(0)
    }

    /// At the tail, at the beginning, in between, and now and then outside.
    fn some_offset(&mut self, known: Known) -> i64 {
        let span = (known.high_watermark - known.log_start)
            .max(0)
            .unsigned_abs();
        let mut some = |most: u64| i64::try_from(self.dice.roll(most)).unwrap_or(0);
        match some(8) {
            0..3 => known.high_watermark,
            3 => known.log_start,
            4 => known.high_watermark + some(40),
            5 => known.log_start - some(3),
            _ => known.log_start + some(span + 1),
        }
    }

    pub fn take_fetched(
        &mut self,
        asks: &[FetchAsk],
        bytes_max: usize,
        response: &FetchResponse,
    ) -> Claim {
        if !response.error_code.is_none() {
            return Err(format!("fetch: {}", response.error_code.name()));
        }
        let mut total = 0usize;
        for (place, ask) in asks.iter().enumerate() {
            let data = self
                .data_of(response, ask.key)
                .ok_or("a partition without an answer")?;
            let records = data.records.as_ref().map_or(0, |records| records.len());
            let first = total == 0;
            total += records;
            if !self.is_alive(ask.key) {
                continue;
            }
            let fail = |why: String| format!("fetch {:?} from {}: {why}", ask.key, ask.offset);
            let ok = self.take_read(ask, data).map_err(fail)?;
            let oracle = self.oracle(ask.key)?;
            let bound = ask.bytes_max.min(bytes_max);
            let one = oracle.batch_bytes_at(ask.offset).unwrap_or(0);
            if records > bound && !(first && records == one) {
                return Err(fail(format!("{records} bytes, {bound} wanted")));
            }
            let behind = ask.offset < ask.known.high_watermark;
            if ok && place == 0 && behind && records == 0 && !oracle.rotten {
                return Err(fail(format!("nothing below {:?}", ask.known)));
            }
        }
        Ok(())
    }

    fn data_of<'a>(&self, response: &'a FetchResponse, key: Key) -> Option<&'a PartitionData> {
        let topic = &self.topics[key.0];
        response
            .responses
            .iter()
            .filter(|of| match of.topic.as_str() {
                "" => of.topic_id == topic.id,
                name => name == topic.name,
            })
            .flat_map(|of| &of.partitions)
            .find(|partition| partition.partition_index.0 == key.1)
    }

    /// Holds one partition's data against its oracle; `false` when it is an error that may be.
    fn take_read(&mut self, ask: &FetchAsk, data: &PartitionData) -> Claim<bool> {
        let faulty = self.faulty;
        let oracle = self.oracle(ask.key)?;
        let known = ask.known;
        match data.error_code {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                // Too low for what was deleted meanwhile, or beyond what there was.
                let may_go = match oracle.forgets {
                    true => i64::MAX,
                    false => oracle.deletable_to,
                };
                let low = ask.offset < known.log_start || ask.offset < may_go;
                let lost = low || ask.offset > known.high_watermark || oracle.rotten;
                return match lost {
                    true => Ok(false),
                    false => Err(format!("out of range, known {known:?}")),
                };
            }
            ErrorCode::KAFKA_STORAGE_ERROR if faulty || oracle.rotten => {
                marks::hit("storage error told to a reader");
                return Ok(false);
            }
            code => return Err(format!("error {}", code.name())),
        }
        let watermark = data.high_watermark.0;
        if oracle.rotten && watermark < known.high_watermark {
            return Ok(false);
        }
        oracle.shown(watermark, data.log_start_offset.0, known)?;
        let records = data.records.clone().unwrap_or_default().into_bytes();
        let next = oracle.read(ask.offset, &records)?;
        if next > watermark && !records.is_empty() {
            return Err(format!("read to {next}, high watermark {watermark}"));
        }
        if !records.is_empty() {
            self.tally.batches_read += 1;
        }
        let at = self.positions.entry(ask.key).or_insert(0);
        *at = if *at == ask.offset { next } else { *at };
        Ok(true)
    }

    // Consumers with sessions.

    pub fn consume(&mut self) -> Claim {
        let some = self.dice.roll(self.consumers.len() as u64);
        let at = usize::try_from(some).unwrap_or(0);
        self.consume_with(at)
    }

    pub fn consume_all(&mut self) -> Claim {
        for at in 0..self.consumers.len() {
            self.consume_with(at)?;
        }
        Ok(())
    }

    /// The next fetch of a consumer: what changed since the last one.
    fn consume_with(&mut self, at: usize) -> Claim {
        let Some(consumer) = self.consumers.get(at).filter(|of| !of.waits) else {
            return Ok(());
        };
        let (shard, epoch, session) = (consumer.shard, consumer.epoch, consumer.session);
        let remembered = match epoch {
            0 => Vec::new(),
            _ => consumer.remembered.clone(),
        };
        let mut keys = self.live_keys(|_| true);
        keys.retain(|key| self.leader(*key) == Some(shard));
        if keys.is_empty() {
            return Ok(());
        }
        let mut asks = Vec::new();
        for key in &keys {
            let known = self.oracle(*key)?.known();
            let offset = self.positions.get(key).copied().unwrap_or(0);
            asks.push(FetchAsk {
                key: *key,
                offset,
                bytes_max: 1 << 20,
                known,
            });
        }
        let news = |ask: &&FetchAsk| !remembered.contains(&(ask.key, ask.offset));
        let changed: Vec<FetchAsk> = asks.iter().filter(news).copied().collect();
        let mut body = self.fetch_request(BY_ID, 3 << 20, &changed);
        (body.session_id, body.session_epoch) = (session, epoch);
        (body.max_wait_ms, body.min_bytes) = (300, 1);
        for (key, _) in remembered.iter().filter(|(key, _)| !keys.contains(key)) {
            body.forgotten_topics_data.push(ForgottenTopic {
                topic: "".into(),
                topic_id: self.topics[key.0].id,
                partitions: vec![PartitionIndex(key.1)],
            });
        }
        let client = self.client_of(shard);
        let note = Note::Session {
            consumer: at,
            asks: asks.clone(),
            full: epoch == 0,
        };
        let consumer = &mut self.consumers[at];
        consumer.remembered = asks.iter().map(|ask| (ask.key, ask.offset)).collect();
        consumer.waits = true;
        self.clients[client].ask(&mut self.broker, BY_ID, &body, note);
        Ok(())
    }

    pub fn take_consumed(
        &mut self,
        at: usize,
        asks: &[FetchAsk],
        full: bool,
        response: &FetchResponse,
    ) -> Claim {
        let Some(consumer) = self.consumers.get_mut(at) else {
            return Ok(());
        };
        consumer.waits = false;
        if !response.error_code.is_none() {
            // A session that was evicted begins anew.
            marks::hit("fetch session began anew");
            consumer.lost();
            return Ok(());
        }
        consumer.session = response.session_id;
        consumer.epoch = match (response.session_id, consumer.epoch) {
            (0, _) => 0,
            (_, i32::MAX) => 1,
            (_, epoch) => epoch + 1,
        };
        for ask in asks {
            if !self.is_alive(ask.key) {
                continue;
            }
            let Some(data) = self.data_of(response, ask.key) else {
                if full {
                    return Err(format!("{:?} is missing in a full answer", ask.key));
                }
                continue;
            };
            let code = data.error_code;
            let fail = |why: String| format!("session {:?} from {}: {why}", ask.key, ask.offset);
            self.take_read(ask, data).map_err(fail)?;
            if code == ErrorCode::OFFSET_OUT_OF_RANGE {
                self.ask_offset(ask.key, EARLIEST)?;
            }
        }
        Ok(())
    }

    /// Partitions that consumers have not read to the end: position and high watermark.
    pub fn not_at_the_end(&self) -> Vec<(Key, i64, i64)> {
        let mut behind = Vec::new();
        for key in self.live_keys(|_| true) {
            let oracle = &self.oracles[&key];
            let at = self.positions.get(&key).copied().unwrap_or(0);
            if !oracle.rotten && at < oracle.high_watermark {
                behind.push((key, at, oracle.high_watermark));
            }
        }
        behind
    }

    // Offsets.

    pub fn list_offset(&mut self) -> Claim {
        let keys = self.live_keys(|_| true);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let wall = self.broker.world.now().wall.0;
        let ago = i64::try_from(self.dice.roll(20_000)).unwrap_or(0);
        let asked = *self
            .dice
            .pick(&[LATEST, EARLIEST, wall - ago])
            .unwrap_or(&LATEST);
        self.ask_offset(key, asked)
    }

    fn ask_offset(&mut self, key: Key, asked: i64) -> Claim {
        let Some(leader) = self.leader(key) else {
            return Ok(());
        };
        let known = self.oracle(key)?.known();
        let body = self.offset_request(key, asked);
        let client = self.client_of(leader);
        let note = Note::Offset { key, asked, known };
        self.clients[client].ask(&mut self.broker, 9, &body, note);
        Ok(())
    }

    pub fn offset_request(&self, key: Key, asked: i64) -> ListOffsetsRequest {
        ListOffsetsRequest {
            replica_id: NodeId::NONE,
            topics: vec![k02::ListOffsetsTopic {
                name: self.topics[key.0].name.as_str().into(),
                partitions: vec![k02::ListOffsetsPartition {
                    partition_index: PartitionIndex(key.1),
                    timestamp: TimestampMs(asked),
                    ..k02::ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        }
    }

    pub fn take_offset(
        &mut self,
        key: Key,
        asked: i64,
        known: Known,
        response: &ListOffsetsResponse,
    ) -> Claim {
        if !self.is_alive(key) {
            return Ok(());
        }
        let faulty = self.faulty;
        let topics = response.topics.iter();
        let mut partitions = topics.flat_map(|topic| &topic.partitions);
        let answer = partitions.next().ok_or("no partition answered")?;
        let oracle = self.oracle(key)?;
        let storage = answer.error_code == ErrorCode::KAFKA_STORAGE_ERROR;
        if oracle.rotten || (faulty && storage) {
            return Ok(());
        }
        let fail = |why: String| format!("offset of {key:?} at {asked}: {why}");
        if !answer.error_code.is_none() {
            return Err(fail(answer.error_code.name().to_owned()));
        }
        let (offset, at) = (answer.offset.0, answer.timestamp.0);
        match asked {
            LATEST => oracle.shown(offset, known.log_start, known).map_err(fail),
            EARLIEST => {
                let end = known.high_watermark.max(offset);
                oracle.shown(end, offset, known).map_err(fail)?;
                // A consumer that was out of range goes on from here.
                let position = self.positions.entry(key).or_insert(0);
                *position = offset.max(*position);
                Ok(())
            }
            _ if offset == -1 => Ok(()),
            _ if at < asked && !oracle.stamps => Err(fail(format!("found {offset} of {at}"))),
            _ if offset < known.log_start => Err(fail(format!("found {offset}, {known:?}"))),
            _ => Ok(()),
        }
    }
}
