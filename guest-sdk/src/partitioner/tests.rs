//! The choice by key against the vectors that Kafka's own `UtilsTest.testMurmur2` publishes.

use super::*;
use crate::Headers;

#[test]
fn murmur2_gives_kafkas_known_values() {
    for (key, expected) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
    }
}

#[test]
fn a_key_goes_where_kafkas_producers_send_it() {
    // `Utils.toPositive(hash) % partitions`: the sign bit is cut off, not the number negated.
    assert_eq!(partition_for_key(b"abc", 100), 7);
    assert_eq!(partition_for_key(b"21", 1000), (-973_932_308 & i32::MAX) as u32 % 1000);
    assert_eq!(partition_for_key(b"21", 1), 0);
    assert_eq!(partition_for_key(b"21", 0), 0);
    assert!((0..1000u32).all(|key| partition_for_key(&key.to_be_bytes(), 7) < 7));
}

#[test]
fn a_record_goes_by_its_key_and_without_one_by_its_value() {
    let partition = |key, value| {
        let (topic, headers) = ("orders", Headers::NONE);
        let record = Record { topic, partition: 0, offset: 0, timestamp: 0, key, value, headers, attempt: 0 };
        default_partition(&record, 1000)
    };
    let (abc, foobar) = (Some(&b"abc"[..]), Some(&b"foobar"[..]));
    assert_eq!(partition(abc, foobar), partition_for_key(b"abc", 1000));
    assert_eq!(partition(abc, None), partition_for_key(b"abc", 1000));
    assert_eq!(partition(None, foobar), partition_for_key(b"foobar", 1000));
    assert_eq!(partition(None, None), partition_for_key(b"", 1000));
    // An empty key is a key.
    assert_eq!(partition(Some(b""), foobar), partition_for_key(b"", 1000));
}
