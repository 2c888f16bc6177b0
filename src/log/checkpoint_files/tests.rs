//! The text of checkpoint files, there and back, and what is refused.

use super::*;
use crate::log::tests::TestDisk;

fn partition(topic: &str, index: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic), PartitionIndex::from_wire(index).unwrap())
}

#[test]
fn offsets_are_kept_in_kafkas_text() {
    let disk = TestDisk::new();
    let offsets = BTreeMap::from([
        (partition("a", 0), Offset::from_wire(12).unwrap()),
        (partition("b.c-d", 3), Offset::ZERO),
    ]);
    write_offsets(&disk.disk, LOG_START_CHECKPOINT, &offsets).unwrap();
    assert_eq!(disk.disk.read(LOG_START_CHECKPOINT).unwrap(), b"0\n2\na 0 12\nb.c-d 3 0\n");
    assert_eq!(read_offsets(&disk.disk, LOG_START_CHECKPOINT).unwrap(), offsets);
}

#[test]
fn a_missing_checkpoint_is_empty() {
    let disk = TestDisk::new();
    assert!(read_offsets(&disk.disk, RECOVERY_POINT_CHECKPOINT).unwrap().is_empty());
    assert!(read_epochs(&disk.disk, "leader-epoch-checkpoint").unwrap().is_none());
}

#[test]
fn a_checkpoint_that_is_not_whole_is_refused() {
    let disk = TestDisk::new();
    for text in
        ["", "1\n0\n", "0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n", "0\n1\na 0 1 2\n", "0\n-1\n"]
    {
        disk.disk.write_atomically("x", text.as_bytes()).unwrap();
        assert!(read_offsets(&disk.disk, "x").is_err(), "{text:?}");
    }
    disk.disk.write_atomically("x", &[b'0', b'\n', 0xff]).unwrap();
    assert!(read_offsets(&disk.disk, "x").is_err());
}
