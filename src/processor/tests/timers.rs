//! Timers: set with the transactions of the records that set them, fired once, in one.

use super::*;
use crate::error_code::ErrorCode;
use crate::processor::backend::BackendError;
use crate::processor::commit_note::CommitNote;
use crate::processor::definition::FailureAction;
use crate::processor::memory_backend::{Call, Cluster, CommittedRecord, Fault};
use crate::processor::status::TaskState;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

/// A fixture whose processor has timers, and nothing else of state.
async fn with_timers() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(StateDatabase::open(directory.path(), 1 << 20).unwrap());
    fixture.deploy(timed(&fixture)).await;
    (fixture, directory)
}

fn timed(fixture: &Fixture) -> ProcessorDefinition {
    ProcessorDefinition { timers: true, ..fixture.definition() }
}

impl Fixture {
    /// Waits until there are so many values.
    async fn until_values(&self, count: usize) -> Vec<String> {
        let there = |cluster: &Cluster| Fixture::count(cluster, "out") >= count;
        within(self.cluster.wait_until(there)).await;
        self.values("out")
    }

    fn count(cluster: &Cluster, topic: &str) -> usize {
        cluster.committed_values(topic).len()
    }
}

#[tokio::test]
async fn event_timers_fire_when_records_have_passed_them_and_by_time() {
    let (fixture, _directory) = with_timers().await;
    fixture.append_at(10, "timer event late 300 x");
    fixture.append_at(11, "timer event b 200 y");
    fixture.append_at(12, "timer event a 200 z");
    fixture.append_at(13, "timer event never 1000 w");
    let first = fixture.supervisor();
    fixture.caught_up().await;
    first.stop().await;
    assert_eq!(fixture.values("out"), Vec::<String>::new());
    // The time of the records, not of the day, and not of this start.
    let second = fixture.supervisor();
    fixture.append_at(299, "tick");
    fixture.until_values(3).await;
    fixture.append_at(300, "tock");
    fixture.until_values(5).await;
    second.stop().await;
    let in_order = fixture.cluster.with(|cluster| cluster.committed_records("out"));
    let in_order: Vec<_> =
        in_order.into_iter().map(|record| (record.timestamp, record.value.unwrap())).collect();
    let expected = [
        (299, "tick"),
        (200, "event-time a@200 z"),
        (200, "event-time b@200 y"),
        (300, "tock"),
        (300, "event-time late@300 x"),
    ];
    assert_eq!(in_order, expected.map(|(at, text)| (at, text.to_owned())));
}

#[tokio::test]
async fn processing_timers_fire_by_the_clock_without_any_record() {
    let (fixture, _directory) = with_timers().await;
    fixture.append(&["timer processing soon 40 x", "timer processing later 90 y"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    fixture.clock.advance(Duration::from_millis(38));
    until_task(&supervisor, |task| task.commits >= 1).await;
    assert_eq!(fixture.values("out"), Vec::<String>::new(), "it is 39 now");
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.until_values(1).await, ["processing-time soon@40 x"]);
    supervisor.stop().await;
    // One that is due while nobody is there fires at the next start.
    fixture.clock.advance(Duration::from_secs(60));
    let supervisor = fixture.supervisor();
    fixture.until_values(2).await;
    let task = until_task(&supervisor, |task| task.timers_fired == 1).await;
    supervisor.stop().await;
    assert_eq!((task.records_in, task.records_out), (0, 1));
    assert_eq!(fixture.values("out"), ["processing-time later@90 y", "processing-time soon@40 x"]);
}

#[tokio::test]
async fn a_timer_is_replaced_cancelled_and_sets_others() {
    let (fixture, _directory) = with_timers().await;
    for record in [
        "timer event a 100 first",
        "timer event a 200 second",
        "timer event b 100 x",
        "cancel event b",
        "cancel event b",
        "timer event c 100 then event c 150 again",
        "timer event d 100 then event e 5 overdue",
    ] {
        fixture.append_at(1, record);
    }
    let supervisor = fixture.supervisor();
    fixture.append_at(200, "tick");
    fixture.until_values(8).await;
    supervisor.stop().await;
    let mut expected = vec![
        "b cancelled: true",
        "b cancelled: false",
        "event-time a@200 second",
        "event-time c set another",
        "event-time c@150 again",
        "event-time d set another",
        "event-time e@5 overdue",
        "tick",
    ];
    expected.sort_unstable();
    assert_eq!(fixture.values("out"), expected);
}

#[tokio::test]
async fn a_timer_that_another_sets_again_stays_when_they_fire_one_by_one() {
    let (fixture, _directory) = with_timers().await;
    // The one between them fails, so that they fire in calls of their own.
    for timer in ["a 100 then event c 300 later", "b 100 poison 1", "c 100 now"] {
        fixture.append_at(1, &format!("timer event {timer}"));
    }
    let supervisor = fixture.supervisor();
    fixture.append_at(200, "tick");
    fixture.until_values(3).await;
    fixture.append_at(300, "tock");
    fixture.until_values(5).await;
    supervisor.stop().await;
    let expected =
        ["event-time a set another", "event-time c@100 now", "event-time c@300 later", "tick", "tock"];
    assert_eq!(
        (fixture.values("out"), fixture.values("p.dlq")),
        (expected.map(str::to_owned).to_vec(), vec!["poison 1".to_owned()])
    );
}

#[tokio::test]
async fn a_timer_that_fails_goes_to_the_dead_letters_alone_and_is_gone() {
    let (fixture, _directory) = with_timers().await;
    for (id, payload) in [("a", "x"), ("b", "poison 1"), ("c", "y"), ("d", "trap"), ("e", "z")] {
        fixture.append_at(1, &format!("timer event {id} 50 {payload}"));
    }
    fixture.append_at(60, "tick");
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.timers_fired == 5).await;
    supervisor.stop().await;
    assert_eq!((task.dead_letters, task.records_in, task.records_out), (2, 6, 4));
    let fired = ["event-time a@50 x", "event-time c@50 y", "event-time e@50 z", "tick"];
    assert_eq!(fixture.values("out"), fired);
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    let told = |letter: &CommittedRecord| {
        let header =
            |name: &str| letter.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        assert_eq!(header("__tidemill.error.offset"), None);
        assert_eq!(header("__tidemill.error.timer").flatten().as_deref(), Some("event-time"));
        (letter.key.clone().unwrap(), letter.value.clone().unwrap(), letter.timestamp)
    };
    let letters: Vec<_> = letters.iter().map(told).collect();
    assert_eq!(
        letters,
        [("b", "poison 1", 50), ("d", "trap", 50)].map(|(k, v, t)| (k.to_owned(), v.to_owned(), t))
    );
    // It is not tried again.
    let supervisor = fixture.supervisor();
    fixture.append_at(70, "tock");
    fixture.until_values(5).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("p.dlq").len(), 2);
}

#[tokio::test]
async fn a_crash_does_not_forget_how_often_a_timer_has_failed() {
    let (fixture, _directory) = with_timers().await;
    let mut definition = timed(&fixture);
    definition.on_error = ErrorPolicy { retries: 3, backoff_ms: 60_000, ..definition.on_error };
    fixture.deploy(definition.clone()).await;
    for (id, payload) in [("a", "x"), ("b", "never"), ("c", "y")] {
        fixture.append_at(1, &format!("timer event {id} 50 {payload}"));
    }
    fixture.append_at(60, "tick");
    let doomed = fixture.supervisor();
    let noted = |cluster: &Cluster| {
        let last = cluster.notes.last().and_then(|(_, note)| CommitNote::parse(note));
        last.and_then(|note| note.failed_timer).is_some_and(|timer| timer.failed == 1)
    };
    within(fixture.cluster.wait_until(noted)).await;
    doomed.kill().await;
    assert_eq!(fixture.values("out"), ["event-time a@50 x", "tick"], "those before it do not wait for it");
    definition.on_error.backoff_ms = 1;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.dead_letters == 1 && task.timers_fired == 2).await;
    supervisor.stop().await;
    assert_eq!(fixture.host.tries.load(Ordering::SeqCst), 4, "one try and three more");
    assert!(task.last_error.unwrap().contains("event-time timer \"b\" of 50 failed"));
    assert_eq!(fixture.values("out"), ["event-time a@50 x", "event-time c@50 y", "tick"]);
}

#[tokio::test]
async fn a_policy_of_stopping_stops_in_front_of_the_timer() {
    let (fixture, _directory) = with_timers().await;
    let mut definition = timed(&fixture);
    definition.on_error.then = FailureAction::Stop;
    fixture.deploy(definition.clone()).await;
    fixture.append_at(1, "timer event bad 50 poison 1");
    fixture.append_at(60, "tick");
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.state == TaskState::Failed).await;
    supervisor.stop().await;
    let cause = task.cause.unwrap();
    assert!(cause.contains("event-time timer \"bad\" of 50 failed (reject): cannot fire bad"), "{cause}");
    assert_eq!((fixture.values("out"), task.timers_fired), (vec!["tick".to_owned()], 0));
    // With another policy it goes on, and the timer is still there.
    definition.on_error.then = FailureAction::Skip;
    fixture.deploy(definition).await;
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.timers_fired == 1).await;
    supervisor.stop().await;
    assert_eq!(task.skipped, 1);
}

#[tokio::test]
async fn a_timer_whose_output_the_cluster_refuses_is_found_and_dead_lettered() {
    let (fixture, _directory) = with_timers().await;
    fixture.cluster.with(|cluster| cluster.max_message_bytes = 1 << 20);
    for (id, payload) in [("a", "x"), ("b", "big"), ("c", "y")] {
        fixture.append_at(1, &format!("timer event {id} 50 {payload}"));
    }
    fixture.append_at(60, "tick");
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.dead_letters == 1 && task.lag_records == Some(0)).await;
    fixture.until_values(3).await;
    supervisor.stop().await;
    assert!(task.last_error.unwrap().contains("event-time timer \"b\" of 50 failed (output-refused)"));
    assert_eq!(fixture.values("out"), ["event-time a@50 x", "event-time c@50 y", "tick"]);
    assert_eq!(fixture.values("p.dlq"), ["big"]);
}

#[tokio::test]
async fn timers_without_end_do_not_keep_records_from_being_read() {
    let (fixture, _directory) = with_timers().await;
    let endless = "then event a 5 ".repeat(300);
    fixture.append_at(10, &format!("timer event a 5 {endless}"));
    let supervisor = fixture.supervisor();
    until_task(&supervisor, |task| task.timers_fired > 0).await;
    fixture.append_at(11, "plain");
    let task = until_task(&supervisor, |task| task.records_in == 2).await;
    assert!(task.timers_fired < 301, "{}", task.timers_fired);
    until_task(&supervisor, |task| task.timers_fired == 301).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn without_timers_in_the_deployment_setting_one_is_a_fault_of_the_record() {
    let (fixture, _directory) = with_timers().await;
    fixture.deploy(fixture.definition()).await;
    fixture.append(&["timer event a 5 x"]);
    let supervisor = fixture.supervisor();
    let task = until_task(&supervisor, |task| task.dead_letters == 1).await;
    supervisor.stop().await;
    let error = task.last_error.unwrap();
    assert!(error.contains("this deployment has no timers; say \"timers\": true in it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_fires_every_timer_once() {
    let mut crashes = 0;
    for step in 0..40 {
        let (fixture, directory) = with_timers().await;
        let mut definition = timed(&fixture);
        definition.commit.records_max = 2;
        fixture.deploy(definition).await;
        for (number, payload) in ["x", "poison 1", "then event again 30 y", "z"].into_iter().enumerate() {
            fixture.append_at(1, &format!("timer event t{number} {} {payload}", 10 + number));
        }
        fixture.append_at(12, "tick");
        fixture.append_at(50, "tock");
        let all_done =
            |cluster: &Cluster| Fixture::count(cluster, "out") + Fixture::count(cluster, "p.dlq") >= 7;
        crashes += usize::from(fixture.crash_at(step, fixture.cluster.wait_until(all_done)).await);
        let mut fixture = fixture;
        if step % 3 == 0 {
            // The cache is lost too: the changelog is the truth.
            fixture.state = None;
            drop(directory);
        }
        let directory = tempfile::tempdir().unwrap();
        if fixture.state.is_none() {
            fixture.state = Some(StateDatabase::open(directory.path(), 1 << 20).unwrap());
        }
        let second = fixture.supervisor();
        fixture.append_at(60, "end");
        fixture.until_values(7).await;
        second.stop().await;
        let expected = [
            "end",
            "event-time again@30 y",
            "event-time t0@10 x",
            "event-time t2 set another",
            "event-time t3@13 z",
            "tick",
            "tock",
        ];
        assert_eq!(fixture.values("out"), expected, "step {step}");
        assert_eq!(fixture.values("p.dlq"), ["poison 1"], "step {step}");
    }
    assert!(crashes > 20, "{crashes}");
}

#[tokio::test]
async fn an_aborted_transaction_fires_its_timers_again() {
    let abortable = || BackendError::Abortable {
        code: ErrorCode::TransactionAbortable,
        message: "by the test".to_owned(),
    };
    for (call, fault) in [
        (Call::Produce, Fault::LoseReply),
        (Call::EndTransaction, Fault::LoseReply),
        (Call::EndTransaction, Fault::Refuse(abortable())),
    ] {
        let (fixture, _directory) = with_timers().await;
        fixture.append_at(1, "timer event a 5 x");
        let first = fixture.supervisor();
        fixture.caught_up().await;
        first.stop().await;
        fixture.append_at(6, "tick");
        let connection = fixture.cluster.connect();
        connection.plan(call, fault.clone());
        let second = fixture.supervisor_on(connection);
        fixture.until_values(2).await;
        second.stop().await;
        assert_eq!(fixture.values("out"), ["event-time a@5 x", "tick"], "{call:?} {fault:?}");
    }
}
