//! Targets of what peers send: frames, headers, every message, and the requests that are answered.

use bytes::Bytes;
use ottla::api::cold;
use ottla::api::k00_produce::{self as produce, NotAdmitted};
use ottla::api::k22_init_producer_id::ProducerIds;
use ottla::api::ports::Ports;
use ottla::log::append_rules::LogSettings;
use ottla::metadata::codec::{self, Verdict};
use ottla::metadata::decide::{self, TopicDefaults};
use ottla::metadata::delete::delete_topics;
use ottla::metadata::{AdminReply, AdminRequest, ClusterId, MetadataImage, Node, Record};
use ottla::metadata::{alter, grow};
use ottla::settings::BrokerSettings;
use ottla::wire::fetch::{FetchRequest, FetchResponse};
use ottla::wire::messages::*;
use ottla::wire::produce::{ProduceRequest, ProduceResponse};
use ottla::wire::record::check::RECORD_ERRORS_MAX;
use ottla::wire::record::{
    Allowance, BatchHeader, Codec, Stamp, StampTimestamps, TimestampType, crc, stamp,
};
use ottla::wire::{
    ApiKey, ApiRow, DecodeFault, FrameCutter, Message, Reader, RequestHeader, ResponseHeader,
    Writer,
};
use ottla::words::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId};

use super::{FRAME_BYTES_MAX, NOW, OUTPUT_MAX, head};

/// However a stream is cut into pieces, the same frames come out, and then the same fault.
pub fn frames(bytes: &[u8]) {
    let cut = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut cutter = FrameCutter::new(FRAME_BYTES_MAX);
        let (mut out, mut fed) = (Vec::new(), 0);
        for piece in pieces {
            cutter.feed(Bytes::copy_from_slice(piece));
            fed += piece.len();
            loop {
                match cutter.next_frame() {
                    Ok(Some(frame)) => out.push(frame),
                    Ok(None) => break,
                    Err(fault) => return (out, Some(fault)),
                }
            }
            let handed: usize = out.iter().map(|frame| frame.len() + 4).sum();
            assert_eq!(cutter.buffered(), fed - handed);
        }
        (out, None)
    };
    let (sizes, stream) = bytes.split_at(bytes.len().min(4));
    let whole = cut(&mut std::iter::once(stream));
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    let mut pieces = std::iter::from_fn(|| {
        let size = 1 + usize::from(*sizes.next()?);
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    let pieces = cut(&mut pieces);
    assert_eq!(whole, pieces);
}

/// What is read of a header survives being written.
pub fn request_header(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&frame);
    if let Ok(header) = RequestHeader::read(&mut reader) {
        assert!(reader.remaining() <= frame.len());
        let mut writer = Writer::new();
        header.write(&mut writer);
        let again = writer.into_bytes();
        assert_eq!(
            RequestHeader::read(&mut Reader::new(&again)),
            Ok(header.clone())
        );
        let _ = header.is_served();
    }
    for row in ApiKey::ALL {
        for version in [row.version_min, row.version_max, i16::MIN, i16::MAX] {
            let _ = ResponseHeader::read(&mut Reader::new(&frame), row, version);
        }
    }
}

type Echo = fn(&Bytes, i16) -> Result<(Bytes, usize), DecodeFault>;

/// Reads a message; what was read, written, must read as the same. Returns it written.
fn echo<M: Message + PartialEq + std::fmt::Debug>(
    bytes: &Bytes,
    version: i16,
) -> Result<(Bytes, usize), DecodeFault> {
    let mut reader = Reader::new(bytes);
    let message = M::read(&mut reader, version)?;
    let read = bytes.len() - reader.remaining();
    let mut writer = Writer::new();
    message.write(&mut writer, version);
    let written = writer.into_bytes();
    let mut reader = Reader::new(&written);
    assert_eq!(M::read(&mut reader, version).as_ref(), Ok(&message));
    assert_eq!(reader.remaining(), 0, "{} {version}", M::NAME);
    Ok((written, read))
}

macro_rules! catalogue {
    ($($name:ident)*) => {
        /// Every message: its name, its API, and how it is read and written.
        pub const MESSAGES: &[(&str, &ApiRow, Echo)] =
            &[$((stringify!($name), <$name as Message>::API, echo::<$name>),)*];
    };
}

catalogue! {
    ProduceRequest ProduceResponse FetchRequest FetchResponse
    ListOffsetsRequest ListOffsetsResponse MetadataRequest MetadataResponse
    OffsetCommitRequest OffsetCommitResponse OffsetFetchRequest OffsetFetchResponse
    FindCoordinatorRequest FindCoordinatorResponse JoinGroupRequest JoinGroupResponse
    HeartbeatRequest HeartbeatResponse LeaveGroupRequest LeaveGroupResponse
    SyncGroupRequest SyncGroupResponse DescribeGroupsRequest DescribeGroupsResponse
    ListGroupsRequest ListGroupsResponse SaslHandshakeRequest SaslHandshakeResponse
    ApiVersionsRequest ApiVersionsResponse CreateTopicsRequest CreateTopicsResponse
    DeleteTopicsRequest DeleteTopicsResponse DeleteRecordsRequest DeleteRecordsResponse
    InitProducerIdRequest InitProducerIdResponse
    OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
    DescribeConfigsRequest DescribeConfigsResponse AlterConfigsRequest AlterConfigsResponse
    DescribeLogDirsRequest DescribeLogDirsResponse
    SaslAuthenticateRequest SaslAuthenticateResponse
    CreatePartitionsRequest CreatePartitionsResponse DeleteGroupsRequest DeleteGroupsResponse
    IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
    DescribeClusterRequest DescribeClusterResponse
    DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
}

/// First byte: which message. Second: which of its versions. The rest: the body.
pub fn messages(bytes: &[u8]) {
    let (which, rest) = head(bytes);
    let (version, body) = head(rest);
    let Some((_, api, echo)) = MESSAGES.get(usize::from(which) % MESSAGES.len()) else {
        return;
    };
    let versions = api.version_max - api.version_min + 1;
    let version = api.version_min + i16::from(version) % versions;
    let body = Bytes::copy_from_slice(body);
    if let Ok((written, read)) = echo(&body, version) {
        assert!(read <= body.len());
        assert_eq!(
            echo(&written, version),
            Ok((written.clone(), written.len()))
        );
    }
}

/// Settings that every record meets, and settings that ask for most.
pub fn log_settings() -> [LogSettings; 2] {
    let strictest = LogSettings {
        max_message_bytes: 4096,
        message_timestamp_type: TimestampType::LogAppendTime,
        compression_type: Some(Codec::GZIP),
        cleanup_compact: true,
        ..LogSettings::default()
    };
    [LogSettings::default(), strictest]
}

/// First byte: version. The rest: the body of a Produce request, and every partition admitted.
pub fn produce_request(bytes: &[u8]) {
    let (version, body) = head(bytes);
    let api = <ProduceRequest as Message>::API;
    let version = api.version_min + i16::from(version) % (api.version_max - api.version_min + 1);
    let body = Bytes::copy_from_slice(body);
    let Ok(request) = ProduceRequest::read(&mut Reader::new(&body), version) else {
        return;
    };
    let _ = produce::refuse_request(&request);
    for topic in request.topic_data {
        let named = topic.partition_data.len();
        let partitions = produce::last_of_each(topic.partition_data);
        assert!(partitions.len() <= named);
        for partition in partitions {
            admit(partition.records.as_ref(), version);
        }
    }
}

/// What is admitted is a whole batch in the topic's codec, and stays intact when it is stamped.
pub fn admit(records: Option<&Bytes>, version: i16) {
    for settings in log_settings() {
        for strict in [true, false] {
            let mut purse = Allowance::new(OUTPUT_MAX, usize::MAX);
            let admitted = produce::arrive(records, version, &settings)
                .map_err(NotAdmitted::Refused)
                .and_then(|batch| produce::admit(&batch, &settings, NOW, strict, &mut purse));
            let refused = match admitted {
                Err(NotAdmitted::TooLarge) => produce::expands_too_far(),
                Err(NotAdmitted::Refused(refused)) => refused,
                Ok(admitted) => {
                    let (header, body) = (admitted.batch.header, admitted.batch.body());
                    assert_eq!(header.codec(), settings.target_codec(header.codec()));
                    assert_eq!(header.size_bytes(), admitted.batch.bytes.len());
                    let marks = Stamp {
                        base_offset: Offset(7),
                        leader_epoch: LeaderEpoch(3),
                        timestamps: StampTimestamps::CreateTime(admitted.max_timestamp),
                    };
                    let stamped = [&stamp(&header, body, marks), body].concat();
                    let header = BatchHeader::parse(&stamped).expect("a stamped header");
                    assert!(crc::is_intact(&header, &stamped));
                    assert_eq!(header.max_timestamp, admitted.max_timestamp);
                    assert_eq!(header.next_offset().0, 7 + i64::from(header.records_count));
                    continue;
                }
            };
            assert!(refused.records.len() <= RECORD_ERRORS_MAX);
            let answer = produce::refused_response(PartitionIndex(0), refused, None, version);
            assert_ne!(answer.error_code.0, 0);
        }
    }
}

/// A cluster of two nodes and one topic.
fn small_image() -> MetadataImage {
    let node = |id, port| Node {
        id: NodeId(id),
        host: "h".to_owned(),
        port,
        rack: None,
    };
    let mut image = MetadataImage::empty();
    let records = [
        Record::ClusterCreated {
            id: ClusterId([1; 16]),
        },
        Record::NodesRegistered {
            start: 1,
            nodes: vec![node(0, 9092), node(1, 9093)],
        },
        Record::TopicCreated {
            id: TopicId([7; 16]),
            name: "t".to_owned(),
        },
    ];
    image.apply_all(&records).expect("records that fit");
    image
}

/// A frame without its size, as a connection hands it to a shard: every cold request, with what
/// the metadata writer makes of it. An answer is a frame whose size is right.
pub fn cold_request(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&frame);
    let Ok(header) = RequestHeader::read(&mut reader) else {
        return;
    };
    if !header.is_served() && header.api.key != ApiKey::API_VERSIONS {
        return;
    }
    let mut image = small_image();
    let settings = BrokerSettings::defaults();
    let mut producer_ids = ProducerIds::default();
    let mut ports = Ports {
        image: &image,
        node: NodeId(0),
        settings: &settings,
        producer_ids: &mut producer_ids,
    };
    let reply = match cold::begin(&header, &mut reader, &mut ports) {
        Err(_) | Ok(cold::Begun::NotCold) => return,
        Ok(cold::Begun::Reply(reply)) => reply,
        Ok(cold::Begun::ReplyAndTell { reply, request }) => {
            let _ = write(&mut image, &settings, &request);
            reply
        }
        Ok(cold::Begun::Ask { request, pending }) => {
            let reply = write(&mut image, &settings, &request);
            let mut ports = Ports {
                image: &image,
                node: NodeId(0),
                settings: &settings,
                producer_ids: &mut producer_ids,
            };
            cold::finish(pending, reply, &mut ports)
        }
    };
    let reply = reply.concat();
    let (size, rest) = reply.split_first_chunk::<4>().expect("a size");
    assert_eq!(usize::try_from(i32::from_be_bytes(*size)), Ok(rest.len()));
    let correlation_id = rest.first_chunk::<4>().map(|id| i32::from_be_bytes(*id));
    assert_eq!(correlation_id, Some(header.correlation_id));
}

/// What the metadata writer does with a request; its records survive their log.
fn write(
    image: &mut MetadataImage,
    settings: &BrokerSettings,
    request: &AdminRequest,
) -> AdminReply {
    let defaults = TopicDefaults::of(settings);
    let mut made = 0u64;
    let mut new_id = || {
        made += 1;
        TopicId(u128::from(made).to_be_bytes())
    };
    let (records, reply) = match request {
        AdminRequest::CreateTopics { topics, .. } => {
            let made = decide::create_topics(image, topics, &defaults, &mut new_id);
            (made.records, AdminReply::Created(made.answer))
        }
        AdminRequest::AutoCreate { names } => {
            let made = decide::auto_create(image, names, &defaults, &mut new_id);
            (made.records, AdminReply::AutoCreated(made.answer))
        }
        AdminRequest::DeleteTopics { topics } => {
            let gone = delete_topics(image, topics);
            (gone.records, AdminReply::Deleted(gone.answer))
        }
        AdminRequest::CreatePartitions { topics, .. } => {
            let grown = grow::create_partitions(image, topics);
            (grown.records, AdminReply::Grown(grown.answer))
        }
        AdminRequest::AlterConfigs {
            node, resources, ..
        } => {
            let altered = alter::alter_configs(image, *node, resources, settings);
            (altered.records, AdminReply::Altered(altered.answer))
        }
        AdminRequest::AllocateProducerIds => {
            let block = decide::allocate_producer_ids(image);
            (block.records, AdminReply::ProducerIds(block.answer))
        }
    };
    let mut bytes = Vec::new();
    codec::encode_frame(image.version(), &records, &mut bytes).expect("a frame of one request");
    match codec::read_at(&bytes, 0) {
        Verdict::Frame(frame) => assert_eq!(frame.records, records),
        other => panic!("{other:?}"),
    }
    image.apply_all(&records).expect("a decision that fits");
    reply
}
