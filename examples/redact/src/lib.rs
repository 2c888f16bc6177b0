//! Blackens e-mail addresses: copies each record to the topic that the config key `output` names
//! (`redacted` by default), with a header that counts what was blackened.

use tidemill_guest::{Error, Output, Record, config};

fn redact(record: Record<'_>, out: &mut Output) -> Result<(), Error> {
    let topic = config("output").unwrap_or_else(|| "redacted".to_owned());
    if record.value.is_none() {
        // A tombstone deletes the copy as well.
        out.send(&topic, record.key, ()).headers_of(&record);
        return Ok(());
    }
    let mut blackened = 0;
    let words = record.value_str()?.split_inclusive(char::is_whitespace).map(|word| {
        let text = word.trim_end();
        if !looks_like_an_address(text) {
            return word.to_owned();
        }
        blackened += 1;
        format!("[redacted]{}", &word[text.len()..])
    });
    let value: String = words.collect();
    out.send(&topic, record.key, value).headers_of(&record).header("redacted", blackened.to_string());
    Ok(())
}

fn looks_like_an_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
    })
}

tidemill_guest::processor_typed!(fn redact);

#[cfg(test)]
mod tests;
