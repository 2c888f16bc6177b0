//! The disk as its callers see it: what survives a power cut, what goes offline, what is refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    Disk, DiskError, DiskFile, DiskOptions, FlushMode, JournalPosition, OpenMode, SimDisk, SimFault,
};

fn options() -> DiskOptions {
    DiskOptions {
        flush: FlushMode::Ack,
        journal_file_bytes: 512,
        journal_first_file_bytes: 512,
        journal_bytes_max: 4096,
        ..DiskOptions::default()
    }
}

fn open(sim: &SimDisk) -> Disk {
    Disk::open_simulated(sim.clone(), options()).expect("opens").0
}

fn create(disk: &Disk, path: &str) -> DiskFile {
    disk.open_file(path, OpenMode::Create).expect("creates")
}

fn append(file: &DiskFile, position: u64, bytes: &[u8]) -> JournalPosition {
    file.append(position, &[Bytes::copy_from_slice(bytes)]).expect("appends")
}

fn append_durably(disk: &Disk, file: &DiskFile, position: u64, bytes: &[u8]) {
    disk.wait_durable_blocking(append(file, position, bytes)).expect("durable");
}

#[test]
fn an_append_through_a_second_handle_survives_though_the_file_is_new() {
    for seed in 0..100 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        disk.create_dir_all("a-0").expect("makes the directory");
        drop(create(&disk, "a-0/log"));
        let again = disk.open_file("a-0/log", OpenMode::ReadWrite).expect("opens");
        append_durably(&disk, &again, 0, b"acknowledged");
        let left = open(&sim.crash(seed));
        assert_eq!(left.read("a-0/log").expect("is there"), b"acknowledged", "seed {seed}");
    }
}

#[test]
fn a_truncation_through_a_second_handle_is_not_undone_by_replay() {
    for seed in 0..100 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        append_durably(&disk, &create(&disk, "log"), 0, b"kept, cut");
        let again = disk.open_file("log", OpenMode::ReadWrite).expect("opens");
        let position = again.truncate(4).expect("truncates");
        disk.wait_durable_blocking(position).expect("durable");
        again.sync().expect("syncs");
        assert_eq!(open(&sim.crash(seed)).read("log").expect("is there"), b"kept", "seed {seed}");
    }
}

#[test]
fn bytes_are_read_behind_what_is_there_and_no_more_than_were_asked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let on_disk = Disk::open(directory.path(), options()).expect("opens").0;
    for disk in [on_disk, open(&SimDisk::new())] {
        let file = create(&disk, "log");
        append_durably(&disk, &file, 0, b"0123456789");
        let mut bytes = Vec::with_capacity(1 << 10);
        bytes.extend_from_slice(b"in front ");
        file.read_onto(3, 4, &mut bytes).expect("reads");
        assert_eq!(bytes, b"in front 3456");
        file.read_onto(0, 0, &mut bytes).expect("reads nothing");
        file.read_onto(7, 3, &mut bytes).expect("reads to the end");
        assert_eq!(bytes, b"in front 3456789");
        let short = file.read_onto(7, 4, &mut Vec::new());
        assert!(
            matches!(short, Err(DiskError::TooShort { wanted: 4, got: 3, position: 7, .. })),
            "{short:?}"
        );
        assert!(matches!(file.read_onto(99, 1, &mut Vec::new()), Err(DiskError::TooShort { got: 0, .. })));
    }
}

#[test]
fn a_topic_made_again_finds_no_segment_of_the_deleted_one() {
    for seed in 0..100 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        disk.create_dir_all("t-0").expect("makes the directory");
        append_durably(&disk, &create(&disk, "t-0/500.log"), 0, b"old");
        disk.rename("t-0", "t-0.gone-delete").expect("renames");
        disk.create_dir_all("t-0").expect("makes the directory");
        append_durably(&disk, &create(&disk, "t-0/0.log"), 0, b"new");
        let names: Vec<String> =
            open(&sim.crash(seed)).list("t-0").expect("lists").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["0.log"], "seed {seed}");
    }
}

#[test]
fn an_atomic_write_into_a_new_directory_survives() {
    for seed in 0..100 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        disk.create_dir_all("a/b").expect("makes the directories");
        disk.write_atomically("a/b/state", b"whole").expect("writes");
        assert_eq!(open(&sim.crash(seed)).read("a/b/state").expect("is there"), b"whole", "seed {seed}");
    }
}

#[test]
fn an_atomic_write_over_an_appended_file_is_not_undone_by_replay() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    append_durably(&disk, &create(&disk, "state"), 0, b"from the journal");
    disk.write_atomically("state", b"whole").expect("writes");
    assert_eq!(open(&sim.crash(3)).read("state").expect("is there"), b"whole");
}

#[test]
fn a_rename_over_an_appended_file_is_not_undone_by_replay() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    append_durably(&disk, &create(&disk, "target"), 0, b"a longer text that was there");
    let source = create(&disk, "source");
    source.write_at(0, b"new").expect("writes");
    source.sync().expect("syncs");
    disk.rename("source", "target").expect("renames");
    assert_eq!(open(&sim.crash(3)).read("target").expect("is there"), b"new");
}

#[test]
fn a_failed_sync_of_any_kind_takes_the_disk_offline() {
    type Act = fn(&Disk, &DiskFile) -> Result<(), DiskError>;
    let acts: [(&str, u64, Act); 5] = [
        ("file.sync", 0, |_, file| file.sync()),
        ("sync_dir", 0, |disk, _| disk.sync_dir("")),
        ("write_atomically's fsync", 3, |disk, _| disk.write_atomically("state", b"x")),
        ("checkpoint's file", 0, |disk, _| disk.checkpoint()),
        ("checkpoint's note", 4, |disk, _| disk.checkpoint()),
    ];
    for (name, nth, act) in acts {
        let sim = SimDisk::new();
        let disk = open(&sim);
        let file = create(&disk, "log");
        append_durably(&disk, &file, 0, b"x");
        sim.fail_call(nth, SimFault::Io);
        act(&disk, &file).expect_err(name);
        let offline = disk.health().expect_err(name);
        assert!(
            offline.is_offline() && offline.to_string().contains("Input/output error"),
            "{name}: {offline}"
        );
        assert!(disk.exists("log").expect_err(name).is_offline(), "{name}");
        assert!(disk.read("log").expect_err(name).is_offline(), "{name}");
        assert!(disk.wait_durable_blocking(JournalPosition::ZERO).expect_err(name).is_offline(), "{name}");
    }
}

#[test]
fn a_simulated_journal_stays_bounded_without_anyone_asking_for_a_checkpoint() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    for round in 0..500 {
        append_durably(&disk, &file, round % 4 * 100, &[b'x'; 100]);
    }
    let used = sim.bytes_used();
    assert!(used < 2 * 4096, "{used} bytes for a journal of at most 4096");
}

#[test]
fn a_journal_smaller_than_one_of_its_files_does_not_checkpoint_at_every_commit() {
    let sim = SimDisk::new();
    let options = DiskOptions { journal_bytes_max: 64 << 10, ..DiskOptions::default() };
    let (disk, _) = Disk::open_simulated(sim.clone(), options).expect("opens");
    let file = create(&disk, "log");
    for round in 0..1000 {
        append_durably(&disk, &file, round * 200, &[b'x'; 200]);
    }
    // An append, a journal write and a sync each, and few checkpoints between them.
    assert!(sim.calls() < 3 * 1000 + 300, "{} calls", sim.calls());
}

#[test]
fn a_disk_dropped_without_close_lets_go_of_its_directory_and_is_replayed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, _) = Disk::open(directory.path(), options()).expect("opens");
    let file = create(&disk, "log");
    append_durably(&disk, &file, 0, b"acknowledged");
    drop(file);
    drop(disk);
    let (disk, replay) = Disk::open(directory.path(), options()).expect("opens again");
    assert_eq!((replay.entries, replay.bytes, replay.files), (2, 12, 1));
    assert_eq!(disk.read("log").expect("is there"), b"acknowledged");
}

#[test]
fn rot_in_the_middle_of_the_journal_is_reported_and_not_cut() {
    let sim = SimDisk::new();
    let (disk, _) =
        Disk::open_simulated(sim.clone(), DiskOptions { journal_bytes_max: 1 << 20, ..options() })
            .expect("opens");
    let file = create(&disk, "log");
    for round in 0..20 {
        append_durably(&disk, &file, round * 100, &[b'x'; 100]);
    }
    assert!(sim.flip_bit("journal/00000000000000000001.journal", 60));
    let Err(error) = Disk::open_simulated(sim.crash(1), options()) else { panic!("opened over rot") };
    assert!(matches!(error, DiskError::Corrupt { .. }), "{error}");
}

#[test]
fn whichever_call_fails_nothing_reported_durable_is_lost() {
    for fault in [SimFault::Io, SimFault::ShortWrite, SimFault::Full] {
        let mut nth = 0;
        while check_one_fault(nth, fault) {
            nth += 1;
        }
        assert!(nth > 100, "only {nth} calls were tried");
    }
}

/// Works until the fault hits, cuts the power, and looks; false once the fault came too late.
fn check_one_fault(nth: u64, fault: SimFault) -> bool {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let before = sim.calls();
    sim.fail_call(nth, fault);
    let mut acknowledged = [0u64; 2];
    let worked = work(&disk, &mut acknowledged);
    if worked.is_err() && fault != SimFault::Full {
        assert!(disk.health().expect_err("a broken device").is_offline(), "call {nth}, {fault:?}");
    }
    let left = open(&sim.crash(nth));
    for (number, acknowledged) in acknowledged.iter().enumerate() {
        let bytes = left.read(&format!("t/{number}.log")).unwrap_or_default();
        let kept =
            bytes.iter().enumerate().take_while(|(at, byte)| **byte == content(*at as u64)).count() as u64;
        assert!(kept >= *acknowledged, "call {nth}, {fault:?}: file {number} kept {kept} of {acknowledged}");
    }
    sim.calls() - before > nth
}

fn content(position: u64) -> u8 {
    (position % 251) as u8
}

fn work(disk: &Disk, acknowledged: &mut [u64; 2]) -> Result<(), DiskError> {
    disk.create_dir_all("t")?;
    let files = [disk.open_file("t/0.log", OpenMode::Create)?, disk.open_file("t/1.log", OpenMode::Create)?];
    for round in 0..20u64 {
        for (file, acknowledged) in files.iter().zip(acknowledged.iter_mut()) {
            let bytes: Vec<u8> = (round * 90..(round + 1) * 90).map(content).collect();
            let position = file.append(round * 90, &[bytes.into()])?;
            disk.wait_durable_blocking(position)?;
            *acknowledged = (round + 1) * 90;
        }
        if round == 9 {
            disk.write_atomically("state", b"state")?;
            disk.rename("state", "t/state")?;
        }
    }
    Ok(())
}

#[test]
fn a_client_cannot_forge_an_entry_for_a_file_that_is_not_its_own() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    // The entry of another data directory, whose secret is another: as good as a guess.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (other, _) = Disk::open(directory.path(), options()).expect("opens");
    append_durably(&other, &create(&other, "forged"), 0, b"forged");
    drop(other);
    let forged = std::fs::read(directory.path().join("journal/00000000000000000001.journal")).expect("reads");
    assert!(forged.windows(6).any(|window| window == b"forged"));
    append_durably(&disk, &file, 0, &forged);
    let left = open(&sim.crash(1));
    assert!(!left.exists("forged").expect("looks"));
}

#[test]
fn journal_files_are_recycled_over_a_restart_and_stay_few() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for run in 0..5u64 {
        let (disk, replay) = Disk::open(directory.path(), options()).expect("opens");
        assert_eq!(replay.entries, 0, "run {run}: a closed disk has nothing to replay");
        let file = create(&disk, "log");
        for round in 0..100 {
            append_durably(&disk, &file, (run * 100 + round) * 50, &[content(run); 50]);
        }
        disk.close().expect("closes");
    }
    let files = std::fs::read_dir(directory.path().join("journal")).expect("lists").count();
    assert!(files <= 8 + 8 + 3, "{files} journal files");
    let log = std::fs::read(directory.path().join("log")).expect("reads");
    assert_eq!(log, (0..5).flat_map(|run| [content(run); 5000]).collect::<Vec<u8>>());
}

#[test]
fn a_full_queue_makes_appenders_wait_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = DiskOptions { journal_queue_bytes_max: 1, ..options() };
    let (disk, _) = Disk::open(directory.path(), options).expect("opens");
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let file = create(&disk, &format!("log-{number}"));
            std::thread::spawn(move || (0..50).map(|round| append(&file, round * 64, &[7; 64])).max())
        })
        .collect();
    for thread in threads {
        let last = thread.join().expect("no panic").expect("appended");
        disk.wait_durable_blocking(last).expect("durable");
    }
    drop(disk);
    let (disk, _) = Disk::open(directory.path(), self::options()).expect("opens again");
    for number in 0..4 {
        assert_eq!(disk.read(&format!("log-{number}")).expect("is there"), [7; 50 * 64]);
    }
}

#[test]
fn callbacks_and_futures_hear_of_success_failure_and_the_end() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    let hear = |position| {
        let (sender, receiver) = std::sync::mpsc::channel();
        disk.notify_durable(
            position,
            Box::new(move |outcome| sender.send(outcome).expect("somebody listens")),
        );
        receiver.try_recv().expect("a simulated disk answers at once")
    };
    hear(append(&file, 0, b"x")).expect("durable");
    let position = append(&file, 1, b"y");
    sim.fail_call(0, SimFault::Io);
    assert!(hear(position).expect_err("the journal's write fails").is_offline());

    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, _) = Disk::open(directory.path(), options()).expect("opens");
    let position = append(&create(&disk, "log"), 0, b"x");
    disk.close().expect("closes");
    disk.wait_durable_blocking(position).expect("closing made it durable");
    let beyond = JournalPosition(position.number() + 1);
    assert!(matches!(disk.wait_durable_blocking(beyond), Err(DiskError::Closed { .. })));
    assert!(matches!(disk.list(""), Err(DiskError::Closed { .. })));
}

#[test]
fn paths_that_leave_the_directory_or_touch_the_rooms_own_files_are_refused() {
    let disk = open(&SimDisk::new());
    let long = "x".repeat(5000);
    for path in ["", "/etc/passwd", "a//b", "../up", "a/../b", ".", "journal/x", ".lock", "a\0b", &long] {
        let error = disk.open_file(path, OpenMode::Create).expect_err(path);
        assert!(matches!(error, DiskError::BadPath { .. }), "{path}: {error}");
    }
    assert_eq!(disk.list("").expect("lists"), []);
}

#[test]
fn a_removed_file_refuses_writes_and_a_missing_one_is_named() {
    let disk = open(&SimDisk::new());
    let file = create(&disk, "log");
    disk.remove_file("log").expect("removes");
    let error = file.append(0, &[Bytes::from_static(b"x")]).expect_err("nowhere to go");
    assert!(matches!(error, DiskError::Removed { .. }), "{error}");
    let error = disk.read("log").expect_err("gone");
    assert!(error.is_not_found() && error.to_string().contains("log"), "{error}");
}

#[derive(Clone, Debug)]
enum Step {
    Append { file: u8, bytes: u8, through: Through },
    Wait,
    Checkpoint,
    Cut(u8),
    Remove(u8),
    Rename { from: u8, to: u8 },
    PowerCut(u64),
    Kill,
}

#[derive(Clone, Copy, Debug)]
enum Through {
    SameHandle,
    NewHandle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let through = prop_oneof![Just(Through::SameHandle), Just(Through::NewHandle)];
    let append =
        (0u8..3, 1u8..250, through).prop_map(|(file, bytes, through)| Step::Append { file, bytes, through });
    let step = prop_oneof![
        12 => append,
        6 => Just(Step::Wait),
        1 => Just(Step::Checkpoint),
        2 => (0u8..3).prop_map(Step::Cut),
        1 => (0u8..3).prop_map(Step::Remove),
        1 => (0u8..3, 0u8..3).prop_map(|(from, to)| Step::Rename { from, to }),
        2 => any::<u64>().prop_map(Step::PowerCut),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..80)
}

/// What a log over the disk knows: its files' bytes, and how many of each were reported durable.
struct Model {
    sim: SimDisk,
    disk: Disk,
    files: [ModelFile; 3],
    last: JournalPosition,
    marker: u8,
}

#[derive(Default)]
struct ModelFile {
    handle: Option<DiskFile>,
    content: Vec<u8>,
    durable: usize,
}

impl Model {
    fn new() -> Model {
        let sim = SimDisk::new();
        let disk = open(&sim);
        Model { sim, disk, files: Default::default(), last: JournalPosition::ZERO, marker: 0 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append { file, bytes, through } => self.append(usize::from(*file), *bytes, *through),
            Step::Wait => self.wait(),
            Step::Checkpoint => self.disk.checkpoint().expect("checkpoints"),
            Step::Cut(file) => {
                let file = &mut self.files[usize::from(*file)];
                let half = file.content.len() / 2;
                let Some(handle) = &file.handle else { return };
                self.last = handle.truncate(half as u64).expect("truncates").max(self.last);
                file.content.truncate(half);
                file.durable = file.durable.min(half);
                self.wait();
            }
            Step::Remove(file) => {
                if std::mem::take(&mut self.files[usize::from(*file)]).handle.is_some() {
                    self.disk.remove_file(&format!("d/{file}")).expect("removes");
                    self.disk.sync_dir("d").expect("syncs");
                }
            }
            Step::Rename { from, to } => {
                if from != to && self.files[usize::from(*from)].handle.is_some() {
                    // What is not durable yet may be lost with the name; a log closes it first.
                    self.wait();
                    self.disk.rename(&format!("d/{from}"), &format!("d/{to}")).expect("renames");
                    self.files[usize::from(*to)] = std::mem::take(&mut self.files[usize::from(*from)]);
                }
            }
            Step::PowerCut(seed) => {
                let sim = self.sim.crash(*seed);
                self.start_again(sim);
            }
            Step::Kill => {
                let sim = self.sim.clone();
                self.start_again(sim);
            }
        }
    }

    fn append(&mut self, file: usize, bytes: u8, through: Through) {
        self.marker = self.marker.wrapping_add(1);
        self.disk.create_dir_all("d").expect("makes the directory");
        let path = format!("d/{file}");
        let file = &mut self.files[file];
        let handle = match (file.handle.take(), through) {
            (Some(handle), Through::SameHandle) => handle,
            (old, Through::NewHandle) => {
                drop(old);
                drop(create(&self.disk, &path));
                create(&self.disk, &path)
            }
            (None, Through::SameHandle) => create(&self.disk, &path),
        };
        let bytes = vec![self.marker; usize::from(bytes)];
        self.last = append(&handle, file.content.len() as u64, &bytes).max(self.last);
        file.content.extend_from_slice(&bytes);
        file.handle = Some(handle);
    }

    fn wait(&mut self) {
        self.disk.wait_durable_blocking(self.last).expect("durable");
        for file in &mut self.files {
            file.durable = file.content.len();
        }
    }

    /// Opens what is left, checks it, and cuts torn tails as a log's recovery does.
    fn start_again(&mut self, sim: SimDisk) {
        let disk = open(&sim);
        for (number, file) in self.files.iter_mut().enumerate() {
            let path = format!("d/{number}");
            let left = disk.read(&path).unwrap_or_default();
            let same = left.iter().zip(&file.content).take_while(|(a, b)| a == b).count();
            assert!(same >= file.durable, "file {number}: {same} of {} durable bytes are left", file.durable);
            let before = std::mem::take(file);
            file.content = before.content;
            file.content.truncate(same);
            if let Ok(handle) = disk.open_file(&path, OpenMode::ReadWrite) {
                handle.truncate(same as u64).expect("truncates");
                handle.sync().expect("syncs");
                file.handle = Some(handle);
            }
        }
        disk.checkpoint().expect("checkpoints");
        for file in &mut self.files {
            file.durable = file.content.len();
        }
        (self.sim, self.disk, self.last) = (sim, disk, JournalPosition::ZERO);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn over_many_lives_nothing_reported_durable_is_lost_and_nothing_cut_comes_back(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.step(step);
        }
        model.step(&Step::PowerCut(seed));
    }
}
