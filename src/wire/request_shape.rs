//! Walks over a request's body before the codec crate decodes it, and refuses what does not hold.
//!
//! The crate (kafka-protocol 0.18, `types::Array` and `types::CompactArray`) reserves room for as many
//! elements as a length field claims, up to 2^32 of some hundred bytes each, before it reads one: a
//! frame of 20 bytes could end the process, and a failed allocation cannot be caught. It also ignores
//! the size of known tagged fields. So every count is held against bytes that are really there,
//! every known tagged field against its size, and the number of elements has a bound. After this
//! walk the crate reads the same bytes the same way; nothing else in its decoding panics.

mod table;

pub(in crate::wire) use table::*;

use super::varint::ByteReader;

/// "In no version".
const NEVER: i16 = i16::MAX;
/// Elements of lists and tagged fields in one request: each takes at least one byte of the frame but
/// some hundred in memory. Ten times what a request for every partition of a huge cluster has.
const ELEMENTS_MAX: usize = 1_000_000;

/// The longest string: what the old encoding can say, and what Kafka's readers take of the new one. Names go
/// into records whose lengths have 16 bits.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// The byte before an optional structure that is there; -1 stands before none.
const PRESENT: u8 = 1;

/// A structure: fields in wire order.
#[derive(Debug)]
pub(in crate::wire) struct Shape {
    /// The first version with compact lengths and tagged fields (KIP-482).
    flexible_from: i16,
    fields: &'static [Field],
    tagged: &'static [Tagged],
}

/// A field, and the versions that have it.
#[derive(Debug)]
struct Field {
    name: &'static str,
    from: i16,
    until: i16,
    kind: Kind,
}

/// A tagged field that the codec knows.
#[derive(Debug)]
struct Tagged {
    name: &'static str,
    tag: u32,
    from: i16,
    kind: Kind,
}

/// What a field's bytes are, as far as their extent goes.
#[derive(Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, perhaps null.
    Text,
    /// Bytes or records, perhaps null.
    Blob,
    /// A structure.
    One(&'static Shape),
    /// A structure, perhaps null: one byte says which.
    Optional(&'static Shape),
    /// A list of values of so many bytes.
    Fixeds(usize),
    /// A list of strings.
    Texts,
    /// A list of structures.
    Many(&'static Shape),
}

/// Checks that `body` begins with a whole request of this shape. Returns the field where it does not.
pub(in crate::wire) fn check(shape: &'static Shape, version: i16, body: &[u8]) -> Result<(), &'static str> {
    let mut walk = Walk { version, elements_left: ELEMENTS_MAX, reader: ByteReader::new(body) };
    walk.structure(shape)
}

struct Walk<'a> {
    version: i16,
    elements_left: usize,
    reader: ByteReader<'a>,
}

impl Walk<'_> {
    fn structure(&mut self, shape: &'static Shape) -> Result<(), &'static str> {
        let flexible = self.version >= shape.flexible_from;
        let encoding = if flexible { Encoding::Compact } else { Encoding::Plain };
        for field in shape.fields {
            if (field.from..=field.until).contains(&self.version) {
                self.field(field.name, &field.kind, encoding)?;
            }
        }
        match encoding {
            Encoding::Compact => self.tagged_fields(shape),
            Encoding::Plain => Ok(()),
        }
    }

    fn field(
        &mut self,
        name: &'static str,
        kind: &'static Kind,
        encoding: Encoding,
    ) -> Result<(), &'static str> {
        match kind {
            Kind::Fixed(bytes) => self.reader.take(*bytes).map(drop).ok_or(name),
            Kind::Text => self.skip_text(encoding).ok_or(name),
            Kind::Blob => {
                let bytes = self.length(encoding).ok_or(name)?;
                self.reader.take(bytes).map(drop).ok_or(name)
            }
            Kind::One(shape) => self.structure(shape),
            Kind::Optional(shape) => match self.reader.take(1).ok_or(name)? {
                [PRESENT] => self.structure(shape),
                _ => Ok(()),
            },
            Kind::Fixeds(bytes) => {
                let count = self.length(encoding).ok_or(name)?;
                let bytes = count.checked_mul(*bytes).ok_or(name)?;
                self.reader.take(bytes).map(drop).ok_or(name)
            }
            Kind::Texts => {
                for _ in 0..self.count(encoding).ok_or(name)? {
                    self.skip_text(encoding).ok_or(name)?;
                }
                Ok(())
            }
            Kind::Many(shape) => {
                for _ in 0..self.count(encoding).ok_or(name)? {
                    self.structure(shape)?;
                }
                Ok(())
            }
        }
    }

    fn tagged_fields(&mut self, shape: &'static Shape) -> Result<(), &'static str> {
        const TAGGED: &str = "tagged fields";
        let count = self.reader.unsigned_varint().ok_or(TAGGED)?;
        let count = self.spend(usize::try_from(count).unwrap_or(usize::MAX)).ok_or(TAGGED)?;
        for _ in 0..count {
            let tag = self.reader.unsigned_varint().ok_or(TAGGED)?;
            let bytes = self.reader.unsigned_varint().ok_or(TAGGED)?;
            let value = self.reader.take(usize::try_from(bytes).unwrap_or(usize::MAX)).ok_or(TAGGED)?;
            let known = shape.tagged.iter().find(|known| known.tag == tag && self.version >= known.from);
            if let Some(known) = known {
                let mut inner = Walk { reader: ByteReader::new(value), ..*self };
                inner.field(known.name, &known.kind, Encoding::Compact)?;
                if !inner.reader.is_empty() {
                    return Err(known.name);
                }
                self.elements_left = inner.elements_left;
            }
        }
        Ok(())
    }

    fn skip_text(&mut self, encoding: Encoding) -> Option<()> {
        let bytes = match encoding {
            Encoding::Compact => self.length(encoding).filter(|bytes| *bytes <= TEXT_BYTES_MAX)?,
            // Null is -1.
            Encoding::Plain => usize::try_from(self.reader.i16()?).unwrap_or(0),
        };
        self.reader.take(bytes).map(drop)
    }

    /// The length of bytes or of a list; 0 for null, which has nothing behind it either.
    fn length(&mut self, encoding: Encoding) -> Option<usize> {
        match encoding {
            Encoding::Compact => usize::try_from(self.reader.unsigned_varint()?.saturating_sub(1)).ok(),
            Encoding::Plain => Some(usize::try_from(self.reader.i32()?).unwrap_or(0)),
        }
    }

    /// The number of a list's elements, each of which takes a byte at least.
    fn count(&mut self, encoding: Encoding) -> Option<usize> {
        let count = self.length(encoding)?;
        self.spend(count)
    }

    fn spend(&mut self, count: usize) -> Option<usize> {
        if count > self.reader.rest().len() {
            return None;
        }
        self.elements_left = self.elements_left.checked_sub(count)?;
        Some(count)
    }
}

/// How lengths are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    /// Big-endian integers of fixed size, -1 for null.
    Plain,
    /// Varints, one more than the length, 0 for null (KIP-482).
    Compact,
}

#[cfg(test)]
mod tests;
