//! The API table: every request of Apache Kafka 4.3 by key, with the versions it speaks.
//!
//! Owns keys, names, version ranges, where flexible encoding begins, header versions, the lane of
//! a request and whether this broker serves it. Decides nothing about what a request means.
//! A key becomes `served` in the change that brings its handler; only served keys are advertised.

use std::fmt;

/// An API key as it is on the wire; any number can arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

/// How a request may overlap with its neighbours on one connection. Answers keep request order
/// in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// May start while earlier requests of this lane are unanswered.
    Pipelined,
    /// Starts when everything before it is answered, and nothing starts before its answer
    /// (what Kafka does for every request by muting the socket).
    Barrier,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApiRow {
    pub key: ApiKey,
    /// Kafka's name (`ApiKeys.name`), as tools print it.
    pub name: &'static str,
    /// Lowest version that is decoded.
    pub version_min: i16,
    /// Highest version that is decoded; unstable versions are left out.
    pub version_max: i16,
    /// Lowest version that ApiVersions tells of. Differs from `version_min` only for Produce.
    pub advertised_min: i16,
    /// First version with compact lengths and tagged fields (KIP-482).
    pub flexible_min: i16,
    pub lane: Lane,
    pub served: bool,
}

/// `flexible_min` of an API that never became flexible.
pub const NEVER_FLEXIBLE: i16 = i16::MAX;

impl ApiRow {
    pub const fn supports(&self, version: i16) -> bool {
        self.version_min <= version && version <= self.version_max
    }

    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_min
    }

    /// Version of the request header in front of a body of `version`: 2 from the first flexible
    /// version on, else 1 (Kafka `ApiMessageType.requestHeaderVersion`). Versions outside the
    /// range count too: an ApiVersions request of the future has header 2, a negative one 1.
    pub const fn request_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the response header: 1 (with tags) from the first flexible version on, else 0;
    /// always 0 for ApiVersions, whose answer must be readable before versions are agreed on
    /// (KIP-511).
    pub const fn response_header_version(&self, version: i16) -> i16 {
        if self.is_flexible(version) && self.key.0 != ApiKey::API_VERSIONS.0 {
            1
        } else {
            0
        }
    }
}

macro_rules! apis {
    ($($key:literal $name:ident $printed:literal $min:literal $max:literal
       flexible $flexible:tt $served:ident;)*) => {
        impl ApiKey {
            $(#[doc = $printed] pub const $name: ApiKey = ApiKey($key);)*

            /// All rows, by rising key.
            pub const ALL: &'static [ApiRow] = &[$(ApiRow {
                key: ApiKey($key),
                name: $printed,
                version_min: $min,
                version_max: $max,
                advertised_min: advertised_min($key, $min),
                flexible_min: apis!(@flexible $flexible),
                lane: if $key == 0 { Lane::Pipelined } else { Lane::Barrier },
                served: apis!(@ $served),
            },)*];
        }
    };
    (@flexible none) => { NEVER_FLEXIBLE };
    (@flexible $from:literal) => { $from };
    (@ served) => { true };
    (@ absent) => { false };
}

/// librdkafka finds out by the presence of Produce 0 which codecs it may use, so Kafka tells of
/// versions 0-2 although it closes the connection on them (KAFKA-18659).
const fn advertised_min(key: i16, version_min: i16) -> i16 {
    if key == 0 { 0 } else { version_min }
}

/// Keys the table has room for.
const KEYS: usize = 93;
const ABSENT: u8 = u8::MAX;

/// From key to place in [`ApiKey::ALL`].
#[expect(
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "the compiler works it out: a key without room, or too many rows, fail the build"
)]
const PLACES: [u8; KEYS] = {
    assert!(ApiKey::ALL.len() < ABSENT as usize);
    let mut places = [ABSENT; KEYS];
    let mut at = 0;
    while at < ApiKey::ALL.len() {
        places[ApiKey::ALL[at].key.0 as usize] = at as u8;
        at += 1;
    }
    places
};

impl ApiKey {
    /// The row of a key of Kafka 4.3, served or not; `None` for a number nobody uses or one that
    /// belongs to the time of ZooKeeper (4-7).
    pub fn row(self) -> Option<&'static ApiRow> {
        let place = *PLACES.get(usize::try_from(self.0).ok()?)?;
        Self::ALL.get(usize::from(place))
    }

    /// The row, if this broker serves the key.
    pub fn served(self) -> Option<&'static ApiRow> {
        self.row().filter(|row| row.served)
    }

    /// The rows that ApiVersions tells of, by rising key.
    pub fn all_served() -> impl Iterator<Item = &'static ApiRow> {
        Self::ALL.iter().filter(|row| row.served)
    }

    /// The row of a key that is in the table for certain; fails to compile when it is not.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        reason = "called for constants only, so that the compiler meets the panic"
    )]
    pub(super) const fn row_of(key: ApiKey) -> &'static ApiRow {
        let mut at = 0;
        while at < Self::ALL.len() {
            if Self::ALL[at].key.0 == key.0 {
                return &Self::ALL[at];
            }
            at += 1;
        }
        panic!("no such API key")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => write!(f, "{}({})", row.name, self.0),
            None => write!(f, "UNKNOWN({})", self.0),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

apis! {
    0 PRODUCE "Produce" 3 13 flexible 9 served;
    1 FETCH "Fetch" 4 18 flexible 12 served;
    2 LIST_OFFSETS "ListOffsets" 1 11 flexible 6 served;
    3 METADATA "Metadata" 0 13 flexible 9 served;
    8 OFFSET_COMMIT "OffsetCommit" 2 10 flexible 8 absent;
    9 OFFSET_FETCH "OffsetFetch" 1 10 flexible 6 absent;
    10 FIND_COORDINATOR "FindCoordinator" 0 6 flexible 3 served;
    11 JOIN_GROUP "JoinGroup" 0 9 flexible 6 absent;
    12 HEARTBEAT "Heartbeat" 0 4 flexible 4 absent;
    13 LEAVE_GROUP "LeaveGroup" 0 5 flexible 4 absent;
    14 SYNC_GROUP "SyncGroup" 0 5 flexible 4 absent;
    15 DESCRIBE_GROUPS "DescribeGroups" 0 6 flexible 5 absent;
    16 LIST_GROUPS "ListGroups" 0 5 flexible 3 absent;
    17 SASL_HANDSHAKE "SaslHandshake" 0 1 flexible none absent;
    18 API_VERSIONS "ApiVersions" 0 4 flexible 3 served;
    19 CREATE_TOPICS "CreateTopics" 2 7 flexible 5 served;
    20 DELETE_TOPICS "DeleteTopics" 1 6 flexible 4 served;
    21 DELETE_RECORDS "DeleteRecords" 0 2 flexible 2 served;
    22 INIT_PRODUCER_ID "InitProducerId" 0 5 flexible 2 served;
    23 OFFSET_FOR_LEADER_EPOCH "OffsetForLeaderEpoch" 2 4 flexible 4 served;
    24 ADD_PARTITIONS_TO_TXN "AddPartitionsToTxn" 0 5 flexible 3 absent;
    25 ADD_OFFSETS_TO_TXN "AddOffsetsToTxn" 0 4 flexible 3 absent;
    26 END_TXN "EndTxn" 0 5 flexible 3 absent;
    27 WRITE_TXN_MARKERS "WriteTxnMarkers" 1 2 flexible 1 absent;
    28 TXN_OFFSET_COMMIT "TxnOffsetCommit" 0 5 flexible 3 absent;
    29 DESCRIBE_ACLS "DescribeAcls" 1 3 flexible 2 absent;
    30 CREATE_ACLS "CreateAcls" 1 3 flexible 2 absent;
    31 DELETE_ACLS "DeleteAcls" 1 3 flexible 2 absent;
    32 DESCRIBE_CONFIGS "DescribeConfigs" 1 4 flexible 4 served;
    33 ALTER_CONFIGS "AlterConfigs" 0 2 flexible 2 served;
    34 ALTER_REPLICA_LOG_DIRS "AlterReplicaLogDirs" 1 2 flexible 2 absent;
    35 DESCRIBE_LOG_DIRS "DescribeLogDirs" 1 5 flexible 2 absent;
    36 SASL_AUTHENTICATE "SaslAuthenticate" 0 2 flexible 2 absent;
    37 CREATE_PARTITIONS "CreatePartitions" 0 3 flexible 2 served;
    38 CREATE_DELEGATION_TOKEN "CreateDelegationToken" 1 3 flexible 2 absent;
    39 RENEW_DELEGATION_TOKEN "RenewDelegationToken" 1 2 flexible 2 absent;
    40 EXPIRE_DELEGATION_TOKEN "ExpireDelegationToken" 1 2 flexible 2 absent;
    41 DESCRIBE_DELEGATION_TOKEN "DescribeDelegationToken" 1 3 flexible 2 absent;
    42 DELETE_GROUPS "DeleteGroups" 0 2 flexible 2 absent;
    43 ELECT_LEADERS "ElectLeaders" 0 2 flexible 2 absent;
    44 INCREMENTAL_ALTER_CONFIGS "IncrementalAlterConfigs" 0 1 flexible 1 served;
    45 ALTER_PARTITION_REASSIGNMENTS "AlterPartitionReassignments" 0 1 flexible 0 absent;
    46 LIST_PARTITION_REASSIGNMENTS "ListPartitionReassignments" 0 0 flexible 0 absent;
    47 OFFSET_DELETE "OffsetDelete" 0 0 flexible none absent;
    48 DESCRIBE_CLIENT_QUOTAS "DescribeClientQuotas" 0 1 flexible 1 absent;
    49 ALTER_CLIENT_QUOTAS "AlterClientQuotas" 0 1 flexible 1 absent;
    50 DESCRIBE_USER_SCRAM_CREDENTIALS "DescribeUserScramCredentials" 0 0 flexible 0 absent;
    51 ALTER_USER_SCRAM_CREDENTIALS "AlterUserScramCredentials" 0 0 flexible 0 absent;
    52 VOTE "Vote" 0 2 flexible 0 absent;
    53 BEGIN_QUORUM_EPOCH "BeginQuorumEpoch" 0 1 flexible 1 absent;
    54 END_QUORUM_EPOCH "EndQuorumEpoch" 0 1 flexible 1 absent;
    55 DESCRIBE_QUORUM "DescribeQuorum" 0 2 flexible 0 absent;
    56 ALTER_PARTITION "AlterPartition" 2 3 flexible 0 absent;
    57 UPDATE_FEATURES "UpdateFeatures" 0 2 flexible 0 absent;
    58 ENVELOPE "Envelope" 0 0 flexible 0 absent;
    59 FETCH_SNAPSHOT "FetchSnapshot" 0 1 flexible 0 absent;
    60 DESCRIBE_CLUSTER "DescribeCluster" 0 2 flexible 0 served;
    61 DESCRIBE_PRODUCERS "DescribeProducers" 0 0 flexible 0 absent;
    62 BROKER_REGISTRATION "BrokerRegistration" 0 4 flexible 0 absent;
    63 BROKER_HEARTBEAT "BrokerHeartbeat" 0 2 flexible 0 absent;
    64 UNREGISTER_BROKER "UnregisterBroker" 0 0 flexible 0 absent;
    65 DESCRIBE_TRANSACTIONS "DescribeTransactions" 0 0 flexible 0 absent;
    66 LIST_TRANSACTIONS "ListTransactions" 0 2 flexible 0 absent;
    67 ALLOCATE_PRODUCER_IDS "AllocateProducerIds" 0 0 flexible 0 absent;
    68 CONSUMER_GROUP_HEARTBEAT "ConsumerGroupHeartbeat" 0 1 flexible 0 absent;
    69 CONSUMER_GROUP_DESCRIBE "ConsumerGroupDescribe" 0 1 flexible 0 absent;
    70 CONTROLLER_REGISTRATION "ControllerRegistration" 0 0 flexible 0 absent;
    71 GET_TELEMETRY_SUBSCRIPTIONS "GetTelemetrySubscriptions" 0 0 flexible 0 absent;
    72 PUSH_TELEMETRY "PushTelemetry" 0 0 flexible 0 absent;
    73 ASSIGN_REPLICAS_TO_DIRS "AssignReplicasToDirs" 0 0 flexible 0 absent;
    74 LIST_CONFIG_RESOURCES "ListConfigResources" 0 1 flexible 0 absent;
    75 DESCRIBE_TOPIC_PARTITIONS "DescribeTopicPartitions" 0 0 flexible 0 absent;
    76 SHARE_GROUP_HEARTBEAT "ShareGroupHeartbeat" 1 1 flexible 0 absent;
    77 SHARE_GROUP_DESCRIBE "ShareGroupDescribe" 1 1 flexible 0 absent;
    78 SHARE_FETCH "ShareFetch" 1 2 flexible 0 absent;
    79 SHARE_ACKNOWLEDGE "ShareAcknowledge" 1 2 flexible 0 absent;
    80 ADD_RAFT_VOTER "AddRaftVoter" 0 1 flexible 0 absent;
    81 REMOVE_RAFT_VOTER "RemoveRaftVoter" 0 0 flexible 0 absent;
    82 UPDATE_RAFT_VOTER "UpdateRaftVoter" 0 0 flexible 0 absent;
    83 INITIALIZE_SHARE_GROUP_STATE "InitializeShareGroupState" 0 0 flexible 0 absent;
    84 READ_SHARE_GROUP_STATE "ReadShareGroupState" 0 0 flexible 0 absent;
    85 WRITE_SHARE_GROUP_STATE "WriteShareGroupState" 0 1 flexible 0 absent;
    86 DELETE_SHARE_GROUP_STATE "DeleteShareGroupState" 0 0 flexible 0 absent;
    87 READ_SHARE_GROUP_STATE_SUMMARY "ReadShareGroupStateSummary" 0 1 flexible 0 absent;
    88 STREAMS_GROUP_HEARTBEAT "StreamsGroupHeartbeat" 0 0 flexible 0 absent;
    89 STREAMS_GROUP_DESCRIBE "StreamsGroupDescribe" 0 0 flexible 0 absent;
    90 DESCRIBE_SHARE_GROUP_OFFSETS "DescribeShareGroupOffsets" 0 1 flexible 0 absent;
    91 ALTER_SHARE_GROUP_OFFSETS "AlterShareGroupOffsets" 0 0 flexible 0 absent;
    92 DELETE_SHARE_GROUP_OFFSETS "DeleteShareGroupOffsets" 0 0 flexible 0 absent;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_finds_its_own_row() {
        for row in ApiKey::ALL {
            assert_eq!(row.key.row(), Some(row));
            assert!(row.version_min <= row.version_max);
            assert!(row.advertised_min <= row.version_min);
        }
        for key in [i16::MIN, -1, 4, 5, 6, 7, 93, i16::MAX] {
            assert_eq!(ApiKey(key).row(), None);
        }
    }

    #[test]
    fn produce_alone_tells_of_versions_it_refuses() {
        for row in ApiKey::ALL {
            assert_eq!(
                row.advertised_min != row.version_min,
                row.key == ApiKey::PRODUCE
            );
        }
        let produce = ApiKey::row_of(ApiKey::PRODUCE);
        assert_eq!((produce.advertised_min, produce.supports(2)), (0, false));
    }

    #[test]
    fn headers_follow_the_flexible_version_except_the_answer_to_api_versions() {
        let metadata = ApiKey::row_of(ApiKey::METADATA);
        assert_eq!(metadata.request_header_version(8), 1);
        assert_eq!(metadata.request_header_version(9), 2);
        assert_eq!(metadata.response_header_version(8), 0);
        assert_eq!(metadata.response_header_version(9), 1);
        let versions = ApiKey::row_of(ApiKey::API_VERSIONS);
        assert_eq!(versions.request_header_version(-1), 1);
        assert_eq!(versions.request_header_version(99), 2);
        assert_eq!(versions.response_header_version(4), 0);
        let handshake = ApiKey::row_of(ApiKey::SASL_HANDSHAKE);
        assert_eq!(handshake.request_header_version(1), 1);
    }

    #[test]
    fn only_produce_is_pipelined() {
        for row in ApiKey::ALL {
            assert_eq!(row.lane == Lane::Pipelined, row.key == ApiKey::PRODUCE);
        }
    }

    #[test]
    fn the_keys_served_are_these() {
        let served: Vec<i16> = ApiKey::all_served().map(|row| row.key.0).collect();
        assert_eq!(
            served,
            [0, 1, 2, 3, 10, 18, 19, 20, 21, 22, 23, 32, 33, 37, 44, 60]
        );
    }
}
