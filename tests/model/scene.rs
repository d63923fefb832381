//! Topics, batches and producers of a model run: what chance can choose from.
//!
//! Owns the shapes; draws only from the dice it is given.

use bytes::Bytes;
use ottla::devices::world::dice::Dice;
use ottla::wire::record::{BatchBuilder, Codec, NewRecord};
use ottla::words::{ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId};

/// A topic of the run, alive or deleted.
pub struct Topic {
    pub name: String,
    pub id: TopicId,
    pub partitions: i32,
    pub kind: Kind,
    pub alive: bool,
}

/// What a topic is there to test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Large segments and batches: the bypass, long reads.
    Plain,
    /// Segments of 1 MiB: rolls and old segments.
    Rolling,
    /// Segments of 1 MiB, of which retention keeps few.
    Forgetting,
    /// The broker's time in every record.
    Stamped,
    /// Deleted and made again.
    Fleeting,
}

pub const KINDS: [Kind; 5] = [
    Kind::Plain,
    Kind::Rolling,
    Kind::Forgetting,
    Kind::Stamped,
    Kind::Fleeting,
];

impl Kind {
    pub fn partitions(self) -> i32 {
        match self {
            Kind::Plain => 3,
            Kind::Rolling | Kind::Fleeting => 2,
            Kind::Forgetting | Kind::Stamped => 1,
        }
    }

    pub fn configs(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Kind::Plain => vec![("max.message.bytes", "4194304")],
            Kind::Rolling => vec![
                ("segment.bytes", "1048576"),
                ("segment.ms", "60000"),
                ("index.interval.bytes", "1024"),
            ],
            Kind::Forgetting => vec![
                ("segment.bytes", "1048576"),
                ("retention.bytes", "2000000"),
                ("retention.ms", "120000"),
            ],
            Kind::Stamped => vec![("message.timestamp.type", "LogAppendTime")],
            Kind::Fleeting => vec![("max.message.bytes", "4194304")],
        }
    }

    fn batch_bytes_max(self) -> u64 {
        match self {
            Kind::Plain | Kind::Fleeting => 2 << 20,
            _ => 900_000,
        }
    }
}

/// A batch before it is sent.
pub struct NewBatch {
    pub bytes: Bytes,
    pub timestamps: Vec<i64>,
}

/// A batch of random size: mostly tiny, sometimes so large that it goes past the journal. `name`
/// tells it from all others.
pub fn batch(
    dice: &mut Dice,
    kind: Kind,
    name: u64,
    wall: TimestampMs,
    producer: Option<(ProducerId, i32)>,
) -> NewBatch {
    let bytes = match dice.roll(20) {
        0..12 => dice.within(&(0..3_000)),
        12..16 => dice.within(&(3_000..60_000)),
        16..19 => dice.within(&(60_000..600_000)),
        _ => dice.within(&(600_000..kind.batch_bytes_max())),
    };
    let most = *dice.pick(&[1, 200, 10, 10]).unwrap_or(&1);
    let count = 1 + dice.roll(most);
    let codec = match dice.roll(8) {
        0 => Codec::ZSTD,
        1 => Codec::LZ4,
        _ => Codec::NONE,
    };
    let mut builder = BatchBuilder::new(codec);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(id, ProducerEpoch(0), Sequence(sequence));
    }
    let size = usize::try_from(bytes / count).unwrap_or(0);
    let value = vec![u8::try_from(name % 251).unwrap_or(0); size];
    let mut at = wall.0 - i64::try_from(dice.roll(4_000)).unwrap_or(0);
    let mut timestamps = Vec::new();
    for place in 0..count {
        let mut key = name.to_be_bytes().to_vec();
        key.extend_from_slice(&place.to_be_bytes());
        at += i64::try_from(dice.roll(3)).unwrap_or(0);
        timestamps.push(at);
        let record = NewRecord::of(TimestampMs(at), Some(&key), Some(&value));
        builder.push(&record).expect("a batch of bounded size");
    }
    NewBatch {
        bytes: builder.build().expect("a batch with records"),
        timestamps,
    }
}
