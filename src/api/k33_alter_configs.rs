//! AlterConfigs (key 33), versions 0 to 2: replacing all settings of resources (KIP-133).
//!
//! v1 throttled late; v2 flexible. Superseded by IncrementalAlterConfigs (KIP-339).
//!
//! Kafka never answers a request that names a resource twice; here both are answered with 42.

use crate::api::cold::Step;
use crate::api::refusals;
use crate::metadata::alter::{Alteration, Altered, Changes};
use crate::metadata::{AdminReply, AdminRequest};
use crate::wire::messages::k33_alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use crate::wire::{ErrorCode, KStr};
use crate::words::NodeId;

/// Hands the resources to the metadata writer. `node` is the one that is asked.
pub fn begin(request: &AlterConfigsRequest, node: NodeId) -> Step<AlterConfigsResponse> {
    if request.resources.is_empty() {
        return Step::Reply(AlterConfigsResponse::default());
    }
    Step::Ask(AdminRequest::AlterConfigs {
        node,
        resources: request.resources.iter().map(alteration).collect(),
        validate_only: request.validate_only,
    })
}

fn alteration(resource: &AlterConfigsResource) -> Alteration {
    let configs = resource.configs.iter().map(|config| {
        let value = config.value.as_deref().map(str::to_owned);
        (config.name.as_str().to_owned(), value)
    });
    Alteration {
        resource_type: resource.resource_type,
        name: resource.resource_name.as_str().to_owned(),
        changes: Changes::Replace(configs.collect()),
    }
}

/// The writer's outcomes as the answer.
pub fn finish(reply: AdminReply) -> AlterConfigsResponse {
    let outcomes = match reply {
        AdminReply::Altered(outcomes) => outcomes,
        // The writer answers what it was asked.
        _ => Vec::new(),
    };
    AlterConfigsResponse {
        responses: outcomes.into_iter().map(response).collect(),
        ..AlterConfigsResponse::default()
    }
}

fn response(altered: Altered) -> AlterConfigsResourceResponse {
    let (error_code, error_message) = told(&altered);
    AlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: altered.resource_type,
        resource_name: KStr::from(altered.name),
    }
}

/// Code and words of an outcome.
pub(super) fn told(altered: &Altered) -> (ErrorCode, Option<KStr>) {
    match &altered.result {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refusal) => (
            refusals::alter_code(refusal),
            Some(KStr::from(refusal.to_string())),
        ),
    }
}
