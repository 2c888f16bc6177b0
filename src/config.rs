//! The server's options: typed, range-checked at start, and each with a memory of who set it.
//!
//! Flag over `TIDEMILL_…` environment over TOML file over default, under Kafka's own key names. The
//! table in `keys` drives all of it. Pure: reading the file and the environment is
//! the caller's part. Imports nothing of the project but `ids`.

pub mod dynamic;
mod entry;
mod keys;
mod kind;
mod listener;
mod sources;
mod suggest;
pub mod topic_config;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::BrokerId;
use kind::millis;

pub use entry::{ConfigEntry, ConfigSource, ConfigSynonym};
pub use keys::{KEYS, Key, find as find_key};
pub use kind::{Kind, Value, Width, WireType};
pub use listener::{Advertised, HostPort, Listener};
pub use sources::{ConfigError, ConfigErrors, FlagValue, Origin, Resolved, Sources, Values};
pub use suggest::nearest;
pub use topic_config::{TopicConfig, TopicDefaults};

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushPolicy {
    /// After a group-committed sync to stable storage.
    Ack,
    /// Once it is in the page cache.
    Os,
}

/// Whether asking for an unknown topic creates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoCreateTopics {
    /// It does.
    Enabled,
    /// It does not.
    Disabled,
}

/// The options of `tidemill serve`.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerConfig {
    /// `node.id`
    pub node_id: BrokerId,
    /// `listeners` with `advertised.listeners`; at least one.
    pub listeners: Vec<Listener>,
    /// `log.dirs`; at least one. The first holds all that is not a partition.
    pub log_dirs: Vec<PathBuf>,
    /// `tidemill.admin.listen`; `None` if it is off.
    pub admin_listen: Option<HostPort>,
    /// `tidemill.flush`
    pub flush: FlushPolicy,
    /// `tidemill.log.level`, a `tracing` filter.
    pub log_level: String,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `auto.create.topics.enable`
    pub auto_create_topics: AutoCreateTopics,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval: Duration,
    /// Compaction; `None` if `log.cleaner.enable` is off.
    pub cleaner: Option<CleanerOptions>,
    /// Limits of connections and requests.
    pub net: NetOptions,
    /// How quotas are measured.
    pub quotas: QuotaOptions,
    /// Groups and their offsets.
    pub groups: GroupOptions,
    /// Transactions and producers.
    pub transactions: TransactionOptions,
    /// Plugins and processors.
    pub processors: ProcessorOptions,
    topic_defaults: TopicDefaults,
    values: Values,
}

/// Compaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CleanerOptions {
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`
    pub dedupe_buffer_bytes: usize,
}

/// Limits of connections and requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetOptions {
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `max.connections`
    pub connections_max: usize,
    /// `connections.max.idle.ms`
    pub connection_idle_max: Duration,
    /// `queued.max.requests`
    pub queued_requests_max: usize,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// `tidemill.decompressed.bytes.max`
    pub decompressed_bytes_max: usize,
    /// `max.request.partition.size.limit`
    pub request_partitions_max: i32,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_sessions_max: usize,
}

/// How quotas are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotaOptions {
    /// `quota.window.num`
    pub window_samples: u32,
    /// `quota.window.size.seconds`
    pub window_sample: Duration,
    /// `controller.quota.window.num`
    pub mutation_window_samples: u32,
    /// `controller.quota.window.size.seconds`
    pub mutation_window_sample: Duration,
}

/// Groups and their offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOptions {
    /// `offsets.topic.num.partitions`
    pub offsets_topic_partitions: i32,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.max.size`
    pub group_size_max: usize,
    /// Groups of the new protocol.
    pub consumer: ConsumerGroupOptions,
}

/// Groups of the new protocol (KIP-848).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerGroupOptions {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`
    pub group_size_max: usize,
    /// `group.consumer.assignors`
    pub assignors: Vec<String>,
    /// `group.consumer.migration.policy`
    pub migration_policy: String,
}

/// Transactions and producers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionOptions {
    /// `transaction.state.log.num.partitions`
    pub state_log_partitions: i32,
    /// `transaction.max.timeout.ms`
    pub timeout_max: Duration,
    /// `transactional.id.expiration.ms`
    pub transactional_id_expiration: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_timed_out_interval: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval: Duration,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration: Duration,
}

/// Plugins and processors; mostly defaults that a deployment may override.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessorOptions {
    /// `tidemill.module.bytes.max`
    pub module_bytes_max: usize,
    /// `tidemill.processor.memory.bytes`
    pub memory_bytes_max: u64,
    /// `tidemill.processor.batch.time.ms`
    pub batch_time_max: Duration,
    /// `tidemill.processor.output.bytes`
    pub output_bytes_max: usize,
    /// `tidemill.processor.commit.interval.ms`
    pub commit_interval: Duration,
    /// `tidemill.processor.commit.records`
    pub commit_records_max: usize,
    /// `tidemill.processor.commit.bytes`
    pub commit_bytes_max: usize,
    /// `tidemill.processor.log.lines.per.second`
    pub log_lines_per_second: u32,
    /// `tidemill.processors.memory.bytes`; 0 leaves it to the machine's memory
    pub all_memory_bytes_max: u64,
}

impl ServerConfig {
    /// Reads and checks everything; reports every mistake at once.
    pub fn load(sources: &Sources) -> Result<ServerConfig, ConfigErrors> {
        let values = Values::resolve(sources)?;
        let mut errors = Vec::new();
        let listeners = listeners(&values).unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        });
        let admin_listen = admin_listen(&values).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        errors.extend(check_together(&values, &listeners, admin_listen.as_ref()));
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(ServerConfig::typed(values, listeners, admin_listen))
    }

    /// Kafka's topic keys with the values that a topic without its own has.
    pub fn topic_defaults(&self) -> &TopicDefaults {
        &self.topic_defaults
    }

    /// Every key with its value and who set it, in the table's order.
    pub fn values(&self) -> &Values {
        &self.values
    }

    fn typed(values: Values, listeners: Vec<Listener>, admin_listen: Option<HostPort>) -> ServerConfig {
        let flush = match values.required("tidemill.flush").as_text() {
            "os" => FlushPolicy::Os,
            _ => FlushPolicy::Ack,
        };
        let auto_create_topics = if values.required("auto.create.topics.enable").as_bool() {
            AutoCreateTopics::Enabled
        } else {
            AutoCreateTopics::Disabled
        };
        ServerConfig {
            node_id: BrokerId::from_wire(int32(&values, "node.id")).expect("the table's least value is 0"),
            listeners,
            log_dirs: values.required("log.dirs").as_list().iter().map(PathBuf::from).collect(),
            admin_listen,
            flush,
            log_level: values.required("tidemill.log.level").as_text().to_owned(),
            num_partitions: int32(&values, "num.partitions"),
            auto_create_topics,
            retention_check_interval: duration(&values, "log.retention.check.interval.ms"),
            cleaner: cleaner_options(&values),
            net: net_options(&values),
            quotas: quota_options(&values),
            groups: group_options(&values),
            transactions: transaction_options(&values),
            processors: processor_options(&values),
            topic_defaults: TopicDefaults::of_broker(&values),
            values,
        }
    }

    /// The first of the log directories, which holds all that is not a partition.
    pub fn data_dir(&self) -> &Path {
        self.log_dirs.first().expect("a list has at least one item")
    }
}

impl Default for ServerConfig {
    /// The configuration of a server that nobody configured.
    fn default() -> ServerConfig {
        ServerConfig::load(&Sources::default()).expect("a test loads the defaults")
    }
}

fn listeners(values: &Values) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners = listener::parse_listeners(values.required("listeners").as_list())
        .map_err(|reason| values.bad("listeners", reason))?;
    if let Some(texts) = values.optional("advertised.listeners") {
        listener::advertise(&mut listeners, texts.as_list())
            .map_err(|reason| values.bad("advertised.listeners", reason))?;
    }
    let principals = "tidemill.listener.principals";
    listener::name_principals(&mut listeners, values.required(principals).as_list())
        .map_err(|reason| values.bad(principals, reason))?;
    Ok(listeners)
}

fn admin_listen(values: &Values) -> Result<Option<HostPort>, ConfigError> {
    let name = "tidemill.admin.listen";
    match values.required(name).as_text() {
        "off" => Ok(None),
        text => HostPort::parse(text).map(Some).map_err(|reason| values.bad(name, reason)),
    }
}

/// What no key can see alone.
fn check_together(values: &Values, listeners: &[Listener], admin: Option<&HostPort>) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let (least, most) = ("group.min.session.timeout.ms", "group.max.session.timeout.ms");
    if int(values, least) > int(values, most) {
        errors.push(
            values.bad(least, format!("{} is more than {most}, {}", int(values, least), int(values, most))),
        );
    }
    let clash = |admin: &HostPort| {
        listeners.iter().any(|listener| {
            admin.port != 0 && listener.bind.port == admin.port && {
                listener.bind.host == admin.host || listener.bind.is_wildcard() || admin.is_wildcard()
            }
        })
    };
    if let Some(admin) = admin.filter(|admin| clash(admin)) {
        errors
            .push(values.bad("tidemill.admin.listen", format!("{admin} is taken by a listener for clients")));
    }
    let directories = values.required("log.dirs").as_list();
    let mut twice = (1..)
        .zip(directories)
        .filter(|(next, one)| directories.iter().skip(*next).any(|other| other == *one));
    if let Some((_, directory)) = twice.next() {
        errors.push(values.bad("log.dirs", format!("{directory} is named twice")));
    }
    errors
}

fn cleaner_options(values: &Values) -> Option<CleanerOptions> {
    values.required("log.cleaner.enable").as_bool().then(|| CleanerOptions {
        backoff: duration(values, "log.cleaner.backoff.ms"),
        dedupe_buffer_bytes: size(values, "log.cleaner.dedupe.buffer.size"),
    })
}

fn net_options(values: &Values) -> NetOptions {
    NetOptions {
        request_bytes_max: size(values, "socket.request.max.bytes"),
        connections_max: size(values, "max.connections"),
        connection_idle_max: duration(values, "connections.max.idle.ms"),
        queued_requests_max: size(values, "queued.max.requests"),
        fetch_bytes_max: size(values, "fetch.max.bytes"),
        decompressed_bytes_max: size(values, "tidemill.decompressed.bytes.max"),
        fetch_sessions_max: size(values, "max.incremental.fetch.session.cache.slots"),
        request_partitions_max: int32(values, "max.request.partition.size.limit"),
    }
}

fn quota_options(values: &Values) -> QuotaOptions {
    let samples = |name: &str| u32::try_from(int(values, name)).unwrap_or(1);
    let seconds = |name: &str| Duration::from_secs(u64::try_from(int(values, name)).unwrap_or(1));
    QuotaOptions {
        window_samples: samples("quota.window.num"),
        window_sample: seconds("quota.window.size.seconds"),
        mutation_window_samples: samples("controller.quota.window.num"),
        mutation_window_sample: seconds("controller.quota.window.size.seconds"),
    }
}

fn group_options(values: &Values) -> GroupOptions {
    GroupOptions {
        offsets_topic_partitions: int32(values, "offsets.topic.num.partitions"),
        offsets_retention: millis(int(values, "offsets.retention.minutes").saturating_mul(60_000)),
        offsets_retention_check_interval: duration(values, "offsets.retention.check.interval.ms"),
        offset_metadata_bytes_max: size(values, "offset.metadata.max.bytes"),
        initial_rebalance_delay: duration(values, "group.initial.rebalance.delay.ms"),
        session_timeout_min: duration(values, "group.min.session.timeout.ms"),
        session_timeout_max: duration(values, "group.max.session.timeout.ms"),
        group_size_max: size(values, "group.max.size"),
        consumer: ConsumerGroupOptions {
            session_timeout: duration(values, "group.consumer.session.timeout.ms"),
            heartbeat_interval: duration(values, "group.consumer.heartbeat.interval.ms"),
            group_size_max: size(values, "group.consumer.max.size"),
            assignors: values.required("group.consumer.assignors").as_list().to_vec(),
            migration_policy: values.required("group.consumer.migration.policy").as_text().to_owned(),
        },
    }
}

fn transaction_options(values: &Values) -> TransactionOptions {
    TransactionOptions {
        state_log_partitions: int32(values, "transaction.state.log.num.partitions"),
        timeout_max: duration(values, "transaction.max.timeout.ms"),
        transactional_id_expiration: duration(values, "transactional.id.expiration.ms"),
        abort_timed_out_interval: duration(
            values,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        ),
        remove_expired_interval: duration(
            values,
            "transaction.remove.expired.transaction.cleanup.interval.ms",
        ),
        producer_id_expiration: duration(values, "producer.id.expiration.ms"),
    }
}

fn processor_options(values: &Values) -> ProcessorOptions {
    ProcessorOptions {
        module_bytes_max: size(values, "tidemill.module.bytes.max"),
        memory_bytes_max: u64::try_from(int(values, "tidemill.processor.memory.bytes")).unwrap_or(0),
        batch_time_max: duration(values, "tidemill.processor.batch.time.ms"),
        output_bytes_max: size(values, "tidemill.processor.output.bytes"),
        commit_interval: duration(values, "tidemill.processor.commit.interval.ms"),
        commit_records_max: size(values, "tidemill.processor.commit.records"),
        commit_bytes_max: size(values, "tidemill.processor.commit.bytes"),
        all_memory_bytes_max: u64::try_from(int(values, "tidemill.processors.memory.bytes")).unwrap_or(0),
        log_lines_per_second: u32::try_from(int(values, "tidemill.processor.log.lines.per.second"))
            .unwrap_or(0),
    }
}

fn int(values: &Values, name: &str) -> i64 {
    values.required(name).as_i64()
}

fn int32(values: &Values, name: &str) -> i32 {
    i32::try_from(int(values, name)).expect("the table bounds this key to 32 bits")
}

fn size(values: &Values, name: &str) -> usize {
    usize::try_from(int(values, name)).unwrap_or(0)
}

fn duration(values: &Values, name: &str) -> Duration {
    millis(int(values, name))
}

#[cfg(test)]
mod tests;
