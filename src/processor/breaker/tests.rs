use super::*;
use std::time::Duration;

fn policy(failures_percent: u32, failures_min: u64) -> BreakerPolicy {
    BreakerPolicy { window_ms: 1_000, failures_percent, failures_min }
}

#[test]
fn it_breaks_at_the_share_but_not_below_the_least_number() {
    let now = Instant::now();
    let mut breaker = Breaker::new(policy(50, 10), now);
    assert_eq!(breaker.saw(now, 9, 9), None, "all of them, but too few to tell");
    assert_eq!(breaker.saw(now, 1, 1).unwrap(), "10 of 10 records failed within 1000 ms");
    let mut breaker = Breaker::new(policy(50, 10), now);
    assert_eq!(breaker.saw(now, 100, 0), None);
    assert_eq!(breaker.saw(now, 99, 99), None);
    assert!(breaker.saw(now, 1, 1).is_some());
}

#[test]
fn each_window_counts_by_itself() {
    let now = Instant::now();
    let mut breaker = Breaker::new(policy(50, 10), now);
    assert_eq!(breaker.saw(now, 9, 9), None);
    let later = now + Duration::from_millis(1_000);
    assert_eq!(breaker.saw(later, 9, 9), None);
    assert!(breaker.saw(later + Duration::from_millis(999), 1, 1).is_some());
}

#[test]
fn without_a_share_it_never_breaks() {
    let now = Instant::now();
    let mut breaker = Breaker::new(policy(0, 1), now);
    assert_eq!(breaker.saw(now, 1_000_000, 1_000_000), None);
}
