//! Size-prefixed frames, cut out of a buffer of received bytes. Pure: reads nothing, keeps no state.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the size before each frame.
pub const SIZE_BYTES: usize = 4;

/// Why the stream cannot be cut into frames: the connection must be closed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// The size is beyond the bound (`socket.request.max.bytes`).
    #[error("a request of {bytes} bytes was announced, and at most {max_bytes} are allowed")]
    TooLarge {
        /// The size that was announced.
        bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// The size is negative.
    #[error("a request of {0} bytes was announced, which is negative")]
    Negative(i32),
    /// The bytes are of another protocol.
    #[error("{0}")]
    NotKafka(OtherProtocol),
}

/// A protocol that is often sent to a Kafka port by mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OtherProtocol {
    /// A request line.
    #[error(
        "this looks like HTTP, but this port speaks the Kafka protocol: use a Kafka client here, or the admin port for HTTP"
    )]
    Http,
    /// A handshake.
    #[error(
        "this looks like TLS, but this port speaks plaintext: set security.protocol=PLAINTEXT in the client, or use the TLS port"
    )]
    Tls,
}

/// Cuts the first frame off `buffer`, without its size. `None` if not all of it is there yet.
///
/// Nothing is reserved for what is announced but not there: the caller's buffer grows by what comes.
pub fn next_frame(buffer: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(&prefix) = buffer.first_chunk::<SIZE_BYTES>() else {
        return Ok(None);
    };
    let announced = i32::from_be_bytes(prefix);
    let bytes = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
    if bytes > max_bytes {
        return Err(match other_protocol(prefix) {
            Some(other) => FrameError::NotKafka(other),
            None => FrameError::TooLarge { bytes, max_bytes },
        });
    }
    if buffer.len() - SIZE_BYTES < bytes {
        return Ok(None);
    }
    buffer.advance(SIZE_BYTES);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

/// How many more bytes the first frame needs, as far as its size is known: how much to read next.
pub fn missing_bytes(buffer: &[u8]) -> usize {
    let Some(&prefix) = buffer.first_chunk::<SIZE_BYTES>() else {
        return SIZE_BYTES - buffer.len();
    };
    let bytes = usize::try_from(i32::from_be_bytes(prefix)).unwrap_or(0);
    bytes.saturating_sub(buffer.len() - SIZE_BYTES)
}

/// What a size that is too large may really be. Read as a size, all of these are beyond 300 MB.
fn other_protocol(prefix: [u8; SIZE_BYTES]) -> Option<OtherProtocol> {
    /// A TLS record of type handshake, version 3.x.
    const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
    const HTTP_METHODS: [&[u8; SIZE_BYTES]; 8] =
        [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN"];
    if prefix.starts_with(&TLS_HANDSHAKE) {
        return Some(OtherProtocol::Tls);
    }
    // "PRI " opens HTTP/2.
    (HTTP_METHODS.contains(&&prefix) || &prefix == b"PRI ").then_some(OtherProtocol::Http)
}

#[cfg(test)]
mod tests;
