//! Copies records to the topic that the config key `output` names (`deduplicated` by default), except those whose id (the
//! key, or the header that `header` names) the store `store` (`seen`) has from the last `minutes` (10).

use tidemill_guest::{Context, Error, Output, Processor, Record, Store, config, config_or, count};

struct Deduplicate {
    seen: Store,
    header: Option<String>,
    remembered_ms: i64,
    output: String,
}

impl Processor for Deduplicate {
    fn init(_: &Context) -> Result<Deduplicate, Error> {
        let minutes: u32 = config_or("minutes", 10)?;
        Ok(Deduplicate {
            seen: Store::open(config_or("store", "seen".to_owned())?),
            header: config("header"),
            remembered_ms: i64::from(minutes) * 60_000,
            output: config_or("output", "deduplicated".to_owned())?,
        })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        if self.id(&record).is_some_and(|id| self.is_seen(id, record.timestamp)) {
            count("duplicates", 1);
        } else {
            out.forward(&self.output, &record);
        }
        Ok(())
    }
}

impl Deduplicate {
    fn id<'a>(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        let id = match &self.header {
            Some(header) => record.header(header),
            None => record.key,
        };
        id.filter(|id| !id.is_empty())
    }

    /// Whether the id is remembered; if not, it is from now on.
    fn is_seen(&self, id: &[u8], timestamp: i64) -> bool {
        // Stream time stands still during a batch: whether an id of the same batch is still remembered says its value.
        let expires = self.seen.get(id).and_then(|value| Some(i64::from_le_bytes(value.try_into().ok()?)));
        if expires.is_some_and(|expires| timestamp < expires) {
            return true;
        }
        let expires = timestamp.saturating_add(self.remembered_ms);
        self.seen.put_until(id, expires.to_le_bytes(), expires);
        false
    }
}

tidemill_guest::processor!(Deduplicate);

#[cfg(test)]
mod tests;
