//! `kafka-console-producer` and `kafka-console-consumer` (`org.apache.kafka.tools`).

use clap::{ArgAction, Args};

use super::super::consume::{ConsoleFormat, Style};
use super::super::error::CliError;
use super::super::output::Report;
use super::super::produce::HeaderFormat;
use super::super::{Command, GlobalArgs, consume, produce};
use super::{CommandConfig, check_property, parsed, pattern};
use crate::cli::parse_pair;

/// Flags of the producer.
#[derive(Args, Debug)]
pub struct ProducerArgs {
    /// The topic
    #[arg(long)]
    topic: String,
    /// parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker
    #[arg(long, visible_alias = "reader-property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    property: Vec<(String, String)>,
    /// Settings of the client: acks and compression.type
    #[arg(long, alias = "command-property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    producer_property: Vec<(String, String)>,
    /// none, gzip, snappy, lz4 or zstd; gzip without one
    #[arg(long, num_args = 0..=1, default_missing_value = "gzip", value_name = "CODEC")]
    compression_codec: Option<String>,
    /// Whose acknowledgement to wait for
    #[arg(long, value_name = "ACKS")]
    request_required_acks: Option<String>,
    /// Wait for each record, which makes no difference to what is written
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    command_config: CommandConfig,
}

/// Flags of the consumer.
#[derive(Args, Debug)]
pub struct ConsumerArgs {
    /// The topic
    #[arg(long, required_unless_present = "include")]
    topic: Option<String>,
    /// Topics: a regular expression
    #[arg(long, alias = "whitelist", conflicts_with = "topic", value_name = "REGEX")]
    include: Option<String>,
    /// The partition
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Where to begin: earliest, latest or an offset
    #[arg(long, requires = "partition", allow_negative_numbers = true)]
    offset: Option<String>,
    /// Begin with the first record
    #[arg(long)]
    from_beginning: bool,
    /// Read as a member of this group
    #[arg(long)]
    group: Option<String>,
    /// Stop after so many records
    #[arg(long)]
    max_messages: Option<u64>,
    /// Stop after so long without a record
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// read_committed or read_uncommitted
    #[arg(long, default_value = "read_uncommitted")]
    isolation_level: String,
    /// print.key, print.value, print.timestamp, print.offset, print.partition, print.headers, key.separator,
    /// line.separator, headers.separator, null.literal
    #[arg(long, visible_alias = "formatter-property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    property: Vec<(String, String)>,
    /// Settings of the client: group.id, isolation.level and auto.offset.reset
    #[arg(long, alias = "command-property", value_name = "KEY=VALUE", value_parser = parse_pair)]
    consumer_property: Vec<(String, String)>,
    /// Go on after a record that cannot be shown, which does not happen here
    #[arg(long, action = ArgAction::SetTrue)]
    skip_message_on_error: bool,
    #[command(flatten)]
    command_config: CommandConfig,
}

pub(super) fn produce(global: &GlobalArgs, args: &ProducerArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    let mut reader = Reader { key_separator: "\t".to_owned(), ..Reader::default() };
    for (key, value) in &args.property {
        reader.set(key, value)?;
    }
    let mut arguments = vec!["produce".to_owned(), args.topic.clone()];
    let mut acks = args.request_required_acks.clone();
    let mut codec = args.compression_codec.clone();
    for (key, value) in &args.producer_property {
        match key.as_str() {
            "acks" => acks = Some(value.clone()),
            "compression.type" => codec = Some(value.clone()),
            _ => check_property(key, value)?,
        }
    }
    arguments.extend(acks.map(|acks| format!("--acks={acks}")));
    arguments.extend(codec.map(|codec| format!("--compression={codec}")));
    if reader.has_key {
        arguments.push(format!("--key-separator={}", reader.key_separator));
    }
    arguments.extend(reader.null_marker.as_ref().map(|marker| format!("--null-value={marker}")));
    match parsed(global, &arguments)?.command {
        Command::Produce(mut ours) => {
            ours.header_format = reader.has_headers.then_some(reader.headers);
            ours.quietly = true;
            produce::run(global, &ours)
        }
        _ => Err(CliError::usage("the arguments make no producer")),
    }
}

/// How lines become records: `LineMessageReader`'s properties.
#[derive(Default)]
struct Reader {
    has_key: bool,
    key_separator: String,
    has_headers: bool,
    headers: HeaderFormat,
    null_marker: Option<String>,
}

impl Reader {
    fn set(&mut self, key: &str, value: &str) -> Result<(), CliError> {
        let is_true = value.eq_ignore_ascii_case("true");
        match key {
            "parse.key" => self.has_key = is_true,
            "key.separator" => self.key_separator = unescaped(value),
            "parse.headers" => self.has_headers = is_true,
            "headers.delimiter" => self.headers.delimiter = unescaped(value),
            "headers.separator" => self.headers.separator = unescaped(value),
            "headers.key.separator" => self.headers.key_separator = unescaped(value),
            "null.marker" => self.null_marker = Some(value.to_owned()),
            other => return Err(unknown_property(other)),
        }
        Ok(())
    }
}

fn unknown_property(key: &str) -> CliError {
    CliError::usage(format!("the property {key} is not known")).with_hint("`--help` lists those that are")
}

/// Shells make it hard to type a tab.
fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

pub(super) fn consume(global: &GlobalArgs, args: &ConsumerArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    let mut arguments = vec!["consume".to_owned()];
    arguments.extend(topics(global, args)?);
    let (mut group, mut isolation) = (args.group.clone(), args.isolation_level.clone());
    let mut from_beginning = args.from_beginning;
    for (key, value) in &args.consumer_property {
        match key.as_str() {
            "group.id" => group = Some(value.clone()),
            "isolation.level" => isolation.clone_from(value),
            "auto.offset.reset" => from_beginning |= value == "earliest",
            _ => check_property(key, value)?,
        }
    }
    arguments.push(format!("--isolation={isolation}"));
    arguments.extend(args.partition.map(|partition| format!("--partition={partition}")));
    match args.offset.as_deref() {
        None | Some("latest") => {}
        Some("earliest") => from_beginning = true,
        Some(offset) => arguments.push(format!("--offset={offset}")),
    }
    arguments.extend(from_beginning.then(|| "--from-beginning".to_owned()));
    arguments.extend(group.map(|group| format!("--group={group}")));
    arguments.extend(args.max_messages.map(|count| format!("--max-messages={count}")));
    arguments.extend(args.timeout_ms.map(|ms| format!("--timeout={ms}ms")));
    let mut format = ConsoleFormat::default();
    for (key, value) in &args.property {
        set_format(&mut format, key, value)?;
    }
    match parsed(global, &arguments)?.command {
        Command::Consume(mut ours) => {
            ours.style = Style::Console(format);
            consume::run(global, &ours)
        }
        _ => Err(CliError::usage("the arguments make no consumer")),
    }
}

fn topics(global: &GlobalArgs, args: &ConsumerArgs) -> Result<Vec<String>, CliError> {
    if let Some(topic) = &args.topic {
        return Ok(vec![topic.clone()]);
    }
    let include = args.include.as_deref().unwrap_or_default();
    let pattern = pattern(include)?;
    let topics = global.cluster()?.metadata(None)?.topics;
    let names = topics.iter().filter(|topic| !topic.is_internal).filter_map(|topic| topic.name.as_ref());
    let names: Vec<String> =
        names.map(|name| name.as_str().to_owned()).filter(|name| pattern.is_match(name)).collect();
    if names.is_empty() {
        return Err(CliError::usage(format!("no topic matches \"{include}\"")));
    }
    Ok(names)
}

/// `DefaultMessageFormatter`'s properties.
fn set_format(format: &mut ConsoleFormat, key: &str, value: &str) -> Result<(), CliError> {
    let is_true = value.eq_ignore_ascii_case("true");
    match key {
        "print.timestamp" => format.timestamp = is_true,
        "print.key" => format.key = is_true,
        "print.value" => format.value = is_true,
        "print.offset" => format.offset = is_true,
        "print.partition" => format.partition = is_true,
        "print.headers" => format.headers = is_true,
        "key.separator" => format.key_separator = unescaped(value),
        "line.separator" => format.line_separator = unescaped(value),
        "headers.separator" => format.headers_separator = unescaped(value),
        "null.literal" => format.null_literal = value.to_owned(),
        other => return Err(unknown_property(other)),
    }
    Ok(())
}
