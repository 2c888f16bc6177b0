use proptest::prelude::*;

use crate::disk::{Disk, DiskFile, DiskOptions, FlushMode, JournalPosition, OpenMode, SimDisk, SimFault};

fn options() -> DiskOptions {
    DiskOptions {
        flush: FlushMode::Ack,
        journal_file_bytes: 512,
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

fn append(file: &DiskFile, position: u64, bytes: &'static [u8]) -> JournalPosition {
    file.append(position, &[bytes::Bytes::from_static(bytes)]).expect("appends")
}

#[test]
fn an_append_that_was_reported_durable_survives_any_power_cut() {
    for seed in 0..200 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        disk.create_dir_all("a-0").expect("makes the directory");
        let file = create(&disk, "a-0/0.log");
        append(&file, 0, b"first ");
        let position = append(&file, 6, b"second");
        disk.wait_durable_blocking(position).expect("durable");
        append(&file, 12, b" third");
        let left = sim.crash(seed);
        let disk = open(&left);
        let bytes = disk.read("a-0/0.log").expect("is there");
        assert!(bytes.starts_with(b"first second"), "seed {seed}: {bytes:?}");
    }
}

#[test]
fn a_recycled_journal_file_never_replays_what_it_held_before() {
    for seed in 0..50 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        let file = create(&disk, "log");
        for round in 0..40u64 {
            let position = append(&file, round * 100, &[b'x'; 100]);
            disk.wait_durable_blocking(position).expect("durable");
            if round % 10 == 9 {
                disk.checkpoint().expect("checkpoints");
            }
        }
        let cut = file.truncate(50).expect("truncates");
        disk.wait_durable_blocking(cut).expect("durable");
        let disk = open(&sim.crash(seed));
        assert_eq!(disk.read("log").expect("is there").len(), 50, "seed {seed}");
    }
}

#[test]
fn a_directory_made_again_gets_nothing_of_its_earlier_life() {
    for seed in 0..100 {
        let sim = SimDisk::new();
        let disk = open(&sim);
        disk.create_dir_all("t-0").expect("makes the directory");
        let old = create(&disk, "t-0/log");
        let position = append(&old, 0, b"the old topic's records");
        disk.wait_durable_blocking(position).expect("durable");
        disk.rename("t-0", "t-0.gone-delete").expect("renames");
        disk.remove_dir_all("t-0.gone-delete").expect("removes");
        disk.create_dir_all("t-0").expect("makes the directory");
        let new = create(&disk, "t-0/log");
        let position = append(&new, 0, b"new");
        disk.wait_durable_blocking(position).expect("durable");
        let disk = open(&sim.crash(seed));
        assert_eq!(disk.read("t-0/log").expect("is there"), b"new", "seed {seed}");
    }
}

#[test]
fn positions_go_on_after_a_restart() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    let before = append(&file, 0, b"x");
    disk.close().expect("closes");
    let disk = open(&sim);
    let file = disk.open_file("log", OpenMode::ReadWrite).expect("opens");
    assert!(append(&file, 1, b"y") > before);
}

#[test]
fn after_a_failed_sync_the_disk_is_offline_for_ever() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    let position = append(&file, 0, b"x");
    sim.fail_call(1, SimFault::Io);
    let error = disk.wait_durable_blocking(position).expect_err("the journal's sync fails");
    assert!(error.to_string().contains("journal"), "{error}");
    assert!(disk.health().expect_err("offline").is_offline());
    assert!(file.append(1, &[bytes::Bytes::from_static(b"y")]).expect_err("offline").is_offline());
}

#[test]
fn a_full_disk_is_named_and_leaves_the_rest_readable() {
    let sim = SimDisk::new();
    let disk = open(&sim);
    let file = create(&disk, "log");
    let position = append(&file, 0, b"kept");
    disk.wait_durable_blocking(position).expect("durable");
    sim.set_bytes_max(Some(sim.bytes_used()));
    let error = file.append(4, &[bytes::Bytes::from(vec![0; 4096])]).expect_err("no room");
    assert!(error.is_full(), "{error}");
    let mut bytes = [0; 4];
    file.read_exact_at(0, &mut bytes).expect("reads");
    assert_eq!(&bytes, b"kept");
}

#[test]
fn every_waiter_of_a_real_disk_is_woken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, _) = Disk::open(directory.path(), options()).expect("opens");
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let disk = disk.clone();
            std::thread::spawn(move || {
                let file = create(&disk, &format!("log-{number}"));
                for round in 0..50 {
                    let position = append(&file, round * 3, b"abc");
                    disk.wait_durable_blocking(position).expect("durable");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    disk.close().expect("closes");
}

#[test]
fn a_second_opener_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, _) = Disk::open(directory.path(), options()).expect("opens");
    let Err(error) = Disk::open(directory.path(), options()) else { panic!("opened twice") };
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(disk);
    Disk::open(directory.path(), options()).expect("opens once the first is gone");
}

#[test]
fn without_a_journal_an_append_is_durable_at_once_and_synced_by_a_checkpoint() {
    let sim = SimDisk::new();
    let options = DiskOptions { flush: FlushMode::Os, ..options() };
    let (disk, _) = Disk::open_simulated(sim.clone(), options).expect("opens");
    let file = create(&disk, "log");
    assert_eq!(append(&file, 0, b"page cache"), JournalPosition::ZERO);
    disk.checkpoint().expect("checkpoints");
    assert_eq!(open(&sim.crash(1)).read("log").expect("is there"), b"page cache");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8, u8),
    Wait,
    Checkpoint,
    Truncate(u8),
    Recreate(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..3, 1u8..200).prop_map(|(file, length)| Step::Append(file, length)),
        3 => Just(Step::Wait),
        1 => Just(Step::Checkpoint),
        1 => (0u8..3).prop_map(Step::Truncate),
        1 => (0u8..3).prop_map(Step::Recreate),
    ];
    prop::collection::vec(step, 1..60)
}

/// A file as the test knows it: all of its bytes, and how many of them are surely durable.
#[derive(Clone, Default)]
struct Model {
    content: Vec<u8>,
    durable: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_reported_durable_is_lost(steps in steps(), seed in any::<u64>()) {
        let sim = SimDisk::new();
        let disk = open(&sim);
        let mut files: Vec<DiskFile> = (0..3).map(|n| create(&disk, &format!("f{n}"))).collect();
        let mut models = vec![Model::default(); 3];
        let mut last = JournalPosition::ZERO;
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Append(file, length) => {
                    let at = usize::from(*file);
                    let bytes = vec![number as u8; usize::from(*length)];
                    let position = models[at].content.len() as u64;
                    models[at].content.extend_from_slice(&bytes);
                    last = files[at].append(position, &[bytes.into()]).expect("appends");
                }
                Step::Wait => {
                    disk.wait_durable_blocking(last).expect("durable");
                    models.iter_mut().for_each(|model| model.durable = model.content.len());
                }
                Step::Checkpoint => disk.checkpoint().expect("checkpoints"),
                Step::Truncate(file) => {
                    let at = usize::from(*file);
                    let length = models[at].content.len() / 2;
                    let position = files[at].truncate(length as u64).expect("truncates");
                    disk.wait_durable_blocking(position.max(last)).expect("durable");
                    files[at].sync().expect("syncs");
                    models[at].content.truncate(length);
                    models.iter_mut().for_each(|model| model.durable = model.content.len());
                }
                Step::Recreate(file) => {
                    let at = usize::from(*file);
                    disk.remove_file(&format!("f{at}")).expect("removes");
                    disk.sync_dir("").expect("syncs");
                    files[at] = create(&disk, &format!("f{at}"));
                    models[at] = Model::default();
                }
            }
        }
        let (left, _) = Disk::open_simulated(sim.crash(seed), options()).expect("opens");
        for (number, model) in models.iter().enumerate() {
            let bytes = left.read(&format!("f{number}")).unwrap_or_default();
            prop_assert!(bytes.len() >= model.durable, "file {} has {} of {}", number, bytes.len(), model.durable);
            prop_assert_eq!(&bytes[..model.durable], &model.content[..model.durable]);
        }
    }
}
