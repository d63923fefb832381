//! ApiVersions (key 18), versions 0 to 4: what this broker speaks.
//!
//! v1 throttle; v3 flexible, the client's software, features (KIP-511, KIP-584); v4 supported
//! features may have a minimum of 0. An unknown version is answered in version 0 with the range of
//! this API alone.
//!
//! Only what is served is told. Of Kafka's features only `metadata.version` is: the others
//! (`group.version`, `transaction.version`, `share.version`, ...) switch clients to protocols that
//! are not built, so they are neither supported nor finalized until they are.

use crate::api::ports::Ports;
use crate::wire::messages::k18_api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::wire::{ApiKey, ApiRow, ErrorCode, KStr};

/// First version that names the client's software.
const SOFTWARE_VERSION_MIN: i16 = 3;
const METADATA_VERSION: KStr = KStr::from_static("metadata.version");
/// `metadata.version` levels of Apache Kafka 4.3: from 3.3-IV3 to 4.3-IV0.
const METADATA_VERSION_LEVELS: (i16, i16) = (7, 30);

/// Answers with everything that is served.
pub fn answer(
    request: &ApiVersionsRequest,
    version: i16,
    ports: &Ports<'_>,
) -> ApiVersionsResponse {
    let software = [
        &request.client_software_name,
        &request.client_software_version,
    ];
    if version >= SOFTWARE_VERSION_MIN && !software.iter().all(|text| is_software_text(text)) {
        return ApiVersionsResponse {
            error_code: ErrorCode::INVALID_REQUEST,
            ..ApiVersionsResponse::default()
        };
    }
    let (level_min, level_max) = METADATA_VERSION_LEVELS;
    ApiVersionsResponse {
        api_keys: ApiKey::all_served().map(told).collect(),
        supported_features: vec![SupportedFeatureKey {
            name: METADATA_VERSION,
            min_version: level_min,
            max_version: level_max,
        }],
        finalized_features_epoch: i64::try_from(ports.image.version()).unwrap_or(i64::MAX),
        finalized_features: vec![FinalizedFeatureKey {
            name: METADATA_VERSION,
            max_version_level: level_max,
            min_version_level: level_max,
        }],
        ..ApiVersionsResponse::default()
    }
}

/// The answer to a version that nobody knows; to be written in version 0.
pub fn unsupported() -> ApiVersionsResponse {
    let own = ApiKey::API_VERSIONS.row();
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: own.map(told).into_iter().collect(),
        ..ApiVersionsResponse::default()
    }
}

fn told(row: &ApiRow) -> ApiVersion {
    ApiVersion {
        api_key: row.key.0,
        min_version: row.advertised_min,
        max_version: row.version_max,
    }
}

/// Letters, digits, dots and dashes, a letter or digit first and last (KIP-511).
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_texts_are_judged_as_kafka_judges_them() {
        for good in ["a", "9", "librdkafka", "a.b-c.1", "v1.2.3-rc1"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", "-ask", "ask-", "a sk", "a_b", "a@b", ".", "ä"] {
            assert!(!is_software_text(bad), "{bad}");
        }
    }

    #[test]
    fn an_unknown_version_hears_of_this_api_alone() {
        let response = unsupported();
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
        let [only] = response.api_keys.as_slice() else {
            panic!("{response:?}")
        };
        assert_eq!(
            (only.api_key, only.min_version, only.max_version),
            (18, 0, 4)
        );
    }
}
