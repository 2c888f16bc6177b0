//! From a frame to a request: the header here, the body through the codec crate, after
//! `request_shape` has seen that it is safe to.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use thiserror::Error;

use super::api::{Supported, Versions, supported, with_supported_apis};
use super::request_shape;
use super::varint::ByteReader;

/// The first request header version with tagged fields.
const FLEXIBLE_HEADER_VERSION: i16 = 2;

/// A request with its header read and its body still in bytes.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    /// The API, which the broker serves.
    pub api: Supported,
    /// The version, which the broker handles.
    pub api_version: i16,
    /// What the answer must carry.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
    /// What follows the header.
    pub body: Bytes,
}

/// Why a frame is no request that can be served.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RequestError {
    /// There is no such API, or it is not served here.
    #[error("API key {api_key} (version {api_version}) is not served")]
    UnknownApiKey {
        /// The API's number.
        api_key: i16,
        /// The version asked for.
        api_version: i16,
        /// What an answer would carry.
        correlation_id: i32,
    },
    /// The API is served, but not in this version. For ApiVersions this must be answered, by
    /// `response::unsupported_api_versions`, for the client to try again with an older one.
    #[error("version {api_version} of {api_key:?} is not served, only {} to {}", .handled.min, .handled.max)]
    UnsupportedVersion {
        /// The API.
        api_key: ApiKey,
        /// The version asked for.
        api_version: i16,
        /// The versions that are served.
        handled: Versions,
        /// What the answer must carry.
        correlation_id: i32,
    },
    /// The header is cut off or malformed.
    #[error("the request header is malformed: {0}")]
    MalformedHeader(&'static str),
    /// The body is not what the header says.
    #[error("the body of the {api_key:?} request, version {api_version}, is malformed: {reason}")]
    MalformedBody {
        /// The API.
        api_key: ApiKey,
        /// The version.
        api_version: i16,
        /// Where or why.
        reason: String,
    },
}

impl RequestFrame {
    /// Reads the header of a frame (without its size).
    pub fn parse(frame: Bytes) -> Result<RequestFrame, RequestError> {
        let mut reader = ByteReader::new(&frame);
        let (Some(api_key), Some(api_version), Some(correlation_id)) =
            (reader.i16(), reader.i16(), reader.i32())
        else {
            return Err(RequestError::MalformedHeader("it is cut off"));
        };
        let api =
            supported(api_key).ok_or(RequestError::UnknownApiKey { api_key, api_version, correlation_id })?;
        if !api.handled.contains(api_version) {
            return Err(RequestError::UnsupportedVersion {
                api_key: api.key,
                api_version,
                handled: api.handled,
                correlation_id,
            });
        }
        let client_id = read_client_id(&frame, &mut reader)?;
        if api.key.request_header_version(api_version) >= FLEXIBLE_HEADER_VERSION {
            skip_tagged_fields(&mut reader)
                .ok_or(RequestError::MalformedHeader("its tagged fields are malformed"))?;
        }
        let body = frame.slice(frame.len() - reader.rest().len()..);
        Ok(RequestFrame { api, api_version, correlation_id, client_id, body })
    }

    /// Decodes the body. `M` must be the request of this frame's API.
    ///
    /// What follows the request in the body is ignored, as Kafka ignores it.
    pub fn decode<M: Request>(&self) -> Result<M, RequestError> {
        assert_eq!(M::KEY, self.api.key as i16, "a handler decodes its own API only");
        request_shape::check(self.api.shape, self.api_version, &self.body)
            .map_err(|field| self.malformed(format!("{field} does not fit the bytes or the bounds")))?;
        let mut body = self.body.clone();
        <M as Decodable>::decode(&mut body, self.api_version)
            .map_err(|error| self.malformed(error.to_string()))
    }

    /// Decodes the body as what it says it is, and drops the result: for fuzzing and for tests.
    pub fn check_body(&self) -> Result<(), RequestError> {
        macro_rules! decode_by_key {
            ($($key:ident $request:ident $shape:ident $advertised_min:literal $min:literal..=$max:literal,)*) => {
                match self.api.key {
                    $(ApiKey::$key => self.decode::<kafka_protocol::messages::$request>().map(drop),)*
                    other => unreachable!("{other:?} is not in the table of supported APIs"),
                }
            };
        }
        with_supported_apis!(decode_by_key)
    }

    fn malformed(&self, reason: String) -> RequestError {
        RequestError::MalformedBody { api_key: self.api.key, api_version: self.api_version, reason }
    }
}

/// The client id: a nullable string of the old encoding in every header version (KIP-511).
fn read_client_id(frame: &Bytes, reader: &mut ByteReader<'_>) -> Result<Option<StrBytes>, RequestError> {
    let length = reader.i16().ok_or(RequestError::MalformedHeader("it has no client id"))?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let start = frame.len() - reader.rest().len();
    reader.take(length).ok_or(RequestError::MalformedHeader("the client id is cut off"))?;
    let client_id = StrBytes::try_from(frame.slice(start..start + length))
        .map_err(|_| RequestError::MalformedHeader("the client id is not UTF-8"))?;
    Ok(Some(client_id))
}

fn skip_tagged_fields(reader: &mut ByteReader<'_>) -> Option<()> {
    for _ in 0..reader.unsigned_varint()? {
        let _tag = reader.unsigned_varint()?;
        let bytes = reader.unsigned_varint()?;
        reader.take(usize::try_from(bytes).ok()?)?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
