use std::net::TcpListener;
use std::thread::JoinHandle;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use kafka_protocol::messages::{ApiVersionsResponse, BrokerId, ListGroupsRequest};
use kafka_protocol::protocol::decode_request_header_from_buffer;

use super::*;

/// What a broker in a test answers to the next request, by its header.
type Answer = Box<dyn Fn(&RequestHeader, Bytes) -> Vec<u8> + Send>;

/// A broker that gives these answers in order, and then closes the connection.
fn broker(answers: Vec<Answer>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let mut size = [0; 4];
            stream.read_exact(&mut size).unwrap();
            let mut frame = vec![0; u32::from_be_bytes(size) as usize];
            stream.read_exact(&mut frame).unwrap();
            let mut frame = Bytes::from(frame);
            let header = decode_request_header_from_buffer(&mut frame).unwrap();
            let reply = answer(&header, frame);
            stream.write_all(&(reply.len() as u32).to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    (address, thread)
}

fn reply<R: Encodable + HeaderVersion>(header: &RequestHeader, response: &R, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(header.correlation_id)
        .encode(&mut bytes, R::header_version(version))
        .unwrap();
    response.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

fn versions(keys: &[(i16, i16, i16)]) -> ApiVersionsResponse {
    let api = |(key, least, most): &(i16, i16, i16)| {
        ApiVersion::default().with_api_key(*key).with_min_version(*least).with_max_version(*most)
    };
    ApiVersionsResponse::default().with_api_keys(keys.iter().map(api).collect())
}

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_request_goes_out_in_the_highest_version_that_both_know() {
    let (address, thread) = broker(vec![
        Box::new(|header, _| reply(header, &versions(&[(3, 0, 9)]), 3)),
        Box::new(|header, mut body| {
            assert_eq!((header.request_api_key, header.request_api_version), (3, 9));
            let request = MetadataRequest::decode(&mut body, 9).unwrap();
            assert!(!request.allow_auto_topic_creation);
            let broker =
                MetadataResponseBroker::default().with_node_id(BrokerId(7)).with_host(text("h")).with_port(1);
            let topic = MetadataResponseTopic::default().with_name(Some(topic_name("t")));
            reply(header, &MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]), 9)
        }),
    ]);
    let mut cluster = Cluster::connect(&address, PATIENCE).unwrap();
    let metadata = cluster.metadata(Some(&["t".to_owned()])).unwrap();
    assert_eq!(metadata.topics.len(), 1);
    // The only broker is the one we speak with, wherever it says that it is.
    assert_eq!(cluster.node(7).unwrap().address, address);
    thread.join().unwrap();
}

#[test]
fn a_broker_that_does_not_know_our_question_is_asked_in_its_oldest_form() {
    let (address, thread) = broker(vec![
        Box::new(|header, _| {
            let refusal = versions(&[(18, 0, 0)]).with_error_code(ErrorCode::UnsupportedVersion.code());
            reply(header, &refusal, 0)
        }),
        Box::new(|header, _| {
            assert_eq!(header.request_api_version, 0);
            reply(header, &versions(&[(3, 0, 1)]), 0)
        }),
    ]);
    let connection = Connection::open(&address, PATIENCE).unwrap();
    assert_eq!(connection.versions, BTreeMap::from([(3, (0, 1))]));
    thread.join().unwrap();
}

#[test]
fn what_the_broker_does_not_serve_is_told_without_asking_it() {
    let (address, thread) = broker(vec![Box::new(|header, _| reply(header, &versions(&[(16, 90, 99)]), 3))]);
    let mut connection = Connection::open(&address, PATIENCE).unwrap();
    let error = connection.call(&MetadataRequest::default()).unwrap_err();
    assert!(error.message.ends_with("does not serve Metadata"), "{error}");
    let error = connection.call(&ListGroupsRequest::default()).unwrap_err();
    assert!(error.message.contains("serves ListGroups in versions 90 to 99"), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_closed_connection_and_a_foreign_server_are_told_apart() {
    let (address, thread) = broker(vec![]);
    let error = Connection::open(&address, PATIENCE).unwrap_err();
    assert_eq!(error.kind, ExitKind::Unreachable);
    thread.join().unwrap();
    let (address, thread) = broker(vec![Box::new(|_, _| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]);
    let error = Connection::open(&address, PATIENCE).unwrap_err();
    assert!(error.message.ends_with("does not speak the Kafka protocol"), "{error}");
    thread.join().unwrap();
}

#[test]
fn the_next_server_is_tried_when_one_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Connection::open(&free.to_string(), PATIENCE).unwrap_err();
    assert_eq!(error.message, format!("cannot reach a broker at {free}: connection refused"));
    assert!(error.hint.unwrap().contains("tidemill serve"));
    let (address, thread) = broker(vec![Box::new(|header, _| reply(header, &versions(&[]), 3))]);
    Connection::open(&format!("{free}, {address}"), PATIENCE).unwrap();
    thread.join().unwrap();
    assert_eq!(Connection::open("localhost", PATIENCE).unwrap_err().kind, ExitKind::Usage);
}
