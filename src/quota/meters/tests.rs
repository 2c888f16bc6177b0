use super::*;
use crate::quota::QuotaEntity;

const WINDOW: Window = Window { samples: 11, sample_ms: 1000 };
const PRODUCE: QuotaKind = QuotaKind::ProducerByteRate;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn quotas(kind: QuotaKind, pairs: &[(&str, Option<&str>)], value: f64) -> ClientQuotas {
    let pairs: Vec<_> =
        pairs.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect();
    let mut quotas = ClientQuotas::default();
    let entity = QuotaEntity::of_pairs(&pairs).unwrap();
    quotas.set(&entity, kind, Some(QuotaValue::new(kind, value).unwrap()));
    quotas
}

fn ann(client_id: &str) -> QuotaClient {
    QuotaClient::new("User:ann", client_id)
}

#[test]
fn a_client_over_its_rate_waits_and_others_do_not() {
    let quotas = quotas(PRODUCE, &[("client-id", Some("app"))], 100.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    let mut record = |client: &QuotaClient, bytes| {
        meters.record_bytes(&quotas, PRODUCE, client, (at(0), bytes)).as_millis()
    };
    assert_eq!(record(&ann("app"), 1000), 0);
    assert_eq!(record(&ann("app"), 500), 5000);
    assert_eq!(record(&ann("other"), 1_000_000), 0);
    assert!(meters.sensors.len() == 1, "only clients with a quota are measured");
}

#[test]
fn fetched_bytes_that_are_withheld_do_not_count() {
    let kind = QuotaKind::ConsumerByteRate;
    let quotas = quotas(kind, &[("user", None)], 10.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    assert_eq!(meters.window_bytes(&quotas, kind, &ann("app")), Some(100));
    assert_eq!(meters.window_bytes(&quotas, PRODUCE, &ann("app")), None);
    let mut fetched = |ms, bytes| meters.fetched(&quotas, &ann("app"), (at(ms), bytes));
    assert_eq!(fetched(0, 90), FetchVerdict::Send(Duration::ZERO));
    assert_eq!(fetched(0, 40), FetchVerdict::Withhold(Duration::from_secs(3)));
    assert_eq!(fetched(0, 10), FetchVerdict::Send(Duration::ZERO));
    assert_eq!(fetched(13_000, 40), FetchVerdict::Send(Duration::ZERO));
}

#[test]
fn a_batch_beyond_a_whole_window_comes_through_and_is_waited_for_afterwards() {
    let quotas = quotas(QuotaKind::ConsumerByteRate, &[("user", None)], 10.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    let mut fetched = |ms, bytes| meters.fetched(&quotas, &ann("app"), (at(ms), bytes));
    assert_eq!(fetched(0, 1000), FetchVerdict::Send(Duration::from_secs(90)));
    assert!(matches!(fetched(1, 1000), FetchVerdict::Withhold(_)));
    assert!(matches!(fetched(90_000, 1000), FetchVerdict::Send(_)));
}

#[test]
fn time_is_percent_of_a_thread_and_nobody_waits_longer_than_a_sample() {
    let quotas = quotas(QuotaKind::RequestPercentage, &[("user", Some("ann"))], 10.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    let mut record = |ms| meters.record_time(&quotas, &ann("app"), at(0), Duration::from_millis(ms));
    // One second of ten is ten percent.
    assert_eq!(record(1000), Duration::ZERO);
    assert_eq!(record(50), Duration::from_millis(500));
    assert_eq!(record(60_000), Duration::from_millis(1000));
}

#[test]
fn mutations_beyond_the_rate_are_refused_or_waited_for() {
    let quotas = quotas(QuotaKind::ControllerMutationRate, &[("user", Some("ann"))], 1.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    let mut mutate = |rule, now, count| meters.mutate(&quotas, rule, &ann("app"), (at(now), count));
    let allowed = MutationVerdict::Allowed(Duration::ZERO);
    // What is in the bucket is given away whole, even if it goes beyond.
    assert_eq!(mutate(MutationRule::Strict, 0, 15), allowed);
    assert_eq!(mutate(MutationRule::Strict, 0, 1), MutationVerdict::Refused(Duration::from_secs(4)));
    assert_eq!(mutate(MutationRule::Strict, 4_000, 1), allowed);
    let wait = MutationVerdict::Allowed(Duration::from_secs(3));
    assert_eq!(mutate(MutationRule::Permissive, 4_000, 2), wait);
}

#[test]
fn idle_sensors_are_forgotten() {
    let quotas = quotas(PRODUCE, &[("client-id", None)], 10.0);
    let mut meters = Meters::new(WINDOW, WINDOW);
    for number in 0..10_000i64 {
        let client = ann(&number.to_string());
        meters.record_bytes(&quotas, PRODUCE, &client, (at(number * 100), 1));
    }
    assert!(meters.sensors.len() <= SWEEP_STEP + 200, "{}", meters.sensors.len());
}
