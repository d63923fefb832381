//! DescribeConfigs (key 32), versions 1 to 4: the settings of topics, brokers, groups.
//!
//! v1 source and synonyms (KIP-226); v3 type and documentation (KIP-569); v4 flexible.
//!
//! A broker is the node that is asked. Of its loggers only the root is told. Groups and client
//! metrics subscriptions have their settings told although they are not served yet.

use crate::api::ports::Ports;
use crate::metadata::{Resource, topic_rules};
use crate::settings::describe::{self, Described, Keys};
use crate::wire::messages::k32_describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::{ErrorCode, KStr};

/// Kafka's numbers of resources (`ConfigResource.Type`).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Why a resource is not told.
struct Refusal {
    code: ErrorCode,
    message: String,
}

/// Answers each resource on its own.
pub fn answer(request: &DescribeConfigsRequest, ports: &Ports<'_>) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let told = describe_one(resource, ports);
        let (code, message, told) = match told {
            Ok(told) => (ErrorCode::NONE, String::new(), told),
            Err(refusal) => (refusal.code, refusal.message, Vec::new()),
        };
        DescribeConfigsResult {
            error_code: code,
            error_message: Some(KStr::from(message)),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: told.into_iter().map(|one| entry(one, request)).collect(),
        }
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..DescribeConfigsResponse::default()
    }
}

fn describe_one(
    resource: &DescribeConfigsResource,
    ports: &Ports<'_>,
) -> Result<Vec<Described>, Refusal> {
    let names: Vec<&str> = resource
        .configuration_keys
        .iter()
        .flatten()
        .map(KStr::as_str)
        .collect();
    // No list and an empty one ask for everything.
    let keys = if names.is_empty() {
        Keys::All
    } else {
        Keys::These(&names)
    };
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => topic(name, keys, ports),
        BROKER if name.is_empty() => Ok(describe::broker_default(&ports.layers(), keys)),
        BROKER => {
            check_node(name, "or empty string, but received", ports)?;
            Ok(describe::broker(&ports.layers(), keys))
        }
        BROKER_LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty")),
        BROKER_LOGGER => {
            check_node(name, "but received", ports)?;
            Ok(describe::loggers(keys))
        }
        CLIENT_METRICS if name.is_empty() => Err(invalid(
            "Client metrics subscription name must not be empty",
        )),
        CLIENT_METRICS => {
            let own = ports
                .image
                .configs(&Resource::ClientMetrics(name.to_owned()));
            Ok(describe::client_metrics(own, keys))
        }
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty")),
        GROUP => {
            let own = ports.image.configs(&Resource::Group(name.to_owned()));
            Ok(describe::group(own, &ports.layers(), keys))
        }
        _ => Err(invalid(ErrorCode::INVALID_REQUEST.message())),
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal {
        code: ErrorCode::INVALID_REQUEST,
        message: message.to_owned(),
    }
}

fn topic(name: &str, keys: Keys<'_>, ports: &Ports<'_>) -> Result<Vec<Described>, Refusal> {
    topic_rules::check_name(name).map_err(|bad| Refusal {
        code: ErrorCode::INVALID_TOPIC_EXCEPTION,
        message: bad.to_string(),
    })?;
    match ports.image.topic(name) {
        Some(topic) => Ok(describe::topic(&topic.configs, &ports.layers(), keys)),
        None => Err(Refusal {
            code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            message: String::new(),
        }),
    }
}

/// A node tells only of itself.
fn check_node(name: &str, received: &str, ports: &Ports<'_>) -> Result<(), Refusal> {
    let Ok(id) = name.parse::<i32>() else {
        return Err(invalid(&format!(
            "Broker id must be an integer, but it is: {name}"
        )));
    };
    if id == ports.node.0 {
        return Ok(());
    }
    let expected = ports.node;
    Err(invalid(&format!(
        "Unexpected broker id, expected {expected} {received} {id}"
    )))
}

fn entry(told: Described, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = told
        .synonyms
        .into_iter()
        .filter(|_| request.include_synonyms);
    let documentation = match told.kind {
        // Loggers have an empty text, asked for or not.
        0 if told.documentation.is_some() => told.documentation,
        _ => told.documentation.filter(|_| request.include_documentation),
    };
    DescribeConfigsResourceResult {
        name: KStr::from(told.name),
        value: told.value.map(KStr::from),
        read_only: told.read_only,
        config_source: told.source.wire(),
        is_sensitive: told.sensitive,
        synonyms: synonyms
            .map(|one| DescribeConfigsSynonym {
                name: KStr::from(one.name),
                value: one.value.map(KStr::from),
                source: one.source.wire(),
            })
            .collect(),
        config_type: told.kind,
        documentation: documentation.map(KStr::from_static),
    }
}
