use super::*;

#[test]
fn a_timestamp_is_shown_as_a_date_and_an_impossible_one_as_its_number() {
    assert_eq!(show_timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    assert_eq!(show_timestamp(i64::MAX), i64::MAX.to_string());
}
