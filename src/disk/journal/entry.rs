//! One entry's bytes. All numbers are big-endian.
//!
//! `length u32 | crc u32 | sequence u64 | tag u64 | kind u8 | path length u16 | path |
//! number u64 | bytes`, where `length` counts what follows the CRC and the CRC-32C covers it. The
//! number is the position of an append or the length of a truncation. The tag belongs to one life of
//! one journal file, so that what a recycled file still holds of its earlier life is no entry; and
//! it cannot be guessed, so that a client's record that looks like an entry is none either.

use bytes::Bytes;

use super::{Change, Queued};

/// Bytes before the part that `length` counts.
const PREFIX_BYTES: usize = 8;
/// The counted part without path and bytes.
const FIXED_BYTES: usize = 8 + 8 + 1 + 2 + 8;

const CREATE: u8 = 1;
const APPEND: u8 = 2;
const TRUNCATE: u8 = 3;

/// An entry as replay reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) path: String,
    pub(super) change: ReadChange,
}

/// A change as replay reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ReadChange {
    Create,
    Append { position: u64, bytes: Vec<u8> },
    Truncate { len: u64 },
}

/// The bytes of an entry: its head, and the parts that follow it without a copy.
pub(super) fn encode(entry: &Queued, tag: u64) -> (Bytes, &[Bytes]) {
    let none: &[Bytes] = &[];
    let (kind, number, parts) = match &entry.change {
        Change::Create => (CREATE, 0, none),
        Change::Append { position, parts } => (APPEND, *position, parts.as_slice()),
        Change::Truncate { len } => (TRUNCATE, *len, none),
    };
    let path = entry.path.as_bytes();
    let path_length = u16::try_from(path.len()).expect("path::check bounds paths");
    let mut head = Vec::with_capacity(PREFIX_BYTES + FIXED_BYTES + path.len());
    head.extend_from_slice(&[0; PREFIX_BYTES]);
    head.extend_from_slice(&entry.sequence.to_be_bytes());
    head.extend_from_slice(&tag.to_be_bytes());
    head.push(kind);
    head.extend_from_slice(&path_length.to_be_bytes());
    head.extend_from_slice(path);
    head.extend_from_slice(&number.to_be_bytes());
    let counted = head.len() - PREFIX_BYTES + parts.iter().map(Bytes::len).sum::<usize>();
    let length = u32::try_from(counted).expect("DiskFile::append bounds appends");
    let mut crc = crc32c::crc32c(&head[PREFIX_BYTES..]);
    for part in parts {
        crc = crc32c::crc32c_append(crc, part);
    }
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
    (Bytes::from(head), parts)
}

/// How many bytes the entry at the front of `bytes` has, prefix included, if its length can be one.
fn whole_bytes(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    let length = usize::try_from(length).ok()?;
    (length >= FIXED_BYTES).then(|| PREFIX_BYTES + length)
}

/// Takes the entry at the front of `bytes`; `None` where no entry of this journal file follows.
pub(super) fn decode(bytes: &[u8], tag: u64) -> Option<(Entry, usize)> {
    let whole = whole_bytes(bytes)?;
    let entry = bytes.get(..whole)?;
    let stored = u32::from_be_bytes(*entry.get(4..)?.first_chunk()?);
    let counted = entry.get(PREFIX_BYTES..)?;
    if crc32c::crc32c(counted) != stored {
        return None;
    }
    let (sequence, rest) = take_u64(counted)?;
    let (stored_tag, rest) = take_u64(rest)?;
    if stored_tag != tag {
        return None;
    }
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (path, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (number, rest) = take_u64(rest)?;
    let change = match *kind {
        CREATE => ReadChange::Create,
        APPEND => ReadChange::Append { position: number, bytes: rest.to_vec() },
        TRUNCATE => ReadChange::Truncate { len: number },
        _ => return None,
    };
    let path = std::str::from_utf8(path).ok()?.to_owned();
    Some((Entry { sequence, path, change }, whole))
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}
