//! InitProducerId (key 22), versions 0 to 5: an identity for idempotent producers.
//!
//! v2 flexible; v3 the id to keep (KIP-360); v4 error 90 (KIP-588); v5 error 120 (KIP-890).
//!
//! Not done: transactions. A transactional id is TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the one
//! code that both the Java client and librdkafka take as the end at once (see FindCoordinator,
//! where such a client is stopped before it gets here).

use crate::api::cold::Step;
use crate::metadata::admin::ProducerIdBlock;
use crate::metadata::{AdminReply, AdminRequest};
use crate::wire::ErrorCode;
use crate::wire::messages::k22_init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::words::{ProducerEpoch, ProducerId};

/// Producer ids that a shard may hand out without asking.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducerIds {
    /// Ids left; more than one block when several requests found none at the same time.
    blocks: Vec<ProducerIdBlock>,
}

impl ProducerIds {
    fn take(&mut self) -> Option<ProducerId> {
        while let Some(block) = self.blocks.last_mut() {
            let id = block.first;
            if block.count > 0 && id.0 < i64::MAX {
                block.first = ProducerId(id.0.saturating_add(1));
                block.count = block.count.saturating_sub(1);
                return Some(id);
            }
            self.blocks.pop();
        }
        None
    }
}

/// Answers from the shard's ids, or asks for a block.
pub fn begin(
    request: &InitProducerIdRequest,
    ids: &mut ProducerIds,
) -> Step<InitProducerIdResponse> {
    let refused = match request.transactional_id.as_deref() {
        Some("") => Some(ErrorCode::INVALID_REQUEST),
        Some(_) => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        // An id without an epoch, or the other way round.
        None if (request.producer_id.0 == -1) != (request.producer_epoch.0 == -1) => {
            Some(ErrorCode::INVALID_REQUEST)
        }
        None => None,
    };
    match (refused, refused.map_or_else(|| ids.take(), |_| None)) {
        (Some(code), _) => Step::Reply(refusal(code)),
        (None, Some(id)) => Step::Reply(identity(id)),
        (None, None) => Step::Ask(AdminRequest::AllocateProducerIds),
    }
}

/// Takes the first id of the new block; the rest is for later requests.
pub fn finish(reply: &AdminReply, ids: &mut ProducerIds) -> InitProducerIdResponse {
    if let AdminReply::ProducerIds(Ok(block)) = reply {
        ids.blocks.push(*block);
    }
    // Kafka's word for "no block yet, ask again".
    ids.take().map_or_else(
        || refusal(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        identity,
    )
}

fn identity(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id: id,
        producer_epoch: ProducerEpoch(0),
        ..InitProducerIdResponse::default()
    }
}

fn refusal(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        ..InitProducerIdResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::TopicRefusal;

    fn request(transactional_id: Option<&str>, id: i64, epoch: i16) -> InitProducerIdRequest {
        InitProducerIdRequest {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: -5,
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
        }
    }

    fn block(first: i64, count: i64) -> AdminReply {
        let first = ProducerId(first);
        AdminReply::ProducerIds(Ok(ProducerIdBlock { first, count }))
    }

    #[test]
    fn requests_are_judged_before_an_id_is_spent() {
        for (request, code) in [
            (request(Some(""), -1, -1), ErrorCode::INVALID_REQUEST),
            (
                request(Some("t"), -1, -1),
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ),
            (request(None, -1, 3), ErrorCode::INVALID_REQUEST),
            (request(None, 7, -1), ErrorCode::INVALID_REQUEST),
        ] {
            let mut ids = ProducerIds::default();
            let Step::Reply(response) = begin(&request, &mut ids) else {
                panic!("{request:?}")
            };
            assert_eq!(
                (response.error_code, response.producer_id),
                (code, ProducerId::NONE)
            );
            assert_eq!(response.producer_epoch, ProducerEpoch(-1));
        }
    }

    #[test]
    fn no_id_is_given_twice_and_none_is_lost_between_blocks() {
        let mut ids = ProducerIds::default();
        let ask = request(None, 5, 3);
        // Two requests find the shelf empty before the first block comes.
        assert!(matches!(
            begin(&ask, &mut ids),
            Step::Ask(AdminRequest::AllocateProducerIds)
        ));
        assert!(matches!(begin(&ask, &mut ids), Step::Ask(_)));
        let mut given = vec![
            finish(&block(0, 3), &mut ids).producer_id.0,
            finish(&block(1000, 2), &mut ids).producer_id.0,
        ];
        while let Step::Reply(response) = begin(&ask, &mut ids) {
            assert_eq!(
                (response.error_code, response.producer_epoch.0),
                (ErrorCode::NONE, 0)
            );
            given.push(response.producer_id.0);
        }
        given.sort_unstable();
        assert_eq!(given, [0, 1, 2, 1000, 1001]);
    }

    #[test]
    fn without_a_block_the_client_asks_again() {
        let reply = AdminReply::ProducerIds(Err(TopicRefusal::Storage));
        let response = finish(&reply, &mut ProducerIds::default());
        assert_eq!(response.error_code, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    }
}
