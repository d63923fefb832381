//! Sends a text line by line, keyed, with an idempotent producer that outlives restarts of the
//! broker. Counts what was acknowledged; never reads back.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::Outcome;

/// Counts of what became of the records.
#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Default)]
struct Context(Arc<Counts>);

impl ClientContext for Context {
    /// A broker that is down for a moment is part of the exercise: only fatal errors are news.
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            eprintln!("fatal: {reason}");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.0.acknowledged.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                eprintln!("not delivered: {error}");
                self.0.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// Sends stdin; a line without a tab has no key.
pub fn send(topic: &str) -> Outcome<()> {
    let context = Context::default();
    let producer: ThreadedProducer<Context> = crate::config()
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "200000")
        .set("message.timeout.ms", "600000")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(context.clone())
        .map_err(|e| e.to_string())?;
    let mut sent = 0_u64;
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.map_err(|e| e.to_string())?;
        queue(&producer, topic, &line)?;
        sent += 1;
        if sent.is_multiple_of(50_000) {
            // One line of progress: whoever runs this may want to pull the plug in the middle.
            println!(
                "queued {sent} acknowledged {}",
                context.0.acknowledged.load(Ordering::Relaxed)
            );
        }
    }
    producer
        .flush(Duration::from_secs(600))
        .map_err(|e| e.to_string())?;
    let acknowledged = context.0.acknowledged.load(Ordering::Relaxed);
    let failed = context.0.failed.load(Ordering::Relaxed);
    println!("sent {sent} acknowledged {acknowledged} failed {failed}");
    if failed > 0 || acknowledged != sent {
        return Err(format!(
            "{failed} failed, {acknowledged} of {sent} acknowledged"
        ));
    }
    Ok(())
}

/// Queues one line, waiting while the producer's queue is full.
fn queue(producer: &ThreadedProducer<Context>, topic: &str, line: &[u8]) -> Outcome<()> {
    let (key, value) = match line.iter().position(|b| *b == b'\t') {
        Some(tab) => (Some(&line[..tab]), &line[tab + 1..]),
        None => (None, line),
    };
    loop {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => return Err(error.to_string()),
        }
    }
}
