//! What is said of a cluster's topics, and how much of it.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};

use super::super::protocol_client::topic_name;
use super::*;

fn topic(name: &str, leaders: &[i32], in_sync: usize) -> MetadataResponseTopic {
    let partition = |(index, leader): (usize, &i32)| {
        MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).unwrap())
            .with_leader_id(BrokerId(*leader))
            .with_replica_nodes(vec![BrokerId(0), BrokerId(1)])
            .with_isr_nodes(vec![BrokerId(0); in_sync])
    };
    let partitions = leaders.iter().enumerate().map(partition).collect();
    MetadataResponseTopic::default().with_name(Some(topic_name(name))).with_partitions(partitions)
}

fn judged(topics: Vec<MetadataResponseTopic>) -> (Verdict, String) {
    super::topics(&MetadataResponse::default().with_topics(topics))
}

#[test]
fn partitions_without_a_leader_are_a_problem_and_late_replicas_a_note() {
    let good = judged(vec![topic("a", &[0, 1], 2)]);
    assert_eq!(
        good,
        (Verdict::Good, "1 topics, 2 partitions, all with a leader and all replicas in sync".into())
    );
    assert_eq!(judged(vec![topic("a", &[0], 1)]).0, Verdict::Note);
    let (verdict, text) = judged(vec![topic("a", &[0, -1], 2), topic("b", &[-1], 2)]);
    assert_eq!(verdict, Verdict::Bad);
    assert!(text.contains("not to be read or written: a-1, b-0;"), "{text}");
}

#[test]
fn long_lists_are_cut() {
    let names: Vec<String> = (0..7).map(|number| format!("t-{number}")).collect();
    assert_eq!(some_of(&names), "t-0, t-1, t-2, t-3, t-4 and 2 more");
    assert_eq!(some_of(&names[..2]), "t-0, t-1");
}

#[test]
fn a_problem_fails_the_whole() {
    let mut findings = Findings::default();
    findings.add("a", Verdict::Good, "fine");
    findings.add("b", Verdict::Note, "so so");
    assert!(findings.report().failures.is_empty());
    let mut findings = Findings::default();
    findings.add("a", Verdict::Good, "fine");
    findings.add_result("c", Err(CliError::usage("no")));
    let report = findings.report();
    assert_eq!(report.failures[0].message, "1 of 2 checks found a problem");
    assert_eq!(report.json[1], json!({"check": "c", "result": "problem", "detail": "USAGE: no"}));
}
