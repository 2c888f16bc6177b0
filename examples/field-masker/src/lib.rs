//! Masks fields of JSON records on their way to consumers; what is stored stays whole. Config:
//!
//! - `fields`: which, comma-separated: `ssn` or `customer.email`. A path goes through arrays: each element is masked.
//! - `mask`: what stands in their place, `***` by default.
//! - `unmasked_principals`: who sees the plain values, separated by semicolons as in Kafka's `super.users`, since a
//!   principal may have commas: `User:auditor;User:CN=billing,O=us`.
//! - `not_json`: `reject` (by default) refuses values that are not JSON, as nobody knows what they hold; `keep` shows them.

use serde_json::Value;
use tidemill_guest::{
    Attachment, Error, Interceptor, Origin, Record, RejectionCode, Verdict, config, config_or, config_parsed,
};

struct FieldMasker {
    fields: Vec<String>,
    mask: String,
    unmasked_principals: Vec<String>,
    not_json: NotJson,
}

/// What is to become of a value that is not JSON.
enum NotJson {
    Keep,
    Reject,
}

impl Interceptor for FieldMasker {
    fn configure(_: &Attachment) -> Result<FieldMasker, Error> {
        let fields = list(&config_parsed::<String>("fields")?, ',');
        if fields.is_empty() {
            return Err(Error::fatal("the config key `fields` names no field"));
        }
        let not_json = match config("not_json").as_deref() {
            None | Some("reject") => NotJson::Reject,
            Some("keep") => NotJson::Keep,
            Some(other) => {
                let message = format!("the config key `not_json` is `{other}`, and neither keep nor reject");
                return Err(Error::fatal(message));
            }
        };
        Ok(FieldMasker {
            fields,
            mask: config_or("mask", "***".to_owned())?,
            unmasked_principals: list(&config("unmasked_principals").unwrap_or_default(), ';'),
            not_json,
        })
    }

    fn on_consume(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        let Some(value) = record.value else { return Ok(()) };
        if self.unmasked_principals.contains(&origin.principal) {
            return Ok(());
        }
        let Ok(mut json) = serde_json::from_slice::<Value>(value) else {
            if let NotJson::Reject = self.not_json {
                let offset = record.offset;
                let message =
                    format_args!("the value at offset {offset} is not JSON, so it cannot be masked");
                verdict.reject(RejectionCode::TopicAuthorizationFailed, message);
            }
            return Ok(());
        };
        let masked = self.fields.iter().fold(0, |masked, field| masked + mask(&mut json, field, &self.mask));
        if masked > 0 {
            verdict.replace(record.key, serde_json::to_vec(&json)?).headers_of(&record);
        }
        Ok(())
    }
}

fn list(text: &str, separator: char) -> Vec<String> {
    text.split(separator).map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// Masks what a path leads to, and says how many fields that were. JSON's names may have dots themselves, so every
/// reading of the path counts: better too much is masked than too little.
fn mask(json: &mut Value, path: &str, with: &str) -> usize {
    match json {
        Value::Array(elements) => elements.iter_mut().map(|element| mask(element, path, with)).sum(),
        Value::Object(fields) => {
            let mut masked = 0;
            for (dot, _) in path.match_indices('.') {
                if let Some(inner) = fields.get_mut(&path[..dot]) {
                    masked += mask(inner, &path[dot + 1..], with);
                }
            }
            if let Some(field) = fields.get_mut(path) {
                *field = Value::from(with);
                masked += 1;
            }
            masked
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

tidemill_guest::interceptor!(FieldMasker);

#[cfg(test)]
mod tests;
