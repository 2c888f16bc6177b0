//! Kafka's own tools by their names: `kafka-topics --list` as a link to this binary or as its first argument, with the
//! usual flags and the usual output, so that scripts work without a JVM.
//!
//! Each translates its flags into a command line of ours and shows the answer as Kafka's tool does. What has no such
//! command is refused with a sentence; nothing is ignored in silence.

mod configs;
mod console;
mod groups;
mod offsets;
mod topics;
mod transactions;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use regex::Regex;
use serde_json::Value;

use super::error::CliError;
use super::output::{Block, Report};
use super::{Cli, GlobalArgs, dispatch};

/// Kafka's tools.
#[derive(Debug, Subcommand)]
pub enum KafkaTool {
    /// kafka-topics
    #[command(name = "kafka-topics", hide = true, infer_long_args = true)]
    Topics(topics::TopicsArgs),
    /// kafka-configs
    #[command(name = "kafka-configs", hide = true, infer_long_args = true)]
    Configs(configs::ConfigsArgs),
    /// kafka-consumer-groups
    #[command(name = "kafka-consumer-groups", hide = true, infer_long_args = true)]
    ConsumerGroups(groups::GroupsArgs),
    /// kafka-console-producer
    #[command(name = "kafka-console-producer", hide = true, infer_long_args = true)]
    ConsoleProducer(console::ProducerArgs),
    /// kafka-console-consumer
    #[command(name = "kafka-console-consumer", hide = true, infer_long_args = true)]
    ConsoleConsumer(console::ConsumerArgs),
    /// kafka-transactions
    #[command(name = "kafka-transactions", hide = true, infer_long_args = true)]
    Transactions(transactions::TransactionsArgs),
    /// kafka-get-offsets
    #[command(name = "kafka-get-offsets", hide = true, infer_long_args = true)]
    GetOffsets(offsets::OffsetsArgs),
}

const NAMES: [&str; 7] = [
    "kafka-topics",
    "kafka-configs",
    "kafka-consumer-groups",
    "kafka-console-producer",
    "kafka-console-consumer",
    "kafka-transactions",
    "kafka-get-offsets",
];

/// The command line, with the name that the binary was called by as its first argument if that is a tool's, with or
/// without `.sh`.
pub(super) fn with_tool_name(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let called = arguments.first().map(|program| Path::new(program).file_name().unwrap_or_default());
    if let Some(tool) = called.and_then(tool_name) {
        arguments.insert(1, tool.into());
    } else if let Some(first) = arguments.get_mut(1)
        && let Some(tool) = tool_name(first)
    {
        *first = tool.into();
    }
    arguments
}

/// Whether a command line is one of a tool's: then every failure ends with status 1, as Kafka's tools do.
pub(super) fn is_tool(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|first| tool_name(first).is_some())
}

fn tool_name(name: &OsStr) -> Option<&'static str> {
    let name = name.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    NAMES.into_iter().find(|tool| *tool == name)
}

pub(super) fn run(global: &GlobalArgs, tool: &KafkaTool) -> Result<Report, CliError> {
    match tool {
        KafkaTool::Topics(args) => topics::run(global, args),
        KafkaTool::Configs(args) => configs::run(global, args),
        KafkaTool::ConsumerGroups(args) => groups::run(global, args),
        KafkaTool::ConsoleProducer(args) => console::produce(global, args),
        KafkaTool::ConsoleConsumer(args) => console::consume(global, args),
        KafkaTool::Transactions(args) => transactions::run(global, args),
        KafkaTool::GetOffsets(args) => offsets::run(global, args),
    }
}

/// The file with a client's settings that all tools take.
#[derive(Args, Debug)]
struct CommandConfig {
    /// A property file for the client
    #[arg(long, value_name = "FILE", alias = "producer.config", alias = "consumer.config")]
    command_config: Option<PathBuf>,
}

impl CommandConfig {
    /// Refuses what would make another connection than ours. What tunes Kafka's own client has no meaning here.
    fn check(&self) -> Result<(), CliError> {
        let Some(path) = &self.command_config else { return Ok(()) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::io(format!("cannot read {}", path.display()), &error))?;
        properties(&text).try_for_each(|(key, value)| check_property(key, value))
    }
}

/// The settings of a property file.
fn properties(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    lines
        .map(|line| line.split_once(['=', ':']).unwrap_or((line, "")))
        .map(|(key, value)| (key.trim(), value.trim()))
}

fn check_property(key: &str, value: &str) -> Result<(), CliError> {
    let is_plain = key != "security.protocol" || value.eq_ignore_ascii_case("PLAINTEXT");
    if is_plain && !key.starts_with("ssl.") && !key.starts_with("sasl.") {
        return Ok(());
    }
    Err(CliError::usage(format!("{key}={value}: this tool connects without TLS and SASL"))
        .with_hint("use Kafka's own tool for a cluster that asks for them"))
}

/// Runs a command line of ours.
fn ours<S: AsRef<str>>(global: &GlobalArgs, arguments: &[S]) -> Result<Report, CliError> {
    dispatch(parsed(global, arguments)?)
}

/// The same, only read.
fn parsed<S: AsRef<str>>(global: &GlobalArgs, arguments: &[S]) -> Result<Cli, CliError> {
    let arguments = std::iter::once("tidemill").chain(arguments.iter().map(AsRef::as_ref));
    let mut cli = Cli::try_parse_from(arguments).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        CliError::usage(first.strip_prefix("error: ").unwrap_or(first).to_owned())
    })?;
    cli.global = global.clone();
    Ok(cli)
}

/// Lines as a report; empty lines are lines too. What failed is told behind them.
fn lines(lines: Vec<String>, failures: Vec<CliError>) -> Report {
    let blocks = if lines.is_empty() { Vec::new() } else { vec![Block::Line(lines.join("\n"))] };
    Report { blocks, json: Value::from(lines), failures }
}

/// What is wrong with an answer of ours, if anything; what else was done is lost to nobody.
fn all_done(report: &Report) -> Result<(), CliError> {
    report.failures.first().cloned().map_or(Ok(()), Err)
}

/// Columns that are as wide as their widest cell, as Kafka's tools print them.
fn table(headers: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headers.get(column).map(|header| header.len())).max().unwrap_or(0)
    };
    let row = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|cells| row(cells.iter().map(String::as_str).collect()));
    std::iter::once(row(headers.to_vec())).chain(rows).collect()
}

/// Names that a tool's `--topic` means: a regular expression, or several with commas between them.
fn pattern(text: &str) -> Result<Regex, CliError> {
    let whole = format!("^(?:{})$", text.trim_matches('"').replace(',', "|"));
    Regex::new(&whole).map_err(|_| CliError::usage(format!("\"{text}\" is not a regular expression")))
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number as Kafka's tools print it, `-` if there is none.
fn number_of(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_i64).map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A flag that was left out.
fn missing(flag: &str, what_for: &str) -> CliError {
    CliError::usage(format!("{what_for} needs {flag}"))
}

#[cfg(test)]
mod tests;
