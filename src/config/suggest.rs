//! "Did you mean": the nearest of some known names to one that is unknown.
//!
//! Pure; used for configuration keys of the server and of topics.

/// The candidate nearest to `unknown` by edit distance, if one is near enough to be a likely slip.
pub fn nearest<'a>(unknown: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&unknown, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(unknown.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: insertions, deletions and substitutions of one byte each.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, left_byte) in left.bytes().enumerate() {
        let mut diagonal = row;
        let mut last = row + 1;
        let mut current = Vec::with_capacity(previous.len());
        current.push(last);
        for (above, right_byte) in previous.iter().skip(1).zip(&right) {
            let substitution = diagonal + usize::from(left_byte != *right_byte);
            last = substitution.min(last + 1).min(above + 1);
            current.push(last);
            diagonal = *above;
        }
        previous = current;
    }
    previous.last().copied().unwrap_or_default()
}
