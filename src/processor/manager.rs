//! One processor's manager: keeps its tasks as its definition and its input topics say.
//!
//! Each processor has a manager of its own, so that a processor that is slow to stop, or whose
//! tasks fail, holds up no other. A task that panics is marked as failed.

use super::backend::TopicDescription;
use super::context::{TaskContext, TaskInput, Tuning};
use super::definition::{ProcessorDefinition, RunMode, input_partitions};
use super::engine::panic_text;
use super::status::{TaskBoard, TaskState};
use super::supervisor::{ProcessorView, SupervisorOptions};
use super::task::run_task;
use super::turns::Turns;
use crate::ids::{TopicName, TopicPartition};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

/// What a manager works with.
pub(super) struct Manager {
    pub name: String,
    pub options: Arc<SupervisorOptions>,
    pub view: Arc<ProcessorView>,
    pub turns: Turns,
    pub changed: Arc<watch::Sender<u64>>,
    pub stop: watch::Receiver<bool>,
}

/// The tasks of one version of the definition.
struct Running {
    definition: Arc<ProcessorDefinition>,
    stop: watch::Sender<bool>,
    topics: BTreeMap<TopicName, watch::Sender<Option<TopicDescription>>>,
    started: BTreeSet<TopicPartition>,
    tasks: JoinSet<()>,
    boards: HashMap<Id, Arc<TaskBoard>>,
}

impl Manager {
    /// Runs until the processor is deleted or the supervisor stops.
    pub async fn run(mut self) {
        let mut changes = self.options.registry.changes();
        let mut restarts = self.view.restarts.subscribe();
        let mut restart = false;
        let mut running: Option<Running> = None;
        loop {
            changes.mark_unchanged();
            let stopping = *self.stop.borrow();
            let definition = self.options.registry.definition(&self.name).filter(|_| !stopping);
            let wanted = definition.clone().filter(|definition| definition.run == RunMode::Running);
            let same = running.as_ref().map(|running| &running.definition) == wanted.as_ref();
            if !same || std::mem::take(&mut restart) {
                if let Some(old) = running.take() {
                    old.stop(&self.options.tuning).await;
                }
                self.changed.send_modify(|version| *version += 1);
                if let Some(wanted) = wanted {
                    self.view.boards.lock().clear();
                    self.view
                        .logs
                        .set_rate(u32::try_from(wanted.limits.log_lines_per_second).unwrap_or(u32::MAX));
                    running = Some(Running::new(wanted));
                }
            }
            if definition.is_none() {
                return;
            }
            if let Some(running) = &mut running {
                running.look_at_topics(&self).await;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = self.stop.changed() => {}
                wish = restarts.changed() => restart = wish.is_ok(),
                () = next_look(running.as_mut(), &self.options.tuning) => {}
            }
        }
    }
}

/// Resolves when topics are to be looked at again; collects ended tasks meanwhile.
async fn next_look(running: Option<&mut Running>, tuning: &Tuning) {
    let Some(running) = running else { return std::future::pending().await };
    let pause = tokio::time::sleep(tuning.topic_poll);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return,
            ended = running.tasks.join_next_with_id(), if !running.tasks.is_empty() => {
                if let Some(ended) = ended {
                    running.ended(ended.map(|(id, ())| id));
                }
            }
        }
    }
}

impl Running {
    fn new(definition: Arc<ProcessorDefinition>) -> Running {
        Running {
            definition,
            stop: watch::Sender::new(false),
            topics: BTreeMap::new(),
            started: BTreeSet::new(),
            tasks: JoinSet::new(),
            boards: HashMap::new(),
        }
    }

    /// Starts a task for each input partition that has none, and tells the others what their topic is.
    async fn look_at_topics(&mut self, manager: &Manager) {
        for topic in self.definition.inputs.clone() {
            let Ok(found) = manager.options.backend.topic(&topic).await else { continue };
            let known = self.topics.entry(topic.clone()).or_insert_with(|| watch::Sender::new(found.clone()));
            known.send_if_modified(|now| {
                let differs = *now != found;
                now.clone_from(&found);
                differs
            });
        }
        let definition = self.definition.clone();
        for topic in definition.task_topics() {
            // A topic that is not there yet is waited for by the task of its first partition.
            let known = self.topics.get(topic).and_then(|known| known.borrow().clone());
            for input in input_partitions(topic, known.map_or(1, |known| known.partitions)) {
                if self.started.insert(input.clone()) {
                    self.start_task(manager, input);
                }
            }
        }
    }

    fn start_task(&mut self, manager: &Manager, input: TopicPartition) {
        let of_topic = |topic: &TopicName| {
            let partition = TopicPartition::new(topic.clone(), input.partition);
            Some(TaskInput { partition, topic: self.topics.get(topic)?.subscribe() })
        };
        let Some(inputs) = self.definition.inputs_of(&input).map(of_topic).collect() else { return };
        let board = Arc::new(TaskBoard::new(&input, manager.changed.clone(), manager.view.meters.clone()));
        manager.view.boards.lock().insert(input.clone(), board.clone());
        let options = &manager.options;
        let context = TaskContext {
            backend: options.backend.clone(),
            host: options.host.clone(),
            registry: options.registry.clone(),
            state: options.state.clone(),
            group: self.definition.group(),
            transactional_id: self.definition.transactional_id(&input),
            definition: self.definition.clone(),
            board: board.clone(),
            logs: manager.view.logs.clone(),
            clock: options.clock.clone(),
            turns: manager.turns.clone(),
            tuning: options.tuning,
            stop: self.stop.subscribe(),
            input,
            inputs,
        };
        let task = self.tasks.spawn(run_task(context));
        self.boards.insert(task.id(), board);
    }

    fn ended(&mut self, ended: Result<Id, tokio::task::JoinError>) {
        let Err(error) = ended else { return };
        let Some(board) = self.boards.get(&error.id()) else { return };
        if let Ok(panic) = error.try_into_panic() {
            board.enter(TaskState::Failed, Some(format!("a bug: {}", panic_text(panic.as_ref()))));
        }
    }

    async fn stop(mut self, tuning: &Tuning) {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.ended(ended.map(|(id, ())| id));
            }
        };
        if tokio::time::timeout(tuning.stop_wait, all).await.is_err() {
            // Safe: whatever they left open is aborted when the transactional id is taken again.
            self.tasks.shutdown().await;
        }
    }
}
