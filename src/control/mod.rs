//! The one metadata writer, as a machine of its own thread.
//!
//! Takes what shards ask ([`ControlMessage::Ask`]), decides it on the image, makes the records of a
//! whole turn durable with one append, and only then publishes the next image and answers. Owns
//! the metadata log and the working image; has no socket, knows no request of the wire, and never
//! draws an id itself: ids come from whoever starts it.
//!
//! Its log may block (see [`MetadataLog`]): the writer has its thread to itself, no shard waits
//! for it, and nothing else is to be done while a change becomes durable.

pub mod log;
pub mod meta_properties;
pub mod start;

use std::sync::Arc;

use crate::devices::{Effect, Effects, Event, Machine, PeerId};
use crate::metadata::admin::{Deletion, TopicOutcome};
use crate::metadata::alter::Altered;
use crate::metadata::decide::{self, TopicDefaults};
use crate::metadata::grow::Growth;
use crate::metadata::{
    AdminReply, AdminRequest, AlterRefusal, ImageCell, MetadataImage, Record, TopicRefusal,
};
use crate::metadata::{alter, delete, grow};
use crate::settings::BrokerSettings;
use crate::words::{Deadline, Now, TopicId};

pub use log::{FileLog, LogFault, MetadataLog};
pub use start::{StartError, Started, start};

/// Name that a shard gives to a question, to know the answer by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What travels between shards and the metadata writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlMessage {
    /// From a shard. Each is answered once, in the order in which the shard asked.
    Ask { token: Token, request: AdminRequest },
    /// To the shard that asked. The image that holds the change is published already.
    Answer { token: Token, reply: AdminReply },
    /// Answer what was asked, then leave.
    Stop,
}

/// Draws 16 random bytes for a new identity.
pub type NewId = Box<dyn FnMut() -> [u8; 16] + Send>;
/// Tells every shard that there is a new image to look at.
pub type Wake = Box<dyn Fn() + Send>;

/// What the writer needs beside its log and image.
pub struct ControlStart {
    pub cell: Arc<ImageCell>,
    pub defaults: TopicDefaults,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// What the process was started with: bounds and defaults of dynamic settings.
    pub settings: BrokerSettings,
    pub new_id: NewId,
    pub wake: Wake,
}

/// The machine.
pub struct Control<L> {
    log: L,
    /// The durable image, as published.
    image: Arc<MetadataImage>,
    with: ControlStart,
    /// Asked in this turn. Bounded by what connections may have in flight: a request asks once.
    asked: Vec<Asked>,
    stopping: bool,
}

struct Asked {
    from: PeerId,
    token: Token,
    request: AdminRequest,
}

impl<L: MetadataLog> Control<L> {
    /// A writer that goes on from `image`, which is all that `log` holds.
    pub fn new(log: L, image: Arc<MetadataImage>, with: ControlStart) -> Control<L> {
        Control {
            log,
            image,
            with,
            asked: Vec::new(),
            stopping: false,
        }
    }

    /// Decides `asked` in order, each on what the ones before it leave, and answers all of them
    /// when the records are durable.
    fn settle(&mut self, asked: Vec<Asked>, effects: &mut Effects<ControlMessage>) {
        let mut next = (*self.image).clone();
        let mut records = Vec::new();
        let mut replies = Vec::new();
        for one in &asked {
            let (mut made, reply) = self.decide(&next, &one.request);
            let fits = next.apply_all(&made);
            assert!(
                fits.is_ok(),
                "a decision contradicts its own image: {fits:?}"
            );
            records.append(&mut made);
            replies.push(reply);
        }
        match self.commit(&records) {
            Ok(()) => {
                self.publish(next, !records.is_empty());
                for (one, reply) in asked.into_iter().zip(replies) {
                    answer(effects, one.from, one.token, reply);
                }
            }
            // Together they are too large: each may fit alone.
            Err(LogFault::TooLarge) if asked.len() > 1 => {
                for one in asked {
                    self.settle(vec![one], effects);
                }
            }
            Err(fault) => {
                // Even answers without records saw what is not going to be.
                for one in asked {
                    answer(effects, one.from, one.token, failed(&one.request, &fault));
                }
            }
        }
    }

    fn decide(
        &mut self,
        image: &MetadataImage,
        request: &AdminRequest,
    ) -> (Vec<Record>, AdminReply) {
        let new_id = &mut self.with.new_id;
        let mut topic_id = || fresh_topic_id(image, new_id);
        let defaults = &self.with.defaults;
        match request {
            AdminRequest::CreateTopics {
                topics,
                validate_only,
            } => {
                let decision = decide::create_topics(image, topics, defaults, &mut topic_id);
                let records = written(decision.records, *validate_only);
                (records, AdminReply::Created(decision.answer))
            }
            AdminRequest::AutoCreate { names } => {
                let decision = decide::auto_create(image, names, defaults, &mut topic_id);
                (decision.records, AdminReply::AutoCreated(decision.answer))
            }
            AdminRequest::DeleteTopics { topics } if !self.with.delete_topics => {
                let refused = |why: &TopicRefusal| deletions(topics, why);
                (
                    Vec::new(),
                    AdminReply::Deleted(refused(&TopicRefusal::DeletionDisabled)),
                )
            }
            AdminRequest::DeleteTopics { topics } => {
                let decision = delete::delete_topics(image, topics);
                (decision.records, AdminReply::Deleted(decision.answer))
            }
            AdminRequest::AllocateProducerIds => {
                let decision = decide::allocate_producer_ids(image);
                (decision.records, AdminReply::ProducerIds(decision.answer))
            }
            AdminRequest::CreatePartitions {
                topics,
                validate_only,
            } => {
                let decision = grow::create_partitions(image, topics);
                let records = written(decision.records, *validate_only);
                (records, AdminReply::Grown(decision.answer))
            }
            AdminRequest::AlterConfigs {
                node,
                resources,
                validate_only,
            } => {
                let settings = &self.with.settings;
                let decision = alter::alter_configs(image, *node, resources, settings);
                let records = written(decision.records, *validate_only);
                (records, AdminReply::Altered(decision.answer))
            }
        }
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), LogFault> {
        if records.is_empty() {
            return Ok(());
        }
        self.log.append(self.image.version(), records)
    }

    fn publish(&mut self, next: MetadataImage, changed: bool) {
        if !changed {
            return;
        }
        self.image = Arc::new(next);
        self.log.applied(&self.image);
        self.with.cell.publish(Arc::clone(&self.image));
        (self.with.wake)();
    }
}

impl<L: MetadataLog> Machine<ControlMessage> for Control<L> {
    fn handle(
        &mut self,
        _now: Now,
        event: Event<ControlMessage>,
        _effects: &mut Effects<ControlMessage>,
    ) {
        match event {
            Event::Message {
                from,
                message: ControlMessage::Ask { token, request },
            } => self.asked.push(Asked {
                from,
                token,
                request,
            }),
            Event::Message {
                message: ControlMessage::Stop,
                ..
            } => self.stopping = true,
            // It asks for nothing that could complete, has no connections, and gets no answers.
            Event::Message {
                message: ControlMessage::Answer { .. },
                ..
            }
            | Event::Accepted { .. }
            | Event::Received { .. }
            | Event::Sent { .. }
            | Event::Closed { .. }
            | Event::Done { .. }
            | Event::Woken
            | Event::Tick => {}
        }
    }

    fn end_turn(&mut self, _now: Now, effects: &mut Effects<ControlMessage>) {
        let asked = std::mem::take(&mut self.asked);
        if !asked.is_empty() {
            self.settle(asked, effects);
        }
        if self.stopping {
            effects.push(Effect::Stop);
        }
    }

    fn next_deadline(&self) -> Option<Deadline> {
        None
    }
}

/// What is written of a decision: nothing of a dry run.
fn written(records: Vec<Record>, validate_only: bool) -> Vec<Record> {
    if validate_only { Vec::new() } else { records }
}

fn answer(effects: &mut Effects<ControlMessage>, to: PeerId, token: Token, reply: AdminReply) {
    effects.push(Effect::Post {
        to,
        message: ControlMessage::Answer { token, reply },
    });
}

/// An id that no topic has. Kafka passes over ids that begin with a dash, so that they can be
/// typed on a command line (`Uuid.randomUuid`).
fn fresh_topic_id(image: &MetadataImage, new_id: &mut NewId) -> TopicId {
    loop {
        let id = TopicId(new_id());
        let reserved = id.is_zero() || id.0 == 1u128.to_be_bytes();
        if !reserved && !id.to_string().starts_with('-') && image.topic_by_id(id).is_none() {
            return id;
        }
    }
}

/// The answer to a request whose records did not become durable.
fn failed(request: &AdminRequest, fault: &LogFault) -> AdminReply {
    let why = match fault {
        LogFault::TooLarge => TopicRefusal::TooLarge,
        LogFault::Full(_) | LogFault::Dead => TopicRefusal::Storage,
    };
    let outcomes = |names: Vec<&String>| {
        let all = names.into_iter().map(|name| TopicOutcome {
            name: name.clone(),
            result: Err(why.clone()),
        });
        all.collect::<Vec<_>>()
    };
    match request {
        AdminRequest::CreateTopics { topics, .. } => {
            AdminReply::Created(outcomes(topics.iter().map(|topic| &topic.name).collect()))
        }
        AdminRequest::AutoCreate { names } => {
            AdminReply::AutoCreated(outcomes(names.iter().collect()))
        }
        AdminRequest::DeleteTopics { topics } => AdminReply::Deleted(deletions(topics, &why)),
        AdminRequest::AllocateProducerIds => AdminReply::ProducerIds(Err(why)),
        AdminRequest::CreatePartitions { topics, .. } => {
            let all = topics.iter().map(|topic| Growth {
                name: topic.name.clone(),
                result: Err(why.clone()),
            });
            AdminReply::Grown(all.collect())
        }
        AdminRequest::AlterConfigs { resources, .. } => {
            let all = resources.iter().map(|one| Altered {
                resource_type: one.resource_type,
                name: one.name.clone(),
                result: Err(match fault {
                    LogFault::TooLarge => AlterRefusal::TooLarge,
                    LogFault::Full(_) | LogFault::Dead => AlterRefusal::Storage,
                }),
            });
            AdminReply::Altered(all.collect())
        }
    }
}

fn deletions(
    topics: &[crate::metadata::admin::TopicSelector],
    why: &TopicRefusal,
) -> Vec<Deletion> {
    let all = topics.iter().map(|topic| Deletion {
        name: topic.name.clone(),
        id: topic.id,
        result: Err(why.clone()),
    });
    all.collect()
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
