//! UpdateFeatures, versions 0 to 2 (KIP-584, KIP-1022): features are what the binary can do, so that
//! a level is confirmed where it is the one at work, and refused elsewhere.

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::error_code::ErrorCode;
use crate::handlers::api_versions::{FEATURES, Feature};
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, repeated};

/// Which way a level may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum UpgradeType {
    Upgrade,
    Downgrade,
}

/// Why an update is refused.
type Refusal = (ErrorCode, String);

/// Confirms all updates, or refuses them all because of the first that cannot be.
pub fn handle(context: &Context) -> Handled {
    let request: UpdateFeaturesRequest = context.decode()?;
    let version = context.version();
    let updates = &request.feature_updates;
    let repeated = repeated(updates.iter().map(|update| update.feature.as_str()));
    let checked = updates.iter().try_for_each(|update| {
        if repeated.contains(update.feature.as_str()) {
            let why = format!("feature {} is named twice", update.feature);
            return Err((ErrorCode::InvalidRequest, why));
        }
        check(update.feature.as_str(), update.max_version_level, upgrade_type(version, update)?)
    });
    let response = match checked {
        Ok(()) if version < 2 => {
            let confirmed = updates.iter().map(|update| {
                UpdatableFeatureResult::default()
                    .with_feature(update.feature.clone())
                    .with_error_message(None)
            });
            UpdateFeaturesResponse::default().with_results(confirmed.collect())
        }
        Ok(()) => UpdateFeaturesResponse::default(),
        Err((code, why)) => UpdateFeaturesResponse::default()
            .with_error_code(code.code())
            .with_error_message(message(code, why)),
    };
    context.respond(&response)
}

fn upgrade_type(version: i16, update: &FeatureUpdateKey) -> Result<UpgradeType, Refusal> {
    match (version, update.upgrade_type) {
        (0, _) if update.allow_downgrade => Ok(UpgradeType::Downgrade),
        (0, _) | (_, 1) => Ok(UpgradeType::Upgrade),
        // Safe and unsafe.
        (_, 2 | 3) => Ok(UpgradeType::Downgrade),
        (_, other) => Err((ErrorCode::InvalidRequest, format!("there is no upgrade type {other}"))),
    }
}

/// Kafka's rules (`FeatureControlManager.updateFeature`), over levels that do not move.
fn check(name: &str, level: i16, upgrade_type: UpgradeType) -> Result<(), Refusal> {
    let invalid = |why: String| Err((ErrorCode::InvalidUpdateVersion, why));
    let Some(Feature { level: at_work, .. }) = FEATURES.iter().find(|feature| feature.name == name) else {
        return invalid(format!("this broker does not know feature {name}"));
    };
    if level == *at_work {
        return Ok(());
    }
    match (level < *at_work, upgrade_type) {
        (true, UpgradeType::Upgrade) => invalid(format!(
            "{name} is at level {at_work}; going down to {level} asks for a safe or unsafe downgrade"
        )),
        (false, UpgradeType::Downgrade) => {
            invalid(format!("{name} is at level {at_work}; {level} is no downgrade"))
        }
        (_, UpgradeType::Upgrade | UpgradeType::Downgrade) => {
            invalid(format!("this broker always works at level {at_work} of {name}, not at {level}"))
        }
    }
}

#[cfg(test)]
mod tests;
