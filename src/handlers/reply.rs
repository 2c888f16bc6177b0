//! What a handler gives back: a response now, later, never, or the end of the connection.
//!
//! A handler's own future is its ordered part: it is run to its end before the next request of the
//! connection starts, so appends keep the client's order. What may take longer (durability, long
//! polls, rebalances) goes into `Reply::Later`, and the connection reads on meanwhile.

use std::pin::Pin;

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
}

impl From<Bytes> for ResponseFrame {
    fn from(bytes: Bytes) -> Self {
        ResponseFrame { pieces: vec![Piece::Bytes(bytes)] }
    }
}

/// How a connection goes on after a request.
#[derive(Debug)]
pub enum Outcome {
    /// The client gets this.
    Respond(ResponseFrame),
    /// The client expects nothing (acks=0).
    Silence,
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

impl Reply {
    /// An answer that is known later.
    pub fn later(outcome: impl Future<Output = Outcome> + Send + 'static) -> Reply {
        Reply::Later(Box::pin(outcome))
    }
}
