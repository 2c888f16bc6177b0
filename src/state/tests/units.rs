//! What a call, a unit and the world outside see of each other, and what is refused.

use super::*;

#[test]
fn a_failed_call_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "kept", "1");
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    access.put(store, b"kept", b"2", None).unwrap();
    access.put(store, b"other", b"3", Some(5)).unwrap();
    access.set_timer(TimerDomain::Event, b"t", 5, b"").unwrap();
    assert_eq!(access.get(store, b"kept").unwrap().unwrap(), &b"2"[..]);
    task.drop_call();
    assert_eq!(all(&mut task), entries(&[("kept", "1")]));
    assert_eq!(task.timers(), 0);
    assert_eq!(task.hand_over().unwrap().unwrap().len(), 1);
}

#[test]
fn a_call_that_failed_alone_leaves_nothing_to_commit() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    access.put(store, b"k", b"v", None).unwrap();
    task.drop_call();
    assert!(task.hand_over().unwrap().is_none());
}

#[test]
fn an_access_is_refused_once_its_call_is_over() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    task.keep_call();
    let over = |answer: Result<(), StateError>| matches!(answer, Err(StateError::Failed(_)));
    assert!(over(access.put(store, b"k", b"v", None)));
    // Not even another call lets the former one in.
    let mut next = task.begin_call();
    assert!(over(access.put(store, b"k", b"v", None)));
    assert!(over(access.set_timer(TimerDomain::Event, b"t", 1, b"")));
    assert!(over(access.scan(store, &KeyRange::default(), ScanDirection::Ascending, up_to(1)).map(drop)));
    next.put(store, b"k", b"v", None).unwrap();
    task.rewind().unwrap();
    assert!(over(next.put(store, b"k", b"v", None)));
    assert_eq!(all(&mut task), []);
}

#[test]
fn an_access_goes_to_another_thread_as_what_a_guest_is_given() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let mut access: Box<dyn StateAccess> = Box::new(task.begin_call());
    let worker = std::thread::spawn(move || {
        let store = access.open("b").unwrap();
        access.add(store, b"n", 5).unwrap()
    });
    assert_eq!(worker.join().unwrap(), 5);
    task.keep_call();
    assert_eq!(task.hand_over().unwrap().unwrap().len(), 1);
}

#[test]
fn the_next_unit_sees_a_pending_one_and_nobody_outside_does() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    put(&mut task, "k", "1");
    put(&mut task, "gone", "1");
    fixture.commit(&mut task);
    put(&mut task, "k", "2");
    call(&mut task, |access, store| access.delete(store, b"gone")).unwrap();
    let first = task.hand_over().unwrap().unwrap();
    put(&mut task, "new", "3");
    let second = task.hand_over().unwrap().unwrap();
    assert_eq!(all(&mut task), entries(&[("k", "2"), ("new", "3")]));
    let outside = || {
        let reader = database.reader(&task_key("p", 0)).unwrap().unwrap();
        let range = KeyRange::default();
        reader.scan("a", &range, ScanDirection::Ascending, up_to(9)).unwrap().entries
    };
    assert_eq!(outside(), entries(&[("gone", "1"), ("k", "1")]));
    first.committed(fixture.log.append(&second), 0).unwrap();
    assert_eq!(outside(), entries(&[("k", "2")]));
    assert_eq!(all(&mut task), entries(&[("k", "2"), ("new", "3")]));
    second.committed(offset(fixture.log.end), 0).unwrap();
    assert_eq!(outside(), entries(&[("k", "2"), ("new", "3")]));
}

#[test]
fn units_are_committed_in_their_order_only() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", "1");
    let first = task.hand_over().unwrap().unwrap();
    put(&mut task, "k", "2");
    let second = task.hand_over().unwrap().unwrap();
    assert!(matches!(second.committed(offset(9), 0), Err(StoreError::OutOfOrder { .. })));
    task.rewind().unwrap();
    // What was dropped does not come back, whoever still holds it.
    assert!(matches!(first.committed(offset(9), 0), Err(StoreError::OutOfOrder { .. })));
    assert_eq!(all(&mut task), []);
}

#[test]
fn a_unit_has_one_record_a_key_and_none_for_what_came_and_went() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    for value in ["1", "2", "3"] {
        put(&mut task, "k", value);
    }
    call(&mut task, |access, store| access.put(store, b"brief", b"", None)).unwrap();
    call(&mut task, |access, store| access.delete(store, b"brief")).unwrap();
    call(&mut task, |access, store| access.delete(store, b"never")).unwrap();
    let unit = task.hand_over().unwrap().unwrap();
    let records: Vec<_> = unit.records().collect();
    assert_eq!(records, [(Bytes::from("\x01\x01ak"), Some(Bytes::from("\x01\0".to_owned() + "3")))]);
}

#[test]
fn while_a_call_runs_the_unit_is_left_alone() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let _access = task.begin_call();
    assert!(matches!(task.hand_over().map(drop), Err(StoreError::OutOfOrder { .. })));
    assert!(matches!(task.sweep_expired(1), Err(StoreError::OutOfOrder { .. })));
    assert!(matches!(task.advance_stream_time(1), Err(StoreError::OutOfOrder { .. })));
    assert!(matches!(task.restore([], offset(0), 0), Err(StoreError::OutOfOrder { .. })));
    task.drop_call();
    assert!(task.hand_over().unwrap().is_none());
}

#[test]
fn stores_are_those_that_the_deployment_names() {
    let fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    let mut access = task.begin_call();
    assert_eq!(access.open("b"), Ok(StoreId(1)));
    for name in ["c", "__clock", "__timers-event", ""] {
        assert_eq!(access.open(name), Err(StateError::UnknownStore(name.to_owned())));
    }
    assert!(matches!(access.get(StoreId(2), b"k"), Err(StateError::Failed(_))));
    let stores = vec!["__mine".to_owned()];
    let options = TaskOptions { stores, ..options() };
    let refused = database.open_task(task_key("q", 0), options, fixture.log.state(), 0);
    assert!(matches!(refused.map(drop), Err(StoreError::StoreName { .. })));
}

#[test]
fn keys_and_values_have_bounds() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let key = vec![0xff; KEY_BYTES_MAX];
    let value = vec![1; VALUE_BYTES_MAX];
    access.put(store, &key, &value, Some(i64::MAX)).unwrap();
    assert_eq!(access.get(store, &key).unwrap().unwrap(), value);
    let too_long = [&key[..], b"x"].concat();
    let bytes = KEY_BYTES_MAX + 1;
    let refused = StateError::KeySize { bytes, bytes_max: KEY_BYTES_MAX };
    assert_eq!(access.get(store, &too_long), Err(refused.clone()));
    assert_eq!(access.set_timer(TimerDomain::Event, &too_long, 1, b""), Err(refused));
    assert_eq!(access.delete(store, b""), Err(StateError::KeySize { bytes: 0, bytes_max: KEY_BYTES_MAX }));
    let too_large = vec![1; VALUE_BYTES_MAX + 1];
    let refused = access.put(store, b"k", &too_large, None);
    let bytes = VALUE_BYTES_MAX + 1;
    assert_eq!(refused, Err(StateError::ValueSize { bytes, bytes_max: VALUE_BYTES_MAX }));
    task.keep_call();
    // The largest of all goes through the cache, with its row in the schedule.
    let mut fixture = fixture;
    fixture.commit(&mut task);
    assert_eq!(all(&mut task), [(Bytes::from(key), Bytes::from(value))]);
}

#[test]
fn bounds_of_a_scan_may_be_anything() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let longest = vec![0xff; KEY_BYTES_MAX];
    for key in [b"a", b"b", &longest[..]] {
        call(&mut task, |access, store| access.put(store, key, b"", None)).unwrap();
    }
    fixture.commit(&mut task);
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let mut keys = |first: Option<&[u8]>, last: Option<&[u8]>| {
        let range =
            KeyRange { first: first.map(Bytes::copy_from_slice), last: last.map(Bytes::copy_from_slice) };
        let found = access.scan(store, &range, ScanDirection::Descending, up_to(9)).unwrap().entries;
        found.into_iter().map(|(key, _)| key[..1].to_vec()).collect::<Vec<_>>().concat()
    };
    let beyond = vec![0xff; 3 * KEY_BYTES_MAX];
    assert_eq!(keys(None, None), b"\xffba");
    assert_eq!(keys(Some(b""), Some(b"b")), b"a");
    assert_eq!(keys(Some(b"b"), Some(b"b")), b"");
    assert_eq!(keys(Some(b"c"), Some(b"a")), b"");
    assert_eq!(keys(None, Some(b"")), b"");
    assert_eq!(keys(Some(b"b"), Some(&beyond)), b"\xffb");
    assert_eq!(keys(Some(&beyond), None), b"");
    assert_eq!(keys(Some(&longest), None), b"\xff");
}

#[test]
fn counters_count_from_nothing_wrap_around_and_forget_when_they_expire() {
    let fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    task.advance_stream_time(10).unwrap();
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    assert_eq!(access.add(store, b"n", i64::MAX), Ok(i64::MAX));
    assert_eq!(access.add(store, b"n", 2), Ok(i64::MIN + 1));
    access.put(store, b"old", &7i64.to_le_bytes(), Some(10)).unwrap();
    assert_eq!(access.add(store, b"old", 1), Ok(1));
    access.put(store, b"text", b"seven", None).unwrap();
    assert_eq!(access.add(store, b"text", 1), Err(StateError::NotACounter(5)));
}

#[test]
fn a_state_that_is_full_takes_what_makes_it_smaller() {
    let mut fixture = Fixture::new();
    fixture.options.limits.state_bytes_max = 200;
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", &"v".repeat(100));
    fixture.commit(&mut task);
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let full = Err(StateError::Full { what: "the task's state", bytes_max: 200 });
    assert_eq!(access.put(store, b"other", &[1; 100], None), full);
    assert_eq!(access.put(store, b"k", &[1; 200], None), full);
    access.put(store, b"k", &[1; 99], None).unwrap();
    access.delete(store, b"k").unwrap();
    access.put(store, b"other", &[1; 100], None).unwrap();
    task.keep_call();
    // A bound that was lowered below what there is still lets entries go.
    fixture.commit(&mut task);
    drop((access, task));
    fixture.options.limits.state_bytes_max = 10;
    let mut task = fixture.restored_in(&fixture.database());
    call(&mut task, |access, store| access.put(store, b"other", b"v", None)).unwrap();
    call(&mut task, |access, store| access.delete(store, b"other")).unwrap();
    assert_eq!(task.bytes(), 0);
}

#[test]
fn a_transaction_has_a_bound_and_the_next_one_has_it_anew() {
    let mut fixture = Fixture::new();
    fixture.options.limits.transaction_bytes_max = 1000;
    let mut task = fixture.restored_in(&fixture.database());
    put(&mut task, "k", &"v".repeat(400));
    assert!((400..500).contains(&task.open_bytes()));
    let value = [1; 400];
    call(&mut task, |access, store| {
        access.put(store, b"l", &value, None).unwrap();
        // The same key again takes no more room.
        access.put(store, b"l", &value, None).unwrap();
        let bytes_max = 1000;
        let full = StateError::Full { what: "the transaction's part of the state", bytes_max };
        assert_eq!(access.put(store, b"m", &value, None), Err(full));
    });
    fixture.commit(&mut task);
    call(&mut task, |access, store| access.put(store, b"m", &value, None)).unwrap();
}

#[test]
fn a_scan_gives_pages_inside_and_outside() {
    let mut fixture = Fixture::new();
    let database = fixture.database();
    let mut task = fixture.restored_in(&database);
    put(&mut task, "k", "1234");
    put(&mut task, "l", "1234");
    put(&mut task, "m", "1234");
    fixture.commit(&mut task);
    let mut access = task.begin_call();
    let store = access.open("a").unwrap();
    let reader = database.reader(&task_key("p", 0)).unwrap().unwrap();
    let cases =
        [((3, 10), 2, true), ((3, 15), 3, false), ((2, 99), 2, true), ((3, 1), 1, true), ((0, 99), 1, true)];
    for ((entries_max, bytes_max), count, more) in cases {
        let limits = PageLimits { entries_max, bytes_max };
        let inside = access.scan(store, &KeyRange::default(), ScanDirection::Ascending, limits).unwrap();
        let outside = reader.scan("a", &KeyRange::default(), ScanDirection::Ascending, limits).unwrap();
        assert_eq!(inside, outside);
        let all = entries(&[("k", "1234"), ("l", "1234"), ("m", "1234")]);
        assert_eq!(inside, Page { entries: all[..count].to_vec(), more }, "{limits:?}");
    }
}
