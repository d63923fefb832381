//! One run: random operations against the broker and the oracle, from one seed.
//!
//! Owns the clients, the producers and what is under way. Every answer goes to the oracle of its
//! partition; a claim that does not hold ends the run with an error that names what was done.

use std::collections::{BTreeMap, VecDeque};

use ottla::devices::world::WorldSettings;
use ottla::devices::world::dice::Dice;
use ottla::wire::ErrorCode;
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla::wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    InitProducerIdRequest, InitProducerIdResponse,
};
use ottla::wire::messages::{k19_create_topics as k19, k20_delete_topics as k20};
use ottla::wire::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::words::{NodeId, Offset, PartitionIndex, ProducerId};

use super::broker::Broker;
use super::client::{Answer, Client};
use super::oracle::{Batch, BatchNumber, Fate, Known, PartitionOracle};
use super::scene::{self, KINDS, Kind, Topic};

/// A partition of the run: place of its topic in [`Run::topics`], and its number.
pub type Key = (usize, i32);
pub type Claim<T = ()> = Result<T, String>;

/// Virtual milliseconds in which everything that was asked must be answered.
const PATIENCE_MS: i64 = 120_000;
/// Batches of one producer that may be without an answer (Kafka's own bound).
const PRODUCER_OPEN_MAX: usize = 5;
const CLIENTS_PER_SHARD: usize = 3;

/// What an answer is for.
pub enum Note {
    Produce(Vec<(Key, BatchNumber)>),
    Fetch {
        asks: Vec<FetchAsk>,
        bytes_max: usize,
    },
    Create(usize),
    Delete(usize),
    Identity,
}

/// One partition of a fetch.
pub struct FetchAsk {
    pub key: Key,
    pub offset: i64,
    pub bytes_max: usize,
    pub known: Known,
}

/// An idempotent producer of one partition.
struct Producer {
    id: ProducerId,
    key: Key,
    next_sequence: i32,
    /// Sent and not answered, oldest first.
    open: VecDeque<BatchNumber>,
    /// The last few that were stored.
    stored: VecDeque<BatchNumber>,
    client: usize,
}

/// Everything of one seed.
pub struct Run {
    pub broker: Broker,
    pub dice: Dice,
    pub topics: Vec<Topic>,
    pub oracles: BTreeMap<Key, PartitionOracle>,
    clients: Vec<Client<Note>>,
    /// Which connection a client is on, for the order of sending.
    lanes: Vec<(u64, u64)>,
    next_lane: u64,
    producers: Vec<Producer>,
    identities: Vec<ProducerId>,
    next_batch: u64,
    /// Starts of the broker so far.
    life: u32,
    pub answered: u64,
    /// The disk fails now and then: partitions may answer that their storage is gone.
    pub faulty: bool,
}

impl Run {
    /// A started broker with one topic of each kind.
    pub fn new(seed: u64, overrides: &str) -> Claim<Run> {
        let mut dice = Dice::new(seed ^ 0x0de1);
        let broker = Broker::new(WorldSettings::new(seed), overrides);
        let shards = 1 + dice.roll(3) as u16;
        let mut run = Run {
            broker,
            dice,
            topics: Vec::new(),
            oracles: BTreeMap::new(),
            clients: Vec::new(),
            lanes: Vec::new(),
            next_lane: 0,
            producers: Vec::new(),
            identities: Vec::new(),
            next_batch: 1,
            life: 0,
            answered: 0,
            faulty: false,
        };
        run.broker.start(shards)?;
        run.connect_all();
        for kind in KINDS {
            run.create(kind)?;
        }
        for _ in 0..4 {
            let body = InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 60_000,
                ..InitProducerIdRequest::default()
            };
            run.clients[0].ask(&mut run.broker, 4, &body, Note::Identity);
        }
        run.settle()?;
        for at in 0..run.identities.len() {
            run.add_producer(at);
        }
        Ok(run)
    }

    fn add_producer(&mut self, at: usize) {
        let keys = self.live_keys(|kind| kind != Kind::Fleeting);
        let key = *self.dice.pick(&keys).expect("there are topics");
        self.producers.push(Producer {
            id: self.identities[at],
            key,
            next_sequence: 0,
            open: VecDeque::new(),
            stored: VecDeque::new(),
            client: 0,
        });
        self.seat_producer(at);
    }

    pub fn live_keys(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Key> {
        let topics = self.topics.iter().enumerate();
        topics
            .filter(|(_, topic)| topic.alive && wanted(topic.kind))
            .flat_map(|(at, topic)| (0..topic.partitions).map(move |index| (at, index)))
            .collect()
    }

    fn leader(&self, key: Key) -> Option<u16> {
        self.broker.leader(&self.topics[key.0].name, key.1)
    }

    /// Opens the connections of a start.
    pub fn connect_all(&mut self) {
        self.life += 1;
        self.clients.clear();
        self.lanes.clear();
        for shard in 0..self.broker.shards() {
            for _ in 0..CLIENTS_PER_SHARD {
                self.clients.push(Client::connect(&mut self.broker, shard));
                self.next_lane += 1;
                self.lanes.push((self.next_lane, 0));
            }
        }
        for at in 0..self.producers.len() {
            self.seat_producer(at);
        }
    }

    /// Gives a producer a connection to its leader.
    fn seat_producer(&mut self, at: usize) {
        let Some(leader) = self.leader(self.producers[at].key) else {
            return;
        };
        self.producers[at].client = self.client_of(leader);
    }

    /// One of the connections to a shard.
    fn client_of(&mut self, shard: u16) -> usize {
        let of: Vec<usize> = (0..self.clients.len())
            .filter(|at| self.clients[*at].shard == shard)
            .collect();
        *self.dice.pick(&of).expect("every shard has connections")
    }

    fn oracle(&mut self, key: Key) -> &mut PartitionOracle {
        self.oracles.get_mut(&key).expect("every partition has one")
    }

    // Topics.

    pub fn create(&mut self, kind: Kind) -> Claim {
        let at = self.topics.len();
        let name = format!("{kind:?}").to_lowercase();
        let body = CreateTopicsRequest {
            topics: vec![k19::CreatableTopic {
                name: name.as_str().into(),
                num_partitions: kind.partitions(),
                replication_factor: -1,
                configs: kind
                    .configs()
                    .into_iter()
                    .map(|(name, value)| k19::CreatableTopicConfig {
                        name: name.into(),
                        value: Some(value.into()),
                    })
                    .collect(),
                ..k19::CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        self.topics.push(Topic {
            name,
            id: ottla::words::TopicId::ZERO,
            partitions: kind.partitions(),
            kind,
            alive: false,
        });
        let client = self.dice.roll(self.clients.len() as u64) as usize;
        self.clients[client].ask(&mut self.broker, 7, &body, Note::Create(at));
        self.settle()
    }

    /// Deletes the fleeting topic; what is under way to it may be answered either way.
    pub fn delete(&mut self, at: usize) -> Claim {
        let body = DeleteTopicsRequest {
            topics: vec![k20::DeleteTopicState {
                name: None,
                topic_id: self.topics[at].id,
            }],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        self.topics[at].alive = false;
        let client = self.dice.roll(self.clients.len() as u64) as usize;
        self.clients[client].ask(&mut self.broker, 6, &body, Note::Delete(at));
        self.settle()
    }

    // Produce.

    /// Sends one request with a batch for some partitions of one shard.
    pub fn produce(&mut self) {
        let keys = self.live_keys(|_| true);
        let first = *self.dice.pick(&keys).expect("there are topics");
        let Some(leader) = self.leader(first) else {
            return;
        };
        let client = self.client_of(leader);
        let mut chosen = vec![first];
        for key in keys {
            let same = self.leader(key) == Some(leader);
            if same && !chosen.contains(&key) && self.dice.once_in(6) {
                chosen.push(key);
            }
        }
        let acks = match self.dice.roll(6) {
            0 => 0,
            1 | 2 => 1,
            _ => -1,
        };
        let place = self.next_place(client);
        let batches: Vec<(Key, BatchNumber)> = chosen
            .into_iter()
            .map(|key| (key, self.new_batch(key, place, None)))
            .collect();
        self.send_batches(client, acks, batches);
    }

    /// One more batch of an idempotent producer, if it may have one more open.
    pub fn produce_idempotent(&mut self) {
        let at = self.dice.roll(self.producers.len() as u64) as usize;
        let producer = &self.producers[at];
        if producer.open.len() >= PRODUCER_OPEN_MAX {
            return;
        }
        let (id, key, sequence) = (producer.id, producer.key, producer.next_sequence);
        let (client, place) = (producer.client, (0, 0));
        let number = self.new_batch(key, place, Some((id, sequence)));
        let count = self.oracle(key).batches[number].count;
        let producer = &mut self.producers[at];
        producer.next_sequence += i32::try_from(count).expect("a few records");
        producer.open.push_back(number);
        self.send_batches(client, -1, vec![(key, number)]);
    }

    /// Sends a batch again that was acknowledged a moment ago, as after a lost answer.
    pub fn repeat_stored(&mut self) {
        let at = self.dice.roll(self.producers.len() as u64) as usize;
        let producer = &self.producers[at];
        let (client, key) = (producer.client, producer.key);
        // The broker knows the last five, if nothing came after them.
        let back = producer.stored.len().min(PRODUCER_OPEN_MAX);
        if back == 0 || !producer.open.is_empty() {
            return;
        }
        let place = producer.stored.len() - 1 - self.dice.roll(back as u64) as usize;
        let number = self.producers[at].stored[place];
        self.send_batches(client, -1, vec![(key, number)]);
    }

    fn next_place(&mut self, client: usize) -> (u64, u64) {
        let lane = &mut self.lanes[client];
        lane.1 += 1;
        *lane
    }

    fn new_batch(
        &mut self,
        key: Key,
        (lane, lane_place): (u64, u64),
        producer: Option<(ProducerId, i32)>,
    ) -> BatchNumber {
        let name = self.next_batch;
        self.next_batch += 1;
        let wall = self.broker.world.now().wall;
        let (kind, life) = (self.topics[key.0].kind, self.life);
        let new = scene::batch(&mut self.dice, kind, name, wall, producer);
        self.oracle(key).sent(Batch {
            bytes: new.bytes,
            count: new.timestamps.len() as i64,
            timestamps: new.timestamps,
            lane,
            lane_place,
            producer,
            life,
            fate: Fate::Unknown,
            base: None,
        })
    }

    fn send_batches(&mut self, client: usize, acks: i16, batches: Vec<(Key, BatchNumber)>) {
        let mut body = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            ..ProduceRequest::default()
        };
        for (key, number) in &batches {
            let topic_id = self.topics[key.0].id;
            let data = PartitionProduceData {
                index: PartitionIndex(key.1),
                records: Some(self.oracle(*key).batches[*number].bytes.clone()),
            };
            match body.topic_data.iter_mut().find(|t| t.topic_id == topic_id) {
                Some(topic) => topic.partition_data.push(data),
                None => body.topic_data.push(TopicProduceData {
                    topic_id,
                    partition_data: [data].into_iter().collect(),
                    ..TopicProduceData::default()
                }),
            }
        }
        match acks {
            0 => self.clients[client].tell(&mut self.broker, 13, &body),
            _ => self.clients[client].ask(&mut self.broker, 13, &body, Note::Produce(batches)),
        }
    }

    // Fetch.

    /// Reads some partitions of one shard from anywhere.
    pub fn fetch(&mut self) {
        let keys = self.live_keys(|_| true);
        let first = *self.dice.pick(&keys).expect("there are topics");
        let Some(leader) = self.leader(first) else {
            return;
        };
        let mut chosen = vec![first];
        for key in keys {
            let same = self.leader(key) == Some(leader);
            if same && !chosen.contains(&key) && self.dice.once_in(3) {
                chosen.push(key);
            }
        }
        let bytes_max = self.some_bytes();
        let asks: Vec<FetchAsk> = chosen
            .into_iter()
            .map(|key| {
                let known = self.oracle(key).known();
                let offset = self.some_offset(known);
                let bytes_max = self.some_bytes();
                FetchAsk {
                    key,
                    offset,
                    bytes_max,
                    known,
                }
            })
            .collect();
        let wait_ms = *self.dice.pick(&[0, 1, 20, 500]).unwrap_or(&0);
        let min_bytes = *self.dice.pick(&[0, 1, 1, 100_000]).unwrap_or(&1);
        let client = self.client_of(leader);
        self.send_fetch(client, asks, bytes_max, wait_ms, min_bytes);
    }

    fn some_bytes(&mut self) -> usize {
        let range = match self.dice.roll(4) {
            0 => 0..1,
            1 => 1..5_000,
            2 => 5_000..400_000,
            _ => 400_000..3_000_000,
        };
        self.dice.within(&range) as usize
    }

    /// At the tail, at the beginning, in between, and now and then outside.
    fn some_offset(&mut self, known: Known) -> i64 {
        let span = (known.high_watermark - known.log_start).max(0) as u64;
        match self.dice.roll(8) {
            0..3 => known.high_watermark,
            3 => known.log_start,
            4 => known.high_watermark + self.dice.roll(40) as i64,
            5 => known.log_start - self.dice.roll(3) as i64,
            _ => known.log_start + self.dice.roll(span + 1) as i64,
        }
    }

    pub fn send_fetch(
        &mut self,
        client: usize,
        asks: Vec<FetchAsk>,
        bytes_max: usize,
        max_wait_ms: i32,
        min_bytes: i32,
    ) {
        let mut body = FetchRequest {
            replica_id: NodeId::NONE,
            max_wait_ms,
            min_bytes,
            max_bytes: i32::try_from(bytes_max).unwrap_or(i32::MAX),
            session_epoch: -1,
            ..FetchRequest::default()
        };
        for ask in &asks {
            let partition = FetchPartition {
                partition: PartitionIndex(ask.key.1),
                fetch_offset: Offset(ask.offset),
                partition_max_bytes: i32::try_from(ask.bytes_max).unwrap_or(i32::MAX),
                ..FetchPartition::default()
            };
            // A topic may be named more than once.
            body.topics.push(FetchTopic {
                topic_id: self.topics[ask.key.0].id,
                partitions: [partition].into_iter().collect(),
                ..FetchTopic::default()
            });
        }
        let note = Note::Fetch { asks, bytes_max };
        self.clients[client].ask(&mut self.broker, 16, &body, note);
    }

    // Answers.

    /// Takes every answer that has come; reconnects what broke.
    pub fn poll(&mut self) -> Claim {
        for at in 0..self.clients.len() {
            for answer in self.clients[at].answers(&mut self.broker)? {
                self.answered += 1;
                self.take(&answer)?;
            }
            if self.clients[at].is_gone(&self.broker) {
                self.reconnect(at);
            }
        }
        Ok(())
    }

    fn take(&mut self, answer: &Answer<Note>) -> Claim {
        match &answer.note {
            Note::Produce(batches) => self.take_produced(batches, &answer.decode()?),
            Note::Fetch { asks, bytes_max } => {
                let response: FetchResponse = answer.decode()?;
                self.take_fetched(asks, *bytes_max, &response)
            }
            Note::Create(at) => {
                let response: CreateTopicsResponse = answer.decode()?;
                let result = response.topics.first().ok_or("no topic answered")?;
                if !result.error_code.is_none() {
                    return Err(format!("create: {result:?}"));
                }
                self.topics[*at].id = result.topic_id;
                self.topics[*at].alive = true;
                let kind = self.topics[*at].kind;
                for index in 0..self.topics[*at].partitions {
                    let mut oracle = PartitionOracle::default();
                    oracle.forgets = kind == Kind::Forgetting;
                    oracle.stamps = kind == Kind::Stamped;
                    self.oracles.insert((*at, index), oracle);
                }
                Ok(())
            }
            Note::Delete(at) => {
                let response: DeleteTopicsResponse = answer.decode()?;
                let result = response.responses.first().ok_or("no topic answered")?;
                let at = *at;
                self.oracles.retain(|key, _| key.0 != at);
                match result.error_code {
                    ErrorCode::NONE => Ok(()),
                    _ => Err(format!("delete: {result:?}")),
                }
            }
            Note::Identity => {
                let response: InitProducerIdResponse = answer.decode()?;
                if self.identities.contains(&response.producer_id) || !response.error_code.is_none()
                {
                    return Err(format!("producer id: {response:?}"));
                }
                self.identities.push(response.producer_id);
                Ok(())
            }
        }
    }

    fn take_produced(
        &mut self,
        batches: &[(Key, BatchNumber)],
        response: &ProduceResponse,
    ) -> Claim {
        for (key, number) in batches {
            let id = self.topics[key.0].id;
            let topic = response.responses.iter().find(|topic| topic.topic_id == id);
            let partitions = topic.map(|topic| &topic.partition_responses);
            let mut found = partitions
                .into_iter()
                .flatten()
                .filter(|partition| partition.index.0 == key.1);
            let partition = found.next().ok_or("a partition without an answer")?;
            if found.next().is_some() {
                return Err(format!("{key:?} was answered twice"));
            }
            if !self.topics[key.0].alive {
                continue;
            }
            let batch = &self.oracles[key].batches[*number];
            // A snapshot of producers knows the last batch of each, in Kafka's own format: after
            // a restart an older one is out of order, and has to be in the log already, which
            // the order of sequences there will tell.
            let forgotten = partition.error_code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                && batch.producer.is_some()
                && batch.life < self.life;
            if forgotten {
                for producer in self.producers.iter_mut().filter(|p| p.key == *key) {
                    producer.open.retain(|open| open != number);
                }
                continue;
            }
            if self.faulty && partition.error_code == ErrorCode::KAFKA_STORAGE_ERROR {
                // It may be stored all the same.
                continue;
            }
            if !partition.error_code.is_none() {
                return Err(format!("produce to {key:?}, batch {number}: {partition:?}"));
            }
            self.oracle(*key)
                .acknowledged(*number, partition.base_offset.0)
                .map_err(|why| format!("{key:?}: {why}"))?;
            for producer in self.producers.iter_mut().filter(|p| p.key == *key) {
                if let Some(place) = producer.open.iter().position(|open| open == number) {
                    producer.open.remove(place);
                    producer.stored.push_back(*number);
                }
            }
        }
        Ok(())
    }

    fn take_fetched(
        &mut self,
        asks: &[FetchAsk],
        bytes_max: usize,
        response: &FetchResponse,
    ) -> Claim {
        if !response.error_code.is_none() {
            return Err(format!("fetch: {}", response.error_code.0));
        }
        let mut total = 0usize;
        for ask in asks {
            let id = self.topics[ask.key.0].id;
            let mut found = response
                .responses
                .iter()
                .filter(|topic| topic.topic_id == id)
                .flat_map(|topic| &topic.partitions)
                .filter(|partition| partition.partition_index.0 == ask.key.1);
            let data = found.next().ok_or("a partition without an answer")?;
            if !self.topics[ask.key.0].alive {
                continue;
            }
            let first = total == 0;
            let is_first = std::ptr::eq(ask, &asks[0]);
            let records = data.records.clone().unwrap_or_default().into_bytes();
            total += records.len();
            let fail = |why: String| format!("fetch {:?} from {}: {why}", ask.key, ask.offset);
            let oracle = self.oracles.get_mut(&ask.key).ok_or("no oracle")?;
            if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE {
                // Too low for what retention left, or beyond what there was.
                let low = ask.offset < ask.known.log_start || (oracle.forgets && ask.offset >= 0);
                if !low && ask.offset <= ask.known.high_watermark && ask.offset >= 0 {
                    return Err(fail(format!("out of range, known {:?}", ask.known)));
                }
                continue;
            }
            if self.faulty && data.error_code == ErrorCode::KAFKA_STORAGE_ERROR {
                continue;
            }
            if !data.error_code.is_none() {
                return Err(fail(format!("error {}", data.error_code.0)));
            }
            let watermark = data.high_watermark.0;
            oracle
                .shown(watermark, data.log_start_offset.0, ask.known)
                .map_err(fail)?;
            let next = oracle.read(ask.offset, &records).map_err(fail)?;
            if next > watermark && !records.is_empty() {
                return Err(fail(format!("read to {next}, high watermark {watermark}")));
            }
            let bound = ask.bytes_max.min(bytes_max);
            let one = oracle.batch_bytes_at(ask.offset).unwrap_or(0);
            if records.len() > bound && !(first && records.len() == one) {
                return Err(fail(format!("{} bytes, {bound} wanted", records.len())));
            }
            if is_first && ask.offset < ask.known.high_watermark && records.is_empty() {
                return Err(fail(format!("nothing below {:?}", ask.known)));
            }
        }
        Ok(())
    }

    /// A connection is gone: what was open on it may or may not have happened. A new one takes
    /// its place, and idempotent producers send again what was not answered.
    fn reconnect(&mut self, at: usize) {
        let shard = self.clients[at].shard;
        self.clients[at] = Client::connect(&mut self.broker, shard);
        self.next_lane += 1;
        self.lanes[at] = (self.next_lane, 0);
        self.retry_producers(|producer| producer.client == at);
    }

    fn retry_producers(&mut self, whose: impl Fn(&Producer) -> bool) {
        for at in 0..self.producers.len() {
            if !whose(&self.producers[at]) {
                continue;
            }
            self.seat_producer(at);
            let producer = &self.producers[at];
            let (client, key) = (producer.client, producer.key);
            for number in producer.open.clone() {
                self.send_batches(client, -1, vec![(key, number)]);
            }
        }
    }

    /// A client hangs up in the middle of its work.
    pub fn break_connection(&mut self) -> Claim {
        let at = self.dice.roll(self.clients.len() as u64) as usize;
        self.poll()?;
        let reset = self.dice.once_in(2);
        self.clients[at].leave(&mut self.broker, reset);
        self.clients[at].abandoned();
        self.reconnect(at);
        Ok(())
    }

    /// A client stops reading for a while.
    pub fn hold(&mut self, hold: bool) {
        for at in 0..self.clients.len() {
            if !hold || self.dice.once_in(4) {
                self.clients[at].hold_reading(&mut self.broker, hold);
            }
        }
    }

    /// Runs until everything that was asked is answered.
    pub fn settle(&mut self) -> Claim {
        self.hold(false);
        let end = self.broker.world.now().after_ms(PATIENCE_MS);
        loop {
            self.poll()?;
            let open: usize = self.clients.iter().map(Client::open).sum();
            // Requests without an answer are under way until nothing is.
            if open == 0 && self.broker.world.is_quiet() {
                return Ok(());
            }
            if self.broker.world.now().reached(end) {
                return Err(format!("{open} requests without an answer, or no rest"));
            }
            if !self.broker.world.run_for_ms(5) {
                return Err("the power went off".to_owned());
            }
        }
    }

    /// After the broker ended, however it did: answers that had arrived count, the rest is open.
    pub fn broker_ended(&mut self) -> Claim {
        for at in 0..self.clients.len() {
            for answer in self.clients[at].answers(&mut self.broker)? {
                self.take(&answer)?;
            }
            self.clients[at].abandoned();
        }
        Ok(())
    }

    /// After a start: producers send again what was not answered.
    pub fn broker_started(&mut self) {
        self.connect_all();
        self.retry_producers(|_| true);
    }
}
