//! An attachment at work: its calls, its policy for faults, its queue of acknowledgements.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::attachment::Scope;
use super::counters::{Counters, CountersView};
use super::pool::Pool;
use super::{Attachment, FaultPolicy};
use crate::plugin::{
    Acknowledgement, Direction, InputBatch, InterceptorOptions, LogSink, ModuleDigest, Origin, PluginError,
    PluginHost, ProcessFault, Verdicts,
};

/// Batches whose acknowledgement waits to be told; whoever comes then waits too.
const ACKNOWLEDGEMENTS_WAITING_MAX: usize = 1024;
/// Batches that are told in one call.
const ACKNOWLEDGEMENTS_PER_CALL_MAX: usize = 256;
/// How long the first batch waits for others to be told with it: to wake a thread for each of them costs more
/// than to judge it.
const ACKNOWLEDGEMENTS_LINGER: Duration = Duration::from_millis(5);
const WARNINGS_APART: Duration = Duration::from_secs(1);

/// The present moment on the monotonic clock, for measuring and pausing.
#[allow(clippy::disallowed_methods, reason = "measures calls; decides nothing that is replayed")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// An attachment at work.
pub struct Link {
    attachment: Attachment,
    scope: Scope,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    acknowledgements: mpsc::Sender<Acknowledgement>,
    warnings: WarningRate,
}

/// Clients can bring about warnings with each request; the counters tell how many there were.
#[derive(Default, Debug)]
pub(super) struct WarningRate(Mutex<Option<Instant>>);

impl WarningRate {
    /// Whether the last one was a second ago or longer; then this one counts.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|last| last.elapsed() >= WARNINGS_APART);
        if is_due {
            *last = Some(now());
        }
        is_due
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("attachment", &self.attachment).finish_non_exhaustive()
    }
}

/// Why an interceptor gave no verdicts.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LinkFault {
    /// A short stable name.
    pub kind: &'static str,
    /// What happened.
    pub message: String,
}

impl LinkFault {
    pub(super) fn of_plugin(error: &PluginError) -> LinkFault {
        LinkFault { kind: "instantiate", message: error.to_string() }
    }

    pub(super) fn closed() -> LinkFault {
        LinkFault { kind: "detached", message: "the interceptor was detached just now".to_owned() }
    }
}

impl From<ProcessFault> for LinkFault {
    fn from(fault: ProcessFault) -> LinkFault {
        LinkFault { kind: fault.kind(), message: fault.to_string() }
    }
}

/// What tells acknowledgements, until nobody holds the link any more; then the instances are closed.
pub(super) struct Teller {
    attachment: String,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    queue: mpsc::Receiver<Acknowledgement>,
}

impl Link {
    /// A link of a validated attachment, and what must run for as long as it is used.
    pub(super) fn new(
        attachment: Attachment,
        digest: ModuleDigest,
        host: Arc<dyn PluginHost>,
        log: LogSink,
    ) -> (Link, Teller) {
        let counters = Arc::new(Counters::default());
        let options = InterceptorOptions {
            attachment: attachment.name.clone(),
            limits: attachment.limits.of_instance(),
            config: attachment.config.clone().into_iter().collect(),
            log,
            counters: counters.own.sink(),
        };
        let pool = Arc::new(Pool::new(host, digest, options));
        let (acknowledgements, queue) = mpsc::channel(ACKNOWLEDGEMENTS_WAITING_MAX);
        let teller = Teller {
            attachment: attachment.name.clone(),
            pool: Arc::clone(&pool),
            counters: Arc::clone(&counters),
            queue,
        };
        let scope = Scope::of(&attachment);
        let warnings = WarningRate::default();
        (Link { attachment, scope, pool, counters, acknowledgements, warnings }, teller)
    }

    /// The attachment.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// What it has done so far.
    pub fn counters(&self) -> CountersView {
        self.counters.view()
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Makes sure that there is an instance: the first thing to do with a new attachment.
    pub async fn warm_up(&self) -> Result<(), LinkFault> {
        let lease = self.pool.take().await?;
        self.pool.give_back(lease, &Ok(()));
        Ok(())
    }

    /// The verdicts on a batch; `None` lets it pass unjudged, by the policy for faults.
    pub(super) async fn judge(
        &self,
        direction: Direction,
        origin: &Origin,
        batch: &InputBatch,
    ) -> Result<Option<Verdicts>, LinkFault> {
        let mut tries_left = match self.attachment.on_fault {
            FaultPolicy::FailClosed | FaultPolicy::FailOpen => 1,
            FaultPolicy::Reload => 2,
        };
        loop {
            let fault = match self.judge_once(direction, origin, batch).await {
                Ok(verdicts) => return Ok(Some(verdicts)),
                Err(fault) => fault,
            };
            tries_left -= 1;
            self.counters.fault(&fault.message);
            let Origin { topic, partition, .. } = origin;
            let attachment = &self.attachment.name;
            if self.warnings.is_due() {
                tracing::warn!(%attachment, %topic, %partition, %fault, "an interceptor failed");
            }
            match self.attachment.on_fault {
                FaultPolicy::FailOpen => {
                    self.counters.passed_open();
                    return Ok(None);
                }
                FaultPolicy::Reload if tries_left > 0 => {}
                FaultPolicy::Reload | FaultPolicy::FailClosed => return Err(fault),
            }
        }
    }

    async fn judge_once(
        &self,
        direction: Direction,
        origin: &Origin,
        batch: &InputBatch,
    ) -> Result<Verdicts, LinkFault> {
        let mut lease = self.pool.take().await?;
        let began = now();
        let answer = lease.instance.judge(direction, origin, batch).await;
        let took = began.elapsed();
        self.pool.give_back(lease, &answer);
        let verdicts = answer?;
        self.counters.judged(direction, batch.record_count(), &verdicts, took);
        Ok(verdicts)
    }

    /// Queues what became of a batch, waiting while the queue is full.
    pub(super) async fn acknowledge(&self, acknowledgement: Acknowledgement) {
        if self.acknowledgements.send(acknowledgement).await.is_err() {
            self.counters.acknowledgements_lost(1);
        }
    }
}

impl Teller {
    /// Tells acknowledgements until the link is gone and all is told.
    pub(super) async fn run(mut self) {
        let mut batches = Vec::new();
        while self.receive(&mut batches).await {
            match self.tell(&batches).await {
                Ok(()) => self.counters.acknowledged(batches.len()),
                Err(fault) => {
                    self.counters.fault(&fault.message);
                    self.counters.acknowledgements_lost(batches.len());
                    let attachment = &self.attachment;
                    tracing::warn!(%attachment, %fault, "an interceptor failed on acknowledgements");
                }
            }
            batches.clear();
        }
        self.pool.close().await;
    }

    /// Waits for batches to tell of; `false` at the end.
    async fn receive(&mut self, batches: &mut Vec<Acknowledgement>) -> bool {
        if self.queue.recv_many(batches, ACKNOWLEDGEMENTS_PER_CALL_MAX).await == 0 {
            return false;
        }
        tokio::time::sleep(ACKNOWLEDGEMENTS_LINGER).await;
        while batches.len() < ACKNOWLEDGEMENTS_PER_CALL_MAX
            && let Ok(next) = self.queue.try_recv()
        {
            batches.push(next);
        }
        true
    }

    async fn tell(&self, batches: &[Acknowledgement]) -> Result<(), LinkFault> {
        let mut lease = self.pool.take().await?;
        let answer = lease.instance.acknowledge(batches).await;
        self.pool.give_back(lease, &answer);
        Ok(answer?)
    }
}
