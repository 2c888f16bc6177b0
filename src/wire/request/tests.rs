//! Requests of every API and version through frame, header and body.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{self, RequestHeader};
use kafka_protocol::protocol::{Encodable, encode_request_header_into_buffer};
use proptest::prelude::*;

use super::*;
use crate::wire::frame::next_frame;

fn header(api_key: ApiKey, version: i16) -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(api_key as i16)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(StrBytes::from_static_str("rdkafka")))
}

fn frame_of<M: Encodable>(header: &RequestHeader, message: &M) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    encode_request_header_into_buffer(&mut frame, header).unwrap();
    message.encode(&mut frame, header.request_api_version).unwrap();
    let size = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    next_frame(&mut frame, 1 << 20).unwrap().unwrap()
}

macro_rules! every_request_comes_through {
    ($($key:ident $request:ident $shape:ident $advertised_min:literal $min:literal..=$max:literal,)*) => {
        #[test]
        fn every_request_of_every_version_comes_through() {
            $(for version in $min..=$max {
                let sent = messages::$request::default();
                let frame = RequestFrame::parse(frame_of(&header(ApiKey::$key, version), &sent)).unwrap();
                assert_eq!(frame.api.key, ApiKey::$key);
                assert_eq!((frame.api_version, frame.correlation_id), (version, 77));
                assert_eq!(frame.client_id.as_deref(), Some("rdkafka"));
                assert_eq!(frame.decode::<messages::$request>().unwrap(), sent, "{} {version}", stringify!($key));
                frame.check_body().unwrap();
            })*
        }
    };
}
with_supported_apis!(every_request_comes_through);

#[test]
fn unknown_apis_and_versions_are_told_apart() {
    let parse = |key: i16, version: i16| {
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(5);
        RequestFrame::parse(frame.freeze()).unwrap_err()
    };
    assert_eq!(
        parse(999, 1),
        RequestError::UnknownApiKey { api_key: 999, api_version: 1, correlation_id: 5 }
    );
    for (key, version) in [(ApiKey::ApiVersions, 5), (ApiKey::Produce, 2), (ApiKey::EndTxn, -1)] {
        let error = parse(key as i16, version);
        assert!(
            matches!(error, RequestError::UnsupportedVersion { api_key, api_version, correlation_id: 5, .. }
                if api_key == key && api_version == version),
            "{error}"
        );
    }
}

#[test]
fn headers_with_null_client_ids_and_tagged_fields_are_read() {
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff]);
    frame.put_slice(&[1, 5, 2, 0xaa, 0xbb]);
    frame.put_slice(&[2, b'n', 2, b'v', 0]);
    let request = RequestFrame::parse(frame.freeze()).unwrap();
    assert_eq!(request.client_id, None);
    let body: messages::ApiVersionsRequest = request.decode().unwrap();
    assert_eq!(body.client_software_name.as_str(), "n");
}

#[test]
fn cut_or_wrong_headers_are_malformed() {
    let whole = frame_of(&header(ApiKey::Metadata, 12), &messages::MetadataRequest::default());
    for cut in 0..18 {
        let error = RequestFrame::parse(whole.slice(..cut)).unwrap_err();
        assert!(matches!(error, RequestError::MalformedHeader(_)), "{cut}: {error}");
    }
    let error = RequestFrame::parse(Bytes::from_static(&[0, 3, 0, 0, 0, 0, 0, 1, 0, 1, 0xff])).unwrap_err();
    assert_eq!(error, RequestError::MalformedHeader("the client id is not UTF-8"));
}

#[test]
fn a_hostile_count_is_refused_and_not_reserved() {
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    frame.put_i32(i32::MAX);
    let error = RequestFrame::parse(frame.freeze()).unwrap().check_body().unwrap_err();
    assert!(matches!(error, RequestError::MalformedBody { .. }), "{error}");
}

#[test]
#[should_panic(expected = "its own API only")]
fn decoding_as_another_api_is_our_bug() {
    let frame = frame_of(&header(ApiKey::Metadata, 12), &messages::MetadataRequest::default());
    let _ = RequestFrame::parse(frame).unwrap().decode::<messages::EndTxnRequest>();
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_an_error(key in 0i16..70, version in 0i16..20, rest: Vec<u8>) {
        let mut frame = BytesMut::new();
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_slice(&rest);
        if let Ok(request) = RequestFrame::parse(frame.freeze()) {
            let _ = request.check_body();
        }
    }
}
