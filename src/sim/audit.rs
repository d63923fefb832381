//! Reads everything back and holds it against the oracles.
//!
//! Nothing is under way while it runs, so that what the broker says has to be exact.

use super::client::Client;
use super::fetch::{EARLIEST, LATEST};
use super::run::{Claim, Key, Run};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use crate::wire::messages::ListOffsetsResponse;
use crate::words::{Offset, PartitionIndex};

const MAX_TIMESTAMP: i64 = -3;

/// Reads every partition from its beginning to its end.
pub fn everything(run: &mut Run) -> Claim {
    for key in run.live_keys(|_| true) {
        if run.oracles[&key].rotten {
            continue;
        }
        let topic = &run.topics[key.0];
        let name = topic.name.clone();
        let leader = run.broker.leader(&name, key.1).ok_or("no leader")?;
        let mut client = Client::connect(&mut run.broker, leader);
        let checked = partition(run, &mut client, key);
        client.leave(&mut run.broker, false);
        if run.broker.world.disk().is_off() {
            return Ok(());
        }
        checked.map_err(|why| format!("reading all of {key:?}: {why}"))?;
    }
    Ok(())
}

fn partition(run: &mut Run, client: &mut Client<()>, key: Key) -> Claim {
    let known = run.oracles[&key].known();
    let (_, start) = offset(run, client, key, EARLIEST)?;
    let (_, end) = offset(run, client, key, LATEST)?;
    oracle(run, key).shown(end, start, known)?;
    let mut next = start;
    let bytes_max = *run
        .dice
        .pick(&[200_000, 1_000_000, 5_000_000])
        .unwrap_or(&1);
    while next < end {
        let records = read(run, client, key, next, bytes_max)?;
        let after = oracle(run, key).read(next, &records)?;
        if after == next {
            return Err(format!("nothing at {next} below {end}"));
        }
        next = after;
    }
    if next != end {
        return Err(format!("read to {next} of {end}"));
    }
    oracle(run, key).complete(start, end)?;
    if !run.oracles[&key].stamps {
        times(run, client, key, start)?;
    }
    Ok(())
}

/// Looks up some times, inside and outside of what there is.
fn times(run: &mut Run, client: &mut Client<()>, key: Key, start: i64) -> Claim {
    let wall = run.broker.world.now().wall.0;
    let (largest, _) = offset(run, client, key, MAX_TIMESTAMP)?;
    let expected = run.oracles[&key].largest_timestamp(start).unwrap_or(-1);
    // Kafka too looks at whole segments, of which the log start may have passed the beginning.
    if largest != expected && start == 0 {
        return Err(format!("largest timestamp {largest}, {expected} expected"));
    }
    for _ in 0..3 {
        let asked = wall + 2_000 - run.dice.roll(20_000) as i64;
        let found = offset(run, client, key, asked)?;
        let expected = run.oracles[&key].first_at_or_after(start, asked);
        let expected = expected.map_or((-1, -1), |(offset, at)| (at, offset));
        if found != expected {
            return Err(format!(
                "time {asked}: (time, offset) {found:?}, {expected:?} expected"
            ));
        }
    }
    Ok(())
}

fn oracle(run: &mut Run, key: Key) -> &mut super::oracle::PartitionOracle {
    run.oracles.entry(key).or_default()
}

/// Timestamp and offset that ListOffsets gives.
fn offset(run: &mut Run, client: &mut Client<()>, key: Key, asked: i64) -> Claim<(i64, i64)> {
    let body = run.offset_request(key, asked);
    client.ask(&mut run.broker, 9, &body, ());
    let response: ListOffsetsResponse = one_answer(run, client)?;
    let partition = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.first())
        .ok_or("no partition answered")?;
    match partition.error_code.is_none() {
        true => Ok((partition.timestamp.0, partition.offset.0)),
        false => Err(format!("offset at {asked}: {partition:?}")),
    }
}

fn read(
    run: &mut Run,
    client: &mut Client<()>,
    key: Key,
    from: i64,
    bytes_max: i32,
) -> Claim<bytes::Bytes> {
    let partition = FetchPartition {
        partition: PartitionIndex(key.1),
        fetch_offset: Offset(from),
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    };
    let body = FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        session_epoch: -1,
        topics: [FetchTopic {
            topic_id: run.topics[key.0].id,
            partitions: [partition].into_iter().collect(),
            ..FetchTopic::default()
        }]
        .into_iter()
        .collect(),
        ..FetchRequest::default()
    };
    client.ask(&mut run.broker, 16, &body, ());
    let mut response: FetchResponse = one_answer(run, client)?;
    let mut topic = response.responses.pop().ok_or("no topic answered")?;
    let data = topic.partitions.pop().ok_or("no partition answered")?;
    match data.error_code.is_none() {
        true => Ok(data.records.unwrap_or_default().into_bytes()),
        false => Err(format!("fetch from {from}: error {}", data.error_code.0)),
    }
}

fn one_answer<M: crate::wire::Message>(run: &mut Run, client: &mut Client<()>) -> Claim<M> {
    for _ in 0..20_000 {
        if let Some(answer) = client.answers(&mut run.broker)?.pop() {
            return answer.decode();
        }
        if client.is_gone(&run.broker) {
            return Err("the connection is gone".to_owned());
        }
        run.broker.world.run_for_ms(1);
    }
    Err("no answer".to_owned())
}
