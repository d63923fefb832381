//! Claims about every message at once: the catalogue they are made over.
//!
//! Compiled for tests only. A message that is missing here is caught by `oracle.rs`.

mod hostile;
mod oracle;
mod rules;
mod schema;

use bytes::{Bytes, BytesMut};

use crate::wire::api_key::ApiRow;
use crate::wire::codec::{DecodeFault, Reader, Writer};
use crate::wire::fetch::{FetchRequest, FetchResponse};
use crate::wire::field::{Field, Form};
use crate::wire::message::Message;
use crate::wire::messages::*;
use crate::wire::produce::{ProduceRequest, ProduceResponse};
use crate::wire::testing::{Dice, Shape};

/// One message, with its type erased.
struct Probe {
    name: &'static str,
    api: &'static ApiRow,
    shape: fn() -> Shape,
    /// A random message as bytes; asserts that reading them gives the message back.
    sample: fn(&mut Dice, i16) -> Bytes,
    /// Reads, and writes again what was read.
    echo: fn(&Bytes, i16) -> Result<Bytes, DecodeFault>,
    /// The oracle reads, and writes again what it read.
    oracle_echo: fn(&Bytes, i16) -> Bytes,
}

fn sample<M: Message + PartialEq + std::fmt::Debug>(dice: &mut Dice, version: i16) -> Bytes {
    let form = Form {
        version,
        flexible: M::API.is_flexible(version),
        nullable: false,
    };
    let message = M::sample(dice, form);
    let mut writer = Writer::new();
    message.write(&mut writer, version);
    let bytes = writer.into_bytes();
    let mut reader = Reader::new(&bytes);
    let read = M::read(&mut reader, version);
    assert_eq!(read.as_ref(), Ok(&message), "{} {version}", M::NAME);
    assert_eq!(reader.remaining(), 0, "{} {version}", M::NAME);
    assert!(M::bytes_min(form) <= bytes.len(), "{} {version}", M::NAME);
    bytes
}

fn echo<M: Message>(bytes: &Bytes, version: i16) -> Result<Bytes, DecodeFault> {
    let message = M::read(&mut Reader::new(bytes), version)?;
    let mut writer = Writer::new();
    message.write(&mut writer, version);
    Ok(writer.into_bytes())
}

macro_rules! catalogue {
    ($($name:ident;)*) => {
        const CATALOGUE: &[Probe] = &[$(Probe {
            name: stringify!($name),
            api: <$name as Message>::API,
            shape: <$name as Field>::shape,
            sample: sample::<$name>,
            echo: echo::<$name>,
            oracle_echo: |bytes, version| {
                let mut rest = bytes.clone();
                let message = oracle_type::$name::read(&mut rest, version)
                    .unwrap_or_else(|fault| panic!("{} {version}: {fault}", stringify!($name)));
                assert!(rest.is_empty(), "{} {version}", stringify!($name));
                let mut out = BytesMut::new();
                message.write(&mut out, version).expect(stringify!($name));
                out.freeze()
            },
        },)*];
    };
}

/// The oracle's types under our names.
mod oracle_type {
    pub use kacrab_protocol::generated::{
        AlterConfigsRequestData as AlterConfigsRequest,
        AlterConfigsResponseData as AlterConfigsResponse,
        ApiVersionsRequestData as ApiVersionsRequest,
        ApiVersionsResponseData as ApiVersionsResponse,
        CreatePartitionsRequestData as CreatePartitionsRequest,
        CreatePartitionsResponseData as CreatePartitionsResponse,
        CreateTopicsRequestData as CreateTopicsRequest,
        CreateTopicsResponseData as CreateTopicsResponse,
        DeleteGroupsRequestData as DeleteGroupsRequest,
        DeleteGroupsResponseData as DeleteGroupsResponse,
        DeleteRecordsRequestData as DeleteRecordsRequest,
        DeleteRecordsResponseData as DeleteRecordsResponse,
        DeleteTopicsRequestData as DeleteTopicsRequest,
        DeleteTopicsResponseData as DeleteTopicsResponse,
        DescribeClusterRequestData as DescribeClusterRequest,
        DescribeClusterResponseData as DescribeClusterResponse,
        DescribeConfigsRequestData as DescribeConfigsRequest,
        DescribeConfigsResponseData as DescribeConfigsResponse,
        DescribeGroupsRequestData as DescribeGroupsRequest,
        DescribeGroupsResponseData as DescribeGroupsResponse,
        DescribeLogDirsRequestData as DescribeLogDirsRequest,
        DescribeLogDirsResponseData as DescribeLogDirsResponse,
        DescribeTopicPartitionsRequestData as DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsResponseData as DescribeTopicPartitionsResponse,
        FetchRequestData as FetchRequest, FetchResponseData as FetchResponse,
        FindCoordinatorRequestData as FindCoordinatorRequest,
        FindCoordinatorResponseData as FindCoordinatorResponse,
        HeartbeatRequestData as HeartbeatRequest, HeartbeatResponseData as HeartbeatResponse,
        IncrementalAlterConfigsRequestData as IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponseData as IncrementalAlterConfigsResponse,
        InitProducerIdRequestData as InitProducerIdRequest,
        InitProducerIdResponseData as InitProducerIdResponse,
        JoinGroupRequestData as JoinGroupRequest, JoinGroupResponseData as JoinGroupResponse,
        LeaveGroupRequestData as LeaveGroupRequest, LeaveGroupResponseData as LeaveGroupResponse,
        ListGroupsRequestData as ListGroupsRequest, ListGroupsResponseData as ListGroupsResponse,
        ListOffsetsRequestData as ListOffsetsRequest,
        ListOffsetsResponseData as ListOffsetsResponse, MetadataRequestData as MetadataRequest,
        MetadataResponseData as MetadataResponse, OffsetCommitRequestData as OffsetCommitRequest,
        OffsetCommitResponseData as OffsetCommitResponse,
        OffsetFetchRequestData as OffsetFetchRequest,
        OffsetFetchResponseData as OffsetFetchResponse,
        OffsetForLeaderEpochRequestData as OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponseData as OffsetForLeaderEpochResponse,
        ProduceRequestData as ProduceRequest, ProduceResponseData as ProduceResponse,
        SaslAuthenticateRequestData as SaslAuthenticateRequest,
        SaslAuthenticateResponseData as SaslAuthenticateResponse,
        SaslHandshakeRequestData as SaslHandshakeRequest,
        SaslHandshakeResponseData as SaslHandshakeResponse,
        SyncGroupRequestData as SyncGroupRequest, SyncGroupResponseData as SyncGroupResponse,
    };
}

catalogue! {
    ProduceRequest;
    ProduceResponse;
    FetchRequest;
    FetchResponse;
    ListOffsetsRequest;
    ListOffsetsResponse;
    MetadataRequest;
    MetadataResponse;
    OffsetCommitRequest;
    OffsetCommitResponse;
    OffsetFetchRequest;
    OffsetFetchResponse;
    FindCoordinatorRequest;
    FindCoordinatorResponse;
    JoinGroupRequest;
    JoinGroupResponse;
    HeartbeatRequest;
    HeartbeatResponse;
    LeaveGroupRequest;
    LeaveGroupResponse;
    SyncGroupRequest;
    SyncGroupResponse;
    DescribeGroupsRequest;
    DescribeGroupsResponse;
    ListGroupsRequest;
    ListGroupsResponse;
    SaslHandshakeRequest;
    SaslHandshakeResponse;
    ApiVersionsRequest;
    ApiVersionsResponse;
    CreateTopicsRequest;
    CreateTopicsResponse;
    DeleteTopicsRequest;
    DeleteTopicsResponse;
    DeleteRecordsRequest;
    DeleteRecordsResponse;
    InitProducerIdRequest;
    InitProducerIdResponse;
    OffsetForLeaderEpochRequest;
    OffsetForLeaderEpochResponse;
    DescribeConfigsRequest;
    DescribeConfigsResponse;
    AlterConfigsRequest;
    AlterConfigsResponse;
    DescribeLogDirsRequest;
    DescribeLogDirsResponse;
    SaslAuthenticateRequest;
    SaslAuthenticateResponse;
    CreatePartitionsRequest;
    CreatePartitionsResponse;
    DeleteGroupsRequest;
    DeleteGroupsResponse;
    IncrementalAlterConfigsRequest;
    IncrementalAlterConfigsResponse;
    DescribeClusterRequest;
    DescribeClusterResponse;
    DescribeTopicPartitionsRequest;
    DescribeTopicPartitionsResponse;
}
