//! rdkafka behind the language of `../python/language.py`. It must not use the broker's own code.

// It stands for a user's program: the clock and the exit are the real ones.
#![allow(clippy::disallowed_methods)]

mod administration;

use std::collections::HashMap;
use std::io::BufRead;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(30);

/// What was made so far, by name.
struct Commander {
    runtime: tokio::runtime::Runtime,
    bootstrap: String,
    producers: HashMap<String, FutureProducer>,
    consumers: HashMap<String, BaseConsumer>,
}

fn main() -> anyhow::Result<()> {
    let mut commander = Commander {
        runtime: tokio::runtime::Runtime::new()?,
        bootstrap: String::new(),
        producers: HashMap::new(),
        consumers: HashMap::new(),
    };
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let answer = commander.answer(&asked).unwrap_or_else(|error| {
            let known = error.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code);
            json!({"error": format!("{error:#}"), "code": known.map_or(-1, |code| code as i32)})
        });
        println!("{answer}");
    }
    std::process::exit(0);
}

fn text<'a>(asked: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    asked[field].as_str().with_context(|| format!("no {field}"))
}

fn number(asked: &Value, field: &str) -> i64 {
    asked[field].as_i64().unwrap_or(0)
}

fn partition(asked: &Value) -> i32 {
    number(asked, "partition") as i32
}

impl Commander {
    fn answer(&mut self, asked: &Value) -> anyhow::Result<Value> {
        match text(asked, "do")? {
            "hello" => self.hello(asked),
            "producer" => self.producer(asked),
            "send" => self.send(asked),
            "begin" => Ok(done(self.producers[text(asked, "name")?].begin_transaction()?)),
            "commit" => Ok(done(self.producers[text(asked, "name")?].commit_transaction(TIMEOUT)?)),
            "abort" => Ok(done(self.producers[text(asked, "name")?].abort_transaction(TIMEOUT)?)),
            "send_offsets" => self.send_offsets(asked),
            "consumer" => self.consumer(asked),
            "session" => self.session(asked),
            "assign" => assign(self.reader(asked)?, asked),
            "subscribe" => Ok(done(self.reader(asked)?.subscribe(&[text(asked, "topic")?])?)),
            "poll" => poll(self.reader(asked)?, asked),
            "close" => {
                let name = text(asked, "name")?;
                self.consumers.remove(name);
                self.producers.remove(name);
                Ok(json!({}))
            }
            _ => administration::answer(self, asked),
        }
    }

    fn hello(&mut self, asked: &Value) -> anyhow::Result<Value> {
        let life = Duration::from_secs(u64::try_from(number(asked, "seconds"))?);
        std::thread::spawn(move || {
            std::thread::sleep(life);
            std::process::exit(3);
        });
        self.bootstrap = text(asked, "bootstrap")?.to_owned();
        let (_, library) = rdkafka::util::get_rdkafka_version();
        let (_, locked) = include_str!("../../../Cargo.lock")
            .split_once("name = \"rdkafka\"\nversion = \"")
            .context("rdkafka is not locked")?;
        let version = locked.split('"').next().context("rdkafka has no version")?;
        Ok(json!({"client": "rdkafka", "version": format!("{version} (librdkafka {library})")}))
    }

    fn reader(&self, asked: &Value) -> anyhow::Result<&BaseConsumer> {
        self.consumers.get(text(asked, "name")?).context("no such consumer")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn producer(&mut self, asked: &Value) -> anyhow::Result<Value> {
        let mut config = self.config();
        if let Some(bootstrap) = asked["bootstrap"].as_str() {
            config.set("bootstrap.servers", bootstrap);
        }
        let transactional_id = asked["transactional_id"].as_str();
        let idempotent = transactional_id.is_some() || asked["idempotent"] == true;
        config.set("compression.type", asked["compression"].as_str().unwrap_or("none"));
        config
            .set("enable.idempotence", idempotent.to_string())
            .set("linger.ms", "2")
            .set("message.max.bytes", "2000000");
        if let Some(id) = transactional_id {
            let timeout_ms = asked["transaction_timeout_ms"].as_i64().unwrap_or(60_000);
            config.set("transactional.id", id).set("transaction.timeout.ms", timeout_ms.to_string());
        }
        let producer: FutureProducer = config.create()?;
        if transactional_id.is_some() {
            producer.init_transactions(TIMEOUT)?;
        }
        self.producers.insert(text(asked, "name")?.to_owned(), producer);
        Ok(json!({}))
    }

    fn send(&self, asked: &Value) -> anyhow::Result<Value> {
        let producer = self.producers.get(text(asked, "name")?).context("no such producer")?;
        let mut sent = Vec::new();
        for given in asked["records"].as_array().context("no records")? {
            let mut headers = OwnedHeaders::new();
            for header in given["headers"].as_array().into_iter().flatten() {
                headers = headers.insert(Header {
                    key: header[0].as_str().context("no header's name")?,
                    value: header[1].as_str(),
                });
            }
            let mut record = FutureRecord::<str, str>::to(text(given, "topic")?)
                .partition(partition(given))
                .headers(headers);
            record.key = given["key"].as_str();
            record.payload = given["value"].as_str();
            record.timestamp = given["timestamp"].as_i64();
            // What is queued at once is sent together.
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        let outcomes = self.runtime.block_on(futures_util::future::join_all(sent));
        let mut offsets = Vec::new();
        for outcome in outcomes {
            offsets.push(outcome?.map_err(|(error, _)| error)?.offset);
        }
        Ok(json!({"offsets": offsets}))
    }

    fn send_offsets(&self, asked: &Value) -> anyhow::Result<Value> {
        let mut offsets = TopicPartitionList::new();
        for one in asked["offsets"].as_array().context("no offsets")? {
            let at = Offset::Offset(one[2].as_i64().context("no offset")?);
            offsets.add_partition_offset(
                one[0].as_str().context("no topic")?,
                one[1].as_i64().unwrap_or(0) as i32,
                at,
            )?;
        }
        let group = self.consumers[text(asked, "consumer")?].group_metadata().context("no group")?;
        self.producers[text(asked, "name")?].send_offsets_to_transaction(&offsets, &group, TIMEOUT)?;
        Ok(json!({}))
    }

    fn consumer(&mut self, asked: &Value) -> anyhow::Result<Value> {
        let consumer = self.group_member(asked)?;
        self.consumers.insert(text(asked, "name")?.to_owned(), consumer);
        Ok(json!({}))
    }

    fn group_member(&self, asked: &Value) -> anyhow::Result<BaseConsumer> {
        let mut config = self.config();
        config
            .set("group.id", asked["group"].as_str().unwrap_or("nobody"))
            .set("enable.auto.commit", "false");
        config.set("isolation.level", asked["isolation"].as_str().unwrap_or("read_committed"));
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "100");
        if asked["protocol"] == "consumer" {
            config.set("group.protocol", "consumer");
        } else {
            let strategy = if asked["strategy"] == "cooperative" { "cooperative-sticky" } else { "range" };
            config
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "600")
                .set("partition.assignment.strategy", strategy);
        }
        Ok(config.create()?)
    }

    /// A producer and a consumer, each of its own here.
    fn session(&mut self, asked: &Value) -> anyhow::Result<Value> {
        self.producer(asked)?;
        let consumer = self.group_member(asked)?;
        consumer.subscribe(&[text(asked, "topic")?])?;
        self.consumers.insert(text(asked, "consumer")?.to_owned(), consumer);
        Ok(json!({}))
    }
}

fn done((): ()) -> Value {
    json!({})
}

fn assign(reader: &BaseConsumer, asked: &Value) -> anyhow::Result<Value> {
    let (topic, partition) = (text(asked, "topic")?, partition(asked));
    let mut offset = Offset::Offset(number(asked, "offset"));
    let mut list = TopicPartitionList::new();
    if let Some(time) = asked["time"].as_i64() {
        list.add_partition_offset(topic, partition, Offset::Offset(time))?;
        let found = reader.offsets_for_times(list, TIMEOUT)?;
        offset = found.find_partition(topic, partition).context("no such partition")?.offset();
        list = TopicPartitionList::new();
    }
    list.add_partition_offset(topic, partition, offset)?;
    reader.assign(&list)?;
    Ok(json!({"offset": offset.to_raw()}))
}

fn poll(reader: &BaseConsumer, asked: &Value) -> anyhow::Result<Value> {
    let mut answer = json!({});
    if asked["commit"] == true {
        match reader.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => answer["commit_error"] = json!(error.to_string()),
        }
    }
    let (count, mut records) = (number(asked, "count") as usize, Vec::new());
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(number(asked, "ms"))?);
    while records.len() < count && Instant::now() < deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(message) = reader.poll(left.min(Duration::from_millis(100))) {
            records.push(shown(&message?)?);
        }
    }
    let mut assignment: Vec<i32> =
        reader.assignment()?.elements().iter().map(|one| one.partition()).collect();
    assignment.sort_unstable();
    answer["records"] = json!(records);
    answer["assignment"] = json!(assignment);
    Ok(answer)
}

fn shown(message: &BorrowedMessage<'_>) -> anyhow::Result<Value> {
    let mut headers = Vec::new();
    for header in message.headers().into_iter().flat_map(|all| all.iter()) {
        headers.push(json!([header.key, header.value.map(std::str::from_utf8).transpose()?]));
    }
    Ok(json!({
        "topic": message.topic(), "partition": message.partition(), "offset": message.offset(),
        "key": message.key().map(std::str::from_utf8).transpose()?,
        "value": message.payload().map(std::str::from_utf8).transpose()?,
        "headers": headers, "timestamp": message.timestamp().to_millis(),
    }))
}

/// The first failure of an administrator's answer.
fn outcome<T>(results: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> anyhow::Result<Value> {
    for result in results {
        result.map_err(|(_, code)| KafkaError::Global(code))?;
    }
    Ok(json!({}))
}

/// What no client of this name can do.
fn unknown(command: &str) -> anyhow::Error {
    anyhow!("no such command: {command}")
}
