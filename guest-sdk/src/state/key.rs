//! Keys as bytes that compare as the keys do.

/// What may be a key of a `Map`: integers, `bool`, `char`, texts, bytes, and tuples of those. The bytes of two keys
/// compare as the keys themselves do, and the bytes of a tuple begin with those of its first part.
///
/// Numbers are big-endian, signed ones with the sign bit turned round. Texts and bytes end with two zero bytes, and a
/// zero byte within them is followed by 255.
pub trait Key {
    /// The key as it is read back: `String` for `str`.
    type Owned;

    /// Appends the key's bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Takes a key from the front of the bytes. None if they do not begin with one.
    fn decode(bytes: &mut &[u8]) -> Option<Self::Owned>;
}

/// A key's bytes.
#[cfg(feature = "map")]
pub(super) fn encoded(key: &(impl Key + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*field)
}

macro_rules! unsigned {
    ($($number:ty)*) => { $(
        impl Key for $number {
            type Owned = $number;

            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_be_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<$number> {
                take(bytes).map(<$number>::from_be_bytes)
            }
        }
    )* };
}
unsigned!(u8 u16 u32 u64 u128);

macro_rules! signed {
    ($($number:ty)*) => { $(
        impl Key for $number {
            type Owned = $number;

            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&(self ^ <$number>::MIN).to_be_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<$number> {
                take(bytes).map(|field| <$number>::from_be_bytes(field) ^ <$number>::MIN)
            }
        }
    )* };
}
signed!(i8 i16 i32 i64 i128);

impl Key for bool {
    type Owned = bool;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Option<bool> {
        match u8::decode(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Key for char {
    type Owned = char;

    fn encode(&self, bytes: &mut Vec<u8>) {
        u32::from(*self).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<char> {
        char::from_u32(u32::decode(bytes)?)
    }
}

impl Key for [u8] {
    type Owned = Vec<u8>;

    fn encode(&self, bytes: &mut Vec<u8>) {
        for &byte in self {
            bytes.push(byte);
            if byte == 0 {
                bytes.push(u8::MAX);
            }
        }
        bytes.extend_from_slice(&[0, 0]);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        loop {
            match u8::decode(bytes)? {
                0 => match u8::decode(bytes)? {
                    0 => return Some(key),
                    u8::MAX => key.push(0),
                    _ => return None,
                },
                byte => key.push(byte),
            }
        }
    }
}

impl Key for str {
    type Owned = String;

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.as_bytes().encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<String> {
        String::from_utf8(<[u8]>::decode(bytes)?).ok()
    }
}

impl Key for String {
    type Owned = String;

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.as_str().encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<String> {
        str::decode(bytes)
    }
}

impl Key for Vec<u8> {
    type Owned = Vec<u8>;

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.as_slice().encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        <[u8]>::decode(bytes)
    }
}

impl<K: Key + ?Sized> Key for &K {
    type Owned = K::Owned;

    fn encode(&self, bytes: &mut Vec<u8>) {
        (**self).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<K::Owned> {
        K::decode(bytes)
    }
}

macro_rules! tuple {
    ($($part:ident $at:tt),*) => {
        impl<$($part: Key),*> Key for ($($part,)*) {
            type Owned = ($($part::Owned,)*);

            fn encode(&self, bytes: &mut Vec<u8>) {
                $(self.$at.encode(bytes);)*
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self::Owned> {
                Some(($($part::decode(bytes)?,)*))
            }
        }
    };
}
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests;
