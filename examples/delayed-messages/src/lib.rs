//! Sends each record on to the topic that the config key `output` names (`delivered` by default), with all that it has, when
//! its time has come: so many milliseconds after its timestamp as its header `delay-ms` says, or else the config
//! key `delay-ms` (60000).

use tidemill_guest::timers::{self, Timer, TimerDomain};
use tidemill_guest::{Context, Error, Output, Processor, Record, config_or};

struct DelayedMessages {
    output: String,
    delay_ms: i64,
}

impl Processor for DelayedMessages {
    fn init(_: &Context) -> Result<DelayedMessages, Error> {
        Ok(DelayedMessages {
            output: config_or("output", "delivered".to_owned())?,
            delay_ms: config_or("delay-ms", 60_000)?,
        })
    }

    fn process(&mut self, record: Record<'_>, _: &mut Output) -> Result<(), Error> {
        let delay_ms = match record.header("delay-ms") {
            None => self.delay_ms,
            Some(text) => std::str::from_utf8(text)?.parse()?,
        };
        let id = record.offset.to_be_bytes();
        timers::set(
            TimerDomain::ProcessingTime,
            id,
            record.timestamp.saturating_add(delay_ms),
            record.to_bytes(),
        );
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        let record = Record::from_bytes(timer.payload)?;
        out.forward(&self.output, &record).timestamp(record.timestamp);
        Ok(())
    }
}

tidemill_guest::processor!(DelayedMessages);

#[cfg(test)]
mod tests;
