//! Every decoder against bytes that no honest peer sends.
//!
//! Method: cut, bent and random bytes, from seeds. Nothing may panic, and what is read must
//! survive being written. What it costs in memory is measured by the test crate `wire_memory`.

use bytes::Bytes;

use super::CATALOGUE;
use crate::wire::codec::{DecodeFault, Reader};
use crate::wire::header::RequestHeader;
use crate::wire::testing::Dice;

/// Bytes whose meaning as a length, count, tag or mark is extreme.
const NASTY: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x02, 0x0f];

#[test]
fn every_prefix_of_every_message_is_short() {
    for probe in CATALOGUE {
        for version in probe.api.version_min..=probe.api.version_max {
            let bytes = (probe.sample)(&mut Dice::new(3), version);
            let step = 1 + bytes.len() / 300;
            for len in (0..bytes.len()).step_by(step) {
                let read = (probe.echo)(&bytes.slice(..len), version);
                let at = format!("{} {version}, {len} of {}", probe.name, bytes.len());
                assert_eq!(read, Err(DecodeFault::Short), "{at}");
            }
        }
    }
}

#[test]
fn bytes_after_a_message_are_ignored() {
    for probe in CATALOGUE {
        for version in probe.api.version_min..=probe.api.version_max {
            let bytes = (probe.sample)(&mut Dice::new(4), version);
            let longer = Bytes::from([&bytes[..], b"and more"].concat());
            assert_eq!((probe.echo)(&longer, version), Ok(bytes));
        }
    }
}

#[test]
fn bent_messages_are_refused_or_survive_being_written() {
    for probe in CATALOGUE {
        for version in probe.api.version_min..=probe.api.version_max {
            for seed in 0..60 {
                let mut dice = Dice::new(seed);
                let mut bytes = (probe.sample)(&mut dice, version).to_vec();
                for _ in 0..1 + dice.below(4) {
                    if !bytes.is_empty() {
                        let at = dice.below(bytes.len());
                        let [random] = dice.array();
                        let nasty = NASTY[dice.below(NASTY.len())];
                        bytes[at] = if dice.below(2) == 0 { nasty } else { random };
                    }
                }
                if let Ok(first) = (probe.echo)(&Bytes::from(bytes), version) {
                    let second = (probe.echo)(&first, version);
                    assert_eq!(second, Ok(first), "{} {version}, {seed}", probe.name);
                }
            }
        }
    }
}

#[test]
fn random_bytes_never_panic_a_decoder() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let len = dice.below(200);
        let nasty = dice.below(2) == 0;
        let bytes: Bytes = (0..len)
            .map(|_| match nasty {
                true => NASTY[dice.below(NASTY.len())],
                false => dice.array::<1>()[0],
            })
            .collect();
        let _ = RequestHeader::read(&mut Reader::new(&bytes));
        for probe in CATALOGUE {
            for version in probe.api.version_min..=probe.api.version_max {
                let _ = (probe.echo)(&bytes, version);
            }
        }
    }
}

#[test]
fn versions_outside_the_range_are_refused() {
    let bytes = Bytes::from_static(&[0; 100]);
    for probe in CATALOGUE {
        let below = probe.api.version_min - 1;
        let above = probe.api.version_max + 1;
        for version in [i16::MIN, below, above, i16::MAX] {
            let read = (probe.echo)(&bytes, version);
            assert_eq!(read, Err(DecodeFault::Version(version)), "{}", probe.name);
        }
    }
}
