//! Snappy as Kafka's clients use it: raw blocks (librdkafka), or blocks in snappy-java's framing.
//!
//! The framing: 8 bytes of magic, version i32, oldest compatible version i32, then for each block
//! its compressed length i32 (big-endian) and a raw Snappy block.

use std::io;

use crate::wire::varint::ByteReader;

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_VERSION: i32 = 1;
/// The uncompressed size of the blocks that snappy-java writes by default.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No Snappy element gives more than 64 bytes, and none is shorter than a byte.
const EXPANSION_MAX: usize = 64;

/// Decompresses either form; `None` once more than `bytes_max` would come out.
pub(super) fn decompress(compressed: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let Some(framed) = compressed.strip_prefix(XERIAL_MAGIC) else {
        return Ok(append_block(&mut out, compressed, bytes_max)?.map(|()| out));
    };
    let mut reader = ByteReader::new(framed);
    let _version = reader.i32().ok_or_else(cut)?;
    let oldest_compatible = reader.i32().ok_or_else(cut)?;
    if oldest_compatible > XERIAL_VERSION {
        return Err(invalid("the snappy-java framing is of a newer version"));
    }
    while !reader.is_empty() {
        let block_bytes = reader.i32().and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
        let block = reader.take(block_bytes).ok_or_else(cut)?;
        if append_block(&mut out, block, bytes_max)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// Compresses in snappy-java's framing.
pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + plain.len() / 2);
    out.extend_from_slice(XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in plain.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(chunk).expect("a block of 32 KiB is within Snappy's limits");
        let block_bytes = i32::try_from(block.len()).expect("a block of 32 KiB stays small");
        out.extend_from_slice(&block_bytes.to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

fn append_block(out: &mut Vec<u8>, block: &[u8], bytes_max: usize) -> io::Result<Option<()>> {
    let claimed = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    // The claim decides what is allocated, so it must be one that the block can keep.
    if claimed > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(invalid("a Snappy block claims more bytes than it can hold"));
    }
    if claimed > bytes_max.saturating_sub(out.len()) {
        return Ok(None);
    }
    let start = out.len();
    out.resize(start + claimed, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(io::Error::other)?;
    out.truncate(start + written);
    Ok(Some(()))
}

fn cut() -> io::Error {
    invalid("the snappy-java framing is cut off")
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
