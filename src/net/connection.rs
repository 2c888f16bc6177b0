//! One client's connection: reads frames, runs each request's ordered part in turn, and writes the
//! responses in the order of the requests while later ones are already being worked on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::FutureExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::handlers::{self, Connection, Outcome, Piece, Reply};
use crate::net::write::write_pieces;
use crate::wire::frame::{FrameError, missing_bytes, next_frame};

/// How much room a buffer is given at least.
const READ_BYTES_MIN: usize = 64 * 1024;
/// A buffer with this much room is read into without making more: small requests share a buffer,
/// rather than each keeping one of its own until its bytes are durable.
const SPARE_BYTES_MIN: usize = 16 * 1024;
/// How much room one read makes at most.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Responses are gathered up to this many pieces before they are written together.
const PIECES_TOGETHER_MAX: usize = 256;

/// The bounds of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// The longest request frame.
    pub request_bytes_max: usize,
    /// How many requests may be under way at once; further ones stay in the socket.
    pub requests_in_flight_max: usize,
    /// How long a connection may be silent with nothing under way, or take nothing of its answers.
    pub idle_max: Duration,
}

type Ordered = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Pending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Loop {
    limits: ConnectionLimits,
    buffer: BytesMut,
    ordered: Option<Ordered>,
    pending: FuturesOrdered<Pending>,
    /// Nothing is read before, for the sake of the client's quota (KIP-219).
    muted_until: Option<Instant>,
}

enum Happened {
    Read(io::Result<usize>),
    Ordered(Reply),
    Done(Outcome),
    Unmuted,
    Idle,
    Shutdown,
}

/// Serves one connection until the client leaves, breaks the protocol or falls silent, or the
/// broker stops.
pub async fn serve_connection(
    mut stream: TcpStream,
    broker: Arc<Broker>,
    connection: Connection,
    limits: ConnectionLimits,
    mut shutdown: watch::Receiver<bool>,
) {
    let connection = Arc::new(connection);
    let peer = connection.client_address;
    let mut state = Loop {
        limits,
        buffer: BytesMut::new(),
        ordered: None,
        pending: FuturesOrdered::new(),
        muted_until: None,
    };
    loop {
        if let Err(error) = state.start_next(&broker, &connection) {
            tracing::info!(%peer, %error, "closing a connection");
            return;
        }
        let closed = match state.next_event(&mut stream, &mut shutdown).await {
            Happened::Read(Ok(0)) | Happened::Shutdown => return,
            Happened::Read(Ok(_)) => None,
            Happened::Read(Err(error)) => Some(error.to_string()),
            Happened::Ordered(reply) => {
                state.ordered = None;
                state.push(reply);
                None
            }
            Happened::Done(outcome) => state.respond(&mut stream, outcome).await.err(),
            Happened::Unmuted => {
                state.muted_until = None;
                None
            }
            Happened::Idle => Some("silent for too long".to_owned()),
        };
        if let Some(why) = closed {
            tracing::debug!(%peer, why, "closing a connection");
            return;
        }
    }
}

impl Loop {
    /// Takes whole frames out of the buffer and runs their ordered parts as far as they go at once.
    fn start_next(&mut self, broker: &Arc<Broker>, connection: &Arc<Connection>) -> Result<(), FrameError> {
        while self.may_start() {
            let Some(frame) = self.take_frame()? else { return Ok(()) };
            let mut ordered: Ordered =
                Box::pin(handlers::dispatch(Arc::clone(broker), Arc::clone(connection), frame));
            match ordered.as_mut().now_or_never() {
                Some(reply) => self.push(reply),
                None => self.ordered = Some(ordered),
            }
        }
        Ok(())
    }

    fn may_start(&self) -> bool {
        let is_muted = self.muted_until.is_some();
        self.ordered.is_none() && !is_muted && self.pending.len() < self.limits.requests_in_flight_max
    }

    /// Answers go out; requests wait, in the socket.
    fn mute(&mut self, throttle: Duration) {
        if !throttle.is_zero() {
            self.muted_until = self.muted_until.max(Some(Instant::now() + throttle));
        }
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        next_frame(&mut self.buffer, self.limits.request_bytes_max)
    }

    fn push(&mut self, reply: Reply) {
        match reply {
            Reply::Now(outcome) => {
                // Before the next request of the same client is taken from the buffer.
                self.mute(outcome.throttle());
                self.pending.push_back(Box::pin(std::future::ready(outcome)));
            }
            Reply::Later(outcome) => self.pending.push_back(outcome),
        }
    }

    async fn next_event(&mut self, stream: &mut TcpStream, shutdown: &mut watch::Receiver<bool>) -> Happened {
        let is_quiet = self.ordered.is_none() && self.pending.is_empty();
        let may_read = self.may_start();
        let muted_until = self.muted_until;
        tokio::select! {
            biased;
            Some(outcome) = self.pending.next(), if !self.pending.is_empty() => Happened::Done(outcome),
            reply = poll_ordered(&mut self.ordered) => Happened::Ordered(reply),
            read = read_more(stream, &mut self.buffer), if may_read => Happened::Read(read),
            () = unmuted(muted_until), if muted_until.is_some() => Happened::Unmuted,
            () = tokio::time::sleep(self.limits.idle_max), if is_quiet => Happened::Idle,
            _ = shutdown.wait_for(|stop| *stop), if is_quiet => Happened::Shutdown,
        }
    }

    /// Writes this response and all that are ready right behind it.
    async fn respond(&mut self, stream: &mut TcpStream, outcome: Outcome) -> Result<(), String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut next = Some(outcome);
        let mut closing = None;
        while let Some(outcome) = next.take() {
            self.mute(outcome.throttle());
            match outcome {
                Outcome::Respond(frame) => pieces.extend(frame.pieces),
                Outcome::Silence(_) => {}
                Outcome::Close(why) => {
                    closing = Some(why);
                    break;
                }
            }
            if pieces.len() < PIECES_TOGETHER_MAX {
                next = self.pending.next().now_or_never().flatten();
            }
        }
        write_pieces(stream, pieces, self.limits.idle_max).await.map_err(|error| error.to_string())?;
        closing.map_or(Ok(()), Err)
    }
}

async fn unmuted(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn poll_ordered(ordered: &mut Option<Ordered>) -> Reply {
    match ordered {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    if buffer.is_empty() {
        // Who has never said anything takes no room.
        stream.readable().await?;
    }
    // A large frame gets its room in steps, as its bytes arrive: an announced length alone must not
    // take memory.
    let missing = missing_bytes(buffer);
    if buffer.capacity() - buffer.len() < missing.clamp(SPARE_BYTES_MIN, READ_BYTES_MAX) {
        buffer.reserve(missing.clamp(READ_BYTES_MIN, READ_BYTES_MAX));
    }
    stream.read_buf(buffer).await
}
