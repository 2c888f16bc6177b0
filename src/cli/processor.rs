//! `tidemill processor …`: processors over the admin API.
//!
//! `deploy` takes flags, a manifest, or a manifest with flags over it, and waits until it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{CliError, ExitKind};
use super::http::{AdminApi, Call, elements, fields, path_segment, shown};
use super::manifest::{self, is_default, over};
use super::output::{Block, Report, confirm, spinner};
use super::time::{now, pause};
use super::{GlobalArgs, logs, module, parse_pair, time};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ProcessorCommand {
    /// Deploy a processor, or change one that is there; it goes on where it stopped
    Deploy(Box<DeployArgs>),
    /// List processors
    List,
    /// Show a processor: state, tasks, lag, last error
    Describe {
        /// Its name
        name: String,
    },
    /// Stop a processor after its current transaction
    Pause {
        /// Its name
        name: String,
    },
    /// Let a paused or failed processor go on
    Resume {
        /// Its name
        name: String,
    },
    /// Delete a processor; its topics stay
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Show what a processor logged
    Logs {
        /// Its name
        name: String,
        /// Go on with new lines until Ctrl-C
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

/// Arguments of `processor deploy`.
#[derive(Args, Debug)]
pub struct DeployArgs {
    /// Its name; the manifest's unless given
    name: Option<String>,
    /// A manifest in TOML; flags win over it
    #[arg(long, short = 'F')]
    file: Option<PathBuf>,
    /// The module: a name, a digest's beginning, or a .wasm file, which is uploaded first
    #[arg(long, short = 'm')]
    module: Option<String>,
    /// An input topic; may be repeated
    #[arg(long = "input", short = 'i', value_name = "TOPIC")]
    inputs: Vec<String>,
    /// An output topic; may be repeated
    #[arg(long = "output", short = 'o', value_name = "TOPIC")]
    outputs: Vec<String>,
    /// Where a new processor starts to read: committed, earliest, latest, offset:N, or time: with a moment such as
    /// 2026-01-31T12:00:00Z or milliseconds since 1970
    #[arg(long, value_name = "WHERE")]
    start: Option<Start>,
    /// A store in which its tasks keep state; may be repeated
    #[arg(long = "store", value_name = "NAME")]
    stores: Vec<String>,
    /// Its tasks may set timers; those with a store may anyhow
    #[arg(long)]
    timers: bool,
    /// What holds after a failure; exactly-once unless said
    #[arg(long, value_enum)]
    guarantee: Option<Guarantee>,
    /// A setting for the guest; may be repeated
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// The longest time one transaction stays open, in milliseconds
    #[arg(long, value_name = "MS")]
    commit_interval_ms: Option<u64>,
    /// The guest's memory in bytes
    #[arg(long, value_name = "BYTES")]
    memory_bytes: Option<u64>,
    /// The longest time for one batch, in milliseconds
    #[arg(long, value_name = "MS")]
    batch_time_ms: Option<u64>,
    /// How often a failed batch is tried again
    #[arg(long, value_name = "TIMES")]
    retries: Option<u32>,
    /// What to do with a record that fails for good
    #[arg(long, value_enum)]
    on_error: Option<Then>,
    /// Where failed records go
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    /// Do not wait until it runs
    #[arg(long)]
    no_wait: bool,
    /// How long to wait until it runs
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::parse_duration)]
    timeout: Duration,
}

/// Where a new processor starts to read, as the server writes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Start(String);

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Start, String> {
        text.parse()
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        let wrong = || format!("\"{text}\" is none of committed, earliest, latest, offset:N and time:MOMENT");
        match text.split_once(':') {
            None if matches!(text, "committed" | "earliest" | "latest") => Ok(Start(text.to_owned())),
            Some(("offset", offset)) if offset.parse::<u64>().is_ok() => Ok(Start(text.to_owned())),
            Some(("time", moment)) => {
                let ms = moment.parse::<u64>().ok().or_else(|| time::parse_moment(moment));
                ms.map(|ms| Start(format!("time:{ms}"))).ok_or_else(wrong)
            }
            None | Some(_) => Err(wrong()),
        }
    }
}

/// What to do with a record that fails for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Then {
    DeadLetter,
    Stop,
    Skip,
}

/// What a failure does to outputs and state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Guarantee {
    ExactlyOnce,
    AtLeastOnce,
}

/// A manifest, and the body of the request: what is left out is the server's to choose.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(skip_serializing)]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    commit: Commit,
    #[serde(default, skip_serializing_if = "is_default")]
    limits: ProcessorLimits,
    #[serde(default, skip_serializing_if = "is_default")]
    on_error: OnError,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stores: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    timers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    guarantee: Option<Guarantee>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    then: Vec<Stage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    partitioners: BTreeMap<String, Partitioner>,
}

/// A module behind the first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    module: String,
    input: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
}

/// What chooses the partitions of an output topic.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partitioner {
    module: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commit {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
}

/// What its tasks may use.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessorLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_ratio: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_lines_per_second: Option<u64>,
}

/// When a processor is paused because too many of its records fail.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Breaker {
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_min: Option<u64>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnError {
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_topic: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    breaker: Breaker,
}

pub(super) fn run(global: &GlobalArgs, command: &ProcessorCommand) -> Result<Report, CliError> {
    let api = AdminApi::new(global);
    match command {
        ProcessorCommand::Deploy(args) => deploy(global, &api, args),
        ProcessorCommand::List => list(&api),
        ProcessorCommand::Describe { name } => {
            let answer = api.call(Call::Get, &path(name))?;
            Ok(described(answer))
        }
        ProcessorCommand::Pause { name } => act(&api, name, "pause", "paused"),
        ProcessorCommand::Resume { name } => act(&api, name, "resume", "resumed"),
        ProcessorCommand::Delete { name, yes } => {
            confirm(&format!("Delete processor {name}?"), (*yes).into())?;
            api.call(Call::Delete, &path(name))?;
            Ok(Report::line(format!("deleted processor {name}"), json!({"name": name, "deleted": true})))
        }
        ProcessorCommand::Logs { name, follow } => logs::run(global, &api, &path(name), *follow),
    }
}

fn path(name: &str) -> String {
    format!("/v1/processors/{}", path_segment(name))
}

fn act(api: &AdminApi, name: &str, verb: &str, done: &str) -> Result<Report, CliError> {
    let answer = api.call(Call::Post, &format!("{}/{verb}", path(name)))?;
    let json = if answer.is_null() { json!({"name": name, "status": done}) } else { answer };
    Ok(Report::line(format!("{done} processor {name}"), json))
}

/// The fields, and below them a row for each output's partitioner and for each task.
fn described(answer: Value) -> Report {
    let columns = [
        "topic",
        "partition",
        "state",
        "committed_offset",
        "lag_records",
        "records_in",
        "records_out",
        "commits",
        "aborts",
        "dead_letters",
        "last_error",
    ];
    let row = |task: &Value| columns.iter().map(|column| shown(task.get(column))).collect();
    let rows: Vec<Vec<String>> = elements(&answer, "tasks").iter().map(row).collect();
    let mut rest = answer.clone();
    let map = rest.as_object_mut();
    let partitioners = map.and_then(|map| {
        map.remove("tasks");
        map.remove("partitioners")
    });
    let mut blocks = vec![fields(&rest)];
    let partitioner = |(topic, partitioner): (&String, &Value)| {
        vec![topic.clone(), shown(partitioner.get("module")), shown(partitioner.get("config"))]
    };
    let partitioners = partitioners.as_ref().and_then(Value::as_object).into_iter().flatten();
    let partitioners: Vec<Vec<String>> = partitioners.map(partitioner).collect();
    if !partitioners.is_empty() {
        let headers: &[_] = &["OUTPUT", "PARTITIONER", "CONFIG"];
        blocks.push(Block::Table { headers, rows: partitioners });
    }
    if !rows.is_empty() {
        let headers: &[_] = &[
            "TOPIC",
            "PARTITION",
            "STATE",
            "COMMITTED",
            "LAG",
            "IN",
            "OUT",
            "COMMITS",
            "ABORTS",
            "DEAD LETTERS",
            "LAST ERROR",
        ];
        blocks.push(Block::Table { headers, rows });
    }
    Report { blocks, json: answer, failures: Vec::new() }
}

fn list(api: &AdminApi) -> Result<Report, CliError> {
    let answer = api.call(Call::Get, "/v1/processors")?;
    let columns = ["name", "state", "module", "inputs", "outputs", "lag", "last_error"];
    let cell = |processor: &Value, column: &str| match (column, processor.get(column)) {
        ("module", Some(Value::String(digest))) => module::short_digest(digest),
        (_, value) => shown(value),
    };
    let row = |processor: &Value| columns.iter().map(|column| cell(processor, column)).collect();
    let rows = elements(&answer, "processors").iter().map(row).collect();
    let headers: &[_] = &["NAME", "STATE", "MODULE", "INPUTS", "OUTPUTS", "LAG", "LAST ERROR"];
    Ok(Report::new(Block::Table { headers, rows }, answer))
}

fn deploy(global: &GlobalArgs, api: &AdminApi, args: &DeployArgs) -> Result<Report, CliError> {
    let mut manifest = match &args.file {
        Some(file) => manifest::read(file)?,
        None => Manifest::default(),
    };
    overlay(&mut manifest, args);
    let name = check_manifest(&manifest)?;
    let base = args.file.as_deref().filter(|_| args.module.is_none());
    if let Some(module) = &mut manifest.module {
        manifest::push_module(global, module, base)?;
    }
    for partitioner in manifest.partitioners.values_mut() {
        manifest::push_module(global, &mut partitioner.module, args.file.as_deref())?;
    }
    let body = serde_json::to_value(&manifest)
        .map_err(|error| CliError::usage(format!("cannot put the request together: {error}")))?;
    let answer = api.call(Call::Put(&body), &path(&name))?;
    if args.no_wait {
        let json = if answer.is_null() { json!({"name": name}) } else { answer };
        return Ok(Report::line(format!("deployed processor {name}"), json));
    }
    let running = wait_until_running(api, &name, args.timeout)?;
    Ok(Report::line(format!("processor {name} is running"), running))
}

/// Flags win; a list that is given replaces the manifest's.
fn overlay(manifest: &mut Manifest, args: &DeployArgs) {
    over(&mut manifest.name, &args.name);
    over(&mut manifest.module, &args.module);
    over(&mut manifest.start, &args.start);
    over(&mut manifest.commit.interval_ms, &args.commit_interval_ms);
    over(&mut manifest.limits.memory_bytes, &args.memory_bytes);
    over(&mut manifest.limits.batch_time_ms, &args.batch_time_ms);
    over(&mut manifest.on_error.retries, &args.retries);
    over(&mut manifest.on_error.then, &args.on_error);
    over(&mut manifest.on_error.dead_letter_topic, &args.dead_letter_topic);
    if !args.inputs.is_empty() {
        manifest.inputs.clone_from(&args.inputs);
    }
    if !args.outputs.is_empty() {
        manifest.outputs.clone_from(&args.outputs);
    }
    if !args.stores.is_empty() {
        manifest.stores.clone_from(&args.stores);
    }
    manifest.timers |= args.timers;
    over(&mut manifest.guarantee, &args.guarantee);
    manifest.config.extend(args.config.iter().cloned());
}

fn check_manifest(manifest: &Manifest) -> Result<String, CliError> {
    let missing =
        |what: &str, how: &str| Err(CliError::usage(format!("the processor has no {what}")).with_hint(how));
    if manifest.module.is_none() {
        return missing("module", "give --module NAME, or `module` in the manifest");
    }
    if manifest.inputs.is_empty() {
        return missing("input topic", "give --input TOPIC, or `inputs` in the manifest");
    }
    match &manifest.name {
        Some(name) => Ok(name.clone()),
        None => Err(CliError::usage("the processor has no name")
            .with_hint("give it after `deploy`, or as `name` in the manifest")),
    }
}

fn wait_until_running(api: &AdminApi, name: &str, patience: Duration) -> Result<Value, CliError> {
    let deadline = now() + patience;
    let bar = spinner(format!("waiting until {name} runs"));
    let outcome = loop {
        let answer = match api.call(Call::Get, &path(name)) {
            Ok(answer) => answer,
            Err(error) => break Err(error),
        };
        let state = shown(answer.get("state")).to_ascii_lowercase();
        match state.as_str() {
            "running" => break Ok(answer),
            "failed" | "stopped" | "paused" => {
                let why = shown(answer.get("last_error"));
                let message = format!("processor {name} is {state}: {why}");
                break Err(CliError::new(ExitKind::Failed, "PROCESSOR_NOT_RUNNING", message)
                    .with_hint(format!("`tidemill processor logs {name}` shows what it said")));
            }
            _ if now() >= deadline => {
                let message = format!("processor {name} is deployed, but still {state}");
                break Err(CliError::new(ExitKind::Unreachable, "TIMEOUT", message)
                    .with_hint(format!("`tidemill processor describe {name}` shows how it goes on")));
            }
            _ => pause(Duration::from_millis(100)),
        }
    };
    bar.finish_and_clear();
    outcome
}

#[cfg(test)]
mod tests;
