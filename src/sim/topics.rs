//! Topics and batches of a run: what chance can choose from.
//!
//! Owns the shapes; draws only from the dice it is given.

use bytes::Bytes;

use super::plan::{Plan, Sizes};
use crate::devices::world::dice::Dice;
use crate::wire::record::{BatchBuilder, Codec, NewRecord};
use crate::words::{ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId};

/// A topic of the run, alive or not.
pub struct Topic {
    pub name: String,
    pub id: TopicId,
    pub partitions: i32,
    pub kind: Kind,
    pub state: TopicState,
}

/// What the clients know of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicState {
    /// Asked for, not answered.
    Creating,
    Alive,
    /// Its deletion is asked for, not answered.
    Deleting,
    Gone,
}

/// What a topic is there to test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Everything stays.
    Plain,
    /// Rolls by time too.
    Rolling,
    /// Retention keeps little.
    Forgetting,
    /// The broker's time in every record.
    Stamped,
    /// Deleted and made again.
    Fleeting,
}

pub const KINDS: [Kind; 5] = [
    Kind::Fleeting,
    Kind::Plain,
    Kind::Forgetting,
    Kind::Rolling,
    Kind::Stamped,
];

impl Kind {
    pub fn configs(self, plan: &Plan) -> Vec<(&'static str, String)> {
        let segment = plan.segment_bytes;
        let mut configs = vec![
            ("internal.segment.bytes", segment.to_string()),
            ("max.message.bytes", "4194304".to_owned()),
            ("index.interval.bytes", "1024".to_owned()),
        ];
        match self {
            Kind::Plain | Kind::Fleeting => {}
            Kind::Rolling => configs.push(("segment.ms", "60000".to_owned())),
            Kind::Forgetting => {
                configs.push(("retention.bytes", (segment * 2).to_string()));
                configs.push(("retention.ms", "120000".to_owned()));
            }
            Kind::Stamped => {
                configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
            }
        }
        configs
    }
}

/// A batch before it is sent.
pub struct NewBatch {
    pub bytes: Bytes,
    pub timestamps: Vec<i64>,
}

/// Bytes of the values of a batch.
fn size(dice: &mut Dice, plan: &Plan) -> u64 {
    let most = plan.segment_bytes.saturating_sub(2_000).min(3 << 20);
    let bytes = match (plan.sizes, dice.roll(40)) {
        (Sizes::Tiny, 0..38) => dice.within(&(0..300)),
        (Sizes::Tiny, _) => dice.within(&(300..6_000)),
        (Sizes::Mixed, 0..32) => dice.within(&(0..2_000)),
        (Sizes::Mixed, 32..38) => dice.within(&(2_000..40_000)),
        (Sizes::Mixed, _) => dice.within(&(40_000..400_000)),
        (Sizes::Large, 0..30) => dice.within(&(0..20_000)),
        (Sizes::Large, 30..38) => dice.within(&(20_000..300_000)),
        (Sizes::Large, _) => dice.within(&(300_000..2_500_000)),
    };
    bytes.min(most)
}

/// A batch of random size. `name` tells it from all others.
pub fn batch(
    dice: &mut Dice,
    plan: &Plan,
    name: u64,
    wall: TimestampMs,
    producer: Option<(ProducerId, i32)>,
) -> Result<NewBatch, String> {
    let bytes = size(dice, plan);
    let most = *dice.pick(&[1, 40, 5, 5]).unwrap_or(&1);
    // A record costs some bytes whatever its value is.
    let count = 1 + dice.roll(most.min(1 + plan.segment_bytes / 200));
    let codec = match dice.roll(10) {
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
        builder
            .push(&record)
            .map_err(|fault| format!("{fault:?}"))?;
    }
    let bytes = builder.build().map_err(|fault| format!("{fault:?}"))?;
    Ok(NewBatch { bytes, timestamps })
}
