//! Counts the words of each value in the store that the config key `store` names (`counts` by default), and sends the
//! new count of each of them to the topic that `output` names (`word-counts`), keyed by the word.

use std::collections::BTreeMap;

use tidemill_guest::{Context, Error, Output, Processor, Record, Store, config_or};

struct WordCount {
    counts: Store,
    output: String,
}

impl Processor for WordCount {
    fn init(_: &Context) -> Result<WordCount, Error> {
        let store: String = config_or("store", "counts".to_owned())?;
        Ok(WordCount { counts: Store::open(store), output: config_or("output", "word-counts".to_owned())? })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        if record.value.is_none() {
            return Ok(());
        }
        let mut seen: BTreeMap<String, i64> = BTreeMap::new();
        for word in words(record.value_str()?) {
            *seen.entry(word).or_default() += 1;
        }
        for (word, times) in seen {
            let count = self.counts.add(&word, times);
            out.send(&self.output, &word, count.to_string());
        }
        Ok(())
    }
}

/// Runs of letters and digits, in lower case, cut at a length that fits any store.
fn words(text: &str) -> impl Iterator<Item = String> {
    const WORD_CHARS_MAX: usize = 64;
    let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect())
}

tidemill_guest::processor!(WordCount);

#[cfg(test)]
mod tests;
