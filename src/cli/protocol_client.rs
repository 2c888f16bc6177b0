//! A small blocking client of the Kafka protocol: one request, one answer.
//!
//! The admin verbs speak through it, because it gives them the broker's own error codes and
//! sentences, and the requests that librdkafka has no call for. Records are not its business:
//! producing and consuming go through librdkafka.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FindCoordinatorRequest, MetadataRequest, MetadataResponse, RequestHeader,
    ResponseHeader, TopicName, metadata_request::MetadataRequestTopic,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, encode_request_header_into_buffer,
};

use super::error::{CliError, ExitKind, check};
use super::time::retrying;
use crate::error_code::ErrorCode;

/// The largest answer that is read: a listing of a very large cluster.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One connection to one broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    versions: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
    correlation_id: i32,
}

/// What a coordinator is found by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoordinatorKind {
    /// A consumer group's id.
    Group,
    /// A transactional id.
    Transaction,
}

/// The brokers that the bootstrap servers lead to, each connected to when first asked.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: Connection,
    /// The bootstrap broker's own addresses lead back to it, even where its advertised one does not
    /// lead anywhere from here.
    nodes: BTreeMap<i32, Connection>,
    addresses: BTreeMap<i32, String>,
    timeout: Duration,
}

/// Text as the protocol's crate holds it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as the protocol's crate holds it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Connection {
    /// Connects to the first of the comma-separated servers that answers, and asks what it speaks.
    pub fn open(servers: &str, timeout: Duration) -> Result<Connection, CliError> {
        let mut failure = None;
        for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            match Connection::open_one(server, timeout) {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| CliError::usage("--bootstrap-server names no server")))
    }

    fn open_one(server: &str, timeout: Duration) -> Result<Connection, CliError> {
        let stream = connect(server, timeout)?;
        let mut connection = Connection {
            stream,
            address: server.to_owned(),
            versions: BTreeMap::new(),
            features: BTreeMap::new(),
            correlation_id: 0,
        };
        connection.negotiate()?;
        Ok(connection)
    }

    /// The finalised features with their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// Whether the broker serves an API in any version.
    pub fn serves(&self, api: ApiKey) -> bool {
        self.versions.contains_key(&(api as i16))
    }

    /// How many APIs the broker serves.
    pub fn api_count(&self) -> usize {
        self.versions.len()
    }

    /// Sends a request in the highest version that both sides know, and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, CliError> {
        self.call_up_to(request, i16::MAX)
    }

    /// The same, in no higher version than `highest`: for requests whose later versions have another shape.
    pub fn call_up_to<R: Request>(&mut self, request: &R, highest: i16) -> Result<R::Response, CliError> {
        let version = self.version::<R>(highest)?;
        self.exchange(request, version)
    }

    fn version<R: Request>(&self, highest: i16) -> Result<i16, CliError> {
        let ours = <R as Message>::VERSIONS;
        let (ours_least, ours_most) = (ours.min, ours.max.min(highest));
        let name = api_name(R::KEY);
        let Some((least, most)) = self.versions.get(&R::KEY) else {
            return Err(CliError::new(
                ExitKind::Failed,
                "UNSUPPORTED_VERSION",
                format!("the broker at {} does not serve {name}", self.address),
            ));
        };
        let version = ours_most.min(*most);
        if version < ours_least.max(*least) {
            return Err(CliError::new(
                ExitKind::Failed,
                "UNSUPPORTED_VERSION",
                format!(
                    "the broker at {} serves {name} in versions {least} to {most}, this tool in {ours_least} \
                     to {ours_most}",
                    self.address
                ),
            ));
        }
        Ok(version)
    }

    /// Asks for the broker's versions; one that does not know our version of the question answers in
    /// version 0, with its own range (KIP-511).
    fn negotiate(&mut self) -> Result<(), CliError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("tidemill-cli"))
            .with_client_software_version(text(env!("CARGO_PKG_VERSION")));
        let frame = self.round_trip(&request, 3)?;
        let refused = frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes()[..]);
        let response =
            if refused { self.exchange(&request, 0)? } else { decode::<ApiVersionsRequest>(frame, 3, self)? };
        check(response.error_code, format!("{} refuses to say what it speaks", self.address), None)?;
        self.versions =
            response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        let features = response.finalized_features.iter();
        self.features =
            features.map(|feature| (feature.name.to_string(), feature.max_version_level)).collect();
        Ok(())
    }

    fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, CliError> {
        let frame = self.round_trip(request, version)?;
        decode::<R>(frame, version, self)
    }

    fn round_trip<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, CliError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode(request, version, self.correlation_id)
            .map_err(|error| CliError::usage(format!("cannot put {} together: {error}", api_name(R::KEY))))?;
        self.stream.write_all(&frame).map_err(|error| self.lost::<R>(&error))?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(|error| self.lost::<R>(&error))?;
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if !(4..=RESPONSE_BYTES_MAX).contains(&size) {
            return Err(not_kafka(&self.address));
        }
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).map_err(|error| self.lost::<R>(&error))?;
        let frame = Bytes::from(frame);
        match frame.first_chunk::<4>() {
            Some(id) if i32::from_be_bytes(*id) == self.correlation_id => Ok(frame),
            Some(_) | None => Err(not_kafka(&self.address)),
        }
    }

    fn lost<R: Request>(&self, error: &std::io::Error) -> CliError {
        let name = api_name(R::KEY);
        let address = &self.address;
        let message = match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                format!("the broker at {address} did not answer {name} in time")
            }
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
                format!("the broker at {address} closed the connection at {name}")
            }
            _ => format!("lost the connection to {address} at {name}: {error}"),
        };
        CliError::new(ExitKind::Unreachable, "NETWORK_EXCEPTION", message)
    }
}

impl Cluster {
    /// Connects to the first bootstrap server that answers.
    pub fn connect(servers: &str, timeout: Duration) -> Result<Cluster, CliError> {
        let bootstrap = Connection::open(servers, timeout)?;
        Ok(Cluster { bootstrap, nodes: BTreeMap::new(), addresses: BTreeMap::new(), timeout })
    }

    /// Any broker: for requests that every broker answers.
    pub fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    /// How long to wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same in milliseconds, as requests carry it.
    pub fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Describes these topics, or all; never creates one.
    pub fn metadata(&mut self, topics: Option<&[String]>) -> Result<MetadataResponse, CliError> {
        let named = |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
            .with_allow_auto_topic_creation(false);
        let response = self.bootstrap.call_up_to(&request, 12)?;
        for broker in &response.brokers {
            self.addresses.insert(broker.node_id.0, format!("{}:{}", broker.host, broker.port));
        }
        Ok(response)
    }

    /// The broker of this node id.
    pub fn node(&mut self, id: i32) -> Result<&mut Connection, CliError> {
        if !self.addresses.contains_key(&id) {
            self.metadata(Some(&[]))?;
        }
        // One broker is the common case, and then the bootstrap connection is the one that works.
        if self.addresses.len() == 1 && self.addresses.contains_key(&id) {
            return Ok(&mut self.bootstrap);
        }
        let address = self.addresses.get(&id).ok_or_else(|| {
            CliError::new(
                ExitKind::Unreachable,
                "BROKER_NOT_AVAILABLE",
                format!("no address of broker {id} is known"),
            )
        })?;
        if !self.nodes.contains_key(&id) {
            let connection = Connection::open_one(address, self.timeout)?;
            self.nodes.insert(id, connection);
        }
        Ok(self.nodes.get_mut(&id).expect("it was put there above"))
    }

    /// The ids of all brokers.
    pub fn node_ids(&mut self) -> Result<Vec<i32>, CliError> {
        self.metadata(Some(&[]))?;
        Ok(self.addresses.keys().copied().collect())
    }

    /// The broker that takes requests which change the cluster.
    pub fn controller(&mut self) -> Result<&mut Connection, CliError> {
        let id = self.metadata(Some(&[]))?.controller_id.0;
        if id < 0 { Ok(&mut self.bootstrap) } else { self.node(id) }
    }

    /// The coordinator of a group or a transactional id; waits while there is none yet.
    pub fn coordinator(&mut self, kind: CoordinatorKind, key: &str) -> Result<&mut Connection, CliError> {
        let (id, _) = self.find_coordinator(kind, key)?;
        self.node(id)
    }

    /// The same by its id and address.
    pub fn find_coordinator(&mut self, kind: CoordinatorKind, key: &str) -> Result<(i32, String), CliError> {
        let key_type = match kind {
            CoordinatorKind::Group => 0,
            CoordinatorKind::Transaction => 1,
        };
        let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type);
        let bootstrap = &mut self.bootstrap;
        let response = retrying(self.timeout, || {
            let response = bootstrap.call_up_to(&request, 3)?;
            let detail = response.error_message.as_ref().map(StrBytes::as_str);
            check(response.error_code, format!("cannot find the coordinator of {key}"), detail)?;
            Ok(response)
        })?;
        let address = format!("{}:{}", response.host, response.port);
        self.addresses.insert(response.node_id.0, address.clone());
        Ok((response.node_id.0, address))
    }
}

fn encode<R: Request>(request: &R, version: i16, correlation_id: i32) -> anyhow::Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("tidemill-cli")));
    let mut body = BytesMut::new();
    encode_request_header_into_buffer(&mut body, &header)?;
    Encodable::encode(request, &mut body, version)?;
    let mut frame = BytesMut::with_capacity(body.len() + 4);
    frame.put_i32(i32::try_from(body.len())?);
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn decode<R: Request>(
    mut frame: Bytes,
    version: i16,
    connection: &Connection,
) -> Result<R::Response, CliError> {
    let unreadable = |error: anyhow::Error| {
        CliError::new(
            ExitKind::Failed,
            "UNREADABLE_RESPONSE",
            format!(
                "cannot read the answer to {} version {version} from {}: {error}",
                api_name(R::KEY),
                connection.address
            ),
        )
    };
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    ResponseHeader::decode(&mut frame, header_version).map_err(unreadable)?;
    <R::Response as Decodable>::decode(&mut frame, version).map_err(unreadable)
}

fn connect(server: &str, timeout: Duration) -> Result<TcpStream, CliError> {
    let unreachable = |reason: String| {
        CliError::new(
            ExitKind::Unreachable,
            "BROKER_NOT_AVAILABLE",
            format!("cannot reach a broker at {server}: {reason}"),
        )
        .with_hint("start one with `tidemill serve`, or name another with --bootstrap-server host:port")
    };
    if !server.contains(':') {
        return Err(CliError::usage(format!("\"{server}\" has no port; write {server}:9092")));
    }
    let addresses: Vec<_> =
        server.to_socket_addrs().map_err(|error| unreachable(error.to_string()))?.collect();
    let mut reason = "its name leads to no address".to_owned();
    for address in addresses {
        let attempt = TcpStream::connect_timeout(&address, timeout).and_then(|stream| {
            stream.set_nodelay(true)?;
            // The broker gets the same time to answer, and a little more to say that it was too little.
            stream.set_read_timeout(Some(timeout + Duration::from_secs(1)))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(stream)
        });
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => reason = plain(&error),
        }
    }
    Err(unreachable(reason))
}

/// An I/O error without the operating system's number.
pub(super) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn not_kafka(address: &str) -> CliError {
    CliError::new(
        ExitKind::Unreachable,
        "NOT_KAFKA",
        format!("what listens at {address} does not speak the Kafka protocol"),
    )
}

fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |key| format!("{key:?}"))
}

#[cfg(test)]
mod tests;
