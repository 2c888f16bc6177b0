use super::*;
use crate::bindings::partitioner_typed::{Fault, RecordToPlace};
use crate::bindings::typed::{FaultReason, Header};
use crate::testing::{self, TestRecord};
use crate::{config, default_partition};

/// Places by the value: a number, or by the key; and looks at everything that a record has.
struct ByValue;

impl Partitioner for ByValue {
    fn configure() -> Result<ByValue, Error> {
        match config("refuse") {
            Some(reason) => Err(Error::fatal(reason)),
            None => Ok(ByValue),
        }
    }

    fn partition(&mut self, topic: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
        assert_eq!((topic, record.topic, record.partition, record.attempt), ("orders", "orders", 0, 0));
        match record.value {
            Some(b"fault") => Err(Error::retry("no idea")),
            Some(b"offset") => Ok(record.offset as u32),
            Some(b"time") => Ok(record.timestamp as u32),
            Some(b"headers") => Ok(record.headers.len() as u32),
            _ => Ok(default_partition(&record, partitions)),
        }
    }

    fn close(&mut self) {
        crate::count("closed", 1);
    }
}

fn records(values: &[&str]) -> Vec<TestRecord> {
    let headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("null".to_owned(), None)];
    let record = |value: &&str| TestRecord {
        headers: headers.clone(),
        timestamp: 3,
        ..TestRecord::new("abc", *value)
    };
    values.iter().map(record).collect()
}

/// In a batch that comes from somewhere: of another topic, and of a partition that is not the first.
fn flat(records: &[TestRecord]) -> Result<Vec<u32>, Fault> {
    partition_flat::<ByValue>("orders", 100, &testing::encode("elsewhere", 5, records)).map_err(Fault::from)
}

fn typed(records: &[TestRecord]) -> Result<Vec<u32>, Fault> {
    let header = |(key, value): &(String, Option<Vec<u8>>)| Header { key: key.clone(), value: value.clone() };
    let to_place = |record: &TestRecord| RecordToPlace {
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    };
    let records: Vec<_> = records.iter().map(to_place).collect();
    partition_typed::<ByValue>("orders", 100, &records).map_err(Fault::from)
}

#[test]
fn both_worlds_and_the_tests_see_the_same_records_and_choices() {
    configure_partitioner::<ByValue>().unwrap();
    let records = records(&["by key", "offset", "time", "headers"]);
    assert_eq!(flat(&records).unwrap(), [7, 1, 3, 2]);
    assert_eq!(typed(&records).unwrap(), [7, 1, 3, 2]);
    assert_eq!(testing::partition(&mut ByValue, "orders", 100, &records), Ok(vec![7, 1, 3, 2]));
    assert_eq!((flat(&[]).unwrap(), typed(&[]).unwrap()), (vec![], vec![]));
}

#[test]
fn an_error_names_its_record_and_the_next_batch_starts_anew() {
    configure_partitioner::<ByValue>().unwrap();
    let bad = records(&["offset", "fault"]);
    for fault in [flat(&bad).unwrap_err(), typed(&bad).unwrap_err()] {
        assert_eq!((fault.index, fault.message.as_str()), (1, "no idea"));
        assert!(matches!(fault.reason, FaultReason::Retry));
    }
    assert_eq!(testing::partition(&mut ByValue, "orders", 100, &bad), Err((1, Error::retry("no idea"))));
    assert_eq!(flat(&records(&["offset"])).unwrap(), [0]);
    let mut cut = testing::encode("orders", 0, &records(&["offset"]));
    cut.pop();
    let failed = partition_flat::<ByValue>("orders", 100, &cut).unwrap_err();
    assert_eq!((failed.index, failed.error), (0, Error::fatal("the batch is cut short")));
}

#[test]
fn a_life_begins_with_configure_and_ends_with_close() {
    testing::set_config(&[("refuse", "not like this")]);
    assert_eq!(configure_partitioner::<ByValue>(), Err("not like this".to_owned()));
    testing::set_config(&[]);
    assert_eq!(flat(&[]).unwrap_err().message, "a batch came before configure");
    close_partitioner::<ByValue>();
    configure_partitioner::<ByValue>().unwrap();
    let before = testing::counter("closed");
    close_partitioner::<ByValue>();
    close_partitioner::<ByValue>();
    assert_eq!(testing::counter("closed"), before + 1);
    assert!(typed(&[]).is_err());
}

#[test]
#[should_panic(expected = "record 1 goes to partition 3, and `orders` has 3")]
fn a_choice_that_the_broker_would_refuse_fails_the_test() {
    let _ = testing::partition(&mut ByValue, "orders", 3, &records(&["offset", "time"]));
}
