//! Interceptors in unit tests.

use super::{TestRecord, encode};
use crate::bindings::interception;
use crate::bindings::interceptor_typed::{NewRecord, Verdict as TypedVerdict};
use crate::runtime::{Path, judge};
use crate::verdict::Verdicts;
use crate::{Attachment, Error, Interceptor, Origin, RejectionCode, input};

/// What an interceptor said about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestVerdict {
    /// It passes as it is.
    Keep,
    /// It passes with this content; the timestamp is the replaced record's if the interceptor chose none.
    Replace(TestRecord),
    /// It is left out.
    Drop,
    /// It is refused, with this message.
    Reject(RejectionCode, String),
}

impl TestVerdict {
    /// The record that passes instead; panics if there is none.
    #[track_caller]
    pub fn replaced(&self) -> &TestRecord {
        match self {
            TestVerdict::Replace(record) => record,
            other => panic!("the record was not replaced, but: {other:?}"),
        }
    }
}

/// An attachment for `Interceptor::configure`, named `test`.
pub fn attachment() -> Attachment {
    Attachment { name: "test".to_owned() }
}

/// Whose records the tests' are: `User:ANONYMOUS`'s, of the topic `input`, partition 0. Change what matters.
pub fn origin() -> Origin {
    Origin {
        principal: "User:ANONYMOUS".to_owned(),
        client_id: "test".to_owned(),
        topic: "input".to_owned(),
        partition: 0,
        transactional: false,
    }
}

/// Has a batch judged on its way to the log: one verdict for each record. An error comes with the index of the
/// record that it is about.
pub fn on_send<I: Interceptor>(
    interceptor: &mut I,
    origin: &Origin,
    records: &[TestRecord],
) -> Result<Vec<TestVerdict>, (usize, Error)> {
    judge_all(interceptor, Path::Send, origin, records)
}

/// Has a batch judged on its way to a client, as [`on_send`] does. A record's offset is its index.
pub fn on_consume<I: Interceptor>(
    interceptor: &mut I,
    origin: &Origin,
    records: &[TestRecord],
) -> Result<Vec<TestVerdict>, (usize, Error)> {
    judge_all(interceptor, Path::Consume, origin, records)
}

fn judge_all<I: Interceptor>(
    interceptor: &mut I,
    path: Path,
    origin: &Origin,
    records: &[TestRecord],
) -> Result<Vec<TestVerdict>, (usize, Error)> {
    let mut verdicts = Verdicts::default();
    verdicts.clear();
    let flat = encode(&origin.topic, origin.partition, records);
    let result = input::for_each_flat(&flat, |index, record| {
        judge(interceptor, path, origin, (index, record), &mut verdicts)
            .map_err(|error| (index as usize, error))
    });
    result.expect("the batch is well formed")?;
    let verdicts = verdicts.take_typed().into_iter().zip(records);
    Ok(verdicts.map(|(verdict, record)| TestVerdict::new(verdict, record)).collect())
}

impl TestVerdict {
    pub(crate) fn new(verdict: TypedVerdict, record: &TestRecord) -> TestVerdict {
        match verdict {
            TypedVerdict::Keep => TestVerdict::Keep,
            TypedVerdict::Drop => TestVerdict::Drop,
            TypedVerdict::Replace(NewRecord { timestamp, key, value, headers }) => {
                let headers = headers.into_iter().map(|header| (header.key, header.value)).collect();
                TestVerdict::Replace(TestRecord {
                    key,
                    value,
                    headers,
                    timestamp: timestamp.unwrap_or(record.timestamp),
                })
            }
            TypedVerdict::Reject(interception::Rejection { code, message }) => {
                let code = match code {
                    interception::RejectionCode::InvalidRecord => RejectionCode::InvalidRecord,
                    interception::RejectionCode::PolicyViolation => RejectionCode::PolicyViolation,
                    interception::RejectionCode::TopicAuthorizationFailed => {
                        RejectionCode::TopicAuthorizationFailed
                    }
                };
                TestVerdict::Reject(code, message)
            }
        }
    }
}
