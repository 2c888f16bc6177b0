//! `tidemill produce`: lines of standard input become records.
//!
//! With a transactional id the whole input is one transaction, committed at its end. With a partitioner the
//! lines go over the admin API, whose server asks the module.

mod over_http;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::error::{CliError, ExitKind};
use super::output::{Format, Report};
use super::{GlobalArgs, parse_pair, time};

/// Arguments of `produce`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct ProduceArgs {
    /// The topic
    pub(super) topic: String,
    /// What separates key and value; without it a line is a value
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub(super) key_separator: Option<String>,
    /// A key for every record
    #[arg(long, short = 'k', conflicts_with = "key_separator")]
    pub(super) key: Option<String>,
    /// A header for every record; may be repeated
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(super) headers: Vec<(String, String)>,
    /// Values with this text become null, which deletes a key in a compacted topic
    #[arg(long, value_name = "TEXT")]
    pub(super) null_value: Option<String>,
    /// The partition; chosen by the key unless given
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// How batches are compressed
    #[arg(long, short = 'z', value_enum, default_value = "none")]
    pub(super) compression: Codec,
    /// Whose acknowledgement to wait for
    #[arg(long, value_enum, default_value = "all")]
    pub(super) acks: Acks,
    /// Write everything in one transaction of this transactional id
    #[arg(long, value_name = "ID")]
    pub(super) transactional_id: Option<String>,
    /// Abort the transaction at the end, to see what readers see of it: nothing
    #[arg(long, requires = "transactional_id")]
    pub(super) abort: bool,
    /// The module that chooses the partitions: a name, a digest's beginning, or a .wasm file, which is uploaded first.
    /// Records go over the admin API
    #[arg(
        long,
        value_name = "MODULE",
        conflicts_with_all = ["partition", "compression", "acks", "transactional_id"]
    )]
    pub(super) partitioner: Option<String>,
    /// A setting for the partitioner; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair, requires = "partitioner")]
    pub(super) partitioner_config: Vec<(String, String)>,
    /// How long a record may take to arrive
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::parse_duration)]
    pub(super) timeout: Duration,
    /// How the headers of each line stand before its key.
    #[arg(skip)]
    pub(super) header_format: Option<HeaderFormat>,
    /// Say nothing at the end.
    #[arg(skip)]
    pub(super) quietly: bool,
}

/// How a line's headers are written, as Kafka's `LineMessageReader` reads them: `a:1,b:2` and a tab.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HeaderFormat {
    /// Behind the headers.
    pub(super) delimiter: String,
    /// Between two of them.
    pub(super) separator: String,
    /// Between a header's key and its value.
    pub(super) key_separator: String,
}

impl Default for HeaderFormat {
    fn default() -> HeaderFormat {
        HeaderFormat { delimiter: "\t".to_owned(), separator: ",".to_owned(), key_separator: ":".to_owned() }
    }
}

/// How batches are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "the names are the formats")]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Whose acknowledgement a producer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Acks {
    /// Everyone's.
    #[value(alias = "-1")]
    All,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// Nobody's.
    #[value(name = "0")]
    None,
}

/// One line as key and value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    pub(super) headers: Vec<(&'a str, &'a [u8])>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

/// Splits a line, without its end, as the arguments say; a line without the separator is refused,
/// because guessing would put keys into values.
pub(super) fn split_line<'a>(args: &'a ProduceArgs, line: &'a [u8]) -> Result<Line<'a>, CliError> {
    let without = |what: &str| {
        let text = String::from_utf8_lossy(line);
        CliError::usage(format!("the line \"{text}\" has no {what}"))
    };
    let (headers, line) = match &args.header_format {
        None => (Vec::new(), line),
        Some(format) => {
            let missing = || without(&format!("{:?} behind its headers", format.delimiter));
            let (headers, rest) = split_once(line, &format.delimiter).ok_or_else(missing)?;
            (split_headers(format, headers)?, rest)
        }
    };
    let (key, value) = match args.key_separator.as_deref().filter(|separator| !separator.is_empty()) {
        None => (args.key.as_deref().map(str::as_bytes), line),
        Some(separator) => {
            let missing = || without(&format!("\"{separator}\" between key and value"));
            let (key, value) = split_once(line, separator).ok_or_else(missing)?;
            (Some(key), value)
        }
    };
    let is_null = args.null_value.as_deref().is_some_and(|null| null.as_bytes() == value);
    Ok(Line { headers, key, value: if is_null { None } else { Some(value) } })
}

fn split_headers<'a>(format: &HeaderFormat, text: &'a [u8]) -> Result<Vec<(&'a str, &'a [u8])>, CliError> {
    let mut headers = Vec::new();
    let mut rest = Some(text).filter(|text| !text.is_empty());
    while let Some(text) = rest {
        let (header, behind) = split_once(text, &format.separator)
            .map_or((text, None), |(header, behind)| (header, Some(behind)));
        let (key, value) = split_once(header, &format.key_separator).unwrap_or((header, &[]));
        let key = std::str::from_utf8(key).map_err(|_| CliError::usage("a header's key is not UTF-8"))?;
        headers.push((key, value));
        rest = behind;
    }
    Ok(headers)
}

fn split_once<'a>(bytes: &'a [u8], separator: &str) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(separator.len().max(1)).position(|window| window == separator.as_bytes())?;
    let (before, rest) = bytes.split_at(position);
    Some((before, rest.get(separator.len()..)?))
}

pub(super) fn run(global: &GlobalArgs, args: &ProduceArgs) -> Result<Report, CliError> {
    match &args.partitioner {
        Some(module) => over_http::run(global, args, module),
        None => over_kafka(global, args),
    }
}

#[cfg(not(feature = "client"))]
fn over_kafka(_: &GlobalArgs, _: &ProduceArgs) -> Result<Report, CliError> {
    Err(super::without_client())
}

#[cfg(feature = "client")]
use with_client::over_kafka;
#[cfg(feature = "client")]
pub(super) use with_client::{producer_config, send};

/// First and last offset of each partition that was written to.
type Offsets = BTreeMap<i32, (i64, i64)>;

fn extend(offsets: &mut Offsets, partition: i32, offset: i64) {
    let range = offsets.entry(partition).or_insert((offset, offset));
    *range = (range.0.min(offset), range.1.max(offset));
}

/// What people are told at the end, as data is not.
fn summary(global: &GlobalArgs, args: &ProduceArgs, records: u64, end: Option<&str>) {
    if global.format == Format::Json || args.quietly {
        return;
    }
    let plural = if records == 1 { "record" } else { "records" };
    match end {
        Some(end) => eprintln!("{records} {plural} to {} in a transaction: {end}", args.topic),
        None => eprintln!("{records} {plural} to {}", args.topic),
    }
}

fn report(args: &ProduceArgs, records: u64, end: Option<&str>, offsets: &Offsets) -> Report {
    let range = |(partition, (first, last)): (&i32, &(i64, i64))| json!({"partition": partition, "first_offset": first, "last_offset": last});
    let offsets: Vec<_> = offsets.iter().map(range).collect();
    let json = json!({"topic": args.topic, "records": records, "transaction": end, "offsets": offsets});
    Report { blocks: Vec::new(), json, failures: Vec::new() }
}

fn interrupted() -> CliError {
    CliError::new(ExitKind::Interrupted, "INTERRUPTED", "stopped before the end of the input")
}

#[cfg(feature = "client")]
mod with_client {
    use std::io::BufRead;

    use rdkafka::ClientConfig;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseRecord, Producer as _};

    use super::super::interrupt::Interrupt;
    use super::super::kafka::{Deliveries, Producer, base_config, create, timeout_ms, translate};
    use super::super::time::now;
    use super::*;

    type Record<'a> = BaseRecord<'a, [u8], [u8], Box<std::time::Instant>>;

    /// The settings that `produce` and `perf produce` share.
    pub(in super::super) fn producer_config(
        global: &GlobalArgs,
        acks: Acks,
        compression: Codec,
        transactional_id: Option<&str>,
        timeout: Duration,
    ) -> Result<ClientConfig, CliError> {
        let mut config = base_config(global)?;
        let acks_text = match acks {
            Acks::All => "all",
            Acks::Leader => "1",
            Acks::None => "0",
        };
        let codec = match compression {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        };
        config.set("compression.type", codec).set("message.timeout.ms", timeout_ms(timeout));
        // The partitioner of Kafka's Java client, so that keys meet where that one puts them.
        config.set("partitioner", "murmur2_random");
        match transactional_id {
            Some(_) if acks != Acks::All => {
                return Err(CliError::usage("a transaction needs --acks all"));
            }
            Some(id) => {
                let patience = timeout.max(Duration::from_secs(60));
                config.set("transactional.id", id).set("transaction.timeout.ms", timeout_ms(patience));
            }
            None => {
                config.set("acks", acks_text);
                config.set("enable.idempotence", if acks == Acks::All { "true" } else { "false" });
            }
        }
        Ok(config)
    }

    /// Hands a record to librdkafka; waits while its queue is full.
    pub(in super::super) fn send(producer: &Producer, record: Record<'_>) -> Result<(), CliError> {
        let mut record = record;
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    super::super::time::pause(Duration::from_millis(1));
                }
                Err((error, record)) => {
                    // A record that failed before it doomed the transaction says why, and this one does not.
                    let first = producer.context().first_error();
                    return Err(first
                        .unwrap_or_else(|| translate(&error, &format!("cannot write to {}", record.topic))));
                }
            }
        }
    }

    pub(super) fn over_kafka(global: &GlobalArgs, args: &ProduceArgs) -> Result<Report, CliError> {
        let id = args.transactional_id.as_deref();
        let mut config = producer_config(global, args.acks, args.compression, id, args.timeout)?;
        config.set("linger.ms", "5");
        let producer: Producer = create(&config, Deliveries::new())?;
        let interrupt = Interrupt::listen();
        if id.is_some() {
            let begun = producer
                .init_transactions(global.request_timeout)
                .and_then(|()| producer.begin_transaction());
            begun.map_err(|error| translate(&error, "cannot begin a transaction"))?;
        }
        let sent = send_lines(&producer, args, &interrupt);
        let flushed = sent.and_then(|()| flush(&producer, args.timeout));
        let end = match (&flushed, id) {
            (_, None) => None,
            (Ok(()), Some(_)) if !args.abort && !interrupt.requested() => {
                producer
                    .commit_transaction(args.timeout)
                    .map_err(|error| translate(&error, "cannot commit the transaction"))?;
                Some("committed")
            }
            (Ok(()) | Err(_), Some(_)) => {
                let aborted = producer.abort_transaction(args.timeout);
                flushed.clone()?;
                aborted.map_err(|error| translate(&error, "cannot abort the transaction"))?;
                Some("aborted")
            }
        };
        flushed?;
        let delivered = producer.context().snapshot();
        summary(global, args, delivered.records, end);
        if interrupt.requested() {
            return Err(interrupted());
        }
        match delivered.first_error {
            // What an aborted transaction purged did not fail.
            Some(error) if end != Some("aborted") => Err(error),
            Some(_) | None => Ok(report(args, delivered.records, end, &delivered.offsets)),
        }
    }

    fn send_lines(producer: &Producer, args: &ProduceArgs, interrupt: &Interrupt) -> Result<(), CliError> {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while !interrupt.requested() {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|error| CliError::io("cannot read standard input", &error))? == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let split = split_line(args, &line)?;
            let mut record: Record<'_> = BaseRecord::with_opaque_to(&args.topic, Box::new(now()));
            record.key = split.key;
            record.payload = split.value;
            record.partition = args.partition;
            let own = args.headers.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
            let headers: Vec<_> = own.chain(split.headers).collect();
            if !headers.is_empty() {
                let add = |headers: OwnedHeaders, (key, value): (&str, &[u8])| {
                    headers.insert(Header { key, value: Some(value) })
                };
                record.headers = Some(headers.into_iter().fold(OwnedHeaders::new(), add));
            }
            send(producer, record)?;
            if let Some(error) = producer.context().first_error() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn flush(producer: &Producer, timeout: Duration) -> Result<(), CliError> {
        producer.flush(timeout + Duration::from_secs(1)).map_err(|error| {
            producer
                .context()
                .first_error()
                .unwrap_or_else(|| translate(&error, "not all records arrived in time"))
        })
    }
}

#[cfg(test)]
mod tests;
