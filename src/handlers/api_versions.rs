//! ApiVersions, versions 0 to 4: what this broker serves, and its finalised features.
//!
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and its own
//! versions (KIP-511), so that the client can choose again. Since version 3 clients say which software
//! they are, in text that may be logged and counted by. Left out: nothing.

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::text;
use crate::handlers::reply::{Outcome, Reply, ResponseFrame};
use crate::wire::api;
use crate::wire::response::unsupported_api_versions;

/// A feature of the cluster (KIP-584).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The level at which this binary works, always.
    pub level: i16,
}

/// What this binary can do. By these levels clients know that groups of the new protocol (KIP-848) and transactions V2
/// (KIP-890) are on.
pub const FEATURES: &[Feature] =
    &[Feature { name: "group.version", level: 1 }, Feature { name: "transaction.version", level: 2 }];

/// Answers the table of what is served.
pub fn handle(context: &Context) -> Handled {
    let request: ApiVersionsRequest = context.decode()?;
    let says_who =
        is_software(&request.client_software_name) && is_software(&request.client_software_version);
    if context.version() >= 3 && !says_who {
        let code = ErrorCode::InvalidRequest.code();
        return context.respond(&ApiVersionsResponse::default().with_error_code(code));
    }
    let mut response = ApiVersionsResponse::default().with_api_keys(table());
    if context.version() >= 3 {
        let supported = FEATURES.iter().map(|feature| {
            SupportedFeatureKey::default()
                .with_name(text(feature.name))
                .with_min_version(feature.level)
                .with_max_version(feature.level)
        });
        let finalized = FEATURES.iter().map(|feature| {
            FinalizedFeatureKey::default()
                .with_name(text(feature.name))
                .with_min_version_level(feature.level)
                .with_max_version_level(feature.level)
        });
        response = response
            .with_supported_features(supported.collect())
            .with_finalized_features_epoch(0)
            .with_finalized_features(finalized.collect());
    }
    context.respond(&response)
}

/// Letters, digits, `.` and `-`, of which the marks neither begin nor end it (Kafka's
/// `ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN`).
fn is_software(text: &str) -> bool {
    let is_plain = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    is_plain(bytes.first())
        && is_plain(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte))
}

/// The answer to a version that this broker does not know.
pub fn unsupported_version(correlation_id: i32) -> Reply {
    Reply::Now(match unsupported_api_versions(correlation_id) {
        Ok(bytes) => Outcome::Respond(ResponseFrame::from(bytes)),
        Err(error) => Outcome::Close(error.to_string()),
    })
}

fn table() -> Vec<ApiVersion> {
    let row = |supported: &api::Supported| {
        ApiVersion::default()
            .with_api_key(supported.key as i16)
            .with_min_version(supported.advertised.min)
            .with_max_version(supported.advertised.max)
    };
    api::SUPPORTED.iter().map(row).collect()
}
