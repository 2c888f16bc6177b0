//! Kafka's zigzag variable-length integers.

#[inline(always)]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<i64> {
    // Most lengths and deltas fit into one byte, nearly all others into two.
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(i64::from(first >> 1) ^ -i64::from(first & 1))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            let value = u32::from(first & 0x7f) | u32::from(second) << 7;
            Some(i64::from(value >> 1) ^ -i64::from(value & 1))
        }
        _ => take_long(bytes),
    }
}

#[cold]
fn take_long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// A length-prefixed field: the outer `None` is malformed, the inner one null.
#[inline(always)]
pub(crate) fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (field, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(field))
}

#[inline]
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    if zigzag < 0x80 {
        out.push(zigzag as u8);
        return;
    }
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[inline]
pub(crate) fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put(out, -1),
        Some(field) => {
            put(out, field.len() as i64);
            out.extend_from_slice(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_leaves_what_is_behind() {
        let edges = (0..63).flat_map(|bit| [(1i64 << bit) - 1, 1 << bit, -(1 << bit), -(1 << bit) - 1]);
        for value in edges.chain([i64::MAX, i64::MIN]) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let whole = bytes.len();
            bytes.push(7);
            let mut rest = &bytes[..];
            assert_eq!((take(&mut rest), rest), (Some(value), &[7][..]), "{value}");
            for cut in 0..whole {
                assert_eq!(take(&mut &bytes[..cut]), None, "{value} cut at {cut}");
            }
        }
        assert_eq!(take(&mut &[0xff; 11][..]), None);
    }
}
