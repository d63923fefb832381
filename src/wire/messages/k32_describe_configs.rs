//! DescribeConfigs, key 32, versions 1-4: configuration of topics, brokers, groups.
//!
//! 1: source and synonyms (KIP-226). 2: throttled late. 3: type and documentation (KIP-569). 4: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Resources asked for.
    DescribeConfigsRequest(DESCRIBE_CONFIGS) -> DescribeConfigsResponse;
    resources: Vec<DescribeConfigsResource>, 0..;
    include_synonyms: bool, 1..;
    include_documentation: bool, 3..;
}

structure! {
    /// A resource (2 topic, 4 broker, 8 broker loggers, 16 client metrics, 32 group); null or no keys are all.
    DescribeConfigsResource;
    resource_type: i8, 0..;
    resource_name: KStr, 0..;
    configuration_keys: Option<Vec<KStr>>, 0.., null 0..;
}

response! {
    /// Configuration by resource.
    DescribeConfigsResponse(DESCRIBE_CONFIGS);
    throttle_time_ms: i32, 0..;
    results: Vec<DescribeConfigsResult>, 0..;
}

structure! {
    /// A resource answered.
    DescribeConfigsResult;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 0.., null 0..;
    resource_type: i8, 0..;
    resource_name: KStr, 0..;
    configs: Vec<DescribeConfigsResourceResult>, 0..;
}

structure! {
    /// A configuration entry, with where its value comes from.
    DescribeConfigsResourceResult;
    name: KStr, 0..;
    value: Option<KStr>, 0.., null 0..;
    read_only: bool, 0..;
    config_source: i8, 1.., default -1;
    is_sensitive: bool, 0..;
    synonyms: Vec<DescribeConfigsSynonym>, 1..;
    config_type: i8, 3..;
    documentation: Option<KStr>, 3.., null 3..;
}

structure! {
    /// A place that could give the value, the strongest first.
    DescribeConfigsSynonym;
    name: KStr, 1..;
    value: Option<KStr>, 1.., null 1..;
    source: i8, 1..;
}
