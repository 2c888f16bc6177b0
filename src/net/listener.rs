//! Binds listeners and accepts connections, within a bound on how many there are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::handlers::Connection;
use crate::net::connection::{ConnectionLimits, serve_connection};

/// Connections that may wait to be accepted. All clients come back at once after a restart, and one
/// that finds the queue full waits a second before it tries again; the system has its own bound.
const BACKLOG: u32 = 4096;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct ListenError {
    address: String,
    reason: String,
}

/// A bound listener.
pub struct BoundListener {
    listener: TcpListener,
    /// The address with the real port.
    pub address: SocketAddr,
}

impl BoundListener {
    /// Binds `host:port`; port 0 takes a free one.
    pub async fn bind(host: &str, port: u16) -> Result<BoundListener, ListenError> {
        let failed = |error: io::Error| ListenError {
            address: format!("{host}:{port}"),
            reason: match error.kind() {
                io::ErrorKind::AddrInUse => {
                    format!("the port is in use; stop the other program or choose another port ({error})")
                }
                _ => error.to_string(),
            },
        };
        let listener = listen(host, port).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(BoundListener { listener, address })
    }
}

/// Listens on the first of the host's addresses that can be bound.
async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in lookup_host((host, port)).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the broker stops, then waits for the open ones to end.
pub async fn accept_connections(
    bound: BoundListener,
    principal: Arc<str>,
    broker: Arc<Broker>,
    limits: ConnectionLimits,
    connections: Arc<Semaphore>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        let (stream, client_address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!(%client_address, "max.connections is reached; closing a new connection");
            continue;
        };
        let Some(connection) = describe(&stream, client_address, &principal) else { continue };
        let broker = Arc::clone(&broker);
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            serve_connection(stream, broker, connection, limits, shutdown).await;
            drop(permit);
        });
    }
    while tasks.join_next().await.is_some() {}
}

fn describe(stream: &TcpStream, client_address: SocketAddr, principal: &Arc<str>) -> Option<Connection> {
    // Responses are written whole; waiting for more bytes would only delay them.
    stream.set_nodelay(true).ok()?;
    let local_address = stream.local_addr().ok()?;
    Some(Connection { client_address, local_address, principal: Arc::clone(principal) })
}
