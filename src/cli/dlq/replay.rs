//! `tidemill dlq replay`: writes dead letters to where they came from, each exactly once.
//!
//! Letters and the offset behind them are one transaction, under a transactional id that belongs to the dead-letter
//! topic: taking it ends what an earlier replay has left open and fences that one out, and only then is asked how far
//! it had come. So a replay may be killed at any moment, and begun again beside one that still runs. Each partition
//! is replayed from its beginning without gaps: one offset says what is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::super::GlobalArgs;
use super::super::error::{CliError, ExitKind};
use super::super::interrupt::Interrupt;
use super::super::kafka::{base_config, create, timeout_ms, translate};
use super::super::output::{Block, Report};
use super::super::protocol_client::Cluster;
use super::super::time::now;
use super::super::topic::find_topic;
use super::letter::Letter;
use super::reader::{Read, Reader, replay_id, stretches};
use super::{ReplayArgs, only};
use crate::error_code::ErrorCode;

/// Letters of one transaction, roughly: where this is reached, it is closed.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How long to wait at once for what becomes of letters.
const FLUSH_POLL: Duration = Duration::from_millis(1);
/// How long the broker keeps a transaction open whose replay has gone.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What a replay has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Totals {
    /// Letters written, by the topic that they went to.
    replayed: BTreeMap<String, u64>,
    /// Letters that were passed over.
    skipped: u64,
    transactions: u64,
}

impl Totals {
    fn letters(&self) -> u64 {
        self.replayed.values().sum::<u64>() + self.skipped
    }
}

/// Why a replay has stopped before the end.
enum Stop {
    /// The broker refuses a letter of a batch.
    Refused(CliError),
    /// Anything else.
    Failed(CliError),
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Stop {
        Stop::Failed(error)
    }
}

pub(super) fn replay(global: &GlobalArgs, args: &ReplayArgs) -> Result<Report, CliError> {
    let mut totals = Totals::default();
    let interrupt = Interrupt::listen();
    let stop = match args.dry_run {
        true => look(global, args, &mut totals).err(),
        false => match run(global, args, args.batch, &interrupt, &mut totals) {
            // One by one, so that what comes before the letter goes, and the letter is named.
            Err(Stop::Refused(_)) if args.batch > 1 => run(global, args, 1, &interrupt, &mut totals),
            other => other,
        }
        .err()
        .map(|(Stop::Refused(error) | Stop::Failed(error))| error),
    };
    if interrupt.requested() && stop.is_none() {
        let message = format!("stopped; {} letters were replayed", totals.letters() - totals.skipped);
        return Err(CliError::new(ExitKind::Interrupted, "INTERRUPTED", message));
    }
    Ok(report(args, &totals, stop))
}

fn report(args: &ReplayArgs, totals: &Totals, stop: Option<CliError>) -> Report {
    let rows = totals.replayed.iter().map(|(topic, letters)| vec![topic.clone(), letters.to_string()]);
    let table = Block::Table { headers: &["TO", "LETTERS"], rows: rows.collect() };
    let to = totals.replayed.iter().map(|(topic, letters)| json!({"topic": topic, "letters": letters}));
    let json = json!({
        "topic": args.topic, "dry_run": args.dry_run, "to": Value::Array(to.collect()),
        "skipped": totals.skipped, "transactions": totals.transactions,
    });
    let mut report = Report::new(table, json);
    if totals.skipped > 0 {
        report.blocks.push(Block::Line(format!("{} letters were passed over.", totals.skipped)));
    }
    if args.dry_run {
        report.blocks.push(Block::Line("Nothing was changed; leave --dry-run out to do it.".to_owned()));
    }
    report.failures.extend(stop);
    report
}

/// Goes through the letters, and changes nothing.
fn look(global: &GlobalArgs, args: &ReplayArgs, totals: &mut Totals) -> Result<(), CliError> {
    let mut cluster = global.cluster()?;
    let mut letters = Letters::open(global, args, &mut cluster, args.limit)?;
    loop {
        let batch = letters.batch(args.batch)?;
        totals.skipped += batch.skipped;
        for letter in &batch.letters {
            *totals.replayed.entry(letter.to.0.clone()).or_default() += 1;
        }
        match batch.then {
            Then::More => {}
            Then::Done => return Ok(()),
            Then::Stop(error) => return Err(error),
        }
    }
}

fn run(
    global: &GlobalArgs,
    args: &ReplayArgs,
    batch_max: usize,
    interrupt: &Interrupt,
    totals: &mut Totals,
) -> Result<(), Stop> {
    let writer = Writer::open(global, &args.topic)?;
    let limit = args.limit.map(|limit| limit.saturating_sub(totals.letters()));
    // Only now: nobody else can change any more what is replayed.
    let mut letters = Letters::open(global, args, &mut global.cluster()?, limit)?;
    while !interrupt.requested() {
        let batch = letters.batch(batch_max)?;
        if !batch.next.is_empty() {
            writer.transact(&letters.reader, &batch)?;
            totals.transactions += 1;
            totals.skipped += batch.skipped;
            for letter in &batch.letters {
                *totals.replayed.entry(letter.to.0.clone()).or_default() += 1;
            }
        }
        match batch.then {
            Then::More => {}
            Then::Done => return Ok(()),
            Then::Stop(error) => return Err(Stop::Failed(error)),
        }
    }
    Ok(())
}

/// A letter with where it goes.
struct Addressed {
    letter: Letter,
    to: (String, i32),
}

/// Letters of one transaction.
#[derive(Default)]
struct Batch {
    letters: Vec<Addressed>,
    skipped: u64,
    /// Up to where each partition is done with it.
    next: BTreeMap<i32, i64>,
    then: Then,
}

/// What comes after a batch.
#[derive(Default)]
enum Then {
    #[default]
    More,
    Done,
    /// A letter that cannot go anywhere.
    Stop(CliError),
}

/// The letters that wait for a replay.
struct Letters<'a> {
    args: &'a ReplayArgs,
    reader: Reader,
    ends: BTreeMap<i32, i64>,
    /// What partitions the topics have that letters came from; none if a topic is gone.
    topics: BTreeMap<String, BTreeSet<i32>>,
    cluster: Cluster,
    left: Option<u64>,
}

impl<'a> Letters<'a> {
    fn open(
        global: &GlobalArgs,
        args: &'a ReplayArgs,
        cluster: &mut Cluster,
        left: Option<u64>,
    ) -> Result<Letters<'a>, CliError> {
        let stretches = only(stretches(cluster, &args.topic)?, &args.topic, args.partition)?;
        let spans = stretches.iter().map(|(number, stretch)| (*number, (stretch.pending, stretch.end)));
        let reader = Reader::open(global, &args.topic, &spans.collect())?;
        let ends = stretches.iter().map(|(number, stretch)| (*number, stretch.end)).collect();
        Ok(Letters { args, reader, ends, topics: BTreeMap::new(), cluster: global.cluster()?, left })
    }

    /// The next letters, at most so many.
    fn batch(&mut self, letters_max: usize) -> Result<Batch, CliError> {
        let mut batch = Batch::default();
        let (mut taken, mut bytes) = (0, 0);
        while taken < letters_max && bytes < BATCH_BYTES_MAX {
            if self.left == Some(0) {
                batch.then = Then::Done;
                break;
            }
            let record = match self.reader.next()? {
                None => {
                    batch.then = Then::Done;
                    break;
                }
                Some(Read::End(number)) => {
                    // Behind the markers at the end: then no lag is left.
                    batch.next.extend(self.ends.get(&number).map(|end| (number, *end)));
                    continue;
                }
                Some(Read::Record(record)) => record,
            };
            let (number, offset) = (record.partition, record.offset);
            bytes += record.bytes();
            let letter = Letter::of(record);
            match self.address(&letter)? {
                Ok(to) => batch.letters.push(Addressed { letter, to }),
                Err(_) if self.args.skip_unreplayable => batch.skipped += 1,
                Err(why) => {
                    batch.then = Then::Stop(self.unreplayable((number, offset), &why));
                    break;
                }
            }
            taken += 1;
            self.left = self.left.map(|left| left - 1);
            batch.next.insert(number, offset.saturating_add(1));
        }
        Ok(batch)
    }

    /// Where a letter goes; else why it cannot.
    fn address(&mut self, letter: &Letter) -> Result<Result<(String, i32), String>, CliError> {
        let (topic, partition) = match letter.destination() {
            Ok(destination) => destination,
            Err(why) => return Ok(Err(why)),
        };
        if !self.topics.contains_key(topic) {
            let partitions = match find_topic(&mut self.cluster, topic) {
                Ok(found) => found.partitions.iter().map(|partition| partition.partition_index).collect(),
                Err(error) if error.is(ErrorCode::UnknownTopicOrPartition) => BTreeSet::new(),
                Err(error) => return Err(error),
            };
            self.topics.insert(topic.to_owned(), partitions);
        }
        let is_there = self.topics.get(topic).is_some_and(|partitions| partitions.contains(&partition));
        Ok(match is_there {
            true => Ok((topic.to_owned(), partition)),
            false => Err(format!("it came from {topic}-{partition}, which is not there")),
        })
    }

    fn unreplayable(&self, (partition, offset): (i32, i64), why: &str) -> CliError {
        let message = format!("{}-{partition} offset {offset} cannot be replayed: {why}", self.args.topic);
        CliError::new(ExitKind::Failed, "UNREPLAYABLE_LETTER", message).with_hint(
            "what comes before it is replayed; --skip-unreplayable passes over such letters for good",
        )
    }
}

/// Writes batches of letters, each in a transaction.
struct Writer {
    producer: BaseProducer<Refusals>,
    dead_letters: String,
    timeout: Duration,
}

/// The first letter of a transaction that was refused, and how.
#[derive(Debug, Default)]
struct Refusals(Mutex<Option<Refusal>>);

#[derive(Debug)]
struct Refusal {
    letter: (i32, i64),
    to: String,
    error: KafkaError,
}

impl ClientContext for Refusals {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Refusals {
    type DeliveryOpaque = Box<(i32, i64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, letter: Box<(i32, i64)>) {
        use rdkafka::message::Message as _;
        if let Err((error, message)) = result {
            let refusal =
                || Refusal { letter: *letter, to: message.topic().to_owned(), error: error.clone() };
            self.0.lock().get_or_insert_with(refusal);
        }
    }
}

impl Writer {
    /// Takes the transactional id: whoever had it is fenced, and what it left open is aborted.
    fn open(global: &GlobalArgs, dead_letters: &str) -> Result<Writer, CliError> {
        let mut config = base_config(global)?;
        config
            .set("transactional.id", replay_id(dead_letters))
            .set("transaction.timeout.ms", timeout_ms(TRANSACTION_TIMEOUT))
            .set("message.timeout.ms", timeout_ms(global.request_timeout.min(TRANSACTION_TIMEOUT)))
            // The broker's own bound decides.
            .set("message.max.bytes", "1000000000");
        let producer: BaseProducer<Refusals> = create(&config, Refusals::default())?;
        let timeout = global.request_timeout;
        let writer = Writer { producer, dead_letters: dead_letters.to_owned(), timeout };
        writer.patiently(|| writer.producer.init_transactions(timeout), "cannot begin the replay")?;
        Ok(writer)
    }

    /// Writes a batch and what it leads up to, all or nothing.
    fn transact(&self, reader: &Reader, batch: &Batch) -> Result<(), Stop> {
        self.producer.context().0.lock().take();
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| self.failed(&error, "cannot begin a transaction"))?;
        let written = self.write(batch).and_then(|()| Ok(self.add_offsets(reader, batch)?));
        if let Err(stop) = written {
            // If that fails too, the next replay does it, or the broker when the transaction's time is over.
            let _ = self.producer.abort_transaction(self.timeout);
            return Err(stop);
        }
        let commit = || self.producer.commit_transaction(self.timeout);
        Ok(self.patiently(commit, "cannot commit a transaction")?)
    }

    fn write(&self, batch: &Batch) -> Result<(), Stop> {
        for Addressed { letter, to: (topic, partition) } in &batch.letters {
            let record = &letter.record;
            let mut sent: BaseRecord<'_, [u8], [u8], Box<(i32, i64)>> =
                BaseRecord::with_opaque_to(topic, Box::new((record.partition, record.offset)));
            sent.partition = Some(*partition);
            sent.key = record.key.as_deref();
            sent.payload = record.value.as_deref();
            sent.timestamp = record.timestamp_ms;
            if !record.headers.is_empty() {
                let add = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
                    headers.insert(Header { key, value: value.as_ref() })
                };
                sent.headers = Some(record.headers.iter().fold(OwnedHeaders::new(), add));
            }
            self.producer.send(sent).map_err(|(error, _)| {
                self.refused()
                    .unwrap_or_else(|| Stop::Failed(self.failed(&error, &format!("cannot write to {topic}"))))
            })?;
        }
        // The binding's own flush looks only every 100 ms whether all is done.
        let deadline = now() + self.timeout;
        while self.producer.in_flight_count() > 0 && now() < deadline {
            self.producer.poll(FLUSH_POLL);
        }
        match self.refused() {
            Some(refused) => Err(refused),
            None if self.producer.in_flight_count() > 0 => {
                let message = format!("not all letters of {} arrived in time", self.dead_letters);
                Err(Stop::Failed(CliError::new(ExitKind::Unreachable, "TIMEOUT", message)))
            }
            None => Ok(()),
        }
    }

    /// The offsets behind the batch, as part of its transaction.
    fn add_offsets(&self, reader: &Reader, batch: &Batch) -> Result<(), CliError> {
        let mut offsets = TopicPartitionList::new();
        for (number, next) in &batch.next {
            offsets
                .add_partition_offset(&self.dead_letters, *number, Offset::Offset(*next))
                .map_err(|error| translate(&error, "cannot commit that offset"))?;
        }
        let group = reader.consumer().group_metadata();
        let group = group.ok_or_else(|| CliError::usage("the client has no consumer group"))?;
        let add = || self.producer.send_offsets_to_transaction(&offsets, &group, self.timeout);
        self.patiently(add, "cannot commit the offsets of the letters")
    }

    /// The letter that was refused, if one was.
    fn refused(&self) -> Option<Stop> {
        let Refusal { letter: (partition, offset), to, error } = self.producer.context().0.lock().take()?;
        let letter = format!("{}-{partition} offset {offset}", self.dead_letters);
        let failed = self.failed(&error, &format!("cannot write {letter} to {to}"));
        if failed.kind == ExitKind::Conflict || failed.retriable {
            return Some(Stop::Failed(failed));
        }
        let (group, next) = (replay_id(&self.dead_letters), offset.saturating_add(1));
        Some(Stop::Refused(failed.with_hint(format!(
            "what comes before it is replayed; to pass over it: tidemill group reset-offsets {group} --topic \
             {}:{partition} --to-offset {next} --execute",
            self.dead_letters
        ))))
    }

    /// Tries again while the client says that it may, until the time is over.
    fn patiently(&self, attempt: impl Fn() -> Result<(), KafkaError>, what: &str) -> Result<(), CliError> {
        let deadline = now() + self.timeout;
        loop {
            match attempt() {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && now() < deadline => {}
                result => return result.map_err(|error| self.failed(&error, what)),
            }
        }
    }

    /// A failure in our words; the one that ends this replay is another replay.
    fn failed(&self, error: &KafkaError, what: &str) -> CliError {
        let is_fence = |code: RDKafkaErrorCode| {
            matches!(
                code,
                RDKafkaErrorCode::Fenced
                    | RDKafkaErrorCode::ProducerFenced
                    | RDKafkaErrorCode::InvalidProducerEpoch
            )
        };
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        if fatal.or_else(|| error.rdkafka_error_code()).is_some_and(is_fence) {
            let message = format!("another replay of {} has begun, and goes on with it", self.dead_letters);
            return CliError::new(ExitKind::Conflict, "PRODUCER_FENCED", message)
                .with_hint("each letter is replayed once: begin again only if that one has ended");
        }
        translate(error, what)
    }
}
