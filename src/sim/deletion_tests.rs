//! Deleted records stay deleted.
//!
//! Claim: once DeleteRecords is answered, the log starts there for ever, and the records above are
//! all there, however the broker ends and on however many shards it goes on. Method: one partition
//! with small segments, produced to and cut at random, between a stop, a kill, a power cut.

use crate::devices::PeerId;
use crate::devices::world::dice::Dice;
use crate::wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, ListOffsetsRequest,
};
use crate::wire::messages::{
    k02_list_offsets as k02, k19_create_topics as k19, k21_delete_records as k21,
    k37_create_partitions as k37,
};
use crate::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::wire::{ErrorCode, Request};
use crate::words::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

use super::broker::Broker;
use super::client::Client;
use super::plan::{Plan, Sizes};
use super::run::Claim;
use super::topics;

const TOPIC: &str = "cut";
const PARTITION: PartitionIndex = PartitionIndex(0);

/// A broker with one partition of which the test knows start and end.
struct Cut {
    broker: Broker,
    plan: Plan,
    dice: Dice,
    start: i64,
    end: i64,
    batches: u64,
}

impl Cut {
    fn new(seed: u64) -> Claim<Cut> {
        let mut plan = Plan::draw(seed);
        plan.sizes = Sizes::Large;
        plan.segment_bytes = 1 << 20;
        let mut broker = Broker::new(&plan)?;
        broker.start(2)?;
        let mut cut = Cut {
            broker,
            plan,
            dice: Dice::new(seed ^ 0xde1e),
            start: 0,
            end: 0,
            batches: 0,
        };
        let configs = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
        let config = |(name, value): (&str, &str)| k19::CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        };
        let body = CreateTopicsRequest {
            topics: vec![k19::CreatableTopic {
                name: TOPIC.into(),
                num_partitions: 1,
                replication_factor: -1,
                configs: configs.into_iter().map(config).collect(),
                ..k19::CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        };
        cut.ask(7, &body)?;
        Ok(cut)
    }

    /// Asks the leader of the partition (any shard while there is none) and waits.
    fn ask<R: Request>(&mut self, version: i16, body: &R) -> Claim<R::Response> {
        let leader = self.broker.leader(TOPIC, PARTITION.0).unwrap_or(0);
        let mut client: Client<()> = Client::connect(&mut self.broker, leader);
        client.ask(&mut self.broker, version, body, ());
        for _ in 0..100_000 {
            if let Some(answer) = client.answers(&mut self.broker)?.pop() {
                client.leave(&mut self.broker, false);
                return answer.decode();
            }
            if !self.broker.world.run_for_ms(1) {
                return Err("the power went off".to_owned());
            }
        }
        Err("no answer".to_owned())
    }

    fn produce(&mut self) -> Claim {
        self.batches += 1;
        let wall = self.broker.world.now().wall;
        let batch = topics::batch(&mut self.dice, &self.plan, self.batches, wall, None)?;
        let topic = self.broker.image();
        let topic_id = topic.topic(TOPIC).ok_or("no topic")?.id;
        let data = PartitionProduceData {
            index: PARTITION,
            records: Some(batch.bytes),
        };
        let body = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: [TopicProduceData {
                topic_id,
                partition_data: [data].into_iter().collect(),
                ..TopicProduceData::default()
            }]
            .into_iter()
            .collect(),
            ..ProduceRequest::default()
        };
        let response = self.ask(13, &body)?;
        let told = &response.responses[0].partition_responses[0];
        assert_eq!(told.error_code, ErrorCode::NONE);
        assert_eq!(told.base_offset, Offset(self.end));
        assert_eq!(told.log_start_offset, Offset(self.start));
        self.end += i64::try_from(batch.timestamps.len()).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn delete(&mut self) -> Claim {
        let offset = match self.dice.roll(4) {
            0 => -1,
            _ => i64::try_from(self.dice.within(&(0..self.end.unsigned_abs() + 1))).unwrap_or(0),
        };
        let response = self.ask(2, &to_delete(offset))?;
        let told = &response.topics[0].partitions[0];
        let to = if offset == -1 { self.end } else { offset };
        self.start = self.start.max(to);
        assert_eq!(
            (told.error_code, told.low_watermark),
            (ErrorCode::NONE, Offset(self.start))
        );
        Ok(())
    }

    fn offset_at(&mut self, timestamp: i64) -> Claim<Offset> {
        let body = ListOffsetsRequest {
            topics: vec![k02::ListOffsetsTopic {
                name: TOPIC.into(),
                partitions: vec![k02::ListOffsetsPartition {
                    partition_index: PARTITION,
                    current_leader_epoch: LeaderEpoch(-1),
                    timestamp: TimestampMs(timestamp),
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let response = self.ask(7, &body)?;
        let told = &response.topics[0].partitions[0];
        assert_eq!(told.error_code, ErrorCode::NONE);
        Ok(told.offset)
    }

    fn check(&mut self) -> Claim {
        assert_eq!(self.offset_at(-2)?, Offset(self.start), "log start");
        assert_eq!(self.offset_at(-1)?, Offset(self.end), "log end");
        Ok(())
    }

    fn restart(&mut self) -> Claim {
        match self.dice.roll(3) {
            0 => {
                self.broker.ask_to_stop();
                let shards = self.broker.shards();
                let ended = self.broker.world.run_until(120_000, |world| {
                    (0..shards).all(|shard| !world.is_running(PeerId(shard)))
                });
                assert!(ended, "the broker stops");
                self.broker.kill();
            }
            1 => self.broker.kill(),
            _ => {
                let seed = self.dice.any();
                self.broker.crash(seed);
            }
        }
        let shards = 1 + u16::try_from(self.dice.roll(3)).unwrap_or(0);
        self.broker.start(shards)
    }
}

fn history(seed: u64) -> Claim {
    let mut cut = Cut::new(seed)?;
    for _ in 0..40 {
        match cut.dice.roll(10) {
            0..4 => cut.produce()?,
            4..7 => cut.delete()?,
            // Long enough for idle fills and retention.
            7 => drop(cut.broker.world.run_for_ms(9_000)),
            _ => {
                cut.restart()?;
                cut.check()?;
            }
        }
    }
    cut.check()
}

#[test]
fn what_was_deleted_stays_deleted() {
    for seed in 0..12 {
        if let Err(why) = history(seed) {
            panic!("seed {seed}: {why}");
        }
    }
}

/// The first asker leaves before a checkpoint makes the new log start durable; the second finds
/// nothing to move, and is answered with what a power cut must not take back.
#[test]
fn a_deletion_whose_asker_left_is_durable_before_another_is_told_of_it() {
    for seed in 0..6 {
        let mut cut = Cut::new(seed).expect("a broker");
        while cut.end < 4 {
            cut.produce().expect("stored");
        }
        let leader = cut.broker.leader(TOPIC, PARTITION.0).expect("a leader");
        let mut first: Client<()> = Client::connect(&mut cut.broker, leader);
        first.ask(&mut cut.broker, 2, &to_delete(3), ());
        cut.broker
            .world
            .run_until(1_000, |world| world.in_flight() > 0);
        first.leave(&mut cut.broker, true);
        let told = cut.ask(2, &to_delete(3)).expect("an answer");
        let told = &told.topics[0].partitions[0];
        assert_eq!(
            (told.error_code, told.low_watermark),
            (ErrorCode::NONE, Offset(3))
        );
        cut.start = 3;
        cut.broker.crash(seed);
        cut.broker.start(2).expect("a start");
        cut.check().expect("the deletion holds");
    }
}

fn to_delete(offset: i64) -> DeleteRecordsRequest {
    DeleteRecordsRequest {
        topics: vec![k21::DeleteRecordsTopic {
            name: TOPIC.into(),
            partitions: vec![k21::DeleteRecordsPartition {
                partition_index: PARTITION,
                offset: Offset(offset),
            }],
        }],
        timeout_ms: 30_000,
    }
}

#[test]
fn a_new_partition_takes_records_at_once() {
    let mut cut = Cut::new(7).expect("a broker");
    let body = CreatePartitionsRequest {
        topics: vec![k37::CreatePartitionsTopic {
            name: TOPIC.into(),
            count: 4,
            assignments: None,
        }],
        timeout_ms: 1000,
        validate_only: false,
    };
    let grown = cut.ask(3, &body).expect("an answer");
    assert_eq!(grown.results[0].error_code, ErrorCode::NONE);
    let leaders: Vec<_> = (0..4)
        .map(|index| cut.broker.leader(TOPIC, index))
        .collect();
    assert_eq!(leaders, [Some(0), Some(1), Some(0), Some(1)]);
    cut.produce().expect("stored");
    cut.restart().expect("a start");
    cut.check().expect("everything is there");
}
