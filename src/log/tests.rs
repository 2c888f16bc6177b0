//! A log from the outside: append, read, offsets, lookups, retention. `Fixture` is shared with the
//! tests of recovery.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::disk::{DiskOptions, SimDisk};
use crate::error_code::ErrorCode;
use crate::ids::{CoordinatorEpoch, ProducerIdent};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, NewRecord, RecordBatch, TimestampType, Transactional,
};

pub(super) const NOW: Timestamp = Timestamp::from_ms(1_000_000);
pub(super) const DIRECTORY: &str = "topic-0";

/// A disk in memory.
pub(super) struct TestDisk {
    pub(super) disk: Disk,
    pub(super) sim: SimDisk,
}

impl TestDisk {
    pub(super) fn new() -> TestDisk {
        TestDisk::over(SimDisk::new())
    }

    /// Opens a disk again, with its journal replayed.
    pub(super) fn over(sim: SimDisk) -> TestDisk {
        TestDisk { disk: Disk::open_simulated(sim.clone(), DiskOptions::default()).unwrap().0, sim }
    }
}

pub(super) fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

pub(super) fn epoch(value: i32) -> LeaderEpoch {
    LeaderEpoch::from_wire(value).unwrap()
}

pub(super) fn ident(id: i64, epoch: i16) -> ProducerIdent {
    let epoch = ProducerEpoch::from_wire(epoch).unwrap();
    ProducerIdent { id: ProducerId::from_wire(id).unwrap(), epoch }
}

/// What a test batch holds.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    pub(super) producer: Option<(i64, i16, i32)>,
    pub(super) transactional: Transactional,
    pub(super) count: i32,
    pub(super) timestamp: i64,
    pub(super) value_bytes: usize,
}

pub(super) fn plain(count: i32) -> Spec {
    let transactional = Transactional::No;
    Spec { producer: None, transactional, count, timestamp: NOW.ms(), value_bytes: 10 }
}

pub(super) fn transactional(id: i64, sequence: i32, count: i32) -> Spec {
    Spec { producer: Some((id, 0, sequence)), transactional: Transactional::Yes, ..plain(count) }
}

pub(super) fn batch(spec: Spec) -> RecordBatch {
    let producer = spec.producer.map(|(id, epoch, sequence)| BatchProducer {
        ident: ident(id, epoch),
        base_sequence: Sequence::from_wire(sequence),
    });
    let options = BatchOptions { producer, transactional: spec.transactional, ..Default::default() };
    let mut builder = BatchBuilder::new(options);
    let value = vec![b'v'; spec.value_bytes];
    for number in 0..spec.count {
        let timestamp = spec.timestamp + i64::from(number);
        builder.append(NewRecord { timestamp, value: Some(&value), ..Default::default() });
    }
    builder.build()
}

pub(super) fn client() -> Append {
    Append {
        origin: AppendOrigin::Client,
        leader_epoch: epoch(0),
        now: NOW,
        verified: TransactionCheck::Verified(TransactionVersion::V1),
    }
}

pub(super) fn marker(id: i64, result: EndTransaction) -> EndTransactionMarker {
    EndTransactionMarker { producer: ident(id, 0), result, coordinator_epoch: CoordinatorEpoch::ZERO }
}

pub(super) fn open_on(disk: &Disk, config: LogConfig) -> OpenLog {
    OpenLog {
        disk: disk.clone(),
        directory: DIRECTORY.to_owned(),
        config,
        recovery_point: Offset::ZERO,
        log_start_offset: None,
        shutdown: LastShutdown::Unclean,
        now: NOW,
    }
}

pub(super) struct Fixture {
    pub(super) log: Log,
    pub(super) disk: TestDisk,
}

impl Fixture {
    pub(super) fn new(config: LogConfig) -> Fixture {
        let disk = TestDisk::new();
        let (log, _) = Log::open(open_on(&disk.disk, config)).unwrap();
        Fixture { log, disk }
    }

    pub(super) fn append(&mut self, spec: Spec) -> i64 {
        self.log.append(&batch(spec), client()).unwrap().base_offset.value()
    }

    pub(super) fn refused(&mut self, spec: Spec) -> ErrorCode {
        match self.log.append(&batch(spec), client()) {
            Err(AppendError::Reject { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn end(&mut self, id: i64, result: EndTransaction) -> i64 {
        let marker = marker(id, result);
        let appended = self.log.append_marker(&marker, TransactionVersion::V1, epoch(0), NOW).unwrap();
        appended.base_offset.value()
    }

    /// First and last offsets of the batches read.
    fn read(&self, from: i64, upper: i64, bytes_max: usize) -> Vec<(i64, i64)> {
        let read = self.log.read(offset(from), offset(upper), bytes_max, AtLeastOneBatch::Yes).unwrap();
        let batches = batches(read.to_bytes().unwrap());
        if let Some((_, last)) = batches.last() {
            assert_eq!(read.next_offset, offset(last + 1));
        }
        batches
    }

    fn aborted(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let found = self.log.aborted_transactions(offset(from), offset(to)).unwrap();
        found.iter().map(|aborted| (aborted.producer_id.value(), aborted.first_offset.value())).collect()
    }
}

pub(super) fn batches(mut bytes: Bytes) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    while let Some(batch) = RecordBatch::take_first(&mut bytes).unwrap() {
        found.push((batch.header().base_offset.value(), batch.header().last_offset().value()));
    }
    assert!(bytes.is_empty(), "only whole batches are read");
    found
}

pub(super) fn small_segments() -> LogConfig {
    LogConfig { segment_bytes_max: 400, index_interval_bytes: 100, ..LogConfig::default() }
}

#[test]
fn offsets_are_dense_and_batches_come_back_whole() {
    let mut fixture = Fixture::new(LogConfig::default());
    assert_eq!(fixture.append(plain(3)), 0);
    assert_eq!(fixture.append(plain(1)), 3);
    assert_eq!(fixture.append(plain(2)), 4);
    assert_eq!(fixture.log.log_end_offset(), offset(6));
    assert_eq!(fixture.read(0, 6, 1 << 20), [(0, 2), (3, 3), (4, 5)]);
    assert_eq!(fixture.read(4, 6, 1 << 20), [(4, 5)]);
    assert_eq!(fixture.read(1, 6, 1), [(0, 2)], "at least one batch, and the whole of it");
    assert_eq!(fixture.read(6, 6, 1), []);
}

#[test]
fn a_read_never_passes_its_bounds() {
    let config = LogConfig { index_interval_bytes: 300, ..LogConfig::default() };
    let mut fixture = Fixture::new(config);
    for _ in 0..100 {
        fixture.append(plain(2));
    }
    let one = batch(plain(2)).bytes().len();
    for from in 0..200 {
        for upper in [from, from + 1, from + 2, from + 3, from + 17, 150, 199, 200] {
            for bytes_max in [0, 1, one, one * 3 + 5, 1 << 20] {
                let read = fixture.read(from, upper, bytes_max);
                let fits = |index: usize| index == 0 || (index + 1) * one <= bytes_max;
                let starts = (from / 2 * 2..).step_by(2);
                let expected: Vec<(i64, i64)> = starts
                    .map(|base| (base, base + 1))
                    .take_while(|(_, last)| *last < upper.min(200))
                    .enumerate()
                    .take_while(|(index, _)| fits(*index))
                    .map(|(_, batch)| batch)
                    .collect();
                assert_eq!(read, expected, "from {from} to {upper}, {bytes_max} bytes");
            }
        }
    }
    let none = fixture.log.read(offset(0), offset(200), one - 1, AtLeastOneBatch::No).unwrap();
    assert!(none.is_empty());
}

#[test]
fn a_reader_walks_through_all_segments() {
    let mut fixture = Fixture::new(small_segments());
    for _ in 0..50 {
        fixture.append(plain(2));
    }
    assert!(fixture.log.segment_count() > 10);
    for bytes_max in [1, 250, 1 << 20] {
        let (mut next, mut seen) = (offset(0), Vec::new());
        while next < offset(100) {
            let read = fixture.log.read(next, offset(100), bytes_max, AtLeastOneBatch::Yes).unwrap();
            assert!(read.next_offset > next);
            seen.extend(batches(read.to_bytes().unwrap()));
            next = read.next_offset;
        }
        assert_eq!(seen, (0..50).map(|number| (number * 2, number * 2 + 1)).collect::<Vec<_>>());
    }
}

#[test]
fn an_offset_outside_the_log_is_out_of_range() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(plain(2));
    let read = |from| fixture.log.read(offset(from), Offset::MAX, 1, AtLeastOneBatch::Yes);
    assert!(read(2).unwrap().is_empty());
    assert!(matches!(read(3), Err(ReadError::OffsetOutOfRange { .. })));
}

#[test]
fn replicated_gaps_and_empty_batches_are_read_over() {
    let mut fixture = Fixture::new(small_segments());
    let how = Append { origin: AppendOrigin::Replication, ..client() };
    let empty = BatchBuilder::new(BatchOptions::default()).build();
    for (base, batch) in [(5, batch(plain(2))), (20, empty), (40, batch(plain(1))), (90, batch(plain(1)))] {
        fixture.log.append(&batch.stamped(offset(base), epoch(3)), how).unwrap();
    }
    assert_eq!(fixture.log.log_end_offset(), offset(91));
    assert_eq!(fixture.log.latest_epoch(), Some(epoch(3)));
    assert_eq!(fixture.read(0, 91, 1), [(5, 6)]);
    assert_eq!(fixture.read(7, 91, 1), [(20, 20)]);
    assert_eq!(fixture.read(41, 91, 1 << 20), [(90, 90)]);
    let back = fixture.log.append(&batch(plain(1)).stamped(offset(90), epoch(3)), how);
    assert!(matches!(back, Err(AppendError::Failed(LogError::NotInOrder { .. }))));
    assert_eq!(fixture.append(plain(1)), 91, "that was no failure of the log");
}

#[test]
fn a_duplicate_gets_the_first_copys_offset_and_writes_nothing() {
    let mut fixture = Fixture::new(LogConfig::default());
    let first = Spec { producer: Some((1, 0, 0)), ..plain(2) };
    assert_eq!(fixture.append(first), 0);
    fixture.append(plain(1));
    let again = fixture.log.append(&batch(first), client()).unwrap();
    assert_eq!((again.base_offset, again.last_offset), (offset(0), offset(1)));
    assert_eq!(again.kind, AppendKind::Duplicate);
    assert_eq!(fixture.log.log_end_offset(), offset(3));
}

#[test]
fn batches_too_large_or_out_of_time_are_refused() {
    let config = LogConfig {
        max_message_bytes: 500,
        segment_bytes_max: 300,
        timestamp_before_max_ms: 1000,
        timestamp_after_max_ms: 1000,
        ..LogConfig::default()
    };
    let mut fixture = Fixture::new(config);
    assert_eq!(fixture.refused(Spec { value_bytes: 600, ..plain(1) }), ErrorCode::MessageTooLarge);
    assert_eq!(fixture.refused(Spec { value_bytes: 300, ..plain(1) }), ErrorCode::RecordListTooLarge);
    let at = |timestamp| Spec { timestamp, ..plain(1) };
    assert_eq!(fixture.refused(at(NOW.ms() - 1001)), ErrorCode::InvalidTimestamp);
    assert_eq!(fixture.refused(at(NOW.ms() + 1001)), ErrorCode::InvalidTimestamp);
    let append_time = batch(plain(1)).with_log_append_time(NOW);
    let refusal = fixture.log.append(&append_time, client());
    assert!(matches!(refusal, Err(AppendError::Reject { code: ErrorCode::InvalidTimestamp, .. })));
    assert_eq!(fixture.append(at(-1)), 0, "no timestamp is no wrong one");
    assert_eq!(fixture.append(at(NOW.ms() + 1000)), 1);
    assert_eq!(fixture.log.log_end_offset(), offset(2));
}

#[test]
fn a_client_may_not_write_control_batches() {
    let mut fixture = Fixture::new(LogConfig::default());
    let control = marker(1, EndTransaction::Commit).to_batch(NOW);
    let refusal = fixture.log.append(&control, client());
    assert!(matches!(refusal, Err(AppendError::Reject { code: ErrorCode::InvalidRecord, .. })));
}

#[test]
fn a_topic_of_append_time_stamps_the_brokers_clock() {
    let message_timestamp_type = TimestampType::LogAppendTime;
    let mut fixture = Fixture::new(LogConfig { message_timestamp_type, ..LogConfig::default() });
    let appended = fixture.log.append(&batch(Spec { timestamp: 5, ..plain(2) }), client()).unwrap();
    assert_eq!(appended.log_append_time, Some(NOW));
    let found = fixture.log.offset_for_timestamp(NOW, Offset::MAX).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (offset(0), NOW.ms()));
}

#[test]
fn a_finished_transaction_holds_the_stable_offset_until_its_marker_is_replicated() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(plain(2));
    fixture.append(transactional(1, 0, 3));
    assert_eq!(fixture.log.last_stable_offset(offset(5)), offset(2));
    assert_eq!(fixture.log.last_stable_offset(offset(1)), offset(1));
    assert_eq!(fixture.end(1, EndTransaction::Commit), 5);
    fixture.log.high_watermark_advanced(offset(5));
    assert_eq!(fixture.log.last_stable_offset(offset(5)), offset(2), "the marker is above");
    fixture.log.high_watermark_advanced(offset(6));
    assert_eq!(fixture.log.last_stable_offset(offset(6)), offset(6));
}

#[test]
fn aborted_transactions_are_found_by_every_range_that_meets_them() {
    for config in [LogConfig::default(), small_segments()] {
        let mut fixture = Fixture::new(config);
        fixture.append(transactional(1, 0, 2)); // 0..=1
        fixture.append(transactional(2, 0, 2)); // 2..=3
        fixture.end(2, EndTransaction::Abort); // 4
        fixture.append(transactional(3, 0, 2)); // 5..=6
        fixture.end(3, EndTransaction::Commit); // 7
        fixture.end(1, EndTransaction::Abort); // 8
        fixture.append(transactional(2, 2, 1)); // 9
        fixture.end(2, EndTransaction::Abort); // 10
        for _ in 0..3 {
            assert_eq!(fixture.aborted(0, 11), [(1, 0), (2, 2), (2, 9)]);
            assert_eq!(fixture.aborted(0, 2), [(1, 0)]);
            assert_eq!(fixture.aborted(5, 9), [(1, 0)]);
            assert_eq!(fixture.aborted(4, 5), [(1, 0), (2, 2)]);
            assert_eq!(fixture.aborted(9, 10), [(2, 9)]);
            assert_eq!(fixture.aborted(11, 20), []);
            fixture.log.flush().unwrap();
        }
    }
}

#[test]
fn an_open_transaction_and_its_producer_can_be_seen() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(plain(1));
    fixture.append(transactional(9, 0, 2));
    let open = fixture.log.open_transaction(ident(9, 0).id).unwrap();
    assert_eq!((open.first_offset, open.epoch, open.start_time), (offset(1), ident(9, 0).epoch, NOW));
    let [producer] = fixture.log.producers()[..] else { panic!("one producer") };
    assert_eq!(producer.current_transaction_start_offset, Some(offset(1)));
    assert_eq!(producer.last_sequence, Sequence::from_wire(1));
    fixture.end(9, EndTransaction::Commit);
    assert_eq!(fixture.log.open_transaction(ident(9, 0).id), None);
    assert_eq!(fixture.log.producer_epoch(ident(9, 0).id), Some(ident(9, 0).epoch));
}

#[test]
fn records_are_found_by_timestamp_as_a_scan_finds_them() {
    for config in [LogConfig { index_interval_bytes: 100, ..LogConfig::default() }, small_segments()] {
        let mut fixture = Fixture::new(config);
        let starts = [10, 50, 30, 70, 71, 20, 100, 90, 100, 5, 200, 150];
        let mut records = Vec::new();
        for start in starts {
            let base = fixture.append(Spec { timestamp: start, ..plain(3) });
            records.extend((0..3).map(|number| (base + number, start + number)));
        }
        let end = fixture.log.log_end_offset();
        for timestamp in 0..210 {
            let expected = records.iter().find(|(_, at)| *at >= timestamp).copied();
            let found = fixture.log.offset_for_timestamp(Timestamp::from_ms(timestamp), end).unwrap();
            assert_eq!(found.map(|found| (found.offset.value(), found.timestamp)), expected, "{timestamp}");
        }
        assert_eq!(fixture.log.offset_for_timestamp(Timestamp::from_ms(202), offset(32)).unwrap(), None);
        for upper in (0..=36).step_by(3) {
            let below = records.iter().filter(|(at, _)| *at < upper);
            let expected = below.rev().max_by_key(|(_, timestamp)| *timestamp).copied();
            let found = fixture.log.offset_of_max_timestamp(offset(upper)).unwrap();
            assert_eq!(found.map(|found| (found.offset.value(), found.timestamp)), expected, "below {upper}");
        }
    }
}

#[test]
fn a_segment_ends_by_size_by_time_and_when_its_index_is_full() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes_max: 250, ..LogConfig::default() });
    fixture.append(plain(2));
    fixture.append(plain(2));
    fixture.append(plain(2));
    assert_eq!(fixture.log.segment_count(), 2);
    let mut fixture = Fixture::new(LogConfig { segment_ms: 10, ..LogConfig::default() });
    fixture.append(plain(1));
    fixture.append(Spec { timestamp: NOW.ms() + 10, ..plain(1) });
    assert_eq!(fixture.log.segment_count(), 1);
    fixture.append(Spec { timestamp: NOW.ms() + 11, ..plain(1) });
    assert_eq!(fixture.log.segment_count(), 2);
    fixture.log.roll_if_due(NOW.plus(Duration::from_millis(11))).unwrap();
    fixture.log.roll_if_due(NOW.plus(Duration::from_millis(11))).unwrap();
    assert_eq!(fixture.log.segment_count(), 3, "an empty segment does not grow old");
    let (segment_index_bytes_max, index_interval_bytes) = (24, 0);
    let mut fixture =
        Fixture::new(LogConfig { segment_index_bytes_max, index_interval_bytes, ..LogConfig::default() });
    for _ in 0..6 {
        fixture.append(plain(1));
    }
    assert!(fixture.log.segment_count() > 1);
}

#[test]
fn an_offset_too_far_from_the_base_begins_a_segment() {
    let mut fixture = Fixture::new(LogConfig::default());
    let how = Append { origin: AppendOrigin::Replication, ..client() };
    let far = |base| batch(plain(1)).stamped(offset(base), epoch(0));
    fixture.log.append(&far(1 << 40), how).unwrap();
    assert_eq!(fixture.log.segment_count(), 1, "the empty segment made way");
    fixture.log.append(&far(1 << 41), how).unwrap();
    assert_eq!(fixture.log.segment_count(), 2);
    assert_eq!(fixture.read(1 << 40, 1 << 42, 1 << 20), [(1 << 40, 1 << 40)]);
    assert_eq!(fixture.read((1 << 40) + 1, 1 << 42, 1 << 20), [(1 << 41, 1 << 41)]);
}

#[test]
fn old_segments_go_but_none_above_the_high_watermark() {
    let retention_ms = Some(100);
    let mut fixture = Fixture::new(LogConfig { retention_ms, ..small_segments() });
    for number in 0..20 {
        fixture.append(Spec { timestamp: NOW.ms() + number * 10, ..plain(1) });
    }
    let now = NOW.plus(Duration::from_millis(200));
    assert!(fixture.log.enforce_retention(now, offset(1)).unwrap().is_empty());
    let segments = fixture.log.segment_count();
    let deleted = fixture.log.enforce_retention(now, offset(20)).unwrap();
    assert!(deleted.len() > 1 && fixture.log.segment_count() == segments - deleted.len());
    let start = fixture.log.log_start_offset();
    assert!(start > offset(4) && start <= offset(10), "{start}");
    assert_eq!(deleted.log_start_offset, start);
    let held = fixture.log.read(start, offset(20), 1, AtLeastOneBatch::Yes).unwrap();
    let rest = fixture.log.enforce_retention(NOW.plus(Duration::from_millis(500)), offset(20)).unwrap();
    deleted.remove().unwrap();
    rest.remove().unwrap();
    assert_eq!(fixture.log.log_start_offset(), offset(20), "the active one was rolled and went too");
    assert_eq!(fixture.log.size_bytes(), 0);
    let logs = fixture.disk.disk.list(DIRECTORY).unwrap();
    assert_eq!(logs.iter().filter(|entry| entry.name.ends_with(".log")).count(), 1);
    assert_eq!(batches(held.to_bytes().unwrap()).len(), 1, "what a reader holds can still be read");
    assert_eq!(fixture.append(plain(1)), 20);
}

#[test]
fn the_oldest_segments_go_when_the_log_is_too_large() {
    let config = LogConfig { retention_bytes: Some(1000), ..small_segments() };
    let mut fixture = Fixture::new(config);
    for _ in 0..40 {
        fixture.append(plain(1));
    }
    let deleted = fixture.log.enforce_retention(NOW, offset(40)).unwrap();
    let size = fixture.log.size_bytes();
    assert!((1000..1400).contains(&size), "{size}");
    deleted.remove().unwrap();
    assert!(fixture.log.enforce_retention(NOW, offset(40)).unwrap().is_empty());
}

#[test]
fn a_compacted_log_keeps_what_is_old() {
    let config = LogConfig {
        retention_ms: Some(1),
        retention_bytes: Some(1),
        cleanup_policy: CleanupPolicy::Compact,
        ..small_segments()
    };
    let mut fixture = Fixture::new(config);
    for _ in 0..20 {
        fixture.append(plain(1));
    }
    let later = NOW.plus(Duration::from_secs(10));
    assert!(fixture.log.enforce_retention(later, offset(20)).unwrap().is_empty());
}

#[test]
fn deleting_records_moves_the_start_even_into_a_batch() {
    let mut fixture = Fixture::new(small_segments());
    for _ in 0..10 {
        fixture.append(plain(4));
    }
    fixture.log.become_leader(epoch(2)).unwrap();
    assert!(fixture.log.delete_records_before(offset(41), NOW).is_err());
    let deleted = fixture.log.delete_records_before(offset(30), NOW).unwrap();
    assert!(!deleted.is_empty());
    deleted.remove().unwrap();
    assert_eq!(fixture.log.log_start_offset(), offset(30));
    assert_eq!(fixture.read(30, 40, 1), [(28, 31)]);
    assert!(fixture.log.delete_records_before(offset(3), NOW).unwrap().is_empty());
    assert_eq!(fixture.log.log_start_offset(), offset(30));
    let first = fixture.log.offset_for_timestamp(Timestamp::ZERO, offset(40)).unwrap().unwrap();
    assert_eq!(first.offset, offset(30));
    fixture.log.delete_records_before(offset(40), NOW).unwrap().remove().unwrap();
    assert_eq!((fixture.log.log_start_offset(), fixture.append(plain(1))), (offset(40), 40));
}

#[test]
fn leader_epochs_are_known_at_once_and_written_before_their_first_batch() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.log.become_leader(epoch(1)).unwrap();
    fixture.log.append(&batch(plain(4)), Append { leader_epoch: epoch(1), ..client() }).unwrap();
    fixture.log.become_leader(epoch(3)).unwrap();
    let written = |fixture: &Fixture| fixture.disk.disk.read("topic-0/leader-epoch-checkpoint").unwrap();
    assert_eq!(written(&fixture), b"0\n1\n1 0\n", "nothing was written in epoch 3 yet");
    assert_eq!(fixture.log.end_offset_for_epoch(epoch(2)), Some((epoch(1), offset(4))));
    assert_eq!(fixture.log.end_offset_for_epoch(epoch(3)), Some((epoch(3), offset(4))));
    assert_eq!(fixture.log.end_offset_for_epoch(epoch(4)), None);
    fixture.log.append(&batch(plain(4)), Append { leader_epoch: epoch(3), ..client() }).unwrap();
    assert_eq!(written(&fixture), b"0\n2\n1 0\n3 4\n");
}
