//! DeleteGroups, key 42, versions 0-2: deleting empty groups (KIP-229).
//!
//! 1: throttled late. 2: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response, structure};

request! {
    /// Groups to delete.
    DeleteGroupsRequest(DELETE_GROUPS) -> DeleteGroupsResponse;
    groups_names: Vec<KStr>, 0..;
}

response! {
    /// Outcome by group.
    DeleteGroupsResponse(DELETE_GROUPS);
    throttle_time_ms: i32, 0..;
    results: Vec<DeletableGroupResult>, 0..;
}

structure! {
    /// Outcome for one group.
    DeletableGroupResult;
    group_id: KStr, 0..;
    error_code: ErrorCode, 0..;
}
