//! Regular expressions for topics (KIP-848, KIP-1115): checked when they come, resolved against the topics that
//! there are. They must match the whole name, and the broker's own topics are never among what they find.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use crate::ids::TopicName;

use super::topics::KnownTopics;

/// The most memory that one compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const INTERNAL_PREFIX: &str = "__";

/// The compiled expression, or what is wrong with it.
pub(super) fn compile(regex: &str) -> Result<Regex, String> {
    // First as it is, so that no unbalanced parenthesis finds its partner in the frame around it.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    let framed = build(regex).and_then(|_| build(&format!("^(?:{regex})$")));
    framed.map_err(|error| error.to_string())
}

/// The topics whose names match; none for an expression that a record holds and this version cannot read.
pub(super) fn resolve(regex: &str, topics: &KnownTopics) -> BTreeSet<TopicName> {
    let Ok(compiled) = compile(regex) else { return BTreeSet::new() };
    let visible = topics.all_names().filter(|name| !name.as_str().starts_with(INTERNAL_PREFIX));
    visible.filter(|name| compiled.is_match(name.as_str())).cloned().collect()
}
