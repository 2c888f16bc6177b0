//! Definitions: what is refused, in which words, and that a stored one comes back the same.

use super::*;

pub(crate) fn definition(name: &str, inputs: &[&str], outputs: &[&str]) -> ProcessorDefinition {
    ProcessorDefinition {
        name: name.into(),
        module: "ab".repeat(32),
        inputs: inputs.iter().map(|topic| TopicName::new(*topic)).collect(),
        outputs: outputs.iter().map(|topic| TopicName::new(*topic)).collect(),
        start: StartPosition::default(),
        config: BTreeMap::new(),
        commit: CommitPolicy::default(),
        limits: TaskLimits::default(),
        on_error: ErrorPolicy::default(),
        run: RunMode::default(),
        pause_cause: None,
        stores: vec![],
        then: Vec::new(),
        timers: false,
        guarantee: Default::default(),
        partitioners: BTreeMap::new(),
        work: Work::default(),
    }
}

fn refusal(definition: &ProcessorDefinition, others: &[ProcessorDefinition]) -> String {
    definition.validate(others).unwrap_err().message
}

#[test]
fn a_plain_definition_is_accepted() {
    definition("upper", &["in"], &["out"]).validate(&[]).unwrap();
}

#[test]
fn an_input_that_is_its_own_output_is_refused_by_naming_the_loop() {
    assert_eq!(
        refusal(&definition("upper", &["a"], &["a"]), &[]),
        "Processor \"upper\" would feed itself without end: topic \"a\" -> processor \"upper\" -> topic \"a\"."
    );
}

#[test]
fn a_loop_over_several_processors_is_refused_by_naming_all_of_it() {
    let others = [definition("two", &["b"], &["c"]), definition("three", &["c", "x"], &["d", "a"])];
    assert_eq!(
        refusal(&definition("one", &["a"], &["b"]), &others),
        "Processor \"one\" would feed itself without end: topic \"a\" -> processor \"one\" -> topic \"b\" \
         -> processor \"two\" -> topic \"c\" -> processor \"three\" -> topic \"a\"."
    );
}

#[test]
fn a_loop_through_dead_letters_is_refused() {
    let others = [definition("retry", &["one.dlq"], &["a"])];
    assert!(refusal(&definition("one", &["a"], &["b"]), &others).contains("one.dlq"));
}

#[test]
fn a_chain_without_a_loop_is_accepted_and_a_replacement_does_not_meet_its_old_self() {
    let others = [definition("two", &["b"], &["c"]), definition("one", &["c"], &["a"])];
    definition("one", &["a"], &["b"]).validate(&others).unwrap();
}

#[test]
fn internal_topics_are_refused_as_input_and_as_output() {
    assert_eq!(
        refusal(&definition("p", &["__consumer_offsets"], &["b"]), &[]),
        "\"__consumer_offsets\" belongs to the broker itself and cannot be read by a processor."
    );
    assert_eq!(
        refusal(&definition("p", &["a"], &["__transaction_state"]), &[]),
        "\"__transaction_state\" belongs to the broker itself and cannot be written by a processor."
    );
}

#[test]
fn names_that_kafka_would_refuse_are_refused() {
    assert_eq!(
        refusal(&definition("a b", &["a"], &[]), &[]),
        "\"a b\" cannot be a processor's name: it contains ' '."
    );
    assert_eq!(refusal(&definition("", &["a"], &[]), &[]), "\"\" cannot be a processor's name: it is empty.");
    assert!(refusal(&definition("p", &["a/b"], &[]), &[]).contains("topic's name"));
    assert!(refusal(&definition("p", &[".."], &[]), &[]).contains("path"));
    assert!(refusal(&definition(&"p".repeat(201), &["a"], &[]), &[]).contains("longer"));
}

#[test]
fn no_inputs_twice_the_same_topic_and_wild_numbers_are_refused() {
    assert_eq!(refusal(&definition("p", &[], &["b"]), &[]), "Processor \"p\" reads no topic.");
    assert_eq!(
        refusal(&definition("p", &["a", "a"], &["b"]), &[]),
        "Topic \"a\" is named twice in \"inputs\"."
    );
    let mut wild = definition("p", &["a"], &["b"]);
    wild.commit.records_max = 0;
    assert_eq!(refusal(&wild, &[]), "\"commit.records_max\" is 0, outside 1 to 10000000.");
    let mut mixed = definition("p", &["a"], &["b"]);
    mixed.on_error.dead_letter_topic = Some(TopicName::new("b"));
    assert!(refusal(&mixed, &[]).contains("both an output and the dead-letter topic"));
}

#[test]
fn a_module_must_be_named_by_its_digest() {
    let mut wrong = definition("p", &["a"], &["b"]);
    wrong.module = "latest".into();
    assert!(refusal(&wrong, &[]).contains("not a module's SHA-256 digest"));
}

#[test]
fn dead_letters_go_to_the_name_with_dlq_unless_said_otherwise() {
    let mut plain = definition("p", &["a"], &["b"]);
    assert_eq!(plain.dead_letter_topic(), Some(TopicName::new("p.dlq")));
    plain.on_error.then = FailureAction::Stop;
    assert_eq!(plain.dead_letter_topic(), None);
}

#[test]
fn a_stored_definition_comes_back_the_same() {
    let mut original = definition("p", &["a"], &["b"]);
    original.config.insert("k".into(), "v".into());
    original.on_error.dead_letter_topic = Some(TopicName::new("dead"));
    let bytes = rmp_serde::to_vec_named(&original).unwrap();
    assert_eq!(rmp_serde::from_slice::<ProcessorDefinition>(&bytes).unwrap(), original);
}

#[test]
fn the_backoff_doubles_up_to_a_bound() {
    let plain = definition("p", &["a"], &["b"]);
    assert_eq!(plain.backoff(1), Duration::from_millis(100));
    assert_eq!(plain.backoff(3), Duration::from_millis(400));
    assert_eq!(plain.backoff(60), Duration::from_secs(10));
}
