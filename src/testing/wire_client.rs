//! A client that speaks the protocol in any version over a plain socket, one request at a time.
//!
//! It sends what real clients would not, and decodes answers strictly: a byte too many is an error.
//! Blocking; knows nothing of brokers, retries or coordinators.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};

/// How long an answer may take before the test is taken to hang.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One connection.
#[derive(Debug)]
pub struct WireClient {
    stream: TcpStream,
    correlation_id: i32,
}

impl WireClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> anyhow::Result<WireClient> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(WireClient { stream, correlation_id: 0 })
    }

    /// The socket, for sending what is no request.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a request and decodes the answer, of which every byte must be used.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        let correlation_id = self.send(version, request)?;
        let frame = self.receive()?;
        decode_response::<R>(frame, version, correlation_id)
    }

    /// Sends a request and returns its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<i32> {
        self.correlation_id += 1;
        let frame = encode_request(self.correlation_id, version, request)?;
        self.stream.write_all(&frame)?;
        Ok(self.correlation_id)
    }

    /// Reads the answer to the latest request that was sent.
    pub fn receive_answer<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let frame = self.receive()?;
        decode_response::<R>(frame, version, self.correlation_id)
    }

    /// Reads one frame, without its size.
    pub fn receive(&mut self) -> anyhow::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).context("reading an answer's size")?;
        let size = usize::try_from(i32::from_be_bytes(size)).context("an answer's size")?;
        ensure!(size <= ANSWER_BYTES_MAX, "an answer of {size} bytes was announced");
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).context("reading an answer")?;
        Ok(Bytes::from(frame))
    }

    /// Whether the broker has closed the connection without another byte; waits for it.
    pub fn is_closed_by_peer(&mut self) -> bool {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// A request as it goes over the wire: size, header, body.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    version: i16,
    request: &R,
) -> anyhow::Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("wire-client")));
    let mut body = BytesMut::new();
    encode_request_header_into_buffer(&mut body, &header)?;
    request.encode(&mut body, version).with_context(|| format!("API {} version {version}", R::KEY))?;
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_i32(i32::try_from(body.len())?);
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn decode_response<R: Request>(
    mut frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> anyhow::Result<R::Response> {
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version)?;
    ensure!(header.correlation_id == correlation_id, "the answer is to request {}", header.correlation_id);
    let response = <R::Response as Decodable>::decode(&mut frame, version)
        .with_context(|| format!("decoding the answer to API {} version {version}", R::KEY))?;
    ensure!(frame.is_empty(), "{} bytes follow the answer to API {} version {version}", frame.len(), R::KEY);
    Ok(response)
}
