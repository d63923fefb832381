//! SaslHandshake, key 17, versions 0-1: choosing a SASL mechanism. Never flexible.
//!
//! 0: raw tokens follow. 1: SaslAuthenticate requests follow (KIP-152).

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response};

request! {
    /// Names the mechanism.
    SaslHandshakeRequest(SASL_HANDSHAKE) -> SaslHandshakeResponse;
    mechanism: KStr, 0..;
}

response! {
    /// The mechanisms enabled here.
    SaslHandshakeResponse(SASL_HANDSHAKE);
    error_code: ErrorCode, 0..;
    mechanisms: Vec<KStr>, 0..;
}
