use super::*;
use tidemill_guest::testing::{self, TestOutput, TestRecord};

fn shown(outputs: &[TestOutput]) -> Vec<String> {
    outputs.iter().map(|out| format!("{} {} {}", out.topic, out.key_str(), out.value_str())).collect()
}

fn fire_at(retry: &mut RetryLater, now: i64) -> Vec<String> {
    testing::set_now(now);
    shown(&testing::fire_timers(retry).unwrap())
}

#[test]
fn an_amount_waits_for_its_account() {
    testing::set_config(&[]);
    let mut retry = RetryLater::init(&testing::context()).unwrap();
    let early = [TestRecord::new("a", "5"), TestRecord::new("b", "open"), TestRecord::new("b", "-2")];
    assert_eq!(shown(&testing::run(&mut retry, &early).unwrap()), ["balances b 0", "balances b -2"]);
    assert_eq!(fire_at(&mut retry, 1_000), [""; 0]);
    assert_eq!(shown(&testing::run(&mut retry, &[TestRecord::new("a", "open")]).unwrap()), ["balances a 0"]);
    assert_eq!(fire_at(&mut retry, 2_999), [""; 0]);
    assert_eq!(fire_at(&mut retry, 3_000), ["balances a 5"]);
    assert_eq!(fire_at(&mut retry, 99_000), [""; 0]);
}

#[test]
fn in_the_end_it_is_given_up() {
    testing::set_config(&[("tries", "3"), ("first-wait-ms", "10")]);
    let mut retry = RetryLater::init(&testing::context()).unwrap();
    testing::run(&mut retry, &[TestRecord::new("a", "5")]).unwrap();
    assert_eq!(fire_at(&mut retry, 10), [""; 0]);
    assert_eq!(fire_at(&mut retry, 29), [""; 0]);
    testing::set_now(30);
    let given_up = testing::fire_timers(&mut retry).unwrap();
    assert_eq!(shown(&given_up), ["given-up a 5"]);
    assert_eq!(given_up[0].headers[0].1.as_deref(), Some(&b"the account is not open after 3 tries"[..]));
}
