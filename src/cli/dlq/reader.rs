//! Reads dead-letter topics at read-committed, between offsets that were asked for before.
//!
//! What is committed to the group of a topic's replays is its own: it is read and never written here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::super::GlobalArgs;
use super::super::error::{CliError, ExitKind, check};
use super::super::group::group_id;
use super::super::kafka::{Quiet, QuietConsumer, base_config, create, translate};
use super::super::protocol_client::{Cluster, CoordinatorKind, topic_name};
use super::super::time::{now, retrying};
use super::super::topic::{OffsetAt, find_topic, list_offsets};
use super::letter::Record;
use crate::error_code::ErrorCode;

const POLL: Duration = Duration::from_millis(100);

/// The consumer group, and the transactional id, of the replays of a dead-letter topic.
pub(super) fn replay_id(topic: &str) -> String {
    format!("__dlq.{topic}")
}

/// A partition of a dead-letter topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    /// Its first offset.
    pub first: i64,
    /// Where what is not replayed begins.
    pub pending: i64,
    /// Behind the last record that is committed.
    pub end: i64,
}

/// The partitions of a dead-letter topic as they are now, by number.
pub(super) fn stretches(cluster: &mut Cluster, topic: &str) -> Result<BTreeMap<i32, Stretch>, CliError> {
    let found =
        find_topic(cluster, topic).map_err(|error| match error.is(ErrorCode::UnknownTopicOrPartition) {
            true => error.with_hint("`tidemill dlq list` shows the dead-letter topics of all processors"),
            false => error,
        })?;
    let numbers: Vec<i32> = found.partitions.iter().map(|partition| partition.partition_index).collect();
    let committed = replayed_up_to(cluster, topic, &numbers)?;
    let wanted = BTreeMap::from([(topic.to_owned(), numbers)]);
    let first = list_offsets(cluster, &wanted, OffsetAt::Earliest)?;
    let end = list_offsets(cluster, &wanted, OffsetAt::LastStable)?;
    let mut stretches = BTreeMap::new();
    for ((_, number), first) in first {
        let end = end.get(&(topic.to_owned(), number)).copied().unwrap_or(first);
        let committed = committed.get(&number).copied().unwrap_or(first);
        if committed > end {
            let message = format!(
                "{topic}-{number} ends at offset {end}, and was replayed up to {committed}: it was made anew"
            );
            let hint = format!("`tidemill group delete {}` forgets what was replayed", replay_id(topic));
            return Err(CliError::new(ExitKind::Conflict, "OFFSET_OUT_OF_RANGE", message).with_hint(hint));
        }
        stretches.insert(number, Stretch { first, pending: committed.max(first), end });
    }
    Ok(stretches)
}

/// What the replays of a topic have committed, once no transaction can change it any more (KIP-447).
fn replayed_up_to(
    cluster: &mut Cluster,
    topic: &str,
    numbers: &[i32],
) -> Result<BTreeMap<i32, i64>, CliError> {
    let group = replay_id(topic);
    let timeout = cluster.timeout();
    let connection = cluster.coordinator(CoordinatorKind::Group, &group)?;
    let asked = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(numbers.to_vec());
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(Some(vec![asked]))
        .with_require_stable(true);
    retrying(timeout, || {
        let response = connection.call_up_to(&request, 7)?;
        check(response.error_code, format!("cannot fetch the offsets of group {group}"), None)?;
        let mut offsets = BTreeMap::new();
        for partition in response.topics.into_iter().flat_map(|topic| topic.partitions) {
            let number = partition.partition_index;
            check(partition.error_code, format!("cannot fetch the offset of {topic}-{number}"), None)?;
            if partition.committed_offset >= 0 {
                offsets.insert(number, partition.committed_offset);
            }
        }
        Ok(offsets)
    })
}

/// What a reader comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// A record.
    Record(Record),
    /// This partition's end.
    End(i32),
}

/// Reads partitions between offsets, each in its order.
pub(super) struct Reader {
    consumer: QuietConsumer,
    topic: String,
    /// The partitions that are not read to their ends yet, with these.
    open: BTreeMap<i32, i64>,
    patience: Duration,
    last_progress: Instant,
}

impl Reader {
    /// Reads from the first offset of each span (inclusive) to the second.
    pub fn open(
        global: &GlobalArgs,
        topic: &str,
        spans: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<Reader, CliError> {
        let mut config = base_config(global)?;
        config
            .set("group.id", replay_id(topic))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100");
        let consumer: QuietConsumer = create(&config, Quiet)?;
        let mut assignment = TopicPartitionList::new();
        let mut open = BTreeMap::new();
        for (number, (from, end)) in spans.iter().filter(|(_, (from, end))| from < end) {
            assignment
                .add_partition_offset(topic, *number, Offset::Offset(*from))
                .map_err(|error| translate(&error, "cannot begin at that offset"))?;
            open.insert(*number, *end);
        }
        consumer.assign(&assignment).map_err(|error| translate(&error, &format!("cannot read {topic}")))?;
        let (topic, patience) = (topic.to_owned(), global.request_timeout);
        Ok(Reader { consumer, topic, open, patience, last_progress: now() })
    }

    /// The consumer, for the group that it names.
    pub fn consumer(&self) -> &QuietConsumer {
        &self.consumer
    }

    /// What comes next in any partition; `None` once all are at their ends.
    pub fn next(&mut self) -> Result<Option<Read>, CliError> {
        while !self.open.is_empty() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    self.last_progress = now();
                    let (number, offset) = (message.partition(), message.offset());
                    match self.open.get(&number) {
                        Some(end) if offset < *end => return Ok(Some(Read::Record(record(&message)))),
                        Some(_) => return Ok(Some(self.ended(number))),
                        None => {}
                    }
                }
                Some(Err(KafkaError::PartitionEOF(number))) => {
                    self.last_progress = now();
                    if self.open.contains_key(&number) {
                        return Ok(Some(self.ended(number)));
                    }
                }
                Some(Err(error)) => {
                    let error = translate(&error, &format!("cannot read {}", self.topic));
                    if !error.retriable {
                        return Err(error);
                    }
                }
                None => {}
            }
            if self.last_progress.elapsed() > self.patience {
                let message = format!("{} cannot be read to its end: no answer in time", self.topic);
                return Err(CliError::new(ExitKind::Unreachable, "TIMEOUT", message));
            }
        }
        Ok(None)
    }

    fn ended(&mut self, number: i32) -> Read {
        self.open.remove(&number);
        Read::End(number)
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
