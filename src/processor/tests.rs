//! Whole processors on a cluster in memory, with a plugin host written in Rust.

mod chain;
mod exactly_once;
mod failures;
mod guarantees;
mod inputs;
mod lifecycle;
mod placement;
mod rerun;
mod state;
mod timers;

use super::attachments::{Attachments, AttachmentsOptions};
use super::backend::Backend;
use super::context::Tuning;
use super::definition::{CommitPolicy, ErrorPolicy, ProcessorDefinition};
use super::fake_host::FakeHost;
use super::log_topic::PluginLogs;
use super::memory_backend::MemoryBackend;
use super::registry::{ModuleEntry, Registry};
use super::state_queries::StateQueries;
use super::status::TaskStatus;
use super::supervisor::{ProcessorStatus, Supervisor, SupervisorOptions};
use crate::clock::{Clock, Timestamp};
use crate::plugin::PluginHost;
use crate::state::StateDatabase;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn quick() -> Tuning {
    Tuning {
        fetch_wait: Duration::from_secs(30),
        lazy_commit: Duration::ZERO,
        retry_first: Duration::from_millis(1),
        retry_longest: Duration::from_millis(4),
        topic_poll: Duration::from_millis(5),
        ..Tuning::default()
    }
}

/// A cluster, a catalogue and a host, on which supervisors come and go.
pub(crate) struct Fixture {
    pub cluster: MemoryBackend,
    pub registry: Arc<Registry>,
    pub host: Arc<FakeHost>,
    pub digest: String,
    pub tuning: Tuning,
    /// The broker's clock, at 1 ms.
    pub clock: Clock,
    /// Where tasks keep their state, for the tests that need one.
    pub state: Option<StateDatabase>,
}

impl Fixture {
    pub async fn new() -> Fixture {
        let (registry, host) = (Arc::new(Registry::volatile()), Arc::new(FakeHost::new()));
        let described = host.compile(b"the module").unwrap();
        let entry = ModuleEntry {
            digest: described.digest.to_string(),
            names: Default::default(),
            world: described.world.to_string(),
            imports: vec![],
            module_bytes: 1,
            compiled_bytes: 1,
            compile_ms: 1,
        };
        let digest = registry.put_module(entry).await.unwrap().digest;
        let cluster = MemoryBackend::new();
        cluster.with(|cluster| {
            for topic in ["in", "out", "p.dlq"] {
                cluster.ensure_topic(topic, 1);
            }
        });
        Fixture {
            cluster,
            registry,
            host,
            digest,
            clock: Clock::manual(Timestamp::from_ms(1)),
            tuning: quick(),
            state: None,
        }
    }

    pub fn definition(&self) -> ProcessorDefinition {
        ProcessorDefinition {
            module: self.digest.clone(),
            commit: CommitPolicy { interval_ms: 0, ..CommitPolicy::default() },
            on_error: ErrorPolicy { backoff_ms: 1, ..ErrorPolicy::default() },
            ..super::definition::tests::definition("p", &["in"], &["out"])
        }
    }

    pub async fn deploy(&self, definition: ProcessorDefinition) {
        self.registry.put_processor(definition).await.unwrap();
    }

    pub fn supervisor_on(&self, backend: MemoryBackend) -> Supervisor {
        Supervisor::start(SupervisorOptions {
            backend: Arc::new(Backend::Memory(backend)),
            host: self.host.clone(),
            registry: self.registry.clone(),
            state: self.state.clone(),
            clock: self.clock.clone(),
            tuning: self.tuning,
            logs: PluginLogs::default(),
        })
    }

    pub fn supervisor(&self) -> Supervisor {
        self.supervisor_on(self.cluster.connect())
    }

    pub fn state_queries(&self) -> StateQueries {
        let backend = Arc::new(Backend::Memory(self.cluster.connect()));
        StateQueries::new(backend, self.registry.clone(), self.state.clone())
    }

    /// Runs tasks that crash at a step of their calls of the cluster, and drops them; answers whether it came so far, or
    /// all was done before.
    pub async fn crash_at(&self, step: usize, done: impl Future<Output = ()>) -> bool {
        let doomed = self.cluster.connect();
        doomed.crash_at(step);
        let supervisor = self.supervisor_on(doomed.clone());
        let has_crashed = tokio::select! {
            biased;
            () = within(doomed.crashed()) => true,
            () = done => false,
        };
        supervisor.kill().await;
        has_crashed
    }

    pub async fn attachments(&self) -> Attachments {
        let started = Attachments::start(AttachmentsOptions {
            interceptors: Arc::default(),
            host: self.host.clone(),
            registry: self.registry.clone(),
            clock: Clock::manual(Timestamp::from_ms(1)),
            logs: PluginLogs::default(),
        });
        started.await.unwrap()
    }

    pub fn append(&self, values: &[&str]) {
        let records = values.iter().map(|value| ("key", *value)).collect::<Vec<_>>();
        self.cluster.with(|cluster| cluster.append("in", 0, &records));
    }

    /// One record with a time of its own.
    pub fn append_at(&self, timestamp: i64, value: &str) {
        self.cluster.with(|cluster| cluster.append_at("in", 0, timestamp, value));
    }

    /// Waits until the committed offset has reached the end of the input.
    pub async fn caught_up(&self) {
        within(self.cluster.wait_until(|cluster| {
            let end = cluster.end_offset("in", 0);
            cluster.committed_offset("p", "in", 0) == Some(end)
        }))
        .await;
    }

    pub fn values(&self, topic: &str) -> Vec<String> {
        self.cluster.with(|cluster| cluster.committed_values(topic))
    }
}

/// Fails a test that hangs, instead of hanging.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it should have happened by now")
}

/// Waits until the processor's status is as wanted.
pub(crate) async fn until(
    supervisor: &Supervisor,
    wanted: impl Fn(&ProcessorStatus) -> bool,
) -> ProcessorStatus {
    let mut changes = supervisor.changes();
    let seen = within(async {
        loop {
            changes.mark_unchanged();
            if let Some(status) = supervisor.status("p").filter(|status| wanted(status)) {
                return status;
            }
            changes.changed().await.unwrap();
        }
    });
    seen.await
}

/// Waits until the one task's status is as wanted.
pub(crate) async fn until_task(supervisor: &Supervisor, wanted: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    let status = until(supervisor, |status| status.tasks.first().is_some_and(&wanted)).await;
    status.tasks.into_iter().next().unwrap()
}
