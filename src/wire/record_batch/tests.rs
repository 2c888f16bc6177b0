//! Whole batches: checking, splitting, stamping, and Kafka's own codec as the oracle.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as OracleCompression, Record as OracleRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType as OracleTimestampType,
};
use proptest::prelude::*;

use super::fixtures::fixture;

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

#[test]
fn the_golden_batch_is_what_the_builder_builds() {
    let golden = RecordBatch::check(fixture!("batch_plain")).unwrap();
    let mut builder =
        BatchBuilder::new(BatchOptions { producer: Some(producer(17, 3, 40)), ..BatchOptions::default() });
    builder.append(NewRecord {
        timestamp: 1_000,
        key: Some(b"k"),
        value: Some(b"one"),
        ..NewRecord::default()
    });
    builder.append(NewRecord {
        timestamp: 1_005,
        headers: &[(b"h", Some(b"v")), (b"n", None)],
        ..NewRecord::default()
    });
    assert_eq!(builder.len_bytes(), golden.bytes().len());
    assert_eq!(builder.build(), golden);
    let header = golden.header();
    assert_eq!(header.producer, Some(producer(17, 3, 40)));
    assert_eq!(header.last_sequence(), Sequence::from_wire(41));
    assert_eq!(header.leader_epoch, None);
}

#[test]
fn the_golden_batches_of_every_codec_hold_the_same_records() {
    let plain = RecordBatch::check(fixture!("batch_plain")).unwrap().records(0).unwrap();
    for (compression, bytes) in [
        (Compression::Gzip, fixture!("batch_gzip")),
        (Compression::Snappy, fixture!("batch_snappy_raw")),
        (Compression::Snappy, fixture!("batch_snappy_java")),
        (Compression::Lz4, fixture!("batch_lz4")),
        (Compression::Zstd, fixture!("batch_zstd")),
    ] {
        let batch = RecordBatch::check(bytes).unwrap();
        assert_eq!(batch.header().compression, compression);
        let records = batch.records(25).unwrap();
        assert_eq!(records.bytes(), plain.bytes(), "{compression}");
        assert!(records.iter().eq(plain.iter()), "{compression}");
        assert_eq!(batch.records(24).unwrap_err(), BatchError::DecompressedTooLarge { max_bytes: 24 });
        batch.check_from_client(&ClientRules::default()).unwrap();
    }
}

#[test]
fn a_batch_emptied_by_compaction_keeps_its_place() {
    let batch = RecordBatch::check(fixture!("batch_emptied")).unwrap();
    assert_eq!(batch.header().last_offset().value(), 509);
    assert_eq!(batch.header().last_sequence(), Sequence::from_wire(49));
    assert_eq!(batch.header().leader_epoch, LeaderEpoch::from_wire(6));
    assert_eq!(batch.records(0).unwrap().iter().count(), 0);
}

#[test]
fn headers_that_no_batch_has_are_refused() {
    let change = |at: usize, bytes: &[u8]| {
        let mut batch = fixture!("batch_plain").to_vec();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        BatchHeader::parse(&batch).unwrap_err()
    };
    assert_eq!(change(8, &(-1i32).to_be_bytes()), BatchError::BadLength(-1));
    assert_eq!(change(8, &48i32.to_be_bytes()), BatchError::BadLength(48));
    assert_eq!(change(MAGIC_AT, &[1]), BatchError::Magic(1));
    assert_eq!(change(22, &[5]), BatchError::UnknownCompression(5));
    for (at, bytes) in [
        (0, (-1i64).to_be_bytes().as_slice()),
        (0, &i64::MAX.to_be_bytes()),
        (23, &(-1i32).to_be_bytes()),
        (51, &(-1i16).to_be_bytes()),
        (57, &(-1i32).to_be_bytes()),
        (57, &3i32.to_be_bytes()),
    ] {
        assert!(matches!(change(at, bytes), BatchError::Header(_)), "{at}");
    }
    assert!(matches!(BatchHeader::parse(&[0; 60]), Err(BatchError::Truncated { needed: 61, got: 60 })));
}

#[test]
fn old_message_formats_are_named_even_when_shorter_than_a_header() {
    for magic in [0, 1] {
        let mut message = vec![0; 40];
        message[11] = 28;
        message[MAGIC_AT] = magic;
        let error = RecordBatch::check(Bytes::from(message)).unwrap_err();
        assert_eq!(error, BatchError::Magic(magic as i8));
        assert_eq!(error.error_code().code(), 87);
    }
}

#[test]
fn errors_are_answered_with_the_codes_that_clients_understand() {
    let code = |error: BatchError| error.error_code().code();
    assert_eq!(code(BatchError::Crc { stored: 0, computed: 1 }), 2);
    assert_eq!(code(BatchError::NotOneBatch), 87);
    assert_eq!(code(BatchError::AppendTimeFromClient), 32);
    assert_eq!(code(BatchError::DecompressedTooLarge { max_bytes: 1 }), 10);
    assert_eq!(code(BatchError::UnknownCompression(7)), 76);
    let record = BatchError::Record { index: 3, reason: "" };
    assert_eq!((record.record_index(), code(record)), (Some(3), 87));
}

/// A record as a test makes it up.
#[derive(Clone, Debug)]
struct Made {
    timestamp_step: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..90));
    let headers = proptest::collection::vec(("[a-z]{0,70}", bytes()), 0..4);
    (0i64..100_000, bytes(), bytes(), headers).prop_map(|(timestamp_step, key, value, headers)| Made {
        timestamp_step,
        key,
        value,
        headers,
    })
}

fn build(made: &[Made], options: BatchOptions) -> RecordBatch {
    let mut builder = BatchBuilder::new(options);
    let mut timestamp = 1_700_000_000_000;
    for record in made {
        timestamp += record.timestamp_step;
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        builder.append(NewRecord {
            timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    builder.build()
}

/// What the codec crate makes of the same records. It keeps headers in a map, so without doubles.
fn oracle_records(made: &[Made]) -> Vec<OracleRecord> {
    let mut timestamp = 1_700_000_000_000;
    let record = |(index, record): (usize, &Made)| {
        timestamp += record.timestamp_step;
        let headers = record
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)));
        OracleRecord {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 17,
            producer_epoch: 3,
            timestamp_type: OracleTimestampType::Creation,
            offset: index as i64,
            sequence: 40 + index as i32,
            timestamp,
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: headers.collect::<IndexMap<_, _>>(),
        }
    };
    made.iter().enumerate().map(record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn built_batches_are_the_crates_byte_for_byte(mut made in proptest::collection::vec(made(), 1..20)) {
        for record in &mut made {
            record.headers.dedup_by(|left, right| left.0 == right.0);
            record.headers.truncate(2);
        }
        let batch = build(&made, BatchOptions {
            producer: Some(producer(17, 3, 40)),
            transactional: Transactional::Yes,
            ..BatchOptions::default()
        });
        let records = oracle_records(&made);
        let mut oracle = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: OracleCompression::None };
        RecordBatchEncoder::encode(&mut oracle, &records, &options).unwrap();
        prop_assert_eq!(batch.bytes(), &oracle.freeze());
        let read = RecordBatchDecoder::decode(&mut batch.bytes().clone()).unwrap();
        prop_assert_eq!(read.records, records);
    }

    #[test]
    fn records_survive_every_codec(made in proptest::collection::vec(made(), 1..20), codec in 0usize..5) {
        let compression = Compression::ALL[codec];
        let batch = build(&made, BatchOptions { compression, ..BatchOptions::default() });
        let batch = RecordBatch::check(batch.bytes().clone()).unwrap();
        let check = batch.check_from_client(&ClientRules::default()).unwrap();
        prop_assert_eq!(check.max_timestamp, batch.header().max_timestamp);
        let records = batch.records(1 << 20).unwrap();
        prop_assert_eq!(records.iter().count(), made.len());
        for (read, made) in records.iter().zip(&made) {
            let read = read.unwrap();
            prop_assert_eq!(read.key, made.key.as_deref());
            prop_assert_eq!(read.value, made.value.as_deref());
            let headers = made.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
            prop_assert!(read.headers().eq(headers));
        }
    }

    #[test]
    fn mutated_batches_are_read_or_refused(
        made in proptest::collection::vec(made(), 1..6),
        codec in 0usize..5,
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..5),
    ) {
        let compression = Compression::ALL[codec];
        let batch = build(&made, BatchOptions { compression, ..BatchOptions::default() });
        let mut bytes = batch.bytes().to_vec();
        for (at, byte) in changes {
            let at = ATTRIBUTES_AT + usize::from(at) % (bytes.len() - ATTRIBUTES_AT);
            bytes[at] = byte;
        }
        // With the CRC put right, so that the damage gets past it.
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        if let Ok(batch) = RecordBatch::check(Bytes::from(bytes)) {
            let rules = ClientRules { decompressed_bytes_max: 1 << 16, ..ClientRules::default() };
            let accepted = batch.check_from_client(&rules).is_ok();
            if let Ok(records) = batch.records(1 << 16) {
                let readable = records.iter().all(|record| record.is_ok());
                prop_assert!(readable || !accepted);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes: Vec<u8>) {
        let _ = RecordBatch::check(Bytes::from(bytes.clone()));
        let _ = RecordBatch::take_first(&mut Bytes::from(bytes));
    }
}
