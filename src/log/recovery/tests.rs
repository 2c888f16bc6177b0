//! Opening a log again: after a clean end, after a crash, with files missing, torn or rotten.

use proptest::prelude::*;

use super::super::tests::*;
use super::super::*;
use super::*;
use crate::disk::{DiskOptions, SimFault};
use crate::ids::LeaderEpoch;
use crate::wire::control_record::{EndTransaction, TransactionVersion};
use crate::wire::record_batch::{KeyRule, RecordChange, Transactional};

/// What a broker keeps of a log in its checkpoint files.
#[derive(Clone, Copy, Default)]
struct Recorded {
    recovery_point: Offset,
    log_start_offset: Option<Offset>,
}

fn reopen(disk: &TestDisk, recorded: Recorded, shutdown: LastShutdown) -> OpenLog {
    let Recorded { recovery_point, log_start_offset } = recorded;
    OpenLog { recovery_point, log_start_offset, shutdown, ..open_on(&disk.disk, small_segments()) }
}

fn unclean(disk: &TestDisk, recovery_point: Offset) -> Result<(Log, RecoveryReport), LogError> {
    Log::open(reopen(disk, Recorded { recovery_point, log_start_offset: None }, LastShutdown::Unclean))
}

fn filled() -> Fixture {
    let mut fixture = Fixture::new(small_segments());
    fixture.append(transactional(1, 0, 2));
    for _ in 0..10 {
        fixture.append(plain(2));
    }
    fixture.end(1, EndTransaction::Abort);
    fixture.append(transactional(1, 2, 1));
    fixture
}

/// Everything that a log answers.
#[derive(PartialEq, Debug)]
struct Answers {
    bounds: (Offset, Offset, Option<Offset>),
    states: ProducerStates,
    epochs: Vec<(LeaderEpoch, Offset)>,
    content: Vec<u8>,
    aborted: Vec<Vec<AbortedTransaction>>,
    times: Vec<Option<TimestampedOffset>>,
}

fn answers(log: &Log) -> Answers {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let ranges = (start.value()..=end.value()).step_by(3);
    let aborted = ranges.map(|from| log.aborted_transactions(offset(from), offset(from + 5)).unwrap());
    let times = (0..40).map(|ms| Timestamp::from_ms(NOW.ms() + ms));
    Answers {
        bounds: (start, end, log.first_unstable_offset()),
        states: log.producers.clone(),
        epochs: epochs_below(log, end),
        content: content(log),
        aborted: aborted.collect(),
        times: times.map(|time| log.offset_for_timestamp(time, end).unwrap()).collect(),
    }
}

/// The leader epochs in which something was written; one without a batch leaves no trace.
fn epochs_below(log: &Log, end: Offset) -> Vec<(LeaderEpoch, Offset)> {
    log.leader_epochs.entries().iter().filter(|(_, start)| *start < end).copied().collect()
}

/// All bytes, read batch by batch.
fn content(log: &Log) -> Vec<u8> {
    let (mut next, mut bytes) = (log.log_start_offset(), Vec::new());
    while next < log.log_end_offset() {
        let read = log.read(next, Offset::MAX, 1, AtLeastOneBatch::Yes).unwrap();
        bytes.extend_from_slice(&read.to_bytes().unwrap());
        next = read.next_offset;
    }
    bytes
}

#[test]
fn a_new_log_starts_where_it_is_told() {
    let disk = TestDisk::new();
    let recorded = Recorded { log_start_offset: Some(offset(42)), ..Recorded::default() };
    let (log, report) = Log::open(reopen(&disk, recorded, LastShutdown::Clean)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (offset(42), offset(42)));
    assert_eq!((report.segments, report.segments_scanned), (1, 0));
}

#[test]
fn a_clean_shutdown_needs_no_scan() {
    let fixture = filled();
    let before = answers(&fixture.log);
    let recovery_point = fixture.log.close().unwrap();
    let recorded = Recorded { recovery_point, log_start_offset: None };
    let (log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
    assert_eq!(answers(&log), before);
    assert_eq!((report.segments_scanned, report.indexes_rebuilt), (0, 0));
    assert_eq!(report.snapshot, Some(log.log_end_offset()));
}

#[test]
fn an_unclean_one_scans_only_what_is_above_the_recovery_point() {
    let mut fixture = filled();
    let recovery_point = fixture.log.flush().unwrap();
    let (log, report) = unclean(&fixture.disk, recovery_point).unwrap();
    assert_eq!(report.segments_scanned, 0, "nothing was written since the flush");
    drop(log);
    fixture.append(plain(1));
    let before = answers(&fixture.log);
    let (log, report) = unclean(&fixture.disk, recovery_point).unwrap();
    assert_eq!(answers(&log), before);
    assert_eq!(report.segments_scanned, 1);
    let (_, report) = unclean(&fixture.disk, Offset::ZERO).unwrap();
    assert_eq!(report.segments_scanned, report.segments);
}

#[test]
fn a_checkpoint_keeps_all_that_a_start_after_a_crash_needs() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes_max: 1 << 30, ..small_segments() });
    fixture.append(plain(1));
    fixture.log.flush().unwrap();
    // The indexes have files now, and these know nothing of what comes next.
    fixture.append(transactional(1, 0, 2));
    for _ in 0..10 {
        fixture.append(plain(2));
    }
    fixture.end(1, EndTransaction::Abort);
    let before = answers(&fixture.log);
    let recovery_point = fixture.log.begin_checkpoint().unwrap();
    fixture.disk.disk.checkpoint().unwrap();
    fixture.log.checkpointed(recovery_point).unwrap();
    let (log, report) = unclean(&fixture.disk, recovery_point).unwrap();
    assert_eq!(answers(&log), before);
    assert_eq!((report.segments_scanned, report.snapshot), (0, Some(recovery_point)));
    assert!(before.aborted.iter().any(|found| !found.is_empty()));
}

#[test]
fn a_log_that_nothing_was_written_to_is_opened_without_a_look() {
    let fixture = Fixture::new(small_segments());
    let (_, report) = unclean(&fixture.disk, Offset::ZERO).unwrap();
    assert_eq!((report.segments, report.segments_scanned, report.indexes_rebuilt), (1, 0, 0));
}

#[test]
fn missing_and_broken_indexes_are_built_again() {
    for suffix in ["index", "timeindex", "txnindex"] {
        let fixture = filled();
        let before = answers(&fixture.log);
        let bases: Vec<Offset> = fixture.log.segments.iter().map(|segment| segment.base_offset).collect();
        let recovery_point = fixture.log.close().unwrap();
        let recorded = Recorded { recovery_point, log_start_offset: None };
        for (number, base) in bases.iter().enumerate() {
            let path = path_of(DIRECTORY, *base, suffix);
            match number % 3 {
                0 => fixture.disk.disk.remove_file(&path).unwrap(),
                1 => fixture.disk.disk.write_atomically(&path, &[0xff; 34 * 12]).unwrap(),
                _ => fixture.disk.disk.write_atomically(&path, &[1; 5]).unwrap(),
            }
        }
        let (log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
        assert_eq!(report.indexes_rebuilt, bases.len(), "{suffix}");
        assert_eq!(answers(&log), before);
        drop(log);
        let (log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
        assert_eq!((answers(&log), report.indexes_rebuilt), (before, 0));
    }
}

#[test]
fn a_corrupt_snapshot_gives_way_to_an_older_one_and_none_at_all_to_a_full_replay() {
    let fixture = filled();
    let before = answers(&fixture.log);
    let recovery_point = fixture.log.close().unwrap();
    let recorded = Recorded { recovery_point, log_start_offset: None };
    loop {
        let entries = fixture.disk.disk.list(DIRECTORY).unwrap();
        let newest = entries.iter().rev().find(|entry| entry.name.ends_with(".snapshot"));
        let Some(newest) = newest else { break };
        assert!(fixture.disk.sim.flip_bit(&format!("{DIRECTORY}/{}", newest.name), 12));
        let (log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
        assert_eq!(answers(&log), before);
        assert!(report.snapshot < Some(recovery_point));
    }
}

#[test]
fn a_lost_or_broken_epoch_checkpoint_is_built_again() {
    for broken in [None, Some(b"nonsense")] {
        let mut fixture = Fixture::new(small_segments());
        for number in 0..4 {
            fixture.log.become_leader(LeaderEpoch::from_wire(number).unwrap()).unwrap();
            let leader_epoch = LeaderEpoch::from_wire(number).unwrap();
            fixture.log.append(&batch(plain(2)), Append { leader_epoch, ..client() }).unwrap();
        }
        let before = answers(&fixture.log);
        let recovery_point = fixture.log.close().unwrap();
        let path = format!("{DIRECTORY}/{LEADER_EPOCH_CHECKPOINT}");
        match broken {
            None => fixture.disk.disk.remove_file(&path).unwrap(),
            Some(text) => fixture.disk.disk.write_atomically(&path, text).unwrap(),
        }
        let recorded = Recorded { recovery_point, log_start_offset: None };
        let (log, _) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
        assert_eq!(answers(&log), before);
    }
}

#[test]
fn a_torn_tail_is_cut_at_any_byte() {
    let fixture = filled();
    let whole = content(&fixture.log);
    let last = fixture.log.active();
    let (path, size, base) = (last.path().to_owned(), last.size, last.base_offset);
    assert!(size > 0);
    drop(fixture.log);
    for len in (0..size).rev() {
        let file = fixture.disk.disk.open_file(&path, crate::disk::OpenMode::ReadWrite).unwrap();
        file.truncate(len).unwrap();
        let (log, report) = unclean(&fixture.disk, base).unwrap();
        assert!(log.log_end_offset() >= base);
        assert!(whole.starts_with(&content(&log)));
        assert_eq!(log.active().size + report.bytes_cut, len);
    }
}

#[test]
fn rot_above_the_recovery_point_cuts_the_log_there_with_all_later_segments() {
    let mut fixture = filled();
    let recovery_point = offset(8);
    let middle = fixture.log.segment_index(offset(12));
    let segment = &fixture.log.segments[middle];
    let (path, base) = (segment.path().to_owned(), segment.base_offset);
    let later = fixture.log.segment_count() - middle - 1;
    assert!(later > 0 && base >= recovery_point);
    assert!(fixture.disk.sim.flip_bit(&path, 70));
    fixture.log.high_watermark_advanced(Offset::ZERO);
    let (mut log, report) = unclean(&fixture.disk, recovery_point).unwrap();
    assert_eq!((log.log_end_offset(), report.segments_removed), (base, later));
    assert!(report.bytes_cut > 0);
    let appended = log.append(&batch(plain(1)), client()).unwrap();
    assert_eq!(appended.base_offset, base);
    let before = answers(&log);
    drop(log);
    let (log, _) = unclean(&fixture.disk, recovery_point).unwrap();
    assert_eq!(answers(&log), before);
}

#[test]
fn rot_below_the_recovery_point_is_reported_and_nothing_is_cut() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(plain(2));
    fixture.append(plain(2));
    let recovery_point = fixture.log.flush().unwrap();
    fixture.append(plain(1));
    let path = fixture.log.active().path().to_owned();
    assert!(fixture.disk.sim.flip_bit(&path, 70));
    let before = fixture.disk.disk.read(&path).unwrap();
    match unclean(&fixture.disk, recovery_point) {
        Ok(_) => panic!("the damage was overlooked"),
        Err(LogError::Damaged {
            path: at, position: 0, offset: Offset::ZERO, recovery_point: up_to, ..
        }) => {
            assert_eq!((at, up_to), (path.clone(), recovery_point));
        }
        Err(other) => panic!("{other}"),
    }
    assert_eq!(fixture.disk.disk.read(&path).unwrap(), before);
}

#[test]
fn a_log_that_ends_below_its_recovery_point_is_damaged() {
    let mut fixture = filled();
    let recovery_point = fixture.log.flush().unwrap();
    for shutdown in [LastShutdown::Clean, LastShutdown::Unclean] {
        let recorded = Recorded { recovery_point: recovery_point.next(), log_start_offset: None };
        let opened = Log::open(reopen(&fixture.disk, recorded, shutdown));
        assert!(matches!(opened, Err(LogError::Damaged { .. })));
    }
    fixture.disk.disk.remove_dir_all(DIRECTORY).unwrap();
    assert!(matches!(unclean(&fixture.disk, recovery_point), Err(LogError::Damaged { .. })));
}

#[test]
fn an_interrupted_deletion_is_finished() {
    let mut fixture = filled();
    let end = fixture.log.log_end_offset();
    let deleted = fixture.log.delete_records_before(offset(18), NOW).unwrap();
    let gone = deleted.len();
    assert!(gone > 1);
    let recorded =
        Recorded { recovery_point: Offset::ZERO, log_start_offset: Some(deleted.log_start_offset) };
    let disk = &fixture.disk.disk;
    let first = path_of(DIRECTORY, Offset::ZERO, "log");
    disk.rename(&first, &format!("{first}.deleted")).unwrap();
    let (log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Unclean)).unwrap();
    assert_eq!(report.deletions_finished, gone);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (offset(18), end));
    let names: Vec<String> = disk.list(DIRECTORY).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(!names.iter().any(|name| name.ends_with(".deleted")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("00000000000000000000.")), "{names:?}");
}

#[test]
fn a_deletion_whose_start_was_not_recorded_did_not_happen() {
    let mut fixture = filled();
    let before = content(&fixture.log);
    let _forgotten = fixture.log.delete_records_before(offset(15), NOW).unwrap();
    let (log, _) = unclean(&fixture.disk, Offset::ZERO).unwrap();
    assert_eq!(log.log_start_offset(), Offset::ZERO);
    assert_eq!(content(&log), before);
}

#[test]
fn a_log_cut_below_its_recorded_start_begins_anew_there() {
    let fixture = filled();
    let recorded = Recorded { recovery_point: Offset::ZERO, log_start_offset: Some(offset(500)) };
    let (log, _) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Unclean)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (offset(500), offset(500)));
    assert_eq!(log.size_bytes(), 0);
}

#[test]
fn after_a_failed_append_the_log_takes_no_more_calls_and_opens_again() {
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(plain(2));
    fixture.disk.sim.set_bytes_max(Some(fixture.disk.sim.bytes_used() + 10));
    let failed = fixture.log.append(&batch(plain(2)), client());
    assert!(
        matches!(failed, Err(AppendError::Failed(LogError::Disk(ref error))) if error.is_full()),
        "{failed:?}"
    );
    fixture.disk.sim.set_bytes_max(None);
    let again = fixture.log.append(&batch(plain(2)), client());
    assert!(matches!(again, Err(AppendError::Failed(LogError::Failed { .. }))));
    assert!(fixture.log.read(Offset::ZERO, Offset::MAX, 1, AtLeastOneBatch::Yes).is_err());
    assert!(fixture.log.flush().is_err());
    let (mut log, report) = unclean(&fixture.disk, Offset::ZERO).unwrap();
    assert_eq!(log.log_end_offset(), offset(2));
    assert!(report.bytes_cut > 0, "half of the batch was there");
    assert_eq!(log.append(&batch(plain(1)), client()).unwrap().base_offset, offset(2));
}

#[test]
fn an_error_of_any_call_while_opening_loses_nothing() {
    let fixture = filled();
    let before = answers(&fixture.log);
    for nth in 0..60 {
        let sim = fixture.disk.sim.crash(1);
        let disk = TestDisk::over(sim.clone());
        let whole = unclean(&disk, Offset::ZERO).unwrap().0.log_end_offset();
        let sim = fixture.disk.sim.crash(1);
        let disk = TestDisk::over(sim.clone());
        sim.fail_call(nth, SimFault::Io);
        let _ = unclean(&disk, Offset::ZERO);
        let again = TestDisk::over(sim.crash(nth));
        let (log, _) = unclean(&again, Offset::ZERO).unwrap();
        assert_eq!(log.log_end_offset(), whole, "call {nth}");
        assert!(before.content.starts_with(&content(&log)));
    }
}

#[test]
fn a_log_on_a_real_disk_opens_again() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let (disk, _) = Disk::open(directory.path(), DiskOptions::default()).unwrap();
        let (mut log, _) = Log::open(open_on(&disk, small_segments())).unwrap();
        for _ in 0..20 {
            log.append(&batch(plain(3)), client()).unwrap();
        }
        let before = content(&log);
        disk.close().unwrap();
        before
    };
    let (disk, _) = Disk::open(directory.path(), DiskOptions::default()).unwrap();
    let (log, _) = Log::open(open_on(&disk, small_segments())).unwrap();
    assert_eq!(content(&log), before);
}

/// One thing that happens to a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    Plain {
        count: i32,
    },
    Idempotent {
        id: i64,
        count: i32,
    },
    Transactional {
        id: i64,
        count: i32,
    },
    /// What an interceptor has left of a batch: all but its first records, perhaps none.
    Intercepted {
        id: Option<i64>,
        transactional: Transactional,
        count: i32,
        dropped: i32,
    },
    End {
        id: i64,
        result: EndTransaction,
    },
    Lead,
    Replicated,
    Durable,
    Checkpoint,
    Flush,
    Roll,
    Delete {
        share: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![Just(EndTransaction::Commit), Just(EndTransaction::Abort)];
    let step = prop_oneof![
        4 => (1..4).prop_map(|count| Step::Plain { count }),
        4 => (10..12i64, 1..4).prop_map(|(id, count)| Step::Idempotent { id, count }),
        6 => (1..4i64, 1..4).prop_map(|(id, count)| Step::Transactional { id, count }),
        3 => (prop::option::of(10..12i64), 1..4, 1..4).prop_map(|(id, count, dropped)| {
            Step::Intercepted { id, transactional: Transactional::No, count, dropped }
        }),
        3 => (1..4i64, 1..4, 1..4).prop_map(|(id, count, dropped)| {
            Step::Intercepted { id: Some(id), transactional: Transactional::Yes, count, dropped }
        }),
        4 => (1..4i64, ending).prop_map(|(id, result)| Step::End { id, result }),
        1 => Just(Step::Lead),
        2 => Just(Step::Replicated),
        2 => Just(Step::Durable),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Flush),
        1 => Just(Step::Roll),
        1 => any::<u8>().prop_map(|share| Step::Delete { share }),
    ];
    prop::collection::vec(step, 1..40)
}

/// A log at work, and what its broker would have recorded of it.
struct Machine {
    fixture: Fixture,
    recorded: Recorded,
    sequences: std::collections::BTreeMap<i64, i32>,
    leader_epoch: i32,
    high_watermark: Offset,
    durable_end: Offset,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            fixture: Fixture::new(small_segments()),
            recorded: Recorded::default(),
            sequences: std::collections::BTreeMap::new(),
            leader_epoch: 0,
            high_watermark: Offset::ZERO,
            durable_end: Offset::ZERO,
        }
    }

    fn send(&mut self, spec: Spec, id: Option<i64>) {
        let batch = self.next_batch(spec, id);
        self.append(&batch, AppendOrigin::Client);
    }

    fn append(&mut self, batch: &RecordBatch, origin: AppendOrigin) {
        let leader_epoch = LeaderEpoch::from_wire(self.leader_epoch).unwrap();
        self.fixture.log.append(batch, Append { leader_epoch, origin, ..client() }).unwrap();
    }

    fn next_batch(&mut self, spec: Spec, id: Option<i64>) -> RecordBatch {
        let mut spec = spec;
        if let Some(id) = id {
            let sequence = self.sequences.entry(id).or_insert(0);
            spec.producer = Some((id, 0, *sequence));
            *sequence += spec.count;
        }
        spec.timestamp = NOW.ms() + self.fixture.log.log_end_offset().value() % 37;
        batch(spec)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Plain { count } => self.send(plain(count), None),
            Step::Idempotent { id, count } => self.send(plain(count), Some(id)),
            Step::Transactional { id, count } => {
                self.send(Spec { transactional: Transactional::Yes, ..plain(count) }, Some(id));
            }
            Step::Intercepted { id, transactional, count, dropped } => {
                let whole = self.next_batch(Spec { transactional, ..plain(count) }, id);
                let drop_first =
                    |index| if index < dropped { RecordChange::Drop } else { RecordChange::Keep };
                let left = whole.records(usize::MAX).unwrap().rewritten(drop_first).unwrap();
                let left = whole.with_records(&left, KeyRule::Optional).unwrap();
                self.append(&left, AppendOrigin::Intercepted);
            }
            Step::End { id, result } => {
                let epoch = LeaderEpoch::from_wire(self.leader_epoch).unwrap();
                let marker = marker(id, result);
                self.fixture.log.append_marker(&marker, TransactionVersion::V1, epoch, NOW).unwrap();
            }
            Step::Lead => {
                self.leader_epoch += 1;
                self.fixture.log.become_leader(LeaderEpoch::from_wire(self.leader_epoch).unwrap()).unwrap();
            }
            Step::Replicated => {
                self.high_watermark = self.fixture.log.log_end_offset();
                self.fixture.log.high_watermark_advanced(self.high_watermark);
            }
            Step::Durable => {
                let disk = &self.fixture.disk.disk;
                disk.wait_durable_blocking(self.fixture.log.last_append).unwrap();
                self.durable_end = self.fixture.log.log_end_offset();
            }
            Step::Checkpoint => {
                let recovery_point = self.fixture.log.begin_checkpoint().unwrap();
                self.fixture.disk.disk.checkpoint().unwrap();
                self.recorded.recovery_point = recovery_point;
                self.durable_end = recovery_point;
                self.fixture.log.checkpointed(recovery_point).unwrap();
            }
            Step::Flush => {
                self.recorded.recovery_point = self.fixture.log.flush().unwrap();
                self.durable_end = self.recorded.recovery_point;
            }
            Step::Roll => {
                let end = self.fixture.log.log_end_offset();
                if self.fixture.log.active().size > 0 {
                    self.fixture.log.roll_to(end, NOW).unwrap();
                }
            }
            Step::Delete { share } => {
                let (start, end) = (self.fixture.log.log_start_offset(), self.durable_end);
                let below = start.value() + (end.value() - start.value()).max(0) * i64::from(share) / 255;
                let deleted = self.fixture.log.delete_records_before(offset(below), NOW).unwrap();
                self.recorded.log_start_offset = Some(deleted.log_start_offset);
                deleted.remove().unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The fold over the log is what the live path made, whichever files recovery may believe.
    #[test]
    fn replay_equals_live(steps in steps()) {
        let mut machine = Machine::new();
        for step in steps {
            machine.step(step);
        }
        let before = answers(&machine.fixture.log);
        let Machine { fixture, mut recorded, high_watermark, .. } = machine;
        let (mut log, _) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Unclean)).unwrap();
        log.high_watermark_advanced(high_watermark);
        prop_assert_eq!(&answers(&log), &before);
        recorded.recovery_point = log.close().unwrap();
        let (mut log, report) = Log::open(reopen(&fixture.disk, recorded, LastShutdown::Clean)).unwrap();
        log.high_watermark_advanced(high_watermark);
        prop_assert_eq!(&answers(&log), &before);
        prop_assert_eq!(report.segments_scanned, 0);
    }

    /// A power cut after any step leaves a prefix of the log that holds all that was durable, with
    /// the producers' state of exactly that prefix.
    #[test]
    fn a_power_cut_loses_nothing_durable(steps in steps(), seed in any::<u64>()) {
        let mut machine = Machine::new();
        let mut states = std::collections::BTreeMap::new();
        let settled = |states: &ProducerStates| {
            let mut states = states.clone();
            states.high_watermark_advanced(Offset::MAX);
            states
        };
        states.insert(Offset::ZERO, settled(&machine.fixture.log.producers));
        for (number, step) in steps.into_iter().enumerate() {
            machine.step(step);
            let live = &machine.fixture.log;
            states.insert(live.log_end_offset(), settled(&live.producers));
            let disk = TestDisk::over(machine.fixture.disk.sim.crash(seed.wrapping_add(number as u64)));
            let (log, _) = Log::open(reopen(&disk, machine.recorded, LastShutdown::Unclean)).unwrap();
            prop_assert!(log.log_end_offset() >= machine.durable_end);
            prop_assert_eq!(log.log_start_offset(), live.log_start_offset());
            prop_assert_eq!(epochs_below(live, log.log_end_offset()), epochs_below(&log, log.log_end_offset()));
            let bytes = content(live);
            prop_assert!(bytes.starts_with(&content(&log)));
            prop_assert_eq!(Some(&settled(&log.producers)), states.get(&log.log_end_offset()));
        }
    }

    /// Whatever a segment holds, opening answers, and what is left can be read to its end.
    #[test]
    fn a_segment_of_hostile_bytes_is_cut_or_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..200),
        recovery_point in 0..30i64,
        clean in any::<bool>(),
    ) {
        let fixture = filled();
        let mut bytes = content(&fixture.log);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend_from_slice(&tail);
        let disk = TestDisk::new();
        disk.disk.create_dir_all(DIRECTORY).unwrap();
        disk.disk.write_atomically(&path_of(DIRECTORY, Offset::ZERO, "log"), &bytes).unwrap();
        let recorded = Recorded { recovery_point: offset(recovery_point), log_start_offset: None };
        let shutdown = if clean { LastShutdown::Clean } else { LastShutdown::Unclean };
        if let Ok((log, _)) = Log::open(reopen(&disk, recorded, shutdown)) {
            prop_assert!(bytes.starts_with(&content(&log)));
            prop_assert!(log.log_end_offset() >= offset(recovery_point));
        }
    }
}
