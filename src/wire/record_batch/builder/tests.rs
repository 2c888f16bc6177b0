//! What the builder puts into the header.

use super::*;

fn at(timestamp: i64) -> NewRecord<'static> {
    NewRecord { timestamp, ..NewRecord::default() }
}

#[test]
fn deltas_are_relative_to_the_first_record_even_when_time_goes_back() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    [500, 400, 700].map(at).into_iter().for_each(|record| builder.append(record));
    let batch = builder.build();
    assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (500, 700));
    let records = batch.records(0).unwrap();
    let timestamps: Vec<_> = records.iter().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(timestamps, [500, 400, 700]);
}

#[test]
fn a_given_base_timestamp_is_kept() {
    let mut builder =
        BatchBuilder::new(BatchOptions { base_timestamp: Some(100), ..BatchOptions::default() });
    builder.append(at(150));
    let batch = builder.build();
    assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (100, 150));
}

#[test]
fn records_without_timestamps_give_none() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(at(-1));
    assert_eq!(builder.build().header().max_timestamp, -1);
}

#[test]
fn the_extremes_of_time_survive() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    [i64::MIN, i64::MAX, 0].map(at).into_iter().for_each(|record| builder.append(record));
    let records = builder.build().records(0).unwrap();
    let timestamps: Vec<_> = records.iter().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(timestamps, [i64::MIN, i64::MAX, 0]);
}

#[test]
fn size_and_count_are_known_beforehand() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    assert!(builder.is_empty());
    assert_eq!(builder.len_bytes(), HEADER_BYTES);
    builder.append(NewRecord { value: Some(&[1; 100]), ..NewRecord::default() });
    assert_eq!((builder.is_empty(), builder.record_count()), (false, 1));
    let expected = builder.len_bytes();
    assert_eq!(builder.build().bytes().len(), expected);
}

#[test]
fn attributes_say_what_the_options_said() {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::Zstd,
        transactional: Transactional::Yes,
        kind: BatchKind::Control,
        timestamp_type: TimestampType::LogAppendTime,
        ..BatchOptions::default()
    });
    builder.append(at(9));
    let header = *builder.build().header();
    assert!(header.is_transactional && header.is_control && !header.has_delete_horizon);
    assert_eq!(header.compression, Compression::Zstd);
    assert_eq!(header.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(header.producer, None);
}

#[test]
fn without_records_the_batch_is_empty() {
    let batch = BatchBuilder::new(BatchOptions::default()).build();
    assert_eq!((batch.header().record_count, batch.bytes().len()), (0, HEADER_BYTES));
    assert_eq!(batch.records(0).unwrap().iter().count(), 0);
}
