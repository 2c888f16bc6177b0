//! What a handler gives back: a response now, later, never, or the end of the connection.
//!
//! A handler's own future is its ordered part: it is run to its end before the next request of the
//! connection starts, so appends keep the client's order. What may take longer (durability, long
//! polls, rebalances) goes into `Reply::Later`, and the connection reads on meanwhile.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::log::FileSlice;

/// A part of a response: bytes, or a run of a segment file that is sent without copying it.
#[derive(Debug)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A run of a segment file.
    File(FileSlice),
}

/// One response frame, with its length prefix.
#[derive(Debug, Default)]
pub struct ResponseFrame {
    /// The parts, in order.
    pub pieces: Vec<Piece>,
    /// For how long nothing more is to be read from the client, for its quota's sake (KIP-219).
    pub throttle: Duration,
}

impl From<Bytes> for ResponseFrame {
    fn from(bytes: Bytes) -> Self {
        ResponseFrame { pieces: vec![Piece::Bytes(bytes)], throttle: Duration::ZERO }
    }
}

/// How a connection goes on after a request.
#[derive(Debug)]
pub enum Outcome {
    /// The client gets this.
    Respond(ResponseFrame),
    /// The client expects nothing (acks=0), and is not read from for so long.
    Silence(Duration),
    /// The connection cannot go on, for this reason.
    Close(String),
}

/// A handler's answer.
pub enum Reply {
    /// Known already.
    Now(Outcome),
    /// Known later; responses still leave in the order of the requests.
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Outcome {
    /// For how long nothing more is to be read from the client.
    pub fn throttle(&self) -> Duration {
        match self {
            Outcome::Respond(frame) => frame.throttle,
            Outcome::Silence(throttle) => *throttle,
            Outcome::Close(_) => Duration::ZERO,
        }
    }
}

impl Reply {
    /// An answer that is known later.
    pub fn later(outcome: impl Future<Output = Outcome> + Send + 'static) -> Reply {
        Reply::Later(Box::pin(outcome))
    }
}
