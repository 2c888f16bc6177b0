//! What it costs. Prints figures; checks nothing.

use super::*;

#[allow(clippy::disallowed_methods, reason = "it measures")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

const KEYS: u64 = 1_000_000;
const ADDS: u64 = 3_000_000;
const UNIT_ADDS: u64 = 10_000;
const CALL_ADDS: u64 = 500;

fn key(number: u64) -> [u8; 8] {
    // Spread over the keys without a pattern that helps.
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

#[test]
#[ignore = "prints figures; checks nothing"]
fn what_counting_costs() {
    let mut fixture = Fixture::new();
    fixture.directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap();
    let path = fixture.directory.path().join("state");
    let database = StateDatabase::open(&path, 64 << 20).unwrap();
    let mut task = fixture.restored_in(&database);
    let begun = now();
    let (mut committing, mut round) = (std::time::Duration::ZERO, begun);
    let mut added = 0;
    while added < ADDS {
        while !added.is_multiple_of(UNIT_ADDS) || task.open_bytes() == 0 {
            let mut access = task.begin_call();
            let store = access.open("a").unwrap();
            for number in added..added + CALL_ADDS {
                access.add(store, &key(number), 1).unwrap();
            }
            added += CALL_ADDS;
            task.keep_call();
        }
        let began = now();
        let unit = task.hand_over().unwrap().unwrap();
        assert!(unit.records().count() > 0);
        fixture.log.end += 1;
        unit.committed(offset(fixture.log.end), 0).unwrap();
        committing += began.elapsed();
        if added.is_multiple_of(KEYS / 2) {
            println!("{added:>8} adds: {:>9.0} /s", 500_000.0 / round.elapsed().as_secs_f64());
            round = now();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:.0} adds/s over all, {:.0} % of the time in commits",
        3e6 / seconds,
        committing.as_secs_f64() / seconds * 100.0
    );
    println!("{} MiB of state, {} MiB on the disk", task.bytes() >> 20, disk_bytes(&path) >> 20);
    let began = now();
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    for number in 0..200_000 {
        assert!(access.get(store, &key(number * 7)).unwrap().is_some());
    }
    println!("{:.0} gets/s", 2e5 / began.elapsed().as_secs_f64());
    let began = now();
    for number in 0..2_000 {
        let range = KeyRange { first: Some(Bytes::copy_from_slice(&key(number))), last: None };
        let limits = PageLimits { entries_max: 100, bytes_max: 1 << 20 };
        assert!(!access.scan(store, &range, ScanDirection::Ascending, limits).unwrap().entries.is_empty());
    }
    println!("{:.0} scans/s of 100 entries", 2e3 / began.elapsed().as_secs_f64());
    task.drop_call();
    drop((access, task));
    let began = now();
    database.delete_processor("p").unwrap();
    println!("deleted in {:.2} s", began.elapsed().as_secs_f64());
}

fn disk_bytes(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            of_directory if of_directory.is_dir() => disk_bytes(&entry.path()),
            of_file => of_file.len(),
        })
        .sum()
}

#[test]
#[ignore = "prints figures; checks nothing"]
fn what_restoring_costs() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    access.put(store, b"x", b"12345678", None).unwrap();
    task.keep_call();
    let (_, value) = task.hand_over().unwrap().unwrap().records().next().unwrap();
    task.rewind().unwrap();
    let prefix = super::super::codec::store_prefix("a");
    let records = (0..KEYS).map(|number| ChangelogRecord {
        offset: offset(i64::try_from(number).unwrap()),
        key: Some(Bytes::from([&prefix[..], &key(number)].concat())),
        value: value.clone(),
    });
    let began = now();
    task.restore(records, offset(i64::try_from(KEYS).unwrap()), 0).unwrap();
    println!("{:.0} records/s restored", 1e6 / began.elapsed().as_secs_f64());
}
