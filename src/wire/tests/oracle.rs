//! Every message of every version against another implementation of the protocol.
//!
//! Method: random messages are written here, read and written again by the oracle, and read here
//! again; all bytes must agree. That two fields of one type are not swapped is for `schema.rs`.

use std::collections::BTreeSet;

use super::CATALOGUE;
use crate::wire::api_key::ApiKey;
use crate::wire::testing::Dice;

const SEEDS: u64 = 25;

#[test]
fn every_message_of_every_version_survives_the_oracle_and_back() {
    for probe in CATALOGUE {
        for version in probe.api.version_min..=probe.api.version_max {
            for seed in 0..SEEDS {
                let at = format!("{} {version}, seed {seed}", probe.name);
                let ours = (probe.sample)(&mut Dice::new(seed), version);
                let theirs = (probe.oracle_echo)(&ours, version);
                assert_eq!(ours, theirs, "{at}");
                assert_eq!((probe.echo)(&theirs, version), Ok(ours), "{at}");
            }
        }
    }
}

#[test]
fn every_served_api_has_its_two_messages_in_the_catalogue() {
    let here: BTreeSet<&str> = CATALOGUE.iter().map(|probe| probe.name).collect();
    for row in ApiKey::all_served() {
        for kind in ["Request", "Response"] {
            let name = format!("{}{kind}", row.name);
            assert!(here.contains(name.as_str()), "{name}");
        }
    }
}

#[test]
fn names_of_messages_are_those_of_their_apis() {
    for probe in CATALOGUE {
        assert!(probe.name.starts_with(probe.api.name), "{}", probe.name);
    }
}
