//! S7: transactional producers over our own client: one Produce and one EndTxn for each transaction,
//! as transactions version 2 (KIP-890) allow. librdkafka itself waits some 10 ms in each.

use anyhow::Context;
use kafka_protocol::messages::{
    EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProducerId as WireProducerId,
    TransactionalId,
};
use tidemill::ids::{ProducerEpoch, ProducerId, ProducerIdent, Sequence};
use tidemill::wire::record_batch::BatchProducer;

use crate::Bench;
use crate::broker::Flush;
use crate::load::{RUN, fresh, waits_of};
use crate::raw::{self, Raw, text, until_ready};
use crate::report::{Figure, Target, quantile};

const RECORD_BYTES: usize = 1024;
const PARTITIONS: i32 = 4;

/// One transactional producer.
struct TransactionalProducer {
    connection: Raw,
    id: String,
    partition: i32,
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

/// S7: transactions of 1 and 100 records by 1, 16 and 64 producers.
pub fn transactions(bench: &mut Bench) -> anyhow::Result<()> {
    let settings = [
        (1, 1, Flush::Ack),
        (16, 1, Flush::Ack),
        (64, 1, Flush::Ack),
        (64, 1, Flush::Os),
        (1, 100, Flush::Ack),
        (16, 100, Flush::Ack),
        (64, 100, Flush::Ack),
    ];
    for _ in 0..bench.repeats {
        for (producers, records, flush) in settings {
            for flavour in bench.brokers.clone() {
                let (broker, _directory) = fresh(&flavour, flush)?;
                Raw::connect(&broker.address)?.create_topic("txn", PARTITIONS)?;
                let ready = (0..producers)
                    .map(|number| TransactionalProducer::start(&broker.address, number))
                    .collect::<anyhow::Result<Vec<_>>>()?;
                let before = broker.cpu_seconds()?;
                let waits = run(ready, records)?;
                let cpu = broker.cpu_seconds()? - before;
                let setting = format!("{producers} producers × {records} records, flush={}", flush.name());
                let setting = flavour.label(&setting);
                let is_aim = (producers, records, flush) == (64, 1, Flush::Ack);
                let target = is_aim.then_some(Target::AtLeast(1500.0));
                let figure =
                    |figure, target| Figure { scenario: "S7", setting: setting.clone(), figure, target };
                bench.book.add(figure("broker CPU µs per transaction", None), cpu * 1e6 / waits.len() as f64);
                bench.book.add(figure("transactions/s", target), waits.len() as f64 / RUN.as_secs_f64());
                bench.book.add(figure("p50 ms", None), quantile(&waits, 0.5));
                bench.book.add(figure("p99 ms", None), quantile(&waits, 0.99));
            }
        }
    }
    Ok(())
}

/// Each transaction's time in milliseconds.
fn run(producers: Vec<TransactionalProducer>, records: usize) -> anyhow::Result<Vec<f64>> {
    waits_of(producers, |producer| producer.transaction(records))
}

impl TransactionalProducer {
    fn start(address: &str, number: i32) -> anyhow::Result<TransactionalProducer> {
        let mut connection = Raw::connect(address)?;
        let id = format!("bench-{number}");
        until_ready(|| {
            let request = FindCoordinatorRequest::default().with_key(text(&id)).with_key_type(1);
            Ok((connection.call(&request, 3)?.error_code, ()))
        })
        .context("FindCoordinator")?;
        let (producer_id, epoch) = until_ready(|| {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(text(&id))))
                .with_transaction_timeout_ms(60_000);
            let response = connection.call(&request, 4)?;
            Ok((response.error_code, (response.producer_id.0, response.producer_epoch)))
        })
        .context("InitProducerId")?;
        let partition = number % PARTITIONS;
        Ok(TransactionalProducer { connection, id, partition, producer_id, epoch, sequence: 0 })
    }

    fn transaction(&mut self, records: usize) -> anyhow::Result<()> {
        let producer = BatchProducer {
            ident: ProducerIdent {
                id: ProducerId::from_wire(self.producer_id).context("no producer id")?,
                epoch: ProducerEpoch::from_wire(self.epoch).context("no producer epoch")?,
            },
            base_sequence: Sequence::from_wire(self.sequence),
        };
        let batch = raw::batch(records, RECORD_BYTES, Some(producer));
        let mut frame = raw::produce_frame("txn", self.partition, Some(&self.id), batch.bytes());
        let connection = &mut self.connection;
        until_ready(|| {
            connection.send(&mut frame)?;
            Ok((connection.produced()?, ()))
        })
        .context("Produce")?;
        self.sequence += i32::try_from(records)?;
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&self.id)))
            .with_producer_id(WireProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_committed(true);
        let (producer_id, epoch) = until_ready(|| {
            let response = connection.call(&request, 5)?;
            Ok((response.error_code, (response.producer_id.0, response.producer_epoch)))
        })
        .context("EndTxn")?;
        // Version 2 of transactions gives each its own epoch, and sequences begin again.
        if (producer_id, epoch) != (self.producer_id, self.epoch) {
            (self.producer_id, self.epoch, self.sequence) = (producer_id, epoch, 0);
        }
        Ok(())
    }
}
