//! Batches whose bytes were put together by hand, for the tests of this room.

use bytes::Bytes;

macro_rules! fixture {
    ($name:literal) => {
        $crate::wire::record_batch::fixtures::parse(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/wire/",
            $name,
            ".hex"
        )))
    };
}
pub(in crate::wire) use fixture;

/// Hexadecimal digits in pairs; `#` begins a comment.
pub(in crate::wire) fn parse(text: &str) -> Bytes {
    let digits = text.lines().filter_map(|line| line.split('#').next());
    let digits: Vec<u8> = digits.flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
