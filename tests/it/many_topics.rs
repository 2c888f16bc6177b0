//! Five thousand topics, and a topic of a thousand partitions: made, described, written to, read, and all there after
//! a restart. What took how long is told and not checked.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_topic_partitions_request::Cursor;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeTopicPartitionsRequest, FetchRequest, MetadataRequest, ProduceRequest,
};
use tidemill::error_code::ErrorCode;
use tidemill::testing::WireClient;
use uuid::Uuid;

use crate::fixture::TestServer;
use crate::fixture::wire::{
    READ_COMMITTED, READ_UNCOMMITTED, assert_still_serves, batch, create_topic, delete_topic, fetch,
    fetch_request, produce, produce_request, topic_name, values,
};

const TOPICS: usize = 5_000;
/// How many of them one request creates.
const AT_ONCE: usize = 250;
const PARTITIONS: i32 = 1_000;

/// Tells how long something took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    println!("{what}: {:.2} s", begun.elapsed().as_secs_f64());
    done
}

fn name(number: usize) -> String {
    format!("topic.{number:04}")
}

fn create_all(client: &mut WireClient) {
    let numbers: Vec<usize> = (0..TOPICS).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let topic = |number: &usize| {
            CreatableTopic::default()
                .with_name(topic_name(&name(*number)))
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        let topics = numbers.iter().map(topic).collect();
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(60_000);
        let response = client.call(7, &request).unwrap();
        assert_eq!(response.topics.len(), numbers.len());
        for topic in &response.topics {
            assert_eq!(topic.error_code, 0, "{:?}: {:?}", topic.name, topic.error_message);
        }
    }
}

/// All topics with their ids, as Metadata tells them at once.
fn described_at_once(client: &mut WireClient) -> BTreeMap<String, Uuid> {
    let response = client.call(12, &MetadataRequest::default().with_topics(None)).unwrap();
    let topics = response.topics.iter().map(|topic| {
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 1), "{:?}", topic.name);
        assert_eq!((topic.partitions[0].error_code, topic.partitions[0].leader_id.0), (0, 1));
        (topic.name.as_ref().unwrap().to_string(), topic.topic_id)
    });
    topics.collect()
}

/// The same as DescribeTopicPartitions tells them, page by page.
fn described_in_pages(client: &mut WireClient) -> BTreeMap<String, Uuid> {
    let (mut topics, mut cursor) = (BTreeMap::new(), None);
    loop {
        let request = DescribeTopicPartitionsRequest::default()
            .with_response_partition_limit(1_000)
            .with_cursor(cursor);
        let response = client.call(0, &request).unwrap();
        topics.extend(response.topics.iter().map(|topic| {
            assert_eq!((topic.error_code, topic.partitions.len()), (0, 1), "{:?}", topic.name);
            (topic.name.as_ref().unwrap().to_string(), topic.topic_id)
        }));
        let Some(next) = response.next_cursor else { return topics };
        let next =
            Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        cursor = Some(next);
    }
}

#[test]
fn five_thousand_topics_are_made_described_and_there_after_a_restart() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    timed("creating 5,000 topics", || create_all(&mut client));
    let known = timed("describing them at once", || described_at_once(&mut client));
    assert!((0..TOPICS).map(name).eq(known.keys().cloned()));
    assert_eq!(timed("describing them in pages", || described_in_pages(&mut client)), known);
    let some = [0, 1, TOPICS / 2, TOPICS - 1].map(name);
    for topic in &some {
        assert_eq!(produce(&mut client, topic, 0, batch(&["before"])).error_code, 0);
    }
    timed("stopping and starting with them", || server.restart());
    let mut client = server.wire();
    assert_eq!(described_at_once(&mut client), known);
    for topic in &some {
        assert_eq!(produce(&mut client, topic, 0, batch(&["after"])).base_offset, 1);
        let read = values(&fetch(&mut client, topic, 0, 0, READ_COMMITTED));
        assert_eq!(read, [(0, "before".to_owned()), (1, "after".to_owned())], "{topic}");
    }
    timed("deleting four of them", || {
        some.iter().for_each(|topic| assert_eq!(delete_topic(&mut client, topic), 0));
    });
    assert_eq!(described_at_once(&mut client).len(), TOPICS - some.len());
    assert_still_serves(&server);
}

#[test]
fn a_request_for_more_partitions_than_one_may_create_gets_none() {
    let server = TestServer::start();
    let mut client = server.wire();
    let topic = |name, partitions| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
    };
    let mut codes = |topics| {
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000);
        let response = client.call(7, &request).unwrap();
        response.topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>()
    };
    let too_many = codes(vec![topic("a", 10_000), topic("b", 1)]);
    assert_eq!(too_many, [ErrorCode::PolicyViolation.code(); 2]);
    assert_eq!(codes(vec![topic("a", i32::MAX), topic("b", i32::MAX)]), too_many);
    let invalid = ErrorCode::InvalidPartitions.code();
    assert_eq!(
        codes(vec![topic("a", 0), topic("b", -2), topic("c", i32::MIN), topic("d", 2)]),
        [invalid, invalid, invalid, 0]
    );
    assert_eq!(topic_names(&mut server.wire()), ["d"]);
}

fn topic_names(client: &mut WireClient) -> Vec<String> {
    let response = client.call(12, &MetadataRequest::default().with_topics(None)).unwrap();
    response.topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string()).collect()
}

/// One batch for each partition.
fn produce_everywhere(value: &str) -> ProduceRequest {
    let mut request = produce_request("wide", 0, batch(&[value]));
    let data = |index| PartitionProduceData::default().with_index(index).with_records(Some(batch(&[value])));
    request.topic_data[0].partition_data = (0..PARTITIONS).map(data).collect();
    request
}

fn fetch_everywhere() -> FetchRequest {
    let mut request = fetch_request("wide", 0, 0, READ_UNCOMMITTED);
    let partition = |index| FetchPartition::default().with_partition(index).with_partition_max_bytes(1 << 20);
    request.topics[0].partitions = (0..PARTITIONS).map(partition).collect();
    request
}

/// What each partition holds, read in one fetch.
fn read_everywhere(client: &mut WireClient) -> Vec<Vec<String>> {
    let response = client.call(12, &fetch_everywhere()).unwrap();
    let partitions = response.responses[0].partitions.iter();
    let read = partitions.map(|data| {
        assert_eq!(data.error_code, 0, "partition {}", data.partition_index);
        values(data).into_iter().map(|(_, value)| value).collect()
    });
    read.collect()
}

#[test]
fn a_topic_of_a_thousand_partitions_is_written_read_and_there_after_a_restart() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    timed("creating 1,000 partitions", || create_topic(&mut client, "wide", PARTITIONS, &[]));
    let described = |client: &mut WireClient| {
        let response = client.call(12, &MetadataRequest::default().with_topics(None)).unwrap();
        let partitions = response.topics[0].partitions.iter();
        partitions.map(|partition| (partition.error_code, partition.partition_index)).collect::<Vec<_>>()
    };
    let all: Vec<(i16, i32)> = (0..PARTITIONS).map(|index| (0, index)).collect();
    assert_eq!(described(&mut client), all);
    assert_eq!(produce(&mut client, "wide", PARTITIONS, batch(&["nowhere"])).error_code, 3);
    for value in ["a", "b"] {
        let response = timed("producing to all", || client.call(9, &produce_everywhere(value)).unwrap());
        let answers = &response.responses[0].partition_responses;
        assert_eq!(answers.len(), all.len());
        assert!(answers.iter().all(|answer| answer.error_code == 0));
    }
    timed("stopping and starting with them", || server.restart());
    let mut client = server.wire();
    assert_eq!(described(&mut client), all);
    let read = timed("fetching from all", || read_everywhere(&mut client));
    assert_eq!(read, vec![["a", "b"]; all.len()]);
    for partition in [0, 1, PARTITIONS / 2, PARTITIONS - 1] {
        assert_eq!(produce(&mut client, "wide", partition, batch(&["c"])).base_offset, 2);
    }
    assert_eq!(timed("deleting them", || delete_topic(&mut client, "wide")), 0);
    assert_still_serves(&server);
}
