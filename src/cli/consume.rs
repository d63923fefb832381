//! `ottla consume`: records of a topic, from a place on, to standard output.
//!
//! Records of one partition come in their order; partitions come as they answer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Failure;
use super::format::Formatter;
use super::meaning::{self, From};
use super::output::Out;
use super::typed::Consume as Typed;
use crate::client::{
    Client, ClientError, Consumer, FetchOptions, FetchedRecord, Flow, OffsetSpec, Refusal, Topic,
};
use crate::wire::ErrorCode;
use crate::words::{Offset, PartitionIndex};

/// How long one look for records takes at most.
const POLL: Duration = Duration::from_millis(500);

type Offsets = BTreeMap<PartitionIndex, Offset>;

pub fn run(typed: &Typed, out: &mut Out) -> Result<(), Failure> {
    let format = meaning::format(typed)?;
    let mut client = super::connect(&typed.broker)?;
    let topic = client.topic(&typed.topic)?;
    let partitions = partitions(typed, &topic)?;
    // The end first: what comes after it was asked for is not waited for.
    let ends = match typed.until_end {
        true => Some(find(&mut client, &topic, &partitions, OffsetSpec::Latest)?),
        false => None,
    };
    let start = start(&mut client, typed.from, &topic, &partitions)?;
    if let (From::Offset(_), Some(ends)) = (typed.from, &ends) {
        none_past_the_end(&topic.name, &start, ends)?;
    }
    let options = FetchOptions {
        reset: match typed.from {
            // What was asked for by number and is not there is an error.
            From::Offset(_) => None,
            // The log may lose its beginning between the question and the first answer.
            From::Beginning | From::End | From::Time(_) => Some(OffsetSpec::Earliest),
        },
        ..FetchOptions::default()
    };
    let mut reading = Reading {
        consumer: Consumer::new(client, &typed.topic, &start, options),
        ends,
        left: typed.count,
    };
    let mut formatter = Formatter::new(format, &typed.topic, &typed.print, out.is_terminal());
    reading.read_all(&mut formatter, out)
}

struct Reading {
    consumer: Consumer,
    /// Where to stop, if anywhere.
    ends: Option<Offsets>,
    /// Records still to print, if they are counted.
    left: Option<u64>,
}

impl Reading {
    fn read_all(&mut self, formatter: &mut Formatter<'_>, out: &mut Out) -> Result<(), Failure> {
        while self.goes_on() {
            let mut failed = None;
            let (ends, left) = (&self.ends, &mut self.left);
            let polled = self.consumer.poll(POLL, &mut |record| {
                if is_past(ends, record) {
                    return Flow::Go;
                }
                if let Err(failure) = formatter.print(record, out) {
                    failed = Some(failure);
                    return Flow::Stop;
                }
                if let Some(left) = left {
                    *left = left.saturating_sub(1);
                }
                if *left == Some(0) {
                    Flow::Stop
                } else {
                    Flow::Go
                }
            });
            // What was read before an error is printed all the same.
            let flushed = out.flush();
            if let Some(failure) = failed {
                return Err(failure);
            }
            polled?;
            flushed?;
            Out::check_reader()?;
        }
        Ok(())
    }

    /// Leaves partitions that are at their end; says whether anything is left to do.
    fn goes_on(&mut self) -> bool {
        if self.left == Some(0) {
            return false;
        }
        let Some(ends) = &self.ends else {
            return true;
        };
        let end = |partition| ends.get(&partition).copied().unwrap_or(Offset(0));
        let done: Vec<PartitionIndex> = self
            .consumer
            .positions()
            .filter(|&(partition, next)| next >= end(partition))
            .map(|(partition, _)| partition)
            .collect();
        done.into_iter().for_each(|done| self.consumer.leave(done));
        self.consumer.positions().next().is_some()
    }
}

fn is_past(ends: &Option<Offsets>, record: &FetchedRecord<'_>) -> bool {
    let end = ends.as_ref().and_then(|ends| ends.get(&record.partition));
    end.is_some_and(|end| record.offset >= *end)
}

/// The partitions to read: those typed, or all.
fn partitions(typed: &Typed, topic: &Topic) -> Result<Vec<PartitionIndex>, ClientError> {
    if typed.partition.is_empty() {
        return Ok(topic.partitions.iter().map(|p| p.index).collect());
    }
    let typed = typed.partition.iter().copied().map(PartitionIndex);
    typed
        .map(|index| topic.partition(index).map(|partition| partition.index))
        .collect()
}

fn start(
    client: &mut Client,
    from: From,
    topic: &Topic,
    partitions: &[PartitionIndex],
) -> Result<Offsets, ClientError> {
    match (from, from.spec()) {
        (From::Offset(offset), _) => Ok(partitions.iter().map(|&p| (p, offset)).collect()),
        (_, spec) => {
            let spec = spec.unwrap_or(OffsetSpec::Latest);
            let mut found = find(client, topic, partitions, spec)?;
            let young: Vec<PartitionIndex> = partitions
                .iter()
                .copied()
                .filter(|partition| !found.contains_key(partition))
                .collect();
            if !young.is_empty() {
                // No record is that young: from the next on.
                found.extend(find(client, topic, &young, OffsetSpec::Latest)?);
            }
            Ok(found)
        }
    }
}

/// Refuses an offset behind the end, as a fetch would: nothing there would ever be read, and with
/// ends to read to nothing would be asked for either.
fn none_past_the_end(topic: &str, start: &Offsets, ends: &Offsets) -> Result<(), ClientError> {
    let past = |(partition, from): (&PartitionIndex, &Offset)| {
        let end = *ends.get(partition)?;
        (*from > end).then_some((*partition, *from, end))
    };
    let Some((partition, from, end)) = start.iter().find_map(past) else {
        return Ok(());
    };
    let about = format!("offset {from} of partition {topic}-{partition}");
    let message = format!("The partition ends at offset {end}.");
    let code = ErrorCode::OFFSET_OUT_OF_RANGE;
    Err(ClientError::Refused(Refusal::of(
        code,
        about,
        Some(&message),
    )))
}

fn find(
    client: &mut Client,
    topic: &Topic,
    partitions: &[PartitionIndex],
    spec: OffsetSpec,
) -> Result<Offsets, ClientError> {
    let wanted = partitions.iter().map(|&partition| (partition, spec));
    let found = client.list_offsets(&topic.name, &wanted.collect())?;
    let found = found
        .into_iter()
        .filter_map(|(partition, found)| Some((partition, found.offset?)));
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_behind_the_end_is_refused_and_the_end_itself_is_not() {
        let offsets = |all: &[i64]| -> Offsets {
            let numbered = (0..).map(PartitionIndex).zip(all);
            numbered.map(|(at, offset)| (at, Offset(*offset))).collect()
        };
        let ends = offsets(&[3, 5]);
        for (start, refused) in [([0, 0], None), ([3, 5], None), ([3, 6], Some("t-1"))] {
            let told = none_past_the_end("t", &offsets(&start), &ends);
            let told = told.err().map(|error| error.to_string());
            assert_eq!(told.is_some(), refused.is_some(), "{told:?}");
            if let (Some(told), Some(partition)) = (told, refused) {
                for part in [
                    partition,
                    "OFFSET_OUT_OF_RANGE",
                    "offset 6",
                    "ends at offset 5",
                ] {
                    assert!(told.contains(part), "{part}: {told}");
                }
            }
        }
        assert!(none_past_the_end("t", &offsets(&[9]), &Offsets::new()).is_ok());
    }
}
