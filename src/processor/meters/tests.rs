//! What is measured, by values that come in.

use super::*;

#[test]
fn commits_are_counted_by_how_long_they_took() {
    let meters = ProcessorMeters::default();
    for ms in [1, 2, 3, 700, 60_000] {
        meters.committed(Duration::from_millis(ms));
    }
    let view = meters.commits.view();
    assert_eq!(view.buckets, [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
    assert_eq!((view.count, view.sum_seconds), (5, 60.706));
}

#[test]
fn lag_is_the_age_of_the_oldest_record_that_is_not_committed() {
    let meters = TaskMeters::default();
    let lag = || meters.lag(10_000).as_millis();
    assert_eq!(lag(), 0, "nothing was taken");
    meters.began_unit(4_000);
    meters.began_unit(7_000);
    assert_eq!(lag(), 6_000);
    meters.settled_unit();
    assert_eq!(lag(), 3_000);
    meters.settled_unit();
    assert_eq!(lag(), 0);
    meters.began_unit(12_000);
    assert_eq!(lag(), 0, "a record from the future has no age");
    meters.began_session();
    meters.began_unit(9_000);
    assert_eq!(lag(), 1_000);
}

#[test]
fn a_guest_s_time_is_what_its_thread_has_worked() {
    let meters = TaskMeters::default();
    let sum =
        meters.time_guest(|| (0..2_000_000_u64).fold(0, |sum, number| std::hint::black_box(sum ^ number)));
    std::hint::black_box(sum);
    assert!(get(&meters.guest_nanoseconds) > 0);
}
