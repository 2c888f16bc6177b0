//! Compaction in the background: one thread at low priority takes the log with the largest dirty share
//! first, as Kafka's cleaner does, and rests when none is worth a pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::broker::{Broker, BrokerError};
use crate::config::CleanerOptions;
use crate::ids::{Offset, TopicId, TopicPartition};
use crate::log::CleaningError;
use crate::partition::{CleaningLimits, CleaningReport, Partition};

/// A shorter rest would be none.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// Logs that are left alone.
#[derive(Clone, Debug, Default)]
pub struct Uncleanable(BTreeSet<(TopicPartition, TopicId)>);

impl Uncleanable {
    fn contains(&self, partition: &Partition) -> bool {
        self.0.contains(&name_of(partition))
    }
}

fn name_of(partition: &Partition) -> (TopicPartition, TopicId) {
    (partition.topic_partition().clone(), partition.topic_id())
}

impl Broker {
    /// Compacts what is due, again and again, until the broker stops.
    pub async fn clean_logs(self: Arc<Self>) {
        let Some(options) = self.config.cleaner.clone() else { return };
        let mut shutdown = self.shutdown.clone();
        let mut uncleanable = Uncleanable::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(options.backoff.max(BACKOFF_MIN)) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            match self.round_on_a_thread(&options, uncleanable).await {
                Some(after) => uncleanable = after,
                None => {
                    tracing::error!("the log cleaner's thread ended; logs are not compacted any more");
                    return;
                }
            }
        }
    }

    /// A thread of its own, since only such a one may be given a lower priority.
    async fn round_on_a_thread(
        self: &Arc<Self>,
        options: &CleanerOptions,
        uncleanable: Uncleanable,
    ) -> Option<Uncleanable> {
        let (done, outcome) = oneshot::channel();
        let (broker, bytes_max) = (Arc::clone(self), options.dedupe_buffer_bytes);
        let work = move || {
            lower_priority();
            let mut uncleanable = uncleanable;
            if let Err(error) = broker.clean_once(bytes_max, &mut uncleanable) {
                tracing::error!(%error, "compaction");
            }
            // Nobody listens any more if the broker has stopped meanwhile.
            let _ = done.send(uncleanable);
        };
        let thread = std::thread::Builder::new().name("log-cleaner".to_owned()).spawn(work);
        if let Err(error) = thread {
            tracing::error!(%error, "cannot start the log cleaner's thread");
            return None;
        }
        outcome.await.ok()
    }

    /// One round: pass after pass, until no log is worth one.
    pub fn clean_once(
        &self,
        key_map_bytes_max: usize,
        uncleanable: &mut Uncleanable,
    ) -> Result<(), BrokerError> {
        let mut skipped = uncleanable.clone();
        while let Some((partition, end_offset)) = self.filthiest(&skipped) {
            let name = partition.topic_partition();
            if end_offset > partition.recovery_point() {
                self.partitions.checkpoint()?;
            }
            let should_stop = || *self.shutdown.borrow();
            let limits =
                CleaningLimits { key_map_bytes_max, now: self.clock.now(), should_stop: &should_stop };
            let before = partition.cleaned_to();
            match partition.clean(limits) {
                Ok(Some(report)) => {
                    log_report(&partition, &report);
                    self.partitions.checkpoint_cleaned()?;
                }
                Ok(None) => {}
                Err(CleaningError::Stopped) => return Ok(()),
                Err(CleaningError::Overtaken) => {
                    tracing::debug!(partition = %name, "compaction was overtaken by a deletion");
                }
                Err(CleaningError::Failed(error)) if error.is_full() => {
                    tracing::warn!(partition = %name, %error, "no room to compact");
                }
                Err(CleaningError::Failed(error)) => {
                    tracing::error!(partition = %name, %error, "not compacted until the broker starts again");
                    uncleanable.0.insert(name_of(&partition));
                }
            }
            if partition.cleaned_to() == before {
                skipped.0.insert(name_of(&partition));
            }
        }
        Ok(())
    }

    /// The log with the largest dirty share of those that are due, and where its pass would end.
    fn filthiest(&self, skipped: &Uncleanable) -> Option<(Arc<Partition>, Offset)> {
        let now = self.clock.now();
        let due = self.partitions.all().into_iter().filter(|partition| !skipped.contains(partition));
        let due = due.filter_map(|partition| {
            // One that was deleted or went offline has nothing to compact.
            let cleanable = partition.cleaning_due(now).ok().flatten()?;
            Some((partition, cleanable))
        });
        let filthiest = due.max_by(|(_, a), (_, b)| a.dirty_ratio().total_cmp(&b.dirty_ratio()));
        filthiest.map(|(partition, cleanable)| (partition, cleanable.end_offset))
    }
}

fn log_report(partition: &Partition, report: &CleaningReport) {
    let CleaningReport { cleaned_to, keys, bytes_before, bytes_after } = *report;
    let partition = partition.topic_partition();
    tracing::info!(%partition, %cleaned_to, keys, bytes_before, bytes_after, "compacted");
}

/// Lets everybody else go first.
#[cfg(target_os = "linux")]
fn lower_priority() {
    // On Linux this means the calling thread. Without it the work is done all the same.
    let _ = rustix::process::setpriority_process(None, 10);
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}
