//! Chains: several modules, one transaction.

use super::*;
use crate::processor::definition::Stage;
use std::collections::BTreeMap;

fn stage(fixture: &Fixture, input: &str, output: &str) -> Stage {
    let config = BTreeMap::from([("output".to_owned(), output.to_owned())]);
    Stage { module: fixture.digest.clone(), input: input.to_owned(), config }
}

/// `in` to `first`, to `second`, to `out`.
fn three(fixture: &Fixture) -> ProcessorDefinition {
    ProcessorDefinition {
        config: BTreeMap::from([("output".to_owned(), "first".to_owned())]),
        then: vec![stage(fixture, "first", "second"), stage(fixture, "second", "out")],
        ..fixture.definition()
    }
}

#[tokio::test]
async fn what_one_module_sends_the_next_reads_and_side_outputs_leave_at_any_of_them() {
    let fixture = Fixture::new().await;
    fixture.deploy(three(&fixture)).await;
    // Each module takes one `to` off.
    fixture.append(&[
        "a",
        "to first to second b",
        "to out c",
        "to first to out d",
        "drop",
        "to second to out e",
    ]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    let task = until_task(&supervisor, |task| task.lag_records == Some(0) && task.commits > 0).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b", "c", "d", "e"]);
    assert_eq!((task.records_in, task.records_out), (6, 5), "what goes between modules is no output");
}

#[tokio::test]
async fn a_failure_anywhere_is_the_source_record_s_and_nothing_of_it_is_left() {
    let fixture = Fixture::new().await;
    let mut definition = three(&fixture);
    definition.on_error.retries = 0;
    fixture.deploy(definition).await;
    let bad = ["to second poison 1", "to first trap", "poison 2", "to first panic", "to second to nowhere x"];
    fixture.append(&["a", bad[0], "b", bad[1], "c", bad[2], bad[3], "d", bad[4], "e"]);
    let supervisor = fixture.supervisor();
    fixture.caught_up().await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a", "b", "c", "d", "e"]);
    let mut expected = bad.to_vec();
    expected.sort_unstable();
    assert_eq!(fixture.values("p.dlq"), expected);
    let letters = fixture.cluster.with(|cluster| cluster.committed_records("p.dlq"));
    let first = letters.iter().find(|letter| letter.value.as_deref() == Some(bad[0])).unwrap();
    let message = first.headers.iter().find(|(key, _)| key == "__tidemill.error.message").unwrap().1.clone();
    let message = message.unwrap();
    assert!(
        message.starts_with("module 3 of the chain (") && message.ends_with("cannot take poison 1"),
        "{message}"
    );
}

#[tokio::test]
async fn modules_share_the_state_and_only_the_first_has_timers() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new().await;
    fixture.state = Some(StateDatabase::open(directory.path(), 1 << 20).unwrap());
    let mut definition = ProcessorDefinition { stores: vec!["counts".into()], ..three(&fixture) };
    definition.on_error.retries = 0;
    fixture.deploy(definition).await;
    for value in ["to second count a", "count a", "to first count a", "to first timer event x 1 y"] {
        fixture.append_at(10, value);
    }
    fixture.append_at(10, "timer event t 5 to second never mind");
    let supervisor = fixture.supervisor();
    until_task(&supervisor, |task| task.timers_fired == 1 && task.lag_records == Some(0)).await;
    supervisor.stop().await;
    assert_eq!(fixture.values("out"), ["a=1", "a=2", "a=3", "event-time t@5 to second never mind"]);
    assert_eq!(fixture.values("p.dlq"), ["to first timer event x 1 y"]);
}

#[tokio::test]
async fn a_chain_that_makes_no_sense_is_refused() {
    let fixture = Fixture::new().await;
    let refused = |then: Vec<Stage>| {
        let definition = ProcessorDefinition { then, ..fixture.definition() };
        fixture.registry.check_processor(&definition).unwrap_err().to_string()
    };
    assert!(refused(vec![stage(&fixture, "out", "x")]).contains("both a topic of the processor"));
    assert!(
        refused(vec![stage(&fixture, "a b", "x")]).contains("cannot be what a module of the chain reads")
    );
    assert!(refused(vec![stage(&fixture, "x", "y"); 2]).contains("Two modules of the chain read \"x\""));
    let unknown = Stage { module: "cd".repeat(32), ..stage(&fixture, "x", "y") };
    assert!(refused(vec![unknown]).contains("cdcd"));
}
