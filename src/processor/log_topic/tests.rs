//! Lines on their way to the topic and back, on a cluster in memory.

use super::*;
use crate::clock::Timestamp;
use crate::processor::memory_backend::MemoryBackend;
use crate::processor::tests::within;

const LIMITS: LogLimits = LogLimits { lines_max: 3, lines_per_second_max: 100_000 };

async fn open(cluster: &MemoryBackend) -> (PluginLogs, LogWriter) {
    let backend = Arc::new(Backend::Memory(cluster.connect()));
    let clock = Clock::manual(Timestamp::from_ms(7));
    PluginLogs::open(backend, &Registry::volatile(), LIMITS, clock).await
}

/// Writes all that was said so far.
async fn written(writer: LogWriter) {
    within(writer.run(watch::channel(true).1)).await;
}

fn messages(ring: &LogRing) -> Vec<String> {
    ring.page(0).lines.into_iter().map(|line| line.message).collect()
}

#[tokio::test]
async fn lines_are_in_the_topic_as_json_and_back_after_a_restart() {
    let cluster = MemoryBackend::new();
    let (logs, writer) = open(&cluster).await;
    let ring = logs.ring(LogKind::Processor, "__ingress.t");
    for text in ["one", "two \"quoted\"\n", "three", "four"] {
        ring.push(Timestamp::from_ms(5), "info", "in-0", text);
    }
    logs.ring(LogKind::Processor, "gone").push(Timestamp::from_ms(6), "error", "in-0", "of no processor");
    let seen = ring.page(0).next;
    written(writer).await;
    let kept = cluster.with(|cluster| cluster.committed_values(PLUGIN_LOGS_TOPIC));
    assert_eq!(kept.len(), 5);
    let expected = r#"{"kind":"processor","name":"__ingress.t","sequence":1,"time_ms":5,"level":"info","task":"in-0","message":"one"}"#;
    assert_eq!(kept[0], expected);
    let (logs, _writer) = open(&cluster).await;
    let ring = logs.ring(LogKind::Processor, "__ingress.t");
    assert_eq!(messages(&ring), ["two \"quoted\"\n", "three", "four"]);
    assert!(logs.ring(LogKind::Processor, "gone").page(0).lines.is_empty());
    // Who has read to the end before the restart gets what comes after it, and nothing twice.
    ring.push(Timestamp::from_ms(9), "info", "in-0", "five");
    let page = ring.page(seen);
    assert_eq!((page.lines.len(), page.lines[0].message.as_str(), page.forgotten), (1, "five", 0));
}

#[tokio::test]
async fn a_full_queue_keeps_nobody_waiting_and_what_is_lost_is_said() {
    let cluster = MemoryBackend::new();
    let (logs, writer) = open(&cluster).await;
    let ring = logs.ring(LogKind::Interceptor, "i");
    for _ in 0..QUEUE_LINES + 7 {
        ring.push(Timestamp::from_ms(5), "info", "i", "again");
    }
    written(writer).await;
    let kept = cluster.with(|cluster| cluster.committed_values(PLUGIN_LOGS_TOPIC));
    assert_eq!(kept.len(), QUEUE_LINES + 1);
    let said = kept.iter().find(|line| line.contains(r#""kind":"broker""#)).unwrap();
    assert!(said.contains("7 lines were not kept"), "{said}");
}

#[tokio::test]
async fn long_lines_go_in_several_batches() {
    let entry = LogEntry {
        sequence: 1,
        time_ms: 1,
        level: "info".into(),
        task: "in-0".into(),
        message: "\u{1}".repeat(4 << 10),
    };
    let line = KeptLine { kind: LogKind::Processor, name: "p".into(), entry };
    let batches = batches_of(&vec![line; LINES_AT_ONCE]);
    assert!(batches.len() > 1);
    assert!(batches.iter().all(|batch| batch.bytes().len() < 1 << 20));
    assert_eq!(batches.iter().flat_map(lines_of).count(), LINES_AT_ONCE);
}
