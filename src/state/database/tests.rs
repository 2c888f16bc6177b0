//! Slots, and what is left of them when a deletion is interrupted.

use super::super::codec::Schedule;
use super::super::view::Span;
use super::*;
use crate::plugin::{ScanDirection, StateAccess};

fn task(processor: &str, topic: &str, partition: i32) -> TaskKey {
    let partition = PartitionIndex::from_wire(partition).unwrap();
    TaskKey { processor: processor.to_owned(), input: TopicPartition::new(TopicName::new(topic), partition) }
}

fn changelog() -> Changelog {
    let topic = TopicId::from_bytes([1; 16]).unwrap();
    Changelog { topic, log_start: Offset::ZERO, log_end: Offset::MAX, delete_retention_ms: 0 }
}

/// Entries of a slot, and its rows in the order of expiry.
fn rows(database: &StateDatabase, slot: Slot) -> (usize, usize) {
    let span = Span { first: &[1], last: &[2] };
    let entries = database.cache.scan(slot, span, ScanDirection::Ascending).count();
    (entries, database.cache.due(slot, Schedule::Expiry).count())
}

#[test]
fn a_task_has_a_name_that_is_read_as_it_was_written() {
    for key in [task("p", "t", 0), task("", "", i32::MAX), task("p.q", "topic-1", 12)] {
        assert_eq!(TaskKey::decode(&key.encode()), Some(key));
    }
    let good = task("p", "t", 0).encode();
    let negative = [&good[..5], &[0xff], &good[6..]].concat();
    for bad in [&good[..4], &good[..7], &negative, b"\xff\xff\xff\xffp"] {
        assert_eq!(TaskKey::decode(bad), None);
    }
}

#[test]
fn a_deletion_that_was_interrupted_is_ended_after_the_next_start() {
    let directory = tempfile::TempDir::new().unwrap();
    let open = || StateDatabase::open(directory.path(), 1 << 20).unwrap();
    let database = open();
    let options = TaskOptions { stores: vec!["s".to_owned()], ..TaskOptions::default() };
    let key = task("p", "t", 0);
    let mut state = database.open_task(key.clone(), options.clone(), changelog(), 0).unwrap();
    let mut access = state.begin_call();
    let store = access.open("s").unwrap();
    for number in 0..10_000u32 {
        access.put(store, &number.to_be_bytes(), b"v", Some(1)).unwrap();
    }
    state.keep_call();
    state.hand_over().unwrap().unwrap().committed(Offset::ZERO, 0).unwrap();
    let first = Slot(1);
    assert_eq!(rows(&database, first), (10_000, 10_000));
    // As `delete_task` does before it takes the rows away.
    let mut batch = database.cache.batch();
    batch.remove_task(&key.encode());
    batch.put_garbage(first);
    batch.commit().unwrap();
    drop((state, access, database));
    let database = open();
    assert_eq!(database.tasks().unwrap(), []);
    // Nobody is given the number as long as there are rows of it.
    drop(database.open_task(key.clone(), options, changelog(), 0).unwrap());
    assert_eq!(rows(&database, Slot(2)), (0, 0));
    assert_eq!(rows(&database, first), (10_000, 10_000));
    database.collect_garbage().unwrap();
    assert_eq!(rows(&database, first), (0, 0));
    assert!(database.cache.mark(first).unwrap().is_none());
    assert_eq!(database.cache.garbage().unwrap(), []);
    assert_eq!(database.tasks().unwrap().len(), 1);
}

#[test]
fn a_task_without_a_mark_begins_anew() {
    let directory = tempfile::TempDir::new().unwrap();
    let database = StateDatabase::open(directory.path(), 1 << 20).unwrap();
    let key = task("p", "t", 0);
    let open = || database.open_task(key.clone(), TaskOptions::default(), changelog(), 0).unwrap();
    open().restore([], Offset::ZERO.plus(7), 0).unwrap();
    assert_eq!(open().applied(), Offset::ZERO.plus(7));
    let mut batch = database.cache.batch();
    batch.put_task(&key.encode(), Slot(9));
    batch.commit().unwrap();
    database.directory.lock().tasks.get_mut(&key).unwrap().slot = Slot(9);
    assert_eq!(open().applied(), Offset::ZERO);
}
