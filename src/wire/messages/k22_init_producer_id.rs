//! InitProducerId, key 22, versions 0-5: an identity for idempotence and transactions.
//!
//! 1: throttled late. 2: flexible. 3: keeping the id while raising its epoch (KIP-360). 4: error 90 (KIP-588).
//! 5: error 120 (KIP-890). 6 (KIP-939) is unstable in Kafka 4.3 and not here.

use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::wire::message::{request, response};
use crate::words::{ProducerEpoch, ProducerId};

request! {
    /// Asks for an identity; null for one without transactions.
    InitProducerIdRequest(INIT_PRODUCER_ID) -> InitProducerIdResponse;
    transactional_id: Option<KStr>, 0.., null 0..;
    transaction_timeout_ms: i32, 0..;
    producer_id: ProducerId, 3.., default ProducerId(-1);
    producer_epoch: ProducerEpoch, 3.., default ProducerEpoch(-1);
}

response! {
    /// The identity.
    InitProducerIdResponse(INIT_PRODUCER_ID);
    throttle_time_ms: i32, 0..;
    error_code: ErrorCode, 0..;
    producer_id: ProducerId, 0.., default ProducerId(-1);
    producer_epoch: ProducerEpoch, 0..;
}
