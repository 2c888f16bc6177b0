//! Deploying, pausing, replacing, deleting; topics that come, grow and go.

use super::*;
use crate::ids::TopicName;
use crate::processor::definition::{FailureAction, RunMode};
use crate::processor::memory_backend::{Call, Cluster, Fault};
use crate::processor::status::TaskState;
use crate::processor::supervisor::ProcessorState;
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_paused_processor_rests_and_resumes_where_it_was() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a"]);
    fixture.caught_up().await;
    fixture.registry.set_run_mode("p", RunMode::Paused, None).await.unwrap();
    let paused =
        until(&supervisor, |status| status.tasks.iter().all(|t| t.state == TaskState::Stopped)).await;
    assert_eq!(paused.state, ProcessorState::Paused);
    fixture.append(&["b"]);
    assert_eq!(fixture.values("out"), ["a"]);
    fixture.registry.set_run_mode("p", RunMode::Running, None).await.unwrap();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}

#[tokio::test]
async fn a_processor_that_fails_too_many_records_is_paused_before_it_drains_its_input() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.on_error.breaker.failures_min = 5;
    definition.commit.records_max = 3;
    fixture.deploy(definition).await;
    let mut values = vec!["good 1", "good 2"];
    values.extend(["poison"; 50]);
    fixture.append(&values);
    let supervisor = fixture.supervisor();
    let paused = until(&supervisor, |status| {
        status.state == ProcessorState::Paused && status.tasks.iter().all(|t| t.state != TaskState::Running)
    });
    let cause = paused.await.cause.unwrap();
    assert_eq!(cause, "5 of 7 records failed within 60000 ms; the last: cannot take poison");
    assert_eq!(fixture.values("out"), ["good 1", "good 2"]);
    let committed = async {
        loop {
            if fixture.cluster.with(|cluster| cluster.committed_offset("p", "in", 0)) == Some(6) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(committed).await;
    assert_eq!(fixture.values("p.dlq").len(), 4, "the fifth is where it stopped");
    // Somebody who knows better lets it go on.
    let mut definition = fixture.definition();
    definition.on_error.breaker.failures_percent = 0;
    fixture.deploy(definition).await;
    fixture.registry.set_run_mode("p", RunMode::Running, None).await.unwrap();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("p.dlq").len(), 50);
}

#[tokio::test]
async fn a_replaced_processor_goes_on_with_the_new_definition() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a"]);
    fixture.caught_up().await;
    fixture.cluster.with(|cluster| cluster.ensure_topic("other", 1));
    let mut changed = fixture.definition();
    changed.outputs = vec![TopicName::new("other")];
    changed.config.insert("output".into(), "other".into());
    fixture.deploy(changed).await;
    fixture.append(&["b"]);
    fixture.caught_up().await;
    supervisor.stop().await;
    // The old task may have taken the record before it heard of the change, but only one of them did.
    let all = [fixture.values("out"), fixture.values("other")].concat();
    assert_eq!(all, ["a", "b"]);
}

#[tokio::test]
async fn a_deleted_processor_stops_and_its_offsets_stay() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a"]);
    fixture.caught_up().await;
    fixture.registry.delete_processor("p").await.unwrap();
    assert_eq!(supervisor.status("p"), None);
    fixture.append(&["b"]);
    fixture.deploy(fixture.definition()).await;
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}

#[tokio::test]
async fn new_partitions_get_tasks_of_their_own() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    until(&supervisor, |status| status.tasks.len() == 1).await;
    fixture.cluster.with(|cluster| cluster.grow_topic("in", 3));
    until(&supervisor, |status| status.tasks.len() == 3).await;
    fixture.cluster.with(|cluster| cluster.append("in", 2, &[("k", "a")]));
    within(fixture.cluster.wait_until(|cluster| cluster.committed_values("out") == ["a"])).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_waited_for() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.inputs = vec![TopicName::new("later")];
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.state == TaskState::WaitingForTopic).await;
    assert_eq!(task.cause.unwrap(), "topic \"later\" does not exist");
    fixture.cluster.with(|cluster| {
        cluster.ensure_topic("later", 1);
        cluster.append("later", 0, &[("k", "a")]);
    });
    within(fixture.cluster.wait_until(|cluster| cluster.committed_values("out") == ["a"])).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_created_again_is_read_from_its_start() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a", "b"]);
    fixture.caught_up().await;
    fixture.cluster.with(|cluster| cluster.delete_topic("in"));
    until_task(&supervisor, |task| task.state == TaskState::WaitingForTopic).await;
    fixture.cluster.with(|cluster| {
        cluster.ensure_topic("in", 1);
        cluster.append("in", 0, &[("k", "c")]);
    });
    within(fixture.cluster.wait_until(|cluster| cluster.committed_values("out") == ["a", "b", "c"])).await;
    // Without a moment in between in which it was gone.
    fixture.cluster.with(|cluster| {
        cluster.delete_topic("in");
        cluster.ensure_topic("in", 1);
        cluster.append("in", 0, &[("k", "d"), ("k", "e")]);
    });
    within(
        fixture.cluster.wait_until(|cluster| cluster.committed_values("out") == ["a", "b", "c", "d", "e"]),
    )
    .await;
    supervisor.stop().await;
}

#[tokio::test]
async fn a_clean_stop_commits_what_is_done_without_waiting_for_the_interval() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.commit.interval_ms = 60_000;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a"]);
    // The first commit is due at once; the second would be due a minute later.
    fixture.caught_up().await;
    let mut processed = fixture.host.processed.subscribe();
    fixture.append(&["b"]);
    within(processed.wait_for(|count| *count >= 2)).await.unwrap();
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
    assert!(fixture.cluster.with(|cluster| cluster.open_transactional_ids()).is_empty());
}

#[tokio::test]
async fn output_topics_are_created_with_the_partitions_of_the_largest_input() {
    let fixture = Fixture::new().await;
    let supervisor = fixture.supervisor();
    fixture.cluster.with(|cluster| cluster.grow_topic("in", 4));
    let mut definition = fixture.definition();
    definition.name = "q".into();
    definition.outputs = vec![TopicName::new("fresh"), TopicName::new("out")];
    supervisor.create_topics(&definition).await.unwrap();
    let counts = |topic: &str| fixture.cluster.with(|cluster| cluster.partitions(topic));
    assert_eq!((counts("fresh"), counts("q.dlq"), counts("out")), (Some(4), Some(4), Some(1)));
    supervisor.stop().await;
}

#[tokio::test]
async fn what_the_module_says_is_kept_with_its_source() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["say hello", "a"]);
    fixture.caught_up().await;
    let page = supervisor.logs("p", 0).unwrap();
    assert_eq!((page.lines[0].task.as_str(), page.lines[0].message.as_str()), ("in-0", "hello"));
    assert!(supervisor.logs("unknown", 0).is_none());
    supervisor.stop().await;
}

#[tokio::test]
async fn a_failed_processor_goes_on_when_it_is_restarted() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.config.insert("output".into(), "out".into());
    definition.on_error.then = crate::processor::definition::FailureAction::Stop;
    definition.on_error.retries = 0;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["flaky"]);
    until(&supervisor, |status| status.state == ProcessorState::Failed).await;
    fixture.cluster.with(|cluster| cluster.delete_records_before("in", 0, 1));
    supervisor.restart_failed("p");
    fixture.append(&["a"]);
    fixture.caught_up().await;
    assert_eq!(until(&supervisor, |s| s.state == ProcessorState::Running).await.cause, None);
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a"]);
}

#[tokio::test]
async fn a_slow_output_holds_its_own_processor_back_and_no_other() {
    let fixture = Fixture::new().await;
    let backend = fixture.cluster.connect();
    let released = Arc::new(Semaphore::new(0));
    backend.plan(Call::Produce, Fault::Hold(released.clone()));
    fixture.cluster.with(|cluster| cluster.ensure_topic("in2", 1));
    let mut slow = fixture.definition();
    slow.commit.records_max = 2;
    slow.on_error.then = FailureAction::Skip;
    // It writes nothing, so it never meets the fault.
    let quick = ProcessorDefinition { name: "q".into(), inputs: vec![TopicName::new("in2")], ..slow.clone() };
    let quick = ProcessorDefinition { outputs: vec![], ..quick };
    fixture.deploy(slow).await;
    fixture.deploy(quick).await;
    fixture.append(&["a"; 100]);
    let supervisor = fixture.supervisor_on(backend);
    let mut processed = fixture.host.processed.subscribe();
    // What is written, what waits, and what would be handed over next.
    within(processed.wait_for(|processed| *processed >= 6)).await.unwrap();
    fixture.cluster.with(|cluster| cluster.append("in2", 0, &[("key", "drop"); 100]));
    let others = |cluster: &Cluster| cluster.committed_offset("q", "in2", 0) == Some(100);
    within(fixture.cluster.wait_until(others)).await;
    assert_eq!(*fixture.host.processed.borrow(), 106, "it takes no more than it can hand over");
    assert_eq!(fixture.cluster.with(|cluster| cluster.committed_offset("p", "in", 0)), None);
    released.add_permits(1);
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out").len(), 100);
}
