//! Where a client's records go, over a broker on a simulated disk and a plugin host written in Rust.

use super::*;
use crate::broker::fixture::TestBroker;
use crate::interceptor::{Attachment, FaultPolicy, InterceptorLimits};
use crate::plugin::Direction;
use crate::processor::attachments::{Attachments, AttachmentsOptions};
use crate::processor::fake_host::FakeHost;
use crate::processor::log_topic::PluginLogs;
use crate::processor::partitioner::partition_for_key;
use crate::processor::registry::ModuleEntry;

struct Inline {
    cluster: TestBroker,
    host: Arc<FakeHost>,
    registry: Arc<Registry>,
    producer: InlineProducer,
}

impl Inline {
    /// A broker that knows a partitioner `choose`, an interceptor `judge` and a processor `job`.
    async fn new() -> Inline {
        let (cluster, host) = (TestBroker::new(), Arc::new(FakeHost::new()));
        let registry = Arc::new(Registry::volatile());
        for (name, bytes) in [("choose", "partitioner"), ("judge", "interceptor"), ("job", "processor")] {
            let described = host.compile(bytes.as_bytes()).unwrap();
            let entry = ModuleEntry {
                digest: described.digest.to_string(),
                names: [name.to_owned()].into(),
                world: described.world.to_string(),
                imports: vec![],
                module_bytes: 1,
                compiled_bytes: 1,
                compile_ms: 1,
            };
            registry.put_module(entry).await.unwrap();
        }
        cluster.broker.set_partitioner_modules(registry.partitioner_modules());
        let producer = InlineProducer::new(
            Arc::clone(&cluster.broker),
            host.clone(),
            Arc::clone(&registry),
            TaskLimits::default(),
        );
        Inline { cluster, host, registry, producer }
    }

    async fn send(&self, sent: SentRecords) -> Result<Vec<Result<Written, NotWritten>>, InlineError> {
        self.producer.produce(sent, &client()).await
    }

    /// Sends records that must all be taken; answers partitions and offsets.
    async fn written(&self, sent: SentRecords) -> Vec<(i32, i64)> {
        let outcomes = self.send(sent).await.unwrap().into_iter();
        outcomes.map(Result::unwrap).map(|w| (w.partition.value(), w.offset.value())).collect()
    }
}

fn client() -> Client {
    Client { principal: Arc::from("User:ANONYMOUS"), client_id: "http".into() }
}

fn record(value: &str) -> SentRecord {
    SentRecord { value: Some(value.into()), ..SentRecord::default() }
}

fn to_partition(partition: i32, value: &str) -> SentRecord {
    SentRecord { partition: PartitionIndex::from_wire(partition), ..record(value) }
}

fn keyed(key: &str) -> SentRecord {
    SentRecord { key: Some(key.into()), ..record(key) }
}

fn sent(topic: &str, records: Vec<SentRecord>) -> SentRecords {
    SentRecords { topic: TopicName::new(topic), records, partitioner: None }
}

fn chosen(topic: &str, module: &str, records: Vec<SentRecord>) -> SentRecords {
    let partitioner = Partitioner { module: module.into(), config: BTreeMap::new() };
    SentRecords { partitioner: Some(partitioner), ..sent(topic, records) }
}

#[tokio::test]
async fn keys_choose_as_kafka_s_clients_do_and_records_without_one_stay_together() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 5, &[]).await;
    let keys = ["a", "b", "c", "alice", "bob", ""];
    let written = inline.written(sent("t", keys.map(keyed).into())).await;
    for (key, (partition, _)) in keys.iter().zip(&written) {
        assert_eq!(partition_for_key(key.as_bytes(), 5).unwrap().value(), *partition, "{key}");
    }
    let mut found = Vec::new();
    for _ in 0..5 {
        let written = inline.written(sent("t", vec![record("x"), keyed("alice"), record("y")])).await;
        assert_eq!(written[0].0, written[2].0);
        found.push(written[0].0);
    }
    assert_eq!(found, [0, 1, 2, 3, 4], "another partition from request to request");
}

#[tokio::test]
async fn offsets_are_told_in_the_order_of_the_records_and_a_batch_is_made_for_each_partition() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 2, &[]).await;
    let records = [(1, "a"), (0, "b"), (1, "c"), (1, "d"), (0, "e")];
    let records = records.map(|(partition, value)| to_partition(partition, value));
    let written = inline.written(sent("t", records.to_vec())).await;
    assert_eq!(written, [(1, 0), (0, 0), (1, 1), (1, 2), (0, 1)]);
    assert_eq!(inline.cluster.values("t", 0).await, ["b", "e"]);
    let batches = inline.cluster.batches("t", 1).await;
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].header().base_timestamp, 1_000_000, "the present");
    let timed = SentRecord { timestamp: Some(7), ..to_partition(1, "f") };
    assert_eq!(inline.written(sent("t", vec![timed])).await, [(1, 3)]);
    assert_eq!(inline.cluster.batches("t", 1).await[1].header().base_timestamp, 7);
}

#[tokio::test]
async fn a_topic_s_partitioner_decides_for_every_record_and_nothing_waits_in_the_ingress() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 3, &[("tidemill.partitioner", "choose")]).await;
    let records = vec![record("2 a"), to_partition(0, "1 b"), keyed("0"), record("none")];
    // The request's own partitioner is not even asked.
    let written = inline.written(chosen("t", "choose", records)).await;
    assert_eq!(written, [(2, 0), (1, 0), (0, 0), (0, 1)]);
    assert_eq!(inline.cluster.values("t", 2).await, ["2 a"]);
    for partition in 0..3 {
        assert!(inline.cluster.batches("__ingress.t", partition).await.is_empty());
    }
}

#[tokio::test]
async fn a_request_s_partitioner_decides_where_no_partition_is_named() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 3, &[]).await;
    let records = vec![record("2 a"), to_partition(0, "1 b"), record("1 c")];
    assert_eq!(inline.written(chosen("t", "choose", records)).await, [(2, 0), (0, 0), (1, 0)]);
    let all_named = vec![to_partition(2, "poison")];
    assert_eq!(inline.written(chosen("t", "choose", all_named)).await, [(2, 1)]);
}

#[tokio::test]
async fn a_partitioner_is_asked_in_calls_of_bounded_size_and_records_keep_their_numbers() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 2, &[("max.message.bytes", "9000000")]).await;
    let big = |partition: i32| record(&format!("{partition} {}", "x".repeat(CALL_BYTES / 2)));
    let records = vec![big(1), to_partition(0, "named"), big(0), big(1), big(0), big(1)];
    let written = inline.written(chosen("t", "choose", records.clone())).await;
    assert_eq!(written, [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2), (1, 2)]);
    let poisoned = records.into_iter().chain([record("poison")]).collect();
    let error = inline.send(chosen("t", "choose", poisoned)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the partitioner \"choose\" of the request failed at record 6: poison has no place"
    );
}

#[tokio::test]
async fn when_a_partitioner_fails_nothing_is_written() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("own", 2, &[("tidemill.partitioner", "choose")]).await;
    inline.cluster.create_topic("t", 2, &[]).await;
    let message = async |sent| inline.send(sent).await.unwrap_err().to_string();
    let records = || vec![to_partition(0, "1"), record("0 fine"), record("trap")];
    assert_eq!(
        message(sent("own", records())).await,
        "the partitioner \"choose\" of topic \"own\" failed: the plugin trapped: unreachable"
    );
    for (value, words) in
        [("panic", "the host has a bug"), ("9", "it chooses partition 9 for record 1, and there are 2")]
    {
        let text = message(chosen("t", "choose", vec![record("0"), record(value)])).await;
        assert!(text.starts_with("the partitioner \"choose\" of the request failed: "), "{text}");
        assert!(text.contains(words), "{text}");
    }
    let mut refusing = chosen("t", "choose", vec![record("0")]);
    refusing.partitioner.as_mut().unwrap().config.insert("offset".into(), "far".into());
    let text = message(refusing).await;
    assert!(text.starts_with("the partitioner \"choose\" of the request does not start: "), "{text}");
    assert!(text.contains("offset is no number"), "{text}");
    for (topic, partition) in [("own", 0), ("own", 1), ("t", 0), ("t", 1)] {
        assert!(inline.cluster.batches(topic, partition).await.is_empty(), "{topic} {partition}");
    }
}

#[tokio::test]
async fn a_request_that_names_what_is_not_there_is_refused_as_a_whole() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 2, &[]).await;
    let error = async |sent| inline.send(sent).await.unwrap_err();
    assert_eq!(error(sent("no", vec![record("a")])).await, InlineError::UnknownTopic(TopicName::new("no")));
    assert!(matches!(
        error(sent("__consumer_offsets", vec![record("a")])).await,
        InlineError::InternalTopic(_)
    ));
    assert_eq!(
        error(sent("t", vec![record("a"), to_partition(2, "b")])).await.to_string(),
        "record 1 is for partition 2, and topic \"t\" has 2"
    );
    for module in ["nothing", "job"] {
        assert!(matches!(error(chosen("t", module, vec![record("a")])).await, InlineError::Module(_)));
    }
    assert!(inline.cluster.batches("t", 0).await.is_empty());
}

#[tokio::test]
async fn a_partition_that_refuses_its_batch_says_why_and_the_others_are_written() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 2, &[("max.message.bytes", "200")]).await;
    let records = vec![to_partition(0, "a"), to_partition(1, &"x".repeat(300)), to_partition(0, "b")];
    let outcomes = inline.send(sent("t", records)).await.unwrap();
    assert_eq!(outcomes[1].as_ref().unwrap_err().code, ErrorCode::MessageTooLarge);
    assert_eq!(outcomes[2].as_ref().unwrap().offset.value(), 1);
    inline.cluster.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
    let outcomes = inline.send(sent("compacted", vec![record("without a key")])).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap_err().code, ErrorCode::InvalidRecord);
}

#[tokio::test]
async fn interceptors_judge_the_records_as_a_client_s_and_hear_what_became_of_them() {
    let inline = Inline::new().await;
    inline.cluster.create_topic("t", 2, &[]).await;
    let attachments = Attachments::start(AttachmentsOptions {
        interceptors: Arc::clone(inline.cluster.broker.interceptors()),
        host: inline.host.clone(),
        registry: Arc::clone(&inline.registry),
        clock: crate::clock::Clock::System,
        logs: PluginLogs::default(),
    });
    let attachment = Attachment {
        name: "judge".into(),
        module: inline.registry.module("judge").unwrap().digest,
        topics: vec!["*".into()],
        principals: vec!["User:ANONYMOUS".into()],
        paths: vec![Direction::Produce],
        order: 1,
        on_fault: FaultPolicy::FailClosed,
        config: BTreeMap::new(),
        limits: InterceptorLimits::default(),
    };
    attachments.await.unwrap().attach(attachment).await.unwrap();
    let records = vec![
        to_partition(0, "drop me"),
        to_partition(0, "replace by this"),
        to_partition(1, "fine"),
        to_partition(1, "reject too bad"),
    ];
    let outcomes = inline.send(sent("t", records)).await.unwrap();
    assert_eq!(outcomes[1].as_ref().unwrap().offset.value(), 1, "what is dropped leaves a gap");
    assert_eq!(inline.cluster.values("t", 0).await, ["by this"]);
    for refused in &outcomes[2..] {
        let refused = refused.as_ref().unwrap_err();
        assert_eq!(refused.code, ErrorCode::PolicyViolation);
        assert_eq!(refused.message, "interceptor judge: too bad");
    }
    let seen = &inline.host.intercepted;
    let origin = seen.origins.lock()[0].clone();
    assert_eq!((&*origin.principal, origin.client_id.as_str()), ("User:ANONYMOUS", "http"));
    crate::processor::tests::within(async {
        while seen.acknowledged.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let outcomes = seen.acknowledged.lock().iter().map(|told| told.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes, [Err("POLICY_VIOLATION"), Ok(Offset::ZERO)]);
}
