//! Notes come back as they were, fit, and do not mistake others' text for theirs.

use super::*;

fn timer(id: &str) -> Timer {
    Timer { id: id.to_owned().into(), at: 50, payload: Default::default() }
}

#[test]
fn a_failed_timer_is_known_by_its_domain_time_and_id() {
    let failed = FailedTimer::new(TimerDomain::Event, &timer("t"), 3);
    assert!(failed.is(TimerDomain::Event, &timer("t")));
    assert!(!failed.is(TimerDomain::Processing, &timer("t")) && !failed.is(TimerDomain::Event, &timer("u")));
    assert!(!failed.is(TimerDomain::Event, &Timer { at: 51, ..timer("t") }));
}

#[test]
fn a_note_comes_back_as_it_was() {
    let note = CommitNote {
        first_offsets: vec![40, 7],
        now: 1_763_000_000_000,
        calls: vec![
            CallNote::Records(0, 12, 0),
            CallNote::timers(TimerDomain::Event, 3, 1),
            CallNote::given_up(0, 12),
            CallNote::given_up(1, 3),
            CallNote::records(1, 4, 9, 0),
            CallNote::timers(TimerDomain::Processing, 1, 0),
            CallNote::timer_given_up(TimerDomain::Event),
            CallNote::timer_given_up(TimerDomain::Processing),
        ],
        failed: 2,
        failed_timer: Some(FailedTimer::new(TimerDomain::Event, &timer("t"), 3)),
    };
    let text = note.to_text();
    assert_eq!(
        text,
        r#"{"from":[40,7],"now":1763000000000,"calls":[{"r":[0,12,0]},{"e":[3,1]},{"x":12},{"xi":[1,3]},{"i":[1,4,9,0]},{"p":[1,0]},"ex","px"],"failed":2,"timer":{"domain":"event-time","at":50,"id_crc":3833565251,"failed":3}}"#
    );
    assert_eq!(CommitNote::parse(&text), Some(note));
}

#[test]
fn nothing_to_say_is_no_text_and_foreign_text_is_no_note() {
    assert_eq!(CommitNote { first_offsets: vec![7], now: 5, ..CommitNote::default() }.to_text(), "");
    for text in ["", "a consumer's own note", "{}", r#"{"from":["x"]}"#, "7"] {
        assert_eq!(CommitNote::parse(text), None, "{text}");
    }
}

#[test]
fn the_longest_note_fits_into_what_kafka_takes() {
    let calls = vec![CallNote::Records(1_000_000_000, 99_999, 999); CALLS_MAX];
    let failed_timer = Some(FailedTimer::new(TimerDomain::Processing, &timer(&"t".repeat(999)), u32::MAX));
    let (first_offsets, now, failed) = (vec![i64::MAX], i64::MAX, u32::MAX);
    let note = CommitNote { first_offsets, now, calls, failed, failed_timer };
    assert!(note.to_text().len() <= 4096, "{}", note.to_text().len());
}
