//! State: it changes with the transactions that have the outputs, and with nothing else.

use super::*;
use crate::error_code::ErrorCode;
use crate::ids::{TopicName, TopicPartition};
use crate::processor::backend::BackendError;
use crate::processor::memory_backend::{Call, Fault};
use crate::state::{StateDatabase, TaskKey};
use tempfile::TempDir;

const CHANGELOG: &str = "__changelog.p";

/// A fixture whose tasks keep state in a directory.
async fn stateful() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(open(&directory));
    (fixture, directory)
}

fn open(directory: &TempDir) -> StateDatabase {
    StateDatabase::open(directory.path(), 1 << 20).unwrap()
}

fn counting(fixture: &Fixture) -> ProcessorDefinition {
    ProcessorDefinition { stores: vec!["counts".to_owned()], ..fixture.definition() }
}

/// A counter as it is committed in the cache.
fn counted(fixture: &Fixture, word: &str) -> Option<i64> {
    let input = TopicPartition::new(TopicName::new("in"), crate::ids::PartitionIndex::ZERO);
    let task = TaskKey { processor: "p".to_owned(), input };
    let reader = fixture.state.as_ref().unwrap().reader(&task).unwrap()?;
    let value = reader.get("counts", word.as_bytes()).unwrap()?;
    Some(i64::from_le_bytes(value[..].try_into().unwrap()))
}

#[tokio::test]
async fn counts_go_on_where_the_last_transaction_left_them() {
    let (fixture, _directory) = stateful().await;
    fixture.deploy(counting(&fixture)).await;
    fixture.append(&["count a", "count b", "count a"]);
    let first = fixture.supervisor();
    fixture.caught_up().await;
    first.stop().await;
    fixture.append(&["count a"]);
    let second = fixture.supervisor();
    fixture.caught_up().await;
    second.stop().await;
    assert_eq!(fixture.values("out"), ["a=1", "a=2", "a=3", "b=1"]);
    assert_eq!((counted(&fixture, "a"), counted(&fixture, "b")), (Some(3), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_counts_every_record_once_and_bad_ones_never() {
    let mut crashes = 0;
    for step in 0..30 {
        let (fixture, directory) = stateful().await;
        let mut definition = counting(&fixture);
        definition.commit.records_max = 2;
        fixture.deploy(definition).await;
        fixture.append(&["count a", "count-poison a", "count b", "count a", "count a"]);
        fixture.append(&["count b", "count-poison b"]);
        crashes += usize::from(fixture.crash_at(step, fixture.caught_up()).await);
        let mut fixture = fixture;
        if step % 3 == 0 {
            // The cache is lost too: the changelog is the truth.
            fixture.state = None;
            drop(directory);
        }
        let directory = tempfile::tempdir().unwrap();
        if fixture.state.is_none() {
            fixture.state = Some(open(&directory));
        }
        let second = fixture.supervisor();
        fixture.append(&["count a"]);
        fixture.caught_up().await;
        second.stop().await;
        let expected = ["a=1", "a=2", "a=3", "a=4", "b=1", "b=2"];
        assert_eq!(fixture.values("out"), expected, "crash at step {step}");
        let letters = fixture.values("p.dlq");
        assert_eq!(letters, ["count-poison a", "count-poison b"], "crash at step {step}");
        let counts = (counted(&fixture, "a"), counted(&fixture, "b"));
        assert_eq!(counts, (Some(4), Some(2)), "crash at step {step}");
    }
    assert!(crashes >= 20, "only {crashes} crashes");
}

#[tokio::test]
async fn an_abort_leaves_nothing_of_the_state_behind() {
    for (call, fault) in [
        (Call::Produce, Fault::LoseReply),
        (Call::EndTransaction, Fault::LoseReply),
        (Call::CommitOffset, Fault::Refuse(abortable())),
        (Call::EndTransaction, Fault::Refuse(abortable())),
    ] {
        let (fixture, _directory) = stateful().await;
        let mut definition = counting(&fixture);
        definition.commit.records_max = 1;
        fixture.deploy(definition).await;
        let connection = fixture.cluster.connect();
        connection.plan(call, fault.clone());
        fixture.append(&["count a", "count a", "count a"]);
        let supervisor = fixture.supervisor_on(connection);
        fixture.caught_up().await;
        supervisor.stop().await;
        assert_eq!(fixture.values("out"), ["a=1", "a=2", "a=3"], "{call:?} {fault:?}");
        assert_eq!(counted(&fixture, "a"), Some(3), "{call:?} {fault:?}");
    }
}

fn abortable() -> BackendError {
    BackendError::Abortable { code: ErrorCode::TransactionAbortable, message: "by the test".to_owned() }
}

#[tokio::test]
async fn a_module_without_the_store_that_it_asks_for_fails_record_by_record() {
    let (fixture, _directory) = stateful().await;
    let definition = ProcessorDefinition { stores: vec!["other".to_owned()], ..fixture.definition() };
    fixture.deploy(definition).await;
    fixture.append(&["count a", "plain"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.dead_letters == 1).await;
    supervisor.stop().await;
    assert_eq!(
        (fixture.values("out"), fixture.values("p.dlq")),
        (vec!["plain".to_owned()], vec!["count a".to_owned()])
    );
    let error = task.last_error.unwrap();
    assert!(error.contains("there is no state store \"counts\""), "{error}");
}

#[tokio::test]
async fn a_full_state_is_a_fault_of_the_records_that_do_not_fit() {
    let (fixture, _directory) = stateful().await;
    let mut definition = counting(&fixture);
    definition.limits.state_bytes = 200;
    definition.on_error.retries = 0;
    fixture.deploy(definition).await;
    let words =
        ["count one", "count two", "count three", "count four", "count five", "count six", "count one"];
    fixture.append(&words);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    let out = fixture.values("out");
    assert!(out.contains(&"one=2".to_owned()), "{out:?}");
    let lost = fixture.values("p.dlq");
    assert!(!lost.is_empty() && out.len() + lost.len() == words.len(), "{out:?} {lost:?}");
}

#[tokio::test]
async fn the_changelog_is_one_partition_a_task_and_grows_with_the_input() {
    let (fixture, _directory) = stateful().await;
    let supervisor = fixture.supervisor();
    supervisor.create_topics(&counting(&fixture)).await.unwrap();
    fixture.deploy(counting(&fixture)).await;
    fixture.append(&["count a"]);
    fixture.caught_up().await;
    assert_eq!(fixture.cluster.with(|cluster| cluster.partitions(CHANGELOG)), Some(1));
    fixture.cluster.with(|cluster| {
        cluster.grow_topic("in", 3);
        cluster.append("in", 2, &[("key", "count a")]);
    });
    within(fixture.cluster.wait_until(|cluster| cluster.committed_offset("p", "in", 2) == Some(1))).await;
    supervisor.stop().await;
    assert_eq!(fixture.cluster.with(|cluster| cluster.partitions(CHANGELOG)), Some(3));
    assert_eq!(fixture.values("out"), ["a=1", "a=1"], "each task has its own");
    assert!(fixture.cluster.with(|cluster| cluster.end_offset(CHANGELOG, 2)) > 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_at_deploy() {
    let fixture = Fixture::new().await;
    let refused = |stores: &[&str], inputs: &[&str]| {
        let stores = stores.iter().map(|store| (*store).to_owned()).collect();
        let inputs = inputs.iter().map(|topic| TopicName::new(*topic)).collect();
        let definition = ProcessorDefinition { stores, inputs, ..fixture.definition() };
        fixture.registry.check_processor(&definition).unwrap_err().to_string()
    };
    assert!(refused(&["__clock"], &["in"]).contains("cannot be the name of a state store"));
    assert!(refused(&["a", "a"], &["in"]).contains("named twice"));
}
