use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).unwrap()
}

/// Segments of ten offsets and a hundred bytes, each a second younger than the one before.
fn closed(count: i64) -> Vec<SegmentFacts> {
    let segment = |number: i64| SegmentFacts {
        base_offset: offset(number * 10),
        next_offset: offset(number * 10 + 10),
        size: 100,
        index_bytes: 8,
        newest: Timestamp::from_ms(NOW.ms() - (count - number) * 1000),
        oldest: Some(Timestamp::from_ms(NOW.ms() - (count - number) * 1000 - 500)),
    };
    (0..count).map(segment).collect()
}

fn bounds(cleaned_to: Option<i64>) -> Bounds {
    Bounds {
        log_start_offset: Offset::ZERO,
        log_end_offset: offset(1000),
        last_stable_offset: offset(1000),
        cleaned_to: cleaned_to.map(offset),
    }
}

fn ends(cleanable: Cleanable) -> (i64, i64) {
    (cleanable.first_dirty_offset.value(), cleanable.end_offset.value())
}

#[test]
fn all_closed_segments_can_be_compacted_and_what_was_is_clean() {
    let config = LogConfig::default();
    let all = cleanable(&closed(4), bounds(None), &config, NOW);
    assert_eq!((ends(all), all.clean_bytes, all.dirty_bytes), ((0, 40), 0, 400));
    let half = cleanable(&closed(4), bounds(Some(20)), &config, NOW);
    assert_eq!((ends(half), half.clean_bytes, half.dirty_bytes), ((20, 40), 200, 200));
    assert!(!half.is_due(&config), "half is not more than half");
    let within = cleanable(&closed(4), bounds(Some(15)), &config, NOW);
    assert_eq!((ends(within), within.clean_bytes, within.dirty_bytes), ((15, 40), 100, 300));
    assert!(within.is_due(&config));
    let nothing = cleanable(&closed(4), bounds(Some(40)), &config, NOW);
    assert_eq!((ends(nothing), nothing.dirty_bytes), ((40, 40), 0));
    assert!(!nothing.is_due(&LogConfig { min_cleanable_dirty_ratio: 0.0, ..config }));
}

#[test]
fn nothing_undecided_is_touched_not_even_in_part_of_a_segment() {
    let undecided = |at| Bounds { last_stable_offset: offset(at), ..bounds(None) };
    for (at, end) in [(0, 0), (9, 0), (10, 10), (25, 20), (40, 40)] {
        let found = cleanable(&closed(4), undecided(at), &LogConfig::default(), NOW);
        assert_eq!(ends(found), (0, end), "undecided from {at}");
    }
}

#[test]
fn young_records_wait() {
    let config = LogConfig { min_compaction_lag_ms: 2500, ..LogConfig::default() };
    assert_eq!(ends(cleanable(&closed(4), bounds(None), &config, NOW)), (0, 20));
    // What is clean already was old enough once; a clock that went back does not matter to it.
    let earlier = Timestamp::from_ms(0);
    assert_eq!(ends(cleanable(&closed(4), bounds(Some(20)), &config, earlier)), (20, 20));
}

#[test]
fn a_record_that_waited_too_long_makes_a_pass_due_however_little_is_dirty() {
    let config = LogConfig { min_cleanable_dirty_ratio: 1.0, ..LogConfig::default() };
    let due = |lag_ms, cleaned_to| {
        let config = LogConfig { max_compaction_lag_ms: lag_ms, ..config.clone() };
        cleanable(&closed(4), bounds(cleaned_to), &config, NOW).is_due(&config)
    };
    assert!(!due(None, None));
    assert!(due(Some(4000), None), "the first one is 4500 ms old");
    assert!(!due(Some(4500), None));
    assert!(!due(Some(1500), Some(30)), "only the last one counts, and it is 1500 ms old");
    assert!(due(Some(1499), Some(30)));
}

#[test]
fn a_recorded_offset_outside_of_the_log_counts_for_nothing() {
    let moved = Bounds { log_start_offset: offset(20), ..bounds(Some(5)) };
    assert_eq!(ends(cleanable(&closed(4)[2..], moved, &LogConfig::default(), NOW)), (20, 40));
    assert_eq!(ends(cleanable(&closed(4), bounds(Some(1001)), &LogConfig::default(), NOW)), (0, 40));
}

#[test]
fn neighbours_become_one_up_to_every_limit() {
    let grouped = |config: LogConfig| {
        groups(&closed(5), &config).into_iter().map(|group| (group.start, group.end)).collect::<Vec<_>>()
    };
    let config = LogConfig { segment_bytes_max: 250, ..LogConfig::default() };
    assert_eq!(grouped(config.clone()), [(0, 2), (2, 4), (4, 5)]);
    let config = LogConfig { segment_bytes_max: 1000, segment_index_bytes_max: 24, ..config };
    assert_eq!(grouped(config.clone()), [(0, 3), (3, 5)]);
    let config = LogConfig { segment_bytes_max: 50, ..config };
    assert_eq!(grouped(config), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
    let mut far = closed(2);
    far[1].base_offset = offset(i64::from(i32::MAX) - 1);
    far[1].next_offset = offset(i64::from(i32::MAX));
    assert_eq!(groups(&far, &LogConfig::default()), vec![0..2]);
    far[1].next_offset = offset(i64::from(i32::MAX) + 1);
    assert_eq!(groups(&far, &LogConfig::default()), vec![0..1, 1..2]);
}

proptest! {
    /// Each segment is in one group, in order, and no group of several is larger than a segment may be.
    #[test]
    fn groups_are_a_partition(sizes in prop::collection::vec(1..400u64, 0..30), bytes_max in 1..1000u64) {
        let mut segments = closed(i64::try_from(sizes.len()).unwrap());
        segments.iter_mut().zip(&sizes).for_each(|(segment, size)| segment.size = *size);
        let config = LogConfig { segment_bytes_max: bytes_max, ..LogConfig::default() };
        let groups = groups(&segments, &config);
        let all: Vec<usize> = groups.iter().cloned().flatten().collect();
        prop_assert_eq!(all, (0..segments.len()).collect::<Vec<_>>());
        for group in groups {
            let size: u64 = sizes[group.clone()].iter().sum();
            prop_assert!(group.len() == 1 || size <= bytes_max);
        }
    }
}
