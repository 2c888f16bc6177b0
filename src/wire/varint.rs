//! Zigzag variable-length integers, as record batch v2 uses them, and a reader over hostile bytes.
//!
//! The reader never panics and never allocates: whatever is missing or malformed is `None`, and the
//! caller says what that means. Same encoding as Kafka's `ByteUtils.readVarint`, but bits that do
//! not fit the type are refused instead of dropped.

/// Appends `value` as a zigzag varint of at most 5 bytes.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(out, u64::from(zigzag_32(value)));
}

/// Appends `value` as a zigzag varint of at most 10 bytes.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, zigzag_64(value));
}

/// How many bytes `put_varint` takes for `value`.
pub const fn varint_bytes(value: i32) -> usize {
    unsigned_bytes(zigzag_32(value) as u64)
}

/// How many bytes `put_varlong` takes for `value`.
pub const fn varlong_bytes(value: i64) -> usize {
    unsigned_bytes(zigzag_64(value))
}

/// Appends `value` in base 128, lowest group first: the varint of the protocol's compact types.
pub(crate) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn unsigned_bytes(value: u64) -> usize {
    // Seven bits to a byte, and one byte for zero.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

const fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

const fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Reads from the front of a slice that may hold anything.
#[derive(Clone, Copy, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> ByteReader<'a> {
        ByteReader { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// A big-endian `i8`.
    #[inline]
    pub fn i8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// A big-endian `i16`.
    #[inline]
    pub fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// A big-endian `i32`.
    #[inline]
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A big-endian `u32`.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian `i64`.
    #[inline]
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A zigzag varint of at most 5 bytes.
    #[inline]
    pub fn varint(&mut self) -> Option<i32> {
        let value = self.unsigned_varint()?;
        Some((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A zigzag varint of at most 10 bytes.
    #[inline]
    pub fn varlong(&mut self) -> Option<i64> {
        // Almost every delta in a batch fits one or two bytes.
        let value = match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                u64::from(first)
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                u64::from(first & 0x7f) | u64::from(second) << 7
            }
            _ => self.unsigned_slow(64)?,
        };
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A plain (not zigzag) varint of at most 5 bytes.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Option<u32> {
        match *self.rest {
            [first, ref rest @ ..] if first < 0x80 => {
                self.rest = rest;
                Some(u32::from(first))
            }
            [first, second, ref rest @ ..] if second < 0x80 => {
                self.rest = rest;
                Some(u32::from(first & 0x7f) | u32::from(second) << 7)
            }
            _ => self.unsigned_slow(32).map(|value| value as u32),
        }
    }

    #[inline(never)]
    fn unsigned_slow(&mut self, bits: u32) -> Option<u64> {
        let mut value = 0u64;
        let mut shift = 0;
        let mut reader = *self;
        loop {
            let byte = reader.u8()?;
            let group = u64::from(byte & 0x7f);
            let room = bits - shift;
            if room < 7 && group >> room != 0 {
                return None;
            }
            value |= group << shift;
            if byte < 0x80 {
                *self = reader;
                return Some(value);
            }
            shift += 7;
            if shift >= bits {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
