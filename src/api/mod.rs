//! One file per request: any version of the wire message to core calls and back.
//!
//! Handlers translate; rules live in the cores, effects in the shell.

pub mod cold;
pub mod k00_produce;
pub mod k01_fetch;
pub mod k02_list_offsets;
pub mod k03_metadata;
pub mod k10_find_coordinator;
pub mod k18_api_versions;
pub mod k19_create_topics;
pub mod k20_delete_topics;
pub mod k21_delete_records;
pub mod k22_init_producer_id;
pub mod k23_offset_for_leader_epoch;
pub mod k32_describe_configs;
pub mod k33_alter_configs;
pub mod k37_create_partitions;
pub mod k44_incremental_alter_configs;
pub mod k60_describe_cluster;
pub mod ports;
pub mod refusals;
