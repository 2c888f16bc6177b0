//! Whatever names guests give, there are only so many counters.

use super::*;

#[test]
fn names_that_are_too_many_or_none_are_counted_together() {
    let counters = OwnCounters::default();
    for number in 0..200 {
        counters.add(&format!("counter_{number}"), 2);
    }
    counters.add("counter_0", 5);
    for bad in ["", "Upper", "a b", &"x".repeat(65)] {
        counters.add(bad, 1);
    }
    let view = counters.view();
    assert_eq!(view.len(), OWN_COUNTERS_MAX + 1);
    assert_eq!((view["counter_0"], view["counter_63"]), (7, 2));
    assert_eq!(view[OTHER_COUNTER], 136 * 2 + 4);
    counters.add("counter_0", u64::MAX);
    assert_eq!(counters.view()["counter_0"], u64::MAX);
}
