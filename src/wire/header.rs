//! The headers in front of every request and every response.
//!
//! Owns their layout and which version of it goes with which body. Does not judge whether the
//! request is served: see [`RequestHeader::is_served`] for the facts.

use std::borrow::Cow;

use crate::wire::api_key::{ApiKey, ApiRow};
use crate::wire::codec::{DecodeFault, Reader, Writer};

/// Header of a request, versions 1 (key, version, correlation id, client id) and 2 (tags at the
/// end; KIP-482). Version 0 went with ControlledShutdown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader<'a> {
    pub api: &'static ApiRow,
    /// Version of the body, as asked; perhaps one that the API does not have.
    pub version: i16,
    /// Number that the answer repeats.
    pub correlation_id: i32,
    /// Kafka takes a null client id for an empty one.
    pub client_id: Option<Cow<'a, str>>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header at the start of a frame, and leaves `reader` at the body.
    ///
    /// # Errors
    /// [`DecodeFault::Key`] for a key nobody uses, else what the bytes lack. Kafka closes the
    /// connection on each.
    pub fn read(reader: &mut Reader<'a>) -> Result<RequestHeader<'a>, DecodeFault> {
        let key = reader.i16()?;
        let version = reader.i16()?;
        let api = ApiKey(key).row().ok_or(DecodeFault::Key(key))?;
        let correlation_id = reader.i32()?;
        // Not compact even in version 2: a broker must be able to read the header of an
        // ApiVersions request from the future.
        let client_id = match reader.string_len(false)? {
            Some(len) => Some(String::from_utf8_lossy(reader.borrow(len)?)),
            None => None,
        };
        if api.request_header_version(version) >= 2 {
            reader.skip_tags()?;
        }
        Ok(RequestHeader {
            api,
            version,
            correlation_id,
            client_id,
        })
    }

    /// Whether this broker has a handler for the API, and the API has the version. If not, Kafka
    /// closes the connection, except for ApiVersions: that is answered in version 0 with
    /// UNSUPPORTED_VERSION.
    pub fn is_served(&self) -> bool {
        self.api.served && self.api.supports(self.version)
    }

    pub fn write(&self, writer: &mut Writer) {
        writer.i16(self.api.key.0);
        writer.i16(self.version);
        writer.i32(self.correlation_id);
        writer.string(self.client_id.as_deref(), false);
        if self.api.request_header_version(self.version) >= 2 {
            writer.uvarint(0);
        }
    }
}

/// Header of a response, versions 0 (correlation id) and 1 (tags at the end).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of the answer to a request of `api` at `version`.
    ///
    /// # Errors
    /// What the bytes lack.
    pub fn read(
        reader: &mut Reader<'_>,
        api: &ApiRow,
        version: i16,
    ) -> Result<ResponseHeader, DecodeFault> {
        let correlation_id = reader.i32()?;
        if api.response_header_version(version) >= 1 {
            reader.skip_tags()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes the header for a body of `api` at `version`.
    pub fn write(self, writer: &mut Writer, api: &ApiRow, version: i16) {
        writer.i32(self.correlation_id);
        if api.response_header_version(version) >= 1 {
            writer.uvarint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(bytes: &Bytes) -> Result<(RequestHeader<'_>, usize), DecodeFault> {
        let mut reader = Reader::new(bytes);
        let header = RequestHeader::read(&mut reader)?;
        Ok((header, reader.remaining()))
    }

    #[test]
    fn a_header_survives_in_both_versions() {
        for (version, client_id) in [(8, Some("c")), (9, None), (9, Some(""))] {
            let header = RequestHeader {
                api: ApiKey::METADATA.row().unwrap(),
                version,
                correlation_id: -7,
                client_id: client_id.map(Cow::from),
            };
            let mut writer = Writer::new();
            header.write(&mut writer);
            writer.put(b"body");
            let bytes = writer.into_bytes();
            assert_eq!(read(&bytes), Ok((header, 4)));
        }
    }

    #[test]
    fn the_client_id_is_borrowed_and_forgives_what_kafka_forgives() {
        let minus_two = Bytes::from_static(b"\0\x03\0\x08\0\0\0\x01\xff\xfe");
        assert_eq!(read(&minus_two).unwrap().0.client_id, None);
        let no_text = Bytes::from_static(b"\0\x03\0\x08\0\0\0\x01\0\x01\xff");
        let (header, _) = read(&no_text).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("\u{fffd}"));
        let text = Bytes::from_static(b"\0\x03\0\x08\0\0\0\x01\0\x02ab");
        let (header, _) = read(&text).unwrap();
        assert!(matches!(header.client_id, Some(Cow::Borrowed("ab"))));
    }

    #[test]
    fn unknown_tags_are_passed() {
        let bytes = Bytes::from_static(b"\0\x03\0\x09\0\0\0\x01\xff\xff\x02\x09\x02ab\x00\x00rest");
        assert_eq!(read(&bytes).unwrap().1, 4);
    }

    #[test]
    fn every_prefix_of_a_header_is_refused() {
        let bytes = Bytes::from_static(b"\0\x03\0\x09\0\0\0\x01\0\x01c\x01\x09\x02ab");
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes.slice(..len)), Err(DecodeFault::Short), "{len}");
        }
        assert!(read(&bytes).is_ok());
    }

    #[test]
    fn a_key_nobody_uses_is_refused_and_a_version_nobody_has_is_a_fact() {
        let bytes = Bytes::from_static(b"\0\x63\0\0\0\0\0\x01\xff\xff");
        assert_eq!(read(&bytes), Err(DecodeFault::Key(99)));
        let bytes = Bytes::from_static(b"\0\x12\0\x63\0\0\0\x01\xff\xff\0");
        assert!(!read(&bytes).unwrap().0.is_served());
        let bytes = Bytes::from_static(b"\0\0\0\x02\0\0\0\x01\xff\xff");
        assert!(!read(&bytes).unwrap().0.is_served());
    }

    #[test]
    fn the_answer_to_api_versions_never_has_tags_in_its_header() {
        for (key, len) in [(ApiKey::API_VERSIONS, 4), (ApiKey::METADATA, 5)] {
            let api = key.row().unwrap();
            let header = ResponseHeader { correlation_id: 3 };
            let mut writer = Writer::new();
            header.write(&mut writer, api, api.version_max);
            let bytes = writer.into_bytes();
            assert_eq!(bytes.len(), len);
            let mut reader = Reader::new(&bytes);
            let back = ResponseHeader::read(&mut reader, api, api.version_max);
            assert_eq!(back, Ok(header));
        }
    }
}
