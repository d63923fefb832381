//! ApiVersions, key 18, versions 0-4: what the broker speaks.
//!
//! An unknown version is answered in version 0; the response header is always version 0 (KIP-511).
//! 1: throttle. 3: flexible, client software, features (KIP-584). 4: features whose minimum is 0 may be told.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Asks for versions, and says which client asks.
    ApiVersionsRequest(API_VERSIONS) -> ApiVersionsResponse;
    client_software_name: KStr, 3..;
    client_software_version: KStr, 3..;
}

response! {
    /// Versions and features.
    ApiVersionsResponse(API_VERSIONS);
    error_code: ErrorCode, 0..;
    api_keys: Vec<ApiVersion>, 0..;
    throttle_time_ms: i32, 1..;
    supported_features: Vec<SupportedFeatureKey>, 3.., tag 0;
    finalized_features_epoch: i64, 3.., tag 1, default -1;
    finalized_features: Vec<FinalizedFeatureKey>, 3.., tag 2;
    zk_migration_ready: bool, 3.., tag 3;
}

structure! {
    /// The versions of one API.
    ApiVersion;
    api_key: i16, 0..;
    min_version: i16, 0..;
    max_version: i16, 0..;
}

structure! {
    /// A feature level range this broker supports.
    SupportedFeatureKey;
    name: KStr, 3..;
    min_version: i16, 3..;
    max_version: i16, 3..;
}

structure! {
    /// A feature level the cluster has agreed on.
    FinalizedFeatureKey;
    name: KStr, 3..;
    max_version_level: i16, 3..;
    min_version_level: i16, 3..;
}
