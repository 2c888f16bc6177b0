//! Rejects records whose value does not match the JSON Schema in the config key `schema`, so that nobody who
//! reads the topic meets them. Tombstones pass, unless the config key `tombstones` says `reject`.

use jsonschema::Validator;
use serde_json::Value;
use tidemill_guest::RejectionCode::InvalidRecord;
use tidemill_guest::{Attachment, Error, Interceptor, Origin, Record, Verdict, config, config_parsed};

struct SchemaValidator {
    validator: Validator,
    tombstones_pass: bool,
}

impl Interceptor for SchemaValidator {
    fn configure(_: &Attachment) -> Result<SchemaValidator, Error> {
        let schema: Value = serde_json::from_str(&config_parsed::<String>("schema")?)
            .map_err(|error| Error::fatal(format!("the config key `schema` is not JSON: {error}")))?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| Error::fatal(format!("the config key `schema` is no JSON Schema: {error}")))?;
        let tombstones_pass = match config("tombstones").as_deref() {
            None | Some("allow") => true,
            Some("reject") => false,
            Some(other) => {
                let message =
                    format!("the config key `tombstones` is `{other}`, and neither allow nor reject");
                return Err(Error::fatal(message));
            }
        };
        Ok(SchemaValidator { validator, tombstones_pass })
    }

    fn on_send(&mut self, _: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        let Some(value) = record.value else {
            if !self.tombstones_pass {
                verdict.reject(InvalidRecord, "tombstones may not go here");
            }
            return Ok(());
        };
        match serde_json::from_slice(value) {
            Ok(value) => {
                if let Err(error) = self.validator.validate(&value) {
                    let path = match error.instance_path().as_str() {
                        "" => "the top",
                        path => path,
                    };
                    verdict.reject(InvalidRecord, format_args!("at {path}: {error}"));
                }
            }
            Err(error) => verdict.reject(InvalidRecord, format_args!("the value is not JSON: {error}")),
        }
        Ok(())
    }
}

tidemill_guest::interceptor!(SchemaValidator);

#[cfg(test)]
mod tests;
