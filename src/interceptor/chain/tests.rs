use std::sync::atomic::Ordering;

use super::*;
use crate::ids::{PartitionIndex, ProducerEpoch, ProducerId, ProducerIdent, Sequence, TopicName};
use crate::interceptor::fake::{FakeInterceptorHost, Seen};
use crate::interceptor::{Attachment, FaultPolicy, InterceptorLimits, Interceptors};
use crate::plugin::{LogSink, ModuleDigest, PluginHost};
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, BatchProducer, NewRecord};

const RULES: BatchRules = BatchRules { decompressed_bytes_max: 1 << 20, keys: KeyRule::Optional };

struct Fixture {
    interceptors: Interceptors,
    host: Arc<dyn PluginHost>,
    seen: Arc<Seen>,
    client: Client,
    partition: TopicPartition,
}

impl Fixture {
    /// Attachments by name and policy, in this order, on both paths of every topic.
    fn new(attachments: &[(&str, FaultPolicy)]) -> Fixture {
        let seen = Arc::new(Seen::default());
        let fixture = Fixture {
            interceptors: Interceptors::default(),
            host: Arc::new(FakeInterceptorHost(Arc::clone(&seen))),
            seen,
            client: Client { principal: Arc::from("User:alice"), client_id: "app".to_owned() },
            partition: TopicPartition::new(TopicName::new("t"), PartitionIndex::ZERO),
        };
        let links = (0..).zip(attachments).map(|(order, (name, on_fault))| {
            let attachment = Attachment {
                name: (*name).to_owned(),
                module: String::new(),
                topics: vec!["*".to_owned()],
                principals: vec!["*".to_owned()],
                paths: vec![Direction::Produce, Direction::Fetch],
                order,
                on_fault: *on_fault,
                config: Default::default(),
                limits: InterceptorLimits::default(),
            };
            fixture.link(attachment)
        });
        // The other way round: the order is the attachments', not the list's.
        let links: Vec<_> = links.collect::<Vec<_>>().into_iter().rev().collect();
        fixture.interceptors.replace(links);
        fixture
    }

    fn link(&self, attachment: Attachment) -> Arc<Link> {
        self.interceptors.make(attachment, ModuleDigest::of(b""), Arc::clone(&self.host), LogSink::none())
    }

    fn chain(&self, direction: Direction) -> Chain {
        self.interceptors.chain(direction, "t", "User:alice").unwrap()
    }

    async fn judge(&self, values: &[&str]) -> Result<Option<Vec<(i64, String)>>, Refusal> {
        let judged = self.chain(Direction::Produce);
        let judged = judged.judge(&self.client, &self.partition, &batch(0, values), RULES).await?;
        Ok(judged.as_ref().map(content))
    }
}

fn batch(base_offset: i64, values: &[&str]) -> RecordBatch {
    let producer = BatchProducer {
        ident: ProducerIdent {
            id: ProducerId::from_wire(1).unwrap(),
            epoch: ProducerEpoch::from_wire(0).unwrap(),
        },
        base_sequence: Sequence::from_wire(10),
    };
    let mut builder = BatchBuilder::new(BatchOptions { producer: Some(producer), ..BatchOptions::default() });
    for value in values {
        builder.append(NewRecord { value: Some(value.as_bytes()), ..NewRecord::default() });
    }
    let offset = Offset::from_wire(base_offset).unwrap();
    builder.build().stamped(offset, crate::ids::LeaderEpoch::from_wire(0).unwrap())
}

/// Offsets and values.
fn content(batch: &RecordBatch) -> Vec<(i64, String)> {
    let records = batch.records(1 << 20).unwrap();
    let records = records.iter().map(Result::unwrap);
    records
        .map(|record| (record.offset.value(), String::from_utf8(record.value.unwrap().to_vec()).unwrap()))
        .collect()
}

fn expect(records: &[(i64, &str)]) -> Option<Vec<(i64, String)>> {
    Some(records.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect())
}

#[tokio::test]
async fn what_no_interceptor_touches_is_left_as_it_is() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed), ("b", FaultPolicy::FailClosed)]);
    assert_eq!(fixture.judge(&["x", "y"]).await, Ok(None));
    let origin = fixture.seen.origins.lock()[0].clone();
    assert_eq!((&*origin.principal, origin.client_id.as_str()), ("User:alice", "app"));
    let view = fixture.interceptors.link("a").unwrap().counters();
    assert_eq!((view.produce.batches, view.produce.kept), (1, 2));
}

#[tokio::test]
async fn each_interceptor_sees_what_the_one_before_left() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed), ("b", FaultPolicy::FailClosed)]);
    let judged = fixture.judge(&["drop", "mark ", "replace drop", "x", "replace replace y"]).await;
    assert_eq!(judged, Ok(expect(&[(1, "mark ab"), (3, "x"), (4, "y")])));
    let counters = |name| fixture.interceptors.link(name).unwrap().counters().produce;
    let counts = |name| {
        let view = counters(name);
        (view.kept, view.replaced, view.dropped, view.rejected)
    };
    assert_eq!((counts("a"), counts("b")), ((1, 3, 1, 0), (1, 2, 1, 0)));
}

#[tokio::test]
async fn a_batch_that_is_dropped_whole_keeps_its_place_and_goes_no_further() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed), ("b", FaultPolicy::FailClosed)]);
    let chain = fixture.chain(Direction::Produce);
    let before = batch(0, &["drop", "drop"]);
    let after = chain.judge(&fixture.client, &fixture.partition, &before, RULES).await.unwrap().unwrap();
    assert_eq!((after.header().record_count, after.header().last_offset_delta), (0, 1));
    assert_eq!(after.header().producer, before.header().producer);
    assert_eq!(fixture.interceptors.link("b").unwrap().counters().produce.batches, 0);
}

#[tokio::test]
async fn a_rejection_names_records_as_the_client_sent_them() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed), ("b", FaultPolicy::FailClosed)]);
    let judged = fixture.judge(&["drop", "replace reject late", "x"]).await;
    let refusal = judged.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::PolicyViolation);
    assert_eq!(refusal.message, "interceptor b: late");
    let records = [RecordRefusal { index: 1, message: "interceptor b: late".to_owned() }];
    assert_eq!(refusal.records, records);
    let refusal = fixture.judge(&["reject one", "x", "reject two"]).await.unwrap_err();
    assert_eq!(refusal.message, "2 records were rejected; the first: interceptor a: one");
    assert_eq!(refusal.records.iter().map(|record| record.index).collect::<Vec<_>>(), [0, 2]);
}

#[tokio::test]
async fn a_fault_follows_the_attachment_s_policy() {
    let closed = Fixture::new(&[("a", FaultPolicy::FailClosed)]);
    let refusal = closed.judge(&["x", "trap"]).await.unwrap_err();
    assert_eq!((refusal.code, refusal.records.len()), (ErrorCode::UnknownServerError, 0));
    assert!(refusal.message.contains("interceptor a could not judge the batch: the plugin trapped"));
    assert_eq!(closed.judge(&["x"]).await, Ok(None), "the next batch has a fresh instance");
    assert_eq!(closed.seen.made.load(Ordering::SeqCst), 2);

    let open = Fixture::new(&[("a", FaultPolicy::FailOpen), ("b", FaultPolicy::FailClosed)]);
    let refusal = open.judge(&["gives-up", "x"]).await.unwrap_err();
    assert!(refusal.message.contains("interceptor b"), "{refusal}");
    let open = Fixture::new(&[("a", FaultPolicy::FailOpen)]);
    assert_eq!(open.judge(&["drop", "gives-up"]).await, Ok(None), "it passes as it was");
    assert_eq!(open.seen.made.load(Ordering::SeqCst), 1, "the instance lives on");
    let view = open.interceptors.link("a").unwrap().counters();
    assert_eq!((view.faults, view.passed_open), (1, 1));
    assert_eq!(view.last_fault.as_deref(), Some("the plugin gave up: it cannot"));

    let reload = Fixture::new(&[("a", FaultPolicy::Reload)]);
    assert!(reload.judge(&["once"]).await.is_err(), "a fresh instance's first call is the first call again");
    assert_eq!(reload.seen.made.load(Ordering::SeqCst), 2, "it was tried twice");
}

#[tokio::test]
async fn an_interceptor_that_does_not_start_is_not_started_again_and_again() {
    let fixture = Fixture::new(&[]);
    let attachment = Attachment {
        name: "a".to_owned(),
        module: String::new(),
        topics: vec!["*".to_owned()],
        principals: vec!["*".to_owned()],
        paths: vec![Direction::Produce],
        order: 0,
        on_fault: FaultPolicy::FailClosed,
        config: [("refuse".to_owned(), "no such field".to_owned())].into(),
        limits: InterceptorLimits::default(),
    };
    let link = fixture.link(attachment);
    assert!(link.warm_up().await.unwrap_err().to_string().contains("no such field"));
    fixture.interceptors.replace(vec![link]);
    for _ in 0..5 {
        assert!(fixture.judge(&["x"]).await.is_err());
    }
    assert_eq!(fixture.seen.made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_link_hears_what_became_of_a_batch_and_closes_when_it_is_gone() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed), ("b", FaultPolicy::FailClosed)]);
    fixture.judge(&["x"]).await.unwrap();
    let chain = fixture.chain(Direction::Produce);
    let pending = || chain.clone().into_pending(&fixture.partition, 2);
    pending().tell(Ok(Offset::from_wire(7).unwrap())).await;
    pending().tell(Err(ErrorCode::MessageTooLarge)).await;
    let links = [fixture.interceptors.link("a").unwrap(), fixture.interceptors.link("b").unwrap()];
    drop(chain);
    let counters = links.each_ref().map(Arc::downgrade);
    drop(links);
    fixture.interceptors.close().await;
    assert!(counters.iter().all(|link| link.upgrade().is_none()));
    let heard = fixture.seen.acknowledged.lock();
    let outcomes: Vec<_> = heard.iter().map(|ack| (ack.record_count, ack.outcome)).collect();
    assert_eq!(outcomes.iter().filter(|ack| **ack == (2, Ok(Offset::from_wire(7).unwrap()))).count(), 2);
    assert_eq!(outcomes.iter().filter(|ack| **ack == (2, Err("MESSAGE_TOO_LARGE"))).count(), 2);
    assert_eq!(fixture.seen.closed.load(Ordering::SeqCst), fixture.seen.made.load(Ordering::SeqCst));
}

#[tokio::test]
async fn only_so_many_instances_run_at_once_and_a_call_that_is_given_up_frees_its_place() {
    let fixture = Arc::new(Fixture::new(&[("a", FaultPolicy::FailClosed)]));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *fixture.seen.gate.lock() = Some(Arc::clone(&gate));
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.judge(&["waits"]).await })
        })
        .collect();
    let most = std::thread::available_parallelism().unwrap().get() * 2;
    while fixture.seen.inside.load(Ordering::SeqCst) < most {
        tokio::task::yield_now().await;
    }
    for call in &calls {
        call.abort();
    }
    for call in calls {
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!(fixture.seen.made.load(Ordering::SeqCst), most);
    gate.add_permits(1);
    assert_eq!(fixture.judge(&["waits"]).await, Ok(None));
}

#[tokio::test]
async fn a_fetch_is_judged_batch_by_batch_up_to_the_first_that_is_refused() {
    let fixture = Fixture::new(&[("a", FaultPolicy::FailClosed)]);
    let marker = EndTransactionMarker {
        producer: ProducerIdent {
            id: ProducerId::from_wire(1).unwrap(),
            epoch: ProducerEpoch::from_wire(0).unwrap(),
        },
        result: crate::wire::control_record::EndTransaction::Commit,
        coordinator_epoch: crate::ids::CoordinatorEpoch::from_wire(0).unwrap(),
    };
    let marker = marker.to_batch(crate::clock::Timestamp::from_ms(1));
    let marker =
        marker.stamped(Offset::from_wire(2).unwrap(), crate::ids::LeaderEpoch::from_wire(0).unwrap());
    let judge = |batches: &[&RecordBatch]| {
        let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
        let chain = fixture.chain(Direction::Fetch);
        let (client, partition) = (&fixture.client, &fixture.partition);
        async move { chain.judge_all(client, partition, Bytes::from(bytes), RULES).await }
    };
    let (first, last) = (batch(0, &["x", "drop"]), batch(3, &["y"]));
    let mut bytes = judge(&[&first, &marker, &last]).await.unwrap().unwrap();
    let mut judged = Vec::new();
    while let Some(batch) = RecordBatch::take_first(&mut bytes).unwrap() {
        judged.push(batch);
    }
    assert_eq!(content(&judged[0]), [(0, "x".to_owned())]);
    assert_eq!((judged[1].bytes(), judged[2].bytes()), (marker.bytes(), last.bytes()));
    assert_eq!(judge(&[&marker, &last]).await.unwrap(), None);

    let bad = batch(3, &["reject not for you"]);
    let before = judge(&[&first, &bad]).await.unwrap().unwrap();
    assert_eq!(content(&RecordBatch::check(before).unwrap()), [(0, "x".to_owned())]);
    assert_eq!(judge(&[&bad, &first]).await.unwrap_err().code, ErrorCode::PolicyViolation);
}

#[test]
fn warnings_that_clients_can_bring_about_come_one_at_a_time() {
    let warnings = crate::interceptor::link::WarningRate::default();
    assert!(warnings.is_due());
    assert!(!warnings.is_due());
}
