use proptest::prelude::*;

use super::*;
use crate::ids::{Offset, ProducerEpoch, ProducerId, ProducerIdent, Sequence};
use crate::wire::record_batch::{BatchBuilder, BatchOptions, BatchProducer, NewRecord, Transactional};

const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// Timestamp, key, value.
type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>);
/// Offset, timestamp, key, value.
type Content = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn batch(records: &[Record], compression: Compression) -> RecordBatch {
    let producer = BatchProducer {
        ident: ProducerIdent {
            id: ProducerId::from_wire(7).unwrap(),
            epoch: ProducerEpoch::from_wire(3).unwrap(),
        },
        base_sequence: Sequence::from_wire(40),
    };
    let options = BatchOptions {
        compression,
        producer: Some(producer),
        transactional: Transactional::Yes,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for (timestamp, key, value) in records {
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1"))];
        builder.append(NewRecord {
            timestamp: *timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers,
        });
    }
    builder.build()
}

fn content(batch: &RecordBatch) -> Vec<Content> {
    let records = batch.records(DECOMPRESSED_BYTES_MAX).unwrap();
    let content = |record: super::super::RecordView<'_>| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        (record.offset.value(), record.timestamp, key, value)
    };
    records.iter().map(|record| content(record.unwrap())).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Keep,
    Drop,
    Replace(Option<i64>, Vec<u8>),
}

#[test]
fn a_batch_in_another_codec_has_the_same_records_and_the_same_producer() {
    let records = [(5, Some(b"k".to_vec()), Some(vec![7; 3000])), (9, None, None), (2, None, Some(vec![]))];
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for from in codecs {
        let before = batch(&records, from);
        for to in codecs {
            let after = before.recompressed(to, DECOMPRESSED_BYTES_MAX).unwrap();
            assert_eq!(after.header().compression, to);
            assert_eq!(content(&after), content(&before), "{from:?} to {to:?}");
            assert_eq!(after.header().producer, before.header().producer);
            assert_eq!(after.header().is_transactional, before.header().is_transactional);
            assert_eq!(after.header().max_timestamp, 9);
            assert!(RecordBatch::check(after.bytes().clone()).is_ok(), "its CRC follows");
        }
    }
    let bomb = batch(&records, Compression::Zstd);
    assert!(bomb.recompressed(Compression::None, 100).is_err());
}

fn body_of(value: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_varint(&mut body, -1);
    put_varint(&mut body, i32::try_from(value.len()).unwrap());
    body.extend_from_slice(value);
    put_varint(&mut body, 0);
    body
}

fn rewritten(batch: &RecordBatch, changes: &[Change], keys: KeyRule) -> Result<RecordBatch, BatchError> {
    let bodies: Vec<Vec<u8>> = changes
        .iter()
        .map(|change| match change {
            Change::Replace(_, value) => body_of(value),
            Change::Keep | Change::Drop => Vec::new(),
        })
        .collect();
    let records = batch.records(DECOMPRESSED_BYTES_MAX)?.rewritten(|index| {
        let index = usize::try_from(index).unwrap();
        match &changes[index] {
            Change::Keep => RecordChange::Keep,
            Change::Drop => RecordChange::Drop,
            Change::Replace(timestamp, _) => {
                RecordChange::Replace { timestamp: *timestamp, body: &bodies[index] }
            }
        }
    })?;
    batch.with_records(&records, keys)
}

fn changes() -> impl Strategy<Value = Vec<(Record, Change)>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let change = prop_oneof![
        Just(Change::Keep),
        Just(Change::Drop),
        (proptest::option::of(0..5000i64), proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(timestamp, value)| Change::Replace(timestamp, value)),
    ];
    proptest::collection::vec(((0..5000i64, bytes(), bytes()), change), 1..40)
}

proptest! {
    /// What is left is what was asked for, at the old offsets, under the old producer's sequences.
    #[test]
    fn only_what_was_asked_for_changes(changes in changes(), codec in 0..5usize, base in 0..1_000_000i64) {
        let (records, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let before = batch(&records, Compression::ALL[codec])
            .stamped(Offset::from_wire(base).unwrap(), crate::ids::LeaderEpoch::from_wire(4).unwrap());
        let after = rewritten(&before, &changes, KeyRule::Optional).unwrap();
        let after = RecordBatch::check(after.bytes().clone()).unwrap();
        let expected: Vec<Content> = content(&before)
            .into_iter()
            .zip(&changes)
            .filter_map(|((offset, timestamp, key, value), change)| match change {
                Change::Keep => Some((offset, timestamp, key, value)),
                Change::Drop => None,
                Change::Replace(at, value) => Some((offset, at.unwrap_or(timestamp), None, Some(value.clone()))),
            })
            .collect();
        prop_assert_eq!(content(&after), expected.clone());
        let (old, new) = (before.header(), after.header());
        let newest = expected.iter().map(|record| record.1).max().unwrap_or(old.max_timestamp);
        prop_assert_eq!(new.max_timestamp, newest);
        prop_assert_eq!(usize::try_from(new.record_count).unwrap(), expected.len());
        let codec = if expected.is_empty() { Compression::None } else { old.compression };
        prop_assert_eq!(new.compression, codec);
        prop_assert_eq!(new.is_control, expected.is_empty());
        prop_assert!(new.is_producers_own());
        let same = |header: &BatchHeader| (
            header.base_offset, header.last_offset_delta, header.leader_epoch, header.producer,
            header.base_timestamp, header.is_transactional, header.timestamp_type,
        );
        prop_assert_eq!(same(old), same(new));
    }

    /// A delete horizon moves into the header, and no reader of the records sees a difference.
    #[test]
    fn a_delete_horizon_changes_no_record(
        changes in changes(),
        codec in 0..5usize,
        horizon in 1..i64::MAX / 2,
    ) {
        let records: Vec<Record> = changes.into_iter().map(|(record, _)| record).collect();
        let before = batch(&records, Compression::ALL[codec]);
        let horizon = Timestamp::from_ms(horizon);
        let after = before
            .with_delete_horizon(&before.records(DECOMPRESSED_BYTES_MAX).unwrap(), horizon)
            .unwrap();
        let after = RecordBatch::check(after.bytes().clone()).unwrap();
        prop_assert_eq!(content(&after), content(&before));
        prop_assert_eq!(before.header().delete_horizon(), None);
        prop_assert_eq!(after.header().delete_horizon(), Some(horizon));
        prop_assert_eq!(after.header().max_timestamp, before.header().max_timestamp);
        prop_assert_eq!(after.header().compression, before.header().compression);
    }
}

#[test]
fn what_stays_as_it_is_keeps_its_bytes() {
    let before = batch(&[(5, None, Some(b"a".to_vec())), (6, None, None)], Compression::None);
    let after = rewritten(&before, &[Change::Keep, Change::Keep], KeyRule::Optional).unwrap();
    assert_eq!(after, before);
}

#[test]
fn a_compacted_topic_takes_no_replacement_without_a_key() {
    let before = batch(&[(5, Some(b"k".to_vec()), None)], Compression::Lz4);
    let keyless = [Change::Replace(None, b"v".to_vec())];
    let refused = rewritten(&before, &keyless, KeyRule::Required).unwrap_err();
    assert!(refused.to_string().contains("must have a key"), "{refused}");
    assert!(rewritten(&before, &[Change::Drop], KeyRule::Required).is_ok());
}

#[test]
fn the_time_of_appending_stays() {
    let before = batch(&[(5, None, None), (9, None, None)], Compression::None)
        .with_log_append_time(crate::clock::Timestamp::from_ms(77));
    let after =
        rewritten(&before, &[Change::Replace(Some(1000), Vec::new()), Change::Drop], KeyRule::Optional);
    assert_eq!(content(&after.unwrap()), [(0, 77, None, Some(Vec::new()))]);
}
