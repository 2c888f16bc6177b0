//! What the leader-epoch table answers.

use super::{Changed, LeaderEpochs};
use crate::ids::{LeaderEpoch, Offset};

fn epoch(value: i32) -> LeaderEpoch {
    LeaderEpoch::from_wire(value).unwrap()
}

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

fn table(entries: &[(i32, i64)]) -> LeaderEpochs {
    LeaderEpochs::from_entries(entries.iter().map(|(e, o)| (epoch(*e), offset(*o))).collect())
}

fn shown(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
    epochs.entries().iter().map(|(e, o)| (e.value(), o.value())).collect()
}

#[test]
fn the_latest_epoch_is_noted_once() {
    let mut epochs = table(&[(1, 0)]);
    assert_eq!(epochs.assign(epoch(1), offset(7)), Changed::No);
    assert_eq!(epochs.assign(epoch(3), offset(7)), Changed::Yes);
    assert_eq!(shown(&epochs), [(1, 0), (3, 7)]);
}

#[test]
fn entries_that_contradict_a_new_one_go() {
    let mut epochs = table(&[(1, 0), (2, 5), (4, 9)]);
    let _ = epochs.assign(epoch(3), offset(5));
    assert_eq!(shown(&epochs), [(1, 0), (3, 5)]);
}

#[test]
fn an_end_offset_is_the_start_of_the_next_epoch() {
    let epochs = table(&[(2, 10), (4, 20), (6, 30)]);
    let end = |value| epochs.end_offset_for(epoch(value), offset(40)).map(|(e, o)| (e.value(), o.value()));
    assert_eq!(end(6), Some((6, 40)));
    assert_eq!(end(7), None);
    assert_eq!(end(5), Some((4, 30)));
    assert_eq!(end(4), Some((4, 30)));
    assert_eq!(end(2), Some((2, 20)));
    assert_eq!(end(1), Some((1, 10)), "below the first epoch: the start of the first higher one");
    assert_eq!(LeaderEpochs::default().end_offset_for(epoch(0), offset(0)), None);
}

#[test]
fn cutting_the_end_keeps_an_epoch_that_begins_right_there() {
    let mut epochs = table(&[(1, 0), (2, 5), (3, 9)]);
    assert_eq!(epochs.truncate_to_end(offset(5)), Changed::Yes);
    assert_eq!(shown(&epochs), [(1, 0), (2, 5)]);
    assert_eq!(epochs.truncate_to_end(offset(5)), Changed::No);
}

#[test]
fn cutting_the_start_moves_the_epoch_that_it_lies_in() {
    let mut epochs = table(&[(1, 0), (2, 5), (3, 9)]);
    assert_eq!(epochs.truncate_to_start(offset(0)), Changed::No);
    assert_eq!(epochs.truncate_to_start(offset(7)), Changed::Yes);
    assert_eq!(shown(&epochs), [(2, 7), (3, 9)]);
    assert_eq!(epochs.truncate_to_start(offset(9)), Changed::Yes);
    assert_eq!(shown(&epochs), [(3, 9)]);
}

#[test]
fn an_offset_has_the_epoch_it_was_written_in() {
    let epochs = table(&[(2, 10), (4, 20)]);
    assert_eq!(epochs.epoch_at(offset(9)), None);
    assert_eq!(epochs.epoch_at(offset(19)), Some(epoch(2)));
    assert_eq!(epochs.epoch_at(offset(20)), Some(epoch(4)));
}
