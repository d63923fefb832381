//! What clients produce, and how the answers are judged.

use std::collections::VecDeque;

use super::oracle::{Batch, BatchNumber, Fate};
use super::run::{Claim, Key, Note, Run};
use super::topics::{self, Kind};
use crate::wire::ErrorCode;
use crate::wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use crate::words::{PartitionIndex, ProducerId, marks};

/// Batches of one producer that may be without an answer (Kafka's own bound).
const PRODUCER_OPEN_MAX: usize = 5;
const PRODUCERS_MAX: usize = 16;
/// Batches that a producer remembers as stored.
const STORED_KEPT: usize = 8;
/// Names topics by their names.
const BY_NAME: i16 = 12;
/// Names topics by their ids.
const BY_ID: i16 = 13;

/// An idempotent producer of one partition.
pub struct Producer {
    id: ProducerId,
    key: Key,
    next_sequence: i32,
    /// Sent and not answered, oldest first.
    open: VecDeque<BatchNumber>,
    /// The last few that were stored.
    stored: VecDeque<BatchNumber>,
    pub client: usize,
}

impl Run {
    pub fn ask_identity(&mut self) -> Claim {
        if self.identities.len() >= PRODUCERS_MAX {
            return Ok(());
        }
        let body = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let client = self.any_client();
        self.clients[client].ask(&mut self.broker, 4, &body, Note::Identity);
        Ok(())
    }

    pub fn take_identity(&mut self, response: &InitProducerIdResponse) -> Claim {
        if self.faulty && !response.error_code.is_none() {
            return Ok(());
        }
        if self.identities.contains(&response.producer_id) || !response.error_code.is_none() {
            return Err(format!("producer id: {response:?}"));
        }
        self.identities.push(response.producer_id);
        let keys = self.live_keys(|kind| kind != Kind::Fleeting);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        self.producers.push(Producer {
            id: response.producer_id,
            key,
            next_sequence: 0,
            open: VecDeque::new(),
            stored: VecDeque::new(),
            client: 0,
        });
        self.seat_producer(self.producers.len() - 1);
        Ok(())
    }

    /// Gives a producer a connection to its leader.
    pub fn seat_producer(&mut self, at: usize) {
        let Some(leader) = self.leader(self.producers[at].key) else {
            return;
        };
        self.producers[at].client = self.client_of(leader);
    }

    /// Sends one request with a batch for some partitions of one shard.
    pub fn produce(&mut self) -> Claim {
        let keys = self.live_keys(|_| true);
        let Some(first) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let Some(leader) = self.leader(first) else {
            return Ok(());
        };
        let client = self.client_of(leader);
        let mut chosen = vec![first];
        for key in keys {
            let same = self.leader(key) == Some(leader);
            if same && !chosen.contains(&key) && self.dice.once_in(6) {
                chosen.push(key);
            }
        }
        let acks = *self.dice.pick(&[0, 1, 1, -1, -1, -1]).unwrap_or(&-1);
        let place = self.next_place(client);
        let mut batches = Vec::new();
        for key in chosen {
            batches.push((key, self.new_batch(key, place, None)?));
        }
        self.send_batches(client, acks, batches, false);
        Ok(())
    }

    /// One batch for one partition.
    pub fn produce_to(&mut self, key: Key, acks: i16) -> Claim {
        let leader = self.leader(key).ok_or("a partition without a leader")?;
        let client = self.client_of(leader);
        let place = self.next_place(client);
        let number = self.new_batch(key, place, None)?;
        self.send_batches(client, acks, vec![(key, number)], false);
        Ok(())
    }

    /// A shard that does not lead a partition must not take its batch.
    pub fn produce_at_wrong_door(&mut self) -> Claim {
        let keys = self.live_keys(|_| true);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let wrong =
            (0..self.clients.len()).find(|at| Some(self.clients[*at].shard) != self.leader(key));
        let Some(client) = wrong else {
            return Ok(());
        };
        let place = self.next_place(client);
        let number = self.new_batch(key, place, None)?;
        self.send_batches(client, -1, vec![(key, number)], true);
        Ok(())
    }

    /// The beginning of a request, and then nothing.
    pub fn produce_partly(&mut self) -> Claim {
        let keys = self.live_keys(|_| true);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let Some(leader) = self.leader(key) else {
            return Ok(());
        };
        let client = self.client_of(leader);
        let place = self.next_place(client);
        let number = self.new_batch(key, place, None)?;
        self.oracle(key)?.refused(number)?;
        let body = self.produce_request(-1, BY_ID, &[(key, number)]);
        let how = (self.dice.any(), self.dice.once_in(2));
        self.clients[client].begin_and_leave(&mut self.broker, BY_ID, &body, how);
        self.tally.cut_connections += 1;
        self.broker.world.note_news();
        Ok(())
    }

    /// One more batch of an idempotent producer, if it may have one more open.
    pub fn produce_idempotent(&mut self) -> Claim {
        let some = self.dice.roll(self.producers.len() as u64);
        let at = usize::try_from(some).unwrap_or(0);
        let Some(producer) = self.producers.get(at) else {
            return Ok(());
        };
        if producer.open.len() >= PRODUCER_OPEN_MAX {
            return Ok(());
        }
        let (id, key, sequence) = (producer.id, producer.key, producer.next_sequence);
        let client = producer.client;
        let number = self.new_batch(key, (0, 0), Some((id, sequence)))?;
        let count = self.oracle(key)?.batches[number].count;
        let producer = &mut self.producers[at];
        producer.next_sequence += i32::try_from(count).unwrap_or(0);
        producer.open.push_back(number);
        self.send_batches(client, -1, vec![(key, number)], false);
        Ok(())
    }

    /// Sends a batch again that was acknowledged a moment ago, as after a lost answer.
    pub fn repeat_stored(&mut self) -> Claim {
        let some = self.dice.roll(self.producers.len() as u64);
        let at = usize::try_from(some).unwrap_or(0);
        let Some(producer) = self.producers.get(at) else {
            return Ok(());
        };
        let (client, key) = (producer.client, producer.key);
        // The broker knows the last five, if nothing came after them.
        let back = producer.stored.len().min(PRODUCER_OPEN_MAX);
        if back == 0 || !producer.open.is_empty() {
            return Ok(());
        }
        let some = usize::try_from(self.dice.roll(back as u64)).unwrap_or(0);
        let stored = &self.producers[at].stored;
        let number = stored[stored.len() - 1 - some];
        self.send_batches(client, -1, vec![(key, number)], false);
        Ok(())
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
    ) -> Claim<BatchNumber> {
        let name = self.next_batch;
        self.next_batch += 1;
        let wall = self.broker.world.now().wall;
        let life = self.life;
        let new = topics::batch(&mut self.dice, &self.plan, name, wall, producer)?;
        let number = self.oracle(key)?.sent(Batch {
            bytes: new.bytes,
            count: new.timestamps.len() as i64,
            timestamps: new.timestamps,
            lane,
            lane_place,
            producer,
            life,
            fate: Fate::Unknown,
            base: None,
        });
        Ok(number)
    }

    fn produce_request(
        &self,
        acks: i16,
        version: i16,
        batches: &[(Key, BatchNumber)],
    ) -> ProduceRequest {
        let mut body = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            ..ProduceRequest::default()
        };
        for (key, number) in batches {
            let topic = &self.topics[key.0];
            let data = PartitionProduceData {
                index: PartitionIndex(key.1),
                records: Some(self.oracles[key].batches[*number].bytes.clone()),
            };
            let same = |of: &&mut TopicProduceData| match version {
                BY_NAME => of.name.as_str() == topic.name,
                _ => of.topic_id == topic.id,
            };
            match body.topic_data.iter_mut().find(same) {
                Some(known) => known.partition_data.push(data),
                None => body.topic_data.push(TopicProduceData {
                    name: topic.name.as_str().into(),
                    topic_id: topic.id,
                    partition_data: [data].into_iter().collect(),
                }),
            }
        }
        body
    }

    fn send_batches(
        &mut self,
        client: usize,
        acks: i16,
        batches: Vec<(Key, BatchNumber)>,
        wrong_door: bool,
    ) {
        // By its name it would find a deleted topic's namesake, as it should.
        let kind = |(key, _): &(Key, BatchNumber)| self.topics[key.0].kind;
        let fleeting = batches.iter().any(|batch| kind(batch) == Kind::Fleeting);
        let by_name = self.dice.once_in(3) && !fleeting;
        let version = if by_name { BY_NAME } else { BY_ID };
        let body = self.produce_request(acks, version, &batches);
        self.tell(format_args!(
            "client {client} produces {batches:?} acks {acks}"
        ));
        let note = Note::Produce {
            batches,
            wrong_door,
        };
        match acks {
            0 => self.clients[client].tell(&mut self.broker, version, &body),
            _ => self.clients[client].ask(&mut self.broker, version, &body, note),
        }
    }

    pub fn take_produced(
        &mut self,
        batches: &[(Key, BatchNumber)],
        wrong_door: bool,
        response: &ProduceResponse,
    ) -> Claim {
        for (key, number) in batches {
            let topic = &self.topics[key.0];
            let (id, name) = (topic.id, topic.name.as_str());
            let partitions = response
                .responses
                .iter()
                .filter(|topic| topic.topic_id == id || topic.name.as_str() == name)
                .flat_map(|topic| &topic.partition_responses);
            let mut found = partitions.filter(|partition| partition.index.0 == key.1);
            let partition = found.next().ok_or("a partition without an answer")?;
            if found.next().is_some() {
                return Err(format!("{key:?} was answered twice"));
            }
            let code = partition.error_code;
            if wrong_door && code.is_none() {
                return Err(format!(
                    "{key:?} was taken by a shard that does not lead it"
                ));
            }
            if self.is_alive(*key) {
                self.batch_answered(*key, *number, partition)
                    .map_err(|why| format!("{key:?}: {why}"))?;
            }
        }
        Ok(())
    }

    fn batch_answered(
        &mut self,
        key: Key,
        number: BatchNumber,
        answer: &PartitionProduceResponse,
    ) -> Claim {
        let life = self.life;
        let may_fail = self.faulty || self.oracles[&key].rotten;
        let batch = &self.oracles[&key].batches[number];
        match answer.error_code {
            ErrorCode::NONE => {}
            // What stood before it was refused for want of storage: all are sent again, in order.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if may_fail && batch.producer.is_some() => {
                return Ok(());
            }
            // A snapshot of producers knows the last batch of each, in Kafka's own format: after
            // a restart an older one is out of order, and has to be in the log already.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                if batch.producer.is_some() && batch.life < life =>
            {
                marks::hit("producer forgot an older batch");
                self.oracle(key)?.is_somewhere(number);
                self.producer_heard(key, number, false);
                return Ok(());
            }
            // It may be stored all the same.
            ErrorCode::KAFKA_STORAGE_ERROR if may_fail => {
                marks::hit("storage error told to a producer");
                return Ok(());
            }
            ErrorCode::NOT_LEADER_OR_FOLLOWER if batch.producer.is_none() => {
                return self.oracle(key)?.refused(number);
            }
            code => {
                return Err(format!("batch {number}: {} {answer:?}", code.name()));
            }
        }
        self.tally.acknowledged += 1;
        self.oracle(key)?
            .acknowledged(number, answer.base_offset.0)?;
        self.producer_heard(key, number, true);
        Ok(())
    }

    fn producer_heard(&mut self, key: Key, number: BatchNumber, stored: bool) {
        for producer in self.producers.iter_mut().filter(|p| p.key == key) {
            let Some(place) = producer.open.iter().position(|open| *open == number) else {
                continue;
            };
            producer.open.remove(place);
            if stored {
                producer.stored.push_back(number);
            }
            if producer.stored.len() > STORED_KEPT {
                producer.stored.pop_front();
            }
        }
    }

    /// Producers send again what was not answered.
    pub fn retry_producers(&mut self, whose: impl Fn(&Producer) -> bool) -> Claim {
        for at in 0..self.producers.len() {
            if !whose(&self.producers[at]) {
                continue;
            }
            self.seat_producer(at);
            let producer = &self.producers[at];
            let (client, key) = (producer.client, producer.key);
            for number in producer.open.clone() {
                self.send_batches(client, -1, vec![(key, number)], false);
            }
        }
        Ok(())
    }

    /// After peace: no producer waits any more.
    pub fn all_were_stored(&self) -> Claim {
        for producer in &self.producers {
            let rotten = self.oracles.get(&producer.key).is_none_or(|o| o.rotten);
            if !producer.open.is_empty() && !rotten {
                return Err(format!(
                    "producer {} of {:?} still waits for {:?}",
                    producer.id, producer.key, producer.open
                ));
            }
        }
        Ok(())
    }
}
