//! Wiring: starts the rooms in order and stops them in the reverse order. No logic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::admin::{AdminListener, AdminState, Compilations, DeploymentDefaults};
pub use crate::broker::import::{ImportExtent, ImportReport, ImportRequest, ImportedTopic, TornTails};
use crate::broker::{Broker, Endpoint, Stop};
use crate::clock::Clock;
use crate::config::{Advertised, FlushPolicy, Listener, ProcessorOptions, ServerConfig};
use crate::disk::{Disk, DiskOptions, FlushMode};
use crate::net::{BoundListener, ConnectionLimits, accept_connections};
use crate::partition::StartReport;
use crate::plugin::PluginHost;
use crate::processor::BrokerBackend;
use crate::processor::attachments::{Attachments, AttachmentsOptions};
use crate::processor::backend::Backend;
use crate::processor::context::Tuning;
use crate::processor::definition::{CommitPolicy, TaskLimits};
use crate::processor::inline::InlineProducer;
use crate::processor::log_topic::PluginLogs;
use crate::processor::logs::LogLimits;
use crate::processor::movers::keep_movers;
use crate::processor::registry::{Persist, Registry, RegistryRecord};
use crate::processor::state_queries::StateQueries;
use crate::processor::supervisor::{Supervisor, SupervisorOptions};
use crate::state::StateDatabase;

/// Requests of one connection that are worked on at once.
const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// What the state of all processors may keep of its files in memory.
const STATE_CACHE_BYTES: u64 = 192 << 20;
/// The port that the command line tries by itself.
const KAFKA_PORT: u16 = 9092;
/// How long connections may take to finish what they are doing when the broker stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs the server until SIGTERM or SIGINT, and stops it in order.
pub fn run(config: ServerConfig) -> anyhow::Result<()> {
    raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Before anything is open: a signal that comes while the server starts, or right when it
        // says that it is ready, must still stop it in order.
        let mut signals = StopSignals::listen()?;
        let running = start(config).await?;
        eprintln!("{}", running.ready_text());
        signals.received().await;
        tracing::info!("stopping");
        running.stop().await
    });
    runtime.shutdown_timeout(DRAIN_MAX);
    outcome
}

/// Each connection and each segment that is read is an open file, and the usual soft limit of 1024
/// stands only for programs that cannot deal with more.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// A server that is up.
pub struct Running {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Where it listens for Kafka clients, with real ports.
    pub kafka_addresses: Vec<SocketAddr>,
    /// Where the admin API listens, if it does.
    pub admin_address: Option<SocketAddr>,
    /// The processors.
    pub supervisor: Arc<Supervisor>,
    stop_clients: watch::Sender<bool>,
    stop_coordinators: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts everything: disk, broker, processors, listeners.
pub async fn start(config: ServerConfig) -> anyhow::Result<Running> {
    let (stop_clients, clients) = watch::channel(false);
    let (stop_coordinators, coordinators) = watch::channel(false);
    let opened = config.clone();
    let disk = tokio::task::spawn_blocking(move || open_disk(&opened)).await??;
    // Ports before logs: a busy port is told at once, not after a long recovery.
    let bound = bind(&config.listeners).await?;
    let admin = bind_admin(&config).await?;
    let stop = Stop { clients: clients.clone(), coordinators };
    let (broker, report) = open_broker(config.clone(), disk, stop).await?;
    log_start(&report);
    broker.set_endpoints(bound.iter().map(|(listener, bound)| endpoint(listener, bound)).collect());
    let mut tasks = JoinSet::new();
    let deployments = start_processors(&config, &broker, &mut tasks, clients.clone()).await?;
    tasks.spawn(Arc::clone(&broker).maintain());
    tasks.spawn(Arc::clone(&broker).clean_logs());
    let admin_address = admin.as_ref().map(AdminListener::address);
    if let Some(admin) = admin {
        tasks.spawn(serve_admin(admin, deployments.admin, clients.clone()));
    }
    let kafka_addresses = bound.iter().map(|(_, bound)| bound.address).collect();
    accept(&mut tasks, bound, &broker, &clients);
    Ok(Running {
        broker,
        kafka_addresses,
        admin_address,
        supervisor: deployments.supervisor,
        stop_clients,
        stop_coordinators,
        tasks,
    })
}

impl Running {
    /// What the person at the terminal wants to know, in plain lines whatever the log level is.
    fn ready_text(&self) -> String {
        let config = self.broker.config();
        let kafka: Vec<String> = self.kafka_addresses.iter().map(ToString::to_string).collect();
        let admin = match self.admin_address {
            Some(address) => format!("admin API on http://{address}"),
            None => "admin API off".to_owned(),
        };
        let flush = match config.flush {
            FlushPolicy::Ack => "ack",
            FlushPolicy::Os => "os",
        };
        let data: Vec<String> = config.log_dirs.iter().map(|path| path.display().to_string()).collect();
        let data = data.join(", ");
        let kafka = kafka.join(", ");
        let next = next_command(&self.kafka_addresses);
        format!("ready: Kafka on {kafka}; {admin}; data in {data} (flush={flush})\ntry:   {next}")
    }

    /// Stops everything in order: processors, connections, interceptors, coordinators, logs.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.supervisor.stop().await;
        // Nobody listening means that everybody has stopped already.
        let _ = self.stop_clients.send(true);
        let drained =
            tokio::time::timeout(DRAIN_MAX, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("some connections did not finish in time");
            self.tasks.shutdown().await;
        }
        self.broker.interceptors().close().await;
        let _ = self.stop_coordinators.send(true);
        let broker = Arc::clone(&self.broker);
        tokio::task::spawn_blocking(move || broker.close()).await??;
        tracing::info!("stopped");
        Ok(())
    }
}

/// A command that works as it stands from another terminal.
fn next_command(addresses: &[SocketAddr]) -> String {
    const TOPIC: &str = "topic create hello";
    match addresses.first() {
        Some(address) if address.port() != KAFKA_PORT => {
            let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { host_of(address) };
            format!("tidemill -b {host}:{} {TOPIC}", address.port())
        }
        Some(_) | None => format!("tidemill {TOPIC}"),
    }
}

fn host_of(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// Imports partitions that Kafka wrote into the data directory, while no broker runs there.
pub fn import_log(config: &ServerConfig, request: &ImportRequest) -> anyhow::Result<ImportReport> {
    let disk = open_disk(config)?;
    let imported = crate::broker::import::import_log(&disk, config, request, Clock::System.now());
    let closed = disk.close();
    let report = imported?;
    closed?;
    Ok(report)
}

fn open_disk(config: &ServerConfig) -> anyhow::Result<Disk> {
    let flush = match config.flush {
        FlushPolicy::Ack => FlushMode::Ack,
        FlushPolicy::Os => FlushMode::Os,
    };
    let options = DiskOptions { flush, ..DiskOptions::default() };
    let (disk, replay) = Disk::open_several(&config.log_dirs, options)
        .with_context(|| format!("cannot use data directory {}", config.data_dir().display()))?;
    if replay.entries > 0 {
        tracing::info!(
            entries = replay.entries,
            bytes = replay.bytes,
            files = replay.files,
            "journal replayed"
        );
    }
    Ok(disk)
}

/// What runs users' modules, and the API that deploys them.
struct Deployments {
    supervisor: Arc<Supervisor>,
    admin: AdminState,
}

async fn start_processors(
    config: &ServerConfig,
    broker: &Arc<Broker>,
    tasks: &mut JoinSet<()>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Deployments> {
    let host = plugin_host(config)?;
    let registry = Arc::new(Registry::new(keep_in_metadata(broker)));
    for value in broker.metadata().deployments().values() {
        registry.replay(&RegistryRecord::decode(value)?);
    }
    let log_limits =
        LogLimits { lines_per_second_max: config.processors.log_lines_per_second, ..LogLimits::default() };
    let path = config.data_dir().join("state");
    let state = tokio::task::spawn_blocking(move || StateDatabase::open(&path, STATE_CACHE_BYTES)).await??;
    broker.set_kept_groups(registry.kept_groups());
    broker.set_partitioner_modules(registry.partitioner_modules());
    let backend = Arc::new(Backend::Broker(BrokerBackend::new(Arc::clone(broker))));
    let (logs, log_writer) =
        PluginLogs::open(Arc::clone(&backend), &registry, log_limits, Clock::System).await;
    tasks.spawn(log_writer.run(stop.clone()));
    tasks.spawn(keep_movers(Arc::clone(broker), Arc::clone(&backend), Arc::clone(&registry), stop));
    let state_queries = StateQueries::new(Arc::clone(&backend), Arc::clone(&registry), Some(state.clone()));
    let supervisor = Arc::new(Supervisor::start(SupervisorOptions {
        backend,
        host: Arc::clone(&host),
        registry: Arc::clone(&registry),
        state: Some(state.clone()),
        clock: Clock::System,
        tuning: Tuning { instances_bytes_max: instances_bytes_max(&config.processors), ..Tuning::default() },
        logs: logs.clone(),
    }));
    let attachments = Attachments::start(AttachmentsOptions {
        interceptors: Arc::clone(broker.interceptors()),
        host: Arc::clone(&host),
        registry: Arc::clone(&registry),
        clock: Clock::System,
        logs,
    });
    let attachments = Arc::new(attachments.await?);
    let defaults = deployment_defaults(&config.processors);
    let producer =
        InlineProducer::new(Arc::clone(broker), Arc::clone(&host), Arc::clone(&registry), defaults.limits);
    let admin = AdminState {
        host,
        registry,
        supervisor: Arc::clone(&supervisor),
        attachments,
        state_queries: Arc::new(state_queries),
        producer: Arc::new(producer),
        ready: Arc::new(|| Ok(())),
        module_bytes_max: config.processors.module_bytes_max,
        defaults,
        compilations: Compilations::default(),
    };
    Ok(Deployments { supervisor, admin })
}

/// What the instances of all processors may take: as configured, or three quarters of what this process may.
fn instances_bytes_max(options: &ProcessorOptions) -> u64 {
    match options.all_memory_bytes_max {
        0 => memory_bytes().map_or(u64::MAX, |bytes| bytes / 4 * 3),
        configured => configured,
    }
}

/// The machine's memory, or less if a control group says so; nothing where neither can be known.
fn memory_bytes() -> Option<u64> {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|limit| limit.trim().parse::<u64>().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?;
        Some(kib.parse::<u64>().ok()? << 10)
    });
    group.into_iter().chain(machine).min()
}

fn deployment_defaults(options: &ProcessorOptions) -> DeploymentDefaults {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    DeploymentDefaults {
        commit: CommitPolicy {
            interval_ms: ms(options.commit_interval),
            records_max: options.commit_records_max as u64,
            bytes_max: options.commit_bytes_max as u64,
        },
        limits: TaskLimits {
            memory_bytes: options.memory_bytes_max,
            batch_time_ms: ms(options.batch_time_max),
            output_bytes: options.output_bytes_max as u64,
            log_lines_per_second: options.log_lines_per_second.into(),
            ..TaskLimits::default()
        },
    }
}

/// A change of the catalogue counts once its record in the metadata log is durable.
fn keep_in_metadata(broker: &Arc<Broker>) -> Persist {
    let broker = Arc::clone(broker);
    Arc::new(move |record| {
        let broker = Arc::clone(&broker);
        Box::pin(async move {
            let value = match record.is_deletion() {
                true => None,
                false => Some(record.encode().map_err(|error| error.to_string())?),
            };
            broker.keep_deployment(record.key(), value).await.map_err(|error| error.to_string())
        })
    })
}

#[cfg(feature = "wasm")]
fn plugin_host(config: &ServerConfig) -> anyhow::Result<Arc<dyn PluginHost>> {
    let mut options = crate::wasm::WasmHostOptions::new(config.data_dir().join("modules"));
    options.module_bytes_max = config.processors.module_bytes_max as u64;
    Ok(Arc::new(crate::wasm::WasmHost::open(&options)?))
}

#[cfg(not(feature = "wasm"))]
fn plugin_host(_: &ServerConfig) -> anyhow::Result<Arc<dyn PluginHost>> {
    Ok(Arc::new(crate::plugin::DisabledHost))
}

async fn bind_admin(config: &ServerConfig) -> anyhow::Result<Option<AdminListener>> {
    let Some(listen) = &config.admin_listen else { return Ok(None) };
    let host = if listen.is_wildcard() { "0.0.0.0" } else { listen.host.as_str() };
    let mut addresses = tokio::net::lookup_host((host, listen.port))
        .await
        .with_context(|| format!("tidemill.admin.listen: cannot resolve {listen}"))?;
    let address =
        addresses.next().with_context(|| format!("tidemill.admin.listen: {listen} is no address"))?;
    Ok(Some(AdminListener::bind(address).await?))
}

async fn serve_admin(listener: AdminListener, state: AdminState, mut stop: watch::Receiver<bool>) {
    let stopped = async move {
        // An error means that the server is gone: a stop as well.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = listener.serve(state, stopped).await {
        tracing::error!(%error, "the admin API");
    }
}

fn accept(
    tasks: &mut JoinSet<()>,
    bound: Vec<(Listener, BoundListener)>,
    broker: &Arc<Broker>,
    stop: &watch::Receiver<bool>,
) {
    let net = &broker.config().net;
    let limits = ConnectionLimits {
        request_bytes_max: net.request_bytes_max,
        requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX.min(net.queued_requests_max),
        idle_max: net.connection_idle_max,
    };
    let connections = Arc::new(Semaphore::new(net.connections_max));
    for (listener, bound) in bound {
        let principal = Arc::from(listener.principal);
        let (broker, connections) = (Arc::clone(broker), Arc::clone(&connections));
        tasks.spawn(accept_connections(bound, principal, broker, limits, connections, stop.clone()));
    }
}

async fn bind(listeners: &[Listener]) -> anyhow::Result<Vec<(Listener, BoundListener)>> {
    let mut bound = Vec::new();
    for listener in listeners {
        let host = match listener.bind.is_wildcard() {
            true => "0.0.0.0",
            false => listener.bind.host.as_str(),
        };
        bound.push((listener.clone(), BoundListener::bind(host, listener.bind.port).await?));
    }
    Ok(bound)
}

fn endpoint(listener: &Listener, bound: &BoundListener) -> Endpoint {
    let bound_port = bound.address.port();
    match &listener.advertised {
        Advertised::SameAsConnection => Endpoint { bound_port, host: None, port: bound_port },
        Advertised::Address(address) => {
            let port = if address.port == 0 { bound_port } else { address.port };
            Endpoint { bound_port, host: Some(address.host.clone()), port }
        }
    }
}

/// Opening reads and recovers logs, which blocks; the coordinators it starts need the runtime.
async fn open_broker(
    config: ServerConfig,
    disk: Disk,
    stop: Stop,
) -> anyhow::Result<(Arc<Broker>, StartReport)> {
    let runtime = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        Broker::open(config, disk, Clock::System, stop)
    });
    Ok(opened.await??)
}

fn log_start(report: &StartReport) {
    for (partition, recovery) in &report.recovered {
        // After a crash every log is looked through; what changed nothing is of interest to few.
        if recovery.bytes_cut == 0 && recovery.segments_removed == 0 {
            tracing::debug!(%partition, indexes_rebuilt = recovery.indexes_rebuilt, "a log was checked");
            continue;
        }
        tracing::warn!(
            %partition,
            bytes_cut = recovery.bytes_cut,
            segments_removed = recovery.segments_removed,
            indexes_rebuilt = recovery.indexes_rebuilt,
            "the torn end of a log was cut"
        );
    }
    for stray in &report.strays {
        tracing::warn!(directory = stray, "a directory of no known topic was put aside");
    }
    // A directory with nothing in it was not left in any way.
    if report.partitions > 0 {
        tracing::info!(partitions = report.partitions, clean = report.was_clean, "logs opened");
    }
}

/// The signals that ask the server to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on they no longer end the process by themselves.
    fn listen() -> anyhow::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
