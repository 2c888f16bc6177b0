//! Owns every processor's manager: starts one for each definition, stops them all in order.
//!
//! Also where the admin API reads: status, logs. Decides nothing about records.

use super::backend::{Backend, BackendError};
use super::context::Tuning;
use super::definition::{DefinitionError, ProcessorDefinition, RunMode, not_co_partitioned};
use super::log_topic::{LogKind, PluginLogs};
use super::logs::{LogPage, LogRing};
use super::manager::Manager;
use super::meters::{ProcessorMeters, ProcessorMetrics};
use super::registry::{Registry, RegistryError};
use super::status::{TaskBoard, TaskState, TaskStatus};
use super::turns::Turns;
use crate::clock::Clock;
use crate::ids::TopicPartition;
use crate::plugin::PluginHost;
use crate::state::StateDatabase;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What a supervisor works with.
pub struct SupervisorOptions {
    /// The cluster.
    pub backend: Arc<Backend>,
    /// Where instances come from.
    pub host: Arc<dyn PluginHost>,
    /// What is deployed.
    pub registry: Arc<Registry>,
    /// Where tasks keep their state; without it none that needs one runs.
    pub state: Option<StateDatabase>,
    /// The time of log lines.
    pub clock: Clock,
    /// Waits and sizes.
    pub tuning: Tuning,
    /// Where each processor's log comes from.
    pub logs: PluginLogs,
}

/// What a whole processor is doing: the gravest of its tasks' states.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessorState {
    /// At least one task has stopped for good.
    Failed,
    /// At least one task has lost its transactional id to another owner.
    Fenced,
    /// At least one task tries again.
    Retrying,
    /// At least one input topic does not exist.
    WaitingForTopic,
    /// The tasks are being started.
    Starting,
    /// All tasks run.
    Running,
    /// Someone has paused it.
    Paused,
}

/// One processor, at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ProcessorStatus {
    /// What it is doing.
    pub state: ProcessorState,
    /// Why, if it is not simply running.
    pub cause: Option<String>,
    /// The sum of its tasks' lags, of those that know theirs.
    pub lag_records: i64,
    /// Its tasks.
    pub tasks: Vec<TaskStatus>,
}

/// What is seen of one processor from outside.
pub(super) struct ProcessorView {
    pub logs: Arc<LogRing>,
    pub meters: Arc<ProcessorMeters>,
    pub boards: Mutex<BTreeMap<TopicPartition, Arc<TaskBoard>>>,
    /// Counts the wishes for new tasks.
    pub restarts: watch::Sender<u64>,
}

/// The owner of all processors' tasks.
pub struct Supervisor {
    options: Arc<SupervisorOptions>,
    views: Arc<Mutex<BTreeMap<String, Arc<ProcessorView>>>>,
    changed: Arc<watch::Sender<u64>>,
    stop: watch::Sender<bool>,
    main: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    /// Starts the tasks of everything that is deployed, and of everything that will be.
    pub fn start(options: SupervisorOptions) -> Supervisor {
        let options = Arc::new(options);
        let views = Arc::new(Mutex::new(BTreeMap::new()));
        let changed = Arc::new(watch::Sender::new(0));
        let stop = watch::Sender::new(false);
        let main = supervise(options.clone(), views.clone(), changed.clone(), stop.subscribe());
        let main = Mutex::new(Some(tokio::spawn(main)));
        Supervisor { options, views, changed, stop, main }
    }

    /// Refuses a processor with state whose inputs are not partitioned alike; those that do not exist yet are not looked
    /// at, and its tasks say so later.
    pub async fn check_inputs(&self, definition: &ProcessorDefinition) -> Result<(), RegistryError> {
        if !definition.is_co_partitioned() {
            return Ok(());
        }
        let mut counts = Vec::new();
        for input in &definition.inputs {
            let found = self.options.backend.topic(input).await.ok().flatten();
            counts.extend(found.map(|topic| (input, topic.partitions)));
        }
        match not_co_partitioned(counts) {
            None => Ok(()),
            Some(cause) => Err(DefinitionError::not_co_partitioned(&cause).into()),
        }
    }

    /// Refuses a processor that may take more memory than the others have left. Of those, what their instances have taken
    /// counts, since memory is taken as it is needed and most never need what they may have.
    pub async fn check_memory(&self, definition: &ProcessorDefinition) -> Result<(), RegistryError> {
        let mut tasks = 0;
        for topic in definition.task_topics() {
            let found = self.options.backend.topic(topic).await.ok().flatten();
            tasks += found.map_or(1, |topic| u64::try_from(topic.partitions).unwrap_or(0));
        }
        let asked = definition.memory_asked(tasks);
        let others = self.options.registry.definitions();
        let others = others.iter().filter(|other| other.name != definition.name);
        let metrics = others.filter_map(|other| self.metrics(&other.name));
        let taken: u64 = metrics.map(|metrics| metrics.guest_memory_bytes).sum();
        let bytes_max = self.options.tuning.instances_bytes_max;
        if asked.bytes() <= bytes_max.saturating_sub(taken) {
            return Ok(());
        }
        Err(DefinitionError::no_memory_left(&asked, taken, bytes_max).into())
    }

    /// Creates the topics that a processor writes to, where they are missing, with as many
    /// partitions as its largest input has.
    pub async fn create_topics(&self, definition: &ProcessorDefinition) -> Result<(), BackendError> {
        let mut partitions = None;
        for input in &definition.inputs {
            let found = self.options.backend.topic(input).await?;
            partitions = partitions.max(found.map(|topic| topic.partitions));
        }
        if let Some(changelog) = definition.changelog_topic() {
            self.options.backend.ensure_changelog(&changelog, partitions.unwrap_or(1)).await?;
        }
        for topic in definition.written_topics() {
            self.options.backend.ensure_topic(&topic, partitions).await?;
        }
        Ok(())
    }

    /// What a deployed processor is doing.
    pub fn status(&self, name: &str) -> Option<ProcessorStatus> {
        let definition = self.options.registry.definition(name)?;
        let view = self.views.lock().get(name).cloned();
        let tasks = view
            .map(|view| view.boards.lock().values().map(|board| board.status()).collect::<Vec<_>>())
            .unwrap_or_default();
        let (state, cause) = match definition.run {
            RunMode::Paused => (ProcessorState::Paused, definition.pause_cause.clone()),
            RunMode::Running => gravest(&tasks),
        };
        let lag_records = tasks.iter().filter_map(|task| task.lag_records).sum();
        Some(ProcessorStatus { state, cause, lag_records, tasks })
    }

    /// What a deployed processor has measured. The tasks of one that is paused are not there.
    pub fn metrics(&self, name: &str) -> Option<ProcessorMetrics> {
        let definition = self.options.registry.definition(name)?;
        let view = self.views.lock().get(name).cloned();
        let Some(view) = view else { return Some(ProcessorMetrics::default()) };
        let boards: Vec<_> = match definition.run {
            RunMode::Running => view.boards.lock().values().cloned().collect(),
            RunMode::Paused => Vec::new(),
        };
        let tasks = boards.iter().map(|board| (board.status(), &board.meters));
        Some(ProcessorMetrics::of(&view.meters, tasks, self.options.clock.now().ms()))
    }

    /// Starts a processor's tasks anew if any of them has given up.
    pub fn restart_failed(&self, name: &str) {
        let given_up = |task: &TaskStatus| matches!(task.state, TaskState::Failed | TaskState::Fenced);
        if self.status(name).is_some_and(|status| status.tasks.iter().any(given_up))
            && let Some(view) = self.views.lock().get(name)
        {
            view.restarts.send_modify(|wishes| *wishes += 1);
        }
    }

    /// The log lines of a deployed processor with numbers above `since`.
    pub fn logs(&self, name: &str, since: u64) -> Option<LogPage> {
        self.options.registry.definition(name)?;
        let nothing = LogPage { lines: Vec::new(), next: since, forgotten: 0 };
        Some(self.views.lock().get(name).map_or(nothing, |view| view.logs.page(since)))
    }

    /// Wakes whenever any task's status changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Stops all tasks: what they have done is committed, the rest is left for the next start.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let main = self.main.lock().take();
        if let Some(main) = main {
            // The only way to fail is a panic, which has been reported already.
            let _ = main.await;
        }
    }

    /// Drops all tasks where they stand, as a crash would.
    pub async fn kill(&self) {
        let main = self.main.lock().take();
        if let Some(main) = main {
            main.abort();
            let _ = main.await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(main) = self.main.get_mut().take() {
            main.abort();
        }
    }
}

fn gravest(tasks: &[TaskStatus]) -> (ProcessorState, Option<String>) {
    let order = [
        (TaskState::Failed, ProcessorState::Failed),
        (TaskState::Fenced, ProcessorState::Fenced),
        (TaskState::Retrying, ProcessorState::Retrying),
        (TaskState::WaitingForTopic, ProcessorState::WaitingForTopic),
        (TaskState::Starting, ProcessorState::Starting),
        (TaskState::Stopped, ProcessorState::Starting),
    ];
    for (task_state, state) in order {
        if let Some(task) = tasks.iter().find(|task| task.state == task_state) {
            return (state, task.cause.clone());
        }
    }
    if tasks.is_empty() { (ProcessorState::Starting, None) } else { (ProcessorState::Running, None) }
}

async fn supervise(
    options: Arc<SupervisorOptions>,
    views: Arc<Mutex<BTreeMap<String, Arc<ProcessorView>>>>,
    changed: Arc<watch::Sender<u64>>,
    mut stop: watch::Receiver<bool>,
) {
    let turns = Turns::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let mut changes = options.registry.changes();
    let mut managers = JoinSet::new();
    let mut names: HashMap<tokio::task::Id, String> = HashMap::new();
    while !*stop.borrow() {
        changes.mark_unchanged();
        for definition in options.registry.definitions() {
            if names.values().any(|name| *name == definition.name) {
                continue;
            }
            let view = Arc::new(ProcessorView {
                logs: options.logs.ring(LogKind::Processor, &definition.name),
                meters: Arc::default(),
                boards: Mutex::default(),
                restarts: watch::Sender::new(0),
            });
            views.lock().insert(definition.name.clone(), view.clone());
            let manager = Manager {
                name: definition.name.clone(),
                options: options.clone(),
                view,
                turns: turns.clone(),
                changed: changed.clone(),
                stop: stop.clone(),
            };
            let task = managers.spawn(manager.run());
            names.insert(task.id(), definition.name.clone());
        }
        tokio::select! {
            _ = stop.changed() => {}
            changed = changes.changed() => if changed.is_err() { break },
            Some(ended) = managers.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                if let Some(name) = names.remove(&id) {
                    views.lock().remove(&name);
                }
            }
        }
    }
    while managers.join_next().await.is_some() {}
}
