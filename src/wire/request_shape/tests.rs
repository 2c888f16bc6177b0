//! The table of shapes against the codec crate: bytes made by the shapes must be what the crate
//! reads, for every API and version; and hostile bytes must be refused before the crate sees them.

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use super::super::api::{SUPPORTED, with_supported_apis};
use super::super::varint::put_unsigned;
use super::*;

/// Writes a body of a shape, with choices taken from a seed.
struct Filler {
    version: i16,
    seed: u64,
    out: Vec<u8>,
}

impl Filler {
    fn body(shape: &'static Shape, version: i16, seed: u64) -> Vec<u8> {
        let mut filler = Filler { version, seed: seed.wrapping_mul(2) + 1, out: Vec::new() };
        filler.structure(shape);
        filler.out
    }

    fn choose(&mut self, choices: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % choices
    }

    fn structure(&mut self, shape: &'static Shape) {
        let flexible = self.version >= shape.flexible_from;
        for field in shape.fields {
            if (field.from..=field.until).contains(&self.version) {
                self.field(&field.kind, flexible);
            }
        }
        if flexible {
            self.tagged(shape);
        }
    }

    fn tagged(&mut self, shape: &'static Shape) {
        let known: Vec<_> = shape.tagged.iter().filter(|tagged| self.version >= tagged.from).collect();
        let unknown = self.choose(2);
        put_unsigned(&mut self.out, known.len() as u64 + unknown);
        for tagged in known {
            put_unsigned(&mut self.out, u64::from(tagged.tag));
            let mut inner = Filler { version: self.version, seed: self.seed, out: Vec::new() };
            inner.field(&tagged.kind, true);
            put_unsigned(&mut self.out, inner.out.len() as u64);
            self.out.extend_from_slice(&inner.out);
        }
        if unknown > 0 {
            put_unsigned(&mut self.out, 9_000);
            put_unsigned(&mut self.out, 3);
            self.out.extend_from_slice(b"new");
        }
    }

    fn field(&mut self, kind: &'static Kind, flexible: bool) {
        match kind {
            Kind::Fixed(bytes) => self.fixed(*bytes),
            Kind::Text => {
                let length = 1 + self.choose(5) as usize;
                if flexible {
                    put_unsigned(&mut self.out, length as u64 + 1);
                } else {
                    self.out.extend_from_slice(&(length as i16).to_be_bytes());
                }
                self.out.extend(std::iter::repeat_n(b't', length));
            }
            Kind::Blob => {
                let length = self.choose(200) as usize;
                self.length(length, flexible);
                self.out.extend(std::iter::repeat_n(0xee, length));
            }
            Kind::One(shape) => self.structure(shape),
            Kind::Optional(shape) => match self.choose(2) {
                0 => self.out.push(0xff),
                _ => {
                    self.out.push(PRESENT);
                    self.structure(shape);
                }
            },
            Kind::Fixeds(bytes) => self.list(flexible, |filler| filler.fixed(*bytes)),
            Kind::Texts => self.list(flexible, |filler| filler.field(&Kind::Text, flexible)),
            Kind::Many(shape) => self.list(flexible, |filler| filler.structure(shape)),
        }
    }

    fn fixed(&mut self, bytes: usize) {
        // A byte may be a boolean, of which the codec keeps only truth.
        let value = if bytes == 1 { self.choose(2) } else { 1 + self.choose(1 << 15) };
        let bytes_of = (u128::from(value)).to_be_bytes();
        self.out.extend_from_slice(&bytes_of[16 - bytes..]);
    }

    fn list(&mut self, flexible: bool, element: impl Fn(&mut Filler)) {
        let count = self.choose(4) as usize;
        self.length(count, flexible);
        for _ in 0..count {
            element(self);
        }
    }

    fn length(&mut self, length: usize, flexible: bool) {
        if flexible {
            put_unsigned(&mut self.out, length as u64 + 1);
        } else {
            self.out.extend_from_slice(&(length as i32).to_be_bytes());
        }
    }
}

macro_rules! crate_reads_and_writes_the_same {
    ($($key:ident $request:ident $shape:ident $advertised_min:literal $min:literal..=$max:literal,)*) => {
        fn assert_the_crate_agrees(seed: u64) {
            $(for version in $min..=$max {
                let body = Filler::body(&$shape, version, seed);
                assert_eq!(check(&$shape, version, &body), Ok(()), "{} {version}", stringify!($key));
                let mut bytes = Bytes::from(body.clone());
                let message = kafka_protocol::messages::$request::decode(&mut bytes, version)
                    .unwrap_or_else(|error| panic!("{} {version}: {error}", stringify!($key)));
                assert!(bytes.is_empty(), "{} {version}: {} bytes left", stringify!($key), bytes.len());
                let mut again = Vec::new();
                message.encode(&mut again, version).unwrap();
                assert_eq!(again, body, "{} {version}", stringify!($key));
            })*
        }
    };
}
with_supported_apis!(crate_reads_and_writes_the_same);

#[test]
fn every_shape_is_what_the_crate_reads_and_writes() {
    (0..40).for_each(assert_the_crate_agrees);
}

#[test]
fn every_prefix_of_a_body_is_refused() {
    for api in SUPPORTED {
        for version in api.handled.min..=api.handled.max {
            let body = Filler::body(api.shape, version, 7);
            for cut in 0..body.len() {
                assert!(check(api.shape, version, &body[..cut]).is_err(), "{:?} {version} at {cut}", api.key);
            }
        }
    }
}

#[test]
fn counts_beyond_the_bytes_are_refused() {
    assert_eq!(check(&METADATA_REQUEST, 0, &i32::MAX.to_be_bytes()), Err("topics"));
    let mut compact = Vec::new();
    put_unsigned(&mut compact, u64::from(u32::MAX));
    compact.extend_from_slice(&[0; 100]);
    assert_eq!(check(&METADATA_REQUEST, 12, &compact), Err("topics"));
    let mut fixed = 1_000_000_000i32.to_be_bytes().to_vec();
    fixed.extend_from_slice(&[0; 100]);
    assert!(check(&WRITABLE_TXN_MARKER_TOPIC, 0, &fixed).is_err());
}

#[test]
fn more_elements_than_the_bound_are_refused_though_their_bytes_are_there() {
    let count = ELEMENTS_MAX + 1;
    let mut body = (count as i32).to_be_bytes().to_vec();
    body.resize(4 + count * 2, 0);
    assert_eq!(check(&DELETE_GROUPS_REQUEST, 0, &body), Err("groups_names"));
    body[..4].copy_from_slice(&1000i32.to_be_bytes());
    assert_eq!(check(&DELETE_GROUPS_REQUEST, 0, &body), Ok(()));
}

#[test]
fn a_known_tagged_field_must_fill_its_size() {
    // The crate would read a string here and take what follows for the next tagged fields.
    let mut body = Filler::body(&FETCH_TOPIC, 12, 3);
    assert_eq!(check(&FETCH_TOPIC, 12, &body), Ok(()));
    body.clear();
    body.extend_from_slice(&[0; 4 + 4 + 4 + 4 + 1 + 4 + 4]);
    body.extend_from_slice(&[1, 1, 1]);
    let tagged = |size: u8| {
        let mut body = body.clone();
        body.extend_from_slice(&[1, 0, size, 4, b'a', b'b', b'c', 0]);
        check(&FETCH_REQUEST, 12, &body)
    };
    assert_eq!(tagged(4), Ok(()));
    assert_eq!(tagged(0), Err("cluster_id"));
    assert_eq!(tagged(5), Err("cluster_id"));
}

#[test]
fn strings_longer_than_kafka_reads_are_refused_though_their_bytes_are_there() {
    let body = |bytes: usize| {
        let mut body = Vec::new();
        // FindCoordinator version 3: one key, its type, no tagged fields.
        put_unsigned(&mut body, bytes as u64 + 1);
        body.resize(body.len() + bytes, b't');
        body.extend_from_slice(&[0, 0]);
        check(&FIND_COORDINATOR_REQUEST, 3, &body)
    };
    assert_eq!(body(TEXT_BYTES_MAX), Ok(()));
    assert_eq!(body(TEXT_BYTES_MAX + 1), Err("key"));
}

#[test]
fn null_lists_and_strings_take_no_bytes() {
    assert_eq!(check(&METADATA_REQUEST, 1, &(-1i32).to_be_bytes()), Ok(()));
    assert_eq!(check(&FIND_COORDINATOR_REQUEST, 0, &(-1i16).to_be_bytes()), Ok(()));
    assert_eq!(check(&METADATA_REQUEST, 11, &[0, 0, 0, 0]), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_bodies_are_read_or_refused(seed: u64, api in 0..SUPPORTED.len(), version: u16,
            changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let api = &SUPPORTED[api];
        let versions = (api.handled.max - api.handled.min + 1) as u16;
        let version = api.handled.min + (version % versions) as i16;
        let mut body = Filler::body(api.shape, version, seed);
        for (at, byte) in changes {
            let at = usize::from(at) % body.len().max(1);
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
        }
        let frame = super::super::request::RequestFrame {
            api: *api, api_version: version, correlation_id: 0, client_id: None, body: Bytes::from(body),
        };
        let _ = frame.check_body();
    }
}
