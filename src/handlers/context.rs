//! What a handler knows of its request: the broker, the connection, the version, who asks; and the
//! way from and to the wire's messages.

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

use crate::broker::Broker;
use crate::handlers::reply::{Outcome, Reply, ResponseFrame};
use crate::interceptor::Client;
use crate::wire::request::RequestFrame;
use crate::wire::response::encode_response;

/// The two ends of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// The client's.
    pub client_address: SocketAddr,
    /// Ours: where the client found us.
    pub local_address: SocketAddr,
    /// Who the client is.
    pub principal: Arc<str>,
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
    /// The request: its header, and its body in bytes.
    pub request: RequestFrame,
}

impl Context {
    /// The request's body.
    pub fn decode<M: Request>(&self) -> Result<M, BadRequest> {
        self.request.decode().map_err(|error| BadRequest(error.to_string()))
    }

    /// The request's version.
    pub fn version(&self) -> i16 {
        self.request.api_version
    }

    /// What the client calls itself; empty if it does not say.
    pub fn client_id(&self) -> &str {
        self.request.client_id.as_deref().unwrap_or_default()
    }

    /// Who asks.
    pub fn client(&self) -> Client {
        Client { principal: Arc::clone(&self.connection.principal), client_id: self.client_id().to_owned() }
    }

    /// A response as it leaves.
    pub fn outcome<M: Encodable + HeaderVersion>(&self, response: &M) -> Outcome {
        match encode_response(self.request.correlation_id, self.version(), response) {
            Ok(bytes) => Outcome::Respond(ResponseFrame::from(bytes)),
            Err(error) => {
                tracing::error!(api = ?self.request.api.key, %error, "a response cannot be encoded");
                Outcome::Close(error.to_string())
            }
        }
    }

    /// A response that is known already.
    pub fn respond<M: Encodable + HeaderVersion>(&self, response: &M) -> Handled {
        Ok(Reply::Now(self.outcome(response)))
    }

    /// A response that is known later.
    pub fn respond_later<M: Encodable + HeaderVersion>(
        &self,
        response: impl Future<Output = M> + Send + 'static,
    ) -> Handled {
        let context = self.clone();
        Ok(Reply::later(async move { context.outcome(&response.await) }))
    }

    /// Where this client is sent to reach this broker.
    pub fn advertised(&self) -> (String, i32) {
        let (host, port) = self.broker.advertised_for(self.connection.local_address);
        (host, i32::from(port))
    }
}
