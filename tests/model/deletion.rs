//! Deleted records stay deleted.
//!
//! Claim: once DeleteRecords is answered, the log starts there for ever, and the records above are
//! all there, however the broker ends and on however many shards it goes on. Method: one partition
//! with small segments, produced to and cut at random, between a stop, a kill, a power cut.

use ottla::devices::world::WorldSettings;
use ottla::devices::world::dice::Dice;
use ottla::wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, ListOffsetsRequest,
};
use ottla::wire::messages::{
    k02_list_offsets as k02, k19_create_topics as k19, k21_delete_records as k21,
    k37_create_partitions as k37,
};
use ottla::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::{ErrorCode, Request};
use ottla::words::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

use super::broker::Broker;
use super::client::Client;
use super::run::Claim;
use super::scene::{self, Kind};

const TOPIC: &str = "cut";
const PARTITION: PartitionIndex = PartitionIndex(0);

/// A broker with one partition of which the test knows start and end.
struct Cut {
    broker: Broker,
    dice: Dice,
    start: i64,
    end: i64,
    batches: u64,
}

impl Cut {
    fn new(seed: u64, overrides: &str) -> Claim<Cut> {
        let mut broker = Broker::new(WorldSettings::new(seed), overrides);
        broker.start(2)?;
        let mut cut = Cut {
            broker,
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
        let batch = scene::batch(&mut self.dice, Kind::Rolling, self.batches, wall, None);
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
        let body = DeleteRecordsRequest {
            topics: vec![k21::DeleteRecordsTopic {
                name: TOPIC.into(),
                partitions: vec![k21::DeleteRecordsPartition {
                    partition_index: PARTITION,
                    offset: Offset(offset),
                }],
            }],
            timeout_ms: 30_000,
        };
        let response = self.ask(2, &body)?;
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
            0 => assert!(self.broker.stop(120_000), "the broker stops"),
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

fn history(seed: u64, overrides: &str) -> Claim {
    let mut cut = Cut::new(seed, overrides)?;
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
    for seed in 0..8 {
        for overrides in [super::SMALL, super::ORDINARY] {
            if let Err(why) = history(seed, overrides) {
                panic!("seed {seed}: {why}");
            }
        }
    }
}

#[test]
fn a_new_partition_takes_records_at_once() {
    let mut cut = Cut::new(7, super::ORDINARY).expect("a broker");
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
