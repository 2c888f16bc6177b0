//! Processors with state and several inputs: one task reads the same partition of all of them.

use super::*;
use crate::ids::TopicName;
use crate::processor::memory_backend::{Call, Cluster, Fault};
use crate::processor::status::TaskState;
use tempfile::TempDir;

/// `in` and `other`, which are counted together.
async fn joining(partitions: i32) -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(StateDatabase::open(directory.path(), 1 << 20).unwrap());
    fixture.cluster.with(|cluster| cluster.ensure_topic("other", partitions));
    (fixture, directory)
}

fn definition(fixture: &Fixture) -> ProcessorDefinition {
    let inputs = ["in", "other"].map(TopicName::new).to_vec();
    ProcessorDefinition { inputs, stores: vec!["counts".to_owned()], ..fixture.definition() }
}

fn append(fixture: &Fixture, topic: &str, values: &[&str]) {
    let records = values.iter().map(|value| ("key", *value)).collect::<Vec<_>>();
    fixture.cluster.with(|cluster| cluster.append(topic, 0, &records));
}

async fn caught_up(fixture: &Fixture) {
    let is_done = |cluster: &Cluster| {
        ["in", "other"]
            .iter()
            .all(|topic| cluster.committed_offset("p", topic, 0) == Some(cluster.end_offset(topic, 0)))
    };
    within(fixture.cluster.wait_until(is_done)).await;
}

#[tokio::test]
async fn one_task_reads_both_and_counts_together() {
    let (fixture, _directory) = joining(1).await;
    let supervisor = fixture.supervisor();
    fixture.deploy(definition(&fixture)).await;
    append(&fixture, "in", &["count a", "count b"]);
    append(&fixture, "other", &["count a"]);
    caught_up(&fixture).await;
    let task = until_task(&supervisor, |task| task.lag_records == Some(0)).await;
    assert_eq!(supervisor.status("p").unwrap().tasks.len(), 1);
    assert_eq!((task.topic.as_str(), task.records_in), ("in", 3));
    // One that has nothing keeps the other from nothing.
    for _ in 0..3 {
        append(&fixture, "other", &["count a"]);
        caught_up(&fixture).await;
    }
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a=1", "a=2", "a=3", "a=4", "a=5", "b=1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_counts_every_record_of_both_once() {
    let mut crashes = 0;
    for step in 0..36 {
        let (fixture, directory) = joining(1).await;
        let mut definition = definition(&fixture);
        definition.commit.records_max = 2;
        definition.on_error.retries = 1;
        fixture.deploy(definition).await;
        append(&fixture, "in", &["count a", "count-poison a", "count a"]);
        append(&fixture, "other", &["count a", "count a", "poison b", "trap"]);
        crashes += usize::from(fixture.crash_at(step, caught_up(&fixture)).await);
        let mut fixture = fixture;
        let mut directory = Some(directory);
        if step % 3 == 0 {
            // The cache is lost too.
            fixture.state = None;
            directory = None;
        }
        let fresh = tempfile::tempdir().unwrap();
        if directory.is_none() {
            fixture.state = Some(StateDatabase::open(fresh.path(), 1 << 20).unwrap());
        }
        append(&fixture, "in", &["count a"]);
        let second = fixture.supervisor();
        caught_up(&fixture).await;
        second.stop().await;
        assert_eq!(fixture.values("out"), ["a=1", "a=2", "a=3", "a=4", "a=5"], "step {step}");
        assert_eq!(fixture.values("p.dlq"), ["count-poison a", "poison b", "trap"], "step {step}");
        let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
        for letter in letters {
            let header = |name: &str| letter.headers.iter().find(|(key, _)| key == name).unwrap().1.clone();
            let expected = if letter.value.as_deref() == Some("count-poison a") { "in" } else { "other" };
            assert_eq!(header("__tidemill.error.topic").as_deref(), Some(expected));
        }
    }
    assert!(crashes > 20, "{crashes}");
}

#[tokio::test]
async fn an_output_that_is_refused_is_found_in_whichever_input_it_is() {
    let (fixture, _directory) = joining(1).await;
    fixture.cluster.with(|cluster| cluster.max_message_bytes = 1 << 20);
    append(&fixture, "in", &["a", "b"]);
    append(&fixture, "other", &["c", "big", "d"]);
    fixture.deploy(definition(&fixture)).await;
    let supervisor = fixture.supervisor();
    caught_up(&fixture).await;
    supervisor.stop().await;
    assert_eq!(
        (fixture.values("out"), fixture.values("p.dlq")),
        (["a", "b", "c", "d"].map(str::to_owned).to_vec(), vec!["big".to_owned()])
    );
}

#[tokio::test]
async fn where_the_second_input_begins_is_remembered_before_anything_comes() {
    let (fixture, _directory) = joining(1).await;
    let latest = ProcessorDefinition {
        start: crate::processor::definition::StartPosition::Latest,
        ..definition(&fixture)
    };
    fixture.deploy(latest).await;
    let first = fixture.supervisor();
    caught_up(&fixture).await;
    first.stop().await;
    append(&fixture, "in", &["a"]);
    append(&fixture, "other", &["b"]);
    let connection = fixture.cluster.connect();
    connection.plan(Call::EndTransaction, Fault::LoseReply);
    let second = fixture.supervisor_on(connection);
    caught_up(&fixture).await;
    second.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}

#[tokio::test]
async fn topics_that_are_not_partitioned_alike_are_refused() {
    let (fixture, _directory) = joining(2).await;
    let supervisor = fixture.supervisor();
    let refused = supervisor.check_inputs(&definition(&fixture)).await.unwrap_err().to_string();
    assert!(refused.contains("topic \"in\" has 1 partitions and topic \"other\" has 2"), "{refused}");
    // One that slips through, since a topic came later, fails with the same words.
    fixture.deploy(definition(&fixture)).await;
    let task = until_task(&supervisor, |task| task.state == TaskState::Failed).await;
    assert!(task.cause.unwrap().contains("topic \"in\" has 1 partitions and topic \"other\" has 2"));
    // Without state each partition of each has its own task.
    fixture.deploy(ProcessorDefinition { stores: vec![], ..definition(&fixture) }).await;
    until(&supervisor, |status| status.tasks.len() == 3).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn an_input_that_is_missing_is_waited_for() {
    let (fixture, _directory) = joining(1).await;
    let mut definition = definition(&fixture);
    definition.inputs.push(TopicName::new("later"));
    fixture.deploy(definition).await;
    append(&fixture, "in", &["a"]);
    append(&fixture, "other", &["b"]);
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.state == TaskState::WaitingForTopic).await;
    assert!(task.cause.unwrap().contains("\"later\" does not exist"));
    fixture.cluster.with(|cluster| cluster.ensure_topic("later", 1));
    caught_up(&fixture).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}
