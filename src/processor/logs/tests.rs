//! The ring of log lines: bounded, paged, limited in rate.

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

#[test]
fn lines_are_paged_by_number() {
    let log = LogRing::new(LogLimits::default());
    log.push(at(1), "info", "in-0", "one");
    log.push(at(2), "info", "in-0", "two");
    let page = log.page(1);
    assert_eq!(page.lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!((page.next, page.forgotten), (2, 0));
}

#[test]
fn the_oldest_lines_are_forgotten_and_counted() {
    let log = LogRing::new(LogLimits { lines_max: 2, lines_per_second_max: 100 });
    for text in ["a", "b", "c", "d"] {
        log.push(at(1), "info", "in-0", text);
    }
    let page = log.page(0);
    assert_eq!(page.lines.len(), 2);
    assert_eq!(page.forgotten, 2);
}

#[test]
fn a_shouting_module_is_cut_to_the_rate_and_told_so() {
    let log = LogRing::new(LogLimits { lines_max: 10, lines_per_second_max: 2 });
    for _ in 0..5 {
        log.push(at(100), "info", "in-0", "again");
    }
    assert_eq!(log.page(0).lines.len(), 2);
    log.push(at(1_100), "info", "in-0", "later");
    let page = log.page(2);
    assert_eq!(page.lines[0].message, "3 lines were left out: over the rate limit");
    assert_eq!(page.lines[1].message, "later");
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let log = LogRing::new(LogLimits::default());
    log.push(at(1), "info", "in-0", &"é".repeat(3_000));
    assert!(log.page(0).lines[0].message.len() <= LINE_BYTES_MAX + 3);
}
