use super::*;
use tidemill_guest::testing::{self, TestRecord};

fn counter(config: &[(&str, &str)]) -> WordCount {
    testing::set_config(config);
    WordCount::init(&testing::context()).unwrap()
}

/// The words and counts that come out for a batch of these values.
fn counted(counter: &mut WordCount, values: &[&str]) -> Vec<String> {
    let records: Vec<_> = values.iter().map(|value| TestRecord::new((), value)).collect();
    let outputs = testing::run(counter, &records).unwrap();
    outputs.iter().map(|output| format!("{} {}", output.key_str(), output.value_str())).collect()
}

#[test]
fn counts_go_on_from_batch_to_batch_and_from_instance_to_instance() {
    let mut first = counter(&[]);
    assert_eq!(counted(&mut first, &["to be, or not to BE"]), ["be 2", "not 1", "or 1", "to 2"]);
    assert_eq!(counted(&mut first, &["be", "be!"]), ["be 3", "be 4"]);
    assert_eq!(
        counted(&mut counter(&[]), &["Être et ne pas be"]),
        ["be 5", "et 1", "ne 1", "pas 1", "être 1"]
    );
}

#[test]
fn a_batch_that_is_refused_has_counted_nothing() {
    let mut counter = counter(&[("output", "counted")]);
    let bad = [TestRecord::new((), "word"), TestRecord::new((), [0xff])];
    assert_eq!(testing::run(&mut counter, &bad).unwrap_err().0, 1);
    let outputs =
        testing::run(&mut counter, &[TestRecord::new((), ()), TestRecord::new((), "word")]).unwrap();
    assert_eq!((outputs.len(), outputs[0].topic.as_str(), outputs[0].value_str()), (1, "counted", "1"));
}

#[test]
fn the_store_is_configured_and_a_word_has_a_longest_form() {
    let mut counter = counter(&[("store", "mine")]);
    let long = "x".repeat(1000);
    assert_eq!(counted(&mut counter, &[&long]), [format!("{} 1", &long[..64])]);
    assert_eq!(testing::in_call(|| Store::open("mine").scan(..).count()), 1);
    assert_eq!(testing::in_call(|| Store::open("counts").scan(..).count()), 0);
}
