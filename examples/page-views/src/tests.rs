use super::*;
use tidemill_guest::testing::{self, TestRecord};

#[test]
fn a_window_is_told_once_and_late_views_go_apart() {
    testing::set_config(&[]);
    let mut views = PageViews::init(&testing::context()).unwrap();
    let at = |second: i64, page: &str| TestRecord { timestamp: second * 1_000, ..TestRecord::new(page, "v") };
    let records = [at(0, "/"), at(59, "/"), at(61, "/"), at(58, "/a"), at(70, "/b"), at(59, "/c")];
    let outputs = testing::run(&mut views, &records).unwrap();
    let shown: Vec<_> = outputs
        .iter()
        .map(|out| (out.topic.as_str(), out.key_str(), out.value_str(), out.timestamp))
        .collect();
    assert_eq!(
        shown,
        [
            ("late-views", "/c", "v", None),
            ("page-views", "/", "2", Some(0)),
            ("page-views", "/a", "1", Some(0))
        ]
    );
}
