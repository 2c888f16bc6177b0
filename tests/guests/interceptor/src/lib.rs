//! An interceptor for the broker's tests: it does to each record what the prefix of its value says, and behaves as
//! its config key `behaviour` says, mostly badly. `only` (`send` or `consume`) leaves the other path alone; `mark`
//! puts a header on every record that is kept, so that the order of a chain shows.

use std::hint::black_box;

use tidemill_guest::{
    Acknowledgement, Attachment, Error, Interceptor, Origin, Record, RejectionCode, Verdict, config, count,
    info,
};

/// One interceptor for every behaviour.
pub struct TestInterceptor {
    name: String,
    behaviour: String,
    only: Option<String>,
    mark: Option<String>,
    hoard: Vec<Vec<u8>>,
}

impl Interceptor for TestInterceptor {
    fn configure(attachment: &Attachment) -> Result<TestInterceptor, Error> {
        let behaviour = config("behaviour").unwrap_or_default();
        match behaviour.as_str() {
            "refuse" => return Err(Error::fatal("the config key `threshold` is missing")),
            "trap-configure" => trap(),
            "loop-configure" => spin(),
            _ => {}
        }
        let name = attachment.name.clone();
        let (only, mark) = (config("only"), config("mark"));
        Ok(TestInterceptor { name, behaviour, only, mark, hoard: Vec::new() })
    }

    fn on_send(&mut self, _: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        count("sent", 1);
        self.judge("send", record, verdict)
    }

    fn on_consume(&mut self, _: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        count("consumed", 1);
        self.judge("consume", record, verdict)
    }

    fn on_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        match self.behaviour.as_str() {
            "trap-ack" => trap(),
            "loop-ack" => spin(),
            _ => {}
        }
        let Acknowledgement { topic, partition, record_count, outcome } = acknowledgement;
        let (counter, outcome) = match outcome {
            Ok(offset) => ("acknowledged", offset.to_string()),
            Err(error) => ("failed", error.clone()),
        };
        count(counter, u64::from(*record_count));
        info!("ack {topic}-{partition} {record_count} {outcome}");
    }

    fn close(&mut self) {
        match self.behaviour.as_str() {
            "trap-close" => trap(),
            "loop-close" => spin(),
            _ => {}
        }
        info!("closed");
    }
}

/// Whether the config has records of this path judged.
fn judges(only: Option<&str>, path: &str) -> bool {
    only.is_none_or(|only| only == path)
}

impl TestInterceptor {
    fn judge(&mut self, path: &str, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        if !judges(self.only.as_deref(), path) {
            return Ok(());
        }
        self.misbehave();
        let text = record.value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
        let (prefix, rest) = text.split_once(':').unwrap_or_default();
        match prefix {
            "drop" => verdict.drop(),
            "replace" => {
                verdict
                    .replace(record.key, format!("replaced:{rest}"))
                    .headers_of(&record)
                    .header("intercepted", &self.name);
            }
            "retime" => {
                let timestamp = rest.trim().parse()?;
                verdict.replace(record.key, record.value).headers_of(&record).timestamp(timestamp);
            }
            "reject" => verdict.reject(RejectionCode::InvalidRecord, rest),
            "policy" => verdict.reject(RejectionCode::PolicyViolation, rest),
            "authorize" => verdict.reject(RejectionCode::TopicAuthorizationFailed, rest),
            "trap" => trap(),
            "fault" => return Err(Error::reject(rest)),
            "loop" => spin(),
            "grow" => {
                verdict.replace(record.key, vec![7; 1 << 20]).headers_of(&record);
            }
            "null" => {
                verdict.replace((), ());
            }
            _ => {
                if let Some(mark) = &self.mark {
                    verdict.replace(record.key, record.value).headers_of(&record).header("mark", mark);
                }
            }
        }
        Ok(())
    }

    fn misbehave(&mut self) {
        match self.behaviour.as_str() {
            "eat" => loop {
                self.hoard.push(black_box(vec![1; 1 << 20]));
            },
            "recurse" => {
                black_box(recurse(black_box(1)));
            }
            "flood-log" => {
                for line in 0..1000 {
                    info!("line {line}");
                }
            }
            "flood-metrics" => {
                for name in ["", "Upper", "with space", "dotted.name", "ünï", "new\nline", "a\0b"] {
                    count(name, 1);
                }
                for bytes in [64, 65, 1 << 20] {
                    count(&"n".repeat(bytes), 1);
                }
                for index in 0..10_000 {
                    count(&format!("flood_{index}"), 1);
                }
                count("flood_0", u64::MAX);
            }
            _ => {}
        }
    }
}

fn trap() -> ! {
    panic!("asked to trap");
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let pad = black_box([depth; 64]);
    if depth == u64::MAX {
        return 0;
    }
    recurse(depth + 1).wrapping_add(pad[usize::try_from(depth % 64).unwrap_or(0)])
}

#[cfg(feature = "flat")]
mod flat;
#[cfg(feature = "typed")]
mod typed;
