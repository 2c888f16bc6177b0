//! Partitioners: of topics, of processors, and the movers that carry an ingress to where its topic's chooses.

use std::sync::atomic::Ordering;

use super::*;
use crate::broker::{Ingress, TopicPartitioner};
use crate::ids::TopicName;
use crate::processor::memory_backend::{Call, Fault};
use crate::processor::movers::mover_of;
use crate::processor::placement::Partitioner;
use crate::processor::registry::RegistryError;
use crate::processor::supervisor::ProcessorState;
use crate::wire::control_record::EndTransaction;

const INGRESS: &str = "__ingress.out";

/// A fixture with a partitioner in the catalogue, under the name `chooser`, and an output of four partitions.
async fn with_chooser() -> (Fixture, String) {
    let fixture = Fixture::new().await;
    fixture.cluster.with(|cluster| {
        cluster.grow_topic("out", 4);
        cluster.ensure_topic(INGRESS, 1);
        cluster.ensure_topic("out.dlq", 1);
    });
    let digest = put_module(&fixture, b"partitioner", "chooser").await.unwrap();
    (fixture, digest)
}

async fn put_module(fixture: &Fixture, module: &[u8], name: &str) -> Result<String, RegistryError> {
    let described = fixture.host.compile(module).unwrap();
    let entry = ModuleEntry {
        digest: described.digest.to_string(),
        names: [name.to_owned()].into(),
        world: described.world.to_string(),
        imports: vec![],
        module_bytes: 1,
        compiled_bytes: 1,
        compile_ms: 1,
    };
    fixture.registry.put_module(entry).await.map(|entry| entry.digest)
}

fn chooser(config: &[(&str, &str)]) -> TopicPartitioner {
    let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TopicPartitioner { module: "chooser".to_owned(), config }
}

/// Values by partition, in order.
fn placed(fixture: &Fixture, topic: &str) -> Vec<(i32, String)> {
    let records = fixture.cluster.with(|cluster| cluster.committed_records(topic));
    let place = |record: crate::processor::memory_backend::CommittedRecord| {
        (record.partition, record.value.unwrap_or_default())
    };
    records.into_iter().map(place).collect()
}

fn at(places: &[(i32, &str)]) -> Vec<(i32, String)> {
    places.iter().map(|(partition, value)| (*partition, (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_topics_partitioner_decides_for_every_record_whatever_the_module_says() {
    let (fixture, digest) = with_chooser().await;
    fixture.cluster.with(|cluster| cluster.set_partitioner("out", chooser(&[("offset", "1")])));
    let mut definition = fixture.definition();
    let own = Partitioner { module: digest, config: Default::default() };
    definition.partitioners.insert("out".to_owned(), own);
    fixture.deploy(definition).await;
    fixture.append(&["0 a", "at 3", "2 b", "0 c"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(1, "0 a"), (1, "at 3"), (1, "0 c"), (3, "2 b")]));
    assert_eq!(fixture.host.partitioners_closed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_processors_partitioner_decides_where_the_module_leaves_it_open() {
    let (fixture, digest) = with_chooser().await;
    let mut definition = fixture.definition();
    let own = Partitioner { module: digest, config: Default::default() };
    definition.partitioners.insert("out".to_owned(), own);
    fixture.deploy(definition).await;
    fixture.append(&["2 a", "at 3", "1 b"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(1, "1 b"), (2, "2 a"), (3, "at 3")]));
}

#[tokio::test]
async fn a_record_that_a_partitioner_fails_on_is_a_dead_letter_alone() {
    let (fixture, _) = with_chooser().await;
    fixture.cluster.with(|cluster| cluster.set_partitioner("out", chooser(&[])));
    fixture.deploy(fixture.definition()).await;
    // The fake module echoes `to out poison` as `poison`, on which the partitioner fails.
    fixture.append(&["1 a", "to out poison 1", "2 b", "to out trap 2", "9 c", "to out panic 3", "3 d"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.dead_letters == 4).await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(1, "1 a"), (2, "2 b"), (3, "3 d")]));
    let letters = fixture.values("p.dlq");
    assert_eq!(letters, ["9 c", "to out panic 3", "to out poison 1", "to out trap 2"]);
    let error = task.last_error.unwrap();
    assert!(error.contains("the partitioner of topic \"out\""), "{error}");
}

#[tokio::test]
async fn another_partitioner_of_a_topic_holds_from_the_next_transaction_on() {
    let (fixture, _) = with_chooser().await;
    fixture.cluster.with(|cluster| cluster.set_partitioner("out", chooser(&[])));
    fixture.deploy(fixture.definition()).await;
    fixture.append(&["0 a"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    fixture.cluster.with(|cluster| cluster.set_partitioner("out", chooser(&[("offset", "2")])));
    fixture.append(&["0 b"]);
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(0, "0 a"), (2, "0 b")]));
    assert_eq!(fixture.host.partitioners_closed.load(Ordering::SeqCst), 2);
}

fn ingress(partitioner: Option<TopicPartitioner>) -> Ingress {
    let (name, topic) = (TopicName::new(INGRESS), TopicName::new("out"));
    Ingress { name, topic, partitions: 1, partitioner }
}

fn set_mover(fixture: &Fixture, partitioner: Option<TopicPartitioner>) {
    fixture.cluster.with(|cluster| {
        if let Some(partitioner) = &partitioner {
            cluster.set_partitioner("out", partitioner.clone());
        }
    });
    let mut mover = mover_of(&ingress(partitioner.clone()), &fixture.registry);
    mover.commit.interval_ms = 0;
    mover.on_error.backoff_ms = 1;
    let names = partitioner.map(|partitioner| (TopicName::new("out"), partitioner.module));
    fixture.registry.set_movers([mover], names.into_iter().collect());
}

async fn moved(fixture: &Fixture) {
    within(fixture.cluster.wait_until(|cluster| {
        let end = cluster.end_offset(INGRESS, 0);
        cluster.committed_offset(INGRESS, INGRESS, 0) == Some(end)
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mover_carries_committed_records_once_whatever_step_a_crash_comes_at() {
    let mut crashes = 0;
    for step in 0..28 {
        let (fixture, _) = with_chooser().await;
        set_mover(&fixture, Some(chooser(&[])));
        fixture.cluster.with(|cluster| {
            cluster.append(INGRESS, 0, &[("k", "0 a"), ("k", "3 b"), ("k", "poison 1")]);
            cluster.append_transaction(INGRESS, 0, &[("k", "1 aborted")], EndTransaction::Abort);
            cluster.append_transaction(INGRESS, 0, &[("k", "1 c"), ("k", "0 d")], EndTransaction::Commit);
            cluster.append(INGRESS, 0, &[("k", "3 e")]);
        });
        crashes += usize::from(fixture.crash_at(step, moved(&fixture)).await);
        let second = fixture.supervisor();
        fixture.cluster.with(|cluster| cluster.append(INGRESS, 0, &[("k", "1 f")]));
        moved(&fixture).await;
        second.stop().await;
        let expected = [(0, "0 a"), (0, "0 d"), (1, "1 c"), (1, "1 f"), (3, "3 b"), (3, "3 e")];
        assert_eq!(placed(&fixture, "out"), at(&expected), "crash at step {step}");
        assert_eq!(fixture.values("out.dlq"), ["poison 1"], "crash at step {step}");
    }
    assert!(crashes >= 10, "only {crashes} crashes");
}

#[tokio::test]
async fn what_is_left_in_an_ingress_without_a_partitioner_goes_where_it_was_sent() {
    let (fixture, _) = with_chooser().await;
    fixture.cluster.with(|cluster| {
        cluster.grow_topic(INGRESS, 2);
        cluster.append(INGRESS, 1, &[("k", "3 a"), ("k", "poison")]);
        cluster.append(INGRESS, 0, &[("k", "2 b")]);
    });
    set_mover(&fixture, None);
    let supervisor = fixture.supervisor();
    moved(&fixture).await;
    within(fixture.cluster.wait_until(|cluster| cluster.committed_offset(INGRESS, INGRESS, 1) == Some(2)))
        .await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(0, "2 b"), (1, "3 a"), (1, "poison")]));
}

#[tokio::test]
async fn records_wait_in_the_ingress_while_the_partitioner_cannot_start() {
    let (fixture, _) = with_chooser().await;
    set_mover(&fixture, Some(chooser(&[("offset", "seven")])));
    fixture.cluster.with(|cluster| cluster.append(INGRESS, 0, &[("k", "0 a")]));
    let supervisor = fixture.supervisor();
    let retrying = async {
        loop {
            if let Some(status) = supervisor.status(INGRESS)
                && status.state == ProcessorState::Retrying
            {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let cause = within(retrying).await.cause.unwrap();
    assert!(cause.contains("offset is no number"), "{cause}");
    set_mover(&fixture, Some(chooser(&[("offset", "1")])));
    moved(&fixture).await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(1, "0 a")]));
}

#[tokio::test]
async fn a_lost_answer_moves_nothing_twice() {
    let (fixture, _) = with_chooser().await;
    set_mover(&fixture, Some(chooser(&[])));
    let connection = fixture.cluster.connect();
    for call in [Call::Produce, Call::CommitOffset, Call::EndTransaction] {
        connection.plan(call, Fault::LoseReply);
    }
    fixture.cluster.with(|cluster| cluster.append(INGRESS, 0, &[("k", "0 a"), ("k", "1 b")]));
    let supervisor = fixture.supervisor_on(connection);
    moved(&fixture).await;
    supervisor.stop().await;
    assert_eq!(placed(&fixture, "out"), at(&[(0, "0 a"), (1, "1 b")]));
}

#[tokio::test]
async fn a_partitioner_that_a_topic_uses_stays_and_stays_a_partitioner() {
    let (fixture, digest) = with_chooser().await;
    set_mover(&fixture, Some(chooser(&[])));
    assert_eq!(fixture.registry.users_of(&digest), ["topic out"]);
    let refused = fixture.registry.delete_module("chooser").await.unwrap_err();
    assert!(matches!(refused, RegistryError::ModuleInUse { .. }), "{refused}");
    let refused = put_module(&fixture, b"a processor", "chooser").await.unwrap_err();
    assert!(matches!(refused, RegistryError::NameInUse { .. }), "{refused}");
    // A newer partitioner takes over under the name.
    let newer = put_module(&fixture, b"partitioner 2", "chooser").await.unwrap();
    assert_eq!(fixture.registry.users_of(&newer), ["topic out"]);
    assert_eq!(fixture.registry.users_of(&digest), Vec::<String>::new());
    fixture.registry.delete_module(&digest).await.unwrap();
    let names = fixture.registry.partitioner_modules().load_full();
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        [&newer, "chooser"].map(str::to_owned).iter().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn only_partitioners_partition_and_only_outputs_have_them() {
    let (fixture, digest) = with_chooser().await;
    let with = |topic: &str, module: &str| {
        let mut definition = fixture.definition();
        let own = Partitioner { module: module.to_owned(), config: Default::default() };
        definition.partitioners.insert(topic.to_owned(), own);
        definition
    };
    let wrong = fixture.registry.check_processor(&with("out", &fixture.digest)).unwrap_err();
    assert!(matches!(wrong, RegistryError::WrongKind { .. }), "{wrong}");
    let wrong = fixture.registry.check_processor(&with("elsewhere", &digest)).unwrap_err();
    assert_eq!(wrong.to_string(), "\"elsewhere\" has a partitioner and is not among the outputs.");
    let mut own = fixture.definition();
    own.name = INGRESS.to_owned();
    let wrong = fixture.registry.check_processor(&own).unwrap_err();
    assert!(wrong.to_string().contains("begins with \"__\""), "{wrong}");
}
