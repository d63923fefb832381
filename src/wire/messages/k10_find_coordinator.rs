//! FindCoordinator, key 10, versions 0-6: which node coordinates a group or a transaction.
//!
//! 1: key type, throttle, message. 3: flexible. 4: several keys (KIP-699). 5: error 120 (KIP-890).
//! 6: share groups (KIP-932).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};
use crate::words::NodeId;

request! {
    /// Asks by key; types are 0 group, 1 transaction, 2 share group.
    FindCoordinatorRequest(FIND_COORDINATOR) -> FindCoordinatorResponse;
    key: KStr, 0..=3;
    key_type: i8, 1..;
    coordinator_keys: Vec<KStr>, 4..;
}

response! {
    /// One coordinator to version 3, one for each key from 4.
    FindCoordinatorResponse(FIND_COORDINATOR);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 0..=3;
    error_message: Option<KStr>, 1..=3, null 1..=3;
    node_id: NodeId, 0..=3;
    host: KStr, 0..=3;
    port: i32, 0..=3;
    coordinators: Vec<Coordinator>, 4..;
}

structure! {
    /// The coordinator of one key.
    Coordinator;
    key: KStr, 4..;
    node_id: NodeId, 4..;
    host: KStr, 4..;
    port: i32, 4..;
    error_code: ErrorCode, 4..;
    error_message: Option<KStr>, 4.., null 4..;
}
