//! Topics and records that clients make and delete, and how the answers are judged.

use super::oracle::{Known, PartitionOracle};
use super::run::{Claim, Key, Note, Run};
use super::topics::{KINDS, Kind, Topic, TopicState};
use crate::wire::ErrorCode;
use crate::wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::wire::messages::{
    k19_create_topics as k19, k20_delete_topics as k20, k21_delete_records as k21,
};
use crate::words::{Offset, PartitionIndex, TopicId, marks};

const TOPICS_ALIVE_MAX: usize = 8;
/// Few names, so that a topic often has a namesake that was deleted.
const NAMES: [&str; 10] = [
    "ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay",
];

impl Run {
    pub fn create_topic(&mut self) -> Claim {
        let there = |topic: &&Topic| topic.state != TopicState::Gone;
        let taken: Vec<&str> = self
            .topics
            .iter()
            .filter(there)
            .map(|t| t.name.as_str())
            .collect();
        let free: Vec<&str> = NAMES
            .into_iter()
            .filter(|name| !taken.contains(name))
            .collect();
        if taken.len() >= TOPICS_ALIVE_MAX {
            return Ok(());
        }
        let Some(name) = self.dice.pick(&free).copied() else {
            return Ok(());
        };
        let at = self.topics.len();
        let kind = match at {
            0..5 => KINDS[at],
            _ => Kind::Fleeting,
        };
        let partitions = 1 + i32::try_from(self.dice.roll(3)).unwrap_or(0);
        let configs = kind.configs(&self.plan).into_iter();
        let body = CreateTopicsRequest {
            topics: vec![k19::CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: -1,
                configs: configs
                    .map(|(name, value)| k19::CreatableTopicConfig {
                        name: name.into(),
                        value: Some(value.as_str().into()),
                    })
                    .collect(),
                ..k19::CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        self.tell(format_args!("create {name} {kind:?} {partitions}"));
        self.topics.push(Topic {
            name: name.to_owned(),
            id: TopicId::ZERO,
            partitions,
            kind,
            state: TopicState::Creating,
        });
        let client = self.any_client();
        self.clients[client].ask(&mut self.broker, 7, &body, Note::Create(at));
        Ok(())
    }

    pub fn take_created(&mut self, at: usize, response: &CreateTopicsResponse) -> Claim {
        let result = response.topics.first().ok_or("no topic answered")?;
        match result.error_code {
            ErrorCode::NONE => {
                self.topic_is_there(at, result.topic_id);
                Ok(())
            }
            // It may be made all the same; the next start tells.
            _ if self.faulty => Ok(()),
            _ => Err(format!("create: {result:?}")),
        }
    }

    fn topic_is_there(&mut self, at: usize, id: TopicId) {
        let topic = &mut self.topics[at];
        topic.id = id;
        topic.state = TopicState::Alive;
        let (kind, partitions) = (topic.kind, topic.partitions);
        for index in 0..partitions {
            let mut oracle = PartitionOracle::default();
            oracle.forgets = kind == Kind::Forgetting;
            oracle.stamps = kind == Kind::Stamped;
            oracle.troubled = self.faulty;
            self.oracles.insert((at, index), oracle);
        }
    }

    pub fn delete_topic(&mut self) -> Claim {
        let keys = self.live_keys(|kind| kind == Kind::Fleeting);
        let Some((at, _)) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let body = DeleteTopicsRequest {
            topics: vec![k20::DeleteTopicState {
                name: None,
                topic_id: self.topics[at].id,
            }],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        self.tell(format_args!("delete {}", self.topics[at].name));
        self.topics[at].state = TopicState::Deleting;
        let client = self.any_client();
        self.clients[client].ask(&mut self.broker, 6, &body, Note::Delete(at));
        Ok(())
    }

    pub fn take_deleted(&mut self, at: usize, response: &DeleteTopicsResponse) -> Claim {
        let result = response.responses.first().ok_or("no topic answered")?;
        match result.error_code {
            ErrorCode::NONE => {
                marks::hit("topic deleted");
                self.topic_is_gone(at);
                Ok(())
            }
            _ if self.faulty => Ok(()),
            _ => Err(format!("delete: {result:?}")),
        }
    }

    fn topic_is_gone(&mut self, at: usize) {
        self.topics[at].state = TopicState::Gone;
        self.oracles.retain(|key, _| key.0 != at);
        self.positions.retain(|key, _| key.0 != at);
    }

    /// After a start: what was asked and not answered has happened or not, the rest is as it was.
    pub fn settle_topics(&mut self) -> Claim {
        let image = self.broker.image();
        for at in 0..self.topics.len() {
            let topic = &self.topics[at];
            let there = image.topic(&topic.name).map(|found| found.id);
            let same = there == Some(topic.id);
            match topic.state {
                TopicState::Creating => match there {
                    Some(id) => self.topic_is_there(at, id),
                    None => self.topics[at].state = TopicState::Gone,
                },
                TopicState::Alive if !same => {
                    return Err(format!("topic {} is gone", topic.name));
                }
                TopicState::Deleting if same => {
                    // It goes on where it was: nothing that was answered meanwhile was noted.
                    self.topic_is_gone(at);
                    self.topics[at].state = TopicState::Deleting;
                    self.delete_again(at)?;
                }
                TopicState::Deleting => self.topic_is_gone(at),
                TopicState::Gone if same => {
                    return Err(format!("topic {} is back", topic.name));
                }
                TopicState::Alive | TopicState::Gone => {}
            }
        }
        Ok(())
    }

    /// A deletion that was not answered is asked for again, once there are connections.
    fn delete_again(&mut self, at: usize) -> Claim {
        self.deletions_open.push(at);
        Ok(())
    }

    pub fn ask_open_deletions(&mut self) -> Claim {
        for at in std::mem::take(&mut self.deletions_open) {
            let body = DeleteTopicsRequest {
                topics: vec![k20::DeleteTopicState {
                    name: None,
                    topic_id: self.topics[at].id,
                }],
                timeout_ms: 30_000,
                ..DeleteTopicsRequest::default()
            };
            let client = self.any_client();
            self.clients[client].ask(&mut self.broker, 6, &body, Note::Delete(at));
        }
        Ok(())
    }

    pub fn delete_records(&mut self) -> Claim {
        let keys = self.live_keys(|kind| kind == Kind::Plain || kind == Kind::Rolling);
        let Some(key) = self.dice.pick(&keys).copied() else {
            return Ok(());
        };
        let Some(leader) = self.leader(key) else {
            return Ok(());
        };
        let oracle = self.oracle(key)?;
        let known = oracle.known();
        let span = known.high_watermark.saturating_sub(known.log_start);
        let some = i64::try_from(self.dice.roll(span.max(0).unsigned_abs() + 1)).unwrap_or(0);
        // Most often little, now and then everything.
        let offset = match self.dice.roll(8) {
            0 => known.log_start + some,
            _ => known.log_start + some / 8,
        };
        let oracle = self.oracle(key)?;
        oracle.deletable_to = oracle.deletable_to.max(offset);
        let body = DeleteRecordsRequest {
            topics: vec![k21::DeleteRecordsTopic {
                name: self.topics[key.0].name.as_str().into(),
                partitions: vec![k21::DeleteRecordsPartition {
                    partition_index: PartitionIndex(key.1),
                    offset: Offset(offset),
                }],
            }],
            timeout_ms: 30_000,
        };
        self.tell(format_args!("delete records of {key:?} below {offset}"));
        let client = self.client_of(leader);
        let note = Note::DeleteRecords { key, offset, known };
        self.clients[client].ask(&mut self.broker, 2, &body, note);
        Ok(())
    }

    pub fn take_records_deleted(
        &mut self,
        key: Key,
        offset: i64,
        known: Known,
        response: &DeleteRecordsResponse,
    ) -> Claim {
        if !self.is_alive(key) {
            return Ok(());
        }
        let faulty = self.faulty;
        let topics = response.topics.iter();
        let mut partitions = topics.flat_map(|topic| &topic.partitions);
        let answer = partitions.next().ok_or("no partition answered")?;
        let oracle = self.oracle(key)?;
        match answer.error_code {
            ErrorCode::NONE => {
                marks::hit("records deleted");
                oracle
                    .deleted_to(offset, answer.low_watermark.0)
                    .map_err(|why| format!("{key:?}, known {known:?}: {why}"))
            }
            // It may have happened all the same.
            _ if faulty || oracle.rotten => Ok(()),
            code => Err(format!("delete records of {key:?}: {}", code.name())),
        }
    }
}
