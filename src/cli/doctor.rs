//! `tidemill doctor`: what a client sees of a cluster, and what is wrong with it.
//!
//! Asks what clients ask, from where it is run: an address that leads nowhere from here is what a client would meet.
//! Changes nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::messages::MetadataResponse;
use serde_json::json;

use super::GlobalArgs;
use super::error::{CliError, ExitKind};
use super::output::{Block, Report};
use super::protocol_client::{Cluster, Connection, CoordinatorKind};
use super::time::now;
use super::{group, txn};

/// A transaction that is open for so long keeps read-committed readers of its partitions waiting.
const OLD_TRANSACTION_MS: i64 = 5 * 60 * 1000;

/// What came of one look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Good,
    /// It works, and somebody should know.
    Note,
    Bad,
}

#[derive(Default)]
struct Findings {
    rows: Vec<(&'static str, Verdict, String)>,
}

impl Findings {
    fn add(&mut self, check: &'static str, verdict: Verdict, detail: impl Into<String>) {
        self.rows.push((check, verdict, detail.into()));
    }

    /// What was found, or why it could not be.
    fn add_result(&mut self, check: &'static str, found: Result<(Verdict, String), CliError>) {
        match found {
            Ok((verdict, detail)) => self.add(check, verdict, detail),
            Err(error) => self.add(check, Verdict::Bad, format!("{}: {}", error.code, error.message)),
        }
    }

    fn report(self) -> Report {
        let name = |verdict| match verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "PROBLEM",
        };
        let rows = self.rows.iter().map(|(check, verdict, detail)| {
            vec![(*check).to_owned(), name(*verdict).to_owned(), detail.clone()]
        });
        let json = self.rows.iter().map(|(check, verdict, detail)| {
            json!({"check": check, "result": name(*verdict).to_lowercase(), "detail": detail})
        });
        let bad = self.rows.iter().filter(|(_, verdict, _)| *verdict == Verdict::Bad).count();
        let block = Block::Table { headers: &["CHECK", "RESULT", "WHAT WAS SEEN"], rows: rows.collect() };
        let mut report = Report::new(block, json.collect());
        if bad > 0 {
            let message = format!("{bad} of {} checks found a problem", self.rows.len());
            report.failures.push(CliError::new(ExitKind::Failed, "UNHEALTHY", message));
        }
        report
    }
}

pub(super) fn run(global: &GlobalArgs) -> Result<Report, CliError> {
    let mut findings = Findings::default();
    let begin = now();
    let mut cluster = global.cluster()?;
    let took = milliseconds(begin);
    findings.add("bootstrap", Verdict::Good, format!("{} answers in {took}", global.bootstrap_server));
    let metadata = cluster.metadata(None)?;
    findings.add_result("cluster", Ok(cluster_of(&metadata)));
    brokers(global, &metadata, &mut findings);
    findings.add_result("features", Ok(features(&mut cluster)));
    findings.add_result("topics", Ok(topics(&metadata)));
    for (check, kind) in [
        ("group coordinator", CoordinatorKind::Group),
        ("transaction coordinator", CoordinatorKind::Transaction),
    ] {
        findings.add_result(check, coordinator(&mut cluster, kind));
    }
    findings.add_result("groups", groups(&mut cluster));
    findings.add_result("transactions", transactions(&mut cluster));
    Ok(findings.report())
}

fn milliseconds(begin: Instant) -> String {
    format!("{:.1} ms", begin.elapsed().as_secs_f64() * 1000.0)
}

fn cluster_of(metadata: &MetadataResponse) -> (Verdict, String) {
    let id = metadata.cluster_id.as_ref().map_or("none", |id| id.as_str());
    let controller = metadata.controller_id.0;
    let is_known = metadata.brokers.iter().any(|broker| broker.node_id.0 == controller);
    let text = format!("id {id}, {} brokers, controller {controller}", metadata.brokers.len());
    (if is_known { Verdict::Good } else { Verdict::Bad }, text)
}

/// Clients leave the bootstrap address behind: each broker must be reached by the address that it tells.
fn brokers(global: &GlobalArgs, metadata: &MetadataResponse, findings: &mut Findings) {
    for broker in &metadata.brokers {
        let address = format!("{}:{}", broker.host, broker.port);
        let begin = now();
        let found = Connection::open(&address, global.request_timeout).map(|_| {
            (Verdict::Good, format!("{}: {address} answers in {}", broker.node_id.0, milliseconds(begin)))
        });
        let found = found.map_err(|error| {
            let message = format!(
                "broker {} tells clients to come to {address}, and from here that fails: {}; set advertised.listeners to \
                 an address that clients reach",
                broker.node_id.0, error.message
            );
            CliError { message, ..error }
        });
        findings.add_result("broker", found);
    }
}

fn features(cluster: &mut Cluster) -> (Verdict, String) {
    let levels = cluster.any().features();
    let level = |name: &str| levels.get(name).copied().unwrap_or(0);
    let transactions = match level("transaction.version") {
        2.. => "transactions of version 2 (KIP-890)",
        _ => "transactions of the first version: no protection from late appends (KIP-890)",
    };
    let groups = match level("group.version") {
        1.. => "consumer groups of both protocols (KIP-848)",
        _ => "classic consumer groups only",
    };
    let verdict = if level("transaction.version") >= 2 { Verdict::Good } else { Verdict::Note };
    (verdict, format!("{transactions}; {groups}; {} APIs", cluster.any().api_count()))
}

fn topics(metadata: &MetadataResponse) -> (Verdict, String) {
    let mut leaderless = Vec::new();
    let mut behind = Vec::new();
    let mut partitions = 0;
    for topic in &metadata.topics {
        let name = topic.name.as_ref().map_or("?", |name| name.as_str());
        for partition in &topic.partitions {
            partitions += 1;
            let at = format!("{name}-{}", partition.partition_index);
            if partition.leader_id.0 < 0 || partition.error_code != 0 {
                leaderless.push(at);
            } else if partition.isr_nodes.len() < partition.replica_nodes.len() {
                behind.push(at);
            }
        }
    }
    let all = format!("{} topics, {partitions} partitions", metadata.topics.len());
    match (leaderless.as_slice(), behind.as_slice()) {
        ([], []) => (Verdict::Good, format!("{all}, all with a leader and all replicas in sync")),
        ([], behind) => (Verdict::Note, format!("{all}; replicas behind: {}", some_of(behind))),
        (leaderless, _) => (
            Verdict::Bad,
            format!("{all}; not to be read or written: {}; the broker's log says why", some_of(leaderless)),
        ),
    }
}

fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

fn coordinator(cluster: &mut Cluster, kind: CoordinatorKind) -> Result<(Verdict, String), CliError> {
    let begin = now();
    let (id, address) = cluster.find_coordinator(kind, "tidemill-doctor")?;
    Ok((Verdict::Good, format!("broker {id} at {address}, found in {}", milliseconds(begin))))
}

fn groups(cluster: &mut Cluster) -> Result<(Verdict, String), CliError> {
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for listed in group::list(cluster)?.json.as_array().into_iter().flatten() {
        let state = listed["state"].as_str().unwrap_or_default();
        *states.entry(state.to_owned()).or_default() += 1;
    }
    let unsettled = ["PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"];
    let is_unsettled = unsettled.iter().any(|state| states.contains_key(*state));
    let counts = states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>();
    let text = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    Ok((if is_unsettled { Verdict::Note } else { Verdict::Good }, text))
}

fn transactions(cluster: &mut Cluster) -> Result<(Verdict, String), CliError> {
    let open = txn::open_transactions(cluster)?;
    let old: Vec<_> = open
        .iter()
        .filter(|(_, age_ms)| age_ms.is_some_and(|age| age >= OLD_TRANSACTION_MS))
        .map(|(id, age_ms)| format!("{id} (for {} s)", age_ms.unwrap_or(0) / 1000))
        .collect();
    if old.is_empty() {
        return Ok((Verdict::Good, format!("{} open", open.len())));
    }
    let text = format!(
        "{} open; read-committed readers wait for {}: `tidemill txn abort ID` ends one",
        open.len(),
        some_of(&old)
    );
    Ok((Verdict::Bad, text))
}

#[cfg(test)]
mod tests;
