//! Units: batches in a producer's name, in sequence, none too large.

use super::*;
use crate::ids::{PartitionIndex, ProducerEpoch, ProducerId, TopicName};
use crate::wire::record_batch::RawHeaders;

fn producer() -> ProducerIdent {
    let epoch = ProducerEpoch::from_wire(7).unwrap();
    ProducerIdent { id: ProducerId::from_wire(42).unwrap(), epoch }
}

fn record(value: &[u8]) -> RawRecord<'_> {
    RawRecord { timestamp: 9, key: Some(b"k"), value: Some(value), headers: RawHeaders::NONE }
}

#[test]
fn batches_carry_the_producer_and_consecutive_sequences() {
    let to = TopicPartition::new(TopicName::new("out"), PartitionIndex::ZERO);
    let mut unit = Unit::new([Offset::ZERO]);
    let value = vec![b'x'; 300 << 10];
    for _ in 0..7 {
        unit.append(&to, record(&value));
    }
    assert!(unit.bytes() > 7 * value.len());
    let all = unit.into_batches(Some(producer()));
    let (partition, batches) = &all[0];
    assert_eq!((partition, batches.len()), (&to, 4));
    let mut expected = 0;
    for batch in batches {
        let header = batch.header();
        assert!(header.is_transactional && header.batch_bytes <= BATCH_BYTES_MAX);
        let claim = header.producer.unwrap();
        assert_eq!((claim.ident, claim.base_sequence.unwrap().value()), (producer(), expected));
        expected += header.record_count;
    }
    assert_eq!(expected, 7);
}

#[test]
fn a_record_larger_than_a_batch_goes_alone() {
    let to = TopicPartition::new(TopicName::new("out"), PartitionIndex::ZERO);
    let mut unit = Unit::new([Offset::ZERO]);
    unit.append(&to, record(b"small"));
    unit.append(&to, record(&vec![b'x'; 2 << 20]));
    unit.append(&to, record(b"small"));
    let all = unit.into_batches(Some(producer()));
    let counts = all[0].1.iter().map(|batch| batch.header().record_count).collect::<Vec<_>>();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn a_moved_position_alone_is_no_record() {
    let mut unit = Unit::new([Offset::ZERO]);
    unit.progress[0].next_offset = Offset::ZERO.next();
    assert!(unit.is_without_records());
    assert!(unit.into_batches(Some(producer())).is_empty());
}
