use super::*;
use crate::bindings::interceptor_typed::{PassingRecord, Verdict as TypedVerdict};
use crate::bindings::typed::Header;
use crate::testing::{self, TestRecord, TestVerdict};
use crate::{RejectionCode, Verdict};

/// Judges by the value.
struct ByValue {
    name: String,
}

impl Interceptor for ByValue {
    fn configure(attachment: &Attachment) -> Result<ByValue, Error> {
        if attachment.name == "refused" {
            return Err(Error::fatal("not with this name"));
        }
        Ok(ByValue { name: attachment.name.clone() })
    }

    fn on_send(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        match record.value {
            Some(b"drop") => verdict.drop(),
            Some(b"null") => {
                verdict.replace((), ());
            }
            Some(b"name") => {
                verdict.replace(record.key, &self.name).headers_of(&record).header("by", &origin.principal);
            }
            Some(b"many") => {
                let replaced = verdict.replace("k", [7; 300]).timestamp(41).headers_of(&record);
                (0..70).fold(replaced, |replaced, index| replaced.header("n", index.to_string()));
            }
            Some(b"early") => {
                verdict.replace("k", "v").timestamp(-5);
            }
            Some(b"offset") => {
                verdict
                    .replace(record.key, format!("{} {}-{}", record.offset, record.topic, record.partition));
            }
            Some(b"bad") => verdict.reject(RejectionCode::InvalidRecord, "it is bad"),
            Some(b"long") => verdict.reject(RejectionCode::PolicyViolation, "ä€😀".repeat(200)),
            Some(b"mine") => {
                verdict.reject(
                    RejectionCode::TopicAuthorizationFailed,
                    format_args!("not for {}", origin.client_id),
                );
            }
            Some(b"fault") => return Err(Error::retry("no idea")),
            _ => {}
        }
        Ok(())
    }

    fn on_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        crate::count("acknowledged", u64::from(acknowledgement.record_count));
    }

    fn close(&mut self) {
        crate::count("closed", 1);
    }
}

fn wit_attachment(name: &str) -> interception::Attachment {
    interception::Attachment { name: name.to_owned() }
}

fn wit_origin() -> interception::Origin {
    let Origin { principal, client_id, topic, partition, transactional } = testing::origin();
    interception::Origin { principal, client_id, topic, partition, transactional }
}

fn records(values: &[&str]) -> Vec<TestRecord> {
    let headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("null".to_owned(), None)];
    let record = |value: &&str| TestRecord {
        headers: headers.clone(),
        timestamp: 1_700_000_000_000,
        ..TestRecord::new("key", *value)
    };
    values.iter().map(record).collect()
}

fn send_flat(records: &[TestRecord]) -> Result<Vec<u8>, String> {
    on_send_flat::<ByValue>(wit_origin(), &testing::encode("input", 0, records))
}

fn send_typed(records: &[TestRecord]) -> Result<Vec<TypedVerdict>, String> {
    let header = |(key, value): &(String, Option<Vec<u8>>)| Header { key: key.clone(), value: value.clone() };
    let passing = |record: &TestRecord| PassingRecord {
        offset: None,
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    };
    on_send_typed::<ByValue>(wit_origin(), &records.iter().map(passing).collect::<Vec<_>>())
}

/// Reads `TMV1` by its description in `FLAT.md`, with nothing of the code that wrote it.
fn decode(flat: &[u8], originals: &[TestRecord]) -> Vec<TestVerdict> {
    let mut at = 0;
    let mut take = |bytes: usize| {
        at += bytes;
        flat[at - bytes..at].to_vec()
    };
    let word = |bytes: Vec<u8>| u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
    assert_eq!(take(4), b"TMV1");
    let mut verdicts = vec![TestVerdict::Keep; word(take(4))];
    let mut previous = None;
    for _ in 0..word(take(4)) {
        let index = word(take(4));
        assert!(previous < Some(index), "indexes rise");
        previous = Some(index);
        verdicts[index] = match take(1)[0] {
            1 => TestVerdict::Drop,
            2 => {
                let timestamp = i64::from_le_bytes(take(8).try_into().unwrap());
                assert!(timestamp >= -1);
                let length = word(take(4));
                let mut record = decode_body(&take(length));
                record.timestamp = if timestamp == -1 { originals[index].timestamp } else { timestamp };
                TestVerdict::Replace(record)
            }
            3 => {
                let code = take(1)[0];
                let length = word(take(4));
                assert!(length <= 1024);
                let message = String::from_utf8(take(length)).unwrap();
                use RejectionCode::*;
                let codes = [InvalidRecord, PolicyViolation, TopicAuthorizationFailed];
                TestVerdict::Reject(codes[usize::from(code)], message)
            }
            kind => panic!("kind {kind}"),
        };
    }
    assert_eq!(at, flat.len(), "nothing is behind the last verdict");
    verdicts
}

fn decode_body(body: &[u8]) -> TestRecord {
    fn varint(body: &mut impl Iterator<Item = u8>) -> i64 {
        let (mut zigzag, mut shift) = (0u64, 0);
        loop {
            let byte = body.next().unwrap();
            zigzag |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                return if zigzag % 2 == 0 { (zigzag / 2) as i64 } else { -((zigzag / 2) as i64) - 1 };
            }
        }
    }
    fn field(body: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
        let length = varint(body);
        (length != -1).then(|| (0..length).map(|_| body.next().unwrap()).collect())
    }
    let body = &mut body.iter().copied();
    let (key, value) = (field(body), field(body));
    let count = varint(body);
    let headers =
        (0..count).map(|_| (String::from_utf8(field(body).unwrap()).unwrap(), field(body))).collect();
    assert_eq!(body.next(), None, "nothing is behind the last header");
    TestRecord { key, value, headers, timestamp: 0 }
}

const ALL: [&str; 12] =
    ["a", "drop", "null", "name", "b", "many", "early", "offset", "bad", "long", "mine", "c"];

#[test]
fn flat_verdicts_read_back_as_their_layout_is_described() {
    configure::<ByValue>(wit_attachment("judge")).unwrap();
    let records = records(&ALL);
    let verdicts = decode(&send_flat(&records).unwrap(), &records);
    assert_eq!([&verdicts[0], &verdicts[4], &verdicts[11]], [&TestVerdict::Keep; 3]);
    assert_eq!(verdicts[1], TestVerdict::Drop);
    let null = verdicts[2].replaced();
    assert_eq!((&null.key, &null.value, null.headers.len()), (&None, &None, 0));
    assert_eq!(null.timestamp, records[2].timestamp);
    let mut by = records[3].headers.clone();
    by.push(("by".to_owned(), Some(b"User:ANONYMOUS".to_vec())));
    let name = verdicts[3].replaced();
    assert_eq!((name.key_str(), name.value_str(), &name.headers), ("key", "judge", &by));
    let many = verdicts[5].replaced();
    assert_eq!((many.timestamp, many.value.as_deref(), many.headers.len()), (41, Some(&[7; 300][..]), 72));
    assert_eq!(many.headers[71], ("n".to_owned(), Some(b"69".to_vec())));
    assert_eq!(verdicts[6].replaced().timestamp, 0);
    assert_eq!(verdicts[7].replaced().value_str(), "7 input-0");
    assert_eq!(verdicts[8], TestVerdict::Reject(RejectionCode::InvalidRecord, "it is bad".to_owned()));
    // Nine bytes a round: the 1024th is within the last character.
    let long = "ä€😀".repeat(113) + "ä€";
    assert_eq!(verdicts[9], TestVerdict::Reject(RejectionCode::PolicyViolation, long));
    let mine = TestVerdict::Reject(RejectionCode::TopicAuthorizationFailed, "not for test".to_owned());
    assert_eq!(verdicts[10], mine);
}

#[test]
fn both_worlds_and_the_tests_see_the_same_verdicts() {
    configure::<ByValue>(wit_attachment("test")).unwrap();
    let records = records(&ALL);
    let flat = decode(&send_flat(&records).unwrap(), &records);
    let typed = send_typed(&records).unwrap().into_iter().zip(&records);
    assert_eq!(typed.map(|(verdict, record)| TestVerdict::new(verdict, record)).collect::<Vec<_>>(), flat);
    let mut interceptor = ByValue::configure(&testing::attachment()).unwrap();
    assert_eq!(testing::on_send(&mut interceptor, &testing::origin(), &records).unwrap(), flat);
}

#[test]
fn a_batch_that_passes_is_twelve_bytes_and_nothing_stays_from_the_one_before() {
    configure::<ByValue>(wit_attachment("judge")).unwrap();
    send_flat(&records(&ALL)).unwrap();
    assert_eq!(send_flat(&records(&["a", "b"])).unwrap(), b"TMV1\x02\0\0\0\0\0\0\0");
    assert_eq!(send_flat(&[]).unwrap(), b"TMV1\0\0\0\0\0\0\0\0");
    assert!(send_typed(&[]).unwrap().is_empty());
    let batch = testing::encode("input", 0, &records(&["drop"]));
    assert_eq!(on_consume_flat::<ByValue>(wit_origin(), &batch).unwrap(), b"TMV1\x01\0\0\0\0\0\0\0");
}

#[test]
fn an_error_names_its_record_and_the_next_batch_starts_anew() {
    configure::<ByValue>(wit_attachment("judge")).unwrap();
    let bad = records(&["drop", "fault"]);
    assert_eq!(send_flat(&bad), Err("record 1: no idea".to_owned()));
    assert_eq!(send_typed(&bad).unwrap_err(), "record 1: no idea");
    assert_eq!(send_flat(&records(&["a"])).unwrap(), b"TMV1\x01\0\0\0\0\0\0\0");
    let mut cut = testing::encode("input", 0, &records(&["a"]));
    cut.pop();
    assert_eq!(on_send_flat::<ByValue>(wit_origin(), &cut).unwrap_err(), "the batch is cut short");
}

#[test]
fn a_life_begins_with_configure_and_ends_with_close() {
    assert_eq!(configure::<ByValue>(wit_attachment("refused")), Err("not with this name".to_owned()));
    assert_eq!(send_flat(&[]), Err("a batch came before configure".to_owned()));
    close::<ByValue>();
    configure::<ByValue>(wit_attachment("judge")).unwrap();
    let acknowledgement = |record_count| interception::Acknowledgement {
        topic: "input".to_owned(),
        partition: 0,
        record_count,
        outcome: Ok(3),
    };
    let before = (testing::counter("acknowledged"), testing::counter("closed"));
    on_acknowledgement::<ByValue>(vec![acknowledgement(2), acknowledgement(3)]);
    close::<ByValue>();
    close::<ByValue>();
    assert_eq!((testing::counter("acknowledged"), testing::counter("closed")), (before.0 + 5, before.1 + 1));
    assert!(send_flat(&[]).is_err());
}
