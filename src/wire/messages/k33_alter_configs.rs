//! AlterConfigs, key 33, versions 0-2: replacing a resource's whole configuration (KIP-133; superseded by KIP-339).
//!
//! 1: throttled late. 2: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// New configuration of resources.
    AlterConfigsRequest(ALTER_CONFIGS) -> AlterConfigsResponse;
    resources: Vec<AlterConfigsResource>, 0..;
    validate_only: bool, 0..;
}

structure! {
    /// A resource; what is not named goes back to its default.
    AlterConfigsResource;
    resource_type: i8, 0..;
    resource_name: KStr, 0..;
    configs: Vec<AlterableConfig>, 0..;
}

structure! {
    /// A configuration entry.
    AlterableConfig;
    name: KStr, 0..;
    value: Option<KStr>, 0.., null 0..;
}

response! {
    /// Outcome by resource.
    AlterConfigsResponse(ALTER_CONFIGS);
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
