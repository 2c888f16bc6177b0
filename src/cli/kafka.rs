//! librdkafka for the verbs that move records: its settings, its errors in our words, its silence.
//!
//! Everything else speaks through `protocol_client`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{ProducerContext, ThreadedProducer};

use super::GlobalArgs;
use super::error::{CliError, ExitKind};
use super::protocol_client::Connection;
use super::time::now;

/// Settings that every client of ours has. Asks the broker first, so that a broker that is not there
/// is told at once and in one line.
pub(super) fn base_config(global: &GlobalArgs) -> Result<ClientConfig, CliError> {
    Connection::open(&global.bootstrap_server, global.request_timeout)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &global.bootstrap_server)
        .set("client.id", "tidemill-cli")
        .set("socket.timeout.ms", global.request_timeout.as_millis().clamp(1000, 300_000).to_string())
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Emerg);
    Ok(config)
}

/// Creates a client.
pub(super) fn create<C, T>(config: &ClientConfig, context: C) -> Result<T, CliError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config
        .create_with_context(context)
        .map_err(|error| CliError::usage(format!("cannot set up the client: {error}")))
}

/// A consumer that keeps librdkafka's log to itself.
pub(super) type QuietConsumer = BaseConsumer<Quiet>;

/// A producer that notes what becomes of its records.
pub(super) type Producer = ThreadedProducer<Deliveries>;

/// Keeps librdkafka's log to itself.
#[derive(Debug, Default)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Quiet {}

/// What became of a producer's records.
#[derive(Debug)]
pub(super) struct Deliveries(Mutex<Delivered>);

/// The counts behind `Deliveries`.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    /// Records that the broker has acknowledged.
    pub records: u64,
    /// Records that failed.
    pub failed: u64,
    /// Why the first one failed.
    pub first_error: Option<CliError>,
    /// First and last offset of each partition.
    pub offsets: BTreeMap<i32, (i64, i64)>,
    /// From send to acknowledgement, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Deliveries {
    pub(super) fn new() -> Deliveries {
        let latency_us = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid");
        let delivered =
            Delivered { records: 0, failed: 0, first_error: None, offsets: BTreeMap::new(), latency_us };
        Deliveries(Mutex::new(delivered))
    }

    pub(super) fn snapshot(&self) -> Delivered {
        self.0.lock().clone()
    }

    pub(super) fn first_error(&self) -> Option<CliError> {
        self.0.lock().first_error.clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Instant>) {
        let elapsed = now().duration_since(*sent);
        let mut delivered = self.0.lock();
        match result {
            Ok(message) => {
                delivered.records += 1;
                let offset = message.offset();
                let range = delivered.offsets.entry(message.partition()).or_insert((offset, offset));
                *range = (range.0.min(offset), range.1.max(offset));
                delivered
                    .latency_us
                    .saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
            }
            Err((error, message)) => {
                delivered.failed += 1;
                let what = format!("cannot write to {}", message.topic());
                delivered.first_error.get_or_insert_with(|| translate(error, &what));
            }
        }
    }
}

/// A failure of librdkafka as the command line's own.
pub(super) fn translate(error: &KafkaError, what: &str) -> CliError {
    let Some(code) = error.rdkafka_error_code() else {
        return CliError::new(ExitKind::Failed, "CLIENT_ERROR", format!("{what}: {error}"));
    };
    let number = code as i32;
    if number > 0 {
        let detail = match error {
            KafkaError::Transaction(error) => Some(error.string()),
            _ => None,
        };
        return CliError::kafka(i16::try_from(number).unwrap_or(-1), what, detail.as_deref());
    }
    let kind = match code {
        RDKafkaErrorCode::MessageTimedOut
        | RDKafkaErrorCode::OperationTimedOut
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::Resolve => ExitKind::Unreachable,
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition => ExitKind::NotFound,
        _ => ExitKind::Failed,
    };
    CliError::new(kind, &format!("{code:?}"), format!("{what}: {code}"))
}

/// The shortest time that librdkafka takes for a network timeout.
pub(super) fn timeout_ms(timeout: Duration) -> String {
    timeout.as_millis().clamp(1, 2_147_483_647).to_string()
}
