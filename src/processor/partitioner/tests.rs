//! The partitioner against the vectors that Kafka's own `UtilsTest.testMurmur2` publishes.

use super::*;

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
        assert_eq!(murmur2(key.as_bytes()), expected, "{key}");
    }
}

#[test]
fn a_key_always_goes_to_the_same_partition_in_range() {
    for n in 0..1_000u32 {
        let key = n.to_be_bytes();
        let partition = partition_for_key(&key, 7).unwrap();
        assert!((0..7).contains(&partition.value()));
        assert_eq!(partition_for_key(&key, 7), Some(partition));
    }
}

#[test]
fn a_topic_without_partitions_has_no_choice() {
    assert_eq!(partition_for_key(b"k", 0), None);
    assert_eq!(StickyPartition::new(PartitionIndex::ZERO).partition(0), None);
}

#[test]
fn records_without_a_key_stick_until_the_turn() {
    let mut sticky = StickyPartition::new(PartitionIndex::from_wire(2).unwrap());
    assert_eq!(sticky.partition(3).unwrap().value(), 2);
    assert_eq!(sticky.partition(3).unwrap().value(), 2);
    sticky.turn();
    assert_eq!(sticky.partition(3).unwrap().value(), 0);
}
