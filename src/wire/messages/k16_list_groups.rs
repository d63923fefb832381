//! ListGroups, key 16, versions 0-5: the groups of a coordinator.
//!
//! 1: throttle. 3: flexible. 4: states (KIP-518). 5: types (KIP-848).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Asks for groups; an empty filter lets all pass.
    ListGroupsRequest(LIST_GROUPS) -> ListGroupsResponse;
    states_filter: Vec<KStr>, 4..;
    types_filter: Vec<KStr>, 5..;
}

response! {
    /// The coordinator's groups.
    ListGroupsResponse(LIST_GROUPS);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 0..;
    groups: Vec<ListedGroup>, 0..;
}

structure! {
    /// A group.
    ListedGroup;
    group_id: KStr, 0..;
    protocol_type: KStr, 0..;
    group_state: KStr, 4..;
    group_type: KStr, 5..;
}
