//! What is remembered beside the offset, and the guarantee that is weaker than exactly once.

use super::*;
use crate::processor::commit_note::CommitNote;
use crate::processor::definition::{FailureAction, Guarantee};
use crate::processor::memory_backend::{Call, Fault};
use std::sync::atomic::Ordering;

fn at_least_once(fixture: &Fixture) -> ProcessorDefinition {
    ProcessorDefinition { guarantee: Guarantee::AtLeastOnce, ..fixture.definition() }
}

#[tokio::test]
async fn a_crash_does_not_forget_how_often_a_record_has_failed() {
    let fixture = Fixture::new().await;
    let mut definition = fixture.definition();
    definition.on_error = ErrorPolicy { retries: 3, backoff_ms: 60_000, ..definition.on_error };
    fixture.deploy(definition.clone()).await;
    fixture.append(&["first", "never", "last"]);
    let doomed = fixture.supervisor();
    let noted = |cluster: &crate::processor::memory_backend::Cluster| {
        let last = cluster.notes.last().and_then(|(_, note)| CommitNote::parse(note));
        last.is_some_and(|note| note.failed == 1)
    };
    within(fixture.cluster.wait_until(noted)).await;
    doomed.kill().await;
    assert_eq!(fixture.cluster.with(|cluster| cluster.committed_offset("p", "in", 0)), Some(1));
    definition.on_error.backoff_ms = 1;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.host.tries.load(Ordering::SeqCst), 4, "one try and three more");
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    let attempts = letters[0].headers.iter().find(|(key, _)| key == "__tidemill.error.attempts");
    assert_eq!(attempts.unwrap().1.as_deref(), Some("4"));
    assert_eq!(fixture.values("out"), ["first", "last"]);
}

#[tokio::test]
async fn at_least_once_writes_without_transactions() {
    let fixture = Fixture::new().await;
    fixture.deploy(at_least_once(&fixture)).await;
    fixture.append(&["a", "poison b", "c"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.commits > 0 && task.lag_records == Some(0)).await;
    supervisor.stop().await;
    assert_eq!((task.records_out, task.dead_letters, task.aborts), (2, 1, 0));
    assert_eq!(
        (fixture.values("out"), fixture.values("p.dlq")),
        (vec!["a".into(), "c".into()], vec!["poison b".into()])
    );
    assert_eq!(fixture.cluster.with(|cluster| (cluster.commits, cluster.aborts)), (0, 0));
}

#[tokio::test]
async fn at_least_once_loses_nothing_at_any_crash_and_may_repeat() {
    let (mut crashes, mut repeated) = (0, 0);
    for step in 0..20 {
        let fixture = Fixture::new().await;
        let mut definition = at_least_once(&fixture);
        definition.commit.records_max = 2;
        fixture.deploy(definition).await;
        let values = ["a", "b", "c", "d", "e"];
        fixture.append(&values);
        crashes += usize::from(fixture.crash_at(step, fixture.caught_up()).await);
        let second = fixture.supervisor();
        fixture.caught_up().await;
        second.stop().await;
        let mut seen = fixture.values("out");
        repeated += usize::from(seen.len() > values.len());
        seen.dedup();
        assert_eq!(seen, values, "step {step}");
    }
    assert!(crashes > 5 && repeated > 0, "{crashes} {repeated}");
}

#[tokio::test]
async fn at_least_once_commits_no_offset_before_its_outputs() {
    let fixture = Fixture::new().await;
    fixture.deploy(at_least_once(&fixture)).await;
    let connection = fixture.cluster.connect();
    connection.plan(Call::Produce, Fault::LoseReply);
    connection.plan(Call::Produce, Fault::LoseReply);
    fixture.append(&["a"]);
    let supervisor = fixture.supervisor_on(connection);
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "a", "a"], "each answer that was lost is asked for again");
}

#[tokio::test]
async fn at_least_once_still_finds_the_record_that_the_cluster_refuses() {
    let fixture = Fixture::new().await;
    let mut definition = at_least_once(&fixture);
    definition.on_error.then = FailureAction::Skip;
    fixture.deploy(definition).await;
    fixture.cluster.with(|cluster| cluster.max_message_bytes = 1 << 20);
    fixture.append(&["a", "big", "b"]);
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.skipped == 1 && task.lag_records == Some(0)).await;
    supervisor.stop().await;
    assert_eq!(task.skipped, 1);
    let mut seen = fixture.values("out");
    seen.dedup();
    assert_eq!(seen, ["a", "b"]);
}
