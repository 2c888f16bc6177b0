//! The topics of a member's subscription in the consumer protocol (`ConsumerProtocolSubscription`):
//! the one thing about members' own bytes that the coordinator looks at.

use std::collections::BTreeSet;

use crate::ids::TopicName;

use super::record::fields::Fields;

/// The protocol type of consumers.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The subscribed topics; `None` if the bytes are no subscription. Every version begins alike, and
/// what follows the topics (user data, owned partitions, rack) is of no interest here.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<TopicName>> {
    let mut fields = Fields::classic(metadata);
    let version = fields.i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = fields.count().ok()?;
    (0..count).map(|_| fields.string().ok().map(TopicName::new)).collect()
}

#[cfg(test)]
mod tests;
