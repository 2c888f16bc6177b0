//! One layer over another: what is remembered, what is forgotten, what it weighs.

use super::super::codec::{encode_value, store_prefix};
use super::super::timers::store_of_timers;
use super::*;
use crate::plugin::TimerDomain;

fn key(text: &str) -> Bytes {
    Bytes::from([&store_prefix("s")[..], text.as_bytes()].concat())
}

fn timer(id: &str) -> Bytes {
    Bytes::from([&store_prefix(store_of_timers(TimerDomain::Event))[..], id.as_bytes()].concat())
}

fn value(text: &str) -> Option<Bytes> {
    Some(encode_value(text.as_bytes(), None))
}

fn until(text: &str, time: i64) -> Option<Bytes> {
    Some(encode_value(text.as_bytes(), Some(time)))
}

fn beneath(key: &Bytes, value: Option<Bytes>) -> Option<Beneath> {
    value.map(|value| Beneath::of(key, &value))
}

#[test]
fn the_last_change_of_a_key_stays_with_what_was_beneath_the_first() {
    let mut layer = Layer::default();
    let below = beneath(&key("k"), value("old"));
    layer.change(key("k"), value("one"), below);
    layer.change(key("k"), value("three"), beneath(&key("k"), value("one")));
    assert_eq!(layer.get(&key("k")), Some(&Change { now: value("three"), beneath: below }));
    assert_eq!((layer.len(), layer.growth().bytes), (1, 2));
}

#[test]
fn a_key_that_came_and_went_leaves_nothing() {
    let mut layer = Layer::default();
    layer.change(key("k"), until("v", 5), None);
    layer.change(key("k"), None, None);
    layer.change(key("never"), None, None);
    assert_eq!(layer, Layer::default());
}

#[test]
fn a_deletion_of_what_lies_beneath_is_kept_and_makes_the_state_smaller() {
    let mut layer = Layer::default();
    let below = beneath(&key("k"), value("old"));
    layer.change(key("k"), None, below);
    assert_eq!(layer.growth().bytes, -i64::try_from(below.unwrap().weight).unwrap());
    layer.change(key("k"), value("old"), None);
    assert_eq!(layer.growth(), Growth::default());
}

#[test]
fn absorbing_is_the_same_as_having_been_written_to() {
    let writes: [(Bytes, Option<Bytes>); 6] = [
        (key("a"), value("1")),
        (key("b"), until("2", 9)),
        (timer("t"), until("p", 7)),
        (key("a"), until("3", 4)),
        (key("b"), None),
        (timer("u"), until("q", 7)),
    ];
    for cut in 0..=writes.len() {
        let (mut below, mut above, mut whole) = (Layer::default(), Layer::default(), Layer::default());
        for (number, (key, now)) in writes.iter().enumerate() {
            let found = whole.get(key).and_then(|change| beneath(key, change.now.clone()));
            let part = if number < cut { &mut below } else { &mut above };
            part.change(key.clone(), now.clone(), found);
            whole.change(key.clone(), now.clone(), None);
        }
        below.absorb(above);
        assert_eq!(below, whole, "cut at {cut}");
        assert_eq!(below.growth().timers, 2);
    }
}

#[test]
fn what_is_due_comes_by_time_and_only_up_to_the_time() {
    let mut layer = Layer::default();
    for (id, at) in [("c", 3), ("a", 5), ("b", 3), ("late", 6), ("early", -4)] {
        layer.change(timer(id), until("", at), None);
    }
    layer.change(key("other"), until("", 1), None);
    layer.change(timer("c"), until("", 4), None);
    let schedule = Schedule::Timers(TimerDomain::Event);
    let due: Vec<_> = layer.due(schedule, 5).map(|(time, key)| (time, key.clone())).collect();
    assert_eq!(due, [(-4, timer("early")), (3, timer("b")), (4, timer("c")), (5, timer("a"))]);
    assert_eq!(layer.due(Schedule::Timers(TimerDomain::Processing), i64::MAX).count(), 0);
}
