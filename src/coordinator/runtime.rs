//! The one async shell around the pure shards: loads, steps, appends, and holds replies and
//! effects until the log is durable past what they depend on.
//!
//! One task owns one shard; others send it messages. Steps go on while earlier appends are still
//! on their way to the disk; what a step answers, even a read, leaves only when everything that
//! the step could have seen is durable. A failed append drops the shard, and it is loaded from its
//! log again: there is no undo.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{Clock, Timestamp};
use crate::coordinator::{Output, Replayed, RequestId, Write};
use crate::disk::{Disk, DiskError, JournalPosition};
use crate::ids::{CoordinatorEpoch, Offset};
use crate::log::{AppendOrigin, AtLeastOneBatch};
use crate::partition::{FetchSpec, Isolation, Partition, PartitionError};
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, NewRecord, RecordBatch, Transactional,
};

const INBOX_LENGTH: usize = 1024;
const LOAD_BYTES: usize = 4 * 1024 * 1024;
const DECOMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;
const RELOAD_DELAY: Duration = Duration::from_millis(500);

/// A pure state machine that owns one partition of an internal topic.
pub trait Shard: Send + 'static {
    /// What can happen to it.
    type Event: Send + 'static;
    /// What its log holds.
    type Record: Send + 'static;
    /// What it answers.
    type Reply: Send + 'static;
    /// What it wants done elsewhere.
    type Effect: Send + 'static;

    /// Decides about one event and applies the decision.
    fn step(&mut self, now: Timestamp, event: Self::Event)
    -> Output<Self::Record, Self::Reply, Self::Effect>;
    /// Applies what the log holds, at recovery.
    fn replay(&mut self, entry: Replayed<Self::Record>);
    /// What must be done again after loading.
    fn resume(&mut self, now: Timestamp, epoch: CoordinatorEpoch) -> Vec<Self::Effect>;
    /// When the next tick is due.
    fn next_deadline(&self) -> Option<Timestamp>;
    /// A record's key and value, as Kafka writes them.
    fn encode(record: &Self::Record) -> (Bytes, Option<Bytes>);
    /// The record of a stored key and value; `None` for kinds of a newer version.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self::Record>, String>;
}

/// Why a coordinator gave no answer; whether the request took effect is for its log to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the coordinator is not available")]
pub struct Unavailable;

/// Makes the event once it is its turn: with its request's number, and the shard to look at.
type MakeEvent<S> = Box<dyn FnOnce(RequestId, &S) -> <S as Shard>::Event + Send>;

enum Message<S: Shard> {
    Ask { event: MakeEvent<S>, reply: oneshot::Sender<S::Reply> },
    Tell(S::Event),
}

/// Where to send a shard's messages.
pub struct ShardHandle<S: Shard> {
    inbox: mpsc::Sender<Message<S>>,
    changes: Arc<Notify>,
}

impl<S: Shard> Clone for ShardHandle<S> {
    fn clone(&self) -> Self {
        ShardHandle { inbox: self.inbox.clone(), changes: Arc::clone(&self.changes) }
    }
}

impl<S: Shard> ShardHandle<S> {
    /// Hands over an event now, and gives what to wait on for its reply.
    pub async fn ask(
        &self,
        event: impl FnOnce(RequestId, &S) -> S::Event + Send + 'static,
    ) -> Result<oneshot::Receiver<S::Reply>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask { event: Box::new(event), reply };
        self.inbox.send(message).await.map_err(|_| Unavailable)?;
        Ok(answer)
    }

    /// Hands over an event that nobody waits for.
    pub async fn tell(&self, event: S::Event) -> Result<(), Unavailable> {
        self.inbox.send(Message::Tell(event)).await.map_err(|_| Unavailable)
    }

    /// A handle of no task: what stands in for a shard that has not been started.
    pub fn closed() -> ShardHandle<S> {
        ShardHandle { inbox: mpsc::channel(1).0, changes: Arc::new(Notify::new()) }
    }

    /// Wakes its waiters whenever the shard has changed, durably or not yet: for callers that were
    /// told to come back later. What they then ask is answered like any other question.
    pub fn changes(&self) -> &Notify {
        &self.changes
    }

    /// Whether the shard's task has ended.
    pub fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

/// What a shard's task needs of its surroundings.
pub struct ShardSurroundings<S: Shard> {
    /// The partition that holds the shard's log.
    pub partition: Arc<Partition>,
    /// The disk under it.
    pub disk: Disk,
    /// The time.
    pub clock: Clock,
    /// Makes an empty shard, before each load.
    pub empty: Box<dyn Fn() -> S + Send + Sync>,
    /// Where effects go.
    pub effects: Box<dyn Fn(S::Effect) + Send + Sync>,
    /// The event that says that time has passed, with what the shard must know then.
    pub tick: Box<dyn Fn() -> S::Event + Send + Sync>,
    /// Turns true when the broker stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Starts the task that owns a shard; messages wait until it has loaded.
pub fn spawn<S: Shard>(surroundings: ShardSurroundings<S>) -> ShardHandle<S> {
    let (inbox, messages) = mpsc::channel(INBOX_LENGTH);
    let changes = Arc::new(Notify::new());
    tokio::spawn(run(surroundings, messages, Arc::clone(&changes)));
    ShardHandle { inbox, changes }
}

async fn run<S: Shard>(
    around: ShardSurroundings<S>,
    mut messages: mpsc::Receiver<Message<S>>,
    changes: Arc<Notify>,
) {
    let name = around.partition.topic_partition().clone();
    loop {
        let shard = match load(&around).await {
            Ok(shard) => shard,
            Err(error) => {
                tracing::error!(partition = %name, %error, "a coordinator cannot load its log");
                if error.is_final() || !wait_to_reload(&around, &mut messages).await {
                    return;
                }
                continue;
            }
        };
        match Runner::new(&around, &changes, shard).run(&mut messages).await {
            Ended::Closed => return,
            Ended::AppendFailed(error) => {
                tracing::error!(partition = %name, %error, "a coordinator's append failed; loading again");
                if !wait_to_reload(&around, &mut messages).await {
                    return;
                }
            }
        }
    }
}

/// Drops what has queued up meanwhile, so that its senders ask again; false at shutdown.
async fn wait_to_reload<S: Shard>(
    around: &ShardSurroundings<S>,
    messages: &mut mpsc::Receiver<Message<S>>,
) -> bool {
    tokio::time::sleep(RELOAD_DELAY).await;
    while messages.try_recv().is_ok() {}
    !*around.shutdown.borrow() && !messages.is_closed()
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("offset {offset}: {message}")]
    Record { offset: Offset, message: String },
}

impl LoadError {
    fn is_final(&self) -> bool {
        match self {
            LoadError::Partition(PartitionError::Deleted | PartitionError::Offline(_))
            | LoadError::Disk(_) => true,
            LoadError::Partition(PartitionError::Rejected { .. }) | LoadError::Record { .. } => false,
        }
    }
}

/// Reads the whole log to its end. Whatever is there is durable before anybody acts on it:
/// otherwise a coordinator could send markers for a decision that a power cut takes back.
async fn load<S: Shard>(around: &ShardSurroundings<S>) -> Result<S, LoadError> {
    let mut shard = (around.empty)();
    let mut offset = around.partition.offsets().log_start_offset;
    loop {
        let offsets = around.partition.offsets();
        if offset >= offsets.log_end_offset {
            return Ok(shard);
        }
        if offset >= offsets.high_watermark {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let fetched = around.partition.fetch(FetchSpec {
            offset,
            bytes_max: LOAD_BYTES,
            least: AtLeastOneBatch::Yes,
            isolation: Isolation::ReadUncommitted,
        })?;
        let mut bytes = fetched.read.to_bytes()?;
        let failed = |message: String| LoadError::Record { offset, message };
        while let Some(batch) = RecordBatch::take_first(&mut bytes).map_err(|e| failed(e.to_string()))? {
            replay_batch(&mut shard, &batch).map_err(failed)?;
        }
        offset = fetched.read.next_offset;
        tokio::task::yield_now().await;
    }
}

fn replay_batch<S: Shard>(shard: &mut S, batch: &RecordBatch) -> Result<(), String> {
    let header = batch.header();
    if header.is_control {
        if let Some(marker) = EndTransactionMarker::from_batch(batch).map_err(|e| e.to_string())? {
            shard.replay(Replayed::Marker(marker));
        }
        return Ok(());
    }
    let producer = match header.is_transactional {
        true => header.producer.map(|producer| producer.ident),
        false => None,
    };
    let records = batch.records(DECOMPRESSED_BYTES_MAX).map_err(|e| e.to_string())?;
    for record in records.iter() {
        let record = record.map_err(|e| e.to_string())?;
        let Some(key) = record.key else { continue };
        if let Some(decoded) = S::decode(key, record.value)? {
            shard.replay(Replayed::Record { offset: record.offset, producer, record: decoded });
        }
    }
    Ok(())
}

enum Ended {
    Closed,
    AppendFailed(String),
}

/// Replies and effects that wait for a position of the journal.
struct Held<S: Shard> {
    position: JournalPosition,
    replies: Vec<(RequestId, S::Reply)>,
    effects: Vec<S::Effect>,
}

type DurableWait = Pin<Box<dyn Future<Output = Result<(), DiskError>> + Send>>;

struct Runner<'a, S: Shard> {
    around: &'a ShardSurroundings<S>,
    changes: &'a Notify,
    shard: S,
    requests: HashMap<RequestId, oneshot::Sender<S::Reply>>,
    requests_given: u64,
    held: VecDeque<Held<S>>,
    last_position: JournalPosition,
    waiting: Option<DurableWait>,
}

impl<'a, S: Shard> Runner<'a, S> {
    fn new(around: &'a ShardSurroundings<S>, changes: &'a Notify, mut shard: S) -> Runner<'a, S> {
        let leader_epoch = around.partition.leader_epoch();
        let epoch =
            CoordinatorEpoch::from_wire(leader_epoch.value()).expect("leader epochs are not negative");
        for effect in shard.resume(around.clock.now(), epoch) {
            (around.effects)(effect);
        }
        Runner {
            around,
            changes,
            shard,
            requests: HashMap::new(),
            requests_given: 0,
            held: VecDeque::new(),
            last_position: JournalPosition::ZERO,
            waiting: None,
        }
    }

    async fn run(mut self, messages: &mut mpsc::Receiver<Message<S>>) -> Ended {
        let mut shutdown = self.around.shutdown.clone();
        loop {
            self.release();
            let tick_in = self.time_to_deadline();
            let stepped = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => return Ended::Closed,
                durable = wait_on(&mut self.waiting) => {
                    self.waiting = None;
                    durable.map_err(|error| error.to_string())
                }
                message = messages.recv() => match message {
                    Some(message) => self.handle(message),
                    None => return Ended::Closed,
                },
                () = sleep_or_never(tick_in) => self.step((self.around.tick)()),
            };
            if let Err(error) = stepped {
                return Ended::AppendFailed(error);
            }
        }
    }

    fn time_to_deadline(&self) -> Option<Duration> {
        let deadline = self.shard.next_deadline()?;
        Some(deadline.since(self.around.clock.now()))
    }

    fn handle(&mut self, message: Message<S>) -> Result<(), String> {
        match message {
            Message::Ask { event, reply } => {
                self.requests_given += 1;
                let request = RequestId(self.requests_given);
                self.requests.insert(request, reply);
                let event = event(request, &self.shard);
                self.step(event)
            }
            Message::Tell(event) => self.step(event),
        }
    }

    fn step(&mut self, event: S::Event) -> Result<(), String> {
        let now = self.around.clock.now();
        let output = self.shard.step(now, event);
        if let Some(write) = output.write {
            self.last_position = self.append(write, now)?;
            self.changes.notify_waiters();
        }
        self.held.push_back(Held {
            position: self.last_position,
            replies: output.replies,
            effects: output.effects,
        });
        Ok(())
    }

    fn append(&self, write: Write<S::Record>, now: Timestamp) -> Result<JournalPosition, String> {
        let partition = &self.around.partition;
        let committed = match write {
            Write::Records(records) => {
                let batch = batch_of::<S>(&records, BatchOptions::default(), now);
                partition.append(&batch, AppendOrigin::Coordinator, None, now)
            }
            Write::Transactional { producer, records } => {
                let options = BatchOptions {
                    producer: Some(BatchProducer { ident: producer, base_sequence: None }),
                    transactional: Transactional::Yes,
                    ..BatchOptions::default()
                };
                let batch = batch_of::<S>(&records, options, now);
                partition.append(&batch, AppendOrigin::Coordinator, None, now)
            }
            Write::Marker(marker, version) => partition.append_marker(&marker, version, now),
        };
        committed.map(|committed| committed.position).map_err(|error| error.to_string())
    }

    /// Lets out what has become durable, and waits for the next that has not.
    fn release(&mut self) {
        let durable = self.around.disk.durable_position();
        let mut moved = false;
        while self.held.front().is_some_and(|held| held.position <= durable) {
            let Some(held) = self.held.pop_front() else { break };
            moved |= held.position > JournalPosition::ZERO;
            self.let_out(held);
        }
        if moved {
            self.around.partition.advance_high_watermark();
        }
        if let (Some(held), None) = (self.held.front(), &self.waiting) {
            self.waiting = Some(Box::pin(self.around.disk.wait_durable(held.position)));
        }
    }

    fn let_out(&mut self, held: Held<S>) {
        for (request, reply) in held.replies {
            if let Some(waiting) = self.requests.remove(&request) {
                // A client that went away meanwhile misses its answer.
                let _ = waiting.send(reply);
            }
        }
        for effect in held.effects {
            (self.around.effects)(effect);
        }
    }
}

fn batch_of<S: Shard>(records: &[S::Record], options: BatchOptions, now: Timestamp) -> RecordBatch {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let (key, value) = S::encode(record);
        builder.append(NewRecord {
            timestamp: now.ms(),
            key: Some(&key),
            value: value.as_deref(),
            headers: &[],
        });
    }
    builder.build()
}

async fn wait_on(waiting: &mut Option<DurableWait>) -> Result<(), DiskError> {
    match waiting {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

async fn sleep_or_never(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
