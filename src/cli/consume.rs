//! `tidemill consume`: records become lines of standard output, or JSON lines.
//!
//! Without a group it reads every partition from where it is told and commits nothing. It sees only
//! committed records unless told otherwise.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::error::CliError;
use super::output::{Format, Report, base64};
use super::{GlobalArgs, time};

/// Arguments of `consume`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct ConsumeArgs {
    /// The topics
    #[arg(required = true)]
    pub(super) topics: Vec<String>,
    /// Begin with the first record there is (with a group: if it has no offsets yet)
    #[arg(long, conflicts_with = "offset")]
    pub(super) from_beginning: bool,
    /// Begin with this offset; a negative one counts back from the end
    #[arg(long, short = 'o', allow_negative_numbers = true, conflicts_with = "group")]
    pub(super) offset: Option<i64>,
    /// Only this partition
    #[arg(long, short = 'p', conflicts_with = "group", value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// Read as a member of this group and commit its offsets
    #[arg(long, short = 'g')]
    pub(super) group: Option<String>,
    /// Whether records of open and aborted transactions are shown
    #[arg(long, value_enum, default_value = "read-committed")]
    pub(super) isolation: Isolation,
    /// Stop after so many records
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_messages: Option<u64>,
    /// Stop at the end of every partition
    #[arg(long, short = 'e')]
    pub(super) exit_at_end: bool,
    /// Stop after so long without a record
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Show the key before the value, with this between them
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub(super) key_separator: Option<String>,
    /// Show this before the value; may be repeated. --format json shows everything
    #[arg(long = "show", value_enum)]
    pub(super) show: Vec<Show>,
    /// How lines look.
    #[arg(skip)]
    pub(super) style: Style,
}

/// How lines look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Style {
    /// As the other arguments say.
    #[default]
    Ours,
    /// As Kafka's console consumer writes them.
    Console(ConsoleFormat),
}

/// The properties of Kafka's `DefaultMessageFormatter`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub(super) struct ConsoleFormat {
    pub(super) timestamp: bool,
    pub(super) partition: bool,
    pub(super) offset: bool,
    pub(super) headers: bool,
    pub(super) key: bool,
    pub(super) value: bool,
    pub(super) key_separator: String,
    pub(super) line_separator: String,
    pub(super) headers_separator: String,
    pub(super) null_literal: String,
}

impl Default for ConsoleFormat {
    fn default() -> ConsoleFormat {
        ConsoleFormat {
            timestamp: false,
            partition: false,
            offset: false,
            headers: false,
            key: false,
            value: true,
            key_separator: "\t".to_owned(),
            line_separator: "\n".to_owned(),
            headers_separator: ",".to_owned(),
            null_literal: "null".to_owned(),
        }
    }
}

impl ConsoleFormat {
    /// Writes what is asked for, in the order of Kafka's formatter.
    pub(super) fn write(&self, record: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
        let null = self.null_literal.as_bytes();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let time = record.timestamp_ms.map(|ms| {
                let kind = if record.is_append_time { "LogAppendTime" } else { "CreateTime" };
                format!("{kind}:{ms}")
            });
            parts.push(time.unwrap_or_else(|| "NO_TIMESTAMP".to_owned()).into_bytes());
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.headers {
            let header =
                |(key, value): &(&str, Option<&[u8]>)| [key.as_bytes(), b":", value.unwrap_or(null)].concat();
            let headers: Vec<_> = record.headers.iter().map(header).collect();
            let none = headers.is_empty().then(|| b"NO_HEADERS".to_vec());
            parts.push(none.unwrap_or_else(|| headers.join(self.headers_separator.as_bytes())));
        }
        if self.key {
            parts.push(record.key.unwrap_or(null).to_vec());
        }
        if self.value {
            parts.push(record.value.unwrap_or(null).to_vec());
        }
        out.write_all(&parts.join(self.key_separator.as_bytes()))?;
        out.write_all(self.line_separator.as_bytes())
    }
}

/// Kafka's `isolation.level`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Isolation {
    /// Only what is committed.
    #[value(alias = "read_committed")]
    ReadCommitted,
    /// Everything, as it comes.
    #[value(alias = "read_uncommitted")]
    ReadUncommitted,
}

/// What is shown besides the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Show {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// A record as it is shown.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client has records"))]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    /// Whether that is the broker's time and not the producer's.
    pub(super) is_append_time: bool,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

/// Writes a record as a line.
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client has records"))]
pub(super) fn write_record(
    record: &Shown<'_>,
    args: &ConsumeArgs,
    format: Format,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Style::Console(style) = &args.style {
        return style.write(record, out);
    }
    match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &record_json(record))?;
            out.write_all(b"\n")
        }
        Format::Table => {
            for show in &args.show {
                match show {
                    Show::Topic => write!(out, "{}\t", record.topic)?,
                    Show::Partition => write!(out, "{}\t", record.partition)?,
                    Show::Offset => write!(out, "{}\t", record.offset)?,
                    Show::Timestamp => match record.timestamp_ms {
                        Some(ms) => write!(out, "{ms}\t")?,
                        None => out.write_all(b"-\t")?,
                    },
                    Show::Headers => {
                        for (index, (key, value)) in record.headers.iter().enumerate() {
                            let comma = if index > 0 { "," } else { "" };
                            write!(
                                out,
                                "{comma}{key}={}",
                                String::from_utf8_lossy(value.unwrap_or(b"null"))
                            )?;
                        }
                        out.write_all(b"\t")?;
                    }
                }
            }
            if let Some(separator) = &args.key_separator {
                out.write_all(record.key.unwrap_or(b"null"))?;
                out.write_all(separator.as_bytes())?;
            }
            out.write_all(record.value.unwrap_or(b"null"))?;
            out.write_all(b"\n")
        }
    }
}

/// Text where it is UTF-8, base64 under another name where it is not; `null` differs from "".
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client has records"))]
fn record_json(record: &Shown<'_>) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(record.topic));
    object.insert("partition".to_owned(), json!(record.partition));
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp_ms".to_owned(), json!(record.timestamp_ms));
    put_bytes(&mut object, "key", record.key);
    put_bytes(&mut object, "value", record.value);
    let headers = shown_headers(record.headers.iter().map(|(key, value)| (*key, *value)));
    object.insert("headers".to_owned(), headers);
    Value::Object(object)
}

/// Headers as JSON, in their order.
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client has records"))]
pub(super) fn shown_headers<'a>(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Value {
    let headers = headers.map(|(key, value)| {
        let mut header = Map::new();
        header.insert("key".to_owned(), json!(key));
        put_bytes(&mut header, "value", value);
        Value::Object(header)
    });
    Value::Array(headers.collect())
}

/// Bytes under a name: text where they are UTF-8, base64 under another name where they are not.
pub(super) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => object.insert(name.to_owned(), Value::Null),
        Some((Ok(text), _)) => object.insert(name.to_owned(), json!(text)),
        Some((Err(_), bytes)) => object.insert(format!("{name}_base64"), json!(base64(bytes))),
    };
}

#[cfg(not(feature = "client"))]
pub(super) fn run(_: &GlobalArgs, _: &ConsumeArgs) -> Result<Report, CliError> {
    Err(super::without_client())
}

#[cfg(feature = "client")]
pub(super) use with_client::run;

#[cfg(feature = "client")]
mod with_client {
    use std::collections::{BTreeMap, BTreeSet};

    use rdkafka::consumer::Consumer;
    use rdkafka::error::KafkaError;
    use rdkafka::message::{BorrowedMessage, Headers, Message};
    use rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};

    use super::super::error::ExitKind;
    use super::super::interrupt::Interrupt;
    use super::super::kafka::{Quiet, QuietConsumer, base_config, create, translate};
    use super::super::protocol_client::Cluster;
    use super::super::time::now;
    use super::super::topic::find_topic;
    use super::*;
    use crate::error_code::ErrorCode;

    type Partitions = BTreeMap<String, Vec<i32>>;

    pub(in super::super) fn run(global: &GlobalArgs, args: &ConsumeArgs) -> Result<Report, CliError> {
        let config = consumer_config(global, args)?;
        let consumer: QuietConsumer = create(&config, Quiet)?;
        let interrupt = Interrupt::listen();
        let partitions = partitions(&mut global.cluster()?, args)?;
        if args.group.is_some() {
            let topics: Vec<&str> = args.topics.iter().map(String::as_str).collect();
            consumer.subscribe(&topics).map_err(|error| translate(&error, "cannot subscribe"))?;
        } else {
            assign(&consumer, args, &partitions)?;
        }
        let outcome = poll(global, args, &consumer, &partitions, &interrupt);
        // Leaving the group and committing what was shown happens when the consumer is dropped.
        drop(consumer);
        outcome?;
        if interrupt.requested() {
            return Err(CliError::new(ExitKind::Interrupted, "INTERRUPTED", "stopped"));
        }
        Ok(Report::silent())
    }

    fn consumer_config(global: &GlobalArgs, args: &ConsumeArgs) -> Result<ClientConfig, CliError> {
        let mut config = base_config(global)?;
        let isolation = match args.isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        // librdkafka wants a group's name even where nothing is committed to it.
        config
            .set("group.id", args.group.as_deref().unwrap_or("tidemill-cli"))
            .set("enable.auto.commit", if args.group.is_some() { "true" } else { "false" })
            .set("auto.offset.reset", if args.from_beginning { "earliest" } else { "latest" })
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "100")
            .set("session.timeout.ms", "10000");
        Ok(config)
    }

    /// The partitions of the topics; a topic that is not there is told instead of waited for.
    fn partitions(cluster: &mut Cluster, args: &ConsumeArgs) -> Result<Partitions, CliError> {
        let mut partitions = Partitions::new();
        for name in &args.topics {
            let topic = find_topic(cluster, name)?;
            let mut known: Vec<i32> = topic.partitions.iter().map(|known| known.partition_index).collect();
            if let Some(wanted) = args.partition {
                known.retain(|partition| *partition == wanted);
                if known.is_empty() {
                    let code = ErrorCode::UnknownTopicOrPartition.code();
                    return Err(CliError::kafka(code, format!("{name} has no partition {wanted}"), None));
                }
            }
            partitions.insert(name.clone(), known);
        }
        Ok(partitions)
    }

    fn assign(consumer: &QuietConsumer, args: &ConsumeArgs, partitions: &Partitions) -> Result<(), CliError> {
        let from = match args.offset {
            Some(offset) if offset < 0 => Offset::OffsetTail(offset.saturating_neg()),
            Some(offset) => Offset::Offset(offset),
            None if args.from_beginning => Offset::Beginning,
            None => Offset::End,
        };
        let mut list = TopicPartitionList::new();
        for (topic, numbers) in partitions {
            for number in numbers {
                list.add_partition_offset(topic, *number, from)
                    .map_err(|error| translate(&error, "cannot begin at that offset"))?;
            }
        }
        consumer.assign(&list).map_err(|error| translate(&error, "cannot read the partitions"))
    }

    fn poll(
        global: &GlobalArgs,
        args: &ConsumeArgs,
        consumer: &QuietConsumer,
        partitions: &Partitions,
        interrupt: &Interrupt,
    ) -> Result<(), CliError> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut count = 0;
        let mut last_record = now();
        let mut at_end = BTreeSet::new();
        let written = |result: io::Result<()>| match result {
            Ok(()) => Ok(true),
            // The reader had enough, as `head` has.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(CliError::io("cannot write to standard output", &error)),
        };
        while !interrupt.requested() && args.max_messages.is_none_or(|most| count < most) {
            let wait = if count > 0 { Duration::ZERO } else { Duration::from_millis(100) };
            let mut polled = consumer.poll(wait);
            if polled.is_none() {
                // Nothing waits: what is written so far is shown before the next record is waited for.
                if !written(out.flush())? {
                    return Ok(());
                }
                polled = consumer.poll(Duration::from_millis(100));
            }
            match polled {
                None => {}
                Some(Ok(message)) => {
                    count += 1;
                    last_record = now();
                    at_end.remove(&(message.topic().to_owned(), message.partition()));
                    if !written(write_message(&message, args, global.format, &mut out))? {
                        return Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end.extend(ended(consumer, partitions, partition));
                }
                Some(Err(error)) => {
                    let error = translate(&error, "cannot read");
                    if !error.retriable || error.kind == ExitKind::NotFound {
                        return Err(error);
                    }
                }
            }
            let quiet = args.timeout.is_some_and(|timeout| last_record.elapsed() >= timeout);
            if quiet || (args.exit_at_end && all_ended(args, consumer, partitions, &at_end)) {
                break;
            }
        }
        written(out.flush())?;
        if args.style != Style::Ours {
            eprintln!("Processed a total of {count} messages");
        }
        Ok(())
    }

    /// librdkafka names the partition that ended, not its topic: with several topics, each topic's
    /// partition of that number that stands at its end counts when its own event comes.
    fn ended(consumer: &QuietConsumer, partitions: &Partitions, partition: i32) -> Vec<(String, i32)> {
        let owners: Vec<_> = partitions.iter().filter(|(_, numbers)| numbers.contains(&partition)).collect();
        let at_end = |topic: &str| {
            let (_, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)).ok()?;
            let position = consumer.position().ok()?;
            match position.find_partition(topic, partition)?.offset() {
                Offset::Offset(offset) => Some(offset >= high),
                // Nothing was read yet: at the end only if there is nothing to read.
                _ => Some(true),
            }
        };
        let alone = owners.len() == 1;
        owners
            .into_iter()
            .filter(|(topic, _)| alone || at_end(topic).unwrap_or(false))
            .map(|(topic, _)| (topic.clone(), partition))
            .collect()
    }

    fn all_ended(
        args: &ConsumeArgs,
        consumer: &QuietConsumer,
        partitions: &Partitions,
        at_end: &BTreeSet<(String, i32)>,
    ) -> bool {
        if args.group.is_none() {
            return partitions.iter().all(|(topic, numbers)| {
                numbers.iter().all(|number| at_end.contains(&(topic.clone(), *number)))
            });
        }
        // A group may give this member only some partitions, and none before its first assignment.
        let Ok(assignment) = consumer.assignment() else { return false };
        let elements = assignment.elements();
        !elements.is_empty()
            && elements
                .iter()
                .all(|element| at_end.contains(&(element.topic().to_owned(), element.partition())))
    }

    fn write_message(
        message: &BorrowedMessage<'_>,
        args: &ConsumeArgs,
        format: Format,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let headers = message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key, header.value)).collect());
        let shown = Shown {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            is_append_time: matches!(message.timestamp(), Timestamp::LogAppendTime(_)),
            key: message.key(),
            value: message.payload(),
            headers: headers.unwrap_or_default(),
        };
        write_record(&shown, args, format, out)
    }
}

#[cfg(test)]
mod tests;
