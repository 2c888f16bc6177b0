//! Power cuts at any call of a pass, and of the recovery that finishes one: the old log is left or the new.

use super::super::super::segment::path_of;
use super::*;
use crate::disk::SimFault;

/// Opens what a power cut has left, with what was recorded before it, and compares it with what was written.
fn check_after_crash(machine: &Machine, recorded: Recorded, seed: u64, context: &str) -> usize {
    let disk = TestDisk::over(machine.disk.sim.crash(seed));
    let open = OpenLog {
        recovery_point: recorded.recovery_point,
        now: machine.now(),
        ..open_on(&disk.disk, config())
    };
    let (mut log, report) = Log::open(open).unwrap_or_else(|error| panic!("{context}: {error}"));
    log.high_watermark_advanced(recorded.end);
    assert_eq!(log.log_end_offset(), recorded.end, "{context}");
    assert_eq!(traces(&log), recorded.traces, "{context}");
    let seen = committed(&log, recorded.end);
    check_seen(&machine.written, &seen, 0, recorded.end.value());
    let names: Vec<String> = disk.disk.list(DIRECTORY).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(
        !names.iter().any(|name| name.contains("clean") || name.contains("swap")),
        "{context}: {names:?}"
    );
    report.swaps_finished
}

/// What is known of a log before a pass over it.
#[derive(Clone)]
struct Recorded {
    recovery_point: Offset,
    end: Offset,
    traces: BTreeMap<i64, Trace>,
}

/// How the log came to be durable in its own files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Durable {
    /// By a checkpoint: the journal has forgotten it.
    Checkpoint,
    /// By a flush: the journal would write all of it again.
    Flush,
}

fn durable(how: Durable) -> (Machine, Recorded) {
    let mut machine = filled();
    match how {
        Durable::Checkpoint => machine.checkpoint(),
        Durable::Flush => {
            machine.log().flush().unwrap();
        }
    }
    let log = machine.log();
    let recorded =
        Recorded { recovery_point: log.recovery_point(), end: log.log_end_offset(), traces: traces(log) };
    (machine, recorded)
}

#[test]
fn a_power_cut_at_any_call_of_a_pass_leaves_the_old_log_or_the_new() {
    for how in [Durable::Checkpoint, Durable::Flush] {
        let (mut nth, mut finished) = (0, 0);
        loop {
            let (mut machine, recorded) = durable(how);
            let before = machine.disk.sim.calls();
            machine.disk.sim.fail_call(nth, SimFault::Io);
            let outcome = machine.clean(1 << 16);
            let was_hit = machine.disk.sim.calls() - before > nth;
            assert!(was_hit == outcome.is_err() || !was_hit, "{how:?}, call {nth}: {outcome:?}");
            for seed in 0..4 {
                let context = format!("{how:?}, call {nth}, seed {seed}");
                finished += check_after_crash(&machine, recorded.clone(), seed, &context);
            }
            if !was_hit {
                break;
            }
            nth += 1;
        }
        assert!(nth > 20 && finished > 0, "{how:?}: {nth} calls, {finished} finished by recovery");
    }
}

/// A crash while recovery finishes an exchange, at any of its calls.
#[test]
fn a_power_cut_while_recovery_finishes_an_exchange_changes_nothing() {
    let (mut machine, recorded) = durable(Durable::Checkpoint);
    let request = machine.request(1 << 16);
    let mut pass = machine.log().begin_cleaning(request).unwrap().unwrap();
    pass.build_key_map(NEVER).unwrap();
    let group = pass.groups().remove(0);
    let written = pass.make_files(&group).unwrap();
    let cleaned = pass.copy(&group, written, NEVER).unwrap().unwrap();
    let bases: Vec<Offset> = cleaned.replaces.iter().map(|facts| facts.base_offset).collect();
    assert!(bases.len() > 1);
    // Only the first step of the exchange is done.
    let path = path_of(DIRECTORY, Offset::ZERO, "log");
    let swap = format!("{path}.{:020}.swap", cleaned.segment.next_offset.value());
    machine.log().remove_snapshots_below(cleaned.segment.next_offset).unwrap();
    machine.disk.disk.rename(&format!("{path}.cleaned"), &swap).unwrap();
    for nth in 0..40 {
        let once = TestDisk::over(machine.disk.sim.crash(nth));
        once.sim.fail_call(nth, SimFault::Io);
        let open = OpenLog { recovery_point: recorded.recovery_point, ..open_on(&once.disk, config()) };
        let _ = Log::open(open);
        let again = Machine { disk: once, log: None, written: machine.written.clone(), ..Machine::new() };
        check_after_crash(&again, recorded.clone(), nth, &format!("call {nth}"));
    }
}

/// The entries of the originals are in the journal still when the copy takes their name.
#[test]
fn a_replay_writes_nothing_into_a_compacted_segment() {
    let (mut machine, recorded) = durable(Durable::Flush);
    assert!(machine.clean(1 << 16).unwrap() > 0);
    let paths: Vec<String> = machine.log().segments.iter().map(|segment| segment.path().to_owned()).collect();
    let content: Vec<Vec<u8>> = paths.iter().map(|path| machine.disk.disk.read(path).unwrap()).collect();
    // What comes now is replayed after the crash.
    machine.write(None, Transactional::No, &[(0, false)], 0);
    let last = machine.log().last_append;
    machine.disk.disk.wait_durable_blocking(last).unwrap();
    for seed in 0..20 {
        let (disk, replay) = Disk::open_simulated(machine.disk.sim.crash(seed), Default::default()).unwrap();
        assert!(replay.entries > 0);
        for (path, content) in paths.iter().zip(&content) {
            assert!(disk.read(path).unwrap().starts_with(content), "seed {seed}: {path}");
        }
        let names: Vec<String> = disk.list(DIRECTORY).unwrap().into_iter().map(|entry| entry.name).collect();
        let logs = names.iter().filter(|name| name.ends_with(".log")).count();
        assert_eq!(logs, paths.len(), "seed {seed}: an original came back: {names:?}");
    }
    assert!(recorded.end < machine.log().log_end_offset());
}
