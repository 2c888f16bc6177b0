use super::*;
use tidemill_guest::testing::{self, TestRecord, TestVerdict};

fn sent(record: TestRecord) -> TestVerdict {
    let mut stamper = TimeStamper::configure(&testing::attachment()).unwrap();
    testing::on_send(&mut stamper, &testing::origin(), &[record]).unwrap().remove(0)
}

fn at(timestamp: i64) -> TestRecord {
    TestRecord { timestamp, ..TestRecord::new("k", "v") }
}

fn header(key: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (key.to_owned(), Some(value.as_bytes().to_vec()))
}

#[test]
fn a_record_gets_its_time_behind_its_own_headers_and_nothing_else_changes() {
    testing::set_config(&[]);
    let mut record = at(1_700_000_000_123);
    record.headers.push(header("own", "1"));
    let verdict = sent(record.clone());
    record.headers.push(header("stamped", "2023-11-14T22:13:20.123Z"));
    assert_eq!(verdict, TestVerdict::Replace(record));
}

#[test]
fn a_record_with_the_header_is_kept() {
    testing::set_config(&[("header", "sent-at")]);
    let mut record = at(0);
    assert_eq!(sent(record.clone()).replaced().headers, [header("sent-at", "1970-01-01T00:00:00.000Z")]);
    record.headers.push(("sent-at".to_owned(), None));
    assert_eq!(sent(record), TestVerdict::Keep);
    testing::set_config(&[]);
}

#[test]
fn times_are_those_of_the_calendar() {
    let check = |timestamp_ms, time: Option<&str>| assert_eq!(rfc_3339(timestamp_ms).as_deref(), time);
    check(951_782_400_000, Some("2000-02-29T00:00:00.000Z"));
    check(951_868_799_999, Some("2000-02-29T23:59:59.999Z"));
    check(951_868_800_000, Some("2000-03-01T00:00:00.000Z"));
    check(1_709_164_800_000, Some("2024-02-29T00:00:00.000Z"));
    check(1_735_689_599_000, Some("2024-12-31T23:59:59.000Z"));
    check(4_107_542_400_000, Some("2100-03-01T00:00:00.000Z"));
    check(253_402_300_799_999, Some("9999-12-31T23:59:59.999Z"));
    check(253_402_300_800_000, None);
    check(i64::MAX, None);
    check(-1, None);
}
