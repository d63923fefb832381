//! Every error code of Kafka's wire (Kafka `Errors`), as one flat table.
//!
//! Owns the numbers, their names, whether a client may retry, and a default message. Decides
//! nothing: which refusal becomes which code is the business of `api/`. Unknown codes survive.

use std::fmt;

/// An error code as it is on the wire; any number can arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub i16);

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorRow {
    pub code: ErrorCode,
    /// Kafka's name, as in `Errors`.
    pub name: &'static str,
    /// Kafka's exception for it is a `RetriableException`.
    pub retriable: bool,
    /// What to tell a person when nothing more precise is known.
    pub message: &'static str,
}

macro_rules! errors {
    ($($code:literal $name:ident $retriable:ident $message:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $message] pub const $name: ErrorCode = ErrorCode($code);)*

            /// All rows, by rising code.
            pub const ALL: &'static [ErrorRow] = &[$(ErrorRow {
                code: ErrorCode($code),
                name: stringify!($name),
                retriable: errors!(@ $retriable),
                message: $message,
            },)*];
        }
    };
    (@ retry) => { true };
    (@ final) => { false };
}

impl ErrorCode {
    /// The row of a known code.
    pub fn row(self) -> Option<&'static ErrorRow> {
        // Codes are dense from -1 on, which a test below holds.
        let place = usize::try_from(i32::from(self.0).checked_add(1)?).ok()?;
        Self::ALL.get(place)
    }

    /// Kafka's name, or `UNKNOWN` for a number outside the table.
    pub fn name(self) -> &'static str {
        self.row().map_or("UNKNOWN", |row| row.name)
    }

    /// Whether Kafka's own client would try again; an unknown code is final.
    pub fn is_retriable(self) -> bool {
        self.row().is_some_and(|row| row.retriable)
    }

    /// Default message; for an unknown code that of `UNKNOWN_SERVER_ERROR`.
    pub fn message(self) -> &'static str {
        self.row()
            .or_else(|| Self::UNKNOWN_SERVER_ERROR.row())
            .map_or("", |row| row.message)
    }

    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

errors! {
    -1 UNKNOWN_SERVER_ERROR final "The broker failed in a way it did not foresee.";
    0 NONE final "NONE";
    1 OFFSET_OUT_OF_RANGE final "The offset is not in the range this partition holds.";
    2 CORRUPT_MESSAGE retry "The record batch is damaged: bad checksum, size, or a missing key.";
    3 UNKNOWN_TOPIC_OR_PARTITION retry "This broker does not have the topic or partition.";
    4 INVALID_FETCH_SIZE final "The fetch size makes no sense.";
    5 LEADER_NOT_AVAILABLE retry "The partition has no leader at the moment.";
    6 NOT_LEADER_OR_FOLLOWER retry "This broker does not lead the partition, or holds no replica of it.";
    7 REQUEST_TIMED_OUT retry "The request was not completed in time.";
    8 BROKER_NOT_AVAILABLE final "The broker is not available.";
    9 REPLICA_NOT_AVAILABLE retry "The replica asked for is not available.";
    10 MESSAGE_TOO_LARGE final "A record batch is larger than the topic allows.";
    11 STALE_CONTROLLER_EPOCH final "The controller has moved.";
    12 OFFSET_METADATA_TOO_LARGE final "The metadata committed with the offset is too long.";
    13 NETWORK_EXCEPTION retry "The connection went away before the answer came.";
    14 COORDINATOR_LOAD_IN_PROGRESS retry "The coordinator is still loading its state.";
    15 COORDINATOR_NOT_AVAILABLE retry "The coordinator is not available.";
    16 NOT_COORDINATOR retry "This broker is not the coordinator asked for.";
    17 INVALID_TOPIC_EXCEPTION final "The topic name is not valid, or the topic does not allow this.";
    18 RECORD_LIST_TOO_LARGE final "The record batch is larger than a segment.";
    19 NOT_ENOUGH_REPLICAS retry "Refused: too few replicas are in sync.";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND retry "Written, but too few replicas are in sync.";
    21 INVALID_REQUIRED_ACKS final "acks must be -1, 0 or 1.";
    22 ILLEGAL_GENERATION final "The group generation is not the current one.";
    23 INCONSISTENT_GROUP_PROTOCOL final "The member offers no protocol that the group's other members share, or none at all.";
    24 INVALID_GROUP_ID final "The group id is not valid.";
    25 UNKNOWN_MEMBER_ID final "The coordinator does not know this member.";
    26 INVALID_SESSION_TIMEOUT final "The session timeout is outside group.min.session.timeout.ms to group.max.session.timeout.ms.";
    27 REBALANCE_IN_PROGRESS final "The group is rebalancing: join again.";
    28 INVALID_COMMIT_OFFSET_SIZE final "The offset commit is too large.";
    29 TOPIC_AUTHORIZATION_FAILED final "Not authorized for the topic.";
    30 GROUP_AUTHORIZATION_FAILED final "Not authorized for the group.";
    31 CLUSTER_AUTHORIZATION_FAILED final "Not authorized for the cluster.";
    32 INVALID_TIMESTAMP final "A record's timestamp is outside the bounds of the topic.";
    33 UNSUPPORTED_SASL_MECHANISM final "The SASL mechanism is not enabled here.";
    34 ILLEGAL_SASL_STATE final "The request does not fit the state of the SASL exchange.";
    35 UNSUPPORTED_VERSION final "This version of the API is not supported.";
    36 TOPIC_ALREADY_EXISTS final "A topic of this name exists.";
    37 INVALID_PARTITIONS final "The number of partitions is not valid.";
    38 INVALID_REPLICATION_FACTOR final "The replication factor is below 1 or above the number of brokers.";
    39 INVALID_REPLICA_ASSIGNMENT final "The replica assignment is not valid.";
    40 INVALID_CONFIG final "A configuration key or value is not valid.";
    41 NOT_CONTROLLER retry "This is not the active controller.";
    42 INVALID_REQUEST final "The request contradicts itself or the protocol.";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT final "The stored message format cannot answer this.";
    44 POLICY_VIOLATION final "A configured policy refuses the request.";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER final "The producer's sequence number does not follow its last one.";
    46 DUPLICATE_SEQUENCE_NUMBER final "The producer's sequence number was seen before.";
    47 INVALID_PRODUCER_EPOCH final "The producer's epoch is an old one.";
    48 INVALID_TXN_STATE final "The transaction is not in a state that allows this.";
    49 INVALID_PRODUCER_ID_MAPPING final "The producer id does not belong to this transactional id.";
    50 INVALID_TRANSACTION_TIMEOUT final "The transaction timeout is above transaction.max.timeout.ms.";
    51 CONCURRENT_TRANSACTIONS retry "Another operation on the same transaction is under way.";
    52 TRANSACTION_COORDINATOR_FENCED final "The marker comes from a former transaction coordinator.";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED final "Not authorized for the transactional id.";
    54 SECURITY_DISABLED final "Security is not enabled.";
    55 OPERATION_NOT_ATTEMPTED final "Not tried, because another part of the request failed.";
    56 KAFKA_STORAGE_ERROR retry "The disk under the partition failed.";
    57 LOG_DIR_NOT_FOUND final "The broker has no such log directory.";
    58 SASL_AUTHENTICATION_FAILED final "SASL authentication failed.";
    59 UNKNOWN_PRODUCER_ID final "Nothing is known of the producer id here any more.";
    60 REASSIGNMENT_IN_PROGRESS final "The partition is being reassigned.";
    61 DELEGATION_TOKEN_AUTH_DISABLED final "Delegation tokens are not enabled.";
    62 DELEGATION_TOKEN_NOT_FOUND final "There is no such delegation token.";
    63 DELEGATION_TOKEN_OWNER_MISMATCH final "The principal neither owns nor may renew the token.";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED final "Tokens cannot be asked for over this channel.";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED final "Not authorized for the delegation token.";
    66 DELEGATION_TOKEN_EXPIRED final "The delegation token has expired.";
    67 INVALID_PRINCIPAL_TYPE final "The principal type is not supported.";
    68 NON_EMPTY_GROUP final "The group still has members.";
    69 GROUP_ID_NOT_FOUND final "There is no such group.";
    70 FETCH_SESSION_ID_NOT_FOUND retry "There is no such fetch session.";
    71 INVALID_FETCH_SESSION_EPOCH retry "The fetch session epoch is not the next one.";
    72 LISTENER_NOT_FOUND retry "The leader has no listener of the name this request came in by.";
    73 TOPIC_DELETION_DISABLED final "Topics cannot be deleted here.";
    74 FENCED_LEADER_EPOCH retry "The leader epoch in the request is older than the broker's.";
    75 UNKNOWN_LEADER_EPOCH retry "The leader epoch in the request is newer than the broker's.";
    76 UNSUPPORTED_COMPRESSION_TYPE final "The request's version cannot carry this compression.";
    77 STALE_BROKER_EPOCH final "The broker's epoch has changed.";
    78 OFFSET_NOT_AVAILABLE retry "The new leader's high watermark has not caught up yet.";
    79 MEMBER_ID_REQUIRED final "Join again with the member id given here.";
    80 PREFERRED_LEADER_NOT_AVAILABLE retry "The preferred leader is not available.";
    81 GROUP_MAX_SIZE_REACHED final "The group is full.";
    82 FENCED_INSTANCE_ID final "Another member has taken this group.instance.id.";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE retry "No replica that may lead is available.";
    84 ELECTION_NOT_NEEDED retry "The partition needs no election.";
    85 NO_REASSIGNMENT_IN_PROGRESS final "The partition is not being reassigned.";
    86 GROUP_SUBSCRIBED_TO_TOPIC final "The group still subscribes to the topic.";
    87 INVALID_RECORD final "A record failed validation.";
    88 UNSTABLE_OFFSET_COMMIT retry "Some offsets belong to a transaction that is not decided.";
    89 THROTTLING_QUOTA_EXCEEDED retry "The quota is used up.";
    90 PRODUCER_FENCED final "A newer producer uses the same transactional id.";
    91 RESOURCE_NOT_FOUND final "The request names something that does not exist.";
    92 DUPLICATE_RESOURCE final "The request names the same thing twice.";
    93 UNACCEPTABLE_CREDENTIAL final "The credential is not acceptable.";
    94 INCONSISTENT_VOTER_SET final "Sender or receiver is not among the voters.";
    95 INVALID_UPDATE_VERSION final "The version to update to is not valid.";
    96 FEATURE_UPDATE_FAILED final "The features could not be updated.";
    97 PRINCIPAL_DESERIALIZATION_FAILURE final "The forwarded principal cannot be read.";
    98 SNAPSHOT_NOT_FOUND final "There is no such snapshot.";
    99 POSITION_OUT_OF_RANGE final "The position is outside the snapshot.";
    100 UNKNOWN_TOPIC_ID retry "This broker does not have a topic of this id.";
    101 DUPLICATE_BROKER_REGISTRATION final "Another broker has this id.";
    102 BROKER_ID_NOT_REGISTERED final "No broker of this id is registered.";
    103 INCONSISTENT_TOPIC_ID retry "The log belongs to a topic of another id.";
    104 INCONSISTENT_CLUSTER_ID final "The request is meant for another cluster.";
    105 TRANSACTIONAL_ID_NOT_FOUND final "There is no such transactional id.";
    106 FETCH_SESSION_TOPIC_ID_ERROR retry "The fetch session mixes topic names and topic ids.";
    107 INELIGIBLE_REPLICA final "A replica of the new ISR may not join it.";
    108 NEW_LEADER_ELECTED final "The partition was changed, and has another leader now.";
    109 OFFSET_MOVED_TO_TIERED_STORAGE final "The offset is in tiered storage now.";
    110 FENCED_MEMBER_EPOCH final "The member was fenced: give up all partitions and join again.";
    111 UNRELEASED_INSTANCE_ID final "Another member still holds the instance id.";
    112 UNSUPPORTED_ASSIGNOR final "The group does not support the assignor.";
    113 STALE_MEMBER_EPOCH final "The member epoch is out of date: wait for the next heartbeat.";
    114 MISMATCHED_ENDPOINT_TYPE final "The request went to the wrong type of endpoint.";
    115 UNSUPPORTED_ENDPOINT_TYPE final "There is no such type of endpoint.";
    116 UNKNOWN_CONTROLLER_ID final "No controller has this id.";
    117 UNKNOWN_SUBSCRIPTION_ID final "The telemetry subscription is not valid or out of date.";
    118 TELEMETRY_TOO_LARGE final "The telemetry is larger than the broker takes.";
    119 INVALID_REGISTRATION final "The controller refuses the broker's registration.";
    120 TRANSACTION_ABORTABLE final "The transaction failed: abort it to go on.";
    121 INVALID_RECORD_STATE final "The record is not in a state that can be acknowledged.";
    122 SHARE_SESSION_NOT_FOUND retry "There is no such share session.";
    123 INVALID_SHARE_SESSION_EPOCH retry "The share session epoch is not the next one.";
    124 FENCED_STATE_EPOCH final "The share group's state epoch does not match.";
    125 INVALID_VOTER_KEY final "The voter key is not the receiver's.";
    126 DUPLICATE_VOTER final "The voter is already in the set.";
    127 VOTER_NOT_FOUND final "The voter is not in the set.";
    128 INVALID_REGULAR_EXPRESSION final "The regular expression is not valid.";
    129 REBOOTSTRAP_REQUIRED final "The client's metadata is too old: bootstrap again.";
    130 STREAMS_INVALID_TOPOLOGY final "The topology is not valid.";
    131 STREAMS_INVALID_TOPOLOGY_EPOCH final "The topology epoch is not valid.";
    132 STREAMS_TOPOLOGY_FENCED final "The topology epoch is out of date.";
    133 SHARE_SESSION_LIMIT_REACHED retry "There are too many share sessions.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_from_minus_one_to_133_has_the_row_of_its_number() {
        for (place, row) in (-1i16..).zip(ErrorCode::ALL) {
            assert_eq!(row.code.0, place);
            assert_eq!(ErrorCode(place).row(), Some(row));
        }
        assert_eq!(ErrorCode::ALL.len(), 135);
    }

    #[test]
    fn an_unknown_code_survives_and_prints() {
        for code in [i16::MIN, -2, 134, i16::MAX] {
            assert_eq!(ErrorCode(code).to_string(), format!("UNKNOWN({code})"));
            assert!(!ErrorCode(code).is_retriable());
        }
        assert_eq!(
            ErrorCode::NOT_COORDINATOR.to_string(),
            "NOT_COORDINATOR(16)"
        );
    }

    #[test]
    fn names_and_codes_agree_with_the_oracle() {
        for row in ErrorCode::ALL {
            let theirs = kacrab_protocol::generated::ErrorCode::from(row.code.0);
            let name = format!("{theirs:?}").to_uppercase();
            assert_eq!(name, row.name.replace('_', ""), "{}", row.code.0);
        }
    }
}
