//! Finds the loops that a new processor would close through the topics of those already deployed.
//!
//! A loop would run for ever and fill the disk, so a deployment that closes one is refused. Dead
//! letters count as outputs: a poison record in such a loop would never end either.

use super::ProcessorDefinition;
use crate::ids::TopicName;
use std::collections::{BTreeMap, VecDeque};

/// The shortest loop through `new`, spelled as `topic -> processor -> topic …`, if there is one.
pub fn find_loop(new: &ProcessorDefinition, others: &[&ProcessorDefinition]) -> Option<String> {
    // Breadth first from what `new` writes; each reached topic remembers the step that led to it.
    let mut came_from: BTreeMap<TopicName, (Option<TopicName>, &str)> = BTreeMap::new();
    let mut queue = VecDeque::new();
    for topic in new.written_topics() {
        came_from.insert(topic.clone(), (None, new.name.as_str()));
        queue.push_back(topic);
    }
    while let Some(topic) = queue.pop_front() {
        if new.inputs.contains(&topic) {
            return Some(spell(&topic, &came_from));
        }
        for reader in others.iter().filter(|other| other.inputs.contains(&topic)) {
            for written in reader.written_topics() {
                if !came_from.contains_key(&written) {
                    came_from.insert(written.clone(), (Some(topic.clone()), reader.name.as_str()));
                    queue.push_back(written);
                }
            }
        }
    }
    None
}

fn spell(closing: &TopicName, came_from: &BTreeMap<TopicName, (Option<TopicName>, &str)>) -> String {
    let mut steps = vec![format!("topic \"{closing}\"")];
    let mut at = Some(closing.clone());
    while let Some((earlier, processor)) = at.and_then(|topic| came_from.get(&topic)) {
        steps.push(format!("processor \"{processor}\""));
        if let Some(topic) = earlier {
            steps.push(format!("topic \"{topic}\""));
        }
        at = earlier.clone();
    }
    steps.push(format!("topic \"{closing}\""));
    steps.reverse();
    steps.join(" -> ")
}
