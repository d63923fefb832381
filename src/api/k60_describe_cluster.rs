//! DescribeCluster (key 60), versions 0 to 2: cluster id, controller and nodes (KIP-700).
//!
//! v1 endpoint types (KIP-919): this is a broker's endpoint; v2 fenced brokers (KIP-1073): there
//! are none, a shard that is not up is not registered. Every shard is a broker here.

use crate::api::k03_metadata::CLUSTER_OPERATIONS;
use crate::api::ports::Ports;
use crate::wire::messages::k60_describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::wire::{ErrorCode, KStr};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers from the image.
pub fn answer(request: &DescribeClusterRequest, ports: &Ports<'_>) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let code = ErrorCode::MISMATCHED_ENDPOINT_TYPE;
            return refused(
                code,
                "This is an endpoint of brokers, not of controllers.".to_owned(),
            );
        }
        other => {
            let code = ErrorCode::UNSUPPORTED_ENDPOINT_TYPE;
            return refused(code, format!("Unsupported endpoint type {other}"));
        }
    }
    let brokers = ports.image.nodes().map(|node| DescribeClusterBroker {
        broker_id: node.id,
        host: KStr::from(node.host.as_str()),
        port: i32::from(node.port),
        rack: node.rack.as_deref().map(KStr::from),
        is_fenced: false,
    });
    let cluster = ports
        .image
        .cluster()
        .map(|id| id.to_string())
        .unwrap_or_default();
    DescribeClusterResponse {
        cluster_id: KStr::from(cluster),
        controller_id: ports.image.controller(),
        brokers: brokers.collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..DescribeClusterResponse::default()
    }
}

fn refused(code: ErrorCode, message: String) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code,
        error_message: Some(KStr::from(message)),
        ..DescribeClusterResponse::default()
    }
}
