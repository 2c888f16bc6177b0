//! Errors of the admin API: `{"error":{"code","message","hint"}}` under the right HTTP status.
//!
//! The one place where failures of other rooms become answers.

use crate::error_code::ErrorCode;
use crate::plugin::PluginError;
use crate::processor::attachments::AttachError;
use crate::processor::backend::BackendError;
use crate::processor::inline::InlineError;
use crate::processor::registry::RegistryError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal or a failure, as it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name for programs.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl ApiError {
    /// An error without a hint.
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { status, code: code.into(), message: message.into(), hint: String::new() }
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> ApiError {
        ApiError { hint: hint.into(), ..self }
    }

    /// A request that cannot be understood.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message).hint(hint)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message, "hint": self.hint}});
        (self.status, Json(body)).into_response()
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> ApiError {
        let message = sentence(&error.to_string());
        match error {
            RegistryError::Definition(refused) => {
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, refused.code, refused.message)
                    .hint(refused.hint)
            }
            RegistryError::Attachment(refused) => {
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, refused.code, refused.message)
                    .hint(refused.hint)
            }
            RegistryError::WrongKind { .. } => {
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "WRONG_KIND", message)
                    .hint("`tidemill module list` shows each module's world.")
            }
            RegistryError::UnknownInterceptor(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "INTERCEPTOR_NOT_FOUND", message)
                    .hint("`tidemill interceptor list` shows what is attached.")
            }
            RegistryError::UnknownModule(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "MODULE_NOT_FOUND", message)
                    .hint("`tidemill module list` shows what has been uploaded.")
            }
            RegistryError::AmbiguousModule { .. } => {
                ApiError::new(StatusCode::CONFLICT, "AMBIGUOUS_MODULE", message)
                    .hint("Give more digits of the digest.")
            }
            RegistryError::ModuleInUse { .. } => {
                ApiError::new(StatusCode::CONFLICT, "MODULE_IN_USE", message)
                    .hint("Delete or detach these first, or give them another module.")
            }
            RegistryError::NameInUse { .. } => ApiError::new(StatusCode::CONFLICT, "NAME_IN_USE", message)
                .hint("Push it under another name, or give the topic another partitioner first."),
            RegistryError::UnknownProcessor(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "PROCESSOR_NOT_FOUND", message)
                    .hint("`tidemill processor list` shows what is deployed.")
            }
            RegistryError::BuiltIn { .. } => ApiError::new(StatusCode::CONFLICT, "BUILT_IN", message)
                .hint("It has nothing left to do once the topic's tidemill.partitioner is removed, and goes with the topic."),
            RegistryError::Persist(_) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "STORAGE_ERROR", message)
                    .hint("The server's log says more.")
            }
        }
    }
}

impl From<PluginError> for ApiError {
    fn from(error: PluginError) -> ApiError {
        let message = sentence(&error.to_string());
        let (status, code) = match error {
            PluginError::Disabled => (StatusCode::NOT_IMPLEMENTED, "PLUGINS_DISABLED"),
            PluginError::NotWebAssembly { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "NOT_WEBASSEMBLY"),
            PluginError::CoreModule => (StatusCode::UNPROCESSABLE_ENTITY, "NOT_A_COMPONENT"),
            PluginError::WrongWorld(_) => (StatusCode::UNPROCESSABLE_ENTITY, "WRONG_WORLD"),
            PluginError::WrongKind { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "WRONG_KIND"),
            PluginError::ImportsNotOffered(_) => (StatusCode::UNPROCESSABLE_ENTITY, "IMPORTS_NOT_OFFERED"),
            PluginError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "MODULE_TOO_LARGE"),
            PluginError::Compile(_) => (StatusCode::UNPROCESSABLE_ENTITY, "COMPILE_FAILED"),
            PluginError::NotFound(_) => (StatusCode::NOT_FOUND, "MODULE_NOT_FOUND"),
            PluginError::InitRefused(_) | PluginError::InitFailed(_) | PluginError::Instantiate(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "INSTANTIATE_FAILED")
            }
            PluginError::Damaged { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "MODULE_DAMAGED"),
            PluginError::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "STORAGE_ERROR"),
        };
        ApiError::new(status, code, message)
    }
}

impl From<AttachError> for ApiError {
    fn from(error: AttachError) -> ApiError {
        let message = sentence(&error.to_string());
        match error {
            AttachError::Registry(error) => error.into(),
            AttachError::Plugin(error) => error.into(),
            AttachError::Start(_) => {
                ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "INSTANTIATE_FAILED", message)
                    .hint("Nothing was attached. Look at the module's config and limits.")
            }
        }
    }
}

impl From<InlineError> for ApiError {
    fn from(error: InlineError) -> ApiError {
        let message = sentence(&error.to_string());
        let of_kafka = |code: ErrorCode| ApiError::new(status_of(code), code.name(), message.clone());
        match error {
            InlineError::Module(error) => error.into(),
            InlineError::InternalTopic(_) => of_kafka(ErrorCode::InvalidTopicException)
                .hint("Topics whose names begin with \"__\" are the broker's own; use another topic."),
            InlineError::UnknownTopic(topic) => of_kafka(ErrorCode::UnknownTopicOrPartition).hint(format!(
                "`tidemill topic create {topic}` makes it; `tidemill topic list` shows the topics there are."
            )),
            InlineError::UnknownPartition { .. } => of_kafka(ErrorCode::UnknownTopicOrPartition)
                .hint("Nothing of this request was written. Partitions count from 0."),
            InlineError::NotChosen { .. } => ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "PARTITIONER_FAILED",
                message,
            )
            .hint(
                "Nothing of this request was written. Look at the records, and at the partitioner's config.",
            ),
            InlineError::Bug(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "BUG", message),
        }
    }
}

/// The status of an answer of Kafka's protocol.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "most of Kafka's codes say that records are not to be taken"
)]
pub(super) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::UnknownTopicOrPartition => StatusCode::NOT_FOUND,
        ErrorCode::TopicAuthorizationFailed => StatusCode::FORBIDDEN,
        ErrorCode::MessageTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::KafkaStorageError | ErrorCode::UnknownServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> ApiError {
        let status = match &error {
            BackendError::Retriable { .. } | BackendError::Abortable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            BackendError::UnknownTopic(_) => StatusCode::NOT_FOUND,
            BackendError::Rejected { .. } | BackendError::OffsetOutOfRange => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            BackendError::Fenced { .. } => StatusCode::CONFLICT,
            BackendError::Fatal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let text = error.to_string();
        let code = text.split_once(": ").map_or("CLUSTER_ERROR", |(code, _)| code).to_owned();
        ApiError::new(status, code, sentence(&text))
    }
}

/// The text with a capital and a full stop, as answers have them.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", characters.as_str())
}
