//! Sends records whose value contains the config key `word` to partition 0, and all others to the other partitions, by
//! their key. A topic of one partition has no others: there everything goes to 0.

use tidemill_guest::{Error, Partitioner, Record, config_parsed, default_partition};

struct WordPartitioner {
    word: String,
}

impl Partitioner for WordPartitioner {
    fn configure() -> Result<WordPartitioner, Error> {
        let word: String = config_parsed("word")?;
        if word.is_empty() {
            return Err(Error::fatal("the config key `word` is empty, and every value contains that"));
        }
        Ok(WordPartitioner { word })
    }

    fn partition(&mut self, _: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
        let others = partitions.saturating_sub(1);
        if others == 0 || self.is_in(record.value.unwrap_or_default()) {
            return Ok(0);
        }
        Ok(1 + default_partition(&record, others))
    }
}

impl WordPartitioner {
    fn is_in(&self, value: &[u8]) -> bool {
        value.windows(self.word.len()).any(|window| window == self.word.as_bytes())
    }
}

tidemill_guest::partitioner!(WordPartitioner);

#[cfg(test)]
mod tests;
