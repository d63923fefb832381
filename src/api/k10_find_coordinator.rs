//! FindCoordinator (key 10), versions 0 to 6: who coordinates a group or a transaction.
//!
//! v1 transactions, throttle, message; v3 flexible; v4 several keys (KIP-699); v5 error 120
//! (KIP-890); v6 share groups (KIP-932).
//!
//! Not done: coordinators. Groups and share partitions are COORDINATOR_NOT_AVAILABLE, which
//! clients try again. A transactional id is TRANSACTIONAL_ID_AUTHORIZATION_FAILED: of all codes
//! only this one makes the Java client and librdkafka give up at once (both retry or time out on
//! others), and librdkafka shows the message.

use crate::metadata::ClusterId;
use crate::wire::messages::k10_find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::wire::{ErrorCode, KStr};
use crate::words::NodeId;

/// First version with a list of keys.
const KEYS_VERSION_MIN: i16 = 4;
/// First version that knows share groups.
const SHARE_VERSION_MIN: i16 = 6;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Answers every key.
pub fn answer(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    if version < KEYS_VERSION_MIN {
        let (code, message) = judge(request.key_type, &request.key, version);
        return FindCoordinatorResponse {
            error_code: code,
            error_message: Some(message),
            node_id: NodeId::NONE,
            port: -1,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let (code, message) = judge(request.key_type, key, version);
        Coordinator {
            key: key.clone(),
            node_id: NodeId::NONE,
            port: -1,
            error_code: code,
            error_message: Some(message),
            ..Coordinator::default()
        }
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }
}

fn judge(key_type: i8, key: &str, version: i16) -> (ErrorCode, KStr) {
    let plain = |code: ErrorCode| (code, KStr::from(code.message()));
    match key_type {
        GROUP => plain(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        TRANSACTION => (
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            KStr::from_static("Transactions are not built yet in this broker."),
        ),
        // Kafka gives no reason for these two.
        SHARE if version < SHARE_VERSION_MIN || !is_share_key(key) => {
            (ErrorCode::INVALID_REQUEST, KStr::default())
        }
        SHARE => plain(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        _ => plain(ErrorCode::INVALID_REQUEST),
    }
}

/// Whether `key` is `group:topic id:partition` (Kafka `SharePartitionKey`).
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let (Some(partition), Some(topic), Some(group)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let topic = ClusterId::parse(topic).is_some();
    !group.is_empty() && topic && partition.parse::<i32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key_type: i8, key: &str, version: i16) -> (ErrorCode, i32) {
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type,
            coordinator_keys: vec![key.into()],
        };
        let response = answer(&request, version);
        match response.coordinators.first() {
            Some(one) => (one.error_code, one.port),
            None => (response.error_code, response.port),
        }
    }

    #[test]
    fn every_kind_of_key_has_its_answer_in_every_version() {
        let share = "g:AAAAAAAAAAAAAAAAAAAAEg:0";
        for version in 0..=6 {
            let group = one(GROUP, "", version);
            assert_eq!(group, (ErrorCode::COORDINATOR_NOT_AVAILABLE, -1));
            let transaction = one(TRANSACTION, "t", version);
            assert_eq!(
                transaction.0,
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            );
            for strange in [3, -1, 100] {
                assert_eq!(one(strange, "x", version).0, ErrorCode::INVALID_REQUEST);
            }
            let expected = match version {
                6 => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                _ => ErrorCode::INVALID_REQUEST,
            };
            assert_eq!(one(SHARE, share, version).0, expected);
        }
        for key in ["plain", "g:notauuid:0", "g:AAAAAAAAAAAAAAAAAAAAEg:x"] {
            assert_eq!(one(SHARE, key, 6).0, ErrorCode::INVALID_REQUEST);
        }
    }
}
