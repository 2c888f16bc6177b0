//! `tidemill state …`: what processors keep, read over the admin API at what is committed.
//!
//! Keys and values are taken apart by the server; here they only become rows.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::CliError;
use super::http::{AdminApi, Call, elements, path_segment, shown};
use super::output::{Block, Report, human_bytes};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// List processors with state: their stores, and how much each task keeps
    List {
        /// Only this processor
        processor: Option<String>,
    },
    /// Show a key's value in each task that has one
    Get(GetArgs),
    /// Show the entries of a store in the order of their keys, task by task
    Scan(ScanArgs),
}

/// Which store, and how it is shown.
#[derive(Args, Debug)]
struct StoreArgs {
    /// The processor
    processor: String,
    /// The store
    store: String,
    /// Only the task of this input partition
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How keys are written, here and in the answer; a key that is no text is shown in base64
    #[arg(long, value_enum, default_value = "text")]
    key_format: KeyFormat,
    /// How values are shown; one that is not of the format comes in base64
    #[arg(long, value_enum, default_value = "auto")]
    value_format: ValueFormat,
}

/// Arguments of `state get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    #[command(flatten)]
    of: StoreArgs,
    /// The key
    key: String,
}

/// Arguments of `state scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    #[command(flatten)]
    of: StoreArgs,
    /// From this key on
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// Up to this key, without it
    #[arg(long, value_name = "KEY")]
    to: Option<String>,
    /// Only keys that begin so
    #[arg(long, value_name = "KEY")]
    prefix: Option<String>,
    /// The last keys first
    #[arg(long, short = 'r')]
    reverse: bool,
    /// How many entries, at most 10000
    #[arg(long, short = 'n', value_name = "ENTRIES", default_value = "100")]
    limit: u32,
    /// Go on where the same scan has stopped: what it gave as "next"
    #[arg(long)]
    cursor: Option<String>,
}

/// How keys are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum KeyFormat {
    Text,
    Hex,
    Base64,
}

/// How values are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ValueFormat {
    /// Text, else a counter if there are eight bytes, else base64
    Auto,
    Text,
    Hex,
    Base64,
    /// The number that `add` counts: eight bytes, little-endian
    Counter,
    Json,
}

pub(super) fn run(global: &GlobalArgs, command: &StateCommand) -> Result<Report, CliError> {
    let api = AdminApi::new(global);
    match command {
        StateCommand::List { processor } => list(&api, processor.as_deref()),
        StateCommand::Get(args) => {
            let path = format!("{}/keys/{}", store_path(&args.of), path_segment(&args.key));
            let answer = api.call(Call::Get, &with_query(path, &of_store(&args.of)))?;
            Ok(entries(answer))
        }
        StateCommand::Scan(args) => {
            let answer = api.call(Call::Get, &with_query(store_path(&args.of), &of_scan(args)))?;
            Ok(entries(answer))
        }
    }
}

fn state_path(processor: &str) -> String {
    format!("/v1/processors/{}/state", path_segment(processor))
}

fn store_path(of: &StoreArgs) -> String {
    format!("{}/{}", state_path(&of.processor), path_segment(&of.store))
}

type Parameters = Vec<(&'static str, String)>;

fn of_store(of: &StoreArgs) -> Parameters {
    let mut parameters =
        vec![("key_format", name_of(of.key_format)), ("value_format", name_of(of.value_format))];
    parameters.extend(of.partition.map(|partition| ("partition", partition.to_string())));
    parameters
}

fn of_scan(args: &ScanArgs) -> Parameters {
    let mut parameters = of_store(&args.of);
    let given = [("from", &args.from), ("to", &args.to), ("prefix", &args.prefix), ("cursor", &args.cursor)];
    parameters.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    parameters.push(("limit", args.limit.to_string()));
    parameters.push(("reverse", args.reverse.to_string()));
    parameters
}

fn name_of(format: impl ValueEnum) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn with_query(path: String, parameters: &Parameters) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", path_segment(value)));
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The entries, and below them of when they are.
fn entries(answer: Value) -> Report {
    let columns = ["partition", "key", "value", "value_format"];
    let row = |entry: &Value| columns.iter().map(|column| cell(entry.get(column))).collect();
    let rows = elements(&answer, "entries").iter().map(row).collect();
    let headers: &[_] = &["PARTITION", "KEY", "VALUE", "FORMAT"];
    let mut blocks = vec![Block::Table { headers, rows }];
    let seen = |seen: &Value| {
        format!("{} up to offset {}", shown(seen.get("partition")), shown(seen.get("changelog_offset")))
    };
    let partitions: Vec<String> = elements(&answer, "partitions").iter().map(seen).collect();
    if !partitions.is_empty() {
        let text = format!("As the changelog's partitions are committed: {}.", partitions.join(", "));
        blocks.push(Block::Line(text));
    }
    let without: Vec<String> =
        elements(&answer, "without_state").iter().map(|partition| shown(Some(partition))).collect();
    if !without.is_empty() {
        blocks.push(Block::Line(format!("Without state yet: the tasks of {}.", without.join(", "))));
    }
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        blocks.push(Block::Line(format!("There may be more: add --cursor {next}")));
    }
    Report { blocks, json: answer, failures: Vec::new() }
}

/// A field on one line, whatever is in it; a document as it is.
fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => {
            let escaped = |character: char| match character.is_control() {
                true => character.escape_default().to_string(),
                false => character.to_string(),
            };
            text.chars().map(escaped).collect()
        }
        Some(Value::Array(_) | Value::Object(_)) => value.map(Value::to_string).unwrap_or_default(),
        None | Some(Value::Null | Value::Bool(_) | Value::Number(_)) => shown(value),
    }
}

fn list(api: &AdminApi, processor: Option<&str>) -> Result<Report, CliError> {
    let names = match processor {
        Some(name) => vec![name.to_owned()],
        None => {
            let answer = api.call(Call::Get, "/v1/processors")?;
            let has_stores = |processor: &&Value| !elements(processor, "stores").is_empty();
            let all = elements(&answer, "processors").iter().filter(has_stores);
            all.map(|processor| shown(processor.get("name"))).collect()
        }
    };
    let mut rows = Vec::new();
    let mut found = Vec::new();
    for name in names {
        let answer = api.call(Call::Get, &state_path(&name))?;
        let stores = shown(answer.get("stores"));
        let tasks = elements(&answer, "tasks");
        if tasks.is_empty() {
            rows.push(vec![name, stores, "-".to_owned(), "-".to_owned(), "-".to_owned()]);
        } else {
            rows.extend(tasks.iter().map(|task| {
                let bytes = task.get("bytes").and_then(Value::as_u64).map(human_bytes);
                vec![
                    name.clone(),
                    stores.clone(),
                    shown(task.get("partition")),
                    bytes.unwrap_or_default(),
                    shown(task.get("changelog_offset")),
                ]
            }));
        }
        found.push(answer);
    }
    let headers: &[_] = &["PROCESSOR", "STORES", "PARTITION", "SIZE", "CHANGELOG OFFSET"];
    Ok(Report::new(Block::Table { headers, rows }, json!({ "processors": found })))
}

#[cfg(test)]
mod tests;
