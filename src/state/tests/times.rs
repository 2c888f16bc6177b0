//! Stream time, what expires by it, and timers.

use super::*;

fn put_until(task: &mut TaskState, key: &str, expires: i64) {
    call(task, |access, store| access.put(store, key.as_bytes(), b"v", Some(expires))).unwrap();
}

fn keys(task: &mut TaskState) -> Vec<String> {
    let text = |(key, _): (Bytes, Bytes)| String::from_utf8(key.to_vec()).unwrap();
    all(task).into_iter().map(text).collect()
}

fn ids(due: &[Timer]) -> Vec<(i64, &str)> {
    due.iter().map(|timer| (timer.at, std::str::from_utf8(&timer.id).unwrap())).collect()
}

#[test]
fn the_stream_time_never_goes_back() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    assert_eq!(task.stream_time(), None);
    task.advance_stream_time(-7).unwrap();
    task.advance_stream_time(20).unwrap();
    task.advance_stream_time(10).unwrap();
    assert_eq!(task.stream_time(), Some(20));
    fixture.commit(&mut task);
    task.advance_stream_time(20).unwrap();
    assert!(task.hand_over().unwrap().is_none(), "it has not moved");
    drop(task);
    let mut task = fixture.open_in(&fixture.database());
    assert_eq!(task.stream_time(), Some(20));
    // Not by the changelog either.
    let earlier = fixture.log.records[0].clone();
    let earlier = ChangelogRecord { value: Some(Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0\x05")), ..earlier };
    task.restore([ChangelogRecord { offset: offset(5), ..earlier }], offset(6), 0).unwrap();
    assert_eq!(task.stream_time(), Some(20));
    assert_eq!(task.rewind().unwrap(), offset(6));
    assert_eq!(task.stream_time(), Some(20));
}

#[test]
fn what_has_expired_is_gone_at_once() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    put_until(&mut task, "early", 10);
    put_until(&mut task, "late", 11);
    put_until(&mut task, "before-1970", -5);
    assert_eq!(keys(&mut task), ["before-1970", "early", "late"], "without a stream time nothing expires");
    fixture.commit(&mut task);
    put_until(&mut task, "open", 10);
    task.advance_stream_time(10).unwrap();
    assert_eq!(keys(&mut task), ["late"]);
    assert_eq!(get(&mut task, "early"), None);
    assert_eq!(get(&mut task, "open"), None);
    put_until(&mut task, "dead-on-arrival", 9);
    assert_eq!(get(&mut task, "dead-on-arrival"), None);
    // What expired can be put again, to stay.
    put(&mut task, "early", "again");
    assert_eq!(keys(&mut task), ["early", "late"]);
}

#[test]
fn a_sweep_makes_deletions_of_what_has_expired_by_time_and_with_a_bound() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    for (key, expires) in [("d", 4), ("a", 7), ("c", 4), ("b", 5), ("stays", 8)] {
        put_until(&mut task, key, expires);
    }
    fixture.commit(&mut task);
    put_until(&mut task, "b", 100);
    put_until(&mut task, "open", 3);
    put(&mut task, "d", "for ever");
    task.advance_stream_time(7).unwrap();
    assert_eq!(task.sweep_expired(2).unwrap(), 2);
    let unit = task.hand_over().unwrap().unwrap();
    let deleted: Vec<_> = unit.records().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
    // "open" was never anywhere: it needs no deletion.
    assert_eq!(deleted, [&b"\x01\x01ac"[..]]);
    unit.committed(fixture.log.append(&unit_of(&mut task)), 0).unwrap();
    assert_eq!(task.sweep_expired(9).unwrap(), 1);
    assert_eq!(task.sweep_expired(9).unwrap(), 0);
    assert_eq!(keys(&mut task), ["b", "d", "stays"]);
}

/// A unit with something in it.
fn unit_of(task: &mut TaskState) -> PendingUnit {
    put(task, "stays", "v");
    task.hand_over().unwrap().unwrap()
}

#[test]
fn a_sweep_deletes_the_same_from_a_cache_that_was_built_again() {
    let mut fixture = Fixture::new();
    fixture.options.stores = vec!["b".to_owned(), "a".to_owned()];
    let mut task = fixture.restored_in(&fixture.database());
    for round in 0..6u8 {
        let mut access = task.begin_call();
        for store in [StoreId(0), StoreId(1)] {
            for key in 0..8u8 {
                let expires = i64::from((key * 7 + round * 3) % 5);
                access.put(store, &[key], &[round], Some(expires)).unwrap();
            }
            access.delete(store, &[round]).unwrap();
        }
        task.keep_call();
        fixture.commit(&mut task);
    }
    let swept = |task: &mut TaskState| {
        task.advance_stream_time(3).unwrap();
        task.sweep_expired(5).unwrap();
        let records: Vec<_> = task.hand_over().unwrap().unwrap().records().collect();
        task.rewind().unwrap();
        records
    };
    let expected = swept(&mut task);
    drop(task);
    fixture.log.compact();
    fixture.options.stores.reverse();
    let fixture = Fixture { directory: TempDir::new().unwrap(), ..fixture };
    let mut task = fixture.restored_in(&fixture.database());
    assert_eq!(swept(&mut task), expected);
    assert_eq!(expected.len(), 6, "five deletions and the stream time");
}

#[test]
fn timers_are_due_by_time_and_id_in_their_domain() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let event = TimerDomain::Event;
    for (id, at) in [("c", 5), ("a", 5), ("b", -1), ("later", 6)] {
        task.put_timer(event, id.as_bytes(), at, id.as_bytes()).unwrap();
    }
    fixture.commit(&mut task);
    task.put_timer(TimerDomain::Processing, b"other", 1, b"").unwrap();
    task.put_timer(event, b"open", 2, b"").unwrap();
    let due = task.due_timers(event, 5, up_to(9)).unwrap();
    assert_eq!(ids(&due), [(-1, "b"), (2, "open"), (5, "a"), (5, "c")]);
    assert_eq!(due[0].payload, &b"b"[..]);
    assert_eq!(ids(&task.due_timers(event, 5, up_to(3)).unwrap()), [(-1, "b"), (2, "open"), (5, "a")]);
    assert_eq!(task.next_timer(event), Ok(Some(-1)));
    assert_eq!(task.next_timer(TimerDomain::Processing), Ok(Some(1)));
    assert_eq!(task.timers(), 6);
    // The stream time is no business of theirs: nothing of them expires.
    task.advance_stream_time(100).unwrap();
    assert_eq!(task.sweep_expired(99).unwrap(), 0);
    assert_eq!(task.due_timers(event, 100, up_to(99)).unwrap().len(), 5);
}

#[test]
fn a_timer_of_the_same_id_is_replaced_and_one_that_was_deleted_never_fires() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    let domain = TimerDomain::Processing;
    task.put_timer(domain, b"t", 5, b"first").unwrap();
    task.put_timer(domain, b"gone", 6, b"").unwrap();
    fixture.commit(&mut task);
    task.put_timer(domain, b"t", 9, b"second").unwrap();
    assert_eq!(task.delete_timer(domain, b"gone"), Ok(true));
    assert_eq!(task.delete_timer(domain, b"gone"), Ok(false));
    for committed in [false, true] {
        if committed {
            fixture.commit(&mut task);
        }
        assert_eq!(ids(&task.due_timers(domain, 8, up_to(9)).unwrap()), []);
        let due = task.due_timers(domain, 9, up_to(9)).unwrap();
        assert_eq!((ids(&due), &due[0].payload[..]), (vec![(9, "t")], &b"second"[..]));
        assert_eq!(task.timers(), 1);
    }
}

#[test]
fn a_timer_that_fired_in_a_call_that_failed_fires_again() {
    let mut fixture = Fixture::new();
    let mut task = fixture.restored_in(&fixture.database());
    task.put_timer(TimerDomain::Event, b"t", 5, b"").unwrap();
    fixture.commit(&mut task);
    for succeeds in [false, true] {
        assert_eq!(task.due_timers(TimerDomain::Event, 5, up_to(9)).unwrap().len(), 1);
        let mut access = task.begin_call();
        task.delete_timer(TimerDomain::Event, b"t").unwrap();
        // The guest sets another one from within.
        access.set_timer(TimerDomain::Event, b"next", 6, b"").unwrap();
        assert_eq!(access.cancel_timer(TimerDomain::Event, b"t"), Ok(false));
        if succeeds { task.keep_call() } else { task.drop_call() }
    }
    assert_eq!(task.due_timers(TimerDomain::Event, 5, up_to(9)).unwrap(), []);
    fixture.commit(&mut task);
    drop(task);
    let task = fixture.open_in(&fixture.database());
    assert_eq!(ids(&task.due_timers(TimerDomain::Event, 9, up_to(9)).unwrap()), [(6, "next")]);
}

#[test]
fn a_task_has_so_many_timers_and_no_more() {
    let mut fixture = Fixture::new();
    fixture.options.limits.timers_max = 3;
    let mut task = fixture.restored_in(&fixture.database());
    task.put_timer(TimerDomain::Event, b"a", 1, b"").unwrap();
    task.put_timer(TimerDomain::Processing, b"a", 1, b"").unwrap();
    fixture.commit(&mut task);
    let mut access = task.begin_call();
    access.set_timer(TimerDomain::Event, b"b", 1, b"").unwrap();
    let full = Err(StateError::TimersFull { timers_max: 3 });
    assert_eq!(access.set_timer(TimerDomain::Event, b"c", 1, b""), full);
    access.set_timer(TimerDomain::Event, b"b", 2, b"replaced").unwrap();
    access.cancel_timer(TimerDomain::Event, b"a").unwrap();
    access.set_timer(TimerDomain::Event, b"c", 1, b"").unwrap();
    assert_eq!(task.timers(), 3);
    task.drop_call();
    assert_eq!(task.timers(), 2);
}
