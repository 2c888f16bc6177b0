//! Varints against known bytes, and hostile ones.

use proptest::prelude::*;

use super::*;

#[test]
fn known_values_have_known_bytes() {
    for (value, bytes) in [
        (0, vec![0x00]),
        (-1, vec![0x01]),
        (1, vec![0x02]),
        (63, vec![0x7e]),
        (-64, vec![0x7f]),
        (64, vec![0x80, 0x01]),
        (8191, vec![0xfe, 0x7f]),
        (8192, vec![0x80, 0x80, 0x01]),
        (i32::MAX, vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out, bytes, "{value}");
        assert_eq!(varint_bytes(value), bytes.len());
        assert_eq!(ByteReader::new(&bytes).varint(), Some(value));
    }
}

#[test]
fn the_largest_longs_take_ten_bytes() {
    for value in [i64::MIN, i64::MAX] {
        let mut out = Vec::new();
        put_varlong(&mut out, value);
        assert_eq!(out.len(), 10);
        assert_eq!(ByteReader::new(&out).varlong(), Some(value));
    }
}

#[test]
fn bits_that_do_not_fit_are_refused() {
    assert_eq!(ByteReader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), None);
    assert_eq!(ByteReader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).varint(), None);
    let mut long = [0xff; 10];
    long[9] = 0x02;
    assert_eq!(ByteReader::new(&long).varlong(), None);
    assert_eq!(ByteReader::new(&[0xff; 11]).varlong(), None);
}

#[test]
fn a_cut_varint_is_none_and_reads_nothing() {
    let mut reader = ByteReader::new(&[0x80, 0x80]);
    assert_eq!(reader.varint(), None);
    assert_eq!(reader.rest().len(), 2);
    assert_eq!(ByteReader::new(&[]).varlong(), None);
    assert_eq!(ByteReader::new(&[0xff]).unsigned_varint(), None);
}

#[test]
fn fixed_numbers_are_big_endian() {
    let mut reader = ByteReader::new(&[0xff, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(reader.i8(), Some(-1));
    assert_eq!(reader.i16(), Some(1));
    assert_eq!(reader.i32(), Some(2));
    assert_eq!(reader.i64(), Some(3));
    assert_eq!(reader.u8(), None);
    assert!(reader.is_empty());
}

proptest! {
    #[test]
    fn ints_come_back(value: i32) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_bytes(value));
        let mut reader = ByteReader::new(&out);
        prop_assert_eq!(reader.varint(), Some(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn longs_come_back(value: i64, shift in 0u32..64) {
        let value = value >> shift;
        let mut out = Vec::new();
        put_varlong(&mut out, value);
        prop_assert_eq!(out.len(), varlong_bytes(value));
        prop_assert_eq!(ByteReader::new(&out).varlong(), Some(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut reader = ByteReader::new(&bytes);
        while reader.varlong().is_some() || reader.varint().is_some() {}
    }
}
