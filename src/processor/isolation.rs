//! Finds the record whose output the cluster refuses: too large for its topic, say.
//!
//! The refusal comes when a whole transaction's output is appended. So the records of that
//! transaction, and the timers that fired in it, go again, one transaction each, until one is refused alone: that
//! is the bad one, and the error policy has it. Pure.

use super::unit::Progress;
use crate::ids::Offset;
use crate::plugin::{Timer, TimerDomain};
use std::collections::BTreeMap;

/// A unit whose output the cluster will never take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    /// How far it came in each input.
    pub progress: Vec<Progress>,
    /// How many source records it has.
    pub records_in: u64,
    /// How many timers it has.
    pub timers: u64,
    /// The first of them.
    pub first_timer: Option<(TimerDomain, Timer)>,
    /// What the cluster said.
    pub cause: String,
}

/// What is known about refused records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Isolation {
    /// By number of the input.
    until: BTreeMap<usize, Offset>,
    refused: BTreeMap<(usize, Offset), String>,
    /// So many of a session's first timers go alone.
    timers_alone: u64,
    refused_timers: Vec<(TimerDomain, Timer, String)>,
}

impl Isolation {
    /// Takes note of a refusal; fails if a record is refused that was already given up, because
    /// then not even its dead letter fits.
    pub fn learn(&mut self, refusal: Refusal) -> Result<(), String> {
        self.timers_alone = self.timers_alone.max(refusal.timers);
        for (input, progress) in refusal.progress.iter().enumerate() {
            if progress.first_record.is_some() {
                let until = self.until.entry(input).or_insert(Offset::ZERO);
                *until = progress.next_offset.max(*until);
            }
        }
        if let (Some((domain, timer)), 1, 0) = (&refusal.first_timer, refusal.timers, refusal.records_in) {
            if self.refusal_of_timer(*domain, timer).is_some() {
                return Err(format!("not even a timer's dead letter fits: {}", refusal.cause));
            }
            self.refused_timers.push((*domain, timer.clone(), refusal.cause));
            return Ok(());
        }
        let mut records = refusal.progress.iter().enumerate();
        let record = records.find_map(|(input, progress)| Some((input, progress.first_record?)));
        match record.filter(|_| refusal.records_in <= 1 && refusal.timers == 0) {
            Some(record) if self.refused.insert(record, refusal.cause.clone()).is_some() => Err(format!(
                "not even the dead letter of the record at offset {} fits: {}",
                record.1, refusal.cause
            )),
            Some(_) => Ok(()),
            None if refusal.records_in + refusal.timers == 0 => Err(refusal.cause),
            None => Ok(()),
        }
    }

    /// Whether a record at this offset of an input goes in a transaction of its own.
    pub fn holds(&self, input: usize, offset: Offset) -> bool {
        self.until.get(&input).is_some_and(|until| offset < *until)
    }

    /// What the cluster said about this very record of an input.
    pub fn refusal_of(&self, input: usize, offset: Offset) -> Option<&str> {
        self.refused.get(&(input, offset)).map(String::as_str)
    }

    /// Whether a timer goes in a transaction of its own, if so many have fired since the task began again.
    pub fn holds_timers(&self, fired: u64) -> bool {
        fired < self.timers_alone
    }

    /// What the cluster said about this very timer.
    pub fn refusal_of_timer(&self, domain: TimerDomain, timer: &Timer) -> Option<&str> {
        let mut refused = self.refused_timers.iter();
        let found = refused.find(|(in_domain, refused, _)| (*in_domain, refused) == (domain, timer))?;
        Some(&found.2)
    }

    /// Forgets what is behind the position of an input.
    pub fn forget_before(&mut self, input: usize, position: Offset) {
        self.refused.retain(|(of, offset), _| *of != input || *offset >= position);
    }
}
