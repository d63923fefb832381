//! LeaveGroup, key 13, versions 0-5: leaving a classic group.
//!
//! 1: throttle. 3: several members (KIP-345). 4: flexible. 5: reason (KIP-800).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Members that leave: one to version 2, several from 3.
    LeaveGroupRequest(LEAVE_GROUP) -> LeaveGroupResponse;
    group_id: KStr, 0..;
    member_id: KStr, 0..=2;
    members: Vec<MemberIdentity>, 3..;
}

structure! {
    /// A member that leaves.
    MemberIdentity;
    member_id: KStr, 3..;
    group_instance_id: Option<KStr>, 3.., null 3.., default None;
    reason: Option<KStr>, 5.., null 5.., default None;
}

response! {
    /// Outcome, by member from version 3.
    LeaveGroupResponse(LEAVE_GROUP);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 0..;
    members: Vec<MemberResponse>, 3..;
}

structure! {
    /// Outcome for one member.
    MemberResponse;
    member_id: KStr, 3..;
    group_instance_id: Option<KStr>, 3.., null 3..;
    error_code: ErrorCode, 3..;
}
