//! Interceptors in plain types: what an instance is asked, and the verdicts that it gives.
//!
//! Calls are futures, unlike a processor's: they run where clients' requests are served, and give that
//! thread back after each slice of time.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::ids::{Offset, PartitionIndex, TopicName};
use crate::plugin::output::read_body;
use crate::plugin::reader::Reader;
use crate::plugin::{BadOutput, CounterSink, InputBatch, Limits, LogSink, ProcessFault};

/// The first bytes of flat verdicts; the digit is the layout's version.
pub(crate) const VERDICTS_MAGIC: [u8; 4] = *b"TMV1";
const VERDICTS_HEADER_BYTES: usize = 12;
/// The smallest verdict: an index and its kind.
const VERDICT_BYTES_MIN: usize = 5;
/// Messages longer than this are cut, or refused where the guest encodes them by itself.
const MESSAGE_BYTES_MAX: usize = 1024;

/// One running interceptor: its own memory, nothing shared with any other instance.
pub trait InterceptorInstance: Send {
    /// Judges one batch on its way in or out. After a fault whose `instance_survives` says no, drop the
    /// instance.
    fn judge<'a>(
        &'a mut self,
        direction: Direction,
        origin: &'a Origin,
        batch: &'a InputBatch,
    ) -> BoxFuture<'a, Result<Verdicts, ProcessFault>>;

    /// Tells what became of batches that were judged on their way in.
    fn acknowledge<'a>(
        &'a mut self,
        acknowledgements: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), ProcessFault>>;

    /// The guest's last words.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ProcessFault>>;
}

/// Which way records go through an interceptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From a producer to the log.
    Produce,
    /// From the log to a consumer.
    Fetch,
}

/// Everything that an interceptor's instance is given.
#[derive(Clone, Debug)]
pub struct InterceptorOptions {
    /// The attachment's name.
    pub attachment: String,
    /// What it may use. `batch_time_max` counts the time that it runs, not the time that it waits its turn.
    pub limits: Limits,
    /// Its configuration, as the guest's `config` import answers it.
    pub config: Vec<(String, String)>,
    /// Where its log lines go.
    pub log: LogSink,
    /// Where its counters go.
    pub counters: CounterSink,
}

/// Whose records a batch holds, and where they go to or come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The principal, as Kafka writes it.
    pub principal: Arc<str>,
    /// What the client calls itself.
    pub client_id: String,
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
}

/// What became of a batch that an interceptor has let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// How many records the client sent in the batch.
    pub record_count: u32,
    /// The first record's offset, or the name of Kafka's error.
    pub outcome: Result<Offset, &'static str>,
}

/// The error code that a client gets for a rejected record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RejectionCode {
    /// INVALID_RECORD.
    InvalidRecord,
    /// POLICY_VIOLATION.
    PolicyViolation,
    /// TOPIC_AUTHORIZATION_FAILED.
    TopicAuthorizationFailed,
}

/// What an interceptor says about a record that does not simply pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The record is left out.
    Drop,
    /// Another takes its place.
    Replace {
        /// The timestamp, if it is another one.
        timestamp: Option<i64>,
        /// From the key's length to the last header, in the v2 layout; checked.
        body: Bytes,
    },
    /// The record is refused.
    Reject {
        /// What the client is answered.
        code: RejectionCode,
        /// Why, for the client's programmer.
        message: String,
    },
}

/// The verdicts on one batch: on those of its records that do not simply pass, by rising index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdicts(Vec<(u32, Verdict)>);

impl Verdicts {
    /// Takes verdicts that the host has put together from typed ones, in the records' order.
    pub(crate) fn of(verdicts: Vec<(u32, Verdict)>) -> Verdicts {
        Verdicts(verdicts)
    }

    /// Checks a guest's flat verdicts against the number of records that it judged. Nothing is copied but
    /// messages, and nothing allocated that the bytes do not account for.
    pub fn check(bytes: &Bytes, record_count: u32) -> Result<Verdicts, BadOutput> {
        let mut reader = Reader::new(bytes);
        let short = || BadOutput("it ends within its header".to_owned());
        let magic = reader.take::<4>().ok_or_else(short)?;
        if magic != VERDICTS_MAGIC {
            return Err(BadOutput(format!("it starts with {magic:02x?}, not with `TMV1`")));
        }
        let judged = reader.u32().ok_or_else(short)?;
        if judged != record_count {
            return Err(BadOutput(format!("it judges {judged} records, and {record_count} were given")));
        }
        let count = reader.u32().ok_or_else(short)?;
        let room = bytes.len().saturating_sub(VERDICTS_HEADER_BYTES) / VERDICT_BYTES_MIN;
        if count > record_count || usize::try_from(count).map_or(true, |count| count > room) {
            return Err(BadOutput(format!("it announces {count} verdicts on {record_count} records")));
        }
        let mut verdicts = Vec::with_capacity(room.min(count as usize));
        let mut least = 0;
        for number in 0..count {
            let bad = |what: String| BadOutput(format!("verdict {number}: {what}"));
            let index = reader.u32().ok_or_else(|| bad("it is cut short".to_owned()))?;
            if index < least || index >= record_count {
                return Err(bad(format!("it names record {index}, and {least} to {record_count} are left")));
            }
            least = index + 1;
            verdicts.push((index, check_verdict(&mut reader, bytes).map_err(bad)?));
        }
        match reader.left() {
            0 => Ok(Verdicts(verdicts)),
            behind => Err(BadOutput(format!("{behind} bytes lie behind its last verdict"))),
        }
    }

    /// The verdict on a record; `None` lets it pass.
    pub fn on(&self, index: u32) -> Option<&Verdict> {
        let at = self.0.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.0.get(at).map(|(_, verdict)| verdict)
    }

    /// Whether every record passes as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The verdicts by rising index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Verdict)> {
        self.0.iter().map(|(index, verdict)| (*index, verdict))
    }
}

impl RejectionCode {
    fn of(byte: u8) -> Option<RejectionCode> {
        match byte {
            0 => Some(RejectionCode::InvalidRecord),
            1 => Some(RejectionCode::PolicyViolation),
            2 => Some(RejectionCode::TopicAuthorizationFailed),
            _ => None,
        }
    }
}

/// Cuts a message to the bound that flat guests must keep.
pub(crate) fn cut_message(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

fn check_verdict(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Verdict, String> {
    let cut = || "it is cut short".to_owned();
    let [kind] = reader.take::<1>().ok_or_else(cut)?;
    match kind {
        1 => Ok(Verdict::Drop),
        2 => {
            let timestamp = reader.take::<8>().map(i64::from_le_bytes).ok_or_else(cut)?;
            if timestamp < -1 {
                return Err(format!("its timestamp is {timestamp}"));
            }
            let body = field(reader, whole).ok_or_else(cut)?;
            read_body(&body)?;
            Ok(Verdict::Replace { timestamp: (timestamp >= 0).then_some(timestamp), body })
        }
        3 => {
            let [code] = reader.take::<1>().ok_or_else(cut)?;
            let code = RejectionCode::of(code).ok_or_else(|| format!("its code {code} is none"))?;
            let message = field(reader, whole).ok_or_else(cut)?;
            if message.len() > MESSAGE_BYTES_MAX {
                let (bytes, bytes_max) = (message.len(), MESSAGE_BYTES_MAX);
                return Err(format!("its message has {bytes} bytes, and {bytes_max} are allowed"));
            }
            let message = std::str::from_utf8(&message).map_err(|_| "its message is not UTF-8".to_owned())?;
            Ok(Verdict::Reject { code, message: message.to_owned() })
        }
        other => Err(format!("its kind {other} is none")),
    }
}

/// A field with its length in front, as part of the whole.
fn field(reader: &mut Reader<'_>, whole: &Bytes) -> Option<Bytes> {
    let bytes = usize::try_from(reader.u32()?).ok()?;
    let field = reader.slice(bytes)?;
    Some(whole.slice_ref(field))
}

#[cfg(test)]
mod tests;
