use std::fs;

use super::*;
use crate::broker::fixture::TestBroker;
use crate::disk::{DiskOptions, SimDisk, SimFault};
use crate::ids::{PartitionIndex, ProducerEpoch, ProducerIdent, Sequence};
use crate::log::checkpoint_files::LOG_START_CHECKPOINT;
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, NewRecord, RecordBatch, Transactional,
};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);
const ID: &str = "topic_id: BwcHBwcHBwcHBwcHBwcHBw";

fn offset(value: i64) -> Offset {
    Offset::from_wire(value).expect("an offset")
}

/// A batch as it stands in a file, at an offset and in leader epoch 5.
fn batch_at(
    base_offset: i64,
    values: &[&str],
    producer: Option<i64>,
    transactional: Transactional,
) -> RecordBatch {
    let producer = producer.map(|id| BatchProducer {
        ident: ProducerIdent {
            id: ProducerId::from_wire(id).expect("an id"),
            epoch: ProducerEpoch::from_wire(0).expect("an epoch"),
        },
        base_sequence: Sequence::from_wire(0),
    });
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
    for value in values {
        builder.append(NewRecord {
            timestamp: NOW.ms(),
            value: Some(value.as_bytes()),
            ..Default::default()
        });
    }
    builder.build().stamped(offset(base_offset), LeaderEpoch::from_wire(5).expect("an epoch"))
}

fn plain(base_offset: i64, values: &[&str]) -> RecordBatch {
    batch_at(base_offset, values, None, Transactional::No)
}

/// A Kafka log directory in the making.
struct Kafka(tempfile::TempDir);

impl Kafka {
    fn new() -> Kafka {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("meta.properties"), "version=1\n").expect("written");
        Kafka(root)
    }

    /// Two closed segments with a gap between, one that goes on, and a producer with id 40.
    fn with_orders() -> Kafka {
        let kafka = Kafka::new();
        kafka.segment("orders-0", 0, &[plain(0, &["a", "b"]), plain(2, &["c"])]);
        kafka.segment("orders-0", 10, &[batch_at(11, &["d"], Some(40), Transactional::No)]);
        kafka.segment("orders-0", 20, &[plain(20, &["e", "f"])]);
        kafka.file("orders-0/leader-epoch-checkpoint", "0\n2\n2 0\n5 10\n");
        kafka.file("orders-0/partition.metadata", &format!("version: 0\n{ID}\n"));
        kafka
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn segment(&self, partition: &str, base_offset: i64, batches: &[RecordBatch]) {
        fs::create_dir_all(self.path(partition)).expect("made");
        let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
        fs::write(self.path(&format!("{partition}/{base_offset:020}.log")), bytes).expect("written");
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).expect("there");
        change(&mut bytes);
        fs::write(self.path(name), bytes).expect("written");
    }

    fn import_to(&self, sim: &SimDisk, torn_tails: TornTails) -> Result<ImportReport, ImportError> {
        let request =
            ImportRequest { sources: vec![self.0.path().to_owned()], torn_tails, extent: ImportExtent::Copy };
        import_to(sim, &request)
    }

    fn refused(&self, sim: &SimDisk) -> String {
        self.import_to(sim, TornTails::Refuse).expect_err("refused").to_string()
    }
}

fn import_to(sim: &SimDisk, request: &ImportRequest) -> Result<ImportReport, ImportError> {
    let (disk, _) = Disk::open_simulated(sim.clone(), DiskOptions::default())?;
    let report = import_log(&disk, &ServerConfig::default(), request, NOW)?;
    disk.close()?;
    Ok(report)
}

fn names_on(sim: &SimDisk) -> Vec<String> {
    let disk = Disk::simulated(sim.clone());
    disk.list("").expect("listed").into_iter().map(|entry| entry.name).collect()
}

fn partition_of(broker: &TestBroker, topic: &str) -> std::sync::Arc<crate::partition::Partition> {
    let topic_partition = TopicPartition::new(TopicName::new(topic), PartitionIndex::ZERO);
    broker.broker.partition(&topic_partition).expect("it is there")
}

#[tokio::test]
async fn what_kafka_wrote_is_read_from_where_it_began() {
    let kafka = Kafka::with_orders();
    kafka.file(LOG_START_CHECKPOINT, "0\n1\norders 0 2\n");
    let sim = SimDisk::new();
    let report = kafka.import_to(&sim, TornTails::Refuse).expect("good");
    assert_eq!(report.topics.len(), 1);
    assert_eq!(report.topics[0].partitions[0].offsets, Some((offset(2), offset(22))));

    let broker = TestBroker::on(&sim);
    assert_eq!(broker.values("orders", 0).await, ["c", "d", "e", "f"]);
    let image = broker.broker.metadata();
    let topic = image.topic("orders").expect("there");
    assert_eq!(topic.id, TopicId::from_bytes([7; 16]).expect("an id"));
    assert_eq!(topic.configs["retention.ms"], "-1");
    let offsets = partition_of(&broker, "orders").offsets();
    assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (offset(2), offset(22)));
    assert!(topic.partitions[0].leader_epoch > LeaderEpoch::from_wire(5).expect("an epoch"));
    assert_eq!(image.next_producer_id().value(), 41);
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_and_changes_nothing() {
    let kafka = Kafka::with_orders();
    kafka.change("orders-0/00000000000000000000.log", |bytes| *bytes.last_mut().expect("bytes") ^= 1);
    let sim = SimDisk::new();
    let refused = kafka.refused(&sim);
    assert!(refused.contains("orders-0/00000000000000000000.log is damaged: at byte "), "{refused}");
    // Not even on request: only an end can be torn.
    assert!(kafka.import_to(&sim, TornTails::Cut).is_err());
    assert!(names_on(&sim).iter().all(|name| !name.contains("orders") && !name.contains("import")));
    assert!(TestBroker::on(&sim).broker.metadata().topic("orders").is_none());
}

#[tokio::test]
async fn a_torn_end_is_cut_only_on_request() {
    let kafka = Kafka::with_orders();
    kafka.change("orders-0/00000000000000000020.log", |bytes| bytes.extend_from_slice(&[0; 9]));
    let sim = SimDisk::new();
    let refused = kafka.refused(&sim);
    assert!(refused.contains("ends in 9 bytes that are no batches, behind offset 22"), "{refused}");
    let report = kafka.import_to(&sim, TornTails::Cut).expect("good but for its end");
    assert_eq!(report.topics[0].partitions[0].bytes_cut, 9);
    assert_eq!(TestBroker::on(&sim).values("orders", 0).await.last().map(String::as_str), Some("f"));
}

#[tokio::test]
async fn a_topic_that_is_there_stays_as_it_is() {
    let sim = SimDisk::new();
    let kafka = Kafka::with_orders();
    kafka.import_to(&sim, TornTails::Refuse).expect("good");
    let refused = kafka.refused(&sim);
    assert!(refused.contains("topic orders cannot be created"), "{refused}");
    let renamed = Kafka::with_orders();
    fs::rename(renamed.path("orders-0"), renamed.path("other-0")).expect("renamed");
    let refused = renamed.refused(&sim);
    assert!(refused.contains("topic other has the id of topic orders"), "{refused}");
    assert_eq!(TestBroker::on(&sim).values("orders", 0).await.len(), 6);
}

#[test]
fn a_transaction_that_nobody_will_end_is_told() {
    let kafka = Kafka::new();
    kafka.segment("orders-0", 0, &[plain(0, &["a"]), batch_at(1, &["b"], Some(7), Transactional::Yes)]);
    let report = kafka.import_to(&SimDisk::new(), TornTails::Refuse).expect("good");
    let told = report.notes.iter().any(|note| note.contains("--topic orders --partition 0 --start-offset 1"));
    assert!(told, "{:?}", report.notes);
}

#[tokio::test]
async fn kafkas_own_topics_come_along_once() {
    let kafka = Kafka::with_orders();
    for partition in ["__consumer_offsets-0", "__consumer_offsets-1", "__share_group_state-0"] {
        kafka.segment(partition, 0, &[]);
    }
    let sim = SimDisk::new();
    let report = kafka.import_to(&sim, TornTails::Refuse).expect("good");
    let names: Vec<&str> = report.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["__consumer_offsets", "orders"]);
    assert!(report.notes.iter().any(|note| note.contains("__share_group_state is left out")));
    {
        let broker = TestBroker::on(&sim);
        let image = broker.broker.metadata();
        let offsets = image.topic(OFFSETS_TOPIC).expect("there");
        assert_eq!((offsets.partitions.len(), offsets.configs["cleanup.policy"].as_str()), (2, "compact"));
    }
    fs::remove_dir_all(kafka.path("orders-0")).expect("removed");
    let report = kafka.import_to(&sim, TornTails::Refuse).expect("nothing to do");
    assert!(report.topics.is_empty());
    let alone = ImportRequest {
        sources: vec![kafka.path("__consumer_offsets-0"), kafka.path("__consumer_offsets-1")],
        torn_tails: TornTails::Refuse,
        extent: ImportExtent::Copy,
    };
    let refused = import_to(&sim, &alone).expect_err("refused").to_string();
    assert!(refused.contains("has one of its own"), "{refused}");
}

#[test]
fn a_look_copies_nothing() {
    let kafka = Kafka::with_orders();
    let request = ImportRequest {
        sources: vec![kafka.path("orders-0")],
        torn_tails: TornTails::Refuse,
        extent: ImportExtent::Look,
    };
    let sim = SimDisk::new();
    let report = import_to(&sim, &request).expect("good");
    assert_eq!(report.topics[0].partitions[0].offsets, None);
    assert!(names_on(&sim).iter().all(|name| !name.contains("orders") && !name.contains("import")));
}

/// Whatever call fails, and whatever a power cut then leaves: the topic is there whole, or not at all
/// and the next import brings it.
#[tokio::test]
async fn an_import_that_is_cut_off_leaves_all_or_nothing() {
    let kafka = Kafka::with_orders();
    let mut calls = 0;
    loop {
        let sim = SimDisk::new();
        sim.fail_call(calls, SimFault::Io);
        let ended = kafka.import_to(&sim, TornTails::Refuse);
        let left = sim.crash(calls);
        let broker = TestBroker::on(&left);
        let imported = broker.broker.metadata().topic("orders").is_some();
        if imported {
            assert_eq!(broker.values("orders", 0).await.len(), 6, "after {calls} calls");
        }
        drop(broker);
        if ended.is_ok() {
            assert!(imported && calls > 20, "{calls} calls");
            return;
        }
        if !imported {
            kafka
                .import_to(&left, TornTails::Refuse)
                .unwrap_or_else(|error| panic!("{calls} calls: {error}"));
        }
        calls += 1;
    }
}
