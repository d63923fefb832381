//! IncrementalAlterConfigs (key 44), versions 0 to 1: changing settings key by key (KIP-339).
//!
//! v1 flexible.
//!
//! Log levels cannot be changed. An operation that nobody knows is answered with 42, where Kafka
//! has an unknown server error.

use crate::api::cold::Step;
use crate::api::k33_alter_configs::told;
use crate::metadata::alter::{Alteration, Altered, Changes, Edit};
use crate::metadata::{AdminReply, AdminRequest};
use crate::wire::KStr;
use crate::wire::messages::k44_incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use crate::words::NodeId;

/// Hands the resources to the metadata writer. `node` is the one that is asked.
pub fn begin(
    request: &IncrementalAlterConfigsRequest,
    node: NodeId,
) -> Step<IncrementalAlterConfigsResponse> {
    if request.resources.is_empty() {
        return Step::Reply(IncrementalAlterConfigsResponse::default());
    }
    Step::Ask(AdminRequest::AlterConfigs {
        node,
        resources: request.resources.iter().map(alteration).collect(),
        validate_only: request.validate_only,
    })
}

fn alteration(resource: &AlterConfigsResource) -> Alteration {
    let edits = resource.configs.iter().map(|config| Edit {
        key: config.name.as_str().to_owned(),
        operation: config.config_operation,
        value: config.value.as_deref().map(str::to_owned),
    });
    Alteration {
        resource_type: resource.resource_type,
        name: resource.resource_name.as_str().to_owned(),
        changes: Changes::Edit(edits.collect()),
    }
}

/// The writer's outcomes as the answer.
pub fn finish(reply: AdminReply) -> IncrementalAlterConfigsResponse {
    let outcomes = match reply {
        AdminReply::Altered(outcomes) => outcomes,
        // The writer answers what it was asked.
        _ => Vec::new(),
    };
    IncrementalAlterConfigsResponse {
        responses: outcomes.into_iter().map(response).collect(),
        ..IncrementalAlterConfigsResponse::default()
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
