use super::*;
use tidemill_guest::testing::{self, TestRecord};

#[test]
fn a_record_meets_the_last_row_of_its_key() {
    testing::set_config(&[("table", "customers")]);
    let mut join = JoinTable::init(&testing::context()).unwrap();
    let mut outputs = Vec::new();
    let mut put =
        |topic: &str, record| outputs.extend(testing::run_from(&mut join, topic, &[record]).unwrap());
    put("orders", TestRecord::new("1", "early"));
    put("customers", TestRecord::new("1", "anna"));
    put("orders", TestRecord::new("1", "a book"));
    put("customers", TestRecord::new("1", "anne"));
    put("orders", TestRecord::new("2", "a pen"));
    put("orders", TestRecord::new("1", "a lamp"));
    put("customers", TestRecord::new("1", ()));
    put("orders", TestRecord::new("1", "late"));
    let shown: Vec<_> = outputs
        .iter()
        .map(|out| {
            let row = out.headers.first().and_then(|(_, row)| row.as_deref());
            (out.topic.as_str(), out.value_str(), row)
        })
        .collect();
    let expected = [
        ("unmatched", "early", None),
        ("joined", "a book", Some(&b"anna"[..])),
        ("unmatched", "a pen", None),
        ("joined", "a lamp", Some(b"anne")),
        ("unmatched", "late", None),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_record_without_a_key_is_rejected() {
    testing::set_config(&[("table", "customers")]);
    let mut join = JoinTable::init(&testing::context()).unwrap();
    testing::run(&mut join, &[TestRecord::new((), "v")]).unwrap_err();
}
