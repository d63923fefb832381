//! Checks that a user of rdkafka would notice failing; every check has its own topic.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::Outcome;

const WAIT: Duration = Duration::from_secs(20);

type Check = (&'static str, fn(&str) -> Outcome<()>);

const CHECKS: [Check; 12] = [
    ("create_topic_shows_in_metadata", create_topic),
    ("codec_none", |t| codec(t, "none")),
    ("codec_gzip", |t| codec(t, "gzip")),
    ("codec_snappy", |t| codec(t, "snappy")),
    ("codec_lz4", |t| codec(t, "lz4")),
    ("codec_zstd", |t| codec(t, "zstd")),
    ("idempotent_order", idempotent),
    ("acks_0_1_all", acks),
    ("big_message", big),
    ("seek_by_offset_and_time", seek),
    ("many_partitions", many_partitions),
    ("long_poll_wakes_early", long_poll),
];

/// Runs all checks; one line each.
pub fn all() -> Outcome<()> {
    let run = now_ms() % 100_000_000;
    let mut red = 0;
    for (name, check) in CHECKS {
        match check(&format!("rd-{name}-{run}")) {
            Ok(()) => println!("ok {name}"),
            Err(why) => {
                red += 1;
                println!("FAIL {name}: {why}");
            }
        }
    }
    if red > 0 {
        Err(format!("{red} checks failed"))
    } else {
        Ok(())
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Drives a future that librdkafka's own threads complete.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let thread = std::thread::current();
    let waker = std::sync::Arc::new(Wake(thread)).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(out) = future.as_mut().poll(&mut context) {
            return out;
        }
        std::thread::park();
    }
}

struct Wake(std::thread::Thread);

impl std::task::Wake for Wake {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

fn create(topic: &str, partitions: i32) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = crate::config().create().map_err(text)?;
    let topics = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
    let options = AdminOptions::new().operation_timeout(Some(WAIT));
    let results = block_on(admin.create_topics(&topics, &options)).map_err(text)?;
    for result in results {
        result.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    serves(topic, partitions)
}

/// Waits until every leader answers: one that is named but does not serve yet makes a producer
/// without idempotence reorder.
fn serves(topic: &str, partitions: i32) -> Outcome<()> {
    let consumer: BaseConsumer = crate::config().create().map_err(text)?;
    let end = Instant::now() + WAIT;
    for partition in 0..partitions {
        while let Err(error) = consumer.fetch_watermarks(topic, partition, WAIT) {
            ensure(Instant::now() < end, || {
                format!("{topic} {partition}: {error}")
            })?;
        }
    }
    Ok(())
}

fn producer(pairs: &[(&str, &str)]) -> Outcome<BaseProducer> {
    let mut config = crate::config();
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config.create().map_err(text)
}

/// A consumer that reads `topic` from given places, without a group.
fn consumer(topic: &str, from: &[(i32, Offset)]) -> Outcome<BaseConsumer> {
    let consumer: BaseConsumer = crate::config()
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", "20000000")
        .create()
        .map_err(text)?;
    let mut list = TopicPartitionList::new();
    for (partition, offset) in from {
        list.add_partition_offset(topic, *partition, *offset)
            .map_err(text)?;
    }
    consumer.assign(&list).map_err(text)?;
    Ok(consumer)
}

fn send(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    key: &str,
    value: &[u8],
    at: i64,
) -> Outcome<()> {
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "h",
            value: Some("1"),
        })
        .insert(Header {
            key: "h",
            value: None::<&str>,
        });
    let record = BaseRecord::to(topic)
        .partition(partition)
        .key(key)
        .payload(value)
        .timestamp(at)
        .headers(headers);
    producer.send(record).map_err(|(e, _)| e.to_string())
}

fn read<T>(
    consumer: &BaseConsumer,
    count: usize,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> T,
) -> Outcome<Vec<T>> {
    let end = Instant::now() + WAIT;
    let mut out = Vec::new();
    while out.len() < count {
        match consumer.poll(end.saturating_duration_since(Instant::now())) {
            Some(message) => out.push(take(&message.map_err(text)?)),
            None => return Err(format!("{} of {count} records came", out.len())),
        }
    }
    Ok(out)
}

fn create_topic(topic: &str) -> Outcome<()> {
    create(topic, 7)?;
    let consumer: BaseConsumer = crate::config().create().map_err(text)?;
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).map_err(text)?;
    let found = metadata.topics().first().map(|t| t.partitions().len());
    ensure(found == Some(7), || {
        format!("7 partitions were asked for, {found:?} are there")
    })
}

fn codec(topic: &str, codec: &str) -> Outcome<()> {
    create(topic, 1)?;
    let producer = producer(&[("compression.type", codec), ("linger.ms", "20")])?;
    let begin = now_ms() - 60_000;
    for n in 0..500 {
        send(
            &producer,
            topic,
            0,
            &format!("k{n}"),
            format!("value {n} ").repeat(20).as_bytes(),
            begin + n,
        )?;
    }
    producer.flush(WAIT).map_err(text)?;
    let consumer = consumer(topic, &[(0, Offset::Beginning)])?;
    let mut expected = 0_i64;
    let rows = read(&consumer, 500, |m| {
        let n = expected;
        expected += 1;
        let headers: Vec<_> = m
            .headers()
            .iter()
            .flat_map(|h| h.iter())
            .map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)))
            .collect();
        m.offset() == n
            && m.key() == Some(format!("k{n}").as_bytes())
            && m.payload() == Some(format!("value {n} ").repeat(20).as_bytes())
            && m.timestamp().to_millis() == Some(begin + n)
            && headers
                == [
                    ("h".to_owned(), Some(b"1".to_vec())),
                    ("h".to_owned(), None),
                ]
    })?;
    let wrong = rows.iter().position(|right| !right);
    ensure(wrong.is_none(), || {
        format!("record {wrong:?} came back changed")
    })
}

fn idempotent(topic: &str) -> Outcome<()> {
    create(topic, 1)?;
    let producer = producer(&[
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("batch.num.messages", "10"),
    ])?;
    for n in 0..2000 {
        send(
            &producer,
            topic,
            0,
            "k",
            format!("{n}").as_bytes(),
            now_ms(),
        )?;
    }
    producer.flush(WAIT).map_err(text)?;
    let consumer = consumer(topic, &[(0, Offset::Beginning)])?;
    let rows = read(&consumer, 2000, |m| {
        String::from_utf8_lossy(m.payload().unwrap_or_default()).into_owned()
    })?;
    let wrong = rows
        .iter()
        .enumerate()
        .position(|(n, v)| *v != n.to_string());
    let (low, high) = consumer.fetch_watermarks(topic, 0, WAIT).map_err(text)?;
    ensure(wrong.is_none(), || format!("out of order at {wrong:?}"))?;
    ensure((low, high) == (0, 2000), || {
        format!("watermarks {low} and {high}")
    })
}

fn acks(topic: &str) -> Outcome<()> {
    create(topic, 1)?;
    for acks in ["0", "1", "all"] {
        let producer = producer(&[("acks", acks)])?;
        send(&producer, topic, 0, acks, b"v", now_ms())?;
        producer.flush(WAIT).map_err(text)?;
    }
    let consumer = consumer(topic, &[(0, Offset::Beginning)])?;
    let mut keys = read(&consumer, 3, |m| {
        String::from_utf8_lossy(m.key().unwrap_or_default()).into_owned()
    })?;
    keys.sort();
    ensure(keys == ["0", "1", "all"], || format!("{keys:?}"))
}

fn big(topic: &str) -> Outcome<()> {
    create(topic, 1)?;
    let producer = producer(&[("message.max.bytes", "2000000")])?;
    // The broker's default bound is 1,048,588 bytes of batch; headers and framing fit in the rest.
    let value: Vec<u8> = (0..1_048_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    send(&producer, topic, 0, "big", &value, now_ms())?;
    producer.flush(WAIT).map_err(text)?;
    let consumer = consumer(topic, &[(0, Offset::Beginning)])?;
    let same = read(&consumer, 1, |m| m.payload() == Some(value.as_slice()))?;
    ensure(same == [true], || {
        "the big value came back changed".to_owned()
    })
}

fn seek(topic: &str) -> Outcome<()> {
    create(topic, 1)?;
    let producer = producer(&[("linger.ms", "0"), ("batch.num.messages", "7")])?;
    let begin = now_ms() - 600_000;
    for n in 0..100 {
        send(
            &producer,
            topic,
            0,
            "k",
            format!("{n}").as_bytes(),
            begin + n * 1000,
        )?;
    }
    producer.flush(WAIT).map_err(text)?;
    let reader = consumer(topic, &[(0, Offset::Offset(42))])?;
    let first = read(&reader, 1, |m| m.offset())?;
    ensure(first == [42], || format!("asked for 42, got {first:?}"))?;
    reader
        .seek(topic, 0, Offset::Offset(7), WAIT)
        .map_err(text)?;
    let first = read(&reader, 1, |m| m.offset())?;
    ensure(first == [7], || format!("sought 7, got {first:?}"))?;
    let mut times = TopicPartitionList::new();
    times
        .add_partition_offset(topic, 0, Offset::Offset(begin + 49_500))
        .map_err(text)?;
    let found = reader.offsets_for_times(times, WAIT).map_err(text)?;
    let offset = found.find_partition(topic, 0).map(|p| p.offset());
    ensure(offset == Some(Offset::Offset(50)), || {
        format!("by time: {offset:?}, not 50")
    })?;
    let tail = consumer(topic, &[(0, Offset::OffsetTail(3))])?;
    let last = read(&tail, 3, |m| m.offset())?;
    ensure(last == [97, 98, 99], || format!("the last three: {last:?}"))
}

fn many_partitions(topic: &str) -> Outcome<()> {
    create(topic, 64)?;
    let producer = producer(&[("linger.ms", "5")])?;
    for n in 0..6400 {
        send(
            &producer,
            topic,
            n % 64,
            "k",
            format!("{}", n / 64).as_bytes(),
            now_ms(),
        )?;
    }
    producer.flush(WAIT).map_err(text)?;
    let all: Vec<_> = (0..64).map(|p| (p, Offset::Beginning)).collect();
    let consumer = consumer(topic, &all)?;
    let mut next = [0_i64; 64];
    let rows = read(&consumer, 6400, |m| {
        let slot = usize::try_from(m.partition())
            .ok()
            .and_then(|p| next.get_mut(p));
        let right = slot
            .as_ref()
            .is_some_and(|s| **s == m.offset() && m.payload() == Some(s.to_string().as_bytes()));
        if let Some(slot) = slot {
            *slot += 1;
        }
        right
    })?;
    ensure(rows.iter().all(|r| *r), || {
        "a partition is out of order".to_owned()
    })
}

/// A fetch that waits must be answered by the record, not by its time-out.
fn long_poll(topic: &str) -> Outcome<()> {
    create(topic, 1)?;
    let reader: BaseConsumer = crate::config()
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10000")
        .create()
        .map_err(text)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .map_err(text)?;
    reader.assign(&list).map_err(text)?;
    ensure(reader.poll(Duration::from_secs(2)).is_none(), || {
        "a record in an empty topic".to_owned()
    })?;
    let producer = producer(&[("linger.ms", "0")])?;
    send(&producer, topic, 0, "k", b"v", now_ms())?;
    producer.flush(WAIT).map_err(text)?;
    let begin = Instant::now();
    read(&reader, 1, |_| ())?;
    ensure(begin.elapsed() < Duration::from_secs(3), || {
        format!("took {:?}", begin.elapsed())
    })
}
