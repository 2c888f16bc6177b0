//! Joins a stream with a table. Records of the topic that the config key `table` names are the table: the last value of each
//! key, until a tombstone. Records of the other inputs go to `joined` with the table's value of their key in the header
//! `table`, or to `unmatched` if there is none yet. The topics must have the same number of partitions.

use tidemill_guest::{Context, Error, Output, Processor, Record, Store, config_parsed};

struct JoinTable {
    topic: String,
    table: Store,
}

impl Processor for JoinTable {
    fn init(_: &Context) -> Result<JoinTable, Error> {
        Ok(JoinTable { topic: config_parsed("table")?, table: Store::open("table") })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let key =
            record.key.filter(|key| !key.is_empty()).ok_or_else(|| Error::reject("the record has no key"))?;
        if record.topic == self.topic {
            match record.value {
                Some(value) => self.table.put(key, value),
                None => self.table.delete(key),
            }
        } else if let Some(row) = self.table.get(key) {
            out.send("joined", key, record.value).headers_of(&record).header("table", row);
        } else {
            out.forward("unmatched", &record);
        }
        Ok(())
    }
}

tidemill_guest::processor!(JoinTable);

#[cfg(test)]
mod tests;
