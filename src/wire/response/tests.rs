//! Responses of every API and version, read back by the codec crate.

use bytes::Buf;
use kafka_protocol::messages::{self, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Request};

use super::super::api::with_supported_apis;
use super::*;

fn read_back<R: Request>(key: ApiKey, version: i16)
where
    R::Response: Default + PartialEq + std::fmt::Debug,
{
    let sent = R::Response::default();
    let mut frame = encode_response(77, version, &sent).unwrap();
    assert_eq!(frame.get_i32() as usize, frame.len(), "{key:?} {version}");
    let header = ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77);
    assert_eq!(R::Response::decode(&mut frame, version).unwrap(), sent, "{key:?} {version}");
    assert!(frame.is_empty(), "{key:?} {version}");
}

macro_rules! every_response_comes_through {
    ($($key:ident $request:ident $shape:ident $advertised_min:literal $min:literal..=$max:literal,)*) => {
        #[test]
        fn every_response_of_every_version_comes_through() {
            $(for version in $min..=$max {
                read_back::<messages::$request>(ApiKey::$key, version);
            })*
        }
    };
}
with_supported_apis!(every_response_comes_through);

#[test]
fn api_versions_answers_have_the_oldest_header_in_every_version() {
    let frame = encode_response(77, 4, &ApiVersionsResponse::default().with_error_code(3)).unwrap();
    assert_eq!(frame[4..10], [0, 0, 0, 77, 0, 3]);
}

#[test]
fn an_unsupported_api_versions_version_is_answered_in_version_0() {
    let frame = unsupported_api_versions(9).unwrap();
    assert_eq!(frame[..], [0, 0, 0, 16, 0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[test]
fn what_a_version_cannot_say_is_an_error() {
    let response = messages::EndTxnResponse::default();
    assert!(matches!(encode_response(1, 99, &response), Err(ResponseError::Encode { version: 99, .. })));
}
