//! Wiring: starts the rooms in order and stops them in the reverse order. No logic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::broker::{Broker, Endpoint};
use crate::clock::Clock;
use crate::config::{Advertised, FlushPolicy, Listener, ServerConfig};
use crate::disk::{Disk, DiskOptions, FlushMode};
use crate::net::{BoundListener, ConnectionLimits, accept_connections};
use crate::partition::StartReport;

/// Requests of one connection that are worked on at once.
const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// How long connections may take to finish what they are doing when the broker stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs the server until SIGTERM or SIGINT, and stops it in order.
pub fn run(config: ServerConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let running = start(config).await?;
        running.print_ready();
        wait_for_signal().await?;
        tracing::info!("stopping");
        running.stop().await
    });
    runtime.shutdown_timeout(DRAIN_MAX);
    outcome
}

/// A server that is up.
pub struct Running {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Where it listens for Kafka clients, with real ports.
    pub kafka_addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts everything: disk, broker, listeners.
pub async fn start(config: ServerConfig) -> anyhow::Result<Running> {
    let (stop, shutdown) = watch::channel(false);
    let flush = match config.flush {
        FlushPolicy::Ack => FlushMode::Ack,
        FlushPolicy::Os => FlushMode::Os,
    };
    let options = DiskOptions { flush, ..DiskOptions::default() };
    let directory = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Disk::open(&directory, options)).await?;
    let (disk, replay) = opened.with_context(|| format!("cannot use data directory {}", config.data_dir.display()))?;
    if replay.entries > 0 {
        tracing::info!(entries = replay.entries, bytes = replay.bytes, files = replay.files, "journal replayed");
    }
    // Ports before logs: a busy port is told at once, not after a long recovery.
    let bound = bind(&config.listeners).await?;
    let (broker, report) = open_broker(config.clone(), disk, shutdown.clone()).await?;
    log_start(&report);
    broker.set_endpoints(bound.iter().map(|(listener, bound)| endpoint(listener, bound)).collect());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&broker).maintain());
    let limits = ConnectionLimits {
        request_bytes_max: config.net.request_bytes_max,
        requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX.min(config.net.queued_requests_max),
        idle_max: config.net.connection_idle_max,
    };
    let connections = Arc::new(Semaphore::new(config.net.connections_max));
    let mut kafka_addresses = Vec::new();
    for (_, bound) in bound {
        kafka_addresses.push(bound.address);
        let (broker, connections) = (Arc::clone(&broker), Arc::clone(&connections));
        tasks.spawn(accept_connections(bound, broker, limits, connections, shutdown.clone()));
    }
    Ok(Running { broker, kafka_addresses, stop, tasks })
}

impl Running {
    fn print_ready(&self) {
        let addresses: Vec<String> = self.kafka_addresses.iter().map(ToString::to_string).collect();
        let flush = self.broker.config().flush;
        tracing::info!(kafka = addresses.join(","), ?flush, "ready");
    }

    /// Stops everything in order: connections, processors, coordinators, logs.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Nobody listening means that everybody has stopped already.
        let _ = self.stop.send(true);
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            while self.tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!("some connections did not finish in time");
            self.tasks.shutdown().await;
        }
        let broker = Arc::clone(&self.broker);
        tokio::task::spawn_blocking(move || broker.close()).await??;
        tracing::info!("stopped");
        Ok(())
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
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<(Arc<Broker>, StartReport)> {
    let runtime = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        Broker::open(config, disk, Clock::System, shutdown)
    });
    Ok(opened.await??)
}

fn log_start(report: &StartReport) {
    for (partition, recovery) in &report.recovered {
        tracing::warn!(
            %partition,
            bytes_cut = recovery.bytes_cut,
            segments_removed = recovery.segments_removed,
            indexes_rebuilt = recovery.indexes_rebuilt,
            "a log was recovered"
        );
    }
    for stray in &report.strays {
        tracing::warn!(directory = stray, "a directory of no known topic was put aside");
    }
    tracing::info!(partitions = report.partitions, clean = report.was_clean, "logs opened");
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
