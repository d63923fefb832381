//! Makes load and measures it from outside: records a second, and the time from `send` to the
//! delivery report. Open loop when a rate is given: a late record counts from when it was due.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::Outcome;

#[derive(Default)]
struct Seen {
    latencies_us: Vec<u64>,
    failed: u64,
}

#[derive(Clone)]
struct Context {
    begin: Instant,
    seen: Arc<Mutex<Seen>>,
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    /// When the record was due, in microseconds after the begin.
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, due_us: Box<u64>) {
        let took = micros(self.begin.elapsed()).saturating_sub(*due_us);
        let Ok(mut seen) = self.seen.lock() else {
            return;
        };
        match result {
            Ok(_) => seen.latencies_us.push(took),
            Err(_) => seen.failed += 1,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

pub fn run(topic: &str, records: &str, size: &str, pairs: &[&str]) -> Outcome<()> {
    let records: u64 = records
        .parse()
        .map_err(|_| "RECORDS is a number".to_owned())?;
    let size: usize = size.parse().map_err(|_| "SIZE is a number".to_owned())?;
    let mut config = crate::config();
    config.set("queue.buffering.max.messages", "500000");
    let (mut rate, mut partitions) = (0_u64, 0_u64);
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or("pairs are key=value")?;
        match key {
            "rate" => rate = value.parse().map_err(|_| "rate is a number".to_owned())?,
            "partitions" => {
                partitions = value
                    .parse()
                    .map_err(|_| "partitions is a number".to_owned())?
            }
            _ => drop(config.set(key, value)),
        }
    }
    let context = Context {
        begin: Instant::now(),
        seen: Arc::default(),
    };
    let producer: ThreadedProducer<Context> = config
        .create_with_context(context.clone())
        .map_err(|e| e.to_string())?;
    let payload = noise(size + 4096);
    for number in 0..records {
        let due = if rate == 0 {
            context.begin.elapsed()
        } else {
            Duration::from_nanos(1_000_000_000 / rate * number)
        };
        // Asleep, not polling: a spinning loop keeps librdkafka's own threads off the core.
        if let Some(early) = due.checked_sub(context.begin.elapsed()) {
            std::thread::sleep(early);
        }
        // Another window of the noise each time: equal records would compress to nothing.
        let from = usize::try_from(number % 4096).unwrap_or(0);
        let mut boxed = Box::new(micros(due));
        loop {
            let mut record = BaseRecord::<[u8], [u8], Box<u64>>::with_opaque_to(topic, boxed)
                .payload(&payload[from..from + size]);
            if partitions > 0 {
                record = record.partition(i32::try_from(number % partitions).unwrap_or(0));
            }
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    boxed = back.delivery_opaque;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.to_string()),
            }
        }
    }
    producer
        .flush(Duration::from_secs(300))
        .map_err(|e| e.to_string())?;
    print(&context, records, size)
}

/// Bytes that do not compress, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| step()).collect()
}

fn print(context: &Context, records: u64, size: usize) -> Outcome<()> {
    let seconds = context.begin.elapsed().as_secs_f64();
    let mut seen = context.seen.lock().map_err(|e| e.to_string())?;
    seen.latencies_us.sort_unstable();
    let at = |per_mille: usize| {
        let last = seen.latencies_us.len().saturating_sub(1);
        seen.latencies_us
            .get(last * per_mille / 1000)
            .copied()
            .unwrap_or(0)
    };
    println!(
        "{{\"records\":{records},\"size\":{size},\"seconds\":{seconds:.3},\"acknowledged\":{},\"failed\":{},\
         \"p50_us\":{},\"p99_us\":{},\"p999_us\":{},\"max_us\":{}}}",
        seen.latencies_us.len(),
        seen.failed,
        at(500),
        at(990),
        at(999),
        at(1000),
    );
    if seen.failed > 0 {
        Err(format!("{} records failed", seen.failed))
    } else {
        Ok(())
    }
}
