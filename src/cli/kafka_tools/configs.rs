//! `kafka-configs` (`kafka.admin.ConfigCommand`), for topics and brokers.

use clap::Args;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::protocol::StrBytes;

use super::super::GlobalArgs;
use super::super::configs::{Changes, Resource, alter_configs, describe_configs, source_name};
use super::super::error::CliError;
use super::super::output::Report;
use super::super::protocol_client::Cluster;
use super::{CommandConfig, lines};

/// Its flags.
#[derive(Args, Debug)]
#[group(id = "configs_action", required = true, multiple = false, args = ["describe", "alter"])]
pub struct ConfigsArgs {
    /// Show settings
    #[arg(long)]
    describe: bool,
    /// Change settings
    #[arg(long)]
    alter: bool,
    /// topics or brokers
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<String>,
    /// A topic, or a broker's id
    #[arg(long, value_name = "NAME")]
    entity_name: Option<String>,
    /// What holds for all brokers
    #[arg(long, conflicts_with = "entity_name")]
    entity_default: bool,
    /// The same as --entity-type topics --entity-name
    #[arg(long, conflicts_with_all = ["entity_type", "entity_name", "broker"])]
    topic: Option<String>,
    /// The same as --entity-type brokers --entity-name
    #[arg(long, conflicts_with_all = ["entity_type", "entity_name"])]
    broker: Option<String>,
    /// Show what was not set, too
    #[arg(long)]
    all: bool,
    /// Settings: key=value, with commas between them; a value with commas stands in [ ]
    #[arg(long, value_name = "KEY=VALUE,…")]
    add_config: Option<String>,
    /// Keys to take back, with commas between them
    #[arg(long, value_name = "KEY,…")]
    delete_config: Option<String>,
    #[command(flatten)]
    command_config: CommandConfig,
}

pub(super) fn run(global: &GlobalArgs, args: &ConfigsArgs) -> Result<Report, CliError> {
    args.command_config.check()?;
    let cluster = &mut global.cluster()?;
    if args.alter {
        return alter(cluster, args);
    }
    let mut shown = Vec::new();
    for (resource, title) in described(cluster, args)? {
        let configs = describe_configs(cluster, &resource)?;
        shown.push(title);
        let is_shown = |config: &&DescribeConfigsResourceResult| {
            // ConfigEntry.ConfigSource: 4 and 5 are what nobody has changed at run time.
            args.all || (1..=3).contains(&config.config_source)
        };
        shown.extend(configs.iter().filter(is_shown).map(config_line));
    }
    Ok(lines(shown, Vec::new()))
}

fn entity(args: &ConfigsArgs) -> Result<(&str, Option<&str>), CliError> {
    if let Some(topic) = &args.topic {
        return Ok(("topics", Some(topic)));
    }
    if let Some(broker) = &args.broker {
        return Ok(("brokers", Some(broker)));
    }
    match args.entity_type.as_deref() {
        Some(kind @ ("topics" | "brokers")) => Ok((kind, args.entity_name.as_deref())),
        Some(kind) => {
            Err(CliError::usage(format!("--entity-type {kind}: this tool knows topics and brokers"))
                .with_hint("Kafka's own kafka-configs works against this broker, too"))
        }
        None => Err(CliError::usage("say of what: --entity-type and --entity-name, --topic or --broker")),
    }
}

fn resource(args: &ConfigsArgs) -> Result<Option<Resource>, CliError> {
    Ok(match entity(args)? {
        ("topics", name) => name.map(Resource::topic),
        (_, Some(id)) => Some(Resource::broker(id)),
        (_, None) if args.entity_default => Some(Resource::broker("")),
        (_, None) => None,
    })
}

/// What is to be shown, each with its title.
fn described(cluster: &mut Cluster, args: &ConfigsArgs) -> Result<Vec<(Resource, String)>, CliError> {
    let which = if args.all { "All" } else { "Dynamic" };
    let resources = match resource(args)? {
        Some(one) => vec![one],
        None if entity(args)?.0 == "topics" => {
            let topics = cluster.metadata(None)?.topics;
            let mut names: Vec<String> =
                topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.as_str().to_owned())).collect();
            names.sort();
            names.iter().map(|name| Resource::topic(name)).collect()
        }
        None => cluster.node_ids()?.iter().map(|id| Resource::broker(&id.to_string())).collect(),
    };
    let titled = |resource: Resource| {
        let title = match entity_text(&resource) {
            Some(entity) => format!("{which} configs for {entity} are:"),
            None => "Default configs for brokers in the cluster are:".to_owned(),
        };
        (resource, title)
    };
    Ok(resources.into_iter().map(titled).collect())
}

/// What a resource is called; nothing for all brokers.
fn entity_text(resource: &Resource) -> Option<String> {
    let kind = if resource.is_topic() { "topic" } else { "broker" };
    (!resource.name.is_empty()).then(|| format!("{kind} {}", resource.name))
}

fn config_line(config: &DescribeConfigsResourceResult) -> String {
    let value = |value: &Option<StrBytes>| value.as_ref().map_or("null", StrBytes::as_str).to_owned();
    let synonyms = config.synonyms.iter().map(|synonym| {
        let (source, name) = (source_name(synonym.source), synonym.name.as_str());
        format!("{source}:{name}={}", value(&synonym.value))
    });
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        config.name.as_str(),
        value(&config.value),
        config.is_sensitive,
        synonyms.collect::<Vec<_>>().join(", ")
    )
}

fn alter(cluster: &mut Cluster, args: &ConfigsArgs) -> Result<Report, CliError> {
    let Some(resource) = resource(args)? else {
        return Err(CliError::usage("--alter needs --entity-name, or --entity-default for brokers"));
    };
    let changes = Changes {
        set: args.add_config.as_deref().map_or(Ok(Vec::new()), settings)?,
        unset: args
            .delete_config
            .as_deref()
            .map(|keys| keys.split(',').map(|key| key.trim().to_owned()).collect())
            .unwrap_or_default(),
        validate_only: false,
    };
    if changes.set.is_empty() && changes.unset.is_empty() {
        return Err(CliError::usage("--alter needs --add-config or --delete-config"));
    }
    alter_configs(cluster, &resource, &changes)?;
    let sentence = match entity_text(&resource) {
        Some(entity) => format!("Completed updating config for {entity}."),
        None => "Completed updating default config for brokers in the cluster.".to_owned(),
    };
    Ok(lines(vec![sentence], Vec::new()))
}

/// `a=b,c=[d,e]`.
pub(super) fn settings(text: &str) -> Result<Vec<(String, String)>, CliError> {
    let mut settings = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let wrong = || CliError::usage(format!("\"{rest}\" does not begin with key=value"));
        let (key, behind) = rest.split_once('=').ok_or_else(wrong)?;
        let (value, behind) = match behind.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or_else(wrong)?,
            None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
        };
        settings.push((key.trim().to_owned(), value.trim().to_owned()));
        rest = behind.trim_start_matches([',', ' ']);
    }
    Ok(settings)
}
