//! How a call to a guest goes wrong, as a value for the processor's error policy.
//!
//! A guest can never stop the broker: everything it does wrong ends up here.

use std::time::Duration;

use crate::plugin::StateError;

/// What the guest says about a record that it could not process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultReason {
    /// The record itself is bad and will never work: a case for the dead-letter topic.
    Reject,
    /// It may work later.
    Retry,
    /// The plugin cannot go on at all, whatever the record.
    Fatal,
}

/// A processing call that gave no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessFault {
    /// The guest named a record that it could not process. The instance lives on.
    #[error("record {index} of the batch: {message}")]
    Record {
        /// The record's index within the whole batch, over all its chunks.
        index: u32,
        /// What the guest says about it.
        reason: FaultReason,
        /// The guest's words.
        message: String,
    },
    /// The guest trapped: a panic, `unreachable`, a division by zero, an access out of bounds.
    #[error("the plugin trapped: {message}{}", in_function(.function.as_deref()))]
    Trap {
        /// The engine's reason, and the panic's message if the guest reported one.
        message: String,
        /// The innermost named function.
        function: Option<String>,
    },
    /// The guest recursed too deeply.
    #[error("the plugin used up its stack{}", in_function(.function.as_deref()))]
    StackOverflow {
        /// The innermost named function.
        function: Option<String>,
    },
    /// The call took longer than it may.
    #[error("the plugin took longer than {} ms for a batch", .after.as_millis())]
    Timeout {
        /// The bound that it crossed.
        after: Duration,
    },
    /// The guest asked for more memory than it may have, and died of it.
    #[error("the plugin needs more than its {bytes_max} bytes of memory")]
    OutOfMemory {
        /// The bound.
        bytes_max: u64,
    },
    /// The guest answered with more bytes than it may.
    #[error("the plugin's output for one batch exceeds {bytes_max} bytes")]
    OutputTooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The guest's answer is malformed. The instance is not to be trusted any more.
    #[error("the plugin's output is malformed: {0}")]
    BadOutput(String),
    /// The batch itself could not be read: a bug or rot on the broker's side, not the guest's fault.
    #[error("the input batch is malformed: {0}")]
    BadInput(String),
    /// The batch does not fit into the guest: split it.
    #[error("a batch of {bytes} bytes does not fit into the plugin's {bytes_max} bytes of memory")]
    InputTooLarge {
        /// The input's size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The guest answered that it cannot do its work. The instance lives on.
    #[error("the plugin gave up: {0}")]
    GaveUp(String),
    /// A call on the state was refused, or failed. The guest was stopped in the middle of it, so the instance is not to
    /// be called again.
    #[error("the plugin's state: {0}")]
    State(StateError),
    /// An earlier call killed this instance: drop it and make another.
    #[error("this instance of the plugin died in an earlier call")]
    Dead,
}

impl ProcessFault {
    /// Whether the instance may be called again after this fault.
    pub fn instance_survives(&self) -> bool {
        match self {
            ProcessFault::Record { .. }
            | ProcessFault::BadInput(_)
            | ProcessFault::InputTooLarge { .. }
            | ProcessFault::GaveUp(_) => true,
            ProcessFault::Trap { .. }
            | ProcessFault::StackOverflow { .. }
            | ProcessFault::Timeout { .. }
            | ProcessFault::OutOfMemory { .. }
            | ProcessFault::OutputTooLarge { .. }
            | ProcessFault::BadOutput(_)
            | ProcessFault::State(_)
            | ProcessFault::Dead => false,
        }
    }

    /// A short stable name, for metrics, headers of dead letters and policies.
    pub fn kind(&self) -> &'static str {
        match self {
            ProcessFault::Record { reason: FaultReason::Reject, .. } => "reject",
            ProcessFault::Record { reason: FaultReason::Retry, .. } => "retry",
            ProcessFault::Record { reason: FaultReason::Fatal, .. } => "fatal",
            ProcessFault::Trap { .. } => "trap",
            ProcessFault::StackOverflow { .. } => "stack-overflow",
            ProcessFault::Timeout { .. } => "timeout",
            ProcessFault::OutOfMemory { .. } => "out-of-memory",
            ProcessFault::OutputTooLarge { .. } => "output-too-large",
            ProcessFault::BadOutput(_) => "bad-output",
            ProcessFault::BadInput(_) => "bad-input",
            ProcessFault::InputTooLarge { .. } => "input-too-large",
            ProcessFault::GaveUp(_) => "gave-up",
            ProcessFault::State(StateError::Full { .. }) => "state-full",
            ProcessFault::State(_) => "state",
            ProcessFault::Dead => "dead",
        }
    }
}

fn in_function(function: Option<&str>) -> String {
    function.map(|name| format!(" (in {name})")).unwrap_or_default()
}
