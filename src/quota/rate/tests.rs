use proptest::prelude::*;

use super::*;
use crate::quota::QuotaKind;

const WINDOW: Window = Window { samples: 11, sample_ms: 1000 };

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn limit(value: f64) -> QuotaValue {
    QuotaValue::new(QuotaKind::RequestPercentage, value).unwrap()
}

fn throttle_ms(rate: &mut SlidingRate, now: i64, value: f64) -> u128 {
    rate.throttle(at(now), limit(value), WINDOW).as_millis()
}

#[test]
fn a_burst_is_spread_over_the_ten_samples_before_it() {
    let mut rate = SlidingRate::default();
    rate.record(at(0), 1000.0, WINDOW);
    // 1000 in 10 s are 100 a second.
    assert_eq!(throttle_ms(&mut rate, 0, 100.0), 0);
    assert_eq!(throttle_ms(&mut rate, 0, 50.0), 10_000);
    assert_eq!(throttle_ms(&mut rate, 0, 80.0), 2_500);
}

#[test]
fn waiting_for_the_time_that_was_told_brings_the_rate_back_to_the_limit() {
    let mut rate = SlidingRate::default();
    rate.record(at(0), 1500.0, WINDOW);
    let wait = i64::try_from(throttle_ms(&mut rate, 0, 100.0)).unwrap();
    assert_eq!(wait, 5_000);
    rate.record(at(wait), 0.0, WINDOW);
    assert!(throttle_ms(&mut rate, 10_000 + wait, 100.0) <= 1);
}

#[test]
fn what_is_older_than_all_samples_is_forgotten() {
    let mut rate = SlidingRate::default();
    rate.record(at(0), 1_000_000.0, WINDOW);
    assert!(throttle_ms(&mut rate, 10_999, 1.0) > 0);
    assert_eq!(throttle_ms(&mut rate, 11_000, 1.0), 0);
    assert!(rate.is_idle(at(11_000), WINDOW));
}

#[test]
fn what_was_counted_can_be_taken_back() {
    let mut rate = SlidingRate::default();
    rate.record(at(0), 5000.0, WINDOW);
    rate.record(at(10), -5000.0, WINDOW);
    assert_eq!(throttle_ms(&mut rate, 10, 1.0), 0);
}

#[test]
fn a_clock_that_goes_back_breaks_nothing() {
    let mut rate = SlidingRate::default();
    rate.record(at(50_000), 100.0, WINDOW);
    rate.record(at(1_000), 100.0, WINDOW);
    assert_eq!(throttle_ms(&mut rate, 1_000, 20.0), 0);
    let mut bucket = TokenBucket::new(at(50_000), limit(1.0), WINDOW);
    bucket.take(at(1_000), 12.0, limit(1.0), WINDOW);
    assert_eq!(bucket.throttle(at(1_000), limit(1.0), WINDOW).as_millis(), 1_000);
}

#[test]
fn a_bucket_gives_a_window_at_once_and_then_its_rate() {
    let mut bucket = TokenBucket::new(at(0), limit(2.0), WINDOW);
    bucket.take(at(0), 22.0, limit(2.0), WINDOW);
    assert_eq!(bucket.throttle(at(0), limit(2.0), WINDOW), Duration::ZERO);
    bucket.take(at(0), 10.0, limit(2.0), WINDOW);
    assert_eq!(bucket.throttle(at(0), limit(2.0), WINDOW).as_millis(), 5_000);
    assert_eq!(bucket.throttle(at(4_000), limit(2.0), WINDOW).as_millis(), 1_000);
    assert!(!bucket.is_idle(at(15_000), limit(2.0), WINDOW));
    assert!(bucket.is_idle(at(16_000), limit(2.0), WINDOW));
}

proptest! {
    /// A client that waits as it is told gets its limit, and once more what a window holds whenever
    /// its samples have all gone by: never more than twice its limit in the long run, as in Kafka.
    #[test]
    fn an_obedient_client_stays_within_its_limit(
        amounts in proptest::collection::vec(1.0f64..5_000.0, 1..200), value in 10.0f64..10_000.0,
    ) {
        let (mut rate, mut now, mut total) = (SlidingRate::default(), 0i64, 0.0);
        for amount in amounts {
            rate.record(at(now), amount, WINDOW);
            total += amount;
            now += rate.throttle(at(now), limit(value), WINDOW).as_millis() as i64 + 1;
        }
        let allowed = 2.0 * value * (now as f64 / 1000.0 + 11.0);
        prop_assert!(total <= allowed + 5_000.0, "{total} of {allowed}");
    }
}
