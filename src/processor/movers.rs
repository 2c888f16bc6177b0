//! The broker's own processors: one for each ingress, which moves what clients have sent to the partitions that
//! the topic's partitioner chooses, and lets go of what has been moved.
//!
//! They follow from the topics: nothing of them is kept but the offsets that they commit, as any processor does.

use super::backend::{Backend, BackendError};
use super::definition::{BreakerPolicy, CommitPolicy, ErrorPolicy, ProcessorDefinition, Work};
use super::registry::Registry;
use crate::broker::{Broker, Ingress};
use crate::ids::TopicName;
use crate::plugin::PluginKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often what has been moved is let go of.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// The least time between two commits: readers wait for it.
const COMMIT_INTERVAL_MS: u64 = 10;

/// What moves the records of an ingress.
pub(super) fn mover_of(ingress: &Ingress, registry: &Registry) -> ProcessorDefinition {
    let found = ingress
        .partitioner
        .as_ref()
        .and_then(|partitioner| registry.module_of_kind(&partitioner.module, PluginKind::Partitioner).ok());
    ProcessorDefinition {
        name: ingress.name.to_string(),
        module: found.map(|entry| entry.digest).unwrap_or_default(),
        inputs: vec![ingress.name.clone()],
        outputs: vec![ingress.topic.clone()],
        start: Default::default(),
        // For people to see: a change of it is noticed where partitions are chosen.
        config: ingress
            .partitioner
            .as_ref()
            .map(|partitioner| partitioner.config.clone())
            .unwrap_or_default(),
        commit: CommitPolicy { interval_ms: COMMIT_INTERVAL_MS, ..CommitPolicy::default() },
        limits: Default::default(),
        on_error: ErrorPolicy {
            dead_letter_topic: Some(TopicName::new(format!("{}.dlq", ingress.topic))),
            // Nobody could resume it, and one client's bad records would hold up all others.
            breaker: BreakerPolicy { failures_percent: 0, ..BreakerPolicy::default() },
            ..ErrorPolicy::default()
        },
        run: Default::default(),
        pause_cause: None,
        stores: Vec::new(),
        then: Vec::new(),
        timers: false,
        guarantee: Default::default(),
        partitioners: Default::default(),
        work: Work::MoveToPartitions,
    }
}

/// Keeps one mover for each ingress until the broker stops.
pub async fn keep_movers(
    broker: Arc<Broker>,
    backend: Arc<Backend>,
    registry: Arc<Registry>,
    mut stop: watch::Receiver<bool>,
) {
    let mut topics = broker.metadata_changes();
    let mut modules = registry.changes();
    let mut next_forget = tokio::time::Instant::now() + FORGET_INTERVAL;
    loop {
        topics.mark_unchanged();
        modules.mark_unchanged();
        let ingresses = broker.ingresses();
        let names = ingresses.iter().filter_map(|ingress| {
            Some((ingress.topic.clone(), ingress.partitioner.as_ref()?.module.clone()))
        });
        let movers: Vec<_> = ingresses.iter().map(|ingress| mover_of(ingress, &registry)).collect();
        for mover in &movers {
            if let Err(error) = create_dead_letter_topic(&backend, mover).await {
                tracing::warn!(mover = mover.name, %error, "its dead-letter topic could not be created");
            }
        }
        registry.set_movers(movers, names.collect());
        tokio::select! {
            () = stopped(&mut stop) => return,
            changed = topics.changed() => if changed.is_err() { return },
            changed = modules.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next_forget), if !ingresses.is_empty() => {
                next_forget = tokio::time::Instant::now() + FORGET_INTERVAL;
                for ingress in &ingresses {
                    forget_moved(&broker, &backend, ingress).await;
                }
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say so: a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn create_dead_letter_topic(
    backend: &Backend,
    mover: &ProcessorDefinition,
) -> Result<(), BackendError> {
    let mut partitions = None;
    for topic in &mover.outputs {
        partitions = partitions.max(backend.topic(topic).await?.map(|topic| topic.partitions));
    }
    match mover.dead_letter_topic() {
        Some(topic) => backend.ensure_topic(&topic, partitions).await,
        None => Ok(()),
    }
}

/// Lets go of what has been moved: what lies before the committed offset is in its topic, durably.
async fn forget_moved(broker: &Arc<Broker>, backend: &Backend, ingress: &Ingress) {
    let group = crate::ids::GroupId::new(ingress.name.as_str());
    for partition in super::definition::input_partitions(&ingress.name, ingress.partitions) {
        let Ok(Some(moved)) = backend.committed_offset(&group, &partition).await else { continue };
        let (broker, of) = (Arc::clone(broker), partition.clone());
        // Letting segments go syncs files.
        let forgotten = tokio::task::spawn_blocking(move || broker.forget_moved(&of, moved.offset)).await;
        if let Ok(Err(error)) = forgotten {
            tracing::warn!(%partition, %error, "moved records could not be let go of");
        }
    }
}
