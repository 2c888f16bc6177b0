//! Records as bytes: what is written is read, Kafka's layouts are met, hostile bytes are refused.

use proptest::prelude::*;

use super::{DecodeError, TxnRecord};
use crate::clock::Timestamp;
use crate::coordinator::txn::{TransactionMetadata, TransactionNumber, TransactionState};
use crate::ids::{
    PartitionIndex, ProducerEpoch, ProducerId, ProducerIdent, TopicName, TopicPartition, TransactionalId,
};
use crate::wire::control_record::TransactionVersion;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn ongoing() -> TxnRecord {
    let producer_id = ProducerId::from_wire(0x0102).unwrap();
    let mut metadata = TransactionMetadata::new(producer_id, 60_000, Timestamp::from_ms(0x0a0b));
    metadata.state = TransactionState::Ongoing;
    metadata.producer.epoch = ProducerEpoch::from_wire(7).unwrap();
    metadata.start = Some(Timestamp::from_ms(0x0a00));
    metadata.version = TransactionVersion::V2;
    metadata.last_producer_epoch = ProducerEpoch::from_wire(6);
    metadata.previous_producer_id = ProducerId::from_wire(5);
    metadata.transaction = TransactionNumber::from_wire(3).unwrap();
    metadata.partitions = [1, 2]
        .map(|index| TopicPartition::new(TopicName::new("t"), PartitionIndex::from_wire(index).unwrap()))
        .into();
    TxnRecord { transactional_id: TransactionalId::new("pay"), metadata: Some(metadata) }
}

#[test]
fn a_value_is_laid_out_as_kafkas_transaction_log_value_of_version_one() {
    let (key, value) = ongoing().encode();
    assert_eq!(key, hex("0000 0003 706179"));
    let expected = hex("0001 0000000000000102 0007 0000ea60 01 \
         02 02 74 03 00000001 00000002 00 \
         0000000000000a0b 0000000000000a00 \
         04 00 08 0000000000000005 02 02 0002 904e 02 0006 914e 08 0000000000000003");
    assert_eq!(value.unwrap(), expected);
}

#[test]
fn kafkas_classic_value_of_version_zero_is_read() {
    let value = hex("0000 0000000000000102 0007 0000ea60 04 \
         00000001 0001 74 00000002 00000001 00000002 \
         0000000000000a0b ffffffffffffffff");
    let record = TxnRecord::decode(&hex("0000 0003 706179"), Some(&value)).unwrap().unwrap();
    let metadata = record.metadata.unwrap();
    assert_eq!(metadata.state, TransactionState::CompleteCommit);
    assert_eq!(metadata.partitions.len(), 2);
    assert_eq!(metadata.start, None);
    assert_eq!(metadata.last_producer_epoch, None);
    assert_eq!(metadata.version, TransactionVersion::V1);
}

#[test]
fn the_partitions_of_an_empty_id_are_null_on_disk() {
    let mut record = ongoing();
    let metadata = record.metadata.as_mut().unwrap();
    metadata.state = TransactionState::Empty;
    metadata.partitions.clear();
    let (key, value) = record.encode();
    let value = value.unwrap();
    assert_eq!(value[17], 0);
    assert_eq!(TxnRecord::decode(&key, Some(&value)), Ok(Some(record)));
    let mut classic = value[..17].to_vec();
    classic[1] = 0;
    classic.extend([0xff; 4]);
    classic.extend([0; 16]);
    assert!(TxnRecord::decode(&key, Some(&classic)).is_ok());
}

#[test]
fn tags_of_newer_writers_and_kafkas_written_defaults_are_passed_over() {
    let (key, value) = ongoing().encode();
    let value = value.unwrap();
    let fields = value.len() - 1 - 10 - 4 - 5 - 11;
    let mut changed = value[..fields].to_vec();
    changed.extend(hex("02 01 08 ffffffffffffffff 63 03 aabbcc"));
    let metadata = TxnRecord::decode(&key, Some(&changed)).unwrap().unwrap().metadata.unwrap();
    assert_eq!(metadata.next_producer_id, None);
    assert_eq!(metadata.transaction, TransactionNumber::ZERO);
}

#[test]
fn a_tombstone_has_no_value_and_newer_keys_are_skipped() {
    let record = TxnRecord { transactional_id: TransactionalId::new("pay"), metadata: None };
    let (key, value) = record.encode();
    assert_eq!(value, None);
    assert_eq!(TxnRecord::decode(&key, None), Ok(Some(record)));
    assert_eq!(TxnRecord::decode(&hex("0001 ff"), Some(&[])), Ok(None));
}

#[test]
fn hostile_bytes_are_refused_and_allocate_nothing() {
    let (key, value) = ongoing().encode();
    let value = value.unwrap();
    for end in 0..value.len() {
        assert!(TxnRecord::decode(&key, Some(&value[..end])).is_err());
    }
    for end in 0..key.len() {
        assert!(TxnRecord::decode(&key[..end], None).is_err());
    }
    assert!(TxnRecord::decode(&hex("0000 ffff"), None).is_err());
    assert_eq!(TxnRecord::decode(&hex("0000 0001 ff"), None), Err(DecodeError::NotUtf8("transactional id")));
    let mut newer = value.to_vec();
    newer[1] = 2;
    assert_eq!(TxnRecord::decode(&key, Some(&newer)), Err(DecodeError::UnknownValueVersion(2)));
    let mut state = value.to_vec();
    state[16] = 7;
    assert!(TxnRecord::decode(&key, Some(&state)).is_err());
    let mut huge = value[..17].to_vec();
    huge.extend(hex("ffffffff0f"));
    assert!(TxnRecord::decode(&key, Some(&huge)).is_err());
}

fn metadata() -> impl Strategy<Value = TransactionMetadata> {
    let ident = (0..i64::MAX, 0..=i16::MAX);
    let ids = (proptest::option::of(0..i64::MAX), proptest::option::of(0..i64::MAX));
    let last = proptest::option::of(0..=i16::MAX);
    let partitions = proptest::collection::btree_set(("[a-z]{1,200}", 0..i32::MAX), 0..12);
    let times = (any::<i64>(), proptest::option::of(0..i64::MAX), 0..i64::MAX);
    (ident, ids, last, any::<i32>(), 1..6i8, partitions, times, any::<bool>()).prop_map(
        |((id, epoch), (previous, next), last, timeout_ms, state, partitions, times, v2)| {
            let partition = |(topic, index): (String, i32)| {
                TopicPartition::new(TopicName::new(topic), PartitionIndex::from_wire(index).unwrap())
            };
            TransactionMetadata {
                producer: ProducerIdent {
                    id: ProducerId::from_wire(id).unwrap(),
                    epoch: ProducerEpoch::from_wire(epoch).unwrap(),
                },
                previous_producer_id: previous.and_then(ProducerId::from_wire),
                next_producer_id: next.and_then(ProducerId::from_wire),
                last_producer_epoch: last.and_then(ProducerEpoch::from_wire),
                timeout_ms,
                state: TransactionState::from_id(state).unwrap(),
                partitions: partitions.into_iter().map(partition).collect(),
                start: times.1.map(Timestamp::from_ms),
                last_update: Timestamp::from_ms(times.0),
                version: if v2 { TransactionVersion::V2 } else { TransactionVersion::V1 },
                transaction: TransactionNumber::from_wire(times.2).unwrap(),
            }
        },
    )
}

proptest! {
    #[test]
    fn every_record_reads_back_as_it_was_written(id in ".{0,40}", metadata in metadata()) {
        let record = TxnRecord { transactional_id: TransactionalId::new(id), metadata: Some(metadata) };
        let (key, value) = record.encode();
        let value = value.unwrap();
        prop_assert!(key.len() + value.len() <= record.estimated_bytes());
        prop_assert_eq!(TxnRecord::decode(&key, Some(&value)), Ok(Some(record)));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(key in any::<Vec<u8>>(), value in any::<Vec<u8>>(), at in 0..80usize) {
        let _ = TxnRecord::decode(&key, Some(&value));
        let (key, valid) = ongoing().encode();
        let mut damaged = valid.unwrap().to_vec();
        let at = at % damaged.len();
        damaged.splice(at.., value);
        let _ = TxnRecord::decode(&key, Some(&damaged));
    }
}
