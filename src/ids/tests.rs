use super::*;

#[test]
fn a_sequence_wraps_to_zero_after_the_maximum() {
    assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
    assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
    assert_eq!(Sequence(5).plus(0), Sequence(5));
}

#[test]
fn wire_sentinels_are_no_values() {
    assert_eq!(Offset::from_wire(-1), None);
    assert_eq!(ProducerId::from_wire(-1), None);
    assert_eq!(TopicId::from_bytes([0; 16]), None);
    assert_eq!(PartitionIndex::from_wire(3).map(PartitionIndex::value), Some(3));
}

#[test]
fn the_last_two_producer_epochs_are_exhausted() {
    assert!(!ProducerEpoch(32765).is_exhausted());
    assert!(ProducerEpoch(32766).is_exhausted());
    assert_eq!(ProducerEpoch(32766).next(), Some(ProducerEpoch::MAX));
    assert_eq!(ProducerEpoch::MAX.next(), None);
}

#[test]
fn ids_are_placed_by_javas_string_hash() {
    // "polygenelubricants" is the well-known string whose Java hash is Integer.MIN_VALUE.
    assert_eq!(coordinator_partition("polygenelubricants", 50).value(), 0);
    // "a".hashCode() is 97, "ab" is 97 * 31 + 98 = 3105.
    assert_eq!(coordinator_partition("a", 50).value(), 47);
    assert_eq!(coordinator_partition("ab", 50).value(), 5);
}
