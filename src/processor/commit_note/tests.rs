//! Notes come back as they were, fit, and do not mistake others' text for theirs.

use super::*;

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
    };
    let text = note.to_text();
    assert_eq!(
        text,
        r#"{"from":[40,7],"now":1763000000000,"calls":[{"r":[0,12,0]},{"e":[3,1]},{"x":12},{"xi":[1,3]},{"i":[1,4,9,0]},{"p":[1,0]},"ex","px"],"failed":2}"#
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
    let note = CommitNote { first_offsets: vec![i64::MAX], now: i64::MAX, calls, failed: u32::MAX };
    assert!(note.to_text().len() <= 4096, "{}", note.to_text().len());
}
