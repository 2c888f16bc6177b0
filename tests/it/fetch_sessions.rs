//! Fetch sessions (KIP-227) over the wire: what is new is told, what is not is left out.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::*;
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::wire::{
    self, Producer, READ_COMMITTED, READ_UNCOMMITTED, batch, produce, text, topic_name, values,
};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
const UNKNOWN_TOPIC_ID: i16 = 100;
const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;

/// A Fetch request of a session, of partition 0 of topics, that does not wait.
fn request(session: (i32, i32), topics: &[(&str, i64)], isolation: i8) -> FetchRequest {
    let topics = topics.iter().map(|(topic, offset)| {
        let partition =
            FetchPartition::default().with_fetch_offset(*offset).with_partition_max_bytes(1 << 20);
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
        .with_topics(topics.collect())
}

/// What an answer tells: each topic with its values, or its error.
fn told(response: &FetchResponse) -> Vec<(String, Vec<String>)> {
    assert_eq!(response.error_code, 0);
    let topic = |topic: &fetch_response::FetchableTopicResponse| {
        let data = &topic.partitions[0];
        let values = match data.error_code {
            0 => values(data).into_iter().map(|(_, value)| value).collect(),
            code => vec![format!("error {code}")],
        };
        (topic.topic.to_string(), values)
    };
    response.responses.iter().map(topic).collect()
}

fn entry(topic: &str, values: &[&str]) -> (String, Vec<String>) {
    (topic.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
}

fn init_producer(client: &mut WireClient) -> Producer {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("tx"))))
        .with_transaction_timeout_ms(60_000);
    let response = client.call(5, &request).unwrap();
    assert_eq!(response.error_code, 0);
    Producer { id: response.producer_id.0, epoch: response.producer_epoch }
}

fn commit(client: &mut WireClient, producer: Producer) {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text("tx")))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(true);
    assert_eq!(client.call(5, &request).unwrap().error_code, 0);
}

fn session_of(client: &mut WireClient, topics: &[(&str, i64)], isolation: i8) -> i32 {
    let response = client.call(12, &request((0, 0), topics, isolation)).unwrap();
    assert_ne!(response.session_id, 0);
    assert_eq!(response.responses.len(), topics.len(), "the first answer is full");
    response.session_id
}

#[test]
fn only_what_is_new_is_told() {
    let server = TestServer::start();
    let mut client = server.wire();
    for topic in ["a", "b", "c"] {
        wire::create_topic(&mut client, topic, 1, &[]);
    }
    produce(&mut client, "a", 0, batch(&["a0"]));
    let id = session_of(&mut client, &[("a", 1), ("b", 0)], READ_UNCOMMITTED);
    let mut fetch = |epoch, topics: &[(&str, i64)], forgotten: &[&str]| {
        let forgotten = forgotten
            .iter()
            .map(|topic| ForgottenTopic::default().with_topic(topic_name(topic)).with_partitions(vec![0]));
        let request = request((id, epoch), topics, READ_UNCOMMITTED);
        let request = request.with_forgotten_topics_data(forgotten.collect());
        let response = client.call(12, &request).unwrap();
        assert_eq!(response.session_id, id);
        told(&response)
    };
    assert_eq!(fetch(1, &[], &[]), []);
    produce(&mut server.wire(), "b", 0, batch(&["b0"]));
    assert_eq!(fetch(2, &[], &[]), [entry("b", &["b0"])]);
    assert_eq!(fetch(3, &[], &[]), [entry("b", &["b0"])], "the client has not moved on");
    assert_eq!(fetch(4, &[("b", 1), ("c", 0)], &[]), [entry("c", &[])], "a new partition is told once");
    assert_eq!(fetch(5, &[], &[]), []);
    assert_eq!(fetch(6, &[("a", 0)], &[]), [entry("a", &["a0"])], "it has gone back");
    assert_eq!(fetch(7, &[], &["a"]), [], "what is forgotten is not read");
    produce(&mut server.wire(), "a", 0, batch(&["a1"]));
    assert_eq!(fetch(8, &[], &[]), []);
}

#[test]
fn errors_are_told_until_they_are_over() {
    let server = TestServer::start();
    let mut client = server.wire();
    let id = session_of(&mut client, &[("late", 0)], READ_UNCOMMITTED);
    let mut fetch = |epoch| told(&client.call(12, &request((id, epoch), &[], READ_UNCOMMITTED)).unwrap());
    let failed = entry("late", &[&format!("error {UNKNOWN_TOPIC_OR_PARTITION}")]);
    assert_eq!(fetch(1), std::slice::from_ref(&failed));
    assert_eq!(fetch(2), [failed]);
    wire::create_topic(&mut server.wire(), "late", 1, &[]);
    assert_eq!(fetch(3), [entry("late", &[])]);
    assert_eq!(fetch(4), []);
}

#[test]
fn sessions_that_are_not_known_or_out_of_step_are_refused() {
    let server = TestServer::with(&[("max.incremental.fetch.session.cache.slots", "1")]);
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let id = session_of(&mut client, &[("t", 0)], READ_UNCOMMITTED);
    let mut fetch = |session| {
        let response = client.call(12, &request(session, &[], READ_UNCOMMITTED)).unwrap();
        (response.error_code, response.responses.len())
    };
    assert_eq!(fetch((id ^ 1, 1)), (FETCH_SESSION_ID_NOT_FOUND, 0));
    assert_eq!(fetch((id, 2)), (INVALID_FETCH_SESSION_EPOCH, 0));
    assert_eq!(fetch((id, 1)), (0, 0));
    assert_eq!(fetch((id, 1)), (INVALID_FETCH_SESSION_EPOCH, 0));
    let no_room = client.call(12, &request((0, 0), &[("t", 0)], READ_UNCOMMITTED)).unwrap();
    assert_eq!((no_room.session_id, no_room.responses.len()), (0, 1), "a full answer without a session");
    let ended = client.call(12, &request((id, -1), &[("t", 0)], READ_UNCOMMITTED)).unwrap();
    assert_eq!((ended.session_id, ended.responses.len()), (0, 1));
    let gone = client.call(12, &request((id, 2), &[], READ_UNCOMMITTED)).unwrap();
    assert_eq!(gone.error_code, FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn topics_of_a_session_are_named_in_one_way_and_found_by_id_when_they_come_again() {
    let server = TestServer::start();
    let mut client = server.wire();
    let id = wire::create_topic(&mut client, "t", 1, &[]);
    let mut full = request((0, 0), &[("t", 0)], READ_UNCOMMITTED);
    full.topics[0].topic = TopicName::default();
    full.topics[0].topic_id = id;
    let response = client.call(13, &full).unwrap();
    let session = response.session_id;
    assert!(session != 0 && response.responses[0].topic_id == id);
    let by_name = client.call(12, &request((session, 1), &[], READ_UNCOMMITTED)).unwrap();
    assert_eq!(by_name.error_code, FETCH_SESSION_TOPIC_ID_ERROR);
    let response = client.call(13, &request((session, 1), &[], READ_UNCOMMITTED)).unwrap();
    assert_eq!((response.error_code, response.responses.len()), (0, 0));
    let delete =
        DeleteTopicsRequest::default().with_topic_names(vec![topic_name("t")]).with_timeout_ms(9_000);
    assert_eq!(client.call(5, &delete).unwrap().responses[0].error_code, 0);
    assert_ne!(wire::create_topic(&mut client, "t", 1, &[]), id);
    let response = client.call(13, &request((session, 2), &[], READ_UNCOMMITTED)).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, UNKNOWN_TOPIC_ID);
}

#[test]
fn a_read_committed_session_is_told_when_a_transaction_is_decided() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let id = session_of(&mut client, &[("t", 0)], READ_COMMITTED);
    let producer = init_producer(&mut server.wire());
    let records = wire::batch_with(wire::transactional(producer, 0), &["decided"]);
    assert_eq!(wire::produce_in_transaction(&mut server.wire(), "tx", "t", records).error_code, 0);
    let mut fetch = |epoch| {
        let response = client.call(12, &request((id, epoch), &[], READ_COMMITTED)).unwrap();
        let told = told(&response);
        let stable = response.responses.first().map(|topic| topic.partitions[0].last_stable_offset);
        (told, stable)
    };
    assert_eq!(fetch(1), (vec![entry("t", &[])], Some(0)), "the high watermark has moved");
    assert_eq!(fetch(2), (vec![], None));
    commit(&mut server.wire(), producer);
    // The marker is written after the answer.
    let (told, stable) = (3..).map(fetch).find(|(told, _)| !told.is_empty()).unwrap();
    assert_eq!(told, [entry("t", &["decided"])]);
    assert_eq!(stable, Some(2));
}

#[test]
fn versions_before_seven_know_no_sessions() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let full = wire::fetch_request("t", 0, 0, READ_UNCOMMITTED);
    for _ in 0..2 {
        let response = client.call(6, &full).unwrap();
        assert_eq!((response.session_id, response.responses.len()), (0, 1));
    }
}
