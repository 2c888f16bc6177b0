//! A v2 record from its key length to its last header, as the flat layouts for answers hold it: written straight
//! to the end of a buffer, and read from there for the typed worlds.

use crate::bindings::typed::Header;
use crate::input::{Headers, HeadersFrom, Record};
use crate::varint;

/// What may stand as a key, a value or a header's value.
pub trait Field {
    /// The bytes; none is null.
    fn field(&self) -> Option<&[u8]>;
}

impl Field for [u8] {
    fn field(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl<const N: usize> Field for [u8; N] {
    fn field(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl Field for str {
    fn field(&self) -> Option<&[u8]> {
        Some(self.as_bytes())
    }
}

impl Field for String {
    fn field(&self) -> Option<&[u8]> {
        Some(self.as_bytes())
    }
}

impl Field for Vec<u8> {
    fn field(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// Null.
impl Field for () {
    fn field(&self) -> Option<&[u8]> {
        None
    }
}

impl<F: Field + ?Sized> Field for &F {
    fn field(&self) -> Option<&[u8]> {
        (**self).field()
    }
}

impl<F: Field> Field for Option<F> {
    fn field(&self) -> Option<&[u8]> {
        self.as_ref()?.field()
    }
}

/// A body that is being written at the end of a buffer, which must get nothing else until `end`.
#[derive(Debug)]
pub(crate) struct Body {
    length_at: usize,
    start: usize,
    count_at: usize,
    header_count: u32,
}

impl Body {
    /// Begins a body; `length_at` is where its length goes, four bytes that are there already.
    #[inline]
    pub(crate) fn begin(bytes: &mut Vec<u8>, length_at: usize, key: impl Field, value: impl Field) -> Body {
        let start = bytes.len();
        varint::put_field(bytes, key.field());
        varint::put_field(bytes, value.field());
        let count_at = bytes.len();
        bytes.push(0);
        Body { length_at, start, count_at, header_count: 0 }
    }

    /// Begins a body like an input record's.
    #[inline]
    pub(crate) fn begin_like(bytes: &mut Vec<u8>, length_at: usize, record: &Record<'_>) -> Body {
        match record.body() {
            Some((body, count_at)) => {
                let start = bytes.len();
                bytes.extend_from_slice(body);
                let header_count = record.headers.len() as u32;
                Body { length_at, start, count_at: start + count_at, header_count }
            }
            None => {
                let mut body = Body::begin(bytes, length_at, record.key, record.value);
                body.headers_of(bytes, record);
                body
            }
        }
    }

    pub(crate) fn header(&mut self, bytes: &mut Vec<u8>, key: &str, value: impl Field) {
        varint::put_field(bytes, Some(key.as_bytes()));
        varint::put_field(bytes, value.field());
        self.header_count += 1;
    }

    pub(crate) fn headers_of(&mut self, bytes: &mut Vec<u8>, record: &Record<'_>) {
        match record.headers.0 {
            HeadersFrom::Flat { count, bytes: headers, .. } => {
                bytes.extend_from_slice(headers);
                self.header_count += count;
            }
            HeadersFrom::Typed(headers) => {
                for header in headers {
                    self.header(bytes, &header.key, &header.value);
                }
            }
        }
    }

    /// Fills in the header count and the body's length.
    #[inline]
    pub(crate) fn end(&self, bytes: &mut Vec<u8>) {
        if self.header_count < 64 {
            bytes[self.count_at] = (self.header_count << 1) as u8;
        } else {
            let mut count = Vec::new();
            varint::put(&mut count, i64::from(self.header_count));
            bytes.splice(self.count_at..=self.count_at, count);
        }
        let body_bytes = (bytes.len() - self.start) as u32;
        bytes[self.length_at..self.length_at + 4].copy_from_slice(&body_bytes.to_le_bytes());
    }
}

/// What a body holds, as the typed worlds give it.
pub(crate) struct Parts {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

impl Parts {
    /// Reads a body that `Body` wrote.
    pub(crate) fn read(mut body: &[u8]) -> Parts {
        let key = varint::take_field(&mut body).flatten().map(<[u8]>::to_vec);
        let value = varint::take_field(&mut body).flatten().map(<[u8]>::to_vec);
        let count = varint::take(&mut body).unwrap_or(0) as u32;
        let headers = Headers(HeadersFrom::Flat { count, bytes: body, body: &[] });
        let owned = |(key, value): (&str, Option<&[u8]>)| Header {
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        };
        Parts { key, value, headers: headers.iter().map(owned).collect() }
    }
}
