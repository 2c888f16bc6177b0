//! The load that librdkafka makes: producing at full speed, consuming, records at a steady rate, and
//! the consume-transform-produce loop that a processor takes the place of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::raw::payload;

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts what was not delivered.
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn config(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("socket.nagle.disable", "true");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

fn every_partition(topic: &str, partitions: i32) -> anyhow::Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    Ok(list)
}

/// Produces records as fast as they are taken, at acks=all; the time it took.
pub fn produce(address: &str, topic: &str, records: usize, record_bytes: usize) -> anyhow::Result<Duration> {
    let settings = [("acks", "all"), ("batch.size", "16384"), ("linger.ms", "5")];
    let producer: BaseProducer<Failures> =
        config(address, &settings).create_with_context(Failures(AtomicU64::new(0)))?;
    let value = payload(record_bytes);
    let begin = Instant::now();
    for sent in 0..records {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(&value);
        while let Err((error, again)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(10));
            record = again;
        }
        if sent % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE)?;
    let took = begin.elapsed();
    ensure!(producer.context().0.load(Ordering::Relaxed) == 0, "records were not delivered");
    Ok(took)
}

/// Consumes so many records from the beginning of all partitions; the time from the first poll.
pub fn consume(address: &str, topic: &str, partitions: i32, records: usize) -> anyhow::Result<Duration> {
    let settings =
        [("group.id", "bench"), ("enable.auto.commit", "false"), ("queued.min.messages", "300000")];
    let consumer: BaseConsumer = config(address, &settings).create()?;
    let begin = Instant::now();
    consumer.assign(&every_partition(topic, partitions)?)?;
    for seen in 0..records {
        match consumer.poll(PATIENCE) {
            Some(message) => {
                message?;
            }
            None => bail!("only {seen} of {records} records came"),
        }
    }
    Ok(begin.elapsed())
}

/// Sends records at a steady rate whatever happens, and receives them: each one's way in milliseconds.
pub fn end_to_end(address: &str, topic: &str, per_second: u32, records: usize) -> anyhow::Result<Vec<f64>> {
    through(address, (topic, topic), per_second, records)
}

/// As [`end_to_end`], from the topic that is sent to, to the one that is received from: both have one partition.
pub fn through(
    address: &str,
    (topic, received): (&str, &str),
    per_second: u32,
    records: usize,
) -> anyhow::Result<Vec<f64>> {
    let producer_settings = [("acks", "all"), ("linger.ms", "0")];
    let producer: BaseProducer<Failures> =
        config(address, &producer_settings).create_with_context(Failures(AtomicU64::new(0)))?;
    let consumer_settings = [("group.id", "bench"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(address, &consumer_settings).create()?;
    consumer.assign(&every_partition(received, 1)?)?;
    let warm_up = records / 5;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&consumer, begin, records + warm_up));
        let pause = Duration::from_secs(1) / per_second;
        let mut value = payload(1024);
        for number in 0..records + warm_up {
            let due = pause * u32::try_from(number)?;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            let due = u64::try_from(due.as_nanos())?;
            value.get_mut(..8).context("a short value")?.copy_from_slice(&due.to_be_bytes());
            let record = BaseRecord::<(), [u8]>::to(topic).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE)?;
        let mut latencies =
            receiver.join().map_err(|_| anyhow::anyhow!("the receiving thread panicked"))??;
        latencies.drain(..warm_up);
        Ok(latencies)
    })
}

fn receive(consumer: &BaseConsumer, begin: Instant, records: usize) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(records);
    while latencies.len() < records {
        let message = consumer.poll(PATIENCE).context("a record did not come")??;
        let due = message.payload().and_then(|value| value.first_chunk::<8>()).context("a short value")?;
        let due = Duration::from_nanos(u64::from_be_bytes(*due));
        latencies.push(begin.elapsed().saturating_sub(due).as_secs_f64() * 1000.0);
    }
    Ok(latencies)
}

/// Reads one topic and writes another in transactions of 100 ms, until all records are over.
pub fn copy_exactly_once(
    address: &str,
    from: &str,
    to: &str,
    partitions: i32,
    records: usize,
) -> anyhow::Result<Duration> {
    let settings = [
        ("group.id", "bench-copy"),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("queued.min.messages", "300000"),
    ];
    let consumer = BaseConsumer::from_config(&config(address, &settings))?;
    let settings =
        [("transactional.id", "bench-copy"), ("linger.ms", "5"), ("queue.buffering.max.messages", "1000000")];
    let producer: BaseProducer<Failures> =
        config(address, &settings).create_with_context(Failures(AtomicU64::new(0)))?;
    producer.init_transactions(PATIENCE)?;
    consumer.assign(&every_partition(from, partitions)?)?;
    let begin = Instant::now();
    let mut next = vec![0; usize::try_from(partitions)?];
    let mut copied = 0;
    while copied < records {
        producer.begin_transaction()?;
        let opened = Instant::now();
        while copied < records && opened.elapsed() < Duration::from_millis(100) {
            let Some(message) = consumer.poll(Duration::from_millis(10)) else { continue };
            let message = message?;
            let mut record = BaseRecord::<[u8], [u8]>::to(to);
            record.payload = message.payload();
            record.key = message.key();
            producer.send(record).map_err(|(error, _)| error)?;
            *next.get_mut(usize::try_from(message.partition())?).context("a strange partition")? =
                message.offset() + 1;
            copied += 1;
            if copied % 1000 == 0 {
                producer.poll(Duration::ZERO);
            }
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next.iter().enumerate() {
            offsets.add_partition_offset(from, i32::try_from(partition)?, Offset::Offset(*offset))?;
        }
        let group = consumer.group_metadata().context("a consumer without a group")?;
        producer.send_offsets_to_transaction(&offsets, &group, PATIENCE)?;
        producer.commit_transaction(PATIENCE)?;
    }
    let took = begin.elapsed();
    ensure!(producer.context().0.load(Ordering::Relaxed) == 0, "records were not delivered");
    Ok(took)
}
