//! Heartbeat, key 12, versions 0-4: a member of a classic group lives.
//!
//! 1: throttle. 3: static members (KIP-345). 4: flexible.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response};

request! {
    /// A sign of life.
    HeartbeatRequest(HEARTBEAT) -> HeartbeatResponse;
    group_id: KStr, 0..;
    generation_id: i32, 0..;
    member_id: KStr, 0..;
    group_instance_id: Option<KStr>, 3.., null 3.., default None;
}

response! {
    /// Whether the member may go on.
    HeartbeatResponse(HEARTBEAT);
    throttle_time_ms: i32, 1..;
    error_code: ErrorCode, 0..;
}
