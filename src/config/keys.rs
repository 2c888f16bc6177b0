//! The one table of the server's keys: name, default, range and explanation.
//!
//! Everything else reads it: the loader, the range checks, `print-config`, DescribeConfigs. Kafka's
//! keys keep Kafka's names and, unless the explanation says otherwise, Kafka's defaults; our own
//! start with `tidemill.`.

use super::kind::Kind;

/// One key of the server's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, as Kafka spells it.
    pub name: &'static str,
    /// Other names for the same key.
    pub aliases: &'static [&'static str],
    /// What its value may be.
    pub kind: Kind,
    /// The text of its default; `None` if it is unset unless somebody sets it.
    pub default: Option<&'static str>,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
}

impl Key {
    /// The environment variable that sets it: `TIDEMILL_` and the name in capitals.
    pub fn environment_variable(&self) -> String {
        environment_variable(self.name)
    }
}

/// The environment variable of a key's name or alias.
pub(super) fn environment_variable(name: &str) -> String {
    let own = name.strip_prefix("tidemill.").unwrap_or(name);
    format!("TIDEMILL_{}", own.to_ascii_uppercase().replace('.', "_"))
}

/// The key of this name or alias.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.aliases.contains(&name))
}

const fn key(name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, aliases: &[], kind, default: Some(default), doc }
}

const fn unset(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, aliases: &[], kind, default: None, doc }
}

pub(super) const COMPRESSION_TYPES: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const CLEANUP_POLICIES: &[&str] = &["delete", "compact"];
pub(super) const ASSIGNORS: &[&str] = &["uniform", "range"];
pub(super) const MIGRATION_POLICIES: &[&str] = &["bidirectional", "upgrade", "downgrade", "disabled"];
pub(super) const RATIO: Kind = Kind::Float { min: 0.0, max: 1.0 };

/// Every key, in the order in which `print-config` shows them.
pub const KEYS: &[Key] = &[
    // Where the server listens and keeps its data.
    key("node.id", "1", Kind::int(0), "The id under which this broker is known to clients."),
    key(
        "listeners",
        "PLAINTEXT://:9092",
        Kind::List,
        "Where to listen for Kafka clients: PLAINTEXT://host:port or host:port; no host means all interfaces.",
    ),
    unset(
        "advertised.listeners",
        Kind::List,
        "The addresses that clients are told to connect to. Unset, a listener on all interfaces advertises \
         to each client the address which that client connected to, and another one its own address.",
    ),
    key(
        "tidemill.listener.principals",
        "User:ANONYMOUS",
        Kind::List,
        "The principal of clients that have not said who they are: one for all listeners, or one for each in \
         their order, as Type:name. Interceptors are attached by it.",
    ),
    Key {
        name: "log.dirs",
        aliases: &["tidemill.data.dir", "log.dir"],
        kind: Kind::List,
        default: Some("./tidemill-data"),
        doc: "The directories that hold all data, separated by commas. The first has the journal, \
              modules and state; partitions go where the fewest are. Also known as tidemill.data.dir.",
    },
    key(
        "tidemill.admin.listen",
        "127.0.0.1:9644",
        Kind::Text,
        "Where the admin API, the metrics and the health checks listen (HTTP), or \"off\". It takes plugin \
         uploads without a password, so it stays on the loopback interface unless told otherwise.",
    ),
    key(
        "tidemill.flush",
        "ack",
        Kind::Choice(&["ack", "os"]),
        "When a write counts as done: \"ack\" after it is on stable storage, \"os\" once it is in the \
         operating system's page cache (Kafka's own way: a power cut can lose it).",
    ),
    key(
        "tidemill.log.level",
        "info",
        Kind::Text,
        "How much the server logs: error, warn, info, debug, trace, or a filter such as info,tidemill::log=debug.",
    ),
    // Limits of the network.
    key(
        "socket.request.max.bytes",
        "104857600",
        Kind::int(1024),
        "The largest request that is read; a larger one ends its connection.",
    ),
    key(
        "max.connections",
        "65536",
        Kind::int(1),
        "How many client connections may be open at once. Kafka sets no bound.",
    ),
    key(
        "connections.max.idle.ms",
        "600000",
        Kind::long(1000),
        "A connection without a request for so long is closed, and so is one that takes nothing of its answers.",
    ),
    key(
        "queued.max.requests",
        "500",
        Kind::int(1),
        "How many requests may be at work at once before the server stops reading from its sockets.",
    ),
    key(
        "fetch.max.bytes",
        "57671680",
        Kind::int(1024),
        "The most bytes that one fetch is answered with, whatever the client asks for.",
    ),
    key(
        "tidemill.decompressed.bytes.max",
        "134217728",
        Kind::int(1024),
        "The most bytes that one record batch may unpack to.",
    ),
    key(
        "max.request.partition.size.limit",
        "2000",
        Kind::int(1),
        "The most partitions that one page of DescribeTopicPartitions names, whatever the client asks for.",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        "1000",
        Kind::int(0),
        "How many fetch sessions are kept, by which consumers of many partitions ask only for what changes.",
    ),
    key("quota.window.num", "11", Kind::int(1), "How many samples a client's rate is taken over."),
    key("quota.window.size.seconds", "1", Kind::int(1), "How long each of them is."),
    key(
        "controller.quota.window.num",
        "11",
        Kind::int(1),
        "How many samples of controller_mutation_rate a client may use up at once.",
    ),
    key("controller.quota.window.size.seconds", "1", Kind::int(1), "How long each of them is."),
    // Topics.
    key("num.partitions", "1", Kind::int(1), "Partitions of a topic whose creator names no number."),
    key(
        "auto.create.topics.enable",
        "true",
        Kind::Bool,
        "Whether a client that asks for an unknown topic thereby creates it.",
    ),
    unset(
        "log.retention.ms",
        Kind::long(-1),
        "How long records are kept, -1 for ever; wins over minutes and hours.",
    ),
    unset("log.retention.minutes", Kind::int(-1), "How long records are kept; wins over hours."),
    key("log.retention.hours", "168", Kind::int(-1), "How long records are kept, -1 for ever."),
    key("log.retention.bytes", "-1", Kind::long(-1), "How many bytes each partition keeps, -1 for no bound."),
    key("log.retention.check.interval.ms", "300000", Kind::long(1), "How often old segments are looked for."),
    key("log.segment.bytes", "1073741824", Kind::int(14), "The largest size of one segment file."),
    unset("log.roll.ms", Kind::long(1), "The longest time until a new segment is begun; wins over hours."),
    key("log.roll.hours", "168", Kind::int(1), "The longest time until a new segment is begun."),
    unset("log.roll.jitter.ms", Kind::long(0), "A random part taken off log.roll.ms; wins over hours."),
    key("log.roll.jitter.hours", "0", Kind::int(0), "A random part taken off log.roll.hours."),
    key(
        "log.index.interval.bytes",
        "4096",
        Kind::int(0),
        "About how many bytes lie between two index entries.",
    ),
    key("log.index.size.max.bytes", "10485760", Kind::int(4), "The largest size of one index file."),
    key(
        "message.max.bytes",
        "1048588",
        Kind::int(0),
        "The largest record batch that is taken, after compression.",
    ),
    key(
        "log.message.timestamp.type",
        "CreateTime",
        Kind::Choice(TIMESTAMP_TYPES),
        "Whether a record's timestamp is its producer's or the time of its append.",
    ),
    key(
        "log.message.timestamp.before.max.ms",
        "9223372036854775807",
        Kind::long(0),
        "How far a record's timestamp may lie in the past.",
    ),
    key(
        "log.message.timestamp.after.max.ms",
        "3600000",
        Kind::long(0),
        "How far a record's timestamp may lie in the future.",
    ),
    key(
        "log.cleanup.policy",
        "delete",
        Kind::Choices(CLEANUP_POLICIES),
        "What happens to old records: delete by age and size, compact by key, or both.",
    ),
    key(
        "compression.type",
        "producer",
        Kind::Choice(COMPRESSION_TYPES),
        "How batches are stored; \"producer\" keeps them as they came.",
    ),
    key(
        "min.insync.replicas",
        "1",
        Kind::int(1),
        "Replicas that must have a write before acks=all is answered.",
    ),
    key(
        "unclean.leader.election.enable",
        "false",
        Kind::Bool,
        "Whether a replica that lags may lead. Without effect on a single node.",
    ),
    key("log.segment.delete.delay.ms", "60000", Kind::long(0), "How long a deleted segment's file stays."),
    key(
        "log.flush.interval.messages",
        "9223372036854775807",
        Kind::long(1),
        "See tidemill.flush, which decides.",
    ),
    unset("log.flush.interval.ms", Kind::long(0), "See tidemill.flush, which decides."),
    key("log.preallocate", "false", Kind::Bool, "Whether segment files get their full size when created."),
    key(
        "log.cleaner.enable",
        "true",
        Kind::Bool,
        "Whether topics with cleanup.policy=compact are compacted.",
    ),
    key(
        "log.cleaner.backoff.ms",
        "15000",
        Kind::long(0),
        "How long the cleaner rests when no log needs compaction.",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        "134217728",
        Kind::long(1 << 20),
        "The most bytes that the cleaner may use for the keys of one pass; a larger log takes several passes.",
    ),
    key(
        "log.cleaner.delete.retention.ms",
        "86400000",
        Kind::long(0),
        "How long a compacted topic keeps deletions.",
    ),
    key(
        "log.cleaner.min.cleanable.ratio",
        "0.5",
        RATIO,
        "The dirty share of a log from which it is compacted.",
    ),
    key(
        "log.cleaner.min.compaction.lag.ms",
        "0",
        Kind::long(0),
        "How long a record stays uncompacted at least.",
    ),
    key(
        "log.cleaner.max.compaction.lag.ms",
        "9223372036854775807",
        Kind::long(1),
        "How long a record stays uncompacted at most.",
    ),
    // Groups and offsets.
    key(
        "offsets.topic.num.partitions",
        "50",
        Kind::int(1),
        "Partitions of __consumer_offsets; fixed once created.",
    ),
    key(
        "offsets.retention.minutes",
        "10080",
        Kind::int(1),
        "How long the offsets of a group without members are kept.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        "600000",
        Kind::long(1),
        "How often expired offsets are looked for.",
    ),
    key(
        "offset.metadata.max.bytes",
        "4096",
        Kind::int(0),
        "The longest text that may go with a committed offset.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        "0",
        Kind::int(0),
        "How long a new group waits for more members before its first assignment. 0 as in Kafka's quickstart \
         file, so that a first consumer starts at once; Kafka's built-in default is 3000, which spares \
         rebalances when many members start together.",
    ),
    key(
        "group.min.session.timeout.ms",
        "6000",
        Kind::int(1),
        "The shortest session timeout a member may ask for.",
    ),
    key(
        "group.max.session.timeout.ms",
        "1800000",
        Kind::int(1),
        "The longest session timeout a member may ask for.",
    ),
    key("group.max.size", "2147483647", Kind::int(1), "The most members of one group."),
    key(
        "group.consumer.session.timeout.ms",
        "45000",
        Kind::int(1),
        "How long a member of a group of the new protocol (KIP-848) may be silent before it is out.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        "5000",
        Kind::int(1),
        "How often members of groups of the new protocol are told to send heartbeats.",
    ),
    key(
        "group.consumer.max.size",
        "2147483647",
        Kind::int(1),
        "The most members of one group of the new protocol.",
    ),
    key(
        "group.consumer.assignors",
        "uniform,range",
        Kind::Choices(ASSIGNORS),
        "The assignors that members of groups of the new protocol may ask for; the first is for those that do not.",
    ),
    key(
        "group.consumer.migration.policy",
        "bidirectional",
        Kind::Choice(MIGRATION_POLICIES),
        "Whether a group with members may change from the classic protocol to the new one (upgrade), and back \
         when nobody in it speaks the new one (downgrade). Empty groups always may.",
    ),
    // Transactions and producers.
    key(
        "transaction.state.log.num.partitions",
        "50",
        Kind::int(1),
        "Partitions of __transaction_state; fixed once created.",
    ),
    key(
        "transaction.max.timeout.ms",
        "900000",
        Kind::int(1),
        "The longest transaction timeout a producer may ask for.",
    ),
    key(
        "transactional.id.expiration.ms",
        "604800000",
        Kind::int(1),
        "A transactional id unused for so long is forgotten.",
    ),
    key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "10000",
        Kind::int(1),
        "How often transactions beyond their timeout are looked for.",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "3600000",
        Kind::int(1),
        "How often expired transactional ids are looked for.",
    ),
    key(
        "producer.id.expiration.ms",
        "86400000",
        Kind::int(1),
        "How long a partition remembers an idle producer's sequence numbers.",
    ),
    // Plugins and processors.
    key(
        "tidemill.module.bytes.max",
        "67108864",
        Kind::int(1024),
        "The largest WebAssembly module that is taken.",
    ),
    key(
        "tidemill.processor.memory.bytes",
        "67108864",
        Kind::Int { min: 65536, max: 4_294_967_296, width: super::kind::Width::Long },
        "Memory of one processor instance, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processors.memory.bytes",
        "0",
        Kind::Int { min: 0, max: i64::MAX, width: super::kind::Width::Long },
        "Memory of all processors' instances together, beyond which no more are deployed; 0 is three quarters of the machine's.",
    ),
    key(
        "tidemill.processor.batch.time.ms",
        "2000",
        Kind::int_within(1, 30_000),
        "The longest time that a processor may take over one batch, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processor.output.bytes",
        "16777216",
        Kind::int_within(1024, 256 << 20),
        "The most bytes that a processor may put out for one batch, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processor.commit.interval.ms",
        "100",
        Kind::int_within(1, 60_000),
        "The longest time a processor's transaction stays open, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processor.commit.records",
        "10000",
        Kind::int_within(1, 10_000_000),
        "The most input records in one transaction of a processor, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processor.commit.bytes",
        "8388608",
        Kind::int_within(1024, 256 << 20),
        "The most input bytes in one transaction of a processor, unless its deployment says otherwise.",
    ),
    key(
        "tidemill.processor.log.lines.per.second",
        "100",
        Kind::int(0),
        "How many log lines per second are kept of one deployment, unless it says otherwise; more are counted and dropped.",
    ),
];
