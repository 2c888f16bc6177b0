//! What a handler knows of its request: the broker, the connection, the version, who asks; and the
//! way from and to the wire's messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

use crate::broker::{Broker, BrokerError};
use crate::error_code::ErrorCode;
use crate::handlers::convert::wire_ms;
use crate::handlers::reply::{Outcome, Reply, ResponseFrame};
use crate::handlers::throttle::{Throttled, Usage};
use crate::interceptor::Client;
use crate::quota::{FetchVerdict, MutationRule, MutationVerdict, QuotaClient, QuotaKind};
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
    /// How many bytes its frame has.
    frame_bytes: usize,
    /// What it uses; `None` while nobody has a quota.
    usage: Option<Arc<Usage>>,
}

impl Context {
    /// A request, whose frame had so many bytes.
    pub fn new(
        broker: Arc<Broker>,
        connection: Arc<Connection>,
        request: RequestFrame,
        frame_bytes: usize,
    ) -> Context {
        let usage = broker.has_client_quotas().then(|| Arc::new(Usage::new()));
        Context { broker, connection, request, frame_bytes, usage }
    }

    /// What the request uses; `None` while nobody has a quota.
    pub fn usage(&self) -> Option<&Arc<Usage>> {
        self.usage.as_ref()
    }

    /// Counts the request's bytes as produced.
    pub fn charge_produced(&self) {
        let Some(usage) = &self.usage else { return };
        let kind = QuotaKind::ProducerByteRate;
        usage.throttle(self.broker.charge_bytes(kind, &self.quota_client(), self.frame_bytes));
    }

    /// The most bytes that a fetch may ask for, if the client has a quota.
    pub fn fetch_bytes_max(&self) -> Option<usize> {
        self.usage.as_ref()?;
        self.broker.quota_window_bytes(QuotaKind::ConsumerByteRate, &self.quota_client())
    }

    /// Whether so many fetched bytes may be sent now. If not, the answer is to be an empty one.
    pub fn charge_fetched(&self, bytes: usize) -> bool {
        let Some(usage) = &self.usage else { return true };
        match self.broker.charge_fetched(&self.quota_client(), bytes) {
            FetchVerdict::Send(wait) => {
                usage.throttle(wait);
                true
            }
            FetchVerdict::Withhold(wait) => {
                usage.throttle(wait);
                false
            }
        }
    }

    /// Asks for partitions to be created or deleted (KIP-599).
    pub fn charge_mutations(&self, rule: MutationRule, partitions: i32) -> Result<(), BrokerError> {
        let Some(usage) = &self.usage else { return Ok(()) };
        let partitions = u32::try_from(partitions).unwrap_or(0);
        match self.broker.charge_mutations(rule, &self.quota_client(), partitions) {
            MutationVerdict::Allowed(wait) => {
                usage.throttle(wait);
                Ok(())
            }
            MutationVerdict::Refused(wait) => {
                usage.throttle(wait);
                let why = format!("the quota of partitions a second is used up; try again in {wait:?}");
                Err(BrokerError::refused(ErrorCode::ThrottlingQuotaExceeded, why))
            }
        }
    }

    /// Counts the time that the request has taken; tells how long the client is to wait, all in all.
    pub fn throttle(&self) -> Duration {
        let Some(usage) = &self.usage else { return Duration::ZERO };
        usage.throttle(self.broker.charge_time(&self.quota_client(), usage.time()));
        usage.throttled()
    }

    fn quota_client(&self) -> QuotaClient {
        QuotaClient::new(&self.connection.principal, self.client_id())
    }

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
    pub fn outcome<M: Encodable + HeaderVersion + Throttled>(&self, response: &M) -> Outcome {
        let throttle = self.throttle();
        let (id, version) = (self.request.correlation_id, self.version());
        let encoded = match throttle.is_zero() {
            true => encode_response(id, version, response),
            false => encode_response(id, version, &response.clone().throttled(wire_ms(throttle))),
        };
        match encoded {
            Ok(bytes) => Outcome::Respond(ResponseFrame { throttle, ..ResponseFrame::from(bytes) }),
            Err(error) => {
                tracing::error!(api = ?self.request.api.key, %error, "a response cannot be encoded");
                Outcome::Close(error.to_string())
            }
        }
    }

    /// A response that is known already.
    pub fn respond<M: Encodable + HeaderVersion + Throttled>(&self, response: &M) -> Handled {
        Ok(Reply::Now(self.outcome(response)))
    }

    /// A response that is known later.
    pub fn respond_later<M: Encodable + HeaderVersion + Throttled>(
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
