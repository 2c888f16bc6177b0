use super::*;
use tidemill_guest::testing::{self, TestRecord};
use tidemill_guest::{Context, Processor};

/// What the macro makes of a function, by hand.
struct Redact;

impl Processor for Redact {
    fn init(_: &Context) -> Result<Redact, Error> {
        Ok(Redact)
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        redact(record, out)
    }
}

#[test]
fn addresses_are_blackened_and_counted_and_the_rest_stays() {
    let record = TestRecord::new("k", "write to ann@example.org  or bob@x.net\nnot to @me or a@b");
    let outputs = testing::run(&mut Redact, &[record]).unwrap();
    assert_eq!(outputs[0].value_str(), "write to [redacted]  or [redacted]\nnot to @me or a@b");
    assert_eq!((outputs[0].topic.as_str(), outputs[0].key_str()), ("redacted", "k"));
    assert_eq!(outputs[0].headers, [("redacted".to_owned(), Some(b"2".to_vec()))]);
}

#[test]
fn tombstones_pass_as_tombstones() {
    let outputs = testing::run(&mut Redact, &[TestRecord::new("k", ())]).unwrap();
    assert_eq!((outputs[0].key_str(), &outputs[0].value), ("k", &None));
}
