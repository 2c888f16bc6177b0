//! A coordinator in a box: its log as bytes, the effects on their way, and partitions to receive
//! them. It checks after every step that the log alone gives the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::coordinator::txn::{
    AddMode, AddPartitions, ClientApi, Effect, EndTxn, Event, FreshProducerId, InitProducerId, MarkerTarget,
    Reply, TransactionMetadata, TransactionState, TxnConfig, TxnOutput, TxnRecord, TxnShard,
};
use crate::coordinator::{Replayed, RequestId, Write};
use crate::error_code::ErrorCode;
use crate::ids::{
    CoordinatorEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdent, TopicName,
    TopicPartition, TransactionalId,
};
use crate::wire::control_record::{EndTransaction, TransactionVersion};

use super::partitions::{MarkerAnswer, Partitions};

pub(super) const TIMEOUT_MS: i32 = 60_000;
pub(super) const REQUEST: RequestId = RequestId(7);

type Encoded = (Bytes, Option<Bytes>);

pub(super) struct TxnFixture {
    pub shard: TxnShard,
    pub config: TxnConfig,
    pub now: Timestamp,
    /// What is durable, batch by batch.
    pub log: Vec<Vec<Encoded>>,
    /// Markers that have left the coordinator and not arrived.
    pub in_flight: Vec<Effect>,
    pub partitions: Partitions,
    coordinator_epoch: i32,
    next_producer_id: i64,
}

pub(super) fn id(text: &str) -> TransactionalId {
    TransactionalId::new(text)
}

pub(super) fn pay() -> TransactionalId {
    id("pay")
}

pub(super) fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic), PartitionIndex::from_wire(partition).unwrap())
}

pub(super) fn ident(producer_id: i64, epoch: i16) -> ProducerIdent {
    ProducerIdent {
        id: ProducerId::from_wire(producer_id).unwrap(),
        epoch: ProducerEpoch::from_wire(epoch).unwrap(),
    }
}

/// The ident one epoch before.
pub(super) fn before(producer: ProducerIdent) -> ProducerIdent {
    ident(producer.id.value(), producer.epoch.value() - 1)
}

/// The ident one epoch on.
pub(super) fn after(producer: ProducerIdent) -> ProducerIdent {
    ident(producer.id.value(), producer.epoch.value() + 1)
}

pub(super) fn add_event(
    id: &TransactionalId,
    producer: ProducerIdent,
    partitions: &[TopicPartition],
    version: TransactionVersion,
) -> AddPartitions {
    AddPartitions {
        request: REQUEST,
        transactional_id: id.clone(),
        producer,
        partitions: partitions.to_vec(),
        api: ClientApi::TransactionAbortable,
        version,
        mode: AddMode::Add,
    }
}

impl TxnFixture {
    pub fn new() -> TxnFixture {
        TxnFixture::with_config(TxnConfig::default())
    }

    pub fn with_config(config: TxnConfig) -> TxnFixture {
        let mut fixture = TxnFixture {
            shard: TxnShard::new(config.clone()),
            config,
            now: Timestamp::from_ms(1_000_000),
            log: Vec::new(),
            in_flight: Vec::new(),
            partitions: Partitions::default(),
            coordinator_epoch: 0,
            next_producer_id: 1_000,
        };
        fixture.crash_and_reload();
        fixture
    }

    /// `pay` with an ident at this epoch, and no transaction.
    pub fn empty_at(epoch: i16) -> TxnFixture {
        let mut fixture = TxnFixture::new();
        fixture.seed("pay", epoch);
        fixture
    }

    /// `pay` with a running transaction over these partitions at this epoch.
    pub fn ongoing_at(epoch: i16, partitions: &[TopicPartition], version: TransactionVersion) -> TxnFixture {
        let mut fixture = TxnFixture::empty_at(epoch);
        let producer = fixture.producer();
        let add = Event::AddPartitions(add_event(&pay(), producer, partitions, version));
        assert_eq!(fixture.step(add), Some(Reply::AddPartitions(ErrorCode::None)));
        fixture
    }

    /// A running V2 transaction over two partitions at epoch 5.
    pub fn ongoing() -> TxnFixture {
        TxnFixture::ongoing_at(5, &[tp("a", 0), tp("b", 1)], TransactionVersion::V2)
    }

    /// A V2 transaction whose end is decided and whose markers are on their way; epoch 6 by now.
    pub fn prepared(result: EndTransaction) -> TxnFixture {
        let mut fixture = TxnFixture::ongoing();
        let producer = fixture.producer();
        assert_eq!(fixture.end_v2(producer, result), Ok(after(producer)));
        fixture
    }

    /// A V2 transaction that has come to its end; epoch 6 by now.
    pub fn completed(result: EndTransaction) -> TxnFixture {
        let mut fixture = TxnFixture::prepared(result);
        fixture.deliver_markers();
        fixture
    }

    /// Puts an id into the log as if it had lived before.
    pub fn seed(&mut self, name: &str, epoch: i16) {
        let fresh = self.fresh();
        let mut metadata = TransactionMetadata::new(fresh, TIMEOUT_MS, self.now);
        metadata.producer.epoch = ProducerEpoch::from_wire(epoch).unwrap();
        self.log.push(vec![TxnRecord { transactional_id: id(name), metadata: Some(metadata) }.encode()]);
        self.crash_and_reload();
    }

    pub fn fresh(&mut self) -> ProducerId {
        self.next_producer_id += 1;
        ProducerId::from_wire(self.next_producer_id).unwrap()
    }

    /// Runs an event to the end: durable, replied, effects on their way.
    pub fn step(&mut self, event: Event) -> Option<Reply> {
        let output = self.shard.step(self.now, event);
        self.persist(&output);
        self.in_flight.extend(output.effects);
        assert!(output.replies.len() <= 1);
        assert!(output.replies.iter().all(|(request, _)| *request == REQUEST));
        output.replies.into_iter().next().map(|(_, reply)| reply)
    }

    /// Crashes before the event's write is durable: it never happened.
    pub fn step_lost(&mut self, event: Event) {
        let _ = self.shard.step(self.now, event);
        self.crash_and_reload();
    }

    /// Crashes after the event's write is durable, before any reply or effect has left.
    pub fn step_unanswered(&mut self, event: Event) {
        let output = self.shard.step(self.now, event);
        self.persist(&output);
        self.crash_and_reload();
    }

    fn persist(&mut self, output: &TxnOutput) {
        match &output.write {
            Some(Write::Records(records)) => {
                assert!(!records.is_empty());
                for record in records {
                    let (key, value) = record.encode();
                    let bytes = key.len() + value.as_ref().map_or(0, Bytes::len);
                    assert!(bytes <= record.estimated_bytes());
                }
                self.log.push(records.iter().map(TxnRecord::encode).collect());
            }
            Some(Write::Transactional { .. } | Write::Marker(..)) => panic!("only plain records"),
            None => {}
        }
        assert_eq!(states(&self.loaded()), states(&self.shard), "replay equals live");
    }

    /// The records of the log, decoded.
    pub fn records(&self) -> Vec<TxnRecord> {
        let decode = |(key, value): &Encoded| TxnRecord::decode(key, value.as_deref()).unwrap().unwrap();
        self.log.iter().flatten().map(decode).collect()
    }

    fn loaded(&self) -> TxnShard {
        let mut shard = TxnShard::new(self.config.clone());
        for (offset, record) in self.records().into_iter().enumerate() {
            let offset = Offset::ZERO.plus(offset as i64);
            shard.replay(Replayed::Record { offset, producer: None, record });
        }
        shard
    }

    /// Everything that is not in the log is gone; a new coordinator takes over.
    pub fn crash_and_reload(&mut self) {
        self.coordinator_epoch += 1;
        self.shard = self.loaded();
        let epoch = CoordinatorEpoch::from_wire(self.coordinator_epoch).unwrap();
        self.in_flight = self.shard.resume(self.now, epoch);
    }

    pub fn init_event(&mut self, name: &str, expected: Option<ProducerIdent>) -> InitProducerId {
        InitProducerId {
            request: REQUEST,
            transactional_id: id(name),
            timeout_ms: TIMEOUT_MS,
            expected,
            fresh: self.fresh(),
            api: ClientApi::TransactionAbortable,
        }
    }

    pub fn init(&mut self, expected: Option<ProducerIdent>) -> Result<ProducerIdent, ErrorCode> {
        let event = self.init_event("pay", expected);
        match self.step(Event::InitProducerId(event)) {
            Some(Reply::InitProducerId(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn add(
        &mut self,
        producer: ProducerIdent,
        partitions: &[TopicPartition],
        version: TransactionVersion,
    ) -> ErrorCode {
        match self.step(Event::AddPartitions(add_event(&pay(), producer, partitions, version))) {
            Some(Reply::AddPartitions(code)) => code,
            other => panic!("{other:?}"),
        }
    }

    /// An EndTxn as the runtime makes it: with a fresh producer id if the shard asks for one.
    pub fn end_event(
        &mut self,
        id: &TransactionalId,
        producer: ProducerIdent,
        result: EndTransaction,
        version: TransactionVersion,
    ) -> Event {
        let api = ClientApi::TransactionAbortable;
        let transactional_id = id.clone();
        let mut end =
            EndTxn { request: REQUEST, transactional_id, producer, result, api, version, fresh: None };
        if self.shard.needs_fresh_producer_id(&Event::EndTxn(end.clone())) == FreshProducerId::Needed {
            end.fresh = Some(self.fresh());
        }
        Event::EndTxn(end)
    }

    pub fn end(
        &mut self,
        producer: ProducerIdent,
        result: EndTransaction,
        version: TransactionVersion,
    ) -> Result<ProducerIdent, ErrorCode> {
        let event = self.end_event(&pay(), producer, result, version);
        match self.step(event) {
            Some(Reply::EndTxn(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn end_v2(
        &mut self,
        producer: ProducerIdent,
        result: EndTransaction,
    ) -> Result<ProducerIdent, ErrorCode> {
        self.end(producer, result, TransactionVersion::V2)
    }

    pub fn tick(&mut self) {
        assert_eq!(self.step(Event::Tick), None);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    pub fn metadata(&self) -> &TransactionMetadata {
        self.shard.metadata(&pay()).expect("the id is there")
    }

    pub fn producer(&self) -> ProducerIdent {
        self.metadata().producer
    }

    pub fn state(&self) -> TransactionState {
        self.metadata().state
    }

    pub fn targets(&self) -> Vec<MarkerTarget> {
        self.in_flight.iter().map(|Effect::WriteMarker { target, .. }| target.clone()).collect()
    }

    /// The partitions that markers are on their way to.
    pub fn marker_partitions(&self) -> BTreeSet<TopicPartition> {
        self.targets().into_iter().map(|target| target.partition).collect()
    }

    /// Writes one marker to its partition; the answer is not told to the coordinator.
    pub fn write_marker(&mut self, effect: &Effect) -> MarkerAnswer {
        let Effect::WriteMarker { target, marker, version } = effect;
        assert_eq!(target.producer, marker.producer);
        self.partitions.write_marker(&target.partition, *marker, *version)
    }

    /// Writes one marker and tells the coordinator the answer.
    pub fn deliver(&mut self, effect: &Effect) -> MarkerAnswer {
        let Effect::WriteMarker { target, .. } = effect;
        let answer = self.write_marker(effect);
        let target = target.clone();
        let event = match answer {
            MarkerAnswer::Written => Event::MarkerWritten(target),
            MarkerAnswer::Fenced => Event::MarkerFenced(target),
        };
        assert_eq!(self.step(event), None);
        answer
    }

    /// Delivers every marker on its way.
    pub fn deliver_markers(&mut self) {
        while let Some(effect) = self.in_flight.pop() {
            self.deliver(&effect);
        }
    }
}

/// What a shard knows, without what only a running one knows.
pub(super) fn states(shard: &TxnShard) -> BTreeMap<TransactionalId, TransactionMetadata> {
    shard.transactions.iter().map(|(id, transaction)| (id.clone(), transaction.metadata.clone())).collect()
}
