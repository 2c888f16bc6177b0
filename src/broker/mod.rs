//! The one façade that the outside calls: produce, fetch, groups, transactions, topics.
//!
//! Clients' handlers and processors use the same calls; there is no side door. Calls that answer
//! only after durability come in two steps, so that a connection can go on meanwhile. Knows no
//! wire messages.

mod cleaner;
mod configs;
mod coordination;
mod error;
mod fetch;
mod fetch_sessions;
#[cfg(test)]
pub(crate) mod fixture;
mod groups;
pub mod import;
mod ingress;
mod interception;
mod offsets;
mod produce;
mod producer_ids;
mod quotas;
mod topics;
mod transactions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::config::dynamic::EffectiveConfig;
use crate::coordinator::Coordinators;
use crate::disk::{Disk, DiskSpace, JournalPosition};
use crate::ids::{BrokerId, TopicPartition};
use crate::interceptor::Interceptors;
use crate::log::DeletedSegments;
use crate::metadata::{MetadataImage, MetadataRecord, MetadataStore};
use crate::partition::{Partition, PartitionError, PartitionRegistry, StartReport};
use crate::quota::Meters;
use configs::Settings;
use fetch_sessions::FetchSessions;

pub use crate::config::topic_config::TopicPartitioner;
pub use crate::coordinator::KeptGroupNames;
pub use cleaner::Uncleanable;
pub use configs::{BrokerScope, ChangeMode};
pub use coordination::{CoordinatorKind, PendingReply};
pub use error::BrokerError;
pub use fetch::{FetchPartition, FetchRequest, FetchedPartition};
pub use fetch_sessions::{
    ErrorState, FetchContents, FetchContext, FetchKey, FetchNews, FetchParameters, FetchTopic, HasRecords,
    Naming, SessionRequest,
};
pub use ingress::{Ingress, PartitionerModules};
pub use interception::Served;
pub use offsets::OffsetQuery;
pub use produce::{ClientBatch, Produced, TransactionalProduce};
pub use topics::NewTopic;
pub use transactions::AddToTransaction;

/// The groups' internal topic.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The transactions' internal topic.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";

/// The one façade that the outside calls.
pub struct Broker {
    config: ServerConfig,
    /// The settings with what was changed since the start.
    effective_config: ArcSwap<EffectiveConfig>,
    clock: Clock,
    disk: Disk,
    metadata: MetadataStore,
    partitions: Arc<PartitionRegistry>,
    coordinators: Coordinators,
    interceptors: Arc<Interceptors>,
    /// The names and digests under which topics may use a partitioner.
    partitioner_modules: ArcSwap<PartitionerModules>,
    producer_ids: producer_ids::ProducerIds,
    quota_meters: parking_lot::Mutex<Meters>,
    fetch_sessions: parking_lot::Mutex<FetchSessions>,
    /// One change of topics at a time: its files are made before the next one starts.
    topic_changes: tokio::sync::Mutex<()>,
    listeners: ArcSwapOption<Vec<Endpoint>>,
    /// Counts the changes of the metadata.
    metadata_version: watch::Sender<u64>,
    shutdown: watch::Receiver<bool>,
}

/// How the broker learns that it has to stop: first whoever waits for something to happen, and
/// once clients and processors are done, the coordinators.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Ends long polls and maintenance.
    pub clients: watch::Receiver<bool>,
    /// Ends the coordinators.
    pub coordinators: watch::Receiver<bool>,
}

/// Where clients of one listener are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The port that the listener is bound to.
    pub bound_port: u16,
    /// The advertised host; `None` sends clients to the address that they connected to.
    pub host: Option<String>,
    /// The advertised port.
    pub port: u16,
}

impl Broker {
    /// Opens everything on the disk and starts the coordinators that have work to do.
    pub fn open(
        config: ServerConfig,
        disk: Disk,
        clock: Clock,
        stop: Stop,
    ) -> Result<(Arc<Broker>, StartReport), BrokerError> {
        let now = clock.now();
        let metadata = MetadataStore::open(&disk, now)?;
        let pending = metadata.change(now, |image| Ok(start_records(image, config.node_id)))?;
        disk.wait_durable_blocking(pending.position)?;
        metadata.publish(&pending);
        let image = metadata.image();
        let effective_config = configs::effective_config(&config, &image);
        let settings = Settings { config: &config, defaults: effective_config.topic_defaults() };
        let (partitions, report) =
            PartitionRegistry::open(&disk, &image, |topic| settings.log_config_of(topic), now)?;
        let partitions = Arc::new(partitions);
        let topics = (&*image, &partitions);
        let coordinators =
            Coordinators::new(coordination::settings(&config, &disk, &clock, topics, stop.coordinators));
        let broker = Broker {
            producer_ids: producer_ids::ProducerIds::default(),
            quota_meters: parking_lot::Mutex::new(quotas::meters(&config)),
            fetch_sessions: parking_lot::Mutex::new(FetchSessions::new(config.net.fetch_sessions_max)),
            topic_changes: tokio::sync::Mutex::new(()),
            listeners: ArcSwapOption::empty(),
            metadata_version: watch::Sender::new(0),
            effective_config: ArcSwap::from_pointee(effective_config),
            config,
            clock,
            disk,
            metadata,
            partitions,
            coordinators,
            interceptors: Arc::default(),
            partitioner_modules: ArcSwap::default(),
            shutdown: stop.clients,
        };
        broker.coordinators.start_loaded();
        Ok((Arc::new(broker), report))
    }

    /// The options that the broker was started with.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What judges records on their way between clients and topics.
    pub fn interceptors(&self) -> &Arc<Interceptors> {
        &self.interceptors
    }

    /// This broker's id.
    pub fn broker_id(&self) -> BrokerId {
        self.config.node_id
    }

    /// The metadata that is durable.
    pub fn metadata(&self) -> Arc<MetadataImage> {
        self.metadata.image()
    }

    /// Wakes after every change of the metadata.
    pub fn metadata_changes(&self) -> watch::Receiver<u64> {
        self.metadata_version.subscribe()
    }

    /// Says where clients are sent, once the listeners are bound.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        self.listeners.store(Some(Arc::new(endpoints)));
    }

    /// Where clients are sent who came in by `local`.
    pub fn advertised_for(&self, local: std::net::SocketAddr) -> (String, u16) {
        let listeners = self.listeners.load();
        let endpoint = listeners
            .as_ref()
            .and_then(|all| all.iter().find(|endpoint| endpoint.bound_port == local.port()));
        match endpoint {
            Some(Endpoint { host: Some(host), port, .. }) => (host.clone(), *port),
            Some(Endpoint { host: None, port, .. }) => (local.ip().to_canonical().to_string(), *port),
            None => (local.ip().to_canonical().to_string(), local.port()),
        }
    }

    /// The partition, if it exists here.
    pub fn partition(&self, topic_partition: &TopicPartition) -> Result<Arc<Partition>, BrokerError> {
        self.partitions.get(topic_partition).ok_or(BrokerError::UnknownPartition)
    }

    /// All partitions.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.all()
    }

    /// The log directories, as absolute paths, in the order of the configuration.
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.config.log_dirs.iter().map(absolute).collect()
    }

    /// The number of the log directory that holds a partition.
    pub fn log_dir_of(&self, topic_partition: &TopicPartition) -> usize {
        self.disk.directory_index(&topic_partition.to_string())
    }

    /// The room on a log directory's file system; `None` if it does not say.
    pub fn log_dir_space(&self, index: usize) -> Option<DiskSpace> {
        self.disk.space(index)
    }

    /// Waits until the journal is durable up to a position.
    pub async fn durable(&self, position: JournalPosition) -> Result<(), BrokerError> {
        Ok(self.disk.wait_durable(position).await?)
    }

    /// Waits until an append to a partition is durable and readable.
    pub async fn committed(
        &self,
        partition: &Partition,
        position: JournalPosition,
    ) -> Result<(), BrokerError> {
        self.disk.wait_durable(position).await?;
        partition.advance_high_watermark();
        Ok(())
    }

    /// Appends metadata records, waits for them to be durable, and makes them visible.
    async fn change_metadata(
        &self,
        decide: impl FnOnce(&MetadataImage) -> Result<Vec<MetadataRecord>, crate::metadata::MetadataRefusal>,
    ) -> Result<Arc<MetadataImage>, BrokerError> {
        let pending = self.metadata.change(self.clock.now(), decide)?;
        self.disk.wait_durable(pending.position).await?;
        self.metadata.publish(&pending);
        self.metadata_version.send_modify(|version| *version += 1);
        Ok(Arc::clone(pending.image()))
    }

    /// Tells the coordinators which topics there are; called after every change of topics, under `topic_changes`.
    async fn tell_topics(&self) {
        self.coordinators.topics_changed(coordination::known_topics(&self.metadata())).await;
    }

    /// Keeps, replaces or forgets what a higher room deploys; done when it is durable.
    pub async fn keep_deployment(&self, key: String, value: Option<Vec<u8>>) -> Result<(), BrokerError> {
        let record = MetadataRecord::Deployment { key, value };
        self.change_metadata(|_| Ok(vec![record])).await.map(|_| ())
    }

    /// Rolls, retains, forgets and checkpoints, until the broker stops.
    pub async fn maintain(self: Arc<Self>) {
        let mut shutdown = self.shutdown.clone();
        let interval = self.config.retention_check_interval.max(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let broker = Arc::clone(&self);
            let maintained = tokio::task::spawn_blocking(move || broker.maintain_once()).await;
            if let Ok(Err(error)) = maintained {
                tracing::error!(%error, "maintenance failed");
            }
        }
    }

    /// One round of maintenance over all partitions.
    pub fn maintain_once(&self) -> Result<(), BrokerError> {
        let now = self.clock.now();
        let mut deleted = Vec::new();
        for partition in self.partitions.all() {
            match partition.maintain(now) {
                Ok(segments) if segments.is_empty() => {}
                Ok(segments) => {
                    let count = segments.len();
                    tracing::info!(partition = %partition.topic_partition(), count, "retention deletes segments");
                    deleted.push(segments);
                }
                Err(error) => tracing::warn!(partition = %partition.topic_partition(), %error, "maintenance"),
            }
        }
        self.partitions.checkpoint()?;
        self.remove_segments(deleted)
    }

    /// Removes segments whose logs' new starts are recorded.
    fn remove_segments(&self, deleted: Vec<DeletedSegments>) -> Result<(), BrokerError> {
        for segments in deleted {
            segments.remove().map_err(|error| PartitionError::Offline(error.to_string()))?;
        }
        Ok(())
    }

    /// Closes all logs in an orderly shutdown.
    pub fn close(&self) -> Result<(), BrokerError> {
        self.metadata.close()?;
        self.partitions.close()?;
        Ok(self.disk.close()?)
    }
}

/// What every start writes: the cluster's id the first time, and that this broker is up.
fn start_records(image: &MetadataImage, broker_id: BrokerId) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    if image.cluster_id().is_empty() {
        let id = topics::random_topic_id();
        records.push(MetadataRecord::Cluster { cluster_id: crate::partition::kafka_uuid(id) });
    }
    records.push(MetadataRecord::RegisterBroker { broker_id: broker_id.value() });
    records
}

#[cfg(test)]
mod tests;
