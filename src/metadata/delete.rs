//! Decisions about deleting topics: image and request in, records and answers out.
//!
//! Owns Kafka's rules for doubles and strangers (`ControllerApis.deleteTopics`). Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::admin::{Deletion, TopicRefusal, TopicSelector};
use super::decide::Decision;
use super::image::MetadataImage;
use super::records::Record;
use crate::words::TopicId;

/// Decides DeleteTopics. What a request names twice, in whatever way, is refused once and stays.
pub fn delete_topics(image: &MetadataImage, topics: &[TopicSelector]) -> Decision<Vec<Deletion>> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<TopicId, usize> = BTreeMap::new();
    for topic in topics {
        match topic.name.as_deref() {
            Some(name) if topic.id.is_zero() => add(names.entry(name).or_default()),
            None if !topic.id.is_zero() => add(ids.entry(topic.id).or_default()),
            _ => {}
        }
    }
    let mut records = Vec::new();
    let mut answer = Vec::new();
    let mut told_names = BTreeSet::new();
    let mut told_ids = BTreeSet::new();
    for topic in topics {
        let deletion = match (topic.name.as_deref(), topic.id.is_zero()) {
            (Some(name), true) => {
                let first = told_names.insert(name);
                first.then(|| by_name(image, name, &names, &ids))
            }
            (None, false) => {
                let first = told_ids.insert(topic.id);
                first
                    .then(|| by_id(image, topic.id, &names, &ids))
                    .flatten()
            }
            (None, true) => Some(refused(None, topic.id, TopicRefusal::NeitherNameNorId)),
            (Some(_), false) => Some(refused(
                topic.name.clone(),
                topic.id,
                TopicRefusal::BothNameAndId,
            )),
        };
        let Some(deletion) = deletion else { continue };
        if deletion.result.is_ok() {
            records.push(Record::TopicDeleted { id: deletion.id });
        }
        answer.push(deletion);
    }
    Decision { records, answer }
}

fn add(times: &mut usize) {
    *times = times.saturating_add(1);
}

fn refused(name: Option<String>, id: TopicId, why: TopicRefusal) -> Deletion {
    Deletion {
        name,
        id,
        result: Err(why),
    }
}

fn by_name(
    image: &MetadataImage,
    name: &str,
    names: &BTreeMap<&str, usize>,
    ids: &BTreeMap<TopicId, usize>,
) -> Deletion {
    let told = Some(name.to_owned());
    if names.get(name).is_some_and(|times| *times > 1) {
        return refused(told, TopicId::ZERO, TopicRefusal::DuplicateName);
    }
    match image.topic(name) {
        None => refused(told, TopicId::ZERO, TopicRefusal::UnknownName),
        Some(topic) if ids.contains_key(&topic.id) => {
            refused(told, topic.id, TopicRefusal::NameOfGivenId)
        }
        Some(topic) => Deletion {
            name: told,
            id: topic.id,
            result: Ok(()),
        },
    }
}

/// `None` where the topic's name is in the request too: that entry has the answer.
fn by_id(
    image: &MetadataImage,
    id: TopicId,
    names: &BTreeMap<&str, usize>,
    ids: &BTreeMap<TopicId, usize>,
) -> Option<Deletion> {
    if ids.get(&id).is_some_and(|times| *times > 1) {
        return Some(refused(None, id, TopicRefusal::DuplicateId));
    }
    match image.topic_by_id(id) {
        None => Some(refused(None, id, TopicRefusal::UnknownId)),
        Some(topic) if names.contains_key(&*topic.name) => None,
        Some(topic) => Some(Deletion {
            name: Some(topic.name.to_string()),
            id,
            result: Ok(()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::{id, image, topic_of};
    use super::*;

    fn named(name: &str) -> TopicSelector {
        TopicSelector {
            name: Some(name.into()),
            id: TopicId::ZERO,
        }
    }

    fn by(number: u8) -> TopicSelector {
        TopicSelector {
            name: None,
            id: id(number),
        }
    }

    /// `name id-byte refusal` of each answer; `-` is none.
    fn told(topics: &[TopicSelector]) -> (Vec<String>, usize) {
        let image = image(&[topic_of(1, "a"), topic_of(2, "b"), topic_of(3, "c")]);
        let decision = delete_topics(&image, topics);
        let lines = decision.answer.iter().map(|one| {
            let why = one
                .result
                .as_ref()
                .map_or_else(|why| format!("{why:?}"), |()| "ok".into());
            format!(
                "{} {} {why}",
                one.name.as_deref().unwrap_or("-"),
                one.id.0[0]
            )
        });
        (lines.collect(), decision.records.len())
    }

    #[test]
    fn doubles_and_strangers_are_answered_as_kafka_answers() {
        let both = TopicSelector {
            name: Some("a".into()),
            id: id(1),
        };
        let neither = TopicSelector {
            name: None,
            id: TopicId::ZERO,
        };
        let table: [(&[TopicSelector], &[&str], usize); 10] = [
            (&[], &[], 0),
            (&[named("a"), by(2)], &["a 1 ok", "b 2 ok"], 2),
            (&[named("x"), named("c")], &["x 0 UnknownName", "c 3 ok"], 1),
            (&[by(9)], &["- 9 UnknownId"], 0),
            (&[neither], &["- 0 NeitherNameNorId"], 0),
            (&[both], &["a 1 BothNameAndId"], 0),
            (
                &[named("a"), named("b"), named("a")],
                &["a 0 DuplicateName", "b 2 ok"],
                1,
            ),
            (&[by(1), by(1), by(1)], &["- 1 DuplicateId"], 0),
            (&[named("a"), by(1)], &["a 1 NameOfGivenId"], 0),
            (
                &[by(1), named("a"), by(2)],
                &["a 1 NameOfGivenId", "b 2 ok"],
                1,
            ),
        ];
        for (topics, lines, records) in table {
            assert_eq!(
                told(topics),
                (lines.iter().map(|l| (*l).to_owned()).collect(), records)
            );
        }
    }
}
