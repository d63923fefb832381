//! IncrementalAlterConfigs, key 44, versions 0-1: changing single configuration keys (KIP-339).
//!
//! 1: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Changes of resources.
    IncrementalAlterConfigsRequest(INCREMENTAL_ALTER_CONFIGS) -> IncrementalAlterConfigsResponse;
    resources: Vec<AlterConfigsResource>, 0..;
    validate_only: bool, 0..;
}

structure! {
    /// A resource; what is not named stays.
    AlterConfigsResource;
    resource_type: i8, 0..;
    resource_name: KStr, 0..;
    configs: Vec<AlterableConfig>, 0..;
}

structure! {
    /// A change: 0 set, 1 delete, 2 append, 3 subtract.
    AlterableConfig;
    name: KStr, 0..;
    config_operation: i8, 0..;
    value: Option<KStr>, 0.., null 0..;
}

response! {
    /// Outcome by resource.
    IncrementalAlterConfigsResponse(INCREMENTAL_ALTER_CONFIGS);
    throttle_time_ms: i32, 0..;
    responses: Vec<AlterConfigsResourceResponse>, 0..;
}

structure! {
    /// Outcome for one resource.
    AlterConfigsResourceResponse;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 0.., null 0..;
    resource_type: i8, 0..;
    resource_name: KStr, 0..;
}
