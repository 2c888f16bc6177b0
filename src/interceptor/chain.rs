//! One batch through the links that hold for it, each of which sees what the one before left.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Client, Link, LinkFault};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, TopicPartition};
use crate::plugin::{
    Acknowledgement, Direction, InputBatch, InputChunk, Origin, RejectionCode, Verdict, Verdicts,
};
use crate::wire::record_batch::{BatchError, KeyRule, RecordBatch, RecordChange, Records};

/// The links that a batch passes.
#[derive(Clone, Debug)]
pub struct Chain {
    direction: Direction,
    links: Vec<Arc<Link>>,
}

/// A batch that an interceptor did not let pass.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The protocol's answer.
    pub code: ErrorCode,
    /// Why.
    pub message: String,
    /// The records that were refused; empty if the batch was refused as a whole.
    pub records: Vec<RecordRefusal>,
}

/// A record that an interceptor refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordRefusal {
    /// Its position in the batch as it was sent.
    pub index: i32,
    /// Why.
    pub message: String,
}

/// What is still to be told of a batch that passed.
#[derive(Clone, Debug)]
pub struct PendingAcknowledgement {
    links: Vec<Arc<Link>>,
    partition: TopicPartition,
    record_count: u32,
}

impl Refusal {
    fn fault(link: &Link, fault: &LinkFault) -> Refusal {
        let name = &link.attachment().name;
        let message = format!("interceptor {name} could not judge the batch: {fault}");
        Refusal { code: ErrorCode::UnknownServerError, message, records: Vec::new() }
    }

    fn unreadable(error: &BatchError) -> Refusal {
        Refusal { code: error.error_code(), message: error.to_string(), records: Vec::new() }
    }
}

impl Chain {
    pub(super) fn new(direction: Direction, links: Vec<Arc<Link>>) -> Chain {
        Chain { direction, links }
    }

    /// What the links make of a batch; `None` if they leave it as it is.
    pub async fn judge(
        &self,
        client: &Client,
        partition: &TopicPartition,
        batch: &RecordBatch,
        rules: BatchRules,
    ) -> Result<Option<RecordBatch>, Refusal> {
        let unreadable = |error: BatchError| Refusal::unreadable(&error);
        let origin = origin(client, partition, batch);
        let mut records = batch.records(rules.decompressed_bytes_max).map_err(unreadable)?;
        let mut is_changed = false;
        for link in &self.links {
            if records.record_count() == 0 {
                break;
            }
            let input = input_of(partition, &records);
            let judged = link.judge(self.direction, &origin, &input).await;
            let Some(verdicts) = judged.map_err(|fault| Refusal::fault(link, &fault))? else { continue };
            if verdicts.is_empty() {
                continue;
            }
            check_rejections(link, &records, &verdicts)?;
            records = records.rewritten(|index| change(&verdicts, index)).map_err(unreadable)?;
            is_changed = true;
        }
        match is_changed {
            false => Ok(None),
            true => batch.with_records(&records, rules.keys).map(Some).map_err(unreadable),
        }
    }

    /// What the links make of several batches together; `None` if they leave all as they are. A batch that is
    /// refused ends it: those before it come alone.
    pub async fn judge_all(
        &self,
        client: &Client,
        partition: &TopicPartition,
        mut bytes: Bytes,
        rules: BatchRules,
    ) -> Result<Option<Bytes>, Refusal> {
        let whole = bytes.len();
        let mut out = BytesMut::new();
        let mut is_changed = false;
        loop {
            let left = bytes.len();
            let next = RecordBatch::take_first(&mut bytes).map_err(|error| Refusal::unreadable(&error))?;
            let Some(batch) = next else { break };
            if batch.header().is_control {
                out.extend_from_slice(batch.bytes());
                continue;
            }
            match self.judge(client, partition, &batch, rules).await {
                Ok(None) => out.extend_from_slice(batch.bytes()),
                Ok(Some(changed)) => {
                    out.extend_from_slice(changed.bytes());
                    is_changed = true;
                }
                Err(refusal) if left == whole => return Err(refusal),
                Err(_) => return Ok(Some(out.freeze())),
            }
        }
        Ok(is_changed.then(|| out.freeze()))
    }

    /// What is to be told once it is known what became of the batch.
    pub fn into_pending(self, partition: &TopicPartition, record_count: i32) -> PendingAcknowledgement {
        PendingAcknowledgement {
            links: self.links,
            partition: partition.clone(),
            record_count: record_count.unsigned_abs(),
        }
    }
}

/// What holds for a batch besides the links' verdicts.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules {
    /// The most that a batch may decompress to.
    pub decompressed_bytes_max: usize,
    /// Whether the topic asks for keys.
    pub keys: KeyRule,
}

impl PendingAcknowledgement {
    /// Tells every link what became of the batch: its first offset, or the name of the error.
    pub async fn tell(self, outcome: Result<Offset, ErrorCode>) {
        for link in &self.links {
            let acknowledgement = Acknowledgement {
                topic: self.partition.topic.clone(),
                partition: self.partition.partition,
                record_count: self.record_count,
                outcome: outcome.map_err(ErrorCode::name),
            };
            link.acknowledge(acknowledgement).await;
        }
    }
}

fn origin(client: &Client, partition: &TopicPartition, batch: &RecordBatch) -> Origin {
    Origin {
        principal: Arc::clone(&client.principal),
        client_id: client.client_id.clone(),
        topic: partition.topic.clone(),
        partition: partition.partition,
        is_transactional: batch.header().is_transactional,
    }
}

fn input_of(partition: &TopicPartition, records: &Records) -> InputBatch {
    let chunk = InputChunk {
        base_offset: records.base_offset(),
        base_timestamp: records.base_timestamp(),
        append_time: records.log_append_time(),
        record_count: records.record_count().unsigned_abs(),
        records: records.bytes().clone(),
    };
    InputBatch {
        topic: partition.topic.clone(),
        partition: partition.partition,
        attempt: 0,
        chunks: vec![chunk],
    }
}

fn change(verdicts: &Verdicts, index: i32) -> RecordChange<'_> {
    match verdicts.on(index.unsigned_abs()) {
        // Rejections have refused the batch before.
        None | Some(Verdict::Reject { .. }) => RecordChange::Keep,
        Some(Verdict::Drop) => RecordChange::Drop,
        Some(Verdict::Replace { timestamp, body }) => RecordChange::Replace { timestamp: *timestamp, body },
    }
}

/// The refusal of a batch with rejected records, if there are any. Records count as they were sent, so that
/// the client finds its own, whatever interceptors before this one have left out.
fn check_rejections(link: &Link, records: &Records, verdicts: &Verdicts) -> Result<(), Refusal> {
    let mut code = None;
    let mut refused = Vec::new();
    let name = &link.attachment().name;
    for (index, record) in (0..).zip(records) {
        let Some(Verdict::Reject { code: rejected, message }) = verdicts.on(index) else { continue };
        let record = record.map_err(|error| Refusal::unreadable(&error))?;
        let index = record.offset.value() - records.base_offset().value();
        code.get_or_insert(*rejected);
        refused.push(RecordRefusal {
            index: i32::try_from(index).unwrap_or(i32::MAX),
            message: format!("interceptor {name}: {message}"),
        });
    }
    let (Some(code), Some(first)) = (code, refused.first()) else { return Ok(()) };
    let message = match refused.len() {
        1 => first.message.clone(),
        count => format!("{count} records were rejected; the first: {}", first.message),
    };
    Err(Refusal { code: error_code(code), message, records: refused })
}

fn error_code(code: RejectionCode) -> ErrorCode {
    match code {
        RejectionCode::InvalidRecord => ErrorCode::InvalidRecord,
        RejectionCode::PolicyViolation => ErrorCode::PolicyViolation,
        RejectionCode::TopicAuthorizationFailed => ErrorCode::TopicAuthorizationFailed,
    }
}

#[cfg(test)]
mod tests;
