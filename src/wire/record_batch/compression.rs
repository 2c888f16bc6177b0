//! The codecs of record batches, each bounded while it decompresses: a bomb stops at the bound.
//!
//! Snappy is read raw and in the framing of snappy-java ("Xerial"), and written in the latter, as
//! Kafka's Java client does; LZ4 is the standard frame, with independent blocks of 64 KiB.

mod snappy;

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;

use super::BatchError;

/// The bits of a batch's attributes that name its codec.
pub(super) const CODEC_MASK: i16 = 0x07;
/// Kafka's default levels (`CompressionType`'s `DEFAULT_LEVEL`s).
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
const LZ4_FRAME_MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();

/// How a batch's records are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, raw or framed as snappy-java does.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The codec of the low bits of a batch's attributes.
    pub(super) const fn from_attributes(attributes: i16) -> Result<Compression, BatchError> {
        match attributes & CODEC_MASK {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            other => Err(BatchError::UnknownCompression(other as u8)),
        }
    }

    /// The bits of a batch's attributes that name this codec.
    pub(super) const fn attribute_bits(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    /// The name as Kafka's `compression.type` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The codec that `compression.type` names so.
    pub fn from_name(name: &str) -> Option<Compression> {
        Compression::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Decompresses `compressed`; gives up as soon as more than `bytes_max` come out.
    ///
    /// Uncompressed bytes are passed on without a copy and without a bound: they are here already.
    pub fn decompress(self, compressed: &Bytes, bytes_max: usize) -> Result<Bytes, BatchError> {
        let failed = |error: io::Error| BatchError::Decompress { codec: self, reason: error.to_string() };
        let decompressed = match self {
            Compression::None => return Ok(compressed.clone()),
            Compression::Gzip => read_bounded(
                flate2::bufread::MultiGzDecoder::new(&compressed[..]),
                compressed.len(),
                bytes_max,
            ),
            Compression::Snappy => snappy::decompress(compressed, bytes_max),
            Compression::Lz4 => {
                lz4_frames(compressed).and_then(|decoder| read_bounded(decoder, compressed.len(), bytes_max))
            }
            // The decoder allocates the frame's window, 128 MiB at most by libzstd's own limit, but
            // touches no more of it than it writes.
            Compression::Zstd => zstd::stream::read::Decoder::with_buffer(&compressed[..])
                .and_then(|decoder| read_bounded(decoder, compressed.len(), bytes_max)),
        };
        match decompressed.map_err(failed)? {
            Some(bytes) => Ok(Bytes::from(bytes)),
            None => Err(BatchError::DecompressedTooLarge { max_bytes: bytes_max }),
        }
    }

    /// Compresses `plain` as Kafka's Java client would by default.
    pub fn compress(self, plain: &[u8]) -> Vec<u8> {
        const INFALLIBLE: &str = "compressing from memory to memory does not fail";
        match self {
            Compression::None => plain.to_vec(),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).expect(INFALLIBLE);
                encoder.finish().expect(INFALLIBLE)
            }
            Compression::Snappy => snappy::compress(plain),
            Compression::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(plain).expect(INFALLIBLE);
                encoder.finish().expect(INFALLIBLE)
            }
            Compression::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL).expect(INFALLIBLE),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A decoder of standard frames only: legacy ones have blocks of 8 MiB, and no client sends them.
fn lz4_frames(compressed: &[u8]) -> io::Result<lz4_flex::frame::FrameDecoder<&[u8]>> {
    if !compressed.starts_with(&LZ4_FRAME_MAGIC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not an LZ4 frame"));
    }
    Ok(lz4_flex::frame::FrameDecoder::new(compressed))
}

/// Reads to the end, or returns `None` once there is more than `bytes_max`. The buffer grows with
/// what really comes out; a claim in the stream's header reserves nothing.
fn read_bounded(reader: impl Read, compressed_bytes: usize, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let usual = compressed_bytes.saturating_mul(4);
    let mut out = Vec::with_capacity(usual.min(bytes_max));
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut out)?;
    Ok((out.len() <= bytes_max).then_some(out))
}

#[cfg(test)]
mod tests;
