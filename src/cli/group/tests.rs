use bytes::Bytes;

use super::described::read_assignment;
use super::*;

fn to() -> ResetTo {
    ResetTo {
        to_earliest: false,
        to_latest: false,
        to_offset: None,
        to_timestamp: None,
        by_duration: None,
        to_current: false,
        shift_by: None,
        from_file: None,
    }
}

const BOUNDS: Bounds = Bounds { first: 10, end: 100 };

#[test]
fn new_offsets_stay_within_the_log() {
    assert_eq!(target(&ResetTo { to_earliest: true, ..to() }, BOUNDS, None, None), Some(10));
    assert_eq!(target(&ResetTo { to_latest: true, ..to() }, BOUNDS, None, None), Some(100));
    assert_eq!(target(&ResetTo { to_offset: Some(5), ..to() }, BOUNDS, None, None), Some(10));
    assert_eq!(target(&ResetTo { to_offset: Some(500), ..to() }, BOUNDS, None, None), Some(100));
    let shift = |records| ResetTo { shift_by: Some(records), ..to() };
    assert_eq!(target(&shift(-3), BOUNDS, Some(50), None), Some(47));
    assert_eq!(target(&shift(i64::MAX), BOUNDS, Some(50), None), Some(100));
    assert_eq!(target(&shift(1), BOUNDS, None, None), None);
}

#[test]
fn a_time_after_the_last_record_means_the_end() {
    let at = ResetTo { to_timestamp: Some(1), ..to() };
    assert_eq!(target(&at, BOUNDS, None, Some(33)), Some(33));
    assert_eq!(target(&at, BOUNDS, None, None), Some(100));
}

#[test]
fn partitions_are_read_as_a_list_of_numbers() {
    assert_eq!(parse_partitions("2,0, 1").unwrap(), BTreeSet::from([0, 1, 2]));
    assert!(parse_partitions("0,x").is_err());
    assert!(parse_partitions("-1").is_err());
}

#[test]
fn an_assignment_that_is_not_the_consumer_protocols_counts_as_none() {
    assert_eq!(read_assignment(&mut Bytes::from_static(b"")), None);
    assert_eq!(read_assignment(&mut Bytes::from_static(b"\0\0\x7f\xff\xff\xff")), None);
    // Version 0; one topic "t" with partitions 0 and 2; no user data.
    let bytes = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x02\xff\xff\xff\xff";
    assert_eq!(
        read_assignment(&mut Bytes::from_static(bytes)),
        Some(vec![("t".to_owned(), 0), ("t".to_owned(), 2)])
    );
}
