use super::*;
use tidemill_guest::partition_for_key;
use tidemill_guest::testing::{self, TestRecord};

fn configured(config: &[(&str, &str)]) -> Result<WordPartitioner, Error> {
    testing::set_config(config);
    let partitioner = WordPartitioner::configure();
    testing::set_config(&[]);
    partitioner
}

fn placed(partitions: u32, records: &[TestRecord]) -> Vec<u32> {
    let mut partitioner = configured(&[("word", "urgent")]).unwrap();
    testing::partition(&mut partitioner, "mail", partitions, records).unwrap()
}

#[test]
fn the_word_has_the_first_partition_and_all_else_the_second() {
    let values = ["urgent", "this is urgent!", "insurgents", "Urgent", "urgen", "", "later"];
    let records = values.map(|value| TestRecord::new("k", value));
    assert_eq!(placed(2, &records), [0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn values_that_are_no_text_are_searched_and_tombstones_contain_nothing() {
    let records = [
        TestRecord::new("k", b"\xff\0urgent\xfe"),
        TestRecord::new("k", [0xff; 9]),
        TestRecord::new("k", ()),
    ];
    assert_eq!(placed(2, &records), [0, 1, 1]);
}

#[test]
fn the_others_are_spread_by_their_key() {
    let keys: Vec<_> = (0..100).map(|key| format!("key-{key}")).collect();
    let records: Vec<_> = keys.iter().map(|key| TestRecord::new(key, "later")).collect();
    let partitions = placed(4, &records);
    let expected: Vec<_> = keys.iter().map(|key| 1 + partition_for_key(key.as_bytes(), 3)).collect();
    assert_eq!(partitions, expected);
    assert!((1..4).all(|partition| partitions.contains(&partition)));
}

#[test]
fn a_record_without_a_key_is_spread_by_its_value() {
    let values: Vec<_> = (0..100).map(|value| format!("value {value}")).collect();
    let records: Vec<_> = values.iter().map(|value| TestRecord::new((), value)).collect();
    let partitions = placed(4, &records);
    assert!((1..4).all(|partition| partitions.contains(&partition)));
    assert_eq!(placed(4, &records), partitions);
    assert_eq!(placed(4, &[TestRecord::new((), "so urgent"), TestRecord::new((), ())])[0], 0);
}

#[test]
fn in_a_topic_of_one_partition_everything_goes_there() {
    let records = [TestRecord::new("k", "urgent"), TestRecord::new("k", "later"), TestRecord::new((), ())];
    assert_eq!(placed(1, &records), [0, 0, 0]);
}

#[test]
fn without_a_word_there_is_no_partitioner() {
    let refused = |config: &[(&str, &str)]| configured(config).err().unwrap().message;
    assert_eq!(refused(&[]), "the config key `word` is missing");
    assert_eq!(refused(&[("word", "")]), "the config key `word` is empty, and every value contains that");
}
