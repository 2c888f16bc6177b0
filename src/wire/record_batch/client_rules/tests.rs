//! Each rule for clients, broken once.

use bytes::Bytes;

use super::super::fixtures::fixture;
use super::super::{ATTRIBUTES_AT, BatchBuilder, BatchOptions, CRC_AT, NewRecord};
use super::*;

fn batch(compression: Compression) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for timestamp in [1_000, 3_000, 2_000] {
        builder.append(NewRecord {
            timestamp,
            key: Some(b"k"),
            value: Some(b"value"),
            ..NewRecord::default()
        });
    }
    builder.build()
}

/// The batch with bytes changed behind the CRC's back.
fn changed(batch: &RecordBatch, at: usize, bytes: &[u8]) -> RecordBatch {
    let mut whole = batch.bytes().to_vec();
    whole[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&whole[ATTRIBUTES_AT..]);
    whole[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    RecordBatch::check(Bytes::from(whole)).unwrap()
}

fn refusal(batch: &RecordBatch, rules: &ClientRules) -> i16 {
    batch.check_from_client(rules).unwrap_err().error_code().code()
}

#[test]
fn good_batches_pass_with_their_largest_timestamp() {
    for codec in Compression::ALL {
        let check = batch(codec).check_from_client(&ClientRules::default()).unwrap();
        assert_eq!(check, ClientCheck { max_timestamp: 3_000 }, "{codec}");
    }
}

#[test]
fn header_rules_are_kept() {
    let rules = ClientRules::default();
    let good = batch(Compression::None);
    let offset = changed(&good, 7, &[1]);
    let control = changed(&good, 22, &[0x20]);
    let delete_horizon = changed(&good, 22, &[0x40]);
    let transactional_without_producer = changed(&good, 22, &[0x10]);
    let producer_without_sequence = changed(&good, 43, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    let fewer_records = changed(&good, 57, &2i32.to_be_bytes());
    let larger_delta = changed(&good, 23, &3i32.to_be_bytes());
    let no_records = RecordBatch::check(fixture!("batch_emptied")).unwrap();
    for batch in [
        offset,
        control,
        delete_horizon,
        transactional_without_producer,
        producer_without_sequence,
        fewer_records,
        larger_delta,
        no_records,
    ] {
        assert_eq!(refusal(&batch, &rules), 87, "{:?}", batch.header());
    }
    assert_eq!(refusal(&changed(&good, 22, &[0x08]), &rules), 32);
}

#[test]
fn sizes_are_bounded_before_and_after_decompression() {
    let small = ClientRules { batch_bytes_max: 50, ..ClientRules::default() };
    assert_eq!(refusal(&batch(Compression::None), &small), 10);
    let small = ClientRules { decompressed_bytes_max: 20, ..ClientRules::default() };
    assert_eq!(refusal(&batch(Compression::Gzip), &small), 10);
}

#[test]
fn old_requests_may_not_use_zstd() {
    let old = ClientRules { zstd: ZstdRule::Refused, ..ClientRules::default() };
    assert_eq!(refusal(&batch(Compression::Zstd), &old), 76);
    batch(Compression::Lz4).check_from_client(&old).unwrap();
}

#[test]
fn compacted_topics_want_keys() {
    let compacted = ClientRules { keys: KeyRule::Required, ..ClientRules::default() };
    batch(Compression::None).check_from_client(&compacted).unwrap();
    let keyless = RecordBatch::check(fixture!("batch_plain")).unwrap();
    keyless.check_from_client(&ClientRules::default()).unwrap();
    let error = keyless.check_from_client(&compacted).unwrap_err();
    assert_eq!((error.error_code().code(), error.record_index()), (87, Some(1)));
}

#[test]
fn timestamps_must_lie_in_the_range_unless_there_is_none() {
    let rules = ClientRules { timestamp_earliest: 500, timestamp_latest: 2_500, ..ClientRules::default() };
    let error = batch(Compression::Snappy).check_from_client(&rules).unwrap_err();
    assert_eq!((error.error_code().code(), error.record_index()), (32, Some(1)));
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NewRecord { timestamp: -1, ..NewRecord::default() });
    builder.build().check_from_client(&rules).unwrap();
}

#[test]
fn offset_deltas_must_be_contiguous() {
    let good = RecordBatch::check(fixture!("batch_plain")).unwrap();
    // The second record's offset delta: behind the header, the first record, and three bytes.
    let gap = changed(&good, 61 + 11 + 3, &[0x00]);
    let error = gap.check_from_client(&ClientRules::default()).unwrap_err();
    assert_eq!(error, BatchError::Record { index: 1, reason: "the offset deltas are not contiguous" });
}

#[test]
fn a_header_that_understates_its_time_can_be_put_right() {
    let wrong = changed(&batch(Compression::None), 35, &7i64.to_be_bytes());
    let check = wrong.check_from_client(&ClientRules::default()).unwrap();
    assert_eq!((wrong.header().max_timestamp, check.max_timestamp), (7, 3_000));
    let right = wrong.with_max_timestamp(check.max_timestamp);
    assert_eq!(RecordBatch::check(right.bytes().clone()).unwrap(), batch(Compression::None));
}
