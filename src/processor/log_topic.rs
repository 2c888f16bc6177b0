//! `__plugin_logs`: what plugins say and what is said about them, kept in an internal topic, so that it outlives the
//! broker and any consumer can read it.
//!
//! A line takes its way from a ring, after the ring's bounds, through a bounded queue to one writer. Nobody waits for the
//! topic: a line that finds the queue full, or that cannot be written, is lost, and how many were is said.

use super::backend::{Backend, BackendError};
use super::logs::{LogEntry, LogLimits, LogRing};
use super::registry::Registry;
use crate::clock::Clock;
use crate::ids::{Offset, PartitionIndex, TopicName, TopicPartition};
use crate::processor::backend::Provenance;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord, RecordBatch};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The topic. It has one partition: lines stand in the order in which they were said.
pub const PLUGIN_LOGS_TOPIC: &str = "__plugin_logs";
/// Lines that may wait for the writer; as many may be lost in a crash.
pub(super) const QUEUE_LINES: usize = 4_096;
/// Lines that are taken from the queue at once.
const LINES_AT_ONCE: usize = 500;
/// A batch is closed when it has grown to this: one line more stays under `max.message.bytes`.
const BATCH_BYTES: usize = 512 << 10;
/// So many of the last lines are looked through at a start, which waits for it.
const HISTORY_LINES: i64 = 20_000;
const FETCH_BYTES: usize = 4 << 20;
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Whose lines they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// A processor's, and those of the partitioners that it asks.
    Processor,
    /// An interceptor's.
    Interceptor,
    /// The broker's own, about the topic.
    Broker,
}

impl LogKind {
    fn name(self) -> &'static str {
        match self {
            LogKind::Processor => "processor",
            LogKind::Interceptor => "interceptor",
            LogKind::Broker => "broker",
        }
    }
}

/// A record's value, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct KeptLine {
    kind: LogKind,
    name: String,
    #[serde(flatten)]
    entry: LogEntry,
}

impl KeptLine {
    /// The record's key: all lines of a deployment have the same.
    fn key(&self) -> String {
        format!("{}/{}", self.kind.name(), self.name)
    }
}

/// Where one ring's lines go to be kept.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    kind: LogKind,
    name: String,
    queue: mpsc::Sender<KeptLine>,
    lost: Arc<AtomicU64>,
}

impl Outlet {
    /// Hands a line to the writer, if there is room: nobody waits here.
    pub fn keep(&self, entry: &LogEntry) {
        let line = KeptLine { kind: self.kind, name: self.name.clone(), entry: entry.clone() };
        if self.queue.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The last lines of each deployment.
type History = BTreeMap<(LogKind, String), VecDeque<LogEntry>>;

/// Makes the rings of everything that is deployed.
#[derive(Clone, Debug, Default)]
pub struct PluginLogs {
    limits: LogLimits,
    queue: Option<(mpsc::Sender<KeptLine>, Arc<AtomicU64>)>,
    /// What was said before the broker started, until the ring is there.
    history: Arc<Mutex<History>>,
}

impl PluginLogs {
    /// Logs that are kept in the topic, with what it has of those that are deployed, and what writes them. Where the
    /// topic cannot be read they begin empty.
    pub async fn open(
        backend: Arc<Backend>,
        registry: &Registry,
        limits: LogLimits,
        clock: Clock,
    ) -> (PluginLogs, LogWriter) {
        let history = read_history(&backend, registry, limits.lines_max).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "{PLUGIN_LOGS_TOPIC} cannot be read: earlier log lines are not shown");
            History::new()
        });
        let (sender, queue) = mpsc::channel(QUEUE_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let logs = PluginLogs {
            limits,
            queue: Some((sender, Arc::clone(&lost))),
            history: Arc::new(Mutex::new(history)),
        };
        (logs, LogWriter { backend, queue, lost, clock })
    }

    /// The ring of a deployment that begins to work, with what it has said before.
    pub(super) fn ring(&self, kind: LogKind, name: &str) -> Arc<LogRing> {
        let earlier = self.history.lock().remove(&(kind, name.to_owned())).unwrap_or_default();
        let outlet = self.queue.as_ref().map(|(queue, lost)| Outlet {
            kind,
            name: name.to_owned(),
            queue: queue.clone(),
            lost: Arc::clone(lost),
        });
        Arc::new(LogRing::kept(self.limits, earlier, outlet))
    }
}

/// Writes lines to the topic.
pub struct LogWriter {
    backend: Arc<Backend>,
    queue: mpsc::Receiver<KeptLine>,
    lost: Arc<AtomicU64>,
    clock: Clock,
}

impl LogWriter {
    /// Writes until nobody can say anything any more, or the broker stops: then what waits is written first.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut lines = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = self.queue.recv_many(&mut lines, LINES_AT_ONCE) => {}
                // An error means that nobody is left who could say so: a stop as well.
                _ = stop.wait_for(|stop| *stop) => {}
            }
            if lines.is_empty() {
                return;
            }
            self.say_what_is_lost(&mut lines);
            if let Err(error) = self.write(&lines).await {
                self.lost.fetch_add(u64::try_from(lines.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
                tracing::warn!(%error, lines = lines.len(), "log lines of plugins cannot be kept");
            }
            lines.clear();
        }
    }

    fn say_what_is_lost(&self, lines: &mut Vec<KeptLine>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        tracing::warn!(lost, "log lines of plugins were not kept");
        let entry = LogEntry {
            sequence: 0,
            time_ms: self.clock.now().ms(),
            level: "warn".into(),
            task: "log-writer".to_owned(),
            message: format!("{lost} lines were not kept: the queue was full, or writing failed"),
        };
        lines.push(KeptLine { kind: LogKind::Broker, name: PLUGIN_LOGS_TOPIC.to_owned(), entry });
    }

    async fn write(&self, lines: &[KeptLine]) -> Result<(), BackendError> {
        let partition = the_partition();
        self.backend.ensure_log_topic(&partition.topic).await?;
        for batch in batches_of(lines) {
            self.backend.produce_plain(&partition, batch, Provenance::New).await?;
        }
        Ok(())
    }
}

fn the_partition() -> TopicPartition {
    TopicPartition::new(TopicName::new(PLUGIN_LOGS_TOPIC), PartitionIndex::ZERO)
}

fn batches_of(lines: &[KeptLine]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for line in lines {
        // Text and numbers always have a JSON form.
        let Ok(value) = serde_json::to_vec(line) else { continue };
        let (timestamp, key) = (line.entry.time_ms, line.key());
        builder.append(NewRecord { timestamp, key: Some(key.as_bytes()), value: Some(&value), headers: &[] });
        if builder.len_bytes() >= BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(BatchOptions::default()));
            batches.push(full.build());
        }
    }
    if !builder.is_empty() {
        batches.push(builder.build());
    }
    batches
}

/// The last lines of everything that is deployed; the broker's own processors are not known yet when this is asked.
async fn read_history(
    backend: &Backend,
    registry: &Registry,
    lines_max: usize,
) -> Result<History, BackendError> {
    let mut history = History::new();
    let partition = the_partition();
    if backend.topic(&partition.topic).await?.is_none() {
        return Ok(history);
    }
    let is_deployed = |line: &KeptLine| match line.kind {
        LogKind::Processor => line.name.starts_with("__") || registry.processor(&line.name).is_some(),
        LogKind::Interceptor => registry.interceptor(&line.name).is_some(),
        LogKind::Broker => false,
    };
    let bounds = backend.log_bounds(&partition).await?;
    let recent = bounds.last_stable.value().saturating_sub(HISTORY_LINES);
    let mut from = Offset::from_wire(recent).map_or(bounds.log_start, |recent| recent.max(bounds.log_start));
    while from < bounds.last_stable {
        let found = backend.fetch(&partition, from, FETCH_BYTES, Duration::ZERO).await?;
        for line in found.batches.iter().flat_map(lines_of).filter(is_deployed) {
            let lines = history.entry((line.kind, line.name)).or_default();
            lines.push_back(line.entry);
            if lines.len() > lines_max {
                lines.pop_front();
            }
        }
        if found.next_offset <= from {
            break;
        }
        from = found.next_offset;
    }
    Ok(history)
}

/// The lines of a batch; what is none is passed over.
fn lines_of(batch: &RecordBatch) -> Vec<KeptLine> {
    let Ok(records) = batch.records(DECOMPRESSED_BYTES_MAX) else { return Vec::new() };
    let line = |value: &[u8]| serde_json::from_slice::<KeptLine>(value).ok();
    records.iter().filter_map(|record| line(record.ok()?.value?)).collect()
}

#[cfg(test)]
mod tests;
