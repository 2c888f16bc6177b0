//! Markers against bytes put together by hand.

use super::super::record_batch::fixtures::fixture;
use super::*;
use crate::ids::{ProducerEpoch, ProducerId};

fn marker(result: EndTransaction) -> EndTransactionMarker {
    EndTransactionMarker {
        producer: ProducerIdent {
            id: ProducerId::from_wire(17).unwrap(),
            epoch: ProducerEpoch::from_wire(4).unwrap(),
        },
        result,
        coordinator_epoch: CoordinatorEpoch::from_wire(7).unwrap(),
    }
}

/// A control batch of one record.
fn control(key: &[u8], value: &[u8]) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(BatchProducer { ident: marker(EndTransaction::Commit).producer, base_sequence: None }),
        transactional: Transactional::Yes,
        kind: BatchKind::Control,
        ..BatchOptions::default()
    });
    builder.append(NewRecord { key: Some(key), value: Some(value), ..NewRecord::default() });
    builder.build()
}

#[test]
fn markers_are_the_golden_bytes_and_back() {
    let now = Timestamp::from_ms(1_234);
    for (result, golden) in [
        (EndTransaction::Commit, fixture!("marker_commit")),
        (EndTransaction::Abort, fixture!("marker_abort")),
    ] {
        let batch = marker(result).to_batch(now);
        assert_eq!(batch.bytes(), &golden);
        let read = RecordBatch::check(golden).unwrap();
        assert_eq!(EndTransactionMarker::from_batch(&read), Ok(Some(marker(result))));
        assert!(read.header().is_control && read.header().is_transactional);
        assert_eq!(read.header().last_sequence(), None);
    }
}

#[test]
fn data_and_other_control_records_are_no_markers() {
    let data = RecordBatch::check(fixture!("batch_plain")).unwrap();
    assert_eq!(EndTransactionMarker::from_batch(&data), Ok(None));
    let leader_change = control(&[0, 0, 0, 2], b"");
    assert_eq!(EndTransactionMarker::from_batch(&leader_change), Ok(None));
}

#[test]
fn newer_markers_with_more_behind_are_read() {
    let newer = control(&[0, 1, 0, 1, 9], &[0, 1, 0, 0, 0, 7, 1, 2, 3]);
    assert_eq!(EndTransactionMarker::from_batch(&newer), Ok(Some(marker(EndTransaction::Commit))));
}

#[test]
fn malformed_markers_are_errors() {
    for (key, value) in [
        (&[0, 0, 0][..], &[0, 0, 0, 0, 0, 7][..]),
        (&[0xff, 0xff, 0, 1], &[0, 0, 0, 0, 0, 7]),
        (&[0, 0, 0, 1], &[0, 0, 0, 0]),
        (&[0, 0, 0, 1], &[0xff, 0, 0, 0, 0, 7]),
        (&[0, 0, 0, 1], &[0, 0, 0xff, 0, 0, 7]),
    ] {
        assert!(EndTransactionMarker::from_batch(&control(key, value)).is_err(), "{key:?} {value:?}");
    }
}
