//! Movements of accounts: `open`, and then amounts such as `-12`. The balance after each goes to the topic `balances`, keyed
//! by the account. An amount may come before its account's `open`, from another system: it is tried again after
//! `first-wait-ms` (1000 by default), twice that, and so on; after `tries` (5) it goes to `given-up` with the
//! reason in a header. Nothing waits behind it.

use tidemill_guest::timers::{self, Timer, TimerDomain};
use tidemill_guest::{Context, Error, Output, Processor, Record, Store, clock, config_or};

struct RetryLater {
    balances: Store,
    first_wait_ms: i64,
    tries: u8,
}

impl Processor for RetryLater {
    fn init(_: &Context) -> Result<RetryLater, Error> {
        Ok(RetryLater {
            balances: Store::open("balances"),
            first_wait_ms: config_or("first-wait-ms", 1_000)?,
            tries: config_or("tries", 5)?,
        })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let account = record.key_str()?;
        if record.value_str()? == "open" {
            let balance = self.balances.add(account, 0);
            out.send("balances", account, balance.to_string());
            return Ok(());
        }
        self.book(&record, 1, out)
    }

    /// The payload is the number of the try, and then the record.
    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        let (number, record) = timer.payload.split_first().ok_or_else(|| Error::fatal("an empty payload"))?;
        self.book(&Record::from_bytes(record)?, *number, out)
    }
}

impl RetryLater {
    fn book(&self, record: &Record<'_>, number: u8, out: &mut Output) -> Result<(), Error> {
        let account = record.key_str()?;
        let amount: i64 = record.value_str()?.parse()?;
        if self.balances.get(account).is_some() {
            let balance = self.balances.add(account, amount);
            out.send("balances", account, balance.to_string());
        } else if number < self.tries {
            let wait_ms = self.first_wait_ms.saturating_mul(1 << (number - 1).min(32));
            let payload = [&[number + 1], &record.to_bytes()[..]].concat();
            let id = record.offset.to_be_bytes();
            timers::set(TimerDomain::ProcessingTime, id, clock::now().saturating_add(wait_ms), payload);
        } else {
            let reason = format!("the account is not open after {number} tries");
            out.forward("given-up", record).header("reason", reason);
        }
        Ok(())
    }
}

tidemill_guest::processor!(RetryLater);

#[cfg(test)]
mod tests;
