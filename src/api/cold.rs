//! The requests off the hot path, from frame to frame.
//!
//! A shard gives a decoded header and the reader behind it to [`begin`]; what comes back is an
//! answer, or a question for the metadata writer with what [`finish`] needs to turn the writer's
//! reply into the answer. Owns the dispatch; each request's meaning is in its own file.

use bytes::Bytes;

use crate::api::ports::Ports;
use crate::api::{
    k03_metadata, k10_find_coordinator, k18_api_versions, k19_create_topics, k20_delete_topics,
    k22_init_producer_id, k32_describe_configs, k33_alter_configs, k37_create_partitions,
    k44_incremental_alter_configs, k60_describe_cluster,
};
use crate::metadata::{AdminReply, AdminRequest};
use crate::wire::messages::k03_metadata::MetadataRequest;
use crate::wire::messages::k10_find_coordinator::FindCoordinatorRequest;
use crate::wire::messages::k18_api_versions::ApiVersionsRequest;
use crate::wire::messages::k19_create_topics::CreateTopicsRequest;
use crate::wire::messages::k20_delete_topics::DeleteTopicsRequest;
use crate::wire::messages::k22_init_producer_id::InitProducerIdRequest;
use crate::wire::messages::k32_describe_configs::DescribeConfigsRequest;
use crate::wire::messages::k33_alter_configs::AlterConfigsRequest;
use crate::wire::messages::k37_create_partitions::CreatePartitionsRequest;
use crate::wire::messages::k44_incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::messages::k60_describe_cluster::DescribeClusterRequest;
use crate::wire::{ApiKey, DecodeFault, Message, Reader, RequestHeader, ResponseFrame};
use crate::words::NodeId;

/// How a request begins.
pub enum Begun {
    /// The answer, as parts of a frame.
    Reply(Vec<Bytes>),
    /// The metadata writer is asked; its reply goes to [`finish`].
    Ask {
        request: AdminRequest,
        pending: Pending,
    },
    /// The answer, and a question whose reply nobody waits for.
    ReplyAndTell {
        reply: Vec<Bytes>,
        request: AdminRequest,
    },
    /// No request of this file.
    NotCold,
}

/// A request that waits for the metadata writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    kind: Kind,
    version: i16,
    correlation_id: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    CreateTopics,
    DeleteTopics,
    InitProducerId,
    AlterConfigs,
    CreatePartitions,
    IncrementalAlterConfigs,
}

impl Pending {
    fn of(kind: Kind, header: &RequestHeader<'_>) -> Pending {
        Pending {
            kind,
            version: header.version,
            correlation_id: header.correlation_id,
        }
    }
}

/// What a handler does first: answer, or ask.
pub enum Step<R> {
    Reply(R),
    Ask(AdminRequest),
}

/// Begins a cold request. A fault is of the peer's making and costs it the connection.
pub fn begin(
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
    ports: &mut Ports<'_>,
) -> Result<Begun, DecodeFault> {
    let (version, correlation_id) = (header.version, header.correlation_id);
    let pending = |kind| Pending::of(kind, header);
    Ok(match header.api.key {
        ApiKey::API_VERSIONS if !header.api.supports(version) => {
            // Readable by any client: version 0, whatever was asked (KIP-511).
            Begun::Reply(ResponseFrame::of(
                0,
                correlation_id,
                &k18_api_versions::unsupported(),
            ))
        }
        ApiKey::API_VERSIONS => {
            let body = ApiVersionsRequest::read(reader, version)?;
            let response = k18_api_versions::answer(&body, version, ports);
            Begun::Reply(ResponseFrame::of(version, correlation_id, &response))
        }
        ApiKey::METADATA => {
            let body = MetadataRequest::read(reader, version)?;
            let answer = k03_metadata::answer(&body, version, ports);
            let reply = ResponseFrame::of(version, correlation_id, &answer.response);
            if answer.auto_create.is_empty() {
                Begun::Reply(reply)
            } else {
                let names = answer.auto_create;
                let request = AdminRequest::AutoCreate { names };
                Begun::ReplyAndTell { reply, request }
            }
        }
        ApiKey::FIND_COORDINATOR => {
            let body = FindCoordinatorRequest::read(reader, version)?;
            let response = k10_find_coordinator::answer(&body, version);
            Begun::Reply(ResponseFrame::of(version, correlation_id, &response))
        }
        ApiKey::CREATE_TOPICS => {
            let body = CreateTopicsRequest::read(reader, version)?;
            begun(k19_create_topics::begin(&body), pending(Kind::CreateTopics))
        }
        ApiKey::DELETE_TOPICS => {
            let body = DeleteTopicsRequest::read(reader, version)?;
            begun(
                k20_delete_topics::begin(&body, version),
                pending(Kind::DeleteTopics),
            )
        }
        ApiKey::ALTER_CONFIGS | ApiKey::CREATE_PARTITIONS | ApiKey::INCREMENTAL_ALTER_CONFIGS => {
            begin_change(header, reader, ports.node)?
        }
        ApiKey::INIT_PRODUCER_ID => {
            let body = InitProducerIdRequest::read(reader, version)?;
            let step = k22_init_producer_id::begin(&body, ports.producer_ids);
            begun(step, pending(Kind::InitProducerId))
        }
        ApiKey::DESCRIBE_CONFIGS => {
            let body = DescribeConfigsRequest::read(reader, version)?;
            let response = k32_describe_configs::answer(&body, ports);
            Begun::Reply(ResponseFrame::of(version, correlation_id, &response))
        }
        ApiKey::DESCRIBE_CLUSTER => {
            let body = DescribeClusterRequest::read(reader, version)?;
            let response = k60_describe_cluster::answer(&body, ports);
            Begun::Reply(ResponseFrame::of(version, correlation_id, &response))
        }
        _ => Begun::NotCold,
    })
}

/// Begins a request that changes what exists already.
fn begin_change(
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
    node: NodeId,
) -> Result<Begun, DecodeFault> {
    let version = header.version;
    let pending = |kind| Pending::of(kind, header);
    Ok(match header.api.key {
        ApiKey::ALTER_CONFIGS => {
            let body = AlterConfigsRequest::read(reader, version)?;
            let step = k33_alter_configs::begin(&body, node);
            begun(step, pending(Kind::AlterConfigs))
        }
        ApiKey::CREATE_PARTITIONS => {
            let body = CreatePartitionsRequest::read(reader, version)?;
            let step = k37_create_partitions::begin(&body);
            begun(step, pending(Kind::CreatePartitions))
        }
        ApiKey::INCREMENTAL_ALTER_CONFIGS => {
            let body = IncrementalAlterConfigsRequest::read(reader, version)?;
            let step = k44_incremental_alter_configs::begin(&body, node);
            begun(step, pending(Kind::IncrementalAlterConfigs))
        }
        _ => Begun::NotCold,
    })
}

/// Ends a request with what the metadata writer replied. The image in `ports` is the one published
/// before the reply was sent, or a later one.
pub fn finish(pending: Pending, reply: AdminReply, ports: &mut Ports<'_>) -> Vec<Bytes> {
    let Pending {
        kind,
        version,
        correlation_id,
    } = pending;
    match kind {
        Kind::CreateTopics => {
            let response = k19_create_topics::finish(reply, ports);
            ResponseFrame::of(version, correlation_id, &response)
        }
        Kind::DeleteTopics => {
            let response = k20_delete_topics::finish(reply, version);
            ResponseFrame::of(version, correlation_id, &response)
        }
        Kind::InitProducerId => {
            let response = k22_init_producer_id::finish(&reply, ports.producer_ids);
            ResponseFrame::of(version, correlation_id, &response)
        }
        Kind::AlterConfigs => {
            let response = k33_alter_configs::finish(reply);
            ResponseFrame::of(version, correlation_id, &response)
        }
        Kind::CreatePartitions => {
            let response = k37_create_partitions::finish(reply);
            ResponseFrame::of(version, correlation_id, &response)
        }
        Kind::IncrementalAlterConfigs => {
            let response = k44_incremental_alter_configs::finish(reply);
            ResponseFrame::of(version, correlation_id, &response)
        }
    }
}

fn begun<R: Message>(step: Step<R>, pending: Pending) -> Begun {
    match step {
        Step::Reply(response) => Begun::Reply(ResponseFrame::of(
            pending.version,
            pending.correlation_id,
            &response,
        )),
        Step::Ask(request) => Begun::Ask { request, pending },
    }
}

#[cfg(test)]
#[path = "cold_tests.rs"]
mod tests;
