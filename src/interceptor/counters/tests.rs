use super::*;

#[test]
fn names_that_are_too_many_or_none_are_counted_together() {
    let counters = Counters::default();
    for number in 0..200 {
        counters.add_own(&format!("counter_{number}"), 2);
    }
    counters.add_own("counter_0", 5);
    for bad in ["", "Upper", "a b", &"x".repeat(65)] {
        counters.add_own(bad, 1);
    }
    let own = counters.view().own;
    assert_eq!(own.len(), OWN_COUNTERS_MAX + 1);
    assert_eq!((own["counter_0"], own["counter_63"]), (7, 2));
    assert_eq!(own[OTHER], 136 * 2 + 4);
    counters.add_own("counter_0", u64::MAX);
    assert_eq!(counters.view().own["counter_0"], u64::MAX);
}
