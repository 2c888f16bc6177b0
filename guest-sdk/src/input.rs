//! Records on their way in, borrowed from the batch, and the reader of the flat layout `TMI1`.

use crate::Error;
use crate::bindings::typed::Header;
use crate::varint;

/// How a record is kept as bytes: they begin with this.
const KEPT_VERSION: u8 = 1;

/// A record to process, to judge or to place.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic that it comes from. In [`crate::Partitioner::partition`], the one that it goes to.
    pub topic: &'a str,
    /// The partition that it comes from. In [`crate::Partitioner::partition`] it has none yet: 0.
    pub partition: u32,
    /// Its offset there. In [`crate::Interceptor::on_send`] and [`crate::Partitioner::partition`] it has none yet: its
    /// index within the batch, from 0.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    /// How often its batch was tried before: 0 at first.
    pub attempt: u32,
}

impl<'a> Record<'a> {
    /// The value as text; an error for a tombstone or bytes that are not UTF-8.
    pub fn value_str(&self) -> Result<&'a str, Error> {
        let value = self.value.ok_or_else(|| Error::reject("the record is a tombstone: it has no value"))?;
        std::str::from_utf8(value).map_err(|error| Error::reject(format!("the value is not UTF-8: {error}")))
    }

    /// The key as text; an error if there is none or its bytes are not UTF-8.
    pub fn key_str(&self) -> Result<&'a str, Error> {
        let key = self.key.ok_or_else(|| Error::reject("the record has no key"))?;
        std::str::from_utf8(key).map_err(|error| Error::reject(format!("the key is not UTF-8: {error}")))
    }

    /// The whole record as bytes, to keep it in a store or a timer's payload: [`Record::from_bytes`] reads them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![KEPT_VERSION];
        varint::put_field(&mut bytes, Some(self.topic.as_bytes()));
        for number in
            [i64::from(self.partition), self.offset as i64, self.timestamp, self.headers.len() as i64]
        {
            varint::put(&mut bytes, number);
        }
        varint::put_field(&mut bytes, self.key);
        varint::put_field(&mut bytes, self.value);
        for (key, value) in self.headers.iter() {
            varint::put_field(&mut bytes, Some(key.as_bytes()));
            varint::put_field(&mut bytes, value);
        }
        bytes
    }

    /// The record that [`Record::to_bytes`] made bytes of, as at its first try.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Record<'a>, Error> {
        Record::read(bytes).ok_or_else(|| Error::fatal("the bytes are none that `Record::to_bytes` has made"))
    }

    fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (_, mut rest) = bytes.split_first().filter(|(version, _)| **version == KEPT_VERSION)?;
        let topic = std::str::from_utf8(varint::take_field(&mut rest)??).ok()?;
        let mut number = || varint::take(&mut rest);
        let (partition, offset, timestamp, headers) = (number()?, number()?, number()?, number()?);
        let (key, value) = (varint::take_field(&mut rest)?, varint::take_field(&mut rest)?);
        Some(Record {
            topic,
            partition: u32::try_from(partition).ok()?,
            offset: offset as u64,
            timestamp,
            key,
            value,
            headers: Headers(HeadersFrom::Flat {
                count: u32::try_from(headers).ok()?,
                bytes: rest,
                body: &[],
            }),
            attempt: 0,
        })
    }

    /// Key, value and headers as they stand in the batch, and where the count of headers is in it: one byte. None where
    /// they do not stand together, or no longer are what the batch says.
    pub(crate) fn body(&self) -> Option<(&'a [u8], usize)> {
        let HeadersFrom::Flat { bytes, body, .. } = self.headers.0 else { return None };
        let mut rest = body;
        let has = |field: Option<&[u8]>, own: Option<&[u8]>| match (field, own) {
            (Some(field), Some(own)) => std::ptr::eq(field, own),
            (field, own) => field.is_none() && own.is_none(),
        };
        let is_whole = has(varint::take_field(&mut rest)?, self.key)
            && has(varint::take_field(&mut rest)?, self.value)
            && rest.len() == bytes.len() + 1;
        is_whole.then_some((body, body.len() - rest.len()))
    }

    /// The value of the last header of that name, as Kafka's `lastHeader` has it.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().filter(|(key, _)| *key == name).last()?.1
    }
}

/// A record's headers.
#[derive(Clone, Copy)]
pub struct Headers<'a>(pub(crate) HeadersFrom<'a>);

#[derive(Clone, Copy)]
pub(crate) enum HeadersFrom<'a> {
    /// The headers without their count, and the whole body that they end, if there is one.
    Flat {
        count: u32,
        bytes: &'a [u8],
        body: &'a [u8],
    },
    Typed(&'a [Header]),
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers(HeadersFrom::Flat { count: 0, bytes: &[], body: &[] });

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            HeadersFrom::Flat { count, .. } => count as usize,
            HeadersFrom::Typed(headers) => headers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The headers one by one, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let mut rest = *self;
        std::iter::from_fn(move || rest.take())
    }

    fn take(&mut self) -> Option<(&'a str, Option<&'a [u8]>)> {
        match &mut self.0 {
            HeadersFrom::Flat { count, bytes, .. } => {
                *count = count.checked_sub(1)?;
                let key = varint::take_field(bytes)??;
                Some((std::str::from_utf8(key).unwrap_or("?"), varint::take_field(bytes)?))
            }
            HeadersFrom::Typed(headers) => {
                let (first, rest) = headers.split_first()?;
                *headers = rest;
                Some((&first.key, first.value.as_deref()))
            }
        }
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Calls `each` for every record of a flat batch, with its index; stops at its first error. The outer
/// error is a batch that is not in the layout: the broker's bug.
pub(crate) fn for_each_flat<'a, E>(
    batch: &'a [u8],
    mut each: impl FnMut(u32, Record<'a>) -> Result<(), E>,
) -> Result<Result<(), E>, String> {
    let mut reader = Reader(batch);
    let short = || "the batch is cut short".to_owned();
    if reader.take::<4>().ok_or_else(short)? != *b"TMI1" {
        return Err("the batch is not in the layout TMI1: the broker is newer than this plugin".to_owned());
    }
    let attempt = reader.u32().ok_or_else(short)?;
    let topic_count = reader.u32().ok_or_else(short)?;
    let chunk_count = reader.u32().ok_or_else(short)?;
    let mut topics = Vec::new();
    for _ in 0..topic_count {
        let bytes = reader.take::<2>().map(u16::from_le_bytes).ok_or_else(short)?;
        let name = reader.slice(usize::from(bytes)).ok_or_else(short)?;
        topics.push(std::str::from_utf8(name).map_err(|error| error.to_string())?);
    }
    let mut index = 0;
    for _ in 0..chunk_count {
        let topic = *topics.get(reader.u32().ok_or_else(short)? as usize).ok_or_else(short)?;
        let partition = reader.u32().ok_or_else(short)?;
        let base_offset = reader.i64().ok_or_else(short)?;
        let base_timestamp = reader.i64().ok_or_else(short)?;
        let append_time = reader.i64().ok_or_else(short)?;
        let record_count = reader.u32().ok_or_else(short)?;
        let bytes = reader.u32().ok_or_else(short)?;
        let mut records = reader.slice(bytes as usize).ok_or_else(short)?;
        for _ in 0..record_count {
            let fields = Fields::take(&mut records).ok_or_else(|| format!("record {index} is malformed"))?;
            let timestamp = if append_time >= 0 {
                append_time
            } else {
                base_timestamp.wrapping_add(fields.timestamp_delta)
            };
            let record = Record {
                topic,
                partition,
                offset: base_offset.wrapping_add(fields.offset_delta) as u64,
                timestamp,
                key: fields.key,
                value: fields.value,
                headers: fields.headers,
                attempt,
            };
            if let Err(error) = each(index, record) {
                return Ok(Err(error));
            }
            index += 1;
        }
    }
    Ok(Ok(()))
}

struct Fields<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> Fields<'a> {
    fn take(records: &mut &'a [u8]) -> Option<Fields<'a>> {
        let length = usize::try_from(varint::take(records)?).ok()?;
        let (record, rest) = records.split_at_checked(length)?;
        *records = rest;
        // The first byte is the record's attributes, which Kafka does not use.
        let mut record = record.get(1..)?;
        let timestamp_delta = varint::take(&mut record)?;
        let offset_delta = varint::take(&mut record)?;
        let body = record;
        let key = varint::take_field(&mut record)?;
        let value = varint::take_field(&mut record)?;
        let count = u32::try_from(varint::take(&mut record)?).ok()?;
        let headers = Headers(HeadersFrom::Flat { count, bytes: record, body });
        Some(Fields { timestamp_delta, offset_delta, key, value, headers })
    }
}

/// Takes the layouts' fields from the front of the bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(field)
    }
}
