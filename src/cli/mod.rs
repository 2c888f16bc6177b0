//! The command line: `tidemill <noun> <verb>`.
//!
//! Thin clients of the Kafka protocol and of the admin API; nothing here looks into a running
//! server. Data goes to standard output, everything else to standard error; exit codes are those of
//! `error::ExitKind`.

mod configs;
mod consume;
mod dlq;
mod doctor;
mod error;
mod group;
mod http;
mod import_log;
mod interceptor;
mod interrupt;
#[cfg(feature = "client")]
mod kafka;
mod kafka_tools;
mod logs;
mod manifest;
mod module;
mod output;
mod perf;
mod processor;
mod produce;
mod protocol_client;
mod serve;
mod state;
mod time;
mod topic;
mod txn;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

pub use error::{CliError, ExitKind};
pub use output::{Format, Report};
use protocol_client::Cluster;

/// A Kafka-compatible stream broker with full transactions that runs WebAssembly exactly once.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The noun.
    #[command(subcommand)]
    pub command: Command,
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
pub struct GlobalArgs {
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value = "table", env = "TIDEMILL_FORMAT")]
    pub format: Format,
    /// Kafka bootstrap servers, separated by commas
    #[arg(
        long = "bootstrap-server",
        short = 'b',
        visible_alias = "bootstrap-servers",
        aliases = ["brokers", "broker-list"],
        global = true,
        value_name = "HOST:PORT",
        default_value = "localhost:9092",
        env = "TIDEMILL_BOOTSTRAP_SERVERS"
    )]
    pub bootstrap_server: String,
    /// The admin API, for modules and processors
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:9644",
        env = "TIDEMILL_ADMIN"
    )]
    pub admin: String,
    /// How long to wait for an answer
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = time::parse_duration
    )]
    pub request_timeout: Duration,
}

impl GlobalArgs {
    fn cluster(&self) -> Result<Cluster, CliError> {
        // A broker that is not there shows within seconds, however long an answer may take.
        Cluster::connect(&self.bootstrap_server, self.request_timeout)
    }
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    #[command(visible_alias = "start")]
    Serve(serve::ServeArgs),
    /// Show the server's configuration: each key with its value and who set it
    PrintConfig(serve::PrintConfigArgs),
    /// Bring partitions that Apache Kafka wrote into a data directory, while no broker runs on either
    ImportLog(import_log::ImportLogArgs),
    /// Topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Write records from standard input to a topic, one per line
    Produce(produce::ProduceArgs),
    /// Read records from topics to standard output
    Consume(consume::ConsumeArgs),
    /// Consumer groups
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Transactions
    #[command(subcommand)]
    Txn(txn::TxnCommand),
    /// WebAssembly modules
    #[command(subcommand)]
    Module(module::ModuleCommand),
    /// Processors: modules at work between topics
    #[command(subcommand, visible_alias = "transform")]
    Processor(processor::ProcessorCommand),
    /// Dead letters: records that processors could not process
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// The state that processors keep
    #[command(subcommand)]
    State(state::StateCommand),
    /// Interceptors: modules that judge records between clients and topics
    #[command(subcommand)]
    Interceptor(interceptor::InterceptorCommand),
    /// Measure throughput and latency
    #[command(subcommand)]
    Perf(perf::PerfCommand),
    /// Say what a client sees of a cluster, and what is wrong with it
    Doctor,
    /// Kafka's own tools by their names
    #[command(flatten)]
    KafkaTool(kafka_tools::KafkaTool),
}

/// Runs the process's command line.
pub fn run() -> ExitCode {
    run_with(std::env::args_os())
}

/// Runs a command line.
pub fn run_with(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let arguments = kafka_tools::with_tool_name(arguments);
    let failed = |kind: ExitKind| {
        let kind = if kafka_tools::is_tool(&arguments) { ExitKind::Failed } else { kind };
        ExitCode::from(kind.code())
    };
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A closed pipe at `--help | head` is no failure.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { failed(ExitKind::Usage) };
        }
    };
    let format = cli.global.format;
    match dispatch(cli) {
        Ok(report) => finish(&report, format).map_or(ExitCode::SUCCESS, failed),
        Err(error) => {
            output::show_error(&error, format);
            failed(error.kind)
        }
    }
}

fn dispatch(cli: Cli) -> Result<Report, CliError> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::serve(&args),
        Command::PrintConfig(args) => serve::print_config(&args),
        Command::ImportLog(args) => import_log::run(&args),
        Command::Topic(command) => topic::run(global, &command),
        Command::Produce(args) => produce::run(global, &args),
        Command::Consume(args) => consume::run(global, &args),
        Command::Group(command) => group::run(global, &command),
        Command::Txn(command) => txn::run(global, &command),
        Command::Module(command) => module::run(global, &command),
        Command::Processor(command) => processor::run(global, &command),
        Command::Dlq(command) => dlq::run(global, &command),
        Command::State(command) => state::run(global, &command),
        Command::Interceptor(command) => interceptor::run(global, &command),
        Command::Perf(command) => perf::run(global, &command),
        Command::Doctor => doctor::run(global),
        Command::KafkaTool(tool) => kafka_tools::run(global, &tool),
    }
}

/// Shows a report; what went wrong, if anything did.
fn finish(report: &Report, format: Format) -> Option<ExitKind> {
    let mut out = io::stdout().lock();
    let written = report.render(format, &mut out).and_then(|()| out.flush());
    for failure in &report.failures {
        output::show_error(failure, format);
    }
    match (written, report.exit_kind()) {
        (_, Some(kind)) => Some(kind),
        (Ok(()), None) => None,
        // The reader had enough, as `head` has.
        (Err(error), None) if error.kind() == io::ErrorKind::BrokenPipe => None,
        (Err(error), None) => {
            output::show_error(&CliError::io("cannot write to standard output", &error), format);
            Some(ExitKind::Failed)
        }
    }
}

/// What a build without librdkafka says to the verbs that move records.
#[cfg(not(feature = "client"))]
fn without_client() -> CliError {
    CliError::usage("this build of tidemill has no Kafka client; build it with the `client` feature")
}

/// Reads `key=value`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("\"{text}\" is not key=value")),
    }
}

#[cfg(test)]
mod tests;
