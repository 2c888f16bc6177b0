//! What a plugin says about a record that it could not process, judge or place.

use std::fmt;

/// What is to become of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The record is bad and will never work: a case for the dead-letter topic.
    Reject,
    /// It may work later.
    Retry,
    /// The plugin cannot go on at all, whatever the record.
    Fatal,
}

/// Why a record could not be processed, judged or placed. Any `std` error becomes one by `?`, and rejects the record.
/// The reason is for processors: an interceptor's error is a fault for its attachment's policy, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is to become of the record.
    pub reason: Reason,
    /// What went wrong, for people.
    pub message: String,
}

impl Error {
    /// The record is bad and will never work.
    pub fn reject(message: impl Into<String>) -> Error {
        Error { reason: Reason::Reject, message: message.into() }
    }

    /// It may work later.
    pub fn retry(message: impl Into<String>) -> Error {
        Error { reason: Reason::Retry, message: message.into() }
    }

    /// The plugin cannot go on at all.
    pub fn fatal(message: impl Into<String>) -> Error {
        Error { reason: Reason::Fatal, message: message.into() }
    }
}

// Not a `std::error::Error` itself, so that every one of those can become this.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::reject(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
