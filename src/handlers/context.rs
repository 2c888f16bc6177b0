//! What a handler knows of its request: the broker, the connection, the version, who asks; and the
//! way from and to the wire's messages.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::broker::Broker;
use crate::handlers::reply::{Outcome, Piece, Reply, ResponseFrame};
use crate::wire::response::encode_response;

/// The two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The client's.
    pub client_address: SocketAddr,
    /// Ours: where the client found us.
    pub local_address: SocketAddr,
}

/// A request's body cannot be read: the connection cannot go on.
#[derive(Debug)]
pub struct BadRequest(pub String);

/// What a handler gives: a reply, or the news that the request was no request.
pub type Handled = Result<Reply, BadRequest>;

/// What a handler knows of its request.
#[derive(Clone)]
pub struct Context {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The request's API.
    pub api: ApiKey,
    /// The request's version.
    pub version: i16,
    /// What the client calls itself; empty if it does not say.
    pub client_id: Arc<str>,
    /// What the response must repeat.
    pub correlation_id: i32,
}

impl Context {
    /// The request's body.
    pub fn decode<M: Decodable>(&self, mut body: Bytes) -> Result<M, BadRequest> {
        crate::wire::request::decode_body(&mut body, self.api, self.version)
            .map_err(|error| BadRequest(error.to_string()))
    }

    /// A response as it leaves.
    pub fn outcome<M: Encodable>(&self, response: &M) -> Outcome {
        match encode_response(self.api, self.version, self.correlation_id, response) {
            Ok(bytes) => Outcome::Respond(ResponseFrame { pieces: vec![Piece::Bytes(bytes)] }),
            Err(error) => {
                tracing::error!(api = ?self.api, version = self.version, %error, "a response cannot be encoded");
                Outcome::Close(format!("a response cannot be encoded: {error}"))
            }
        }
    }

    /// A response that is known already.
    pub fn respond<M: Encodable>(&self, response: &M) -> Handled {
        Ok(Reply::Now(self.outcome(response)))
    }

    /// A response that is known later.
    pub fn respond_later<M: Encodable>(&self, response: impl Future<Output = M> + Send + 'static) -> Handled {
        let context = self.clone();
        Ok(Reply::later(async move { context.outcome(&response.await) }))
    }

    /// Where this client is sent to reach this broker.
    pub fn advertised(&self) -> (String, i32) {
        let (host, port) = self.broker.advertised_for(self.connection.local_address);
        (host, i32::from(port))
    }
}
