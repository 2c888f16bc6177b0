use super::*;
use tidemill_guest::testing::{self, TestRecord};

const MINUTE: i64 = 60_000;

fn deduplicate(config: &[(&str, &str)]) -> Deduplicate {
    testing::set_config(config);
    Deduplicate::init(&testing::context()).unwrap()
}

fn at(minutes: i64, key: &str, value: &str) -> TestRecord {
    TestRecord { timestamp: minutes * MINUTE, ..TestRecord::new(key, value) }
}

/// The values of a batch that come through.
fn through(deduplicate: &mut Deduplicate, records: &[TestRecord]) -> Vec<String> {
    let outputs = testing::run(deduplicate, records).unwrap();
    outputs.iter().map(|output| output.value_str().to_owned()).collect()
}

#[test]
fn an_id_comes_through_once_until_it_is_forgotten() {
    let mut deduplicate = deduplicate(&[]);
    assert_eq!(through(&mut deduplicate, &[at(0, "a", "1"), at(0, "b", "2"), at(1, "a", "3")]), ["1", "2"]);
    assert_eq!(through(&mut deduplicate, &[at(9, "a", "4"), at(9, "c", "5")]), ["5"]);
    assert_eq!(through(&mut deduplicate, &[at(10, "a", "6"), at(11, "a", "7"), at(18, "c", "8")]), ["6"]);
    assert_eq!(testing::counter("duplicates"), 4);
    through(&mut deduplicate, &[at(40, "d", "9")]);
    let left = testing::in_call(|| Store::open("seen").scan(..).map(|(key, _)| key).collect::<Vec<_>>());
    assert_eq!(left, [b"d"]);
}

#[test]
fn the_id_may_be_a_header_and_records_without_one_come_through() {
    let mut deduplicate =
        deduplicate(&[("header", "id"), ("minutes", "1"), ("store", "ids"), ("output", "o")]);
    let with =
        |id: &[u8]| TestRecord { headers: vec![("id".to_owned(), Some(id.to_vec()))], ..at(0, "k", "v") };
    let records =
        [with(b"1"), with(b"2"), with(b"1"), at(0, "k", "v"), at(0, "k", "v"), with(b""), with(b"")];
    let outputs = testing::run(&mut deduplicate, &records).unwrap();
    let sources: Vec<_> = outputs.iter().map(|output| output.source).collect();
    assert_eq!(sources, [0, 1, 3, 4, 5, 6]);
    assert!(outputs.iter().all(|output| output.topic == "o" && output.key_str() == "k"));
}

#[test]
fn a_batch_that_is_tried_again_drops_nothing_more() {
    struct Failing(Deduplicate);
    impl Processor for Failing {
        fn init(_: &Context) -> Result<Failing, Error> {
            Ok(Failing(deduplicate(&[])))
        }
        fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
            self.0.process(record, out)?;
            if record.attempt == 0 && record.value == Some(b"fails") {
                Err(Error::retry("later"))
            } else {
                Ok(())
            }
        }
    }
    let mut failing = Failing::init(&testing::context()).unwrap();
    testing::run(&mut failing, &[at(0, "a", "1"), at(0, "b", "fails")]).unwrap_err();
    assert_eq!(through(&mut failing.0, &[at(0, "a", "1"), at(0, "b", "fails")]), ["1", "fails"]);
}
