//! DescribeCluster, key 60, versions 0-2: cluster id, controller, brokers (KIP-700). Flexible from 0.
//!
//! 1: endpoint type (KIP-919). 2: fenced brokers (KIP-1073).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::NodeId;

request! {
    /// Endpoint types are 1 brokers, 2 controllers.
    DescribeClusterRequest(DESCRIBE_CLUSTER) -> DescribeClusterResponse;
    include_cluster_authorized_operations: bool, 0..;
    endpoint_type: i8, 1.., default 1;
    include_fenced_brokers: bool, 2..;
}

response! {
    /// The cluster.
    DescribeClusterResponse(DESCRIBE_CLUSTER);
    throttle_time_ms: i32, 0..;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 0.., null 0.., default None;
    endpoint_type: i8, 1.., default 1;
    cluster_id: KStr, 0..;
    controller_id: NodeId, 0.., default NodeId(-1);
    brokers: Vec<DescribeClusterBroker>, 0..;
    cluster_authorized_operations: i32, 0.., default i32::MIN;
}

structure! {
    /// A broker and where it listens.
    DescribeClusterBroker;
    broker_id: NodeId, 0..;
    host: KStr, 0..;
    port: i32, 0..;
    rack: Option<KStr>, 0.., null 0.., default None;
    is_fenced: bool, 2..;
}
