//! Rules of the encoding as Apache Kafka 4.3.1 was seen to keep them.

use bytes::Bytes;

use crate::wire::api_key::ApiKey;
use crate::wire::codec::{DecodeFault, Reader};
use crate::wire::error_code::ErrorCode;
use crate::wire::fetch::FetchRequest;
use crate::wire::frame::ResponseFrame;
use crate::wire::kstr::KStr;
use crate::wire::message::Message;
use crate::wire::messages::{
    ApiVersionsResponse, CreateTopicsRequest, MetadataRequest, MetadataResponse,
    k18_api_versions::ApiVersion,
};

fn read<M: Message>(bytes: &'static [u8], version: i16) -> Result<M, DecodeFault> {
    M::read(&mut Reader::new(&Bytes::from_static(bytes)), version)
}

/// A fetch of version 12 without partitions, up to its tags.
fn fetch_12(tags: &[u8]) -> Result<FetchRequest, DecodeFault> {
    let body: &[u8] = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\xff\xff\xff\xff\
        \x01\x01\x01";
    let bytes = Bytes::from([body, tags].concat());
    FetchRequest::read(&mut Reader::new(&bytes), 12)
}

#[test]
fn an_array_of_length_minus_two_is_null() {
    let request: MetadataRequest = read(b"\xff\xff\xff\xfe", 1).unwrap();
    assert_eq!(request.topics, None);
    // Version 0 has no null: there an empty list asks for all.
    let refused = read::<MetadataRequest>(b"\xff\xff\xff\xff", 0);
    assert_eq!(refused, Err(DecodeFault::Null));
}

#[test]
fn a_null_name_is_refused_where_names_cannot_be_null() {
    let refused = read::<MetadataRequest>(b"\0\0\0\x01\xff\xff", 1);
    assert_eq!(refused, Err(DecodeFault::Null));
}

#[test]
fn a_name_that_is_no_text_is_read_with_replacement_characters() {
    let request: MetadataRequest = read(b"\0\0\0\x01\0\x02\xff\xfe", 1).unwrap();
    let topics = request.topics.unwrap();
    assert_eq!(topics[0].name, Some(KStr::from("\u{fffd}\u{fffd}")));
}

#[test]
fn any_byte_but_zero_is_true() {
    let request: MetadataRequest = read(b"\x01\x02\0\0\0", 9).unwrap();
    assert!(request.allow_auto_topic_creation);
}

#[test]
fn unknown_tags_are_passed_and_known_ones_may_come_twice_and_in_any_order() {
    assert!(fetch_12(b"\x02\x09\x02ab\x09\x01a").is_ok());
    let twice = fetch_12(b"\x03\x00\x02\x02a\x63\x00\x00\x02\x02b").unwrap();
    assert_eq!(twice.cluster_id, Some(KStr::from("b")));
}

#[test]
fn a_tag_must_be_as_long_as_it_says() {
    // Kafka reads on by the value and forgives a wrong size; an honest peer has none.
    assert_eq!(
        fetch_12(b"\x01\x00\x03\x02a\x00"),
        Err(DecodeFault::TagSize(0))
    );
    assert_eq!(fetch_12(b"\x01\x00\x01\x02a"), Err(DecodeFault::Short));
    assert_eq!(fetch_12(b"\x01\x09\x20ab"), Err(DecodeFault::Short));
    assert_eq!(fetch_12(b"\x09"), Err(DecodeFault::Short));
}

#[test]
fn the_answer_to_an_unknown_version_of_api_versions_has_kafkas_bytes() {
    let versions = ApiKey::API_VERSIONS.row().unwrap();
    let answer = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: vec![ApiVersion {
            api_key: versions.key.0,
            min_version: versions.advertised_min,
            max_version: versions.version_max,
        }],
        ..ApiVersionsResponse::default()
    };
    let bytes = ResponseFrame::of(0, 7, &answer).concat();
    assert_eq!(
        bytes,
        b"\0\0\0\x10\0\0\0\x07\0\x23\0\0\0\x01\0\x12\0\0\0\x04"
    );
}

#[test]
fn metadata_of_kafka_reads_as_what_it_says() {
    // Version 1, asked for a topic whose name is no text.
    let answer: MetadataResponse = read(
        b"\0\0\0\x01\0\0\0\x01\0\x09127.0.0.1\0\0\x99\x18\xff\xff\0\0\0\x01\
        \0\0\0\x01\0\x11\0\x06\xef\xbf\xbd\xef\xbf\xbd\0\0\0\0\0",
        1,
    )
    .unwrap();
    assert_eq!(answer.brokers[0].host, "127.0.0.1");
    assert_eq!(answer.brokers[0].port, 39192);
    assert_eq!(answer.brokers[0].rack, None);
    assert_eq!(answer.controller_id.0, 1);
    let topic = &answer.topics[0];
    assert_eq!(topic.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(topic.name, Some(KStr::from("\u{fffd}\u{fffd}")));
}

#[test]
fn what_a_version_lacks_has_its_default_after_reading_and_is_left_out_in_writing() {
    assert_eq!(CreateTopicsRequest::default().timeout_ms, 60_000);
    let old = MetadataRequest {
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let mut writer = crate::wire::codec::Writer::new();
    old.write(&mut writer, 3);
    let bytes = writer.into_bytes();
    let back = MetadataRequest::read(&mut Reader::new(&bytes), 3).unwrap();
    assert!(back.allow_auto_topic_creation);
}
