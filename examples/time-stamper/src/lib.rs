//! Adds a header with the time at which a record was sent, for readers that see headers only: the record's timestamp
//! in RFC 3339. The config key `header` names it (`stamped` by default); a record that has it already is kept.

use tidemill_guest::{Attachment, Error, Interceptor, Origin, Record, Verdict, config_or};

struct TimeStamper {
    header: String,
}

impl Interceptor for TimeStamper {
    fn configure(_: &Attachment) -> Result<TimeStamper, Error> {
        Ok(TimeStamper { header: config_or("header", "stamped".to_owned())? })
    }

    fn on_send(&mut self, _: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        if record.headers.iter().any(|(key, _)| key == self.header) {
            return Ok(());
        }
        // A time that the format cannot tell is no time that a record was sent at.
        if let Some(time) = rfc_3339(record.timestamp) {
            verdict.replace(record.key, record.value).headers_of(&record).header(&self.header, time);
        }
        Ok(())
    }
}

/// Milliseconds since 1970 as `2026-01-31T23:59:59.999Z`; none before 1970 and after the year 9999.
fn rfc_3339(timestamp_ms: i64) -> Option<String> {
    let milliseconds = u64::try_from(timestamp_ms).ok()?;
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    (year <= 9999).then(|| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
    })
}

/// Year, month and day of a day counted from 1970, as Howard Hinnant's `civil_from_days` has them: in years that
/// begin in March, so that the leap day is the last.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

tidemill_guest::interceptor!(TimeStamper);

#[cfg(test)]
mod tests;
