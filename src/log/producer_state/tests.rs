//! What a partition remembers of its producers, by the behaviours of Kafka's
//! `ProducerStateManagerTest`.

use super::*;
use crate::ids::LeaderEpoch;
use crate::log::producer_snapshot;
use crate::wire::record_batch::RecordBatch;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord, Transactional};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

/// A producers' table with the log's end, so that a test reads as a list of events.
#[derive(Default)]
struct Fixture {
    states: ProducerStates,
    end: i64,
}

#[derive(Clone, Copy)]
struct Sent {
    epoch: i16,
    sequence: i32,
    count: i32,
    transactional: Transactional,
}

fn plain(epoch: i16, sequence: i32, count: i32) -> Sent {
    Sent { epoch, sequence, count, transactional: Transactional::No }
}

fn transactional(epoch: i16, sequence: i32, count: i32) -> Sent {
    Sent { epoch, sequence, count, transactional: Transactional::Yes }
}

fn ident(epoch: i16) -> ProducerIdent {
    ProducerIdent { id: ProducerId::from_wire(7).unwrap(), epoch: ProducerEpoch::from_wire(epoch).unwrap() }
}

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

fn batch(sent: Sent) -> RecordBatch {
    let base_sequence = Sequence::from_wire(sent.sequence);
    let producer = Some(BatchProducer { ident: ident(sent.epoch), base_sequence });
    let mut builder =
        BatchBuilder::new(BatchOptions { producer, transactional: sent.transactional, ..Default::default() });
    for _ in 0..sent.count {
        builder.append(NewRecord { timestamp: NOW.ms(), ..Default::default() });
    }
    builder.build()
}

fn header_at(sent: Sent, base_offset: i64) -> BatchHeader {
    *batch(sent).stamped(offset(base_offset), LeaderEpoch::ZERO).header()
}

fn marker(epoch: i16, result: EndTransaction, coordinator_epoch: i32) -> EndTransactionMarker {
    let coordinator_epoch = CoordinatorEpoch::from_wire(coordinator_epoch).unwrap();
    EndTransactionMarker { producer: ident(epoch), result, coordinator_epoch }
}

const UNVERIFIED: TransactionCheck = TransactionCheck::Unverified;
const V1: TransactionCheck = TransactionCheck::Verified(TransactionVersion::V1);
const V2: TransactionCheck = TransactionCheck::Verified(TransactionVersion::V2);

impl Fixture {
    /// The base offset it got, the original's for a duplicate, or the refusal.
    fn send_as(&mut self, sent: Sent, verified: TransactionCheck) -> Result<i64, ErrorCode> {
        let header = header_at(sent, self.end);
        match self.states.check_data(&header, DataCheck { origin: AppendOrigin::Client, verified }) {
            Ok(Verdict::Append) => {
                self.states.apply_data(&header, NOW);
                self.end = header.last_offset().next().value();
                Ok(header.base_offset.value())
            }
            Ok(Verdict::Duplicate(original)) => Ok(original.first_offset().value()),
            Err(AppendError::Reject { code, .. }) => Err(code),
            Err(AppendError::Failed(error)) => panic!("{error}"),
        }
    }

    fn send(&mut self, sent: Sent) -> Result<i64, ErrorCode> {
        self.send_as(sent, V1)
    }

    fn mark_as(
        &mut self,
        marker: EndTransactionMarker,
        version: TransactionVersion,
    ) -> Result<(), ErrorCode> {
        match self.states.check_marker(&marker, version) {
            Ok(()) => {
                self.states.apply_marker(&marker, offset(self.end), NOW.ms(), NOW);
                self.end += 1;
                Ok(())
            }
            Err(AppendError::Reject { code, .. }) => Err(code),
            Err(AppendError::Failed(error)) => panic!("{error}"),
        }
    }

    fn mark(&mut self, epoch: i16, result: EndTransaction) -> Result<(), ErrorCode> {
        self.mark_as(marker(epoch, result, 0), TransactionVersion::V1)
    }

    fn first_unstable(&self) -> Option<i64> {
        self.states.first_unstable_offset().map(Offset::value)
    }
}

#[test]
fn sequences_must_follow_each_other() {
    let mut log = Fixture::default();
    assert_eq!(log.send(plain(0, 0, 3)), Ok(0));
    assert_eq!(log.send(plain(0, 3, 2)), Ok(3));
    assert_eq!(log.send(plain(0, 6, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send(plain(0, 5, 1)), Ok(5), "the refusal changed nothing");
}

#[test]
fn any_of_the_last_five_batches_sent_again_is_answered_with_its_first_offset() {
    let mut log = Fixture::default();
    for number in 0..6 {
        assert_eq!(log.send(plain(0, number * 2, 2)), Ok(i64::from(number) * 2));
    }
    for number in 1..6 {
        assert_eq!(log.send(plain(0, number * 2, 2)), Ok(i64::from(number) * 2));
    }
    assert_eq!(log.end, 12);
    assert_eq!(log.send(plain(0, 0, 2)), Err(ErrorCode::DuplicateSequenceNumber), "long written");
    assert_eq!(log.send(plain(0, 10, 1)), Err(ErrorCode::DuplicateSequenceNumber), "other bounds");
    assert_eq!(log.send(plain(0, 10, 3)), Err(ErrorCode::OutOfOrderSequenceNumber), "new records in it");
}

#[test]
fn an_old_sequence_is_no_provable_duplicate_where_the_beginning_was_not_seen() {
    let mut log = Fixture::default();
    assert_eq!(log.send(plain(0, 40, 1)), Ok(0), "unknown producers may begin anywhere");
    assert_eq!(log.send(plain(0, 20, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[test]
fn sequences_wrap_to_zero_between_batches_and_within_one() {
    let mut log = Fixture::default();
    assert_eq!(log.send(plain(0, i32::MAX - 4, 5)), Ok(0));
    assert_eq!(log.send(plain(0, 0, 2)), Ok(5));
    let mut log = Fixture::default();
    assert_eq!(log.send(plain(0, i32::MAX - 1, 4)), Ok(0));
    assert_eq!(log.send(plain(0, 2, 1)), Ok(4));
    assert_eq!(log.send(plain(0, i32::MAX - 1, 4)), Ok(0), "the wrapping batch is remembered");
}

#[test]
fn a_new_epoch_begins_at_sequence_zero_and_fences_the_old_one() {
    let mut log = Fixture::default();
    log.send(plain(0, 0, 1)).unwrap();
    assert_eq!(log.send(plain(1, 1, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send(plain(1, 0, 1)), Ok(1));
    assert_eq!(log.send(plain(0, 1, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(
        log.send(plain(0, 0, 1)),
        Err(ErrorCode::InvalidProducerEpoch),
        "no duplicate of another epoch"
    );
}

#[test]
fn an_unverified_transactional_batch_needs_an_open_transaction() {
    let mut log = Fixture::default();
    assert_eq!(log.send_as(transactional(0, 0, 1), UNVERIFIED), Err(ErrorCode::InvalidTxnState));
    assert_eq!(log.send_as(transactional(0, 0, 1), V1), Ok(0));
    assert_eq!(log.send_as(transactional(0, 1, 1), UNVERIFIED), Ok(1));
    assert_eq!(log.send_as(transactional(1, 0, 1), UNVERIFIED), Err(ErrorCode::InvalidTxnState));
    log.mark(0, EndTransaction::Commit).unwrap();
    assert_eq!(log.send_as(transactional(0, 2, 1), UNVERIFIED), Err(ErrorCode::InvalidTxnState));
    assert_eq!(log.send_as(transactional(0, 1, 1), UNVERIFIED), Ok(1), "a duplicate is answered first");
}

#[test]
fn a_transaction_of_the_second_version_begins_at_zero_where_nothing_is_known() {
    let mut log = Fixture::default();
    assert_eq!(log.send_as(transactional(0, 5, 1), V2), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send_as(transactional(0, 5, 1), V1), Ok(0));
}

#[test]
fn a_plain_batch_inside_a_transaction_is_refused() {
    let mut log = Fixture::default();
    log.send(transactional(0, 0, 1)).unwrap();
    assert_eq!(log.send(plain(0, 1, 1)), Err(ErrorCode::InvalidTxnState));
    log.mark(0, EndTransaction::Abort).unwrap();
    assert_eq!(log.send(plain(0, 1, 1)), Ok(2));
}

#[test]
fn a_batch_without_a_sequence_is_for_coordinators_only() {
    let mut log = Fixture::default();
    assert_eq!(log.send(transactional(0, -1, 1)), Err(ErrorCode::InvalidRecord));
    let header = header_at(transactional(3, -1, 1), 0);
    let check = DataCheck { origin: AppendOrigin::Coordinator, verified: V1 };
    assert!(matches!(log.states.check_data(&header, check), Ok(Verdict::Append)));
    log.states.apply_data(&header, NOW);
    let old = header_at(transactional(2, -1, 1), 1);
    assert!(matches!(
        log.states.check_data(&old, check),
        Err(AppendError::Reject { code: ErrorCode::InvalidProducerEpoch, .. })
    ));
}

#[test]
fn a_replicated_batch_is_taken_whatever_its_epoch() {
    let mut log = Fixture::default();
    log.send(plain(5, 0, 1)).unwrap();
    let check = DataCheck { origin: AppendOrigin::Replication, verified: UNVERIFIED };
    let old = header_at(plain(1, 9, 1), 1);
    assert!(matches!(log.states.check_data(&old, check), Ok(Verdict::Append)));
}

#[test]
fn a_marker_on_a_clean_partition_fences_older_epochs() {
    let mut log = Fixture::default();
    log.mark(4, EndTransaction::Abort).unwrap();
    assert_eq!(log.first_unstable(), None, "nothing was ended");
    assert_eq!(log.send(transactional(3, 0, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(log.send(transactional(4, 0, 1)), Ok(1));
}

#[test]
fn a_marker_of_an_older_epoch_is_refused() {
    let mut log = Fixture::default();
    log.send(transactional(3, 0, 1)).unwrap();
    assert_eq!(log.mark(2, EndTransaction::Abort), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(log.mark(3, EndTransaction::Abort), Ok(()));
}

#[test]
fn a_marker_of_the_second_version_must_raise_the_epoch_unless_it_is_a_retry() {
    let mut log = Fixture::default();
    log.send(transactional(3, 0, 1)).unwrap();
    let same = marker(3, EndTransaction::Commit, 0);
    assert_eq!(log.mark_as(same, TransactionVersion::V2), Err(ErrorCode::InvalidProducerEpoch));
    let raised = marker(4, EndTransaction::Commit, 0);
    assert_eq!(log.mark_as(raised, TransactionVersion::V2), Ok(()));
    assert_eq!(log.mark_as(raised, TransactionVersion::V2), Ok(()), "its retry finds nothing open");
    assert_eq!(log.send(transactional(4, 1, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send(transactional(4, 0, 1)), Ok(3), "each transaction starts its sequences anew");
    assert_eq!(log.mark_as(raised, TransactionVersion::V2), Err(ErrorCode::InvalidProducerEpoch));
}

#[test]
fn a_marker_of_the_first_version_keeps_the_sequences_of_its_epoch() {
    let mut log = Fixture::default();
    log.send(transactional(3, 0, 2)).unwrap();
    log.mark(3, EndTransaction::Commit).unwrap();
    assert_eq!(log.send(transactional(3, 0, 2)), Ok(0));
    assert_eq!(log.send(transactional(3, 2, 1)), Ok(3));
}

#[test]
fn a_marker_of_an_older_coordinator_is_fenced() {
    let mut log = Fixture::default();
    log.mark_as(marker(0, EndTransaction::Commit, 5), TransactionVersion::V1).unwrap();
    let old = log.mark_as(marker(0, EndTransaction::Commit, 4), TransactionVersion::V1);
    assert_eq!(old, Err(ErrorCode::TransactionCoordinatorFenced));
    assert_eq!(log.mark_as(marker(0, EndTransaction::Commit, 5), TransactionVersion::V1), Ok(()));
}

#[test]
fn an_ended_transaction_is_unstable_until_its_marker_is_replicated() {
    let mut log = Fixture::default();
    log.send(transactional(0, 0, 2)).unwrap();
    assert_eq!(log.first_unstable(), Some(0));
    log.mark(0, EndTransaction::Commit).unwrap();
    assert_eq!(log.first_unstable(), Some(0));
    log.states.high_watermark_advanced(offset(2));
    assert_eq!(log.first_unstable(), Some(0), "the marker stands at 2, which is not below 2");
    log.states.high_watermark_advanced(offset(3));
    assert_eq!(log.first_unstable(), None);
}

#[test]
fn an_abort_is_indexed_with_the_stable_offset_after_it() {
    let mut log = Fixture::default();
    log.send(transactional(0, 0, 2)).unwrap();
    let abort = marker(0, EndTransaction::Abort, 0);
    let entry = log.states.aborted_by(&abort, offset(2)).unwrap();
    assert_eq!((entry.first_offset, entry.last_offset), (offset(0), offset(2)));
    assert_eq!(entry.last_stable_offset, offset(3), "nothing else is open");
    assert_eq!(log.states.aborted_by(&marker(0, EndTransaction::Commit, 0), offset(2)), None);
}

#[test]
fn silent_producers_are_forgotten_but_not_those_in_a_transaction() {
    let mut log = Fixture::default();
    log.send(plain(0, 0, 1)).unwrap();
    log.states.expire(NOW.plus(std::time::Duration::from_millis(99)), 100);
    assert_eq!(log.states.producers().len(), 1);
    log.states.expire(NOW.plus(std::time::Duration::from_millis(100)), 100);
    assert_eq!(log.states.producers().len(), 0);
    log.send(transactional(0, 0, 1)).unwrap();
    log.states.expire(NOW.plus(std::time::Duration::from_millis(500)), 100);
    assert_eq!(log.states.producers().len(), 1);
}

#[test]
fn a_snapshot_brings_everything_back() {
    let mut log = Fixture::default();
    for number in 0..7 {
        log.send(transactional(0, number, 1)).unwrap();
    }
    log.mark(0, EndTransaction::Abort).unwrap();
    log.send(transactional(0, 7, 1)).unwrap();
    let bytes = producer_snapshot::encode(&log.states);
    assert_eq!(producer_snapshot::decode(&bytes, Timestamp::ZERO).as_ref(), Ok(&log.states));
}

#[test]
fn a_snapshot_in_kafkas_own_form_brings_the_last_batch_back() {
    let mut log = Fixture::default();
    log.send(transactional(0, 0, 2)).unwrap();
    log.send(transactional(0, 2, 2)).unwrap();
    let mut bytes = producer_snapshot::encode(&log.states);
    bytes.truncate(6 + 4 + 46);
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    log.states = producer_snapshot::decode(&bytes, NOW).unwrap();
    assert_eq!(log.first_unstable(), Some(0));
    assert_eq!(log.send(transactional(0, 2, 2)), Ok(2));
    assert_eq!(log.send(transactional(0, 0, 2)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(log.send(transactional(0, 4, 1)), Ok(4));
}

#[test]
fn a_snapshot_with_any_byte_changed_or_cut_is_refused() {
    let mut log = Fixture::default();
    log.send(transactional(0, 0, 2)).unwrap();
    let bytes = producer_snapshot::encode(&log.states);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(producer_snapshot::decode(&bad, NOW).is_err(), "byte {at}");
        assert!(producer_snapshot::decode(&bytes[..at], NOW).is_err(), "cut at {at}");
    }
}
