//! The message tables, one file a request, named by API key.
//!
//! Owns the layout of every body but Produce and Fetch (see `wire/produce.rs`, `wire/fetch.rs`).
//! Judges no value: what a field means is known in `api/` and in the cores.

pub mod k02_list_offsets;
pub mod k03_metadata;
pub mod k08_offset_commit;
pub mod k09_offset_fetch;
pub mod k10_find_coordinator;
pub mod k11_join_group;
pub mod k12_heartbeat;
pub mod k13_leave_group;
pub mod k14_sync_group;
pub mod k15_describe_groups;
pub mod k16_list_groups;
pub mod k17_sasl_handshake;
pub mod k18_api_versions;
pub mod k19_create_topics;
pub mod k20_delete_topics;
pub mod k21_delete_records;
pub mod k22_init_producer_id;
pub mod k23_offset_for_leader_epoch;
pub mod k32_describe_configs;
pub mod k33_alter_configs;
pub mod k35_describe_log_dirs;
pub mod k36_sasl_authenticate;
pub mod k37_create_partitions;
pub mod k42_delete_groups;
pub mod k44_incremental_alter_configs;
pub mod k60_describe_cluster;
pub mod k75_describe_topic_partitions;

pub use k02_list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use k03_metadata::{MetadataRequest, MetadataResponse};
pub use k08_offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use k09_offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use k10_find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use k11_join_group::{JoinGroupRequest, JoinGroupResponse};
pub use k12_heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use k13_leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use k14_sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use k15_describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use k16_list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use k17_sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use k18_api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use k19_create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use k20_delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use k21_delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use k22_init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use k23_offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use k32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use k33_alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use k35_describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use k36_sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use k37_create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use k42_delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use k44_incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
pub use k60_describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use k75_describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
