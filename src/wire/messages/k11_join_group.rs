//! JoinGroup, key 11, versions 0-9: entering a group of the classic protocol.
//!
//! 1: rebalance timeout. 2: throttle. 4: member id required (KIP-394). 5: static members (KIP-345).
//! 6: flexible. 7: protocol type in the answer. 8: reason (KIP-800). 9: skip assignment (KIP-814).

use bytes::Bytes;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Enters a group; timeouts in milliseconds.
    JoinGroupRequest(JOIN_GROUP) -> JoinGroupResponse;
    group_id: KStr, 0..;
    session_timeout_ms: i32, 0..;
    rebalance_timeout_ms: i32, 1.., default -1;
    member_id: KStr, 0..;
    group_instance_id: Option<KStr>, 5.., null 5.., default None;
    protocol_type: KStr, 0..;
    protocols: Vec<JoinGroupRequestProtocol>, 0..;
    reason: Option<KStr>, 8.., null 8.., default None;
}

structure! {
    /// A protocol the member offers, with its own metadata.
    JoinGroupRequestProtocol;
    name: KStr, 0..;
    metadata: Bytes, 0..;
}

response! {
    /// The generation; members only for the leader.
    JoinGroupResponse(JOIN_GROUP);
    throttle_time_ms: i32, 2..;
    error_code: ErrorCode, 0..;
    generation_id: i32, 0.., default -1;
    protocol_type: Option<KStr>, 7.., null 7.., default None;
    protocol_name: Option<KStr>, 0.., null 7..;
    leader: KStr, 0..;
    skip_assignment: bool, 9..;
    member_id: KStr, 0..;
    members: Vec<JoinGroupResponseMember>, 0..;
}

structure! {
    /// A member and its metadata of the chosen protocol.
    JoinGroupResponseMember;
    member_id: KStr, 0..;
    group_instance_id: Option<KStr>, 5.., null 5.., default None;
    metadata: Bytes, 0..;
}
