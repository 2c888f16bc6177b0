//! Topics with a partitioner: where clients' batches go, and that both topics come, grow and go together.

use std::sync::Arc;

use super::*;
use crate::broker::PartitionerModules;
use crate::config::topic_config::{ConfigOperation, PARTITIONER, PARTITIONER_CONFIG};
use crate::interceptor::Client;
use crate::wire::record_batch::ZstdRule;

const INGRESS: &str = "__ingress.t";

fn cluster(sim: &SimDisk) -> Cluster {
    let cluster = Cluster::on(sim);
    let modules = PartitionerModules::from_pointee(["chooser".to_owned()].into());
    cluster.broker.set_partitioner_modules(Arc::new(modules));
    cluster
}

fn settings(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn topic(name: &str, configs: &[(&str, &str)]) -> NewTopic {
    NewTopic { name: TopicName::new(name), partitions: Some(2), configs: settings(configs) }
}

fn refusal<T>(result: Result<T, BrokerError>) -> (ErrorCode, String) {
    let error = result.err().expect("is refused");
    (error.code(), error.explanation())
}

impl Cluster {
    async fn set(&self, key: &str, operation: ConfigOperation) -> Result<(), BrokerError> {
        let operations = vec![(key.to_owned(), operation)];
        self.broker.alter_topic_configs(&TopicName::new("t"), operations, ChangeMode::Apply).await
    }

    async fn produce(&self, batch: &RecordBatch) -> Result<(String, Offset), BrokerError> {
        let transaction = batch.header().is_transactional.then(|| TransactionalProduce {
            transactional_id: TransactionalId::new("pay"),
            version: TransactionVersion::V2,
            api: API,
        });
        self.produce_in(batch, transaction).await
    }

    async fn produce_in(
        &self,
        batch: &RecordBatch,
        transaction: Option<TransactionalProduce>,
    ) -> Result<(String, Offset), BrokerError> {
        let client = Client { principal: "User:ANONYMOUS".into(), client_id: "test".to_owned() };
        let bytes = batch.bytes().clone();
        let batch =
            ClientBatch { topic_partition: partition("t"), bytes, zstd: ZstdRule::Allowed, transaction };
        let produced = self.broker.produce(batch, &client).await?;
        self.broker.committed(&produced.partition, produced.committed.position).await?;
        Ok((produced.partition.topic_partition().to_string(), produced.committed.base_offset))
    }

    fn partitions_of(&self, topic: &str) -> Option<i32> {
        let count = self.broker.metadata().topic(topic)?.partition_count();
        let all = (0..count).map(|index| {
            TopicPartition::new(TopicName::new(topic), PartitionIndex::from_wire(index).expect("is one"))
        });
        for partition in all {
            self.broker.partition(&partition).expect("has its log");
        }
        Some(count)
    }
}

fn idempotent(sequence: i32) -> RecordBatch {
    let id = crate::ids::ProducerId::from_wire(77).expect("is one");
    let epoch = crate::ids::ProducerEpoch::from_wire(0).expect("is one");
    let ident = ProducerIdent { id, epoch };
    let base_sequence = Sequence::from_wire(sequence);
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(BatchProducer { ident, base_sequence }),
        ..BatchOptions::default()
    });
    builder.append(NewRecord { timestamp: 1_000_000, key: None, value: Some(b"v"), headers: &[] });
    builder.build()
}

#[tokio::test]
async fn a_partitioner_must_exist_and_its_configuration_make_sense() {
    let sim = SimDisk::new();
    let cluster = cluster(&sim);
    let (code, why) = refusal(cluster.broker.create_topic(&topic("t", &[(PARTITIONER, "choser")])).await);
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(why.contains("there is no partitioner \"choser\""), "{why}");
    let orphan = [(PARTITIONER_CONFIG, "word=x")];
    let (code, why) = refusal(cluster.broker.create_topic(&topic("t", &orphan)).await);
    assert_eq!(
        (code, why.as_str()),
        (ErrorCode::InvalidConfig, "tidemill.partitioner.config is set, and tidemill.partitioner is not")
    );
    let nonsense = [(PARTITIONER, "chooser"), (PARTITIONER_CONFIG, "word")];
    let (_, why) = refusal(cluster.broker.create_topic(&topic("t", &nonsense)).await);
    assert_eq!(why, "tidemill.partitioner.config: \"word\" is not name=value");
    let long = "x".repeat(240);
    let (_, why) = refusal(cluster.broker.create_topic(&topic(&long, &[(PARTITIONER, "chooser")])).await);
    assert!(why.contains("at most 239 characters"), "{why}");
    assert_eq!(cluster.broker.metadata().topics().count(), 0);
    // A topic that has one keeps it, and may change its other settings, after the module has gone.
    cluster.broker.create_topic(&topic("t", &[(PARTITIONER, "chooser")])).await.expect("creates");
    cluster.broker.set_partitioner_modules(Arc::default());
    cluster.set("retention.ms", ConfigOperation::Set("5".to_owned())).await.expect("sets");
    let (code, _) = refusal(cluster.set(PARTITIONER, ConfigOperation::Set("other".to_owned())).await);
    assert_eq!(code, ErrorCode::InvalidConfig);
}

#[tokio::test]
async fn a_topic_and_its_ingress_come_grow_and_go_together() {
    let sim = SimDisk::new();
    let cluster = cluster(&sim);
    cluster.broker.create_topic(&topic("t", &[(PARTITIONER, "chooser")])).await.expect("creates");
    assert_eq!((cluster.partitions_of("t"), cluster.partitions_of(INGRESS)), (Some(2), Some(2)));
    cluster.broker.create_partitions(&TopicName::new("t"), 5).await.expect("grows");
    assert_eq!((cluster.partitions_of("t"), cluster.partitions_of(INGRESS)), (Some(5), Some(5)));
    let (code, _) = refusal(cluster.broker.delete_topic(&TopicName::new(INGRESS)).await);
    assert_eq!(code, ErrorCode::InvalidTopicException);
    cluster.broker.delete_topic(&TopicName::new("t")).await.expect("deletes");
    assert_eq!((cluster.partitions_of("t"), cluster.partitions_of(INGRESS)), (None, None));
    assert!(cluster.broker.partition(&partition(INGRESS)).is_err());
    cluster.broker.create_topic(&topic("t", &[])).await.expect("creates");
    assert_eq!(cluster.partitions_of(INGRESS), None);
    assert!(cluster.broker.ingresses().is_empty());
    // A topic that has records already gets one as well, with the bounds that clients know.
    cluster.set("max.message.bytes", ConfigOperation::Set("5000".to_owned())).await.expect("sets");
    cluster.set(PARTITIONER, ConfigOperation::Set("chooser".to_owned())).await.expect("sets");
    assert_eq!(cluster.partitions_of(INGRESS), Some(2));
    cluster.set("max.message.bytes", ConfigOperation::Set("6000".to_owned())).await.expect("sets");
    let image = cluster.broker.metadata();
    let ingress = image.topic(INGRESS).expect("is there");
    let expected = [("max.message.bytes", "6000"), ("retention.ms", "-1"), ("cleanup.policy", "delete")];
    for (key, value) in expected {
        assert_eq!(ingress.configs.get(key).map(String::as_str), Some(value), "{key}");
    }
    drop(cluster);
    let cluster = Cluster::on(&sim.crash(7));
    assert_eq!((cluster.partitions_of("t"), cluster.partitions_of(INGRESS)), (Some(2), Some(2)));
}

#[tokio::test]
async fn batches_go_to_the_ingress_while_there_is_a_partitioner_and_copies_to_their_first() {
    let sim = SimDisk::new();
    let cluster = cluster(&sim);
    cluster.broker.create_topic(&topic("t", &[])).await.expect("creates");
    let place = |name: &str, offset: i64| (format!("{name}-0"), Offset::ZERO.plus(offset));
    assert_eq!(cluster.produce(&idempotent(0)).await.expect("appends"), place("t", 0));
    cluster.set(PARTITIONER, ConfigOperation::Set("chooser".to_owned())).await.expect("sets");
    // The answer was lost, and the batch comes again after the change.
    assert_eq!(cluster.produce(&idempotent(0)).await.expect("is known"), place("t", 0));
    assert_eq!(cluster.produce(&idempotent(1)).await.expect("appends"), place(INGRESS, 0));
    assert_eq!(cluster.produce(&idempotent(1)).await.expect("is known"), place(INGRESS, 0));
    assert_eq!(cluster.produce(&idempotent(2)).await.expect("appends"), place(INGRESS, 1));
    assert_eq!(cluster.produce(&idempotent(2)).await.expect("is known"), place(INGRESS, 1));
    cluster.set(PARTITIONER, ConfigOperation::Delete).await.expect("sets");
    assert_eq!(cluster.produce(&idempotent(2)).await.expect("is known"), place(INGRESS, 1));
    // The topic's own log missed two batches of this producer: Kafka's answer makes it begin a new epoch.
    let (code, _) = refusal(cluster.produce(&idempotent(3)).await);
    assert_eq!(code, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(cluster.broker.ingresses().len(), 1, "what it holds is still to be moved");
}

#[tokio::test]
async fn a_transaction_on_a_topic_with_a_partitioner_ends_in_its_ingress() {
    for (result, visible) in [(EndTransaction::Commit, 1), (EndTransaction::Abort, 0)] {
        for version in [TransactionVersion::V1, TransactionVersion::V2] {
            let sim = SimDisk::new();
            let cluster = cluster(&sim);
            cluster.broker.create_topic(&topic("t", &[(PARTITIONER, "chooser")])).await.expect("creates");
            let producer = cluster.init().await;
            let transactional_id = TransactionalId::new("pay");
            let target = cluster.broker.transaction_target(&partition("t"));
            assert_eq!(target, partition(INGRESS));
            if version == TransactionVersion::V1 {
                let add = AddToTransaction {
                    transactional_id: transactional_id.clone(),
                    producer,
                    partitions: vec![target],
                    api: API,
                    version,
                };
                cluster.broker.add_to_transaction(add).await.expect("adds");
            }
            let transaction = TransactionalProduce { transactional_id, version, api: API };
            let batch = batch(producer, 0, "v");
            let (place, _) = cluster.produce_in(&batch, Some(transaction)).await.expect("appends");
            assert_eq!(place, "__ingress.t-0");
            assert_eq!(cluster.visible(INGRESS).await, 0, "undecided");
            cluster.end(producer, result).await.expect("ends");
            cluster.wait_until_complete().await;
            assert_eq!(cluster.visible(INGRESS).await, visible, "{result:?} {version:?}");
            assert_eq!(cluster.visible("t").await, 0);
        }
    }
}

#[tokio::test]
async fn what_has_been_moved_is_let_go_of_with_its_segments() {
    let sim = SimDisk::new();
    let cluster = cluster(&sim);
    cluster.broker.create_topic(&topic("t", &[(PARTITIONER, "chooser")])).await.expect("creates");
    for sequence in 0..5 {
        cluster.produce(&idempotent(sequence)).await.expect("appends");
    }
    let ingress = partition(INGRESS);
    cluster.broker.forget_moved(&ingress, Offset::ZERO.plus(3)).expect("forgets");
    cluster.broker.forget_moved(&ingress, Offset::ZERO.plus(2)).expect("knows that already");
    let start = || cluster.broker.partition(&ingress).expect("exists").offsets().log_start_offset;
    assert_eq!(start(), Offset::ZERO.plus(3));
    // The producer's next sequence is the same as ever.
    cluster.produce(&idempotent(5)).await.expect("appends");
}
