//! What can go wrong with the store itself. What a guest's call may do wrong is `plugin::StateError`.

use super::codec::ChangelogError;
use crate::ids::Offset;
use crate::plugin::StateError;

/// A failure of the state store: of the whole cache, or of one task's part of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The cache refused. What is damaged is rebuilt from the changelogs at the next start.
    #[error("the state cache in {path} failed: {cause}")]
    Cache {
        /// Its directory.
        path: String,
        /// What happened.
        cause: String,
    },
    /// Another process, or another part of this one, has the cache open.
    #[error("the state cache in {path} is in use; stop whoever has it open")]
    InUse {
        /// Its directory.
        path: String,
    },
    /// The task's state has another owner by now, or was deleted.
    #[error("the state of {task} belongs to somebody else by now, or was deleted")]
    Superseded {
        /// Whose state.
        task: String,
    },
    /// A record of the changelog that is none of ours.
    #[error("record {offset} in the changelog of {task} cannot be taken for state: {cause}")]
    Changelog {
        /// Whose changelog.
        task: String,
        /// Where it lies.
        offset: Offset,
        /// What is wrong with it.
        cause: ChangelogError,
    },
    /// A name that no store may have.
    #[error("\"{name}\" cannot be the name of a state store: {reason}")]
    StoreName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The caller broke the order of things: a bug in the task.
    #[error("the state of {task} was used out of order: {what}")]
    OutOfOrder {
        /// Whose state.
        task: String,
        /// What was wrong.
        what: &'static str,
    },
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> StateError {
        StateError::Failed(error.to_string())
    }
}
