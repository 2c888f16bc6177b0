//! Rows and their order; and what tests of the room do to a cache behind its back.

use super::*;
use proptest::prelude::*;

impl Cache {
    /// Brings what is in memory into files.
    pub(in crate::state) fn flush(&self) {
        self.rows.rotate_memtable_and_wait().unwrap();
    }

    /// Says that the rows are of another format.
    pub(in crate::state) fn set_format(&self, format: u8) {
        self.rows.insert(row(Slot::OWN, OWN_FORMAT, &[]), [format]).unwrap();
    }

    /// Puts what is no value under a task's key.
    pub(in crate::state) fn spoil(&self, slot: Slot, key: &[u8]) {
        self.rows.insert(row(slot, ENTRY, key), *b"\x09\x00v").unwrap();
    }
}

proptest! {
    #[test]
    fn rows_of_a_schedule_are_ordered_as_their_times(times in any::<[i64; 2]>()) {
        let rows = times.map(|time| due_row(Slot(1), Schedule::Expiry, time, b"key"));
        prop_assert_eq!(rows[0].cmp(&rows[1]), times[0].cmp(&times[1]));
        prop_assert_eq!(unordered(ordered(times[0])), times[0]);
    }
}

#[test]
fn a_failed_disk_is_no_damage_and_a_file_that_makes_no_sense_is() {
    use std::io::{Error, ErrorKind};
    for (kind, of_the_disk) in [
        (ErrorKind::StorageFull, true),
        (ErrorKind::PermissionDenied, true),
        (ErrorKind::Other, true),
        (ErrorKind::UnexpectedEof, false),
        (ErrorKind::InvalidData, false),
        (ErrorKind::NotFound, false),
    ] {
        assert_eq!(is_of_the_disk(&fjall::Error::Io(Error::from(kind))), of_the_disk, "{kind}");
    }
    assert!(is_of_the_disk(&fjall::Error::Poisoned));
    assert!(!is_of_the_disk(&fjall::Error::InvalidTrailer));
}
