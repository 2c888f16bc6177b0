//! `tidemill serve` and `tidemill print-config`: from the command line to a `ServerConfig`.
//!
//! Reads the file and the environment, which `config` itself does not; starts the server, and knows
//! nothing of how it works.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::error::{CliError, ExitKind};
use super::output::{Block, Report};
use super::parse_pair;
use crate::config::{ConfigErrors, FlagValue, Origin, ServerConfig, Sources};

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Arguments of `print-config`.
#[derive(Args, Debug)]
pub struct PrintConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Show only what somebody set
    #[arg(long)]
    changed: bool,
    /// Show only the keys whose name contains this
    #[arg(value_name = "KEY")]
    filter: Option<String>,
    /// Say what each key does
    #[arg(long)]
    docs: bool,
}

/// Where the server's configuration comes from.
#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    /// A TOML file of Kafka's keys, such as "num.partitions" = 3
    #[arg(long, value_name = "FILE", env = "TIDEMILL_CONFIG")]
    config: Option<PathBuf>,
    /// Any key; may be repeated. `tidemill print-config --docs` shows them all
    #[arg(long = "config-set", value_name = "KEY=VALUE", value_parser = parse_pair)]
    config_set: Vec<(String, String)>,
    /// Where the data lives; several directories are separated by commas (log.dirs)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Where to listen for Kafka clients, separated by commas (listeners)
    #[arg(long, visible_alias = "listen", value_name = "HOST:PORT")]
    listeners: Option<String>,
    /// What clients are told to connect to (advertised.listeners)
    #[arg(long, value_name = "HOST:PORT")]
    advertised_listeners: Option<String>,
    /// Where the admin API listens, or "off" (tidemill.admin.listen)
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// When a write counts as done: "ack" on stable storage, "os" in the page cache (tidemill.flush)
    #[arg(long, value_name = "ack|os")]
    flush: Option<String>,
    /// This broker's id (node.id)
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// How much is logged (tidemill.log.level)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl ConfigArgs {
    fn flags(&self) -> Vec<FlagValue> {
        let dedicated = [
            ("--data-dir", "log.dirs", &self.data_dir),
            ("--listeners", "listeners", &self.listeners),
            ("--advertised-listeners", "advertised.listeners", &self.advertised_listeners),
            ("--admin-listen", "tidemill.admin.listen", &self.admin_listen),
            ("--flush", "tidemill.flush", &self.flush),
            ("--node-id", "node.id", &self.node_id),
            ("--log-level", "tidemill.log.level", &self.log_level),
        ];
        let set = self.config_set.iter().map(|(key, value)| FlagValue {
            flag: "--config-set".to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        let dedicated = dedicated.into_iter().filter_map(|(flag, key, value)| {
            value.clone().map(|value| FlagValue { flag: flag.to_owned(), key: key.to_owned(), value })
        });
        set.chain(dedicated).collect()
    }

    pub(super) fn load(&self) -> Result<ServerConfig, CliError> {
        let file = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read the configuration file {}: {error}", path.display());
                    CliError::new(ExitKind::Invalid, "INVALID_CONFIG", message)
                })?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        // Variables that are not UTF-8 cannot be ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let sources = Sources { file, environment, flags: self.flags() };
        ServerConfig::load(&sources).map_err(|errors| invalid(&errors))
    }
}

fn invalid(errors: &ConfigErrors) -> CliError {
    let lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    CliError::new(ExitKind::Invalid, "INVALID_CONFIG", lines.join("\nerror: "))
        .with_hint("`tidemill print-config --docs` shows every key with its range and default")
}

pub(super) fn serve(args: &ServeArgs) -> Result<Report, CliError> {
    let config = args.config.load()?;
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        let message = format!("bad value for \"tidemill.log.level\": {error}");
        CliError::new(ExitKind::Invalid, "INVALID_CONFIG", message)
    })?;
    // A second subscriber (in a test) is no reason not to serve.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    crate::server::run(config)
        .map_err(|error| CliError::new(ExitKind::Failed, "SERVER_FAILED", format!("{error:#}")))?;
    Ok(Report::silent())
}

pub(super) fn print_config(args: &PrintConfigArgs) -> Result<Report, CliError> {
    let config = args.config.load()?;
    let mut rows = Vec::new();
    let mut json = Vec::new();
    for (key, resolved) in config.values().iter() {
        let wanted = args.filter.as_ref().is_none_or(|filter| key.name.contains(filter.as_str()));
        if !wanted || (args.changed && resolved.origin == Origin::Default) {
            continue;
        }
        let value = resolved.value.as_ref().map(ToString::to_string);
        let mut row = vec![
            key.name.to_owned(),
            value.clone().unwrap_or_else(|| "-".to_owned()),
            resolved.origin.to_string(),
        ];
        if args.docs {
            row.push(format!("{} ({}; {})", key.doc, key.kind, key.environment_variable()));
        }
        rows.push(row);
        json.push(json!({"key": key.name, "value": value, "origin": resolved.origin.to_string(),
            "default": key.default, "range": key.kind.to_string(), "environment": key.environment_variable(),
            "doc": key.doc}));
    }
    let headers: &[_] =
        if args.docs { &["KEY", "VALUE", "ORIGIN", "DOC"] } else { &["KEY", "VALUE", "ORIGIN"] };
    Ok(Report::new(Block::Table { headers, rows }, Value::Array(json)))
}
