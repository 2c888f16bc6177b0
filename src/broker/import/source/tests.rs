use super::*;

fn partition(root: &Path, name: &str) -> PathBuf {
    let directory = root.join(name);
    fs::create_dir_all(&directory).expect("made");
    fs::write(directory.join("00000000000000000000.log"), b"").expect("written");
    directory
}

fn kafka_directory() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join(META_PROPERTIES), "version=1\n").expect("written");
    root
}

fn survey(path: &Path) -> Result<Sources, ImportError> {
    Sources::survey(&[path.to_owned()])
}

#[test]
fn a_log_directory_gives_its_topics_whole() {
    let root = kafka_directory();
    for name in ["orders-0", "orders-1", "a-b-0", "orders-2-delete", "gone.0123-delete"] {
        partition(root.path(), name);
    }
    fs::write(root.path().join(LOG_START_CHECKPOINT), "0\n1\norders 1 42\n").expect("written");
    let sources = survey(root.path()).expect("a log directory");
    let found: Vec<_> = sources
        .topics
        .iter()
        .flat_map(|(name, topic)| {
            topic.partitions.iter().map(move |(index, p)| (name.as_str(), index.value(), p.log_start_offset))
        })
        .collect();
    assert_eq!(found, [("a-b", 0, None), ("orders", 0, None), ("orders", 1, Offset::from_wire(42))]);
    assert_eq!(sources.notes.len(), 2, "{:?}", sources.notes);
    assert!(sources.is_whole);
}

#[test]
fn a_partition_alone_knows_what_stands_beside_it() {
    let root = kafka_directory();
    let directory = partition(root.path(), "orders-0");
    fs::write(root.path().join(LOG_START_CHECKPOINT), "0\n1\norders 0 7\n").expect("written");
    let id = "topic_id: BwcHBwcHBwcHBwcHBwcHBw";
    fs::write(directory.join(PARTITION_METADATA), format!("version: 0\n{id}\n")).expect("written");
    let sources = survey(&directory).expect("a partition");
    let topic = &sources.topics[&TopicName::new("orders")];
    assert_eq!(topic.id, TopicId::from_bytes([7; 16]));
    assert_eq!(topic.partitions.values().next().and_then(|p| p.log_start_offset), Offset::from_wire(7));
    assert!(!sources.is_whole);
}

#[test]
fn what_cannot_be_imported_is_refused_by_name() {
    let root = kafka_directory();
    let refused = |path: &Path| survey(path).expect_err("refused").to_string();
    assert!(refused(root.path()).contains("holds no partitions"));
    assert!(refused(&root.path().join("nowhere")).contains("nowhere"));
    let odd = partition(root.path(), "orders-01");
    assert!(refused(&odd).contains("not called TOPIC-NUMBER"));
    let second = partition(root.path(), "orders-1");
    assert!(refused(&second).contains("partition orders-0 is missing"));
    let other = kafka_directory();
    let (here, there) = (partition(root.path(), "twice-0"), partition(other.path(), "twice-0"));
    let twice = Sources::survey(&[here, there]).expect_err("refused").to_string();
    assert!(twice.contains("twice-0 is there twice"), "{twice}");
    let bad_id = partition(root.path(), "no-id-0");
    fs::write(bad_id.join(PARTITION_METADATA), "version: 0\ntopic_id: ?\n").expect("written");
    assert!(refused(&bad_id).contains("it names no topic id"));
    let swapped = partition(root.path(), "swapped-0");
    fs::write(swapped.join("00000000000000000000.log.swap"), b"").expect("written");
    assert!(refused(&swapped).contains("in the middle of a compaction"));
}
