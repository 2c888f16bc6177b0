//! Records out of regions that do not keep their word.

use super::super::{BatchBuilder, BatchOptions, NewRecord, RawRecord, RecordBatch};
use super::*;

fn batch(records: &[NewRecord<'_>]) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    records.iter().for_each(|record| builder.append(*record));
    builder.build()
}

fn records_of(count: i32, region: &[u8]) -> Records {
    let good = batch(&[NewRecord::default(); 3]);
    let header = BatchHeader { record_count: count, ..*good.header() };
    Records::new(&header, Bytes::copy_from_slice(region))
}

#[test]
fn a_malformed_record_ends_the_iteration() {
    let region = batch(&[NewRecord::default(); 2]).records_region();
    let cut = records_of(2, &region[..region.len() - 1]);
    let read: Vec<_> = cut.iter().collect();
    assert!(read[0].is_ok());
    assert_eq!(read[1], Err(BatchError::Record { index: 1, reason: "it is cut off" }));
    assert_eq!(read.len(), 2);
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    let region = batch(&[NewRecord::default(); 2]).records_region();
    let records = records_of(1, &region);
    let read: Vec<_> = records.iter().collect();
    assert_eq!(read.len(), 2);
    assert!(matches!(read[1], Err(BatchError::Header(_))));
}

#[test]
fn malformed_fields_are_named() {
    for (region, reason) in [
        (&[0x01][..], "its length is negative"),
        (&[0x00], "it has no attributes"),
        (&[0x04, 0, 0x80], "its timestamp is malformed"),
        (&[0x04, 0, 0], "its offset is malformed"),
        (&[0x08, 0, 0, 0, 0x10], "its key is malformed"),
        (&[0x0a, 0, 0, 0, 0x01, 0x10], "its value is malformed"),
        (&[0x0a, 0, 0, 0, 0x01, 0x01], "its header count is malformed"),
        (&[0x0c, 0, 0, 0, 0x01, 0x01, 0x01], "its header count is negative"),
        (&[0x0c, 0, 0, 0, 0x01, 0x01, 0x02], "a header's key is malformed"),
        (&[0x0e, 0, 0, 0, 0x01, 0x01, 0x02, 0x01], "a header's key is null"),
        (&[0x0e, 0, 0, 0, 0x01, 0x01, 0x02, 0x00], "a header's value is malformed"),
        (&[0x0e, 0, 0, 0, 0x01, 0x01, 0x00, 0x00], "bytes follow its headers"),
        (&[0x0c, 0, 0, 0x06, 0x01, 0x01, 0x00], "its offset lies outside the batch"),
        (&[0x0c, 0, 0, 0x01, 0x01, 0x01, 0x00], "its offset lies outside the batch"),
    ] {
        let records = records_of(1, region);
        let error = records.iter().next().unwrap().unwrap_err();
        assert_eq!(error, BatchError::Record { index: 0, reason }, "{region:?}");
    }
}

#[test]
fn a_count_beyond_the_records_is_an_error_and_reserves_nothing() {
    let region = batch(&[NewRecord::default()]).records_region();
    let records = records_of(i32::MAX, &region);
    assert_eq!(records.iter().count(), 2);
    assert!(records.iter().last().unwrap().is_err());
}

#[test]
fn raw_headers_pass_from_one_batch_to_another() {
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"a", None), (b"b", Some(b"2"))];
    let first = batch(&[NewRecord { timestamp: 5, value: Some(b"v"), headers, ..NewRecord::default() }]);
    let records = first.records(0).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    let again = RawHeaders::parse(record.raw_headers().bytes()).unwrap();
    assert_eq!((again.count(), again), (2, record.raw_headers()));
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append_raw_body(RawRecord {
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: again,
    });
    assert_eq!(builder.build(), first);
}

#[test]
fn raw_headers_must_be_whole_and_alone() {
    assert_eq!(RawHeaders::parse(&[0]).unwrap(), RawHeaders::NONE);
    assert_eq!(RawHeaders::NONE.iter().count(), 0);
    for bytes in [&[][..], &[0, 0], &[2], &[2, 2, b'k'], &[0xfe, 0xff, 0xff, 0xff, 0x0f]] {
        assert!(RawHeaders::parse(bytes).is_err(), "{bytes:?}");
    }
}
