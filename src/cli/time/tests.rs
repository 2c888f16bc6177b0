use super::*;

#[test]
fn a_timestamp_is_shown_as_a_date_and_an_impossible_one_as_its_number() {
    assert_eq!(show_timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    assert_eq!(show_timestamp(i64::MAX), i64::MAX.to_string());
}

#[test]
fn durations_are_read_as_iso_8601_writes_them() {
    let seconds = |text: &str| parse_iso_duration(text).map(|duration| duration.as_secs_f64());
    assert_eq!(seconds("P1DT2H30M15.5S"), Some(86_400.0 + 2.5 * 3_600.0 + 15.5));
    assert_eq!((seconds("PT0S"), seconds("P2D"), seconds("pt5m")), (Some(0.0), Some(172_800.0), Some(300.0)));
    for wrong in ["", "P", "PT", "5m", "P5M", "PT1D", "PT1H2", "PT-1S", "P1DT"] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
}
