//! Whole passes over logs: a model of what a read-committed reader must see, under any interleaving of
//! producers, passes, deletions and restarts; and who works at the same time.

mod crash;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::super::producer_state::Producer;
use super::super::tests::{DIRECTORY, TestDisk, client, epoch, ident, offset, open_on};
use super::super::*;
use super::*;
use crate::ids::ProducerId;
use crate::wire::control_record::{EndTransaction, TransactionVersion};
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, Compression, NewRecord, Transactional,
};

const NEVER: &dyn Fn() -> bool = &|| false;
const RETENTION_MS: i64 = 1000;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes_max: 500,
        index_interval_bytes: 100,
        cleanup_policy: CleanupPolicy::Compact,
        delete_retention_ms: u64::try_from(RETENTION_MS).unwrap(),
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// A record that was acknowledged: key, value, and whose open transaction it belongs to.
#[derive(Clone, Debug)]
struct Written {
    key: u8,
    value: Option<u8>,
    state: WrittenState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WrittenState {
    Committed,
    Open(i64),
    Aborted,
}

/// A log at work, what its broker would have recorded, and what was written to it.
struct Machine {
    disk: TestDisk,
    log: Option<Log>,
    written: BTreeMap<i64, Written>,
    sequences: BTreeMap<i64, i32>,
    high_watermark: Offset,
    cleaned_to: Option<Offset>,
    log_start: Option<Offset>,
    now: i64,
    value: u8,
    deleted: bool,
}

/// What a restart finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    AllAfterCleanEnd,
    AllAfterKill,
    /// No snapshot and no index: everything is built from the segments.
    SegmentsOnly,
    /// Some index is damaged, so that a segment far below the recovery point is scanned.
    BrokenIndex,
}

#[derive(Clone, Debug)]
enum Step {
    Write { producer: Option<i64>, keys: Vec<(u8, bool)>, codec: usize },
    InTransaction { id: i64, keys: Vec<(u8, bool)>, codec: usize },
    End { id: i64, result: EndTransaction },
    Roll,
    Replicated,
    Time(i64),
    Clean { key_map_bytes_max: usize },
    Delete { share: u8 },
    Restart(Found),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || prop::collection::vec((0..6u8, prop::bool::weighted(0.2)), 1..5);
    let ending = prop_oneof![Just(EndTransaction::Commit), Just(EndTransaction::Abort)];
    let found = prop_oneof![
        Just(Found::AllAfterCleanEnd),
        Just(Found::AllAfterKill),
        Just(Found::SegmentsOnly),
        Just(Found::BrokenIndex),
    ];
    let step = prop_oneof![
        6 => (prop::option::of(10..13i64), keys(), 0..5usize)
            .prop_map(|(producer, keys, codec)| Step::Write { producer, keys, codec }),
        8 => (1..4i64, keys(), 0..5usize)
            .prop_map(|(id, keys, codec)| Step::InTransaction { id, keys, codec }),
        6 => (1..4i64, ending).prop_map(|(id, result)| Step::End { id, result }),
        4 => Just(Step::Roll),
        2 => Just(Step::Replicated),
        2 => (0..2 * RETENTION_MS).prop_map(Step::Time),
        5 => prop_oneof![Just(1usize), Just(8 * key_map::SLOT_BYTES), Just(1 << 16)]
            .prop_map(|key_map_bytes_max| Step::Clean { key_map_bytes_max }),
        1 => any::<u8>().prop_map(|share| Step::Delete { share }),
        2 => found.prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..70)
}

/// What recovery must have of a producer, whatever files it found: the rest are older duplicates.
type Trace = (i16, Option<(i32, i64)>, Option<i64>);

impl Machine {
    fn new() -> Machine {
        let disk = TestDisk::new();
        let (log, _) = Log::open(open_on(&disk.disk, config())).unwrap();
        Machine {
            disk,
            log: Some(log),
            written: BTreeMap::new(),
            sequences: BTreeMap::new(),
            high_watermark: Offset::ZERO,
            cleaned_to: None,
            log_start: None,
            now: 1_000_000,
            value: 0,
            deleted: false,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.now)
    }

    fn write(&mut self, id: Option<i64>, transactional: Transactional, keys: &[(u8, bool)], codec: usize) {
        let count = i32::try_from(keys.len()).unwrap();
        let producer = id.map(|id| {
            if self.deleted {
                // Its batches may be gone, and with them what it sent.
                let known = self.log().producers.get(ident(id, 0).id).and_then(Producer::last_sequence);
                self.sequences.insert(id, known.map_or(0, |last| last.value() + 1));
            }
            let sequence = self.sequences.entry(id).or_insert(0);
            let base_sequence = Sequence::from_wire(*sequence);
            *sequence += count;
            BatchProducer { ident: ident(id, 0), base_sequence }
        });
        let compression = Compression::ALL[codec];
        let options = BatchOptions { producer, transactional, compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let end = self.log().log_end_offset().value();
        for ((key, is_tombstone), at) in keys.iter().zip(end..) {
            self.value = self.value.wrapping_add(1);
            let value = (!is_tombstone).then_some(self.value);
            let (key_bytes, value_bytes) = ([*key; 3], value.map(|value| [value; 20]));
            let value_bytes = value_bytes.as_ref().map(|bytes| &bytes[..]);
            let record =
                NewRecord { timestamp: self.now, key: Some(&key_bytes), value: value_bytes, headers: &[] };
            builder.append(record);
            let state = match (transactional, id) {
                (Transactional::Yes, Some(id)) => WrittenState::Open(id),
                _ => WrittenState::Committed,
            };
            self.written.insert(at, Written { key: *key, value, state });
        }
        let how = Append { now: self.now(), ..client() };
        let appended = self.log().append(&builder.build(), how).unwrap();
        assert_eq!(appended.base_offset.value(), end);
    }

    fn end(&mut self, id: i64, result: EndTransaction) {
        let marker = super::super::tests::marker(id, result);
        let now = self.now();
        self.log().append_marker(&marker, TransactionVersion::V1, epoch(0), now).unwrap();
        let ended = match result {
            EndTransaction::Commit => WrittenState::Committed,
            EndTransaction::Abort => WrittenState::Aborted,
        };
        for written in self.written.values_mut().filter(|written| written.state == WrittenState::Open(id)) {
            written.state = ended;
        }
    }

    fn request(&self, key_map_bytes_max: usize) -> CleaningRequest {
        CleaningRequest {
            high_watermark: self.high_watermark,
            cleaned_to: self.cleaned_to,
            key_map_bytes_max,
            now: self.now(),
        }
    }

    fn replicate(&mut self) {
        self.high_watermark = self.log().log_end_offset();
        let high_watermark = self.high_watermark;
        self.log().high_watermark_advanced(high_watermark);
    }

    fn checkpoint(&mut self) {
        let recovery_point = self.log().begin_checkpoint().unwrap();
        self.disk.disk.checkpoint().unwrap();
        self.log().checkpointed(recovery_point).unwrap();
    }

    fn clean(&mut self, key_map_bytes_max: usize) -> Result<usize, CleaningError> {
        let request = self.request(key_map_bytes_max);
        let Some(mut pass) = self.log().begin_cleaning(request)? else { return Ok(0) };
        pass.build_key_map(NEVER)?;
        assert!(pass.end_offset() > pass.first_dirty_offset, "every pass gets on");
        let mut replaced = 0;
        for group in pass.groups() {
            let files = pass.make_files(&group)?;
            let Some(cleaned) = pass.copy(&group, files, NEVER)? else { continue };
            drop(self.log().replace_segments(cleaned)?);
            replaced += 1;
        }
        self.cleaned_to = Some(pass.end_offset());
        Ok(replaced)
    }

    fn restart(&mut self, found: Found) {
        let log = self.log.take().unwrap();
        let before = traces(&log);
        let end = log.log_end_offset();
        let (mut recovery_point, shutdown) = match found {
            Found::AllAfterCleanEnd => (log.close().unwrap(), LastShutdown::Clean),
            Found::AllAfterKill | Found::SegmentsOnly | Found::BrokenIndex => {
                log.disk.wait_durable_blocking(log.last_append).unwrap();
                (log.recovery_point(), LastShutdown::Unclean)
            }
        };
        if found == Found::SegmentsOnly {
            recovery_point = Offset::ZERO;
        }
        self.lose_files(found);
        let open = OpenLog {
            recovery_point,
            log_start_offset: self.log_start,
            shutdown,
            now: self.now(),
            ..open_on(&self.disk.disk, config())
        };
        let (mut log, _) = Log::open(open).unwrap();
        assert_eq!(log.log_end_offset(), end);
        // A broker counts what it has found as replicated.
        self.high_watermark = end;
        log.high_watermark_advanced(end);
        let after = traces(&log);
        if self.deleted {
            // How much is known of a producer whose records were deleted depends on the files that are
            // left; no transaction may come back or stay open.
            let agrees = |(id, after): (&i64, &Trace)| {
                before
                    .get(id)
                    .is_none_or(|before| after.0 == before.0 && after.2.is_some() == before.2.is_some())
            };
            assert!(after.iter().all(agrees), "{after:?} of {before:?}");
        } else {
            assert_eq!(after, before, "{found:?}");
        }
        self.log = Some(log);
    }

    fn lose_files(&self, found: Found) {
        let names: Vec<String> =
            self.disk.disk.list(DIRECTORY).unwrap().into_iter().map(|entry| entry.name).collect();
        assert!(!names.iter().any(|name| name.contains("clean") || name.contains("swap")), "{names:?}");
        let lost: Vec<&String> = match found {
            Found::AllAfterCleanEnd | Found::AllAfterKill => Vec::new(),
            Found::SegmentsOnly => {
                names.iter().filter(|name| name.ends_with("index") || name.ends_with("snapshot")).collect()
            }
            Found::BrokenIndex => names.iter().filter(|name| name.ends_with("txnindex")).take(2).collect(),
        };
        for name in lost {
            self.disk.disk.remove_file(&format!("{DIRECTORY}/{name}")).unwrap();
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { producer, keys, codec } => self.write(*producer, Transactional::No, keys, *codec),
            Step::InTransaction { id, keys, codec } => {
                self.write(Some(*id), Transactional::Yes, keys, *codec);
            }
            Step::End { id, result } => self.end(*id, *result),
            Step::Roll => {
                let (end, now) = (self.log().log_end_offset(), self.now());
                if self.log().active().size > 0 {
                    self.log().roll_to(end, now).unwrap();
                }
            }
            Step::Replicated => self.replicate(),
            Step::Time(ms) => self.now += ms,
            Step::Clean { key_map_bytes_max } => {
                self.replicate();
                self.checkpoint();
                self.clean(*key_map_bytes_max).unwrap();
            }
            Step::Delete { share } => {
                let (start, end) = (self.log().log_start_offset().value(), self.high_watermark.value());
                let below = start + (end - start).max(0) * i64::from(*share) / 512;
                let now = self.now();
                let deleted = self.log().delete_records_before(offset(below), now).unwrap();
                self.log_start = Some(deleted.log_start_offset);
                deleted.remove().unwrap();
                self.deleted = true;
            }
            Step::Restart(found) => self.restart(*found),
        }
        self.check();
    }

    /// The reader sees only what was written and committed, at its offset, and each key's last value.
    fn check(&self) {
        let log = self.log.as_ref().unwrap();
        let seen = committed(log, self.high_watermark);
        let stable = log.last_stable_offset(self.high_watermark).value();
        check_seen(&self.written, &seen, log.log_start_offset().value(), stable);
    }
}

fn check_seen(written: &BTreeMap<i64, Written>, seen: &[Seen], start: i64, stable: i64) {
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "offsets grow: {seen:?}");
    for (at, key, value) in seen {
        let written = &written[at];
        assert_eq!((*key, *value, written.state), (written.key, written.value, WrittenState::Committed));
    }
    let mut expected = BTreeMap::new();
    for (_, written) in written.range(start..stable) {
        if written.state == WrittenState::Committed {
            expected.insert(written.key, written.value);
        }
    }
    expected.retain(|_, value| value.is_some());
    let mut last: BTreeMap<u8, Option<u8>> = seen.iter().map(|(_, key, value)| (*key, *value)).collect();
    last.retain(|_, value| value.is_some());
    assert_eq!(last, expected);
}

/// Offset, key, value.
type Seen = (i64, u8, Option<u8>);

/// What a read-committed consumer sees, by the rules of Kafka's own.
fn committed(log: &Log, high_watermark: Offset) -> Vec<Seen> {
    let upper = log.last_stable_offset(high_watermark);
    let (mut next, mut seen) = (log.log_start_offset(), Vec::new());
    while next < upper {
        let read = log.read(next, upper, 300, AtLeastOneBatch::Yes).unwrap();
        assert!(!read.is_empty(), "a reader is stuck at {next} below {upper}");
        let aborted = log.aborted_transactions(next, read.next_offset).unwrap();
        see(read.to_bytes().unwrap(), aborted, next, &mut seen);
        assert!(read.next_offset > next);
        next = read.next_offset;
    }
    seen
}

fn see(mut bytes: Bytes, aborted: Vec<AbortedTransaction>, from: Offset, seen: &mut Vec<Seen>) {
    let mut waiting = aborted.into_iter().peekable();
    let mut hidden: BTreeSet<ProducerId> = BTreeSet::new();
    while let Some(batch) = RecordBatch::take_first(&mut bytes).unwrap() {
        let header = batch.header();
        while let Some(begun) = waiting.next_if(|aborted| aborted.first_offset <= header.last_offset()) {
            hidden.insert(begun.producer_id);
        }
        let producer = header.producer.map(|producer| producer.ident.id);
        if header.is_control {
            if let Some(marker) = EndTransactionMarker::from_batch(&batch).unwrap()
                && marker.result == EndTransaction::Abort
            {
                hidden.remove(&marker.producer.id);
            }
            continue;
        }
        if header.is_transactional && producer.is_some_and(|id| hidden.contains(&id)) {
            continue;
        }
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            if record.offset >= from {
                seen.push((record.offset.value(), record.key.unwrap()[0], record.value.map(|v| v[0])));
            }
        }
    }
}

fn traces(log: &Log) -> BTreeMap<i64, Trace> {
    let trace = |producer: &Producer| {
        let last = producer.batches.back();
        (
            producer.epoch.value(),
            last.map(|batch| (batch.last_sequence.value(), batch.last_offset.value())),
            producer.transaction.map(|transaction| transaction.first_offset.value()),
        )
    };
    log.producers.producers().iter().map(|(id, producer)| (id.value(), trace(producer))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, a reader sees each key's last committed value before and after any number of passes,
    /// and a restart finds the producers as they were.
    #[test]
    fn a_reader_sees_the_last_value_of_each_key(steps in steps()) {
        let mut machine = Machine::new();
        for step in &steps {
            machine.step(step);
        }
        for found in [Found::AllAfterKill, Found::SegmentsOnly, Found::AllAfterCleanEnd] {
            machine.step(&Step::Clean { key_map_bytes_max: 1 << 16 });
            machine.step(&Step::Restart(found));
        }
    }
}

/// A log with transactions of both ends, tombstones, an idempotent producer and several segments.
fn filled() -> Machine {
    let mut machine = Machine::new();
    for round in 0..6u8 {
        let keys = [(round % 3, false), (round % 2, false), (5, round == 4)];
        machine.write(Some(10), Transactional::No, &keys, usize::from(round) % 5);
        machine.write(Some(1), Transactional::Yes, &[(round % 4, false), (4, true)], 0);
        machine.write(None, Transactional::No, &[(3, false)], 1);
        machine.write(Some(2), Transactional::Yes, &[(round % 2, false)], 0);
        machine.end(1, if round % 2 == 0 { EndTransaction::Commit } else { EndTransaction::Abort });
        machine.end(2, EndTransaction::Abort);
    }
    machine.replicate();
    // From now on several of these segments fit into one.
    machine.log().set_config(LogConfig { segment_bytes_max: 1600, ..config() });
    machine
}

fn files(machine: &Machine) -> Vec<String> {
    machine.disk.disk.list(DIRECTORY).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn closed_bytes(log: &Log) -> u64 {
    log.segments.iter().rev().skip(1).map(|segment| segment.size).sum()
}

#[test]
fn a_pass_shrinks_a_log_joins_its_segments_and_leaves_no_trace_of_itself() {
    let mut machine = filled();
    machine.checkpoint();
    let (segments, bytes) = (machine.log().segment_count(), closed_bytes(machine.log()));
    assert!(machine.clean(1 << 16).unwrap() > 0);
    assert!(machine.log().segment_count() < segments);
    assert!(closed_bytes(machine.log()) < bytes / 2, "{} of {bytes}", closed_bytes(machine.log()));
    machine.check();
    let names = files(&machine);
    let logs = names.iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(logs, machine.log().segment_count(), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("clean") || name.contains("swap")), "{names:?}");
    assert_eq!(machine.clean(1 << 16).unwrap(), 0, "nothing is dirty");
}

#[test]
fn tombstones_and_markers_of_nothing_are_gone_in_the_end() {
    let mut machine = filled();
    // All that was written is overtaken, and the tombstones have nothing left to hide.
    machine.write(None, Transactional::No, &[0, 1, 2, 3, 4, 5].map(|key| (key, true)), 0);
    for _ in 0..3 {
        let (end, now) = (machine.log().log_end_offset(), machine.now());
        machine.log().roll_to(end, now).unwrap();
        machine.write(None, Transactional::No, &[(0, true)], 0);
        machine.step(&Step::Clean { key_map_bytes_max: 1 << 16 });
        machine.now += RETENTION_MS;
    }
    let high_watermark = machine.high_watermark;
    let seen = committed(machine.log(), high_watermark);
    assert!(seen.len() <= 2, "{seen:?}");
    let mut batches = 0;
    for segment in &machine.log().segments {
        let mut scan = segment.headers(0).unwrap();
        while scan.next().unwrap().is_some() {
            batches += 1;
        }
    }
    // The producers' last batches with their markers, the segments' last ones, and the last tombstones.
    assert!(batches <= 10, "{batches}");
}

/// A snapshot that saw the transaction open would wait for ever for the marker that a pass has removed.
#[test]
fn no_transaction_comes_back_from_a_snapshot_of_before_its_marker_went() {
    let mut machine = Machine::new();
    machine.write(Some(1), Transactional::Yes, &[(0, false)], 0);
    machine.write(None, Transactional::No, &[(0, false)], 0);
    machine.step(&Step::Roll);
    machine.write(None, Transactional::No, &[(1, false)], 0);
    machine.end(1, EndTransaction::Abort);
    machine.write(None, Transactional::No, &[(2, false)], 0);
    machine.step(&Step::Roll);
    // The producer is forgotten, so that nothing keeps its last batch.
    machine.now += 2 * 24 * 3_600_000;
    let now = machine.now();
    machine.log().expire_producers(now);
    // Each segment stays one of its own.
    machine.log().set_config(LogConfig { segment_bytes_max: 100, ..config() });
    let marker_is_there = |machine: &mut Machine| {
        let mut scan = machine.log().segments[1].headers(0).unwrap();
        std::iter::from_fn(|| scan.next().unwrap()).any(|batch| batch.header.is_control)
    };
    for _ in 0..4 {
        assert!(machine.log().segments[1].base_offset == offset(2) && marker_is_there(&mut machine));
        machine.write(None, Transactional::No, &[(3, false)], 0);
        machine.step(&Step::Roll);
        machine.step(&Step::Clean { key_map_bytes_max: 1 << 16 });
        machine.now += RETENTION_MS;
        if !marker_is_there(&mut machine) {
            break;
        }
    }
    assert!(!marker_is_there(&mut machine));
    let index = machine.log().segments[1].path().replace(".log", ".txnindex");
    machine.disk.disk.remove_file(&index).unwrap();
    machine.step(&Step::Restart(Found::AllAfterKill));
    assert_eq!(machine.log().first_unstable_offset(), None);
}

#[test]
fn nothing_above_the_recovery_point_or_undecided_is_touched() {
    let mut machine = filled();
    assert_eq!(machine.clean(1 << 16).unwrap(), 0, "all of it is above the recovery point");
    let mut machine = Machine::new();
    machine.write(Some(3), Transactional::Yes, &[(0, false)], 0);
    for _ in 0..20 {
        machine.write(None, Transactional::No, &[(0, false)], 0);
    }
    machine.replicate();
    machine.checkpoint();
    assert_eq!(machine.clean(1 << 16).unwrap(), 0, "the first record is undecided");
    machine.end(3, EndTransaction::Abort);
    assert_eq!(machine.clean(1 << 16).unwrap(), 0, "its end is not replicated");
    machine.replicate();
    assert!(machine.clean(1 << 16).unwrap() > 0);
}

#[test]
fn a_reader_goes_on_with_what_it_holds_and_finds_the_next_batch_in_a_gap() {
    let mut machine = filled();
    machine.checkpoint();
    let upper = machine.high_watermark;
    let mut held = Vec::new();
    for from in (0..upper.value()).step_by(3) {
        let read = machine.log().read(offset(from), upper, 1, AtLeastOneBatch::Yes).unwrap();
        held.push((read.to_bytes().unwrap(), read));
    }
    assert!(machine.clean(1 << 16).unwrap() > 0);
    for (bytes, read) in held {
        assert_eq!(read.to_bytes().unwrap(), bytes, "the old file is there as long as somebody reads it");
    }
    for from in 0..upper.value() {
        let read = machine.log().read(offset(from), upper, 1, AtLeastOneBatch::Yes).unwrap();
        let mut bytes = read.to_bytes().unwrap();
        let first = RecordBatch::take_first(&mut bytes).unwrap().expect("there is always a next batch");
        assert!(first.header().last_offset() >= offset(from));
    }
}

#[test]
fn a_pass_that_a_deletion_overtakes_changes_nothing_and_leaves_no_file() {
    let mut machine = filled();
    machine.checkpoint();
    let request = machine.request(1 << 16);
    let mut pass = machine.log().begin_cleaning(request).unwrap().unwrap();
    pass.build_key_map(NEVER).unwrap();
    let groups = pass.groups();
    let written = pass.make_files(&groups[0]).unwrap();
    let cleaned = pass.copy(&groups[0], written, NEVER).unwrap().unwrap();
    let start = machine.log().segments[1].base_offset;
    let deleted = machine.log().delete_records_before(start, Timestamp::from_ms(0)).unwrap();
    machine.log_start = Some(deleted.log_start_offset);
    let before = machine.log().segment_count();
    let overtaken = machine.log().replace_segments(cleaned);
    assert!(matches!(overtaken, Err(CleaningError::Overtaken)));
    deleted.remove().unwrap();
    assert_eq!(machine.log().segment_count(), before);
    assert!(!files(&machine).iter().any(|name| name.contains("clean")));
    machine.check();
    machine.deleted = true;
    machine.restart(Found::AllAfterKill);
    machine.check();
}

#[test]
fn a_pass_that_is_stopped_or_finds_damage_leaves_no_file_and_all_that_was() {
    let mut machine = filled();
    machine.checkpoint();
    let request = machine.request(1 << 16);
    let mut pass = machine.log().begin_cleaning(request).unwrap().unwrap();
    pass.build_key_map(NEVER).unwrap();
    let group = pass.groups().remove(0);
    let written = pass.make_files(&group).unwrap();
    let stopped = pass.copy(&group, written, &|| true);
    assert!(matches!(stopped, Err(CleaningError::Stopped)));
    let path = machine.log().segments[0].path().to_owned();
    assert!(machine.disk.sim.flip_bit(&path, 80));
    let damaged = machine.clean(1 << 16);
    assert!(matches!(damaged, Err(CleaningError::Failed(LogError::Corrupt { .. }))), "{damaged:?}");
    assert!(machine.disk.sim.flip_bit(&path, 80));
    assert!(!files(&machine).iter().any(|name| name.contains("clean")));
    machine.check();
}
