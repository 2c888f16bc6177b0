//! The crash matrix of transactions, over the real log, disk and coordinators: the power is cut after
//! each step, in every way that the seed allows, and a new broker on what is left must have the whole
//! transaction or nothing of it.

mod ingress;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::fixture::TestBroker as Cluster;
use super::*;
use crate::coordinator::group::{
    CommittedPartition, Event, FetchPartitions, MemberOfGeneration, OffsetCommit, OffsetStability, Reply,
};
use crate::coordinator::txn::ClientApi;
use crate::disk::SimDisk;
use crate::error_code::ErrorCode;
use crate::ids::{
    CoordinatorEpoch, GroupId, Offset, PartitionIndex, ProducerIdent, Sequence, TopicName, TransactionalId,
};
use crate::log::AppendOrigin;
use crate::partition::Isolation;
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, NewRecord, RecordBatch, Transactional,
};

const API: ClientApi = ClientApi::TransactionAbortable;
const SEEDS: u64 = 12;

/// The steps of one transaction that writes to two topics and commits an offset, each a row of the
/// matrix: the power is cut right after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    InitLogged,
    FirstPartitionAddedAndDataAppendedNotDurable,
    FirstDataDurable,
    SecondDataDurable,
    OffsetCommitLogged,
    PrepareDurableMarkersUnderWay,
    CompleteLogged,
}

const STEPS: [Step; 7] = [
    Step::InitLogged,
    Step::FirstPartitionAddedAndDataAppendedNotDurable,
    Step::FirstDataDurable,
    Step::SecondDataDurable,
    Step::OffsetCommitLogged,
    Step::PrepareDurableMarkersUnderWay,
    Step::CompleteLogged,
];

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic), PartitionIndex::ZERO)
}

fn batch(producer: ProducerIdent, sequence: i32, value: &str) -> RecordBatch {
    let base_sequence = Sequence::from_wire(sequence);
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(BatchProducer { ident: producer, base_sequence }),
        transactional: Transactional::Yes,
        ..BatchOptions::default()
    });
    let value = Some(value.as_bytes());
    builder.append(NewRecord { timestamp: 1_000_000, key: None, value, headers: &[] });
    builder.build()
}

impl Cluster {
    async fn topics(&self) {
        for name in ["a", "b"] {
            let topic =
                NewTopic { name: TopicName::new(name), partitions: Some(1), configs: BTreeMap::new() };
            self.broker.create_topic(&topic).await.expect("creates");
        }
    }

    async fn init(&self) -> ProducerIdent {
        loop {
            match self.broker.init_producer_id(TransactionalId::new("pay"), 60_000, None, API).await {
                Ok(ident) => return ident,
                Err(error) if error.code() == ErrorCode::ConcurrentTransactions => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn append(&self, producer: ProducerIdent, topic: &str) -> Result<JournalPosition, BrokerError> {
        let transaction = TransactionalProduce {
            transactional_id: TransactionalId::new("pay"),
            version: TransactionVersion::V2,
            api: API,
        };
        let to = self.broker.partition(&partition(topic))?;
        let (_, committed) = self
            .broker
            .append(to, &batch(producer, 0, topic), AppendOrigin::Client, Some(transaction))
            .await?;
        Ok(committed.position)
    }

    async fn append_durably(&self, producer: ProducerIdent, topic: &str) {
        let position = self.append(producer, topic).await.expect("appends");
        let to = self.broker.partition(&partition(topic)).expect("exists");
        self.broker.committed(&to, position).await.expect("durable");
    }

    async fn commit_offset(&self, producer: ProducerIdent) {
        let committed = CommittedPartition {
            partition: partition("a"),
            offset: Offset::ZERO.plus(7),
            leader_epoch: None,
            metadata: String::new(),
        };
        let commit = OffsetCommit {
            group: GroupId::new("g"),
            member: MemberOfGeneration::NOBODY,
            partitions: vec![committed],
        };
        let id = TransactionalId::new("pay");
        let pending = self
            .broker
            .commit_offsets_in_transaction(id, producer, commit, TransactionVersion::V2, API)
            .await;
        let results = pending.expect("asks").await.expect("answers");
        assert!(results.iter().all(|(_, code)| *code == ErrorCode::None), "{results:?}");
    }

    async fn end(
        &self,
        producer: ProducerIdent,
        result: EndTransaction,
    ) -> Result<ProducerIdent, BrokerError> {
        let id = TransactionalId::new("pay");
        self.broker.end_transaction(id, producer, result, API, TransactionVersion::V2).await
    }

    async fn wait_until_complete(&self) {
        loop {
            let described = self.broker.describe_transaction(TransactionalId::new("pay")).await;
            if described.expect("is known").state.name().starts_with("Complete") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs the transaction up to a step and gives the producer that it used.
    async fn run_to(&self, last: Step) -> ProducerIdent {
        let producer = self.init().await;
        for step in STEPS.into_iter().skip(1).take_while(|step| *step <= last) {
            match step {
                Step::InitLogged => {}
                Step::FirstPartitionAddedAndDataAppendedNotDurable => {
                    self.append(producer, "a").await.expect("appends");
                }
                Step::FirstDataDurable => self.append_durably(producer, "a").await,
                Step::SecondDataDurable => self.append_durably(producer, "b").await,
                Step::OffsetCommitLogged => self.commit_offset(producer).await,
                Step::PrepareDurableMarkersUnderWay => {
                    self.end(producer, EndTransaction::Commit).await.expect("commits");
                }
                Step::CompleteLogged => self.wait_until_complete().await,
            }
        }
        producer
    }

    /// How many records a read-committed consumer sees.
    async fn visible(&self, topic: &str) -> usize {
        let wanted = FetchPartition {
            topic_partition: partition(topic),
            topic_id: None,
            offset: Offset::ZERO,
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
        let fetched = self.broker.fetch(&request).await.pop().expect("one answer").expect("no error");
        let mut bytes: Bytes = fetched.read.to_bytes().expect("reads");
        let mut records = 0;
        while let Some(batch) = RecordBatch::take_first(&mut bytes).expect("whole batches") {
            let header = batch.header();
            let producer = header.producer.map(|producer| producer.ident.id);
            // One transaction a topic: an aborted one of this producer that begins here hides it.
            let is_aborted = fetched.aborted.iter().any(|aborted| {
                Some(aborted.producer_id) == producer && aborted.first_offset == header.base_offset
            });
            if !header.is_control && !is_aborted {
                records += 1;
            }
        }
        records
    }

    async fn committed_offset(&self) -> Option<Offset> {
        let group = GroupId::new("g");
        let of = group.clone();
        let partitions = FetchPartitions::These(vec![partition("a")]);
        let stability = OffsetStability::RequireStable;
        let event =
            move |request| Event::OffsetFetch { request, group: of, member: None, partitions, stability };
        let pending = self.broker.ask_group(&group, event).await.expect("asks");
        match pending.answer().await.expect("answers") {
            Reply::OffsetFetch(Ok(offsets)) => {
                assert_eq!(offsets[0].error, ErrorCode::None, "nothing is left undecided");
                offsets[0].offset
            }
            other => panic!("{other:?}"),
        }
    }

    /// A new owner takes the id over, which decides whatever was left open; then everything of the
    /// transaction is there, or nothing.
    async fn check(&self, step: Step, old: ProducerIdent, context: &str) {
        let new = self.init().await;
        assert!(new.epoch > old.epoch || new.id != old.id, "{context}: the old producer is fenced");
        let commit_was_acknowledged = step >= Step::PrepareDurableMarkersUnderWay;
        let expected = usize::from(commit_was_acknowledged);
        self.settle().await;
        assert_eq!(self.visible("a").await, expected, "{context}: topic a");
        assert_eq!(self.visible("b").await, expected, "{context}: topic b");
        let offset = commit_was_acknowledged.then(|| Offset::ZERO.plus(7));
        assert_eq!(self.committed_offset().await, offset, "{context}: the group's offset");
        let fenced = self.append(old, "a").await;
        assert!(fenced.is_err(), "{context}: the old producer appends nothing");
        self.settle().await;
        assert_eq!(self.visible("a").await, expected, "{context}: nothing came of the old producer");
    }

    /// Every partition's last stable offset reaches its end: nothing hangs.
    async fn settle(&self) {
        for _ in 0..2_000 {
            let is_settled = |partition: &Arc<Partition>| {
                let offsets = partition.offsets();
                offsets.last_stable_offset == offsets.log_end_offset
            };
            if self.broker.partitions().iter().all(is_settled) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let offsets: Vec<_> =
            self.broker.partitions().iter().map(|p| (p.topic_partition().to_string(), p.offsets())).collect();
        panic!("a transaction hangs: {offsets:?}");
    }
}

#[tokio::test]
async fn after_a_power_cut_at_any_step_a_transaction_is_there_whole_or_not_at_all() {
    for step in STEPS {
        for seed in 0..SEEDS {
            let sim = SimDisk::new();
            let cluster = Cluster::on(&sim);
            cluster.topics().await;
            let old = cluster.run_to(step).await;
            let left = sim.crash(seed);
            drop(cluster);
            let reopened = Cluster::on(&left);
            reopened.check(step, old, &format!("{step:?}, seed {seed}")).await;
        }
    }
}

#[tokio::test]
async fn a_second_power_cut_while_the_first_is_being_repaired_changes_nothing() {
    for step in [Step::OffsetCommitLogged, Step::PrepareDurableMarkersUnderWay] {
        for seed in 0..SEEDS {
            let sim = SimDisk::new();
            let cluster = Cluster::on(&sim);
            cluster.topics().await;
            let old = cluster.run_to(step).await;
            let once = sim.crash(seed);
            let repairing = Cluster::on(&once);
            // As far as the coordinators come on their own in these few turns.
            for _ in 0..seed {
                tokio::task::yield_now().await;
            }
            let twice = once.crash(seed.wrapping_mul(31));
            drop(repairing);
            Cluster::on(&twice).check(step, old, &format!("{step:?}, twice, seed {seed}")).await;
        }
    }
}

#[tokio::test]
async fn a_commit_asked_for_again_answers_the_same_and_an_abort_after_it_is_refused() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    cluster.topics().await;
    let producer = cluster.run_to(Step::SecondDataDurable).await;
    let next = cluster.end(producer, EndTransaction::Commit).await.expect("commits");
    cluster.wait_until_complete().await;
    assert_eq!(cluster.end(producer, EndTransaction::Commit).await.expect("a retry"), next);
    let refused = cluster.end(producer, EndTransaction::Abort).await.expect_err("decided already");
    assert_eq!(refused.code(), ErrorCode::InvalidTxnState);
}

#[tokio::test]
async fn a_deleted_and_recreated_topic_starts_empty_and_the_old_files_are_gone() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    cluster.topics().await;
    cluster.run_to(Step::CompleteLogged).await;
    let old_id = cluster.broker.partition(&partition("a")).expect("exists").topic_id();
    cluster.broker.delete_topic(&TopicName::new("a")).await.expect("deletes");
    assert!(cluster.broker.partition(&partition("a")).is_err());
    let topic = NewTopic { name: TopicName::new("a"), partitions: Some(1), configs: BTreeMap::new() };
    cluster.broker.create_topic(&topic).await.expect("creates again");
    let again = cluster.broker.partition(&partition("a")).expect("exists");
    assert_ne!(again.topic_id(), old_id);
    assert_eq!(again.offsets().log_end_offset, Offset::ZERO);
}

/// What the checkpoint files say of a partition of this name is the old topic's.
#[tokio::test]
async fn a_recreated_topic_opens_after_a_power_cut_whatever_was_recorded_of_the_old_one() {
    for checkpoint_between in [true, false] {
        let sim = SimDisk::new();
        let cluster = Cluster::on(&sim);
        cluster.topics().await;
        cluster.run_to(Step::CompleteLogged).await;
        cluster.broker.maintain_once().expect("checkpoints");
        cluster.broker.delete_records(&partition("a"), None).expect("deletes");
        cluster.broker.delete_topic(&TopicName::new("a")).await.expect("deletes");
        if checkpoint_between {
            cluster.broker.maintain_once().expect("checkpoints");
        }
        let topic = NewTopic { name: TopicName::new("a"), partitions: Some(1), configs: BTreeMap::new() };
        cluster.broker.create_topic(&topic).await.expect("creates again");
        let producer = cluster.init().await;
        cluster.append_durably(producer, "a").await;
        cluster.end(producer, EndTransaction::Commit).await.expect("commits");
        cluster.wait_until_complete().await;
        let after = Cluster::on(&sim.crash(1));
        assert_eq!(after.visible("a").await, 1);
    }
}

/// The guard against late requests was taken once, and the last transaction's marker made it void.
#[tokio::test]
async fn a_transaction_that_begins_while_the_last_one_s_markers_are_written_is_not_refused() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    cluster.topics().await;
    let mut producer = cluster.init().await;
    for turn in 0..50 {
        let (a, b) = tokio::join!(cluster.append(producer, "a"), cluster.append(producer, "b"));
        a.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        b.unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        producer = cluster.end(producer, EndTransaction::Commit).await.expect("commits");
    }
    cluster.settle().await;
    assert_eq!(cluster.visible("a").await, 50);
}

/// A group's shard applies before its log is asked: what the log would refuse must be stopped before.
#[tokio::test]
async fn a_marker_that_a_groups_log_refuses_leaves_the_group_as_it_was() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    cluster.topics().await;
    let first = cluster.init().await;
    cluster.commit_offset(first).await;
    cluster.end(first, EndTransaction::Commit).await.expect("commits");
    cluster.wait_until_complete().await;
    let group = GroupId::new("g");
    let group_partition = cluster.broker.group_partition(&group).await.expect("has a partition");
    let end_of_log = || {
        let partition = cluster.broker.partition(&group_partition).expect("exists");
        partition.offsets().log_end_offset
    };
    let before = end_of_log();
    let stale = EndTransactionMarker {
        producer: first,
        result: EndTransaction::Abort,
        coordinator_epoch: CoordinatorEpoch::ZERO,
    };
    let code = cluster.broker.write_marker(&group_partition, &stale, TransactionVersion::V2).await;
    assert_eq!((code, end_of_log()), (ErrorCode::InvalidProducerEpoch, before));
    // The shard still answers at once, and with what was committed.
    assert_eq!(cluster.committed_offset().await, Some(Offset::ZERO.plus(7)));
}

/// The coordinators' own logs are compacted like any other, and loading them gives what was there.
#[tokio::test]
async fn coordinators_load_what_compaction_has_left_of_their_logs() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    cluster.topics().await;
    let mut producer = cluster.init().await;
    for turn in 0..30 {
        cluster.append_durably(producer, "a").await;
        cluster.commit_offset(producer).await;
        let result = if turn % 3 == 2 { EndTransaction::Abort } else { EndTransaction::Commit };
        producer = cluster.end(producer, result).await.expect("ends");
        cluster.wait_until_complete().await;
    }
    cluster.settle().await;
    let internal = || {
        let partitions = cluster.broker.partitions();
        partitions
            .into_iter()
            .filter(|partition| partition.topic_partition().topic.as_str().starts_with("__"))
    };
    let bytes = || internal().map(|partition| partition.size_bytes()).sum::<u64>();
    let before = bytes();
    // Their segments are old enough to be closed.
    cluster.broker.clock().advance(Duration::from_secs(8 * 24 * 3600));
    cluster.broker.maintain_once().expect("rolls");
    let mut uncleanable = Uncleanable::default();
    cluster.broker.clean_once(1 << 20, &mut uncleanable).expect("compacts");
    assert!(bytes() < before / 4, "{} of {before} bytes are left", bytes());
    assert!(sim_has(&sim, "cleaner-offset-checkpoint"));
    for seed in 0..SEEDS {
        let reopened = Cluster::on(&sim.crash(seed));
        let described = reopened.broker.describe_transaction(TransactionalId::new("pay")).await;
        assert_eq!(described.expect("is known").state.name(), "CompleteAbort", "seed {seed}");
        let next = reopened.init().await;
        assert!(next.epoch > producer.epoch || next.id != producer.id, "seed {seed}");
        assert_eq!(reopened.committed_offset().await, Some(Offset::ZERO.plus(7)), "seed {seed}");
        for partition in reopened.broker.partitions() {
            let live = cluster.broker.partition(partition.topic_partition()).expect("exists");
            assert_eq!(partition.cleaned_to(), live.cleaned_to(), "seed {seed}");
        }
    }
}

fn sim_has(sim: &SimDisk, path: &str) -> bool {
    Disk::simulated(sim.crash(0)).exists(path).expect("looks")
}

#[tokio::test]
async fn a_deleted_topics_compaction_says_nothing_of_the_next_one_of_its_name() {
    let sim = SimDisk::new();
    let cluster = Cluster::on(&sim);
    let configs = [("cleanup.policy", "compact"), ("segment.ms", "1"), ("min.cleanable.dirty.ratio", "0.01")];
    let configs = configs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let topic = || NewTopic {
        name: TopicName::new("a"),
        partitions: Some(1),
        configs: BTreeMap::from(configs.clone()),
    };
    cluster.broker.create_topic(&topic()).await.expect("creates");
    let producer = cluster.init().await;
    cluster.append_durably(producer, "a").await;
    cluster.end(producer, EndTransaction::Commit).await.expect("commits");
    cluster.settle().await;
    cluster.broker.clock().advance(Duration::from_secs(1));
    cluster.broker.maintain_once().expect("rolls");
    cluster.broker.clean_once(1 << 20, &mut Uncleanable::default()).expect("compacts");
    let old = cluster.broker.partition(&partition("a")).expect("exists");
    assert_eq!(old.cleaned_to(), Some(Offset::ZERO.plus(2)));
    cluster.broker.delete_topic(&TopicName::new("a")).await.expect("deletes");
    let limits = crate::partition::CleaningLimits {
        key_map_bytes_max: 1 << 20,
        now: cluster.broker.clock().now(),
        should_stop: &|| false,
    };
    assert!(old.clean(limits).is_err(), "its directory may be another's");
    cluster.broker.create_topic(&topic()).await.expect("creates again");
    let reopened = Cluster::on(&sim.crash(3));
    for broker in [&cluster.broker, &reopened.broker] {
        assert_eq!(broker.partition(&partition("a")).expect("exists").cleaned_to(), None);
    }
}
