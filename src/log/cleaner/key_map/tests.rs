use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn offset(value: usize) -> Offset {
    Offset::from_wire(i64::try_from(value).unwrap()).unwrap()
}

proptest! {
    /// It says what an ordinary map says, and refuses only new keys, once it is full.
    #[test]
    fn it_is_a_map_within_its_bounds(
        keys in prop::collection::vec(0..60u8, 0..200),
        bytes_max in 0..2000usize,
        keys_max in 0..80u64,
    ) {
        let mut map = KeyMap::new(bytes_max, keys_max);
        let mut model: BTreeMap<u8, Offset> = BTreeMap::new();
        prop_assert!(map.slots.len() * SLOT_BYTES <= bytes_max.max(2 * SLOT_BYTES));
        for (at, key) in keys.into_iter().enumerate() {
            match map.put(&[key], offset(at)) {
                Put::Done => {
                    model.insert(key, offset(at));
                }
                Put::Full => {
                    prop_assert!(!model.contains_key(&key));
                    prop_assert!(!model.is_empty());
                }
            }
            prop_assert_eq!(map.len(), model.len());
        }
        for key in 0..60u8 {
            prop_assert_eq!(map.last_offset(&[key]), model.get(&key).copied());
        }
    }

    /// As many keys as were announced find room, if the bytes allow it.
    #[test]
    fn announced_keys_fit(count in 0..500usize) {
        let mut map = KeyMap::new(1 << 20, count as u64);
        for key in 0..count {
            prop_assert_eq!(map.put(&key.to_be_bytes(), offset(key)), Put::Done);
        }
        prop_assert_eq!(map.len(), count);
    }
}

#[test]
fn keys_of_any_length_differ() {
    let mut map = KeyMap::new(1 << 20, 100);
    let keys: Vec<Vec<u8>> = (0..50).map(|length| vec![0; length]).collect();
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(map.put(key, offset(at)), Put::Done);
    }
    assert_eq!(map.len(), keys.len());
    assert_eq!(map.last_offset(&[1]), None);
}
