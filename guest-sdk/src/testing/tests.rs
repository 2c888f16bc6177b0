use super::*;
use crate::{Record, config_or, config_parsed};

struct Everything;

impl Processor for Everything {
    fn init(_: &Context) -> Result<Self, Error> {
        Ok(Everything)
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        if record.value == Some(b"bad") {
            return Err(Error::retry("later"));
        }
        out.send("copy", record.key, record.value).headers_of(&record);
        let mut sent = out.send("many", (), "x").partition(7).timestamp(record.timestamp + 1);
        for index in 0..70 {
            sent = sent.header("n", index.to_string());
        }
        Ok(())
    }
}

#[test]
fn what_is_sent_comes_out_with_everything_set() {
    let mut record = TestRecord::new("k", ());
    record.headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("null".to_owned(), None)];
    record.timestamp = 41;
    let outputs = run(&mut Everything, &[TestRecord::new((), "first"), record.clone()]).unwrap();
    assert_eq!(outputs.len(), 4);
    assert_eq!((outputs[2].key_str(), &outputs[2].value, &outputs[2].headers), ("k", &None, &record.headers));
    assert_eq!((outputs[2].source, outputs[2].partition, outputs[2].timestamp), (1, None, None));
    assert_eq!(
        (outputs[3].partition, outputs[3].timestamp, outputs[3].headers.len()),
        (Some(7), Some(42), 70)
    );
}

#[test]
fn an_error_names_its_record() {
    let records = [TestRecord::new((), "good"), TestRecord::new((), "bad")];
    assert_eq!(run(&mut Everything, &records), Err((1, Error::retry("later"))));
}

#[test]
fn config_is_parsed_with_the_key_in_the_error() {
    set_config(&[("number", "12"), ("word", "x")]);
    assert_eq!(config_parsed::<u32>("number"), Ok(12));
    assert_eq!(config_or::<u32>("absent", 3), Ok(3));
    assert!(config_parsed::<u32>("word").unwrap_err().message.contains("`word` is `x`"));
    assert!(config_parsed::<u32>("absent").unwrap_err().message.contains("`absent` is missing"));
}
