//! Kafka's wire: framing, headers, the API table, error codes and message codecs.
//!
//! Knows bytes; holds no state; never allocates by a length it has not verified.

pub mod api_key;
pub mod codec;
pub mod error_code;
pub mod fetch;
pub mod field;
pub mod frame;
pub mod header;
pub mod kstr;
pub mod message;
pub mod messages;
pub mod produce;
pub mod record;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use api_key::{ApiKey, ApiRow, Lane};
pub use codec::{DecodeFault, Reader, Writer};
pub use error_code::ErrorCode;
pub use frame::{FrameCutter, FrameFault, RequestFrame, ResponseFrame};
pub use header::{RequestHeader, ResponseHeader};
pub use kstr::KStr;
pub use message::{Message, Request};
