//! `tidemill interceptor …`: interceptors over the admin API.
//!
//! `attach` takes flags, a manifest, or a manifest with flags over it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::CliError;
use super::http::{AdminApi, Call, elements, fields, path_segment, shown};
use super::manifest::{self, Limits, is_default, over};
use super::output::{Block, Report, confirm};
use super::{GlobalArgs, logs, module, parse_pair};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum InterceptorCommand {
    /// Attach an interceptor to topics, or change an attachment that is there
    Attach(Box<AttachArgs>),
    /// List interceptors, in the order in which records pass them
    List,
    /// Show an interceptor: what it is attached to, its verdicts, faults, and own counters
    Describe {
        /// Its name
        name: String,
    },
    /// Detach an interceptor; records pass without it from then on
    Detach {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Show what an interceptor logged
    Logs {
        /// Its name
        name: String,
        /// Go on with new lines until Ctrl-C
        #[arg(long, short = 'f')]
        follow: bool,
    },
}

/// Arguments of `interceptor attach`.
#[derive(Args, Debug)]
pub struct AttachArgs {
    /// Its name; the manifest's unless given
    name: Option<String>,
    /// A manifest in TOML; flags win over it
    #[arg(long, short = 'F')]
    file: Option<PathBuf>,
    /// The module: a name, a digest's beginning, or a .wasm file, which is uploaded first
    #[arg(long, short = 'm')]
    module: Option<String>,
    /// A topic, or a pattern such as 'orders.*'; may be repeated
    #[arg(long = "topic", short = 't', value_name = "PATTERN")]
    topics: Vec<String>,
    /// A principal, or a pattern such as 'User:*'; may be repeated; everybody unless given
    #[arg(long = "principal", value_name = "PATTERN")]
    principals: Vec<String>,
    /// Where records pass it; may be repeated
    #[arg(long = "path", short = 'p', value_enum)]
    paths: Vec<Path>,
    /// Its place in the chain: lower ones come first; 100 unless given
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    order: Option<i32>,
    /// What becomes of a batch that it fails on; fail-closed unless given
    #[arg(long, value_enum)]
    on_fault: Option<OnFault>,
    /// A setting for the guest; may be repeated
    #[arg(long = "config", short = 'c', value_name = "KEY=VALUE", value_parser = parse_pair)]
    config: Vec<(String, String)>,
    /// The guest's memory in bytes
    #[arg(long, value_name = "BYTES")]
    memory_bytes: Option<u64>,
    /// The longest time for one batch, in milliseconds
    #[arg(long, value_name = "MS")]
    batch_time_ms: Option<u64>,
}

/// Where records pass an interceptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Path {
    /// From producers to the log
    Produce,
    /// From the log to consumers
    Fetch,
}

/// What becomes of a batch that an interceptor fails on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum OnFault {
    /// It is refused
    FailClosed,
    /// It passes unjudged
    FailOpen,
    /// A fresh instance tries once more; then it is refused
    Reload,
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
    topics: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    principals: Vec<String>,
    #[serde(default)]
    paths: Vec<Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_fault: Option<OnFault>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    limits: Limits,
}

pub(super) fn run(global: &GlobalArgs, command: &InterceptorCommand) -> Result<Report, CliError> {
    let api = AdminApi::new(global);
    match command {
        InterceptorCommand::Attach(args) => attach(global, &api, args),
        InterceptorCommand::List => list(&api),
        InterceptorCommand::Describe { name } => Ok(described(api.call(Call::Get, &path(name))?)),
        InterceptorCommand::Detach { name, yes } => {
            confirm(&format!("Detach interceptor {name}?"), (*yes).into())?;
            api.call(Call::Delete, &path(name))?;
            Ok(Report::line(format!("detached interceptor {name}"), json!({"name": name, "detached": true})))
        }
        InterceptorCommand::Logs { name, follow } => logs::run(global, &api, &path(name), *follow),
    }
}

fn path(name: &str) -> String {
    format!("/v1/interceptors/{}", path_segment(name))
}

fn attach(global: &GlobalArgs, api: &AdminApi, args: &AttachArgs) -> Result<Report, CliError> {
    let mut manifest = match &args.file {
        Some(file) => manifest::read(file)?,
        None => Manifest::default(),
    };
    overlay(&mut manifest, args);
    let name = check(&manifest)?;
    let base = args.file.as_deref().filter(|_| args.module.is_none());
    if let Some(module) = &mut manifest.module {
        manifest::push_module(global, module, base)?;
    }
    let body = serde_json::to_value(&manifest)
        .map_err(|error| CliError::usage(format!("cannot put the request together: {error}")))?;
    let answer = api.call(Call::Put(&body), &path(&name))?;
    Ok(Report::line(format!("attached interceptor {name}"), answer))
}

/// Flags win; a list that is given replaces the manifest's.
fn overlay(manifest: &mut Manifest, args: &AttachArgs) {
    over(&mut manifest.name, &args.name);
    over(&mut manifest.module, &args.module);
    over(&mut manifest.order, &args.order);
    over(&mut manifest.on_fault, &args.on_fault);
    over(&mut manifest.limits.memory_bytes, &args.memory_bytes);
    over(&mut manifest.limits.batch_time_ms, &args.batch_time_ms);
    for (into, flags) in [(&mut manifest.topics, &args.topics), (&mut manifest.principals, &args.principals)]
    {
        if !flags.is_empty() {
            into.clone_from(flags);
        }
    }
    if !args.paths.is_empty() {
        manifest.paths.clone_from(&args.paths);
    }
    manifest.config.extend(args.config.iter().cloned());
}

fn check(manifest: &Manifest) -> Result<String, CliError> {
    let missing =
        |what: &str, how: &str| Err(CliError::usage(format!("the interceptor has no {what}")).with_hint(how));
    if manifest.module.is_none() {
        return missing("module", "give --module NAME, or `module` in the manifest");
    }
    if manifest.topics.is_empty() {
        return missing("topic", "give --topic PATTERN, or `topics` in the manifest");
    }
    if manifest.paths.is_empty() {
        return missing("path", "give --path produce, --path fetch or both, or `paths` in the manifest");
    }
    manifest.name.clone().ok_or_else(|| {
        CliError::usage("the interceptor has no name")
            .with_hint("give it after `attach`, or as `name` in the manifest")
    })
}

fn list(api: &AdminApi) -> Result<Report, CliError> {
    let answer = api.call(Call::Get, "/v1/interceptors")?;
    let row = |interceptor: &Value| {
        let field = |name: &str| shown(interceptor.get(name));
        let counter = |pointer: &str| shown(interceptor.pointer(&format!("/counters/{pointer}")));
        let digest = interceptor.get("module").and_then(Value::as_str).unwrap_or_default();
        vec![
            field("order"),
            field("name"),
            module::short_digest(digest),
            field("topics"),
            field("principals"),
            field("paths"),
            field("on_fault"),
            counter("faults"),
        ]
    };
    let rows = elements(&answer, "interceptors").iter().map(row).collect();
    let headers: &[_] = &["ORDER", "NAME", "MODULE", "TOPICS", "PRINCIPALS", "PATHS", "ON FAULT", "FAULTS"];
    Ok(Report::new(Block::Table { headers, rows }, answer))
}

/// The fields, and below them a row of verdicts for each path, and the module's own counters.
fn described(answer: Value) -> Report {
    let mut rest = answer.clone();
    let counters = rest.as_object_mut().and_then(|map| map.remove("counters")).unwrap_or_default();
    if let Some(map) = rest.as_object_mut() {
        for name in ["faults", "passed_open", "acknowledged", "acknowledgements_lost", "last_fault"] {
            map.insert(name.to_owned(), counters.get(name).cloned().unwrap_or_default());
        }
    }
    let columns = ["batches", "kept", "replaced", "dropped", "rejected", "microseconds"];
    let row = |path: &str| {
        let of_path = counters.get(path).cloned().unwrap_or_default();
        let cells = columns.iter().map(|column| shown(of_path.get(column)));
        std::iter::once(path.to_owned()).chain(cells).collect()
    };
    let headers: &[_] = &["PATH", "BATCHES", "KEPT", "REPLACED", "DROPPED", "REJECTED", "MICROSECONDS"];
    let mut blocks =
        vec![fields(&rest), Block::Table { headers, rows: ["produce", "fetch"].map(row).into() }];
    let own = counters.get("own").and_then(Value::as_object).cloned().unwrap_or_default();
    if !own.is_empty() {
        let rows = own.iter().map(|(name, value)| vec![name.clone(), shown(Some(value))]).collect();
        blocks.push(Block::Table { headers: &["COUNTER", "VALUE"], rows });
    }
    Report { blocks, json: answer, failures: Vec::new() }
}

#[cfg(test)]
mod tests;
