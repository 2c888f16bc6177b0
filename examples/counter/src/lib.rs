//! Counts the records that pass: Kafka's classic first interceptor. The counters `sent`, `acknowledged`, `failed` and
//! `consumed` are the broker's sums over all instances; each instance also logs its own share when it is closed.

use tidemill_guest::{Acknowledgement, Attachment, Error, Interceptor, Origin, Record, Verdict, count, info};

#[derive(Default)]
struct Counter {
    sent: u64,
    acknowledged: u64,
    failed: u64,
    consumed: u64,
}

impl Interceptor for Counter {
    fn configure(_: &Attachment) -> Result<Counter, Error> {
        Ok(Counter::default())
    }

    fn on_send(&mut self, _: &Origin, _: Record<'_>, _: Verdict<'_>) -> Result<(), Error> {
        self.sent += 1;
        count("sent", 1);
        Ok(())
    }

    fn on_consume(&mut self, _: &Origin, _: Record<'_>, _: Verdict<'_>) -> Result<(), Error> {
        self.consumed += 1;
        count("consumed", 1);
        Ok(())
    }

    fn on_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        let records = u64::from(acknowledgement.record_count);
        if acknowledgement.outcome.is_ok() {
            self.acknowledged += records;
            count("acknowledged", records);
        } else {
            self.failed += records;
            count("failed", records);
        }
    }

    fn close(&mut self) {
        let Counter { sent, acknowledged, failed, consumed } = self;
        info!("sent {sent}, acknowledged {acknowledged}, failed {failed}, consumed {consumed}");
    }
}

tidemill_guest::interceptor!(Counter);

#[cfg(test)]
mod tests;
