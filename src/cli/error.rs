//! What goes wrong in a verb, as a person and as a script see it: a sentence, a hint, an exit code.
//!
//! Every failure of the command line becomes a `CliError`; nothing else decides exit codes.

use std::fmt;

use serde_json::{Value, json};

use crate::error_code::{ErrorCode, Retry};

/// The process's exit code, by meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitKind {
    /// The request was refused or failed.
    Failed,
    /// The command line itself is wrong.
    Usage,
    /// What it names is not there.
    NotFound,
    /// What it would make is there already, or is in use.
    Conflict,
    /// Not allowed.
    Denied,
    /// Nobody answers, or not in time.
    Unreachable,
    /// A module, a configuration or a manifest is not valid.
    Invalid,
    /// Stopped by the user.
    Interrupted,
}

impl ExitKind {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            ExitKind::Failed => 1,
            ExitKind::Usage => 2,
            ExitKind::NotFound => 3,
            ExitKind::Conflict => 4,
            ExitKind::Denied => 5,
            ExitKind::Unreachable => 6,
            ExitKind::Invalid => 7,
            ExitKind::Interrupted => 130,
        }
    }
}

/// A failed verb.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CliError {
    /// Decides the exit code.
    pub kind: ExitKind,
    /// A name to search for: Kafka's where there is one.
    pub code: String,
    /// Kafka's number for it.
    pub kafka_code: Option<i16>,
    /// What failed and why.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same command may work later.
    pub retriable: bool,
}

impl CliError {
    /// A failure that is not an answer of the protocol.
    pub fn new(kind: ExitKind, code: &str, message: impl Into<String>) -> CliError {
        let retriable = kind == ExitKind::Unreachable;
        CliError {
            kind,
            code: code.to_owned(),
            kafka_code: None,
            message: message.into(),
            hint: None,
            retriable,
        }
    }

    /// A mistake in the command line that clap cannot see.
    pub fn usage(message: impl Into<String>) -> CliError {
        CliError::new(ExitKind::Usage, "USAGE", message)
    }

    /// A file or stream that cannot be read or written.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> CliError {
        CliError::new(ExitKind::Failed, "IO", format!("{what}: {error}"))
    }

    /// An answer of the protocol other than NONE; `detail` is the broker's own sentence, if any.
    pub fn kafka(code: i16, what: impl fmt::Display, detail: Option<&str>) -> CliError {
        let known = ErrorCode::from_code(code);
        let name = known.map_or_else(|| format!("ERROR_{code}"), |known| known.name().to_owned());
        let message = match detail.filter(|detail| !detail.is_empty()) {
            Some(detail) => format!("{what}: {detail} ({name})"),
            None => format!("{what}: {name}"),
        };
        CliError {
            kind: known.map_or(ExitKind::Failed, kind_of),
            code: name,
            kafka_code: Some(code),
            message,
            hint: known.and_then(hint_of).map(str::to_owned),
            retriable: known.is_some_and(|known| known.retry() == Retry::Retriable),
        }
    }

    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it is this answer of the protocol.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.kafka_code == Some(code.code())
    }

    /// The shape of `--format json`.
    pub fn to_json(&self) -> Value {
        json!({"error": {
            "code": self.code,
            "kafka_code": self.kafka_code,
            "message": self.message,
            "hint": self.hint,
            "retriable": self.retriable,
        }})
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

/// `Ok` for NONE, the error for anything else.
pub fn check(code: i16, what: impl fmt::Display, detail: Option<&str>) -> Result<(), CliError> {
    if code == ErrorCode::None.code() { Ok(()) } else { Err(CliError::kafka(code, what, detail)) }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "most of Kafka's codes are plain failures")]
fn kind_of(code: ErrorCode) -> ExitKind {
    use ErrorCode as E;
    match code {
        E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::GroupIdNotFound
        | E::TransactionalIdNotFound
        | E::ResourceNotFound
        | E::UnknownMemberId => ExitKind::NotFound,
        E::TopicAlreadyExists | E::DuplicateResource | E::NonEmptyGroup | E::GroupSubscribedToTopic => {
            ExitKind::Conflict
        }
        E::TopicAuthorizationFailed
        | E::GroupAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::SaslAuthenticationFailed => ExitKind::Denied,
        E::RequestTimedOut | E::BrokerNotAvailable | E::CoordinatorNotAvailable | E::NetworkException => {
            ExitKind::Unreachable
        }
        E::InvalidConfig
        | E::InvalidTopicException
        | E::InvalidPartitions
        | E::InvalidReplicationFactor
        | E::InvalidReplicaAssignment
        | E::InvalidGroupId
        | E::InvalidTransactionTimeout => ExitKind::Invalid,
        _ => ExitKind::Failed,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "only some codes have something to say")]
fn hint_of(code: ErrorCode) -> Option<&'static str> {
    use ErrorCode as E;
    match code {
        E::UnknownTopicOrPartition => Some("`tidemill topic list` shows the topics there are"),
        E::GroupIdNotFound => Some("`tidemill group list` shows the groups there are"),
        E::TransactionalIdNotFound => Some("`tidemill txn list` shows the transactional ids there are"),
        E::NonEmptyGroup => Some("stop the group's consumers first; `tidemill group describe` shows them"),
        E::InvalidTopicException => {
            Some("a topic's name is 1 to 249 characters of a-z, A-Z, 0-9, dot, underscore and hyphen")
        }
        E::InvalidReplicationFactor => {
            Some("a single node keeps one replica; leave --replication-factor out")
        }
        _ => None,
    }
}
