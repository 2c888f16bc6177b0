//! Whole batches: checking, splitting, stamping, and Kafka's own codec as the oracle.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::clock::Timestamp;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdent, Sequence};

fn producer(id: i64, epoch: i16, sequence: i32) -> BatchProducer {
    BatchProducer {
        ident: ProducerIdent {
            id: ProducerId::from_wire(id).unwrap(),
            epoch: ProducerEpoch::from_wire(epoch).unwrap(),
        },
        base_sequence: Sequence::from_wire(sequence),
    }
}

fn batch_of(values: &[&str]) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (index, value) in values.iter().enumerate() {
        builder.append(NewRecord {
            timestamp: 1_000 + index as i64,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[(b"h", Some(b"1")), (b"n", None)],
        });
    }
    builder.build()
}

fn values(batch: &RecordBatch) -> Vec<String> {
    let records = batch.records(1 << 20).unwrap();
    records.iter().map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn what_was_appended_is_read_back() {
    let batch = batch_of(&["a", "b", "c"]);
    let again = RecordBatch::check(batch.bytes().clone()).unwrap();
    assert_eq!(again, batch);
    assert_eq!(values(&again), ["a", "b", "c"]);
    let header = again.header();
    assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_002));
    assert_eq!((header.last_offset_delta, header.record_count), (2, 3));
    let records = again.records(0).unwrap();
    let first = records.iter().next().unwrap().unwrap();
    assert_eq!(first.headers().collect::<Vec<_>>(), [(&b"h"[..], Some(&b"1"[..])), (b"n", None)]);
}

#[test]
fn a_flipped_bit_after_the_crc_is_found() {
    let good = batch_of(&["a", "b"]);
    for at in CRC_AT..good.bytes().len() {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 0x10;
        let error = RecordBatch::check(Bytes::from(bytes)).unwrap_err();
        assert!(matches!(error, BatchError::Crc { .. }), "{at}: {error}");
    }
}

#[test]
fn batches_are_split_off_a_run_and_a_partial_one_is_left() {
    let (first, second) = (batch_of(&["a"]), batch_of(&["b", "c"]));
    let mut run = BytesMut::new();
    run.extend_from_slice(first.bytes());
    run.extend_from_slice(second.bytes());
    run.extend_from_slice(&first.bytes()[..70]);
    let mut run = run.freeze();
    assert_eq!(RecordBatch::take_first(&mut run).unwrap(), Some(first));
    assert_eq!(RecordBatch::take_first(&mut run).unwrap(), Some(second));
    assert_eq!(RecordBatch::take_first(&mut run).unwrap(), None);
    assert_eq!(run.len(), 70);
    run.truncate(5);
    assert_eq!(RecordBatch::take_first(&mut run).unwrap(), None);
}

#[test]
fn exactly_one_batch_is_taken() {
    let batch = batch_of(&["a"]);
    let twice = [batch.bytes().as_ref(), batch.bytes()].concat();
    assert_eq!(RecordBatch::check(Bytes::from(twice)), Err(BatchError::NotOneBatch));
    assert_eq!(RecordBatch::check(Bytes::new()), Err(BatchError::NotOneBatch));
    for cut in 1..batch.bytes().len() {
        let error = RecordBatch::check(batch.bytes().slice(..cut)).unwrap_err();
        assert!(matches!(error, BatchError::Truncated { .. }), "{cut}: {error}");
    }
}

#[test]
fn stamping_leaves_the_crc_right() {
    let batch = batch_of(&["a", "b"]);
    let offset = Offset::from_wire(1 << 40).unwrap();
    let stamped = batch.stamped(offset, LeaderEpoch::from_wire(7).unwrap());
    let again = RecordBatch::check(stamped.bytes().clone()).unwrap();
    assert_eq!(again.header().base_offset, offset);
    assert_eq!(again.header().last_offset().value(), (1 << 40) + 1);
    assert_eq!(again.header().leader_epoch.unwrap().value(), 7);
    assert_eq!(again.header().crc, batch.header().crc);
    assert_eq!(again.bytes()[CRC_AT..], batch.bytes()[CRC_AT..]);
}

#[test]
fn the_brokers_time_overrides_the_records() {
    let batch = batch_of(&["a", "b"]).with_log_append_time(Timestamp::from_ms(9_999));
    let again = RecordBatch::check(batch.bytes().clone()).unwrap();
    assert_eq!(again.header().timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(again.log_append_time(), Some(Timestamp::from_ms(9_999)));
    let records = again.records(0).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == 9_999));
}

#[test]
fn sequences_wrap() {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(producer(5, 1, i32::MAX)),
        ..BatchOptions::default()
    });
    builder.append(NewRecord::default());
    builder.append(NewRecord::default());
    assert_eq!(builder.build().header().last_sequence(), Some(Sequence::ZERO));
}
