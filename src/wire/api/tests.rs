//! The table is in order and within what the codec can.

use super::*;

#[test]
fn the_table_is_sorted_and_without_doubles() {
    assert!(SUPPORTED.is_sorted_by(|left, right| (left.key as i16) < right.key as i16));
}

#[test]
fn handled_versions_are_ones_that_the_codec_knows() {
    for api in SUPPORTED {
        let codec = api.key.valid_versions();
        assert!(codec.min <= api.handled.min && api.handled.max <= codec.max, "{:?}", api.key);
        assert!(api.handled.min <= api.handled.max);
    }
}

#[test]
fn only_produce_advertises_more_than_it_handles() {
    for api in SUPPORTED {
        let same = api.advertised == api.handled;
        assert_eq!(same, api.key != ApiKey::Produce, "{:?}", api.key);
    }
    assert_eq!(supported(0).unwrap().advertised, Versions { min: 0, max: 13 });
    assert!(!supported(0).unwrap().handled.contains(2));
}

#[test]
fn unknown_keys_are_not_supported() {
    assert!(supported(4).is_none());
    assert!(supported(-1).is_none());
    assert_eq!(supported(26).unwrap().key, ApiKey::EndTxn);
}
