//! Reads the fields of Kafka's schemas out of bytes, in the classic encoding (16-bit and 32-bit
//! lengths) and the flexible one (varint lengths plus one, tagged fields). Never reads past the
//! end, never allocates by an unchecked length.

/// What is wrong with the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::coordinator::group) struct DecodeError(pub(in crate::coordinator::group) &'static str);

/// How lengths are written (KIP-482).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::coordinator::group) enum Encoding {
    Classic,
    Flexible,
}

/// A cursor over one schema's bytes.
pub(in crate::coordinator::group) struct Fields<'a> {
    rest: &'a [u8],
    version: i16,
    encoding: Encoding,
}

const TRUNCATED: DecodeError = DecodeError("it ends early");

impl<'a> Fields<'a> {
    /// A cursor at the first byte, for classic schemas.
    pub(in crate::coordinator::group) fn classic(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes, version: 0, encoding: Encoding::Classic }
    }

    /// A cursor behind the leading version number.
    pub(in crate::coordinator::group) fn after_version(
        bytes: &'a [u8],
        version: i16,
        encoding: Encoding,
    ) -> Result<Fields<'a>, DecodeError> {
        let mut fields = Fields { rest: bytes, version, encoding };
        fields.i16()?;
        Ok(fields)
    }

    pub(in crate::coordinator::group) fn version(&self) -> i16 {
        self.version
    }

    pub(in crate::coordinator::group) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(in crate::coordinator::group) fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    pub(in crate::coordinator::group) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(in crate::coordinator::group) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(in crate::coordinator::group) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(in crate::coordinator::group) fn string(&mut self) -> Result<&'a str, DecodeError> {
        self.nullable_string()?.ok_or(DecodeError("a text is missing"))
    }

    pub(in crate::coordinator::group) fn nullable_string(&mut self) -> Result<Option<&'a str>, DecodeError> {
        let length = match self.encoding {
            Encoding::Classic => i64::from(self.i16()?),
            Encoding::Flexible => i64::from(self.unsigned_varint()?) - 1,
        };
        let Some(bytes) = self.sized(length)? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| DecodeError("a text is not UTF-8"))
    }

    pub(in crate::coordinator::group) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        self.nullable_bytes()?.ok_or(DecodeError("bytes are missing"))
    }

    pub(in crate::coordinator::group) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let length = self.length()?;
        self.sized(length)
    }

    /// An array's length; each element takes at least a byte, so a count beyond the rest is a lie.
    pub(in crate::coordinator::group) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.length()?).map_err(|_| DecodeError("a negative count"))?;
        if count > self.rest.len() { Err(TRUNCATED) } else { Ok(count) }
    }

    /// Skips the tagged fields at the end of a flexible struct; nothing for a classic one.
    pub(in crate::coordinator::group) fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_field(u32::MAX).map(|_| ())
    }

    /// Reads past the tagged fields at the end of a flexible struct, and gives the one with this tag, if it is
    /// there. A classic struct has none.
    pub(in crate::coordinator::group) fn tagged_field(
        &mut self,
        wanted: u32,
    ) -> Result<Option<Fields<'a>>, DecodeError> {
        if self.encoding == Encoding::Classic {
            return Ok(None);
        }
        let mut found = None;
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            let rest = self.sized(i64::from(length))?.ok_or(TRUNCATED)?;
            if tag == wanted {
                found = Some(Fields { rest, version: self.version, encoding: self.encoding });
            }
        }
        Ok(found)
    }

    fn length(&mut self) -> Result<i64, DecodeError> {
        match self.encoding {
            Encoding::Classic => self.i32().map(i64::from),
            Encoding::Flexible => Ok(i64::from(self.unsigned_varint()?) - 1),
        }
    }

    fn sized(&mut self, length: i64) -> Result<Option<&'a [u8]>, DecodeError> {
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| DecodeError("a negative length"))?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(Some(taken))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError("a varint beyond 32 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError("a varint without an end"))
    }
}
