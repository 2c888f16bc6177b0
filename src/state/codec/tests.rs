//! The bytes of the changelog, pinned; and bytes that are no record of state.

use proptest::prelude::*;

use super::*;

fn key_of(store: &str, key: &[u8]) -> Bytes {
    Bytes::from([&store_prefix(store)[..], key].concat())
}

fn check(key: &[u8], value: &[u8]) -> Result<StoreKind, ChangelogError> {
    check_record(Some(&Bytes::copy_from_slice(key)), Some(&Bytes::copy_from_slice(value)))
}

#[test]
fn records_have_these_bytes() {
    assert_eq!(key_of("sums", b"k"), &b"\x01\x04sumsk"[..]);
    assert_eq!(encode_value(b"v", None), &b"\x01\x00v"[..]);
    assert_eq!(encode_value(b"v", Some(258)), &b"\x01\x01\0\0\0\0\0\0\x01\x02v"[..]);
    assert_eq!(clock_key(), &b"\x01\x07__clockstream-time"[..]);
    assert_eq!(encode_clock(-1), &b"\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff"[..]);
    assert_eq!(TimerDomain::ALL.map(store_of_timers), ["__timers-event", "__timers-processing"]);
}

#[test]
fn a_record_is_taken_apart_as_it_was_put_together() {
    assert_eq!(check(&key_of("s", b"k"), &encode_value(b"", Some(5))), Ok(StoreKind::Guest));
    assert_eq!(check_record(Some(&key_of("s", b"k")), None), Ok(StoreKind::Guest));
    assert_eq!(check(&clock_key(), &encode_clock(7)), Ok(StoreKind::Clock));
    let timer = key_of(store_of_timers(TimerDomain::Processing), b"id");
    let kind = StoreKind::Timers(TimerDomain::Processing);
    assert_eq!(check(&timer, &encode_value(b"payload", Some(9))), Ok(kind));
    assert_eq!(Schedule::of(&timer), Schedule::Timers(TimerDomain::Processing));
    assert_eq!(Schedule::of(&key_of("s", b"k")), Schedule::Expiry);
    assert_eq!(key_in_store(&timer), &b"id"[..]);
    let stored = Stored::decode(&encode_value(b"v", Some(i64::MIN))).unwrap();
    assert_eq!(stored, Stored { value: Bytes::from_static(b"v"), time: Some(i64::MIN) });
}

#[test]
fn what_a_newer_broker_wrote_is_refused_as_such() {
    let value = encode_value(b"v", None);
    assert_eq!(check(b"\x02\x01sk", &value), Err(ChangelogError::Version { part: "key", version: 2 }));
    let key = key_of("s", b"k");
    assert_eq!(check(&key, b"\x02\0v"), Err(ChangelogError::Version { part: "value", version: 2 }));
    assert_eq!(check(&key, b"\x01\x03v"), Err(ChangelogError::Flags(3)));
    let unknown = ChangelogError::UnknownStore("__windows".to_owned());
    assert_eq!(check(&key_of("__windows", b"k"), &value), Err(unknown.clone()));
    let told =
        "it is of the store \"__windows\", which this broker does not know: it was written by a newer one";
    assert_eq!(unknown.to_string(), told);
}

#[test]
fn what_is_no_record_of_state_is_refused() {
    let value = encode_value(b"v", None);
    assert_eq!(check_record(None, Some(&value)), Err(ChangelogError::NoKey));
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    let keys: [&[u8]; 8] = [
        b"",
        b"\x01",
        b"\x01\x05name",
        b"\x01\x04name",
        b"\x01\x00key",
        b"\x01\x02\xff\xffkey",
        b"\x01\x07__clockanother",
        &key_of("s", &too_long),
    ];
    for key in keys {
        assert!(matches!(check(key, &value), Err(ChangelogError::Malformed(_))), "{:?}", key.get(..20));
    }
    let key = key_of("s", b"k");
    let huge = encode_value(&vec![0; VALUE_BYTES_MAX + 1], None);
    for value in [&b""[..], b"\x01", b"\x01\x01\0\0", &huge] {
        assert!(matches!(check(&key, value), Err(ChangelogError::Malformed(_))));
    }
    let timer = key_of(store_of_timers(TimerDomain::Event), b"id");
    assert!(check(&timer, &value).is_err(), "a timer without a time");
    assert!(check(&clock_key(), &value).is_err(), "a stream time of one byte");
    assert!(check(&clock_key(), &encode_value(&[0; 8], Some(1))).is_err(), "a stream time that expires");
}

#[test]
fn names_of_stores_follow_kafkas_rule_for_names() {
    for good in ["a", "per-card", "Sums.v2_x", &"n".repeat(STORE_NAME_BYTES_MAX)] {
        assert_eq!(check_store_name(good), Ok(()), "{good}");
    }
    for bad in ["", "__clock", "__", "a b", "ä", "a/b", &"n".repeat(STORE_NAME_BYTES_MAX + 1)] {
        assert!(check_store_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_largest_record_fits_into_a_batch_of_the_default_size() {
    let record = STORE_NAME_BYTES_MAX + 2 + KEY_BYTES_MAX + VALUE_BYTES_MAX + 2 + TIME_BYTES;
    // A batch's header has 61 bytes; a record's own lengths and deltas at most seven varints.
    assert!(record + 61 + 7 * 10 < 1_048_588);
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        for key in [key.clone(), [&b"\x01\x02"[..], &key].concat(), [&b"\x01\x07__clock"[..], &key].concat()] {
            for value in [value.clone(), [&b"\x01\x01"[..], &value].concat()] {
                if check(&key, &value).is_ok() {
                    let key = Bytes::from(key.clone());
                    prop_assert!(!key_in_store(&key).is_empty());
                    prop_assert!(Stored::decode(&Bytes::from(value)).is_ok());
                }
            }
            let _ = (Schedule::of(&key), time_of(&value));
        }
    }
}
