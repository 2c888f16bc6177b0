use super::*;
use tidemill_guest::testing::{self, TestRecord};

#[test]
fn records_are_copied_with_all_that_they_have() {
    testing::set_config(&[("output", "there")]);
    let mut copy = Copy::init(&testing::context()).unwrap();
    let headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("null".to_owned(), None)];
    let records = [
        TestRecord { headers: headers.clone(), ..TestRecord::new("k", "v") },
        TestRecord::new("a tombstone", ()),
        TestRecord::new((), ""),
    ];
    let outputs = testing::run(&mut copy, &records).unwrap();
    assert_eq!(outputs.len(), records.len());
    for ((record, output), source) in records.iter().zip(&outputs).zip(0..) {
        assert_eq!(
            (&output.key, &output.value, &output.headers),
            (&record.key, &record.value, &record.headers)
        );
        assert_eq!((output.topic.as_str(), output.source, output.timestamp), ("there", source, None));
    }
}

#[test]
fn without_a_name_the_topic_is_copy() {
    testing::set_config(&[]);
    let mut copy = Copy::init(&testing::context()).unwrap();
    assert_eq!(testing::run(&mut copy, &[TestRecord::new("k", "v")]).unwrap()[0].topic, "copy");
}
