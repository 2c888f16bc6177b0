//! Caches that a crash, a power cut, a bad disk or another broker has left behind.

use super::super::cache::Slot;
use super::*;
use std::fs;
use std::path::{Path, PathBuf};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A closed cache with rows in files and in journals.
fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    for round in 0..4u8 {
        call(&mut task, |access, store| {
            for key in 0..200u8 {
                access.put(store, &[key, round % 2], &[round; 50], Some(i64::from(key))).unwrap();
            }
        });
        fixture.commit(&mut task);
        if round == 1 {
            database.cache.flush();
        }
    }
    drop(task);
    database.close().unwrap();
    fixture
}

fn restored(fixture: &Fixture) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
    let path = fixture.directory.path().join("state");
    let database = StateDatabase::open(&path, BLOCK_CACHE_BYTES)?;
    let log = fixture.log.state();
    let mut task = database.open_task(task_key("p", 0), fixture.options.clone(), log, fixture.now)?;
    task.restore(fixture.log.from(task.applied()), offset(fixture.log.end), fixture.now)?;
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let found = access.scan(store, &KeyRange::default(), ScanDirection::Ascending, up_to(usize::MAX));
    found
        .map(|page| page.entries)
        .map_err(|error| StoreError::Cache { path: String::new(), cause: error.to_string() })
}

#[test]
fn whatever_file_is_damaged_the_state_is_there_after_at_most_one_more_start() {
    let fixture = filled();
    let expected = restored(&fixture).unwrap();
    assert_eq!(expected.len(), 400);
    let whole = filled();
    let state = whole.directory.path().join("state");
    let names = files(&state);
    let contents: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).unwrap()).collect();
    assert!(names.len() >= 5, "{names:?}");
    let flip_middle = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
    };
    let flip_first = |bytes: &mut Vec<u8>| bytes[0] ^= 0x55;
    let flip_last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 0x55;
    let halve = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let zero = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0);
    };
    type Harm<'a> = &'a dyn Fn(&mut Vec<u8>);
    let harms: [Harm<'_>; 5] = [&flip_middle, &flip_first, &flip_last, &halve, &zero];
    for (name, content) in names.iter().zip(&contents) {
        for (number, harm) in harms.iter().enumerate().filter(|_| !content.is_empty()) {
            fs::remove_dir_all(&state).unwrap();
            for (name, content) in names.iter().zip(&contents) {
                fs::create_dir_all(name.parent().unwrap()).unwrap();
                fs::write(name, content).unwrap();
            }
            let mut harmed = content.clone();
            harm(&mut harmed);
            fs::write(name, harmed).unwrap();
            let found = restored(&whole).or_else(|_| restored(&whole));
            assert_eq!(found.unwrap(), expected, "{} harmed in way {number}", name.display());
        }
    }
}

#[test]
fn a_cache_of_another_format_is_dropped() {
    let fixture = filled();
    let expected = restored(&fixture).unwrap();
    let database = fixture.database();
    database.cache.set_format(9);
    drop(database);
    let database = fixture.database();
    assert_eq!(database.tasks().unwrap(), []);
    drop(database);
    assert_eq!(restored(&fixture).unwrap(), expected);
}

#[test]
fn what_is_found_damaged_in_use_is_dropped_at_the_next_start() {
    let fixture = filled();
    let expected = restored(&fixture).unwrap();
    let database = fixture.database();
    let task = fixture.open_in(&database);
    database.cache.spoil(Slot(1), b"\x01\x01a\x05\x01");
    let mut task = task;
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let refused = access.get(store, &[5, 1]);
    assert!(matches!(&refused, Err(StateError::Failed(cause)) if cause.contains("version 9")), "{refused:?}");
    // The rest is served as long as it can be.
    assert!(access.get(store, &[6, 1]).unwrap().is_some());
    drop((access, task, database));
    assert_eq!(fixture.database().tasks().unwrap(), []);
    assert_eq!(restored(&fixture).unwrap(), expected);
}
