//! A broker on a simulated disk, for the tests of this room and of those above. Never shipped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::broker::{Broker, FetchPartition, FetchRequest, NewTopic, Stop};
use crate::clock::{Clock, Timestamp};
use crate::config::ServerConfig;
use crate::disk::{Disk, SimDisk};
use crate::ids::{Offset, PartitionIndex, TopicName, TopicPartition};
use crate::partition::Isolation;
use crate::wire::record_batch::RecordBatch;

/// A broker that has not been told to stop. Needs the async runtime.
pub(crate) struct TestBroker {
    pub(crate) broker: Arc<Broker>,
    _stop: (watch::Sender<bool>, watch::Sender<bool>),
}

impl TestBroker {
    /// A broker on an empty disk.
    pub(crate) fn new() -> TestBroker {
        TestBroker::on(&SimDisk::new())
    }

    /// A broker on what a disk holds.
    pub(crate) fn on(sim: &SimDisk) -> TestBroker {
        let mut config = ServerConfig::default();
        config.groups.offsets_topic_partitions = 2;
        config.transactions.state_log_partitions = 2;
        let (clients, clients_stop) = watch::channel(false);
        let (coordinators, coordinators_stop) = watch::channel(false);
        let stop = Stop { clients: clients_stop, coordinators: coordinators_stop };
        let disk = Disk::simulated(sim.clone());
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        let (broker, _) = Broker::open(config, disk, clock, stop).expect("opens what a crash leaves");
        TestBroker { broker, _stop: (clients, coordinators) }
    }

    /// Creates a topic with these settings.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let (name, configs) = (TopicName::new(name), configs.collect::<BTreeMap<_, _>>());
        let topic = NewTopic { name, partitions: Some(partitions), configs };
        self.broker.create_topic(&topic).await.expect("creates");
    }

    /// The batches of a partition that consumers can see, from the log's start on.
    pub(crate) async fn batches(&self, topic: &str, partition: i32) -> Vec<RecordBatch> {
        let index = PartitionIndex::from_wire(partition).expect("tests name real partitions");
        let topic_partition = TopicPartition::new(TopicName::new(topic), index);
        let mut offset = self.broker.partition(&topic_partition).unwrap().offsets().log_start_offset;
        let mut batches: Vec<RecordBatch> = Vec::new();
        loop {
            let mut bytes = self.fetch(topic_partition.clone(), offset).await;
            if bytes.is_empty() {
                return batches;
            }
            while let Some(batch) = RecordBatch::take_first(&mut bytes).unwrap() {
                offset = batch.header().last_offset().next();
                batches.push(batch);
            }
        }
    }

    /// One fetch, which ends with the segment at the latest.
    async fn fetch(&self, topic_partition: TopicPartition, offset: Offset) -> Bytes {
        let wanted = FetchPartition {
            topic_partition,
            topic_id: None,
            offset,
            bytes_max: 1 << 20,
            current_leader_epoch: None,
        };
        let request = FetchRequest {
            partitions: vec![wanted],
            isolation: Isolation::ReadCommitted,
            bytes_min: 0,
            bytes_max: 1 << 20,
            wait_max: Duration::ZERO,
        };
        let fetched = self.broker.fetch(&request).await.pop().unwrap().unwrap();
        fetched.read.to_bytes().unwrap()
    }

    /// The values of a partition that consumers can see, as text.
    pub(crate) async fn values(&self, topic: &str, partition: i32) -> Vec<String> {
        let mut values = Vec::new();
        for batch in self.batches(topic, partition).await {
            for record in &batch.records(1 << 20).unwrap() {
                let value = record.unwrap().value.unwrap_or(b"null");
                values.push(String::from_utf8_lossy(value).into_owned());
            }
        }
        values
    }
}
