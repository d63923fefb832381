//! `ottla topic`: make, list, describe, delete.
//!
//! Several topics are treated one after the other; what fails for one is told at the end and stops
//! no other, unless there is no broker any more.

use std::collections::BTreeMap;

use serde::Serialize;

use super::failure::Failure;
use super::output::{Out, joined};
use super::typed::{Topic as Typed, TopicCreate, TopicDeed};

use crate::client::{
    Asked, Client, ClientError, ConfigEntry, NewTopic, OffsetSpec, Partition, Topic,
};
use crate::wire::ErrorCode;
use crate::words::{NodeId, PartitionIndex};

pub fn run(typed: &Typed, out: &mut Out) -> Result<(), Failure> {
    let mut client = super::connect(&typed.broker)?;
    match &typed.deed {
        TopicDeed::Create(create) => each(&create.topics, |name| {
            create_one(&mut client, create, name, out)
        }),
        TopicDeed::List { internal } => list(&mut client, *internal, out),
        TopicDeed::Describe {
            topics,
            all_configs,
        } => each(topics, |name| {
            describe_one(&mut client, name, *all_configs, out)
        }),
        TopicDeed::Delete { topics, if_exists } => each(topics, |name| {
            delete_one(&mut client, name, *if_exists, out)
        }),
    }
}

/// Runs a deed for every topic, and gathers what failed.
fn each(
    topics: &[String],
    mut deed: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for topic in topics {
        match deed(topic) {
            Ok(()) => {}
            Err(Failure::PipeClosed) => return Err(Failure::PipeClosed),
            Err(failure) => {
                let lost = matches!(&failure, Failure::Client(error) if error.is_absence());
                failures.push(failure);
                if lost {
                    break;
                }
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::Several(failures))
}

#[derive(Serialize)]
struct CreatedLine<'a> {
    topic: &'a str,
    created: bool,
    validated_only: bool,
    topic_id: Option<String>,
    partitions: Option<i32>,
    replication: Option<i16>,
}

fn create_one(
    client: &mut Client,
    typed: &TopicCreate,
    name: &str,
    out: &mut Out,
) -> Result<(), Failure> {
    let configs = typed.config.iter();
    let new = NewTopic {
        name: name.to_owned(),
        partitions: typed.partitions,
        replication: typed.replication,
        configs: configs.map(|c| (c.key.clone(), c.value.clone())).collect(),
    };
    let mut line = CreatedLine {
        topic: name,
        created: false,
        validated_only: typed.validate_only,
        topic_id: None,
        partitions: None,
        replication: None,
    };
    match client.create_topic(&new, typed.validate_only) {
        Ok(made) => {
            line.created = !typed.validate_only;
            // Kafka answers a question, too, with an id, which no topic will have.
            let has_id = line.created && !made.id.is_zero();
            line.topic_id = has_id.then(|| made.id.to_string());
            line.partitions = Some(made.partitions).filter(|count| *count > 0);
            line.replication = Some(made.replication).filter(|count| *count > 0);
        }
        Err(error) if typed.if_not_exists && is(&error, ErrorCode::TOPIC_ALREADY_EXISTS) => {}
        Err(error) => return Err(error.into()),
    }
    if line.created {
        // So that the next command finds it led.
        client.await_leaders(name)?;
    }
    if out.is_json() {
        return out.json_line(&line);
    }
    let count = |count: Option<i64>| count.map_or("?".to_owned(), |count| count.to_string());
    match (line.created, line.validated_only) {
        (true, _) => out.line(&format!(
            "{name}: created, partitions {}, replication {}",
            count(line.partitions.map(i64::from)),
            count(line.replication.map(i64::from))
        )),
        (false, true) => out.line(&format!("{name}: could be created")),
        (false, false) => out.line(&format!("{name}: exists already")),
    }
}

#[derive(Serialize)]
struct DeletedLine<'a> {
    topic: &'a str,
    deleted: bool,
}

fn delete_one(
    client: &mut Client,
    name: &str,
    if_exists: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let deleted = match client.delete_topic(name) {
        Ok(()) => true,
        Err(error) if if_exists && is(&error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => false,
        Err(error) => return Err(error.into()),
    };
    if out.is_json() {
        return out.json_line(&DeletedLine {
            topic: name,
            deleted,
        });
    }
    let said = if deleted { "deleted" } else { "does not exist" };
    out.line(&format!("{name}: {said}"))
}

fn is(error: &ClientError, code: ErrorCode) -> bool {
    error.code() == Some(code)
}

#[derive(Serialize)]
struct ListedLine<'a> {
    topic: &'a str,
    topic_id: Option<String>,
    internal: bool,
    partitions: usize,
    replication: usize,
}

fn list(client: &mut Client, internal: bool, out: &mut Out) -> Result<(), Failure> {
    client.refresh(Asked::All)?;
    let topics = client.cluster().topics.values();
    let shown: Vec<&Topic> = topics.filter(|topic| internal || !topic.internal).collect();
    if out.is_json() {
        for topic in shown {
            out.json_line(&ListedLine {
                topic: &topic.name,
                topic_id: (!topic.id.is_zero()).then(|| topic.id.to_string()),
                internal: topic.internal,
                partitions: topic.partitions.len(),
                replication: replication(topic),
            })?;
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|topic| {
            vec![
                topic.name.clone(),
                topic.partitions.len().to_string(),
                replication(topic).to_string(),
            ]
        })
        .collect();
    out.table(&["TOPIC", "PARTITIONS", "REPLICATION"], &rows)
}

/// Most replicas that any partition has.
fn replication(topic: &Topic) -> usize {
    let counts = topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len());
    counts.max().unwrap_or(0)
}

#[derive(Serialize)]
struct DescribedLine<'a> {
    topic: &'a str,
    topic_id: Option<String>,
    internal: bool,
    replication: usize,
    partitions: Vec<PartitionLine>,
    configs: Vec<ConfigLine<'a>>,
}

#[derive(Serialize)]
struct PartitionLine {
    partition: i32,
    /// Null for none.
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    /// Null when no leader tells.
    earliest: Option<i64>,
    latest: Option<i64>,
}

#[derive(Serialize)]
struct ConfigLine<'a> {
    name: &'a str,
    value: Option<&'a str>,
    default: bool,
}

fn describe_one(
    client: &mut Client,
    name: &str,
    all_configs: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let topic = client.topic(name)?;
    let configs = client.describe_topic_configs(name)?;
    let shown = |entry: &&ConfigEntry| all_configs || !entry.is_default();
    let configs: Vec<&ConfigEntry> = configs.iter().filter(shown).collect();
    let earliest = offsets(client, &topic, OffsetSpec::Earliest)?;
    let latest = offsets(client, &topic, OffsetSpec::Latest)?;
    let partition_line = |partition: &Partition| PartitionLine {
        partition: partition.index.0,
        leader: Some(partition.leader.0).filter(|leader| *leader != NodeId::NONE.0),
        leader_epoch: partition.leader_epoch.0,
        replicas: numbers(&partition.replicas),
        isr: numbers(&partition.isr),
        offline: numbers(&partition.offline),
        earliest: earliest.get(&partition.index).copied(),
        latest: latest.get(&partition.index).copied(),
    };
    let partitions: Vec<PartitionLine> = topic.partitions.iter().map(partition_line).collect();
    if out.is_json() {
        return out.json_line(&DescribedLine {
            topic: name,
            topic_id: (!topic.id.is_zero()).then(|| topic.id.to_string()),
            internal: topic.internal,
            replication: replication(&topic),
            partitions,
            configs: configs.into_iter().map(config_line).collect(),
        });
    }
    out.line(&format!(
        "{name}  id {}  partitions {}  replication {}",
        topic.id,
        topic.partitions.len(),
        replication(&topic)
    ))?;
    let titles = [
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "ISR",
        "OFFLINE",
        "EARLIEST",
        "LATEST",
    ];
    let rows: Vec<Vec<String>> = partitions.iter().map(row).collect();
    out.table(&titles, &rows)?;
    for config in configs {
        let value = config.value.as_deref().unwrap_or("(hidden)");
        out.line(&super::output::clean(&format!("{}={value}", config.name)))?;
    }
    Ok(())
}

fn config_line(entry: &ConfigEntry) -> ConfigLine<'_> {
    ConfigLine {
        name: &entry.name,
        value: entry.value.as_deref(),
        default: entry.is_default(),
    }
}

fn row(line: &PartitionLine) -> Vec<String> {
    let or_dash = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
    vec![
        line.partition.to_string(),
        or_dash(line.leader.map(i64::from)),
        line.leader_epoch.to_string(),
        joined(&line.replicas),
        joined(&line.isr),
        joined(&line.offline),
        or_dash(line.earliest),
        or_dash(line.latest),
    ]
}

fn numbers(ids: &[NodeId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

/// Of the partitions that have a leader.
fn offsets(
    client: &mut Client,
    topic: &Topic,
    spec: OffsetSpec,
) -> Result<BTreeMap<PartitionIndex, i64>, Failure> {
    let led = topic.partitions.iter().filter(|p| p.leader != NodeId::NONE);
    let wanted: BTreeMap<_, _> = led.map(|partition| (partition.index, spec)).collect();
    let found = client.list_offsets(&topic.name, &wanted)?;
    let offsets = found
        .into_iter()
        .filter_map(|(partition, found)| Some((partition, found.offset?.0)));
    Ok(offsets.collect())
}
