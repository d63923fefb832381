//! SyncGroup, key 14, versions 0-5: handing out and receiving assignments.
//!
//! 1: throttle. 3: static members (KIP-345). 4: flexible. 5: protocol type and name (KIP-559).

use bytes::Bytes;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// The leader's assignments, or a follower's wish for its own.
    SyncGroupRequest(SYNC_GROUP) -> SyncGroupResponse;
    group_id: KStr, 0..;
    generation_id: i32, 0..;
    member_id: KStr, 0..;
    group_instance_id: Option<KStr>, 3.., null 3.., default None;
    protocol_type: Option<KStr>, 5.., null 5.., default None;
    protocol_name: Option<KStr>, 5.., null 5.., default None;
    assignments: Vec<SyncGroupRequestAssignment>, 0..;
}

structure! {
    /// Assignment of one member, opaque to the broker.
    SyncGroupRequestAssignment;
    member_id: KStr, 0..;
    assignment: Bytes, 0..;
}

response! {
    /// The member's assignment.
    SyncGroupResponse(SYNC_GROUP);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 0..;
    protocol_type: Option<KStr>, 5.., null 5.., default None;
    protocol_name: Option<KStr>, 5.., null 5.., default None;
    assignment: Bytes, 0..;
}
