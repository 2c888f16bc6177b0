//! Routes JSON records by the text in the field that the config key `field` names (`type` by default): the key
//! `route.TEXT` names the topics for that text, with commas between several, and `else` those for all others. A record
//! that goes to several topics is in all of them or in none. What is no JSON object is rejected; where no topic is
//! named, a record is dropped and counted as `unrouted`.

use std::collections::HashMap;

use tidemill_guest::{Context, Error, Output, Processor, Record, config, config_or, count};

struct Router {
    field: String,
    otherwise: Vec<String>,
    /// Found as they are asked for: a module cannot list its settings' names before it knows its records.
    routes: HashMap<String, Option<Vec<String>>>,
}

impl Processor for Router {
    fn init(_: &Context) -> Result<Router, Error> {
        let otherwise = config("else").map(|names| topics(&names)).unwrap_or_default();
        Ok(Router { field: config_or("field", "type".to_owned())?, otherwise, routes: HashMap::new() })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(record.value_str()?)?;
        let kind = event.get(&self.field).and_then(|kind| kind.as_str()).unwrap_or_default();
        let topics = self.topics_of(kind);
        if topics.is_empty() {
            count("unrouted", 1);
        }
        for topic in topics {
            out.forward(topic, &record);
        }
        Ok(())
    }
}

impl Router {
    fn topics_of(&mut self, kind: &str) -> &[String] {
        /// Kinds that are remembered: whoever sends ever new ones costs time, not memory.
        const ROUTES_MAX: usize = 1024;
        if !self.routes.contains_key(kind) {
            if self.routes.len() >= ROUTES_MAX {
                self.routes.clear();
            }
            let route = config(&format!("route.{kind}")).map(|names| topics(&names));
            self.routes.insert(kind.to_owned(), route);
        }
        self.routes.get(kind).and_then(Option::as_ref).unwrap_or(&self.otherwise)
    }
}

fn topics(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

tidemill_guest::processor!(Router);

#[cfg(test)]
mod tests;
