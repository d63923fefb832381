//! Which version of each API to speak with one broker.
//!
//! Owns what a broker said it speaks, and the choice. Never sends anything.

use crate::wire::ApiRow;
use crate::wire::messages::ApiVersionsResponse;

/// The versions that one broker offers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Versions {
    offers: Vec<(i16, Offer)>,
}

/// The versions of one API that a broker offers, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    /// As the broker tells them. Of an API told twice the first counts.
    pub fn of(answer: &ApiVersionsResponse) -> Versions {
        let mut offers = Vec::new();
        for api in &answer.api_keys {
            let offer = Offer {
                min: api.min_version,
                max: api.max_version,
            };
            offers.push((api.api_key, offer));
        }
        offers.sort_by_key(|&(key, _)| key);
        offers.dedup_by_key(|&mut (key, _)| key);
        Versions { offers }
    }

    pub fn offer(&self, api: &ApiRow) -> Option<Offer> {
        let at = self
            .offers
            .binary_search_by_key(&api.key.0, |&(key, _)| key)
            .ok()?;
        self.offers.get(at).map(|&(_, offer)| offer)
    }

    /// The highest version that the broker offers and this code has, at most `cap`.
    pub fn choose(&self, api: &ApiRow, cap: i16) -> Option<i16> {
        let offer = self.offer(api)?;
        let version = api.version_max.min(offer.max).min(cap);
        (version >= api.version_min && version >= offer.min).then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ApiKey;
    use crate::wire::messages::k18_api_versions::ApiVersion;

    fn offering(key: ApiKey, min_version: i16, max_version: i16) -> Versions {
        Versions::of(&ApiVersionsResponse {
            api_keys: vec![
                ApiVersion {
                    api_key: 18,
                    min_version: 0,
                    max_version: 4,
                },
                ApiVersion {
                    api_key: key.0,
                    min_version,
                    max_version,
                },
            ],
            ..ApiVersionsResponse::default()
        })
    }

    #[test]
    fn the_highest_common_version_below_the_cap_is_chosen() {
        let metadata = ApiKey::METADATA.row().unwrap();
        let choose = |min, max, cap| offering(ApiKey::METADATA, min, max).choose(metadata, cap);
        assert_eq!(choose(0, 99, i16::MAX), Some(metadata.version_max));
        assert_eq!(choose(0, 7, i16::MAX), Some(7));
        assert_eq!(choose(0, 12, 9), Some(9));
        assert_eq!(choose(10, 12, 9), None);
        assert_eq!(choose(99, 100, i16::MAX), None);
        assert_eq!(choose(5, 4, i16::MAX), None);
        let produce = ApiKey::PRODUCE.row().unwrap();
        assert_eq!(offering(ApiKey::PRODUCE, 0, 2).choose(produce, 12), None);
        assert_eq!(offering(ApiKey::METADATA, 0, 2).choose(produce, 12), None);
    }
}
