//! Restarts, restoring, changes of owner, deletion.

use super::*;

#[test]
fn what_is_committed_survives_a_restart_and_what_is_not_does_not() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", "1");
    fixture.commit(&mut task);
    put(&mut task, "k", "2");
    let _pending = task.hand_over().unwrap();
    put(&mut task, "k", "3");
    drop((task, _pending));
    let mut task = fixture.open_in(&fixture.database());
    assert_eq!(task.applied(), offset(1));
    assert_eq!(get(&mut task, "k").unwrap(), &b"1"[..]);
}

#[test]
fn what_was_committed_and_did_not_reach_the_cache_comes_from_the_changelog() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    put(&mut task, "k", "1");
    fixture.commit(&mut task);
    put(&mut task, "k", "2");
    task.advance_stream_time(50).unwrap();
    let unit = task.hand_over().unwrap().unwrap();
    fixture.log.append(&unit);
    drop(unit);
    assert_eq!(task.rewind().unwrap(), offset(1));
    assert_eq!(get(&mut task, "k").unwrap(), &b"1"[..]);
    assert_eq!(task.stream_time(), None);
    fixture.restore(&mut task);
    assert_eq!(get(&mut task, "k").unwrap(), &b"2"[..]);
    assert_eq!(task.stream_time(), Some(50));
}

#[test]
fn restoring_twice_is_restoring_once() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    for number in 0..20 {
        put(&mut task, &format!("k{}", number % 7), &number.to_string());
        task.put_timer(TimerDomain::Event, &[number % 3], i64::from(number), b"").unwrap();
        fixture.commit(&mut task);
    }
    let (state, bytes, timers) = (all(&mut task), task.bytes(), task.timers());
    let end = offset(fixture.log.end);
    task.restore(fixture.log.from(Offset::ZERO), end, 0).unwrap();
    task.restore(fixture.log.from(offset(9)), offset(12), 0).unwrap();
    assert_eq!(
        (all(&mut task), task.bytes(), task.timers(), task.applied()),
        (state.clone(), bytes, timers, end)
    );
    // And into an empty cache, from a compacted log, piece by piece.
    drop((task, database));
    fixture.log.compact();
    let mut fixture = Fixture { directory: TempDir::new().unwrap(), ..fixture };
    let mut task = fixture.open_in(&fixture.database());
    for record in fixture.log.from(task.applied()) {
        let next = record.offset.next();
        task.restore([record], next, 0).unwrap();
    }
    assert_eq!((all(&mut task), task.bytes(), task.timers()), (state, bytes, timers));
    fixture.commit(&mut task);
}

#[test]
fn a_large_changelog_is_restored_in_pieces() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    for number in 0..12u8 {
        let value = vec![number; VALUE_BYTES_MAX];
        call(&mut task, |access, store| access.put(store, &[number % 8], &value, None)).unwrap();
        fixture.commit(&mut task);
    }
    drop(task);
    let fixture = Fixture { directory: TempDir::new().unwrap(), ..fixture };
    let mut task = fixture.restored_in(&fixture.database());
    let numbers: Vec<_> = all(&mut task).iter().map(|(_, value)| value[0]).collect();
    assert_eq!(numbers, [8, 9, 10, 11, 4, 5, 6, 7]);
    assert_eq!(task.bytes(), 8 * u64::try_from(VALUE_BYTES_MAX + 2 + 4 + 32).unwrap());
}

#[test]
fn a_record_that_is_none_of_ours_stops_the_restoring_and_says_where() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let record = |at, key: &'static [u8], value: &'static [u8]| ChangelogRecord {
        offset: offset(at),
        key: Some(Bytes::from_static(key)),
        value: Some(Bytes::from_static(value)),
    };
    let good = record(0, b"\x01\x01ak", b"\x01\0v");
    let refused = task.restore([good.clone(), record(1, b"\x07junk", b"")], offset(2), 0).unwrap_err();
    let told = "record 1 in the changelog of p/input-0 cannot be taken for state: its key has version 7, and this \
                broker knows 1: it was written by a newer one";
    assert_eq!(refused.to_string(), told);
    assert_eq!(task.applied(), offset(0));
    let no_key = ChangelogRecord { key: None, ..good.clone() };
    assert!(matches!(task.restore([no_key], offset(1), 0), Err(StoreError::Changelog { .. })));
    task.restore([good], offset(1), 0).unwrap();
    assert_eq!(all(&mut task), entries(&[("k", "v")]));
}

#[test]
fn a_cache_that_does_not_belong_to_the_changelog_is_dropped() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", "1");
    fixture.commit(&mut task);
    drop(task);
    let applied = 1;
    type Case = (&'static str, fn(&mut Log), i64, bool);
    let cases: [Case; 6] = [
        ("the same", |_| {}, 0, true),
        ("another topic", |log| log.topic = topic(2), 0, false),
        ("begins later", |log| log.start = 2, 0, false),
        ("begins right there", |log| log.start = 1, 0, true),
        ("ends before", |log| log.end = 0, 0, false),
        ("long behind", |_| {}, DAY_MS + 1, false),
    ];
    for (case, change, later, is_kept) in cases {
        let before = fixture.log.clone();
        change(&mut fixture.log);
        let database = fixture.database();
        let options = fixture.options.clone();
        let now = fixture.now + later;
        let mut task = database.open_task(task_key("p", 0), options, fixture.log.state(), now).unwrap();
        let expected = if is_kept { applied } else { fixture.log.start };
        assert_eq!(task.applied(), offset(expected), "{case}");
        assert_eq!(all(&mut task).len(), usize::from(is_kept), "{case}");
        assert_eq!(task.bytes() > 0, is_kept, "{case}");
        // Back to where it was, for the next case: a real log never begins earlier than before.
        fixture.log = before;
        drop(task);
        database.delete_task(&task_key("p", 0)).unwrap();
        let mut task = fixture.open_in(&database);
        task.restore(fixture.log.from(task.applied()), offset(applied), fixture.now).unwrap();
        assert_eq!(all(&mut task), entries(&[("k", "1")]), "{case}");
    }
}

#[test]
fn a_cache_that_is_up_to_date_may_be_old() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", "1");
    fixture.commit(&mut task);
    fixture.restore(&mut task);
    drop(task);
    fixture.now += 100 * DAY_MS;
    let mut task = fixture.open_in(&fixture.database());
    assert_eq!(all(&mut task), entries(&[("k", "1")]));
}

#[test]
fn the_former_owner_of_a_state_writes_no_more() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut former = fixture.restored_in(&database);
    put(&mut former, "k", "former");
    let unit = former.hand_over().unwrap().unwrap();
    let next = fixture.log.append(&unit);
    // Its transaction was committed; the next owner has that from the changelog.
    let mut task = fixture.restored_in(&database);
    put(&mut task, "k", "present");
    fixture.commit(&mut task);
    assert!(matches!(unit.committed(next, 0), Err(StoreError::Superseded { .. })));
    assert!(matches!(former.rewind(), Err(StoreError::Superseded { .. })));
    let restored = former.restore([], offset(9), 0);
    assert_eq!(
        restored.unwrap_err().to_string(),
        "the state of p/input-0 belongs to somebody else by now, or was deleted"
    );
    assert_eq!(all(&mut task), entries(&[("k", "present")]));
}

#[test]
fn tasks_do_not_see_each_other_and_are_deleted_one_by_one() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let keys = [task_key("p", 0), task_key("p", 1), task_key("pp", 0)];
    let mut tasks: Vec<TaskState> = keys
        .iter()
        .map(|key| database.open_task(key.clone(), options(), fixture.log.state(), 0).unwrap())
        .collect();
    for (number, task) in tasks.iter_mut().enumerate() {
        put(task, "k", &number.to_string());
        let unit = task.hand_over().unwrap().unwrap();
        unit.committed(offset(5), 0).unwrap();
    }
    let listed = |database: &StateDatabase| -> Vec<TaskKey> {
        database.tasks().unwrap().into_iter().map(|summary| summary.task).collect()
    };
    assert_eq!(listed(&database), keys);
    assert_eq!(database.tasks().unwrap()[1].applied, offset(5));
    put(&mut tasks[0], "k", "late");
    let late = tasks[0].hand_over().unwrap().unwrap();
    let reader = database.reader(&keys[0]).unwrap().unwrap();
    database.delete_processor("p").unwrap();
    database.delete_task(&task_key("nobody", 0)).unwrap();
    assert_eq!(listed(&database), [task_key("pp", 0)]);
    assert!(matches!(late.committed(offset(9), 0), Err(StoreError::Superseded { .. })));
    assert_eq!(reader.get("a", b"k").unwrap().unwrap(), &b"0"[..], "a reader sees its moment");
    assert!(database.reader(&keys[0]).unwrap().is_none());
    assert_eq!(get(&mut tasks[2], "k").unwrap(), &b"2"[..]);
    drop((tasks, reader, database));
    let database = fixture.database();
    assert_eq!(listed(&database), [task_key("pp", 0)]);
    // A processor of the same name begins with nothing.
    fixture.log = Log::new();
    assert_eq!(all(&mut fixture.open_in(&database)), []);
}

#[test]
fn a_thousand_idle_tasks_are_opened_and_listed() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let tasks: Vec<TaskState> = (0..1000)
        .map(|partition| {
            database.open_task(task_key("p", partition), options(), fixture.log.state(), 0).unwrap()
        })
        .collect();
    assert_eq!(database.tasks().unwrap().len(), 1000);
    drop((tasks, database));
    assert_eq!(fixture.database().tasks().unwrap().len(), 1000);
}

#[test]
fn a_reader_stays_at_its_moment_and_sees_what_guests_see() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    assert!(database.reader(&task_key("p", 0)).unwrap().is_none());
    let mut task = fixture.restored_in(&database);
    call(&mut task, |access, store| access.put(store, b"brief", b"1", Some(10))).unwrap();
    put(&mut task, "k", "1");
    fixture.commit(&mut task);
    let before = database.reader(&task_key("p", 0)).unwrap().unwrap();
    task.advance_stream_time(10).unwrap();
    put(&mut task, "k", "2");
    fixture.commit(&mut task);
    let after = database.reader(&task_key("p", 0)).unwrap().unwrap();
    let range = KeyRange::default();
    let seen = |reader: &StateReader| {
        reader
            .scan("a", &range, ScanDirection::Ascending, PageLimits { entries_max: 9, bytes_max: 99 })
            .unwrap()
            .entries
    };
    assert_eq!(seen(&before), entries(&[("brief", "1"), ("k", "1")]));
    assert_eq!(seen(&after), entries(&[("k", "2")]));
    assert_eq!((before.stream_time(), after.stream_time()), (None, Some(10)));
    assert_eq!(after.applied(), offset(fixture.log.end - 1));
    assert_eq!(after.get("a", b"brief").unwrap(), None);
    assert_eq!(after.get("unknown", b"k").unwrap(), None);
    let refused = after.get("__clock", b"stream-time");
    assert_eq!(refused, Err(StateError::UnknownStore("__clock".to_owned())));
}

#[test]
fn a_directory_is_open_once_and_free_after_closing() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let path = fixture.directory.path().join("state");
    let second = StateDatabase::open(&path, BLOCK_CACHE_BYTES);
    assert!(matches!(second.map(drop), Err(StoreError::InUse { .. })));
    database.close().unwrap();
    StateDatabase::open(&path, BLOCK_CACHE_BYTES).unwrap();
}
