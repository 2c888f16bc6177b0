//! Values by slot and key, within their bytes.

use super::*;

#[test]
fn a_value_is_there_until_it_is_changed_or_taken_away() {
    let hot = HotValues::new(1 << 20);
    let (one, two) = (Slot(1), Slot(2));
    assert_eq!(hot.get(one, b"k"), None);
    hot.put(one, b"k", &Bytes::from_static(b"v"));
    hot.put(two, b"k", &Bytes::from_static(b"w"));
    assert_eq!(hot.get(one, b"k").as_deref(), Some(b"v".as_slice()));
    assert_eq!(hot.get(two, b"k").as_deref(), Some(b"w".as_slice()));
    hot.put(one, b"k", &Bytes::from_static(b"x"));
    assert_eq!(hot.get(one, b"k").as_deref(), Some(b"x".as_slice()));
    hot.remove(one, b"k");
    assert_eq!((hot.get(one, b"k"), hot.get(one, b"")), (None, None));
    assert!(hot.get(two, b"k").is_some());
}

#[test]
fn a_large_value_is_not_kept_and_neither_is_the_one_before_it() {
    let hot = HotValues::new(1 << 20);
    hot.put(Slot(1), b"k", &Bytes::from_static(b"small"));
    hot.put(Slot(1), b"k", &Bytes::from(vec![0; VALUE_BYTES_MAX + 1]));
    assert_eq!(hot.get(Slot(1), b"k"), None);
}

#[test]
fn there_is_never_more_than_it_may_hold() {
    let hot = HotValues::new(64 << 10);
    for number in 0..10_000u32 {
        hot.put(Slot(1), &number.to_be_bytes(), &Bytes::from_static(b"value"));
    }
    let kept = (0..10_000u32).filter(|number| hot.get(Slot(1), &number.to_be_bytes()).is_some()).count();
    assert!((100..=540).contains(&kept), "{kept}");
    assert!(hot.values.weight() <= 64 << 10);
}
