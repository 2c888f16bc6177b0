//! The topics that there are, as the coordinator knows them: names, ids, numbers of partitions. A value that
//! comes in from outside with every change.

use std::collections::BTreeMap;

use crate::ids::{TopicId, TopicName};

use super::record::SubscribedTopic;

/// All topics that a group may subscribe to, at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownTopics {
    by_name: BTreeMap<TopicName, SubscribedTopic>,
    names: BTreeMap<TopicId, TopicName>,
}

impl KnownTopics {
    /// These topics.
    pub fn new(topics: impl IntoIterator<Item = (TopicName, SubscribedTopic)>) -> KnownTopics {
        let by_name: BTreeMap<TopicName, SubscribedTopic> = topics.into_iter().collect();
        let names = by_name.iter().map(|(name, topic)| (topic.id, name.clone())).collect();
        KnownTopics { by_name, names }
    }

    pub(in crate::coordinator::group) fn get(&self, name: &TopicName) -> Option<SubscribedTopic> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic; `None` if it has gone.
    pub fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.names.get(&id)
    }

    pub(super) fn all_names(&self) -> impl Iterator<Item = &TopicName> {
        self.by_name.keys()
    }
}
