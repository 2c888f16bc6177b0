//! ApiVersions, versions 0 to 4: what this broker serves, and its finalised features.
//!
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and its own
//! versions (KIP-511), so that the client can choose again. Left out: nothing.

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

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
    let _request: ApiVersionsRequest = context.decode()?;
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
