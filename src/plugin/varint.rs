//! Kafka's zigzag variable-length integers, read from hostile bytes and written.
//!
//! Small on purpose: plugins see the fields of v2 records without this room knowing about batches.

/// Splits a zigzag varint of at most 32 bits off the front; `None` if it is cut short or too long.
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_i64(bytes)?).ok()
}

/// Splits a zigzag varint of at most 64 bits off the front; `None` if it is cut short or too long.
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = bytes.get(index + 1..)?;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Splits a length-prefixed field off the front: the outer `None` is malformed, the inner one null.
pub(crate) fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_i32(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (field, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(field))
}

/// Appends a zigzag varint.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Appends a length-prefixed field; null is length -1. Fields beyond 2 GiB cannot be represented and
/// are the caller's to refuse first.
pub(crate) fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put(out, -1),
        Some(field) => {
            put(out, i64::try_from(field.len()).unwrap_or(i64::MAX));
            out.extend_from_slice(field);
        }
    }
}

#[cfg(test)]
mod tests;
