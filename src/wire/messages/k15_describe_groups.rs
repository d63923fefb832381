//! DescribeGroups, key 15, versions 0-6: members and state of classic groups.
//!
//! 1: throttle. 3: authorized operations (KIP-430). 4: static members (KIP-345). 5: flexible.
//! 6: an unknown group is an error with a message (KIP-1043).

use bytes::Bytes;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Asks about groups by id.
    DescribeGroupsRequest(DESCRIBE_GROUPS) -> DescribeGroupsResponse;
    groups: Vec<KStr>, 0..;
    include_authorized_operations: bool, 3..;
}

response! {
    /// Groups in the order asked for.
    DescribeGroupsResponse(DESCRIBE_GROUPS);
    throttle_time_ms: i32, 1..;
    groups: Vec<DescribedGroup>, 0..;
}

structure! {
    /// A group; an unknown one is `Dead`.
    DescribedGroup;
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 6.., null 6.., default None;
    group_id: KStr, 0..;
    group_state: KStr, 0..;
    protocol_type: KStr, 0..;
    protocol_data: KStr, 0..;
    members: Vec<DescribedGroupMember>, 0..;
    authorized_operations: i32, 3.., default i32::MIN;
}

structure! {
    /// A member with its metadata and assignment.
    DescribedGroupMember;
    member_id: KStr, 0..;
    group_instance_id: Option<KStr>, 4.., null 4.., default None;
    client_id: KStr, 0..;
    client_host: KStr, 0..;
    member_metadata: Bytes, 0..;
    member_assignment: Bytes, 0..;
}
