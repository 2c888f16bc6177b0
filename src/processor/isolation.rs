//! Finds the record whose output the cluster refuses: too large for its topic, say.
//!
//! The refusal comes when a whole transaction's output is appended. So the records of that
//! transaction go again, one transaction each, until one is refused alone: that is the bad one, and
//! the error policy has it. Pure.

use crate::ids::Offset;
use std::collections::BTreeMap;

/// A unit whose output the cluster will never take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    /// Its first source record.
    pub first_record: Option<Offset>,
    /// The offset behind it.
    pub next_offset: Offset,
    /// How many source records it has.
    pub records_in: u64,
    /// What the cluster said.
    pub cause: String,
}

/// What is known about refused records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Isolation {
    until: Offset,
    refused: BTreeMap<Offset, String>,
}

impl Isolation {
    /// Takes note of a refusal; fails if a record is refused that was already given up, because
    /// then not even its dead letter fits.
    pub fn learn(&mut self, refusal: Refusal) -> Result<(), String> {
        self.until = self.until.max(refusal.next_offset);
        match refusal.first_record.filter(|_| refusal.records_in <= 1) {
            Some(record) if self.refused.insert(record, refusal.cause.clone()).is_some() => Err(format!(
                "not even the dead letter of the record at offset {record} fits: {}",
                refusal.cause
            )),
            Some(_) => Ok(()),
            None if refusal.records_in == 0 => Err(refusal.cause),
            None => Ok(()),
        }
    }

    /// Whether a record at this offset goes in a transaction of its own.
    pub fn holds(&self, offset: Offset) -> bool {
        offset < self.until
    }

    /// What the cluster said about this very record.
    pub fn refusal_of(&self, offset: Offset) -> Option<&str> {
        self.refused.get(&offset).map(String::as_str)
    }

    /// Forgets what is behind the position.
    pub fn forget_before(&mut self, position: Offset) {
        self.refused.retain(|offset, _| *offset >= position);
    }
}
