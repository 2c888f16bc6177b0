//! Compaction under real clients: whatever the cleaner does meanwhile, and wherever the server is killed,
//! a reader finds each key's last committed value.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::fixture::TestServer;
use crate::fixture::librdkafka::{
    PATIENCE, Producer, TestConsumer, create, flush, producer, read_all, send_record, transactional_producer,
};
use crate::fixture::wire::create_topic;

/// The cleaner and the roll of quiet segments come every moment.
const SETTINGS: &[(&str, &str)] =
    &[("log.cleaner.backoff.ms", "20"), ("log.retention.check.interval.ms", "100")];
const TOPIC: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16384"),
    ("segment.ms", "150"),
    ("min.cleanable.dirty.ratio", "0.0"),
    ("delete.retention.ms", "300"),
];
const KEYS: usize = 23;

/// All that was written, in the order of its offsets.
#[derive(Default)]
struct Written {
    /// Key, value, and the number of its transaction.
    records: Vec<(String, Option<String>, Option<usize>)>,
    aborted: Vec<usize>,
    random: usize,
}

impl Written {
    /// Sends some records and waits for them, so that the order of writing is that of the log.
    fn write(&mut self, producer: &Producer, count: usize, transaction: Option<usize>) {
        for _ in 0..count {
            // A generator that is good enough to mix keys.
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = format!("key-{}", (self.random >> 33) % KEYS);
            let is_tombstone = (self.random >> 20).is_multiple_of(7);
            let value = (!is_tombstone).then(|| format!("{:0100}", self.records.len()));
            let record = BaseRecord::<str, str>::to("t").partition(0).key(&key);
            match &value {
                Some(value) => send_record(producer, record.payload(value)),
                None => send_record(producer, record),
            }
            self.records.push((key, value, transaction));
        }
        let failed: Vec<_> = flush(producer).into_iter().filter_map(Result::err).collect();
        assert_eq!(failed, []);
    }

    fn last_values(&self) -> BTreeMap<String, String> {
        let is_aborted =
            |transaction: &Option<usize>| transaction.is_some_and(|of| self.aborted.contains(&of));
        let committed = self.records.iter().filter(|(_, _, transaction)| !is_aborted(transaction));
        let last: BTreeMap<_, _> = committed.map(|(key, value, _)| (key.clone(), value.clone())).collect();
        last.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// A round of work by two producers whose batches mix; every third transaction is aborted.
fn work(written: &mut Written, idempotent: &Producer, transactional: &Producer, round: usize) {
    transactional.begin_transaction().unwrap();
    written.write(transactional, 4, Some(round));
    written.write(idempotent, 9, None);
    written.write(transactional, 5, Some(round));
    if round % 3 == 2 {
        transactional.abort_transaction(PATIENCE).unwrap();
        written.aborted.push(round);
    } else {
        transactional.commit_transaction(PATIENCE).unwrap();
    }
}

fn check(server: &TestServer, written: &Written) -> usize {
    let read = read_all(server, "t", 1, "read_committed");
    assert!(read.is_sorted_by(|a, b| a.offset() < b.offset()));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pair = |message: &OwnedMessage| (text(message.key().unwrap()), message.payload().map(text));
    let last: BTreeMap<String, Option<String>> = read.iter().map(pair).collect();
    let last: BTreeMap<String, String> =
        last.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert_eq!(last, written.last_values());
    read.len()
}

/// Waits until all that is there is closed and compacted.
fn wait_until_clean(server: &TestServer) {
    let consumer: TestConsumer = create(server, &[("group.id", "looks")]);
    let (_, end) = consumer.fetch_watermarks("t", 0, PATIENCE).unwrap();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let path = server.data_dir().join("cleaner-offset-checkpoint");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let cleaned = text.lines().find_map(|line| line.strip_prefix("t 0 ")?.parse::<i64>().ok());
        if cleaned.is_some_and(|cleaned| cleaned >= end) {
            return;
        }
        assert!(Instant::now() < give_up, "compacted to {cleaned:?} of {end}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn readers_find_each_keys_last_committed_value_through_passes_and_kills() {
    let mut server = TestServer::child(SETTINGS);
    create_topic(&mut server.wire(), "t", 1, TOPIC);
    let mut written = Written { random: 42, ..Written::default() };
    let mut round = 0;
    for life in 0..3 {
        let idempotent = producer(&server, &[("enable.idempotence", "true"), ("linger.ms", "1")]);
        let codec = ["none", "lz4", "zstd"][life];
        let transactional = transactional_producer(&server, "tx", &[("compression.type", codec)]);
        for _ in 0..2 {
            for _ in 0..12 {
                work(&mut written, &idempotent, &transactional, round);
                round += 1;
            }
            // The same producers go on after their batches were compacted.
            wait_until_clean(&server);
            let left = check(&server, &written);
            assert!(left <= 3 * KEYS, "{left} of {} records are left", written.records.len());
        }
        // Killed at work, with whatever the cleaner is at just then.
        work(&mut written, &idempotent, &transactional, round);
        round += 1;
        server.kill();
        check(&server, &written);
    }
    wait_until_clean(&server);
    check(&server, &written);
    let uncommitted = read_all(&server, "t", 1, "read_uncommitted");
    assert!(uncommitted.len() <= 3 * KEYS, "{} are left, aborted ones too", uncommitted.len());
    server.restart();
    check(&server, &written);
}

/// Each full segment leaves a header that tells its end, and clients get runs of those: of producers without
/// an id here, as old ones are.
#[test]
fn a_log_of_little_but_emptied_batches_is_read_to_its_end() {
    let server = TestServer::with(SETTINGS);
    create_topic(&mut server.wire(), "t", 1, TOPIC);
    let plain = producer(&server, &[("linger.ms", "0"), ("batch.num.messages", "1")]);
    let mut written = Written { random: 7, ..Written::default() };
    for _ in 0..3 {
        written.write(&plain, 600, None);
        wait_until_clean(&server);
        let left = check(&server, &written);
        assert!(left <= 3 * KEYS, "{left} of {} records are left", written.records.len());
    }
}
