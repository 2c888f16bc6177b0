//! Counts views by page (the key) in windows of `window-seconds` (60 by default). A window's count goes to the topic
//! `page-views`, keyed by the page and with the window's start as its timestamp, once no view of it is awaited any more:
//! `grace-seconds` (10) of event time after its end. Views that come later still go to `late-views`.

use std::time::Duration;

use tidemill_guest::timers::Timer;
use tidemill_guest::windows::Windows;
use tidemill_guest::{Context, Error, Output, Processor, Record, config_or};

struct PageViews(Windows<String, u64>);

impl Processor for PageViews {
    fn init(_: &Context) -> Result<PageViews, Error> {
        let window = Duration::from_secs(config_or("window-seconds", 60)?);
        let grace = Duration::from_secs(config_or("grace-seconds", 10)?);
        Ok(PageViews(Windows::tumbling("windows", window).grace(grace)))
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        if self.0.update(record.key_str()?, record.timestamp, |views| *views += 1)? == 0 {
            out.forward("late-views", &record);
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer<'_>, out: &mut Output) -> Result<(), Error> {
        if let Some(closed) = self.0.closed(&timer)? {
            out.send("page-views", &closed.key, closed.value.to_string()).timestamp(closed.window.start);
        }
        Ok(())
    }
}

tidemill_guest::processor!(PageViews);

#[cfg(test)]
mod tests;
