use super::*;

fn encoded<K: Key + ?Sized>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// Keys that rise, of which every one reads back as itself.
#[track_caller]
fn rise<K: Key<Owned = K> + Ord + std::fmt::Debug>(keys: &[K]) {
    assert!(keys.is_sorted_by(|one, other| one < other), "{keys:?}");
    assert!(keys.is_sorted_by(|one, other| encoded(one) < encoded(other)), "{keys:?}");
    for key in keys {
        let bytes = [encoded(key), b"rest".to_vec()].concat();
        let mut rest = bytes.as_slice();
        assert_eq!(K::decode(&mut rest).as_ref(), Some(key));
        assert_eq!(rest, b"rest");
        let mut cut = &bytes[..bytes.len() - 5];
        assert_eq!(K::decode(&mut cut), None);
    }
}

#[test]
fn bytes_rise_as_keys_do() {
    rise(&[0u8, 1, 127, 128, 255]);
    rise(&[0u64, 1, 255, 256, u64::MAX]);
    rise(&[i64::MIN, -256, -1, 0, 1, 256, i64::MAX]);
    rise(&[i8::MIN, -1, 0, i8::MAX]);
    rise(&[false, true]);
    rise(&['a', 'é', '漢', '🌊']);
    rise(&["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "a\u{1}", "ab", "b"].map(str::to_owned));
    rise(&[vec![], vec![0], vec![0, 255], vec![1], vec![255], vec![255, 0], vec![255, 255]]);
    rise(&[("a".to_owned(), 9u32), ("a\0".to_owned(), 0), ("ab".to_owned(), 1), ("b".to_owned(), 0)]);
    rise(&[(1u8, String::new(), -1i32), (1, "x".to_owned(), -1), (1, "x".to_owned(), 0)]);
    rise(&[(0u8, 0u8, 0u8, 0u8), (0, 0, 1, 0), (1, 0, 0, 0)]);
}

#[test]
fn a_tuple_begins_with_its_first_part_and_borrowed_keys_are_as_owned_ones() {
    let whole = encoded(&("user", 7u64));
    assert!(whole.starts_with(&encoded("user")));
    assert!(!whole.starts_with(&encoded("use")), "a shorter text is another one");
    assert_eq!(whole, encoded(&("user".to_owned(), 7u64)));
    assert_eq!(encoded(b"ab".as_slice()), b"ab\0\0");
}

#[test]
fn bytes_that_are_no_key_are_none() {
    assert_eq!(bool::decode(&mut [2].as_slice()), None);
    assert_eq!(char::decode(&mut [0, 0, 0xd8, 0].as_slice()), None);
    assert_eq!(String::decode(&mut [b'a', 0, 7].as_slice()), None);
    assert_eq!(String::decode(&mut [0xff, 0, 0].as_slice()), None);
}
