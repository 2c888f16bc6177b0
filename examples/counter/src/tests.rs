use super::*;
use tidemill_guest::testing::{self, TestRecord, TestVerdict};

fn acknowledgement(record_count: u32, outcome: Result<u64, &str>) -> Acknowledgement {
    let outcome = outcome.map_err(str::to_owned);
    Acknowledgement { topic: "input".to_owned(), partition: 0, record_count, outcome }
}

#[test]
fn records_are_kept_and_counted_on_both_paths_and_by_what_became_of_them() {
    let mut counter = Counter::configure(&testing::attachment()).unwrap();
    let records = [TestRecord::new("k", "v"), TestRecord::new("k", ())];
    let keep = [TestVerdict::Keep, TestVerdict::Keep];
    assert_eq!(testing::on_send(&mut counter, &testing::origin(), &records).unwrap(), keep);
    assert_eq!(testing::on_send(&mut counter, &testing::origin(), &records).unwrap(), keep);
    assert_eq!(testing::on_consume(&mut counter, &testing::origin(), &records).unwrap(), keep);
    counter.on_acknowledgement(&acknowledgement(3, Ok(17)));
    counter.on_acknowledgement(&acknowledgement(1, Err("MESSAGE_TOO_LARGE")));
    counter.close();
    let counted = ["sent", "acknowledged", "failed", "consumed"].map(testing::counter);
    assert_eq!(counted, [4, 3, 1, 2]);
}
