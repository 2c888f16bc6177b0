//! Layers over a base, checked against maps laid over each other.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::super::codec::{encode_value, store_prefix, time_of};
use super::super::layer::Beneath;
use super::*;

type Base = BTreeMap<Bytes, Bytes>;
type Writes = Vec<(u8, Option<(u8, Option<i64>)>)>;

fn key(name: u8) -> Bytes {
    Bytes::from([&store_prefix("s")[..], &[name]].concat())
}

/// A change of one of twelve keys: a deletion, or a value with or without a time.
fn writes() -> impl Strategy<Value = Writes> {
    let change = proptest::option::of((any::<u8>(), proptest::option::of(0..6i64)));
    proptest::collection::vec((0..12u8, change), 0..10)
}

/// The base and three layers, each with what the layers below make of it; the last is what is to be seen.
fn stack(base: Writes, above: [Writes; 3]) -> (Base, Vec<Layer>, Base) {
    let encoded =
        |change: Option<(u8, Option<i64>)>| change.map(|(value, time)| encode_value(&[value], time));
    let base: Base =
        base.into_iter().filter_map(|(name, change)| Some((key(name), encoded(change)?))).collect();
    let mut seen = base.clone();
    let mut layers = Vec::new();
    for writes in above {
        let mut layer = Layer::default();
        for (name, change) in writes {
            let (key, now) = (key(name), encoded(change));
            let beneath = seen.get(&key).map(|found| Beneath::of(&key, found));
            layer.change(key.clone(), now.clone(), beneath);
            match now {
                Some(now) => seen.insert(key, now),
                None => seen.remove(&key),
            };
        }
        layers.insert(0, layer);
    }
    (base, layers, seen)
}

proptest! {
    #[test]
    fn a_scan_sees_what_the_layers_make_of_the_base(
        base in writes(),
        above in [writes(), writes(), writes()],
        bounds in (0..14u8, 0..14u8),
        descending in any::<bool>(),
    ) {
        let (base, layers, seen) = stack(base, above);
        let view = View::new(&layers);
        let (first, last) = (key(bounds.0), key(bounds.1));
        let span = Span { first: &first, last: &last };
        let within = |rows: &Base| -> Vec<(Bytes, Bytes)> {
            let rows = rows.iter().filter(|(key, _)| **key >= first && **key < last);
            let mut rows: Vec<_> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
            if descending { rows.reverse() }
            rows
        };
        let direction = if descending { ScanDirection::Descending } else { ScanDirection::Ascending };
        let below = within(&base).into_iter().map(Ok::<_, Infallible>);
        let found: Vec<_> = view.scan(span, direction, below).map(Result::unwrap).collect();
        prop_assert_eq!(found, within(&seen));
        for name in 0..12 {
            let found = view.newest(&key(name)).map_or_else(|| base.get(&key(name)), |change| change.now.as_ref());
            prop_assert_eq!(found, seen.get(&key(name)));
        }
    }

    #[test]
    fn what_is_due_is_what_the_layers_make_of_the_base(
        base in writes(),
        above in [writes(), writes(), writes()],
        until in 0..7i64,
        limit in 0..6usize,
    ) {
        let (base, layers, seen) = stack(base, above);
        let schedule = |rows: &Base| {
            let rows = rows.iter().filter_map(|(key, value)| Some((time_of(value)?, key.clone())));
            let mut rows: Vec<_> = rows.collect();
            rows.sort();
            rows
        };
        let below = schedule(&base).into_iter().map(Ok::<_, Infallible>);
        let found = View::new(&layers).due((Schedule::Expiry, until), limit, below).unwrap();
        let expected: Vec<_> = schedule(&seen).into_iter().filter(|(time, _)| *time <= until).take(limit).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_growth_of_layers_is_what_they_add(base in writes(), above in [writes(), writes(), writes()]) {
        let (base, layers, seen) = stack(base, above);
        let weigh = |rows: &Base| -> i64 {
            rows.iter().map(|(key, value)| i64::try_from(Beneath::of(key, value).weight).unwrap()).sum()
        };
        let growth: i64 = layers.iter().map(|layer| layer.growth().bytes).sum();
        prop_assert_eq!(weigh(&base) + growth, weigh(&seen));
    }
}

#[test]
fn a_failure_of_the_base_is_handed_on() {
    let layer = Layer::default();
    let view = View::new([&layer]);
    let (first, last) = (key(0), key(9));
    let span = Span { first: &first, last: &last };
    let base = [Ok((key(1), Bytes::new())), Err("gone"), Ok((key(2), Bytes::new()))];
    let found: Vec<_> = view.scan(span, ScanDirection::Ascending, base.into_iter()).collect();
    assert_eq!(found[1], Err("gone"));
    let due = view.due((Schedule::Expiry, 9), 5, [Err::<(i64, Bytes), _>("gone")].into_iter());
    assert_eq!(due, Err("gone"));
}
