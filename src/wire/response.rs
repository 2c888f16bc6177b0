//! From a response to a frame: size, header of the right version, body by the codec crate.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use thiserror::Error;

use super::api::supported;
use super::frame::SIZE_BYTES;
use crate::error_code::ErrorCode;

/// Bytes of the correlation id, the whole of a version 0 response header.
pub(super) const CORRELATION_ID_BYTES: usize = 4;
/// The first response header version with tagged fields.
const FLEXIBLE_HEADER_VERSION: i16 = 1;

/// Why a response cannot be written: our own mistake, never the client's.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ResponseError {
    /// A field is set that the version does not have, or too long for it.
    #[error("the response cannot be encoded in version {version}: {reason}")]
    Encode {
        /// The version.
        version: i16,
        /// The codec's complaint.
        reason: String,
    },
    /// The frame would have more bytes than its size field can say.
    #[error("the response has {0} bytes, more than a frame can hold")]
    TooLarge(usize),
}

/// Encodes a whole response frame: size, header, body.
pub fn encode_response<M: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    message: &M,
) -> Result<Bytes, ResponseError> {
    let failed = |reason: String| ResponseError::Encode { version, reason };
    let body_bytes = message.compute_size(version).map_err(|error| failed(error.to_string()))?;
    let flexible_header = M::header_version(version) >= FLEXIBLE_HEADER_VERSION;
    let frame_bytes = CORRELATION_ID_BYTES + usize::from(flexible_header) + body_bytes;
    let size = i32::try_from(frame_bytes).map_err(|_| ResponseError::TooLarge(frame_bytes))?;
    let mut frame = BytesMut::with_capacity(SIZE_BYTES + frame_bytes);
    frame.put_i32(size);
    frame.put_i32(correlation_id);
    if flexible_header {
        frame.put_u8(0);
    }
    message.encode(&mut frame, version).map_err(|error| failed(error.to_string()))?;
    assert_eq!(frame.len(), SIZE_BYTES + frame_bytes, "the codec's size and its bytes agree");
    Ok(frame.freeze())
}

/// The answer to an ApiVersions request of a version that is not served: always of version 0, and
/// naming the versions of ApiVersions itself, so that the client can try again (KIP-511).
pub fn unsupported_api_versions(correlation_id: i32) -> Result<Bytes, ResponseError> {
    let mut response = ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    let api_versions = ApiKey::ApiVersions as i16;
    response.api_keys = supported(api_versions)
        .map(|api| {
            ApiVersion::default()
                .with_api_key(api_versions)
                .with_min_version(api.advertised.min)
                .with_max_version(api.advertised.max)
        })
        .into_iter()
        .collect();
    encode_response(correlation_id, 0, &response)
}

#[cfg(test)]
mod tests;
