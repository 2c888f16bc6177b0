//! The conformance list's interceptor in Rust: see tests/conformance/README.md.

use std::hint::black_box;

use tidemill_guest::{
    Acknowledgement, Attachment, Error, Interceptor, Level, Origin, Record, RejectionCode, Verdict, config, count,
    log,
};

struct Conformance;

/// Which way a record goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Send,
    Consume,
}

impl Interceptor for Conformance {
    fn configure(attachment: &Attachment) -> Result<Conformance, Error> {
        let init = config("init").unwrap_or_default();
        match init.split_once(' ').unwrap_or((&init, "")) {
            ("refuse", words) => return Err(Error::fatal(words)),
            ("trap", words) => panic!("{words}"),
            ("loop", _) => spin(),
            _ => {}
        }
        log(Level::Info, &format!("started {}", attachment.name));
        Ok(Conformance)
    }

    fn on_send(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        judge(Path::Send, origin, record, verdict)
    }

    fn on_consume(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        judge(Path::Consume, origin, record, verdict)
    }

    fn on_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        let Acknowledgement { topic, partition, record_count, outcome } = acknowledgement;
        let outcome = outcome.as_ref().map_or_else(String::clone, u64::to_string);
        log(Level::Info, &format!("acknowledged {topic} {partition} {record_count} {outcome}"));
    }

    fn close(&mut self) {
        log(Level::Info, "closed");
    }
}

fn judge(path: Path, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
    let command = match record.header("do") {
        Some(bytes) => std::str::from_utf8(bytes)?,
        None => "copy",
    };
    let (verb, words) = command.split_once(' ').unwrap_or((command, ""));
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let mut replace = None;
    match verb {
        "copy" => replace = Some(record.value.map(<[u8]>::to_vec)),
        "keep" => {}
        "drop" => {
            verdict.drop();
            return Ok(());
        }
        "replace" => replace = Some(Some(words.as_bytes().to_vec())),
        "erase" => {
            verdict.replace((), ());
            return Ok(());
        }
        "retime" => {
            verdict.replace(record.key, record.value).headers_of(&record).timestamp(words.parse()?);
            return Ok(());
        }
        "reject" => {
            verdict.reject(code(first)?, rest);
            return Ok(());
        }
        "config" => replace = Some(config(words).map(String::into_bytes)),
        "where" => replace = Some(Some(place(path, origin, &record).into_bytes())),
        "log" => log(level(first)?, rest),
        "print" => println!("{words}"),
        "count" => count(first, rest.parse()?),
        "fail" => return Err(Error::reject(words)),
        "trap" => panic!("{words}"),
        "loop" => spin(),
        "grow" => grow(),
        _ => return Err(Error::reject(format!("unheard of: {command}"))),
    }
    if let Some(value) = replace {
        verdict.replace(record.key, value).headers_of(&record);
    }
    Ok(())
}

fn place(path: Path, origin: &Origin, record: &Record<'_>) -> String {
    let Origin { principal, client_id, topic, partition, transactional } = origin;
    let transactional = if *transactional { "yes" } else { "no" };
    // On its way in a record has no offset; the SDK gives its index instead.
    let (path, offset) = match path {
        Path::Send => ("send", "-".to_owned()),
        Path::Consume => ("consume", record.offset.to_string()),
    };
    format!("{path} {principal} {client_id} {topic} {partition} {transactional} {offset} {}", record.timestamp)
}

fn code(name: &str) -> Result<RejectionCode, Error> {
    Ok(match name {
        "invalid-record" => RejectionCode::InvalidRecord,
        "policy-violation" => RejectionCode::PolicyViolation,
        "topic-authorization-failed" => RejectionCode::TopicAuthorizationFailed,
        _ => return Err(Error::reject("no such code")),
    })
}

fn level(name: &str) -> Result<Level, Error> {
    Ok(match name {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => return Err(Error::reject("no such level")),
    })
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1u8; 1 << 20]));
    }
}

#[cfg(feature = "flat")]
tidemill_guest::interceptor!(Conformance);

#[cfg(feature = "typed")]
tidemill_guest::interceptor_typed!(Conformance);
