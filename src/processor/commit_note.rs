//! What a task writes beside the offset that it commits: what its calls were, so that they can be made again bit for bit,
//! and how often the next record or timer has failed.
//!
//! It is the offset's metadata, text for whoever looks at the group. Losing it costs a count of tries and nothing else: an unknown or foreign text is no note. Pure.

use crate::ids::Offset;
use crate::plugin::{Timer, TimerDomain};
use serde::{Deserialize, Serialize};

/// So many calls fit into a note that Kafka's default `offset.metadata.max.bytes` (4096) takes.
pub const CALLS_MAX: usize = 128;

/// What is known of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommitNote {
    /// The offsets that it began at, one for each input; beside the offset of the first input alone.
    #[serde(rename = "from")]
    pub first_offsets: Vec<i64>,
    /// The clock that its calls had, in milliseconds since 1970.
    pub now: i64,
    /// Its calls, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallNote>,
    /// How often the record at the committed offset has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// A timer that is due and has failed; beside the offset of the first input alone.
    #[serde(rename = "timer", default, skip_serializing_if = "Option::is_none")]
    pub failed_timer: Option<FailedTimer>,
}

/// A timer that is due and has failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailedTimer {
    /// The name of its domain.
    domain: String,
    /// The time for which it was set.
    at: i64,
    /// The checksum of its id, which may be too long for a note.
    id_crc: u32,
    /// How often it has failed.
    pub failed: u32,
}

impl FailedTimer {
    /// A timer that has failed so often.
    pub fn new(domain: TimerDomain, timer: &Timer, failed: u32) -> FailedTimer {
        let id_crc = crc32c::crc32c(&timer.id);
        FailedTimer { domain: domain.name().to_owned(), at: timer.at, id_crc, failed }
    }

    /// Whether this is the timer.
    pub fn is(&self, domain: TimerDomain, timer: &Timer) -> bool {
        *self == FailedTimer::new(domain, timer, self.failed)
    }
}

/// One call that went well, or one record or timer that a policy has dealt with instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallNote {
    /// Records were processed: where they begin, counted from the transaction's begin; how many; the attempt that the
    /// module was told.
    #[serde(rename = "r")]
    Records(i64, u32, u32),
    /// The same of another input than the first: its number from 0, and then as above.
    #[serde(rename = "i")]
    RecordsOf(usize, i64, u32, u32),
    /// Timers of event time fired: how many, and the attempt.
    #[serde(rename = "e")]
    EventTimers(u32, u32),
    /// Timers of processing time fired.
    #[serde(rename = "p")]
    ProcessingTimers(u32, u32),
    /// A record, counted from the transaction's begin, is a dead letter or was skipped.
    #[serde(rename = "x")]
    GivenUp(i64),
    /// The same of another input than the first.
    #[serde(rename = "xi")]
    GivenUpOf(usize, i64),
    /// The first timer due, of event time, is a dead letter or was skipped.
    #[serde(rename = "ex")]
    EventTimerGivenUp,
    /// The first timer due, of processing time, is one.
    #[serde(rename = "px")]
    ProcessingTimerGivenUp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl CallNote {
    /// Records of an input that were processed: where they begin, how many, and the attempt.
    pub fn records(input: usize, at: i64, count: u32, attempt: u32) -> CallNote {
        match input {
            0 => CallNote::Records(at, count, attempt),
            input => CallNote::RecordsOf(input, at, count, attempt),
        }
    }

    /// A record of an input that was given up.
    pub fn given_up(input: usize, at: i64) -> CallNote {
        match input {
            0 => CallNote::GivenUp(at),
            input => CallNote::GivenUpOf(input, at),
        }
    }

    /// Timers that fired.
    pub fn timers(domain: TimerDomain, count: u32, attempt: u32) -> CallNote {
        match domain {
            TimerDomain::Event => CallNote::EventTimers(count, attempt),
            TimerDomain::Processing => CallNote::ProcessingTimers(count, attempt),
        }
    }

    /// A timer that was given up.
    pub fn timer_given_up(domain: TimerDomain) -> CallNote {
        match domain {
            TimerDomain::Event => CallNote::EventTimerGivenUp,
            TimerDomain::Processing => CallNote::ProcessingTimerGivenUp,
        }
    }
}

impl CommitNote {
    /// As it stands beside the offset; empty if there is nothing to say.
    pub fn to_text(&self) -> String {
        if self.calls.is_empty() && self.failed == 0 && self.failed_timer.is_none() {
            return String::new();
        }
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The note in a committed offset's metadata, if it is one.
    pub fn parse(text: &str) -> Option<CommitNote> {
        serde_json::from_str(text).ok()
    }
}

/// A committed offset with what was written beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The offset of the next record.
    pub offset: Offset,
    /// A `CommitNote`, if a task has committed it.
    pub metadata: String,
}

#[cfg(test)]
mod tests;
