use super::*;
use tidemill_guest::testing::{self, TestRecord};

fn at(timestamp: i64, value: &str, delay: Option<&str>) -> TestRecord {
    let headers = delay.map(|delay| ("delay-ms".to_owned(), Some(delay.as_bytes().to_vec())));
    TestRecord { timestamp, headers: headers.into_iter().collect(), ..TestRecord::new("key", value) }
}

#[test]
fn a_record_goes_on_when_its_time_has_come_and_as_it_was() {
    testing::set_config(&[("delay-ms", "100")]);
    let mut delayed = DelayedMessages::init(&testing::context()).unwrap();
    let records =
        [at(1_000, "later", None), at(1_000, "sooner", Some("50")), at(1_000, "at once", Some("-5"))];
    testing::set_now(1_000);
    let now = testing::run(&mut delayed, &records).unwrap();
    assert_eq!(now.iter().map(|out| out.value_str()).collect::<Vec<_>>(), ["at once"]);
    testing::set_now(1_099);
    let sooner = testing::fire_timers(&mut delayed).unwrap();
    assert_eq!((sooner.len(), sooner[0].value_str(), sooner[0].timestamp), (1, "sooner", Some(1_000)));
    assert_eq!((&sooner[0].headers, sooner[0].key_str()), (&records[1].headers, "key"));
    testing::set_now(1_100);
    assert_eq!(testing::fire_timers(&mut delayed).unwrap()[0].value_str(), "later");
}

#[test]
fn a_delay_that_is_no_number_rejects_its_record() {
    let mut delayed = DelayedMessages::init(&testing::context()).unwrap();
    assert_eq!(testing::run(&mut delayed, &[at(0, "v", None), at(0, "v", Some("soon"))]).unwrap_err().0, 1);
}
