//! SaslAuthenticate, key 36, versions 0-2: one token of a SASL exchange (KIP-152).
//!
//! 1: session lifetime (KIP-368). 2: flexible.

use bytes::Bytes;

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response};

request! {
    /// A token of the client.
    SaslAuthenticateRequest(SASL_AUTHENTICATE) -> SaslAuthenticateResponse;
    auth_bytes: Bytes, 0..;
}

response! {
    /// A token of the broker; lifetime in milliseconds, 0 for no end.
    SaslAuthenticateResponse(SASL_AUTHENTICATE);
    error_code: ErrorCode, 0..;
    error_message: Option<KStr>, 0.., null 0..;
    auth_bytes: Bytes, 0..;
    session_lifetime_ms: i64, 1..;
}
