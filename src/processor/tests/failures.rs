//! Bad records, broken modules, bugs: only the bad record suffers, and only its task.

use super::*;
use crate::error_code::ErrorCode;
use crate::processor::backend::BackendError;
use crate::processor::commit_note::{CALLS_MAX, CommitNote};
use crate::processor::definition::FailureAction;
use crate::processor::memory_backend::{Call, Fault};
use crate::processor::status::TaskState;
use crate::processor::supervisor::ProcessorState;
use std::sync::atomic::Ordering;

async fn run(values: &[&str], change: impl FnOnce(&mut ProcessorDefinition)) -> (Fixture, TaskStatus) {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    change(&mut definition);
    fixture.append(values);
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let end = i64::try_from(values.len()).unwrap();
    let task = until_task(&supervisor, |task| task.committed_offset == Some(end)).await;
    supervisor.stop().await;
    (fixture, task)
}

#[tokio::test]
async fn a_poison_record_becomes_a_dead_letter_wherever_it_stands() {
    for values in [
        ["poison", "b", "c", "d"],
        ["a", "b", "c", "poison"],
        ["a", "poison", "poison", "d"],
        ["trap", "b", "c", "d"],
        ["a", "b", "trap", "d"],
        ["trap", "poison", "c", "trap"],
        ["panic", "b", "c", "d"],
    ] {
        let (fixture, task) = run(&values, |_| {}).await;
        let is_bad = |value: &&str| matches!(*value, "poison" | "trap" | "panic");
        let good = values.into_iter().filter(|value| !is_bad(value)).collect::<Vec<_>>();
        let mut bad = values.into_iter().filter(is_bad).collect::<Vec<_>>();
        bad.sort_unstable();
        assert_eq!(fixture.values("out"), good, "{values:?}");
        assert_eq!(fixture.values("p.dlq"), bad, "{values:?}");
        assert_eq!(task.dead_letters, u64::try_from(bad.len()).unwrap());
        assert_eq!((task.records_in, task.records_out), (4, 4 - task.dead_letters));
    }
}

#[tokio::test]
async fn of_a_turn_of_several_calls_only_the_bad_record_suffers() {
    let mut fixture = Fixture::new().await;
    fixture.tuning.call_bytes = 1;
    for batch in [&["a", "b"][..], &["poison", "c"], &["d"], &["e", "trap"], &["f"]] {
        fixture.append(batch);
    }
    let mut definition = fixture.definition();
    definition.commit.interval_ms = 50;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.committed_offset == Some(8)).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(fixture.values("p.dlq"), ["poison", "trap"]);
    assert_eq!((task.records_in, task.records_out, task.dead_letters), (8, 6, 2));
}

#[tokio::test]
async fn a_turn_makes_no_more_calls_than_a_note_can_tell_of() {
    let mut fixture = Fixture::new().await;
    fixture.tuning.call_bytes = 1;
    let values: Vec<_> = (0..3 * CALLS_MAX).map(|number| format!("{number:04}")).collect();
    for value in &values {
        fixture.append(&[value]);
    }
    let mut definition = fixture.definition();
    definition.commit.interval_ms = 60_000;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), values);
    let notes = fixture.cluster.with(|cluster| cluster.notes.clone());
    let calls: Vec<_> =
        notes.iter().filter_map(|(_, note)| Some(CommitNote::parse(note)?.calls.len())).collect();
    // The last call of a turn has all that is left.
    assert_eq!(calls.iter().max(), Some(&CALLS_MAX));
}

#[tokio::test]
async fn a_lone_poison_record_and_a_batch_of_nothing_else_go_to_the_dead_letters() {
    let (fixture, _) = run(&["poison"], |_| {}).await;
    assert_eq!(fixture.values("p.dlq"), ["poison"]);
    let (fixture, task) = run(&["poison 1", "trap 2", "poison 3"], |_| {}).await;
    assert_eq!(fixture.values("p.dlq"), ["poison 1", "poison 3", "trap 2"]);
    assert_eq!(task.records_out, 0);
    assert!(fixture.values("out").is_empty());
}

#[tokio::test]
async fn a_dead_letter_says_what_happened_and_keeps_the_record() {
    let (fixture, _) = run(&["a", "poison pill"], |_| {}).await;
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    let letter = &letters[0];
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some("key"), Some("poison pill")));
    assert_eq!(letter.timestamp, 1_001);
    let header = |name: &str| {
        let found = letter.headers.iter().find(|(key, _)| key == &format!("__tidemill.error.{name}"));
        found.and_then(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(header("message"), "cannot take poison pill");
    assert_eq!(header("code"), "reject");
    assert_eq!(
        (header("topic"), header("partition"), header("offset")),
        ("in".into(), "0".into(), "1".into())
    );
    assert_eq!((header("processor"), header("module")), ("p".into(), fixture.digest.clone()));
    assert_eq!(header("attempts"), "1");
}

#[tokio::test]
async fn a_record_that_fails_once_succeeds_at_its_retry() {
    let (fixture, task) = run(&["a", "flaky", "c"], |_| {}).await;
    assert_eq!(fixture.values("out"), ["a", "c", "flaky"]);
    assert_eq!(task.dead_letters, 0);
}

#[tokio::test]
async fn without_retries_a_record_that_would_succeed_later_is_given_up() {
    let (fixture, _) = run(&["flaky"], |definition| definition.on_error.retries = 0).await;
    assert_eq!(fixture.values("p.dlq"), ["flaky"]);
}

#[tokio::test]
async fn skipping_leaves_the_record_out_and_counts_it() {
    let (fixture, task) = run(&["a", "trap", "c"], |definition| {
        definition.on_error.then = FailureAction::Skip;
        definition.on_error.retries = 0;
    })
    .await;
    assert_eq!(fixture.values("out"), ["a", "c"]);
    assert_eq!((task.skipped, task.records_in), (1, 3));
    assert!(fixture.values("p.dlq").is_empty());
}

#[tokio::test]
async fn stopping_commits_what_came_before_and_says_where() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.on_error.then = FailureAction::Stop;
    fixture.append(&["a", "b", "poison", "d"]);
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    let status = until(&supervisor, |status| status.state == ProcessorState::Failed).await;
    assert_eq!(status.cause.unwrap(), "record at offset 2 failed (reject): cannot take poison");
    assert_eq!(status.tasks[0].committed_offset, Some(2));
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b"]);
}

#[tokio::test]
async fn a_module_that_says_it_cannot_go_on_stops_its_task() {
    let fixture = Fixture::new().await;
    fixture.append(&["fatal"]);
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.state == TaskState::Failed).await;
    assert_eq!(task.cause.unwrap(), "the module cannot go on: cannot take fatal");
    supervisor.stop().await;
}

#[tokio::test]
async fn an_undeclared_output_and_a_partition_that_does_not_exist_are_the_records_fault() {
    let (fixture, _) = run(&["a", "to elsewhere x", "at 0", "at 7"], |_| {}).await;
    assert_eq!(fixture.values("out"), ["a", "at 0"]);
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    let reasons = letters.iter().map(|letter| letter.headers[0].1.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        reasons,
        [
            "it writes to topic \"elsewhere\", which is not among the processor's outputs",
            "it writes to partition 7 of topic \"out\", which has 1 partitions",
        ]
    );
}

#[tokio::test]
async fn an_output_topic_that_has_grown_is_written_to_at_once() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.append(&["a"]);
    fixture.caught_up().await;
    fixture.cluster.with(|cluster| cluster.grow_topic("out", 3));
    fixture.append(&["at 2"]);
    fixture.caught_up().await;
    supervisor.stop().await;
    let records = fixture.cluster.with(|cluster| cluster.committed_records("out"));
    assert_eq!(records.iter().map(|record| record.partition).collect::<Vec<_>>(), [0, 2]);
}

#[tokio::test]
async fn an_output_that_the_cluster_refuses_is_narrowed_down_to_its_record() {
    let fixture = Fixture::new().await;
    fixture.cluster.with(|cluster| cluster.max_message_bytes = 1 << 20);
    fixture.append(&["a", "b", "big", "d"]);
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b", "d"]);
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    assert_eq!(letters[0].value.as_deref(), Some("big"));
    assert!(letters[0].headers[0].1.as_deref().unwrap().contains("MESSAGE_TOO_LARGE"));
}

#[tokio::test]
async fn a_cluster_that_fails_for_a_while_is_waited_for() {
    let fixture = Fixture::new().await;
    let backend = fixture.cluster.connect();
    let down = BackendError::from_code(ErrorCode::CoordinatorNotAvailable, "loading");
    for _ in 0..25 {
        backend.plan(Call::EndTransaction, Fault::Refuse(down.clone()));
    }
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor_on(backend);
    fixture.append(&["a"]);
    let task = until_task(&supervisor, |task| task.state == TaskState::Retrying).await;
    assert_eq!(task.cause.unwrap(), "COORDINATOR_NOT_AVAILABLE: loading");
    fixture.caught_up().await;
    until_task(&supervisor, |task| task.state == TaskState::Running && task.commits == 1).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a"]);
}

#[tokio::test]
async fn a_panic_fails_one_task_and_disturbs_no_other() {
    let fixture = Fixture::new().await;
    fixture.cluster.with(|cluster| cluster.grow_topic("in", 2));
    let backend = fixture.cluster.connect();
    backend.plan(Call::Produce, Fault::Panic);
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor_on(backend);
    fixture.append(&["a"]);
    let status = until(&supervisor, |status| status.state == ProcessorState::Failed).await;
    assert_eq!(status.cause.unwrap(), "a bug: a planned panic");
    fixture.cluster.with(|cluster| cluster.append("in", 1, &[("k", "other")]));
    within(fixture.cluster.wait_until(|cluster| cluster.committed_values("out") == ["other"])).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn while_a_record_is_tried_again_its_task_says_so_and_why() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.on_error.retries = 1_000;
    definition.on_error.backoff_ms = 60_000;
    fixture.append(&["a", "never good"]);
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    let status = until(&supervisor, |status| status.state == ProcessorState::Retrying).await;
    assert_eq!(status.cause.unwrap(), "record at offset 1 is tried again (retry): cannot take never good");
    supervisor.stop().await;
}

#[tokio::test]
async fn an_instance_is_replaced_before_its_memory_is_full() {
    let fixture = Fixture::new().await;
    fixture.deploy(fixture.definition()).await;
    let supervisor = fixture.supervisor();
    // The limit is 64 MiB: what is just below seven eighths of it stays.
    for (value, instances) in [("hoard 55", 1), ("a", 1), ("hoard 2", 1), ("b", 2), ("hoard 60", 2), ("c", 3)]
    {
        fixture.append(&[value]);
        fixture.caught_up().await;
        assert_eq!(fixture.host.instances.load(Ordering::SeqCst), instances, "{value}");
    }
    let warned = supervisor.logs("p", 0).unwrap().lines;
    assert_eq!(warned.iter().filter(|line| line.message.contains("memory is nearly full")).count(), 2);
    supervisor.stop().await;
    assert_eq!(
        (fixture.values("out"), fixture.values("p.dlq")),
        (["a", "b", "c"].map(str::to_owned).to_vec(), vec![])
    );
}

#[tokio::test]
async fn a_record_that_floods_the_outputs_is_a_dead_letter_and_no_other_is() {
    let (fixture, task) = run(&["a", "many 5", "many 6", "b"], |definition| {
        definition.limits.output_ratio = 5;
    })
    .await;
    assert_eq!(fixture.values("p.dlq"), ["many 6"]);
    assert_eq!(fixture.values("out").len(), 7);
    let error = task.last_error.unwrap();
    assert!(
        error.ends_with(
            "(output-ratio): it writes more than 5 records for one: if that is meant, raise limits.output_ratio"
        ),
        "{error}"
    );
}
