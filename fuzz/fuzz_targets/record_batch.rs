//! Record batches: checking, the rules for clients, and reading, over bytes as they come and over
//! batches whose CRC and length have been put right, so that damage gets past them.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tidemill::wire::control_record::EndTransactionMarker;
use tidemill::wire::record_batch::{
    BatchBuilder, BatchOptions, ClientRules, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, NewRecord,
    RecordBatch,
};

const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut run = Bytes::copy_from_slice(data);
    while let Ok(Some(batch)) = RecordBatch::take_first(&mut run) {
        read(&batch);
    }
    if let Some(batch) = repaired(data) {
        read(&batch);
    }
    round_trip(data);
});

fn read(batch: &RecordBatch) {
    let rules = ClientRules { decompressed_bytes_max: DECOMPRESSED_BYTES_MAX, ..ClientRules::default() };
    let accepted = batch.check_from_client(&rules).is_ok();
    let _ = EndTransactionMarker::from_batch(batch);
    let Ok(records) = batch.records(DECOMPRESSED_BYTES_MAX) else {
        assert!(!accepted);
        return;
    };
    let mut malformed = 0;
    for record in &records {
        match record {
            Ok(record) => assert_eq!(record.headers().count() as i32, record.raw_headers().count()),
            Err(_) => malformed += 1,
        }
    }
    assert!(malformed == 0 || !accepted, "what the rules accept can be read");
}

/// The bytes behind a header's fixed part, with magic, length and CRC that fit them.
fn repaired(data: &[u8]) -> Option<RecordBatch> {
    if data.len() < HEADER_BYTES {
        return None;
    }
    let mut bytes = BytesMut::from(data);
    let length = i32::try_from(bytes.len() - LOG_OVERHEAD_BYTES).ok()?;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    // The CRC is not among what can be computed from outside: the error names the right one.
    let crc = match RecordBatch::check(bytes.clone().freeze()) {
        Ok(batch) => return Some(batch),
        Err(tidemill::wire::record_batch::BatchError::Crc { computed, .. }) => computed,
        Err(_) => return None,
    };
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    RecordBatch::check(bytes.freeze()).ok()
}

/// What is built is accepted and comes back, whatever the codec.
fn round_trip(data: &[u8]) {
    let [codec, value @ ..] = data else {
        return;
    };
    let compression = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    builder.append(NewRecord { value: Some(value), ..NewRecord::default() });
    let batch = RecordBatch::check(builder.build().bytes().clone()).expect("a built batch is a good one");
    batch.check_from_client(&ClientRules::default()).expect("and one that a client may send");
    let records = batch.records(value.len() + 64).expect("and one that can be read");
    let record = records.iter().next().expect("with its record").expect("in order");
    assert_eq!(record.value, Some(value));
}
